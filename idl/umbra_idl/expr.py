# SPDX-License-Identifier: BSD-2-Clause
"""Expressions: constant evaluation, and contracts (requires, ensures) as exact integer arithmetic in C.

A contract means what it means for mathematical integers: every node carries its interval, computed from the
types; what fits 64 unsigned bits is emitted as uint64_t, else as __int128, and what might leave 127 bits is
refused (E036). So a generated check cannot wrap."""
import operator
from dataclasses import dataclass

from . import ast
from .types import ConstSymbol, EnumType, U64_MAX

LIMIT = 1 << 127
COMPARE = ("==", "!=", "<", "<=", ">", ">=")
_APPLY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv, "%": operator.mod,
          "<<": operator.lshift, ">>": operator.rshift, "&": operator.and_, "|": operator.or_,
          "^": operator.xor,
          "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
          ">=": operator.ge}


def lookup(path, scope):
    """The value of a constant `N` or an enumerator `type.NAME`; None if there is none."""
    thing = scope.find(path[0])
    if isinstance(thing, ConstSymbol) and len(path) == 1:
        return thing.value
    if isinstance(thing, EnumType) and len(path) == 2:
        return next((v for n, v, _ in thing.items if n == path[1]), None)
    return None


def evaluate(e, scope, report):
    """The integer or bool that a constant expression has; None after a diagnostic."""
    if isinstance(e, (ast.Number, ast.Bool)):
        return e.value
    if isinstance(e, ast.Ref):
        value = lookup(e.path, scope)
        if value is None:
            report.error(e.pos, "E012", f"'{'.'.join(e.path)}' is not defined",
                         "a constant or type.ENUMERATOR")
        return value
    if isinstance(e, ast.Unary):
        x = evaluate(e.x, scope, report)
        return None if x is None else (not x if e.op == "!" else -x)
    if not isinstance(e, ast.Binary):
        report.error(e.pos, "E027", "this is no number", "a constant expression")
        return None
    a, b = evaluate(e.a, scope, report), evaluate(e.b, scope, report)
    if a is None or b is None:
        return None
    if e.op in ("||", "&&"):
        return bool(a or b) if e.op == "||" else bool(a and b)
    if e.op not in ("==", "!=") and (isinstance(a, bool) or isinstance(b, bool)):
        report.error(e.pos, "E027", f"'{e.op}' of a truth value has no value", "two integers")
        return None
    if e.op in ("/", "%") and (a < 0 or b <= 0):
        report.error(e.pos, "E027", f"{a} {e.op} {b} has no value", "a divisor above 0")
        return None
    if e.op in ("<<", ">>") and not (0 <= b < 64 and a >= 0):
        report.error(e.pos, "E027", f"{a} {e.op} {b} has no value", "a shift of 0 to 63 bits")
        return None
    value = _APPLY[e.op](a, b)
    if abs(value) >= LIMIT:
        report.error(e.pos, "E027", "the value is too large", "a value below 2^127")
        return None
    return value


@dataclass
class Typed:
    """A contract's node: truth value or integer interval, and its C text."""
    truth: bool
    lo: int
    hi: int
    c: str

    @property
    def u64(self):
        return not self.truth and self.lo >= 0 and self.hi <= U64_MAX

    def wide(self):
        return f"(__int128)({self.c})" if self.u64 else self.c


def literal(value):
    if value <= U64_MAX and value >= 0:
        return f"{value}ull" if value < 1 << 16 else f"{value:#x}ull"
    sign, mag = ("-", -value) if value < 0 else ("", value)
    return f"({sign}((__int128){mag >> 64:#x} << 64 | {mag & U64_MAX:#x}ull))"


class Contract:
    """Translates one expression; `values` maps a path such as ('data', 'len') to (C name, largest value)."""

    def __init__(self, values, scope, report, forbidden=None):
        self.values, self.scope, self.report = values, scope, report
        self.forbidden = forbidden or {}
        self.used = {}  # C name -> path, in order of use

    def _bad(self, e, code, text, expected=""):
        self.report.error(e.pos, code, text, expected)

    def node(self, e):
        if isinstance(e, ast.Number):
            return Typed(False, e.value, e.value, literal(e.value))
        if isinstance(e, ast.Bool):
            return Typed(True, 0, 1, "true" if e.value else "false")
        if isinstance(e, ast.Ref):
            return self._ref(e)
        if isinstance(e, ast.Unary):
            return self._unary(e)
        return self._binary(e)

    def _ref(self, e):
        if e.path in self.values:
            c, top, truth = self.values[e.path]
            self.used[c] = e.path
            return Typed(truth, 0, top, c)
        if e.path in self.forbidden:
            return self._bad(e, *self.forbidden[e.path])
        value = lookup(e.path, self.scope)
        if value is not None:
            return Typed(False, value, value, literal(value))
        return self._bad(e, "E012", f"'{'.'.join(e.path)}' is not defined",
                         "a parameter, one of its fields, .len or .count, a constant, or type.ENUMERATOR")

    def _unary(self, e):
        x = self.node(e.x)
        if x is None:
            return None
        if x.truth != (e.op == "!"):
            return self._bad(e, "E035", f"'{e.op}' does not apply here",
                             "a truth value" if e.op == "!" else "an integer")
        if x.truth:
            return Typed(True, 0, 1, f"!({x.c})")
        return self._number(e, -x.hi, -x.lo, f"(-{x.wide()})")

    def _number(self, e, lo, hi, c):
        if lo <= -LIMIT or hi >= LIMIT:
            return self._bad(e, "E036", f"the value of '{e.op}' may leave 127 bits", "smaller operands")
        return Typed(False, lo, hi, c)

    def _binary(self, e):
        a, b = self.node(e.a), self.node(e.b)
        if a is None or b is None:
            return None
        logic = e.op in ("||", "&&")
        mixed = a.truth != b.truth or (a.truth and not logic and e.op not in ("==", "!="))
        if mixed or (logic and not a.truth):
            return self._bad(e, "E035", f"'{e.op}' does not apply here",
                             "two truth values" if logic else "two integers")
        if logic or a.truth:
            return Typed(True, 0, 1, f"({a.c}) {e.op} ({b.c})")
        if e.op in COMPARE:
            return self._compare(e, a, b)
        return self._arith(e, a, b)

    @staticmethod
    def _decided(op, a, b):
        """The outcome of a comparison that the intervals alone decide, else None."""
        if op in ("<", ">="):
            out = True if a.hi < b.lo else False if a.lo >= b.hi else None
        elif op in (">", "<="):
            out = True if a.lo > b.hi else False if a.hi <= b.lo else None
        else:
            out = False if a.hi < b.lo or b.hi < a.lo else None
        return out if out is None or op in ("<", ">", "==") else not out

    def _compare(self, e, a, b):
        decided = self._decided(e.op, a, b)
        if decided is not None:
            return Typed(True, 0, 1, "true" if decided else "false")
        both = a.u64 and b.u64
        return Typed(True, 0, 1, f"{a.c} {e.op} {b.c}" if both else f"{a.wide()} {e.op} {b.wide()}")

    def _arith(self, e, a, b):
        if e.op in ("/", "%", "<<", ">>"):
            top = 63 if e.op in ("<<", ">>") else U64_MAX
            if b.lo != b.hi or b.lo < (0 if top == 63 else 1) or b.hi > top:
                return self._bad(e, "E037", f"the right side of '{e.op}' is not suitable",
                                 "a constant from 0 to 63" if top == 63 else "a constant above 0")
        if e.op not in ("+", "-", "*") and (a.lo < 0 or b.lo < 0):
            return self._bad(e, "E036", f"'{e.op}' may meet a negative value",
                             "operands that are never negative")
        lo, hi = self._interval(e.op, a, b)
        out = Typed(False, lo, hi, "")
        plain = a.u64 and b.u64 and out.u64
        if e.op == "<<":
            c = f"({a.c} << {b.lo})" if plain else f"({a.wide()} * {literal(1 << b.lo)})"
        else:
            c = f"({a.c} {e.op} {b.c})" if plain else f"({a.wide()} {e.op} {b.wide()})"
        return self._number(e, lo, hi, c)

    @staticmethod
    def _interval(op, a, b):
        if op in ("&",):
            return 0, min(a.hi, b.hi)
        if op in ("|", "^"):
            return 0, (1 << max(a.hi, b.hi).bit_length()) - 1
        if op == "%":
            return 0, min(a.hi, b.hi - 1)
        ends = [_APPLY[op](x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
        return min(ends), max(ends)


def text_of(e):
    """The expression as it would be written, for reference pages."""
    if isinstance(e, ast.Number):
        return str(e.value)
    if isinstance(e, ast.Bool):
        return "true" if e.value else "false"
    if isinstance(e, ast.Ref):
        return ".".join(e.path)
    if isinstance(e, ast.Unary):
        return f"{e.op}{_inner(e.x)}"
    return f"{_inner(e.a)} {e.op} {_inner(e.b)}"


def _inner(e):
    keep = not isinstance(e, ast.Binary) or e.op in COMPARE
    return text_of(e) if keep else f"({text_of(e)})"
