# SPDX-License-Identifier: BSD-2-Clause
"""What the checker makes of the files: resolved declarations that the generators read and never change."""
from dataclasses import dataclass, field
from typing import Any

from .types import Scope


@dataclass(eq=False)
class Param:
    name: str
    direction: str
    type: Any
    decl: Any

    @property
    def is_in(self):
        return self.direction in ("in", "inout")

    @property
    def is_out(self):
        return self.direction in ("out", "inout")


@dataclass
class Clause:
    """A checked contract: C condition over `args`, a dict C name -> path of the value."""
    kind: str
    c: str
    args: dict
    text: str
    pos: Any


@dataclass(eq=False)
class Procedure:
    name: str
    number: int
    label: int
    idempotent: bool
    params: list
    requires: list
    ensures: list
    errors: list  # of (C name, text)
    in_wire: Any
    out_wire: Any
    doc: str
    decl: Any


@dataclass(eq=False)
class Interface:
    name: str
    version: int
    identity: int
    scope: Scope
    file: str
    types: list = field(default_factory=list)
    consts: list = field(default_factory=list)
    own_errors: list = field(default_factory=list)  # of (name, C name, number, text)
    procedures: list = field(default_factory=list)
    doc: str = ""
    decl: Any = None

    @property
    def passes_caps(self):
        """(some procedure takes capabilities, some gives them)"""
        return (any(p.in_wire.caps for p in self.procedures), any(p.out_wire.caps for p in self.procedures))


@dataclass(eq=False)
class Dataport:
    name: str
    pages: int
    layout: Any
    file: str
    doc: str
    decl: Any


@dataclass
class Unit:
    """What one file declares outside interfaces and components: it becomes one header."""
    file: str
    stem: str
    imports: list = field(default_factory=list)  # stems
    types: list = field(default_factory=list)
    consts: list = field(default_factory=list)
    dataports: list = field(default_factory=list)
    events: list = field(default_factory=list)

    @property
    def has_header(self):
        return bool(self.types or self.consts or self.dataports)


@dataclass
class Model:
    scope: Scope
    units: list = field(default_factory=list)
    interfaces: dict = field(default_factory=dict)
    events: dict = field(default_factory=dict)  # name -> decl
    dataports: dict = field(default_factory=dict)
    components: dict = field(default_factory=dict)
    assemblies: list = field(default_factory=list)  # of ast.Assembly
    errors: dict = field(default_factory=dict)  # name -> text, the system's table
