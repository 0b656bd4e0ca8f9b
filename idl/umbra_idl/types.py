# SPDX-License-Identifier: BSD-2-Clause
"""Resolved types and scopes, and how a value lies in shared memory.

A type here is what a name in the text means; how it travels in a message is wire.py, how it is written in C
is gen_c.py. Kinds of capabilities are the kernel's object types (kernel/include/umbra/object.h)."""
from dataclasses import dataclass, field
from typing import Any

CAP_KINDS = ("untyped", "cnode", "tcb", "sched", "endpoint", "reply", "notification", "timer", "frame",
             "range", "vspace", "pagetable", "guestspace", "vm", "vcpu", "shadow", "view", "irq", "ioport")
U64_MAX = (1 << 64) - 1

# Words that the generated C cannot use as names; and those that a parameter cannot have besides.
C_WORDS = frozenset("""auto break case char const continue default do double else enum extern float for goto
if inline int long register restrict return short signed sizeof static struct switch typedef union unsigned
void volatile while bool true false asm typeof linux unix i386 NULL main errno stdin stdout
stderr""".split())
STUB_WORDS = frozenset(("m", "self", "badge", "ep"))


@dataclass(frozen=True)
class Int:
    bits: int

    @property
    def bytes(self):
        return self.bits // 8

    @property
    def max(self):
        return (1 << self.bits) - 1

    def __str__(self):
        return f"u{self.bits}"


@dataclass(frozen=True)
class Bool:
    bytes = 1
    max = 1

    def __str__(self):
        return "bool"


@dataclass(eq=False)
class EnumType:
    name: str
    c_name: str
    base: Int
    flags: bool
    items: list = field(default_factory=list)  # of (name, value, decl)
    decl: Any = None

    @property
    def bytes(self):
        return self.base.bytes

    @property
    def max(self):
        values = [v for _, v, _ in self.items] or [0]
        return sum(set(values)) if self.flags else max(values)

    def __str__(self):
        return self.name


@dataclass(eq=False)
class StructType:
    name: str
    c_name: str
    fields: list = field(default_factory=list)  # of (name, type, decl)
    decl: Any = None
    shared: bool = False  # lies in a dataport: exact layout asserted

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class String:
    n: int

    def __str__(self):
        return f"string<{self.n}>"


@dataclass(frozen=True)
class Bytes:
    n: int

    def __str__(self):
        return f"bytes<{self.n}>"


@dataclass(frozen=True)
class Array:
    elem: Any
    n: int
    at_most: bool

    def __str__(self):
        return f"{self.elem}[{'<=' if self.at_most else ''}{self.n}]"


@dataclass(frozen=True)
class Cap:
    kind: str

    def __str__(self):
        return f"cap<{self.kind}>"


BUILTIN = {"u8": Int(8), "u16": Int(16), "u32": Int(32), "u64": Int(64), "bool": Bool()}


def is_scalar(t):
    return isinstance(t, (Int, Bool, EnumType))


class Scope:
    """Names of types and constants; an interface's scope lies inside the file scope."""

    def __init__(self, parent=None, prefix=""):
        self.parent, self.prefix, self.names = parent, prefix, {}

    def find(self, name):
        if name in self.names:
            return self.names[name]
        return self.parent.find(name) if self.parent else None

    def define(self, name, thing):
        self.names[name] = thing

    def c_name(self, name):
        return (self.prefix + name).lower()


@dataclass
class ConstSymbol:
    name: str
    c_name: str
    value: int
    decl: Any


def shared_layout(t):
    """(size, alignment, padded) in bytes of a type in shared memory as C lays it out; None: no fixed form."""
    if isinstance(t, Int) or (isinstance(t, EnumType)):
        return t.bytes, t.bytes, False
    if isinstance(t, Array) and not t.at_most:
        inner = shared_layout(t.elem)
        return None if inner is None else (inner[0] * t.n, inner[1], inner[2])
    if isinstance(t, StructType):
        at, align, padded = 0, 1, False
        for _, ft, _ in t.fields:
            inner = shared_layout(ft)
            if inner is None:
                return None
            start = -(-at // inner[1]) * inner[1]
            padded |= start != at or inner[2]
            at, align = start + inner[0], max(align, inner[1])
        size = -(-at // align) * align
        return size, align, padded or size != at
    return None
