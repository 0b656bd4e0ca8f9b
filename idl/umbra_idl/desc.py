# SPDX-License-Identifier: BSD-2-Clause
"""A Description as bytes, and back: the layout of lib/desc/desc.h, which has the meaning of every field.

A test reads what this writes with the C reader and compares each field."""
import struct
import zlib

from .cheader import constants
from .describe import Record

C = constants()
HEADER = struct.Struct("<QIIQIIIIIIQII")
# op -> (fields, format); `s` marks a name, `b` configuration (offset and length), `z` a field that is 0.
LAYOUT = {
    "OBJECTS": "group:I type:H bits:H count:I name:s",
    "IRQ": "group:I line:I notification:I name:s badge:Q",
    "IOPORT": "group:I first:H last:H name:s z:I",
    "TIMER": "timer:I notification:I badge:Q",
    "GUEST": "vm:I vcpu:I space:I shadow:I notification:I paging:I owner:I name:s pages:Q "
             "manager:I client:I spare:I config_pages:I config_line:I config_line_bytes:I spare_pages:Q",
    "COMPONENT": "name:s module:s identity:I priority:B kind:B cnode_bits:H heap_bytes:Q stack_bytes:Q "
                 "image_bytes:Q budget_us:Q period_us:Q fault:I config:b z:I fault_badge:Q",
    "CAP": "slot:I group:I first:I count:I rights:I z:I badge:Q",
    "MAP": "group:I first:I count:I rights:I address:Q",
    "VIEW": "kind:I group:I rights:I z:I address:Q",
    "MODULE": "which:I name:s address:Q",
    "NOTIFY": "notification:I z:I",
    "START": "later:I z:I",
    "CONNECTION": "kind:I to:I from_port:s to_port:s badge:Q",
}


def fields_of(op):
    return [part.split(":") for part in LAYOUT[op].split()]


class Data:
    """The data area: equal names stand once."""

    def __init__(self):
        self.bytes, self.known = bytearray(), {}

    def name(self, text):
        if text not in self.known:
            self.known[text] = len(self.bytes)
            self.bytes += text.encode() + b"\0"
        return self.known[text]

    def blob(self, data):
        self.bytes += b"\0" * (-len(self.bytes) % 8)
        at = len(self.bytes)
        self.bytes += data
        return at


def encode_record(r, data):
    values, form = [], "<HHHH"
    for name, kind in fields_of(r.op):
        if kind == "s":
            values.append(data.name(r.fields[name]))
            form += "I"
        elif kind == "b":
            values += [data.blob(r.fields[name]), len(r.fields[name])]
            form += "II"
        else:
            values.append(0 if name == "z" else r.fields[name])
            form += kind
    size = struct.calcsize(form)
    assert size % 8 == 0, r.op
    return struct.pack(form, C["DESC_OP_" + r.op], size, r.component, 0, *values)


def encode(description):
    data = Data()
    name = data.name(description.name)
    records = b"".join(encode_record(r, data) for r in description.records)
    body = records + bytes(data.bytes)
    total = HEADER.size + len(body)
    head = HEADER.pack(C["DESC_MAGIC"], C["DESC_VERSION"], HEADER.size, total, zlib.crc32(body),
                       len(description.records), HEADER.size + len(records), len(data.bytes),
                       description.components, description.groups, description.memory, name, 0)
    return head + body


def decode(binary):
    """(system name, records) of bytes that encode() made; for audits and tests."""
    head = HEADER.unpack_from(binary)
    data = binary[head[6]:head[6] + head[7]]
    text = lambda at: data[at:data.index(b"\0", at)].decode()
    ops = {C["DESC_OP_" + op]: op for op in LAYOUT}
    records, at = [], HEADER.size
    for _ in range(head[5]):
        op, size, component, _ = struct.unpack_from("<HHHH", binary, at)
        place, values = at + 8, {}
        for name, kind in fields_of(ops[op]):
            form = "<" + {"s": "I", "b": "II"}.get(kind, kind)
            got = struct.unpack_from(form, binary, place)
            place += struct.calcsize(form)
            if name != "z":
                if kind == "s":
                    values[name] = text(got[0])
                else:
                    values[name] = data[got[0]:got[0] + got[1]] if kind == "b" else got[0]
        records.append(Record(ops[op], component, values))
        at += size
    return text(head[11]), records
