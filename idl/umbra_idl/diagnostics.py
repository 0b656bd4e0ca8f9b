# SPDX-License-Identifier: BSD-2-Clause
"""Diagnostics: every code with its meaning, and the report that collects them.

A diagnostic prints as `file:line:col: error E0xx: what; expected ...`. Each code has a golden file in
tests/idl/golden/ (a test holds this). Codes are never reused."""
from dataclasses import dataclass

CODES = {
    "E001": "the text does not fit the grammar",
    "E002": "an imported file cannot be read",
    "E010": "a name is defined twice in the same scope",
    "E011": "a type is not defined",
    "E012": "a name in an expression is not defined",
    "E013": "a name cannot be used in the generated C",
    "E014": "an interface, event, dataport or component is not defined",
    "E015": "an instance has no such port",
    "E016": "an instance is not defined",
    "E017": "an error is not defined",
    "E018": "a setting names nothing that can be set",
    "E020": "a value does not fit its type",
    "E021": "two enumerators have the same value",
    "E022": "a flag is not a single bit",
    "E023": "an enum, flags or struct is empty",
    "E024": "a struct contains itself",
    "E025": "a bound is outside its range",
    "E026": "a type is not allowed there",
    "E027": "a constant expression has no value",
    "E028": "the underlying type is not an unsigned integer",
    "E030": "a message has more words than fit",
    "E031": "a message has more capabilities than fit",
    "E032": "an interface has too many procedures",
    "E033": "an interface version is outside its range",
    "E034": "a requires clause names an output",
    "E035": "an expression mixes truth values and integers, or names what has no value",
    "E036": "an expression may leave the range of the evaluation",
    "E037": "a divisor or shift is not a suitable constant",
    "E038": "a capability parameter is inout",
    "E039": "an ensures clause names no output",
    "E040": "two interfaces have the same identity",
    "E041": "a dataport layout does not fit its pages",
    "E042": "a shared struct has padding",
    "E043": "a shared struct has a field without one fixed form",
    "E050": "a component that runs a guest provides procedures",
    "E051": "a value of a component is outside its range",
    "E052": "a component lacks a statement, or has it twice",
    "E053": "a component waits on more event bits than there are",
    "E054": "a component has more capability slots than a CNode",
    "E055": "a builtin component has more than provided interfaces",
    "E056": "manages or observes names no fitting port",
    "E057": "a control component provides an interface, or a server provides none",
    "E060": "the two ends of a connection do not fit",
    "E061": "a port is connected twice",
    "E062": "a port is not connected",
    "E063": "nobody, or nobody else, may use what a dataport holds",
    "E064": "an index is missing, not allowed or outside its array",
    "E065": "an instance is connected to itself",
    "E066": "servers call each other in a cycle",
    "E067": "the system does not fit the machine's memory",
    "E068": "guest memory exceeds the pool of its manager",
    "E069": "a piece of hardware is granted twice",
    "E070": "a hardware grant is missing or outside its range",
    "E071": "a setting has the wrong type or is outside its range",
    "E072": "a needed setting is missing",
    "E073": "two components that run guests share something directly, or any two what no connection declares",
    "E074": "capabilities could pass from one guest's component to another's",
    "E075": "there is more than one assembly, or none where one is needed",
    "E076": "the same boot module is named for different purposes",
    "E077": "there are too many boot modules, components or connections",
    "E078": "a server has a lower priority than its client",
    "E079": "an array of managed or observed guests is too small",
    "E080": "a guest's component could obtain another guest, or the kernel object",
}


@dataclass(frozen=True)
class Pos:
    file: str
    line: int
    col: int

    def __str__(self):
        return f"{self.file}:{self.line}:{self.col}"


@dataclass(frozen=True)
class Diagnostic:
    pos: Pos
    code: str
    text: str
    expected: str = ""

    def __str__(self):
        tail = f"; expected {self.expected}" if self.expected else ""
        return f"{self.pos}: error {self.code}: {self.text}{tail}"


class Failed(Exception):
    """Compilation cannot go on; the report holds why."""


class Report:
    def __init__(self):
        self.items = []

    def error(self, pos, code, text, expected=""):
        assert code in CODES, code
        item = Diagnostic(pos, code, text, expected)
        if item not in self.items:
            self.items.append(item)

    def stop_on_error(self):
        if self.items:
            raise Failed()

    def lines(self):
        return [str(d) for d in self.items]
