# SPDX-License-Identifier: BSD-2-Clause
"""How the parameters of one direction lie in the words of a message.

Head: all scalars (fields of structs one by one, 16-bit lengths of bounded data too), widest first, so that
each is aligned, nothing is padded and small calls stay in the four registers. Then a block of whole words for
each string, bytes or array, in order of declaration; only the elements there are. Unused bits are zero, and
checked: a value has exactly one form. Little-endian."""
from dataclasses import dataclass, field
from typing import Any

from .types import Array, Bytes, Cap, Int, String, StructType, is_scalar

WORDS_MAX = 64
CAPS_MAX = 4
LENGTH = Int(16)


@dataclass(frozen=True)
class Leaf:
    """A part of a parameter that travels by itself: the parameter, the fields that lead to it, its type."""
    param: Any
    fields: tuple
    type: Any

    @property
    def path(self):
        return (self.param.name, *self.fields) if self.param else self.fields


@dataclass(frozen=True)
class HeadItem:
    leaf: Leaf
    length: bool  # the length of the leaf's data, not a value
    word: int
    shift: int
    bits: int


@dataclass(frozen=True)
class Block:
    """Data behind the head. elem: None for characters and bytes, a scalar type, or Element for structs."""
    leaf: Leaf
    n: int
    variable: bool
    elem: Any
    elem_bytes: int

    @property
    def max_words(self):
        return -(-self.n * self.elem_bytes // 8)


@dataclass
class Element:
    """A struct inside an array: whole words."""
    struct: StructType
    items: list
    words: int


@dataclass
class Wire:
    head: list = field(default_factory=list)
    head_words: int = 0
    blocks: list = field(default_factory=list)
    caps: list = field(default_factory=list)  # of parameters

    @property
    def variable(self):
        return any(b.variable for b in self.blocks)

    @property
    def max_words(self):
        return self.head_words + sum(b.max_words for b in self.blocks)

    def items_of(self, word):
        return [i for i in self.head if i.word == word]


def leaves(param, t, fields=()):
    """The leaves of one parameter of type t, in order of declaration."""
    if not isinstance(t, StructType):
        return [Leaf(param, fields, t)]
    return [leaf for name, ft, _ in t.fields for leaf in leaves(param, ft, fields + (name,))]


def _pack(wanted):
    """(leaf, is length, bytes) -> head items and the number of words; widest first, stable."""
    items, at = [], 0
    for leaf, length, size in sorted(wanted, key=lambda x: -x[2]):
        items.append(HeadItem(leaf, length, at // 8, at % 8 * 8, size * 8))
        at += size
    return items, -(-at // 8)


def _element(struct):
    items, words = _pack([(leaf, False, leaf.type.bytes) for leaf in leaves(None, struct)])
    return Element(struct, items, words)


def _block(leaf):
    t = leaf.type
    if isinstance(t, (String, Bytes)):
        return Block(leaf, t.n, True, None, 1)
    if isinstance(t.elem, StructType):
        element = _element(t.elem)
        return Block(leaf, t.n, t.at_most, element, element.words * 8)
    return Block(leaf, t.n, t.at_most, t.elem, t.elem.bytes)


def layout(params):
    """The Wire of these parameters (of one direction)."""
    wire, wanted = Wire(), []
    for param in params:
        if isinstance(param.type, Cap):
            wire.caps.append(param)
            continue
        for leaf in leaves(param, param.type):
            if is_scalar(leaf.type):
                wanted.append((leaf, False, leaf.type.bytes))
                continue
            block = _block(leaf)
            wire.blocks.append(block)
            if block.variable:
                wanted.append((leaf, True, LENGTH.bytes))
    wire.head, wire.head_words = _pack(wanted)
    return wire


def allowed_in_message(t, top=True, in_array=False):
    """None, or why type t cannot be (part of) a parameter."""
    if is_scalar(t):
        return None
    if isinstance(t, Cap):
        return None if top else "a capability is a parameter by itself"
    if isinstance(t, StructType):
        whys = (allowed_in_message(ft, False, in_array) for _, ft, _ in t.fields)
        return next((w for w in whys if w), None)
    if in_array:
        return "an array's elements are scalars or structs of scalars"
    if isinstance(t, Array):
        return allowed_in_message(t.elem, False, True)
    return None
