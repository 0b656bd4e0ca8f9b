# SPDX-License-Identifier: BSD-2-Clause
"""The syntax tree: plain records, each with its position; `doc` is the comment just above a declaration.

The parser makes them; the checker resolves names beside them and does not change what was written."""
from dataclasses import dataclass, field as dc_field
from typing import Any

from .diagnostics import Pos


@dataclass
class Node:
    pos: Pos


@dataclass
class Number(Node):
    value: int
    unit: str = ""


@dataclass
class Bool(Node):
    value: bool


@dataclass
class Text(Node):
    value: str


@dataclass
class Ref(Node):
    path: tuple


@dataclass
class Unary(Node):
    op: str
    x: Any


@dataclass
class Binary(Node):
    op: str
    a: Any
    b: Any


@dataclass
class IrqValue(Node):
    line: Any


@dataclass
class IoportValue(Node):
    first: Any
    last: Any


@dataclass
class ModuleValue(Node):
    name: str


@dataclass
class TypeName(Node):
    name: str


@dataclass
class TypeString(Node):
    bound: Any


@dataclass
class TypeBytes(Node):
    bound: Any


@dataclass
class TypeCap(Node):
    kind: str


@dataclass
class TypeArray(Node):
    elem: Any
    bound: Any
    at_most: bool


@dataclass
class Import(Node):
    path: str


@dataclass
class Decl(Node):
    name: str
    doc: str = dc_field(default="", kw_only=True)


@dataclass
class Const(Decl):
    expr: Any = None


@dataclass
class Enumerator(Decl):
    expr: Any = None


@dataclass
class Enum(Decl):
    base: str = ""
    items: list = dc_field(default_factory=list)
    flags: bool = False


@dataclass
class Field(Decl):
    type: Any = None


@dataclass
class Struct(Decl):
    fields: list = dc_field(default_factory=list)


@dataclass
class OwnError(Decl):
    text: str | None = None


@dataclass
class Errors(Node):
    items: list


@dataclass
class Param(Decl):
    direction: str = "in"
    type: Any = None


@dataclass
class Clause(Node):
    kind: str  # requires, ensures, errors
    expr: Any = None
    names: list = dc_field(default_factory=list)  # of Ref


@dataclass
class Procedure(Decl):
    idempotent: bool = False
    params: list = dc_field(default_factory=list)
    clauses: list = dc_field(default_factory=list)


@dataclass
class Interface(Decl):
    version: Any = None
    items: list = dc_field(default_factory=list)


@dataclass
class Event(Decl):
    pass


@dataclass
class Dataport(Decl):
    pages: list = dc_field(default_factory=list)
    layouts: list = dc_field(default_factory=list)  # of Ref


@dataclass
class Statement(Node):
    """One statement of a component: kind names it, the rest is what it has."""
    kind: str
    name: str = ""
    of: str = ""
    type: Any = None
    value: Any = None
    count: Any = None
    doc: str = ""


@dataclass
class Component(Decl):
    builtin: bool = False
    items: list = dc_field(default_factory=list)


@dataclass
class Machine(Node):
    memory: Any


@dataclass
class Instance(Decl):
    component: str = ""


@dataclass
class End(Node):
    instance: str
    port: str
    index: Any = None


@dataclass
class Connect(Node):
    sources: list
    target: End


@dataclass
class Setting(Node):
    path: tuple
    value: Any


@dataclass
class Assembly(Decl):
    items: list = dc_field(default_factory=list)


@dataclass
class File(Node):
    path: str
    items: list
