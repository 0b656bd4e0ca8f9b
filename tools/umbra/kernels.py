# SPDX-License-Identifier: BSD-2-Clause
"""Kernel images told apart by content, as `qemu -kernel` does: Linux bzImage, Multiboot 1, ELF with a PVH entry.

What can be known before a guest runs is said here, in one line that says what to do; the VMM (servers/vmm/boot) checks every
claim of an image again before it writes a byte. Facts are of Documentation/x86/boot.rst, the Multiboot Specification 0.6.96,
the System V ABI and Xen's public headers.
"""
import dataclasses
import struct

from umbra.errors import Usage

PROTOCOL_MIN = 0x0202
LOW_END = 1 << 20
MULTIBOOT_SEARCH = 8192
MULTIBOOT_MAGIC = 0x1badb002
ADDRESSES = 1 << 16         # flag of a Multiboot header
PHYS32_ENTRY = 18           # Xen's note
APPEND_MAX = 2047           # COMMAND_LINE in idl/umbra_idl/check_component.py
SEGMENT_LOAD, SEGMENT_NOTE = 1, 4


@dataclasses.dataclass(frozen=True)
class Header:
    kind: str               # bzImage, Multiboot, PVH
    end: int                # what lies below this address is the kernel's; memory that it needs at the least
    initrd_end: int         # first address an initramfs may not use
    append_bytes: int       # longest command line


def number(data, offset, size=4):
    """A little-endian number; what lies behind the end is zero."""
    return int.from_bytes(data[offset:offset + size], "little")


def parse_header(data, path):
    """The Header of a kernel image, or Usage."""
    if len(data) >= 0x206 and data[0x1fe:0x200] == b"\x55\xaa" and data[0x202:0x206] == b"HdrS":
        return parse_bzimage(data, path)
    header = multiboot_header(data)
    if header is not None:
        return parse_multiboot(data, header, path)
    if data[:4] == b"\x7fELF":
        return parse_pvh(data, path)
    raise Usage("kernel %s is not a Linux kernel image (bzImage), nor a Multiboot 1 or PVH kernel" % path)


def parse_bzimage(data, path):
    if len(data) < 0x290:
        raise Usage("kernel %s is cut off: %d bytes are no bzImage" % (path, len(data)))
    protocol = number(data, 0x206, 2)
    if protocol < PROTOCOL_MIN:
        raise Usage("kernel %s has boot protocol %d.%02d; at least %d.%02d is needed" % (
            path, protocol >> 8, protocol & 255, PROTOCOL_MIN >> 8, PROTOCOL_MIN & 255))
    if not data[0x211] & 1:
        raise Usage("kernel %s is a zImage, loaded low; a bzImage is needed" % path)
    size = number(data, 0x1f4) * 16
    whole = ((data[0x1f1] or 4) + 1) * 512 + size
    if len(data) + 16 <= whole:     # the last paragraph may be short
        raise Usage("kernel %s is cut off: %d bytes, its header says %d" % (path, len(data), whole))
    end = number(data, 0x258, 8) + number(data, 0x260) if protocol >= 0x20a else LOW_END + size
    initrd_end = number(data, 0x22c) + 1 if protocol >= 0x203 else 0x38000000
    return Header("bzImage", end, initrd_end, number(data, 0x238) if protocol >= 0x206 else 255)


def multiboot_header(data):
    """Where a Multiboot 1 header with a right checksum begins, or None."""
    for at in range(0, min(len(data), MULTIBOOT_SEARCH) - 11, 4):
        magic, flags, check = struct.unpack_from("<3I", data, at)
        if magic == MULTIBOOT_MAGIC and (magic + flags + check) & 0xffffffff == 0:
            return at
    return None


def parse_multiboot(data, header, path):
    if number(data, header + 4) & ADDRESSES:
        _, load, load_end, bss_end, _ = struct.unpack_from("<5I", data.ljust(header + 32, b"\0"), header + 12)
        end = bss_end or load_end or load + len(data) - header
    elif data[:5] == b"\x7fELF\x01":
        end = max([0] + [at + size for kind, _, _, at, size in program_headers(data) if kind == SEGMENT_LOAD])
    else:
        raise Usage("kernel %s has a Multiboot header without addresses and is no 32-bit ELF file" % path)
    return Header("Multiboot", end, 1 << 32, APPEND_MAX)


def program_headers(data):
    """(type, offset, bytes in the file, physical address, bytes in memory) of each of an ELF file's segments."""
    wide = data[4:5] == b"\x02"
    table, entry, count = (number(data, 32, 8), number(data, 54, 2), number(data, 56, 2)) if wide else \
        (number(data, 28), number(data, 42, 2), number(data, 44, 2))
    for at in range(table, table + entry * count, entry or 1):
        if at + (56 if wide else 32) > len(data):
            return
        if wide:
            yield (number(data, at), *(number(data, at + n, 8) for n in (8, 32, 24, 40)))
        else:
            yield (number(data, at), *(number(data, at + n) for n in (4, 16, 12, 20)))


def has_pvh_note(data):
    for kind, offset, size, _, _ in program_headers(data):
        at, end = offset, min(offset + size, len(data))
        while kind == SEGMENT_NOTE and at + 12 <= end:
            name, content = number(data, at), number(data, at + 4)
            if number(data, at + 8) == PHYS32_ENTRY and data[at + 12:at + 12 + name] == b"Xen\0":
                return True
            at += 12 + -(-name // 4) * 4 + -(-content // 4) * 4
    return False


def parse_pvh(data, path):
    if not has_pvh_note(data):
        raise Usage("kernel %s is an ELF file without a PVH entry or a Multiboot header; "
                    "for Linux take the bzImage, such as /boot/vmlinuz-*" % path)
    end = max([0] + [at + size for kind, _, _, at, size in program_headers(data) if kind == SEGMENT_LOAD])
    return Header("PVH", end, 1 << 32, APPEND_MAX)


def pack_modules(modules):
    """One file of (content, string) pairs, as servers/vmm/boot/modules.h reads it."""
    head, body = bytearray(b"UMBRAMOD" + struct.pack("<2I", len(modules), 0)), bytearray()
    base = len(head) + 32 * len(modules)
    for content, text in modules:
        at = base + len(body)
        head += struct.pack("<4Q", at, len(content), at + len(content), len(text))
        body += content + text
    return bytes(head + body)
