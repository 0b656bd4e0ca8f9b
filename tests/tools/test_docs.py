# SPDX-License-Identifier: BSD-2-Clause
"""The documents name what the headers define, and nothing that has gone: names, values, files and links."""
import re

import pytest
from umbra import layout

INCLUDE = "kernel/include/umbra/"
DOCS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "servers/*/README.md")
ENUM = re.compile(r"enum(?:\s+\w+)?\s*\{(.*?)\}", re.S)
METHODS = ("UNTYPED", "CNODE", "TCB", "SCHED", "TIMER", "FRAME", "PAGETABLE", "GUESTSPACE", "VM", "VCPU", "SHADOW", "VIEW",
           "IRQCONTROL", "IRQ", "IOPORT", "KERNEL", "CHANGE")
EXIT_ABI = ("EXIT", "INSN", "STATE", "REPLY", "OP", "SH")
NOT_NAMES = re.compile(r".*_(BITS|MAX|MIN|LAST|KINDS|CODES|COUNT|ALL)$|.*_BITS_.*|FRAME_(4K|2M)|SHADOW_(LONG|PAE|NESTED)")


def read(path):
    return (layout.ROOT / path).read_text()


def enumerators(header, prefixes):
    """The enumerators of a header that begin with one of the prefixes, limits and sizes left out."""
    text = re.sub(r"/\*.*?\*/", "", read(INCLUDE + header), flags=re.S)
    names = [part.split("=")[0].strip() for body in ENUM.findall(text) for part in body.split(",")]
    return [n for n in names if n.split("_")[0] in prefixes and "_" in n and not NOT_NAMES.fullmatch(n)]


def documents():
    return layout.find(*DOCS)


@pytest.mark.parametrize("header,prefixes,least", [("object.h", METHODS, 50), ("syscall.h", ("SYS", "FAULT"), 12),
                                                   ("vcpu.h", EXIT_ABI, 50), ("object.h", ("RIGHT",), 4)])
def test_kernel_api_names_every_method_call_exit_and_operation(header, prefixes, least):
    names = enumerators(header, prefixes)
    assert len(names) >= least
    text = read("docs/kernel-api.md")
    assert [n for n in names if not re.search(r"`%s\b" % n, text)] == []


def test_kernel_api_names_every_error():
    names = re.findall(r"^\s*ERR_(\w+) =", read(INCLUDE + "errors.h"), re.M)
    assert len(names) > 30 and names.pop() == "COUNT"
    text = read("docs/kernel-api.md")
    assert [n for n in names if "`%s`" % n not in text] == []


def test_kernel_api_invents_no_method_and_no_error():
    headers = "".join(read(INCLUDE + h) for h in ("object.h", "syscall.h", "vcpu.h", "bootinfo.h", "errors.h", "types.h"))
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b(?!\*)", read("docs/kernel-api.md")))
    gone = [n for n in named if not re.search(r"\b(ERR_)?%s\b" % n, headers)]
    assert [n for n in gone if not n.endswith("_")] == []
