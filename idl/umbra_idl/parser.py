# SPDX-License-Identifier: BSD-2-Clause
"""Text to syntax tree: the lark grammar, comments as documentation, imports (each file once).

Reports E001 and E002; knows nothing about what names mean."""
import os
import pathlib

import lark

from . import ast
from .diagnostics import Failed, Pos

GRAMMAR = (pathlib.Path(__file__).parent / "grammar.lark").read_text()
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "us": 1, "ms": 1000, "s": 1000000}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "\\": "\\"}
# What a terminal is called in a message where its pattern would not help.
TERMINALS = {"NAME": "a name", "NUMBER": "a number", "STRING": "a string", "$END": "the end of the file",
             "BITOP": "'&'", "SHIFT": "'<<'", "MULOP": "'*'", "COMPARE": "'=='"}


def unquote(token):
    out, i, s = [], 1, str(token)
    while i < len(s) - 1:
        if s[i] == "\\":
            i += 1
            out.append(ESCAPES[s[i]])
        else:
            out.append(s[i])
        i += 1
    return "".join(out)


def comment_text(token):
    s = str(token)
    lines = [s[2:]] if s.startswith("//") else s[2:-2].split("\n")
    return "\n".join(line.strip().lstrip("*").strip() for line in lines).strip()


@lark.v_args(meta=True)
class Build(lark.Transformer):
    """Turns lark's tree into ast records, bottom up."""

    def __init__(self, file, comments):
        super().__init__()
        self.file = file
        self.docs = self._docs_by_line(comments)

    @staticmethod
    def _docs_by_line(comments):
        """The comment that ends on line n documents what starts on line n + 1; line comments join."""
        docs, starts = {}, {}
        for token in comments:
            text, first = comment_text(token), token.line
            if text.startswith("SPDX-"):
                continue
            if str(token).startswith("//") and first - 1 in docs and starts[first - 1]:
                text = docs.pop(first - 1) + "\n" + text
            last = first + str(token).count("\n")
            docs[last], starts[last] = text, str(token).startswith("//")
        return docs

    def _pos(self, meta_or_token):
        return Pos(self.file, meta_or_token.line, meta_or_token.column)

    def _doc(self, meta):
        return self.docs.get(meta.line - 1, "")

    def start(self, meta, c):
        return ast.File(Pos(self.file, 1, 1), self.file, c)

    def import_(self, meta, c):
        return ast.Import(self._pos(c[0]), unquote(c[0]))

    def const(self, meta, c):
        return ast.Const(self._pos(c[0]), str(c[0]), c[1], doc=self._doc(meta))

    def enumerator(self, meta, c):
        return ast.Enumerator(self._pos(c[0]), str(c[0]), c[1], doc=self._doc(meta))

    def enum(self, meta, c, flags=False):
        return ast.Enum(self._pos(c[0]), str(c[0]), str(c[1]), [i for i in c[2:] if i is not None], flags,
                        doc=self._doc(meta))

    def flags(self, meta, c):
        return ast.Enum(self._pos(c[0]), str(c[0]), str(c[1]), [i for i in c[2:] if i is not None], True,
                        doc=self._doc(meta))

    def struct(self, meta, c):
        return ast.Struct(self._pos(c[0]), str(c[0]), list(c[1:]), doc=self._doc(meta))

    def field(self, meta, c):
        return ast.Field(self._pos(c[1]), str(c[1]), c[0], doc=self._doc(meta))

    def type_name(self, meta, c):
        return ast.TypeName(self._pos(c[0]), str(c[0]))

    def type_string(self, meta, c):
        return ast.TypeString(self._pos(meta), c[0])

    def type_bytes(self, meta, c):
        return ast.TypeBytes(self._pos(meta), c[0])

    def type_cap(self, meta, c):
        return ast.TypeCap(self._pos(c[0]), str(c[0]))

    def array(self, meta, c):
        return ast.TypeArray(self._pos(meta), c[0], c[2], c[1] is not None)

    def interface(self, meta, c):
        return ast.Interface(self._pos(c[0]), str(c[0]), c[1], list(c[2:]), doc=self._doc(meta))

    def errors(self, meta, c):
        return ast.Errors(self._pos(meta), list(c))

    def own_error(self, meta, c):
        return ast.OwnError(self._pos(c[0]), str(c[0]), None if c[1] is None else unquote(c[1]))

    def procedure(self, meta, c):
        params = [p for p in c[2:] if isinstance(p, ast.Param)]
        clauses = [p for p in c[2:] if isinstance(p, ast.Clause)]
        return ast.Procedure(self._pos(c[1]), str(c[1]), c[0] is not None, params, clauses,
                             doc=self._doc(meta))

    def param(self, meta, c):
        return ast.Param(self._pos(c[2]), str(c[2]), str(c[0]), c[1])

    def requires(self, meta, c):
        return ast.Clause(self._pos(meta), "requires", c[0])

    def ensures(self, meta, c):
        return ast.Clause(self._pos(meta), "ensures", c[0])

    def raises(self, meta, c):
        return ast.Clause(self._pos(meta), "errors", None, [ast.Ref(self._pos(t), (str(t),)) for t in c])

    def raises_none(self, meta, c):
        return ast.Clause(self._pos(meta), "errors")

    def event(self, meta, c):
        return ast.Event(self._pos(c[0]), str(c[0]), doc=self._doc(meta))

    def layout(self, meta, c):
        return ("layout", ast.Ref(self._pos(c[0]), (str(c[0]),)))

    def dataport(self, meta, c):
        layouts = [x[1] for x in c[1:] if isinstance(x, tuple)]
        pages = [x for x in c[1:] if not isinstance(x, tuple)]
        return ast.Dataport(self._pos(c[0]), str(c[0]), pages, layouts, doc=self._doc(meta))

    def component(self, meta, c):
        return ast.Component(self._pos(c[0]), str(c[0]), c[1] is not None, list(c[2:]), doc=self._doc(meta))

    def _statement(self, meta, pos_of, kind, **more):
        return ast.Statement(self._pos(pos_of), kind, doc=self._doc(meta), **more)

    def c_kind(self, meta, c):
        return self._statement(meta, c[0], "kind", name=str(c[0]))

    def c_value(self, meta, c):
        return self._statement(meta, c[0], str(c[0]), value=c[1])

    def c_module(self, meta, c):
        return self._statement(meta, c[0], "module", value=unquote(c[0]))

    def c_budget(self, meta, c):
        return self._statement(meta, meta, "budget", value=(c[0], c[1]))

    def _port(self, meta, kind, c, count=None):
        return self._statement(meta, c[1], kind, of=str(c[0]), name=str(c[1]), count=count)

    def c_provides(self, meta, c):
        return self._port(meta, "provides", c)

    def c_uses(self, meta, c):
        return self._port(meta, "uses", c)

    def c_emits(self, meta, c):
        return self._port(meta, "emits", c, c[2])

    def c_consumes(self, meta, c):
        return self._port(meta, "consumes", c, c[2])

    def c_dataport(self, meta, c):
        return self._statement(meta, c[1], "dataport", of=str(c[0]), name=str(c[1]), count=c[2],
                               value=str(c[3]))

    def c_attribute(self, meta, c):
        return self._statement(meta, c[1], "attribute", type=c[0], name=str(c[1]), value=c[2])

    def _named(self, meta, kind, c, **more):
        return self._statement(meta, c[0], kind, name=str(c[0]), **more)

    def c_timer(self, meta, c):
        return self._named(meta, "timer", c)

    def c_irq(self, meta, c):
        return self._named(meta, "irq", c)

    def c_ioport(self, meta, c):
        return self._named(meta, "ioport", c)

    def c_untyped(self, meta, c):
        return self._named(meta, "untyped", c, count=c[1], value=c[2])

    def c_segment(self, meta, c):
        return self._named(meta, "segment", c, value=c[1])

    def c_guest(self, meta, c):
        return self._named(meta, "guest", c)

    def c_manages(self, meta, c):
        return self._named(meta, "manages", c, count=c[1], of=str(c[2]))

    def c_observes(self, meta, c):
        return self._named(meta, "observes", c, count=c[1], of=str(c[2]))

    def c_log(self, meta, c):
        return self._statement(meta, meta, "log")

    def index(self, meta, c):
        return c[0]

    def assembly(self, meta, c):
        return ast.Assembly(self._pos(c[0]), str(c[0]), list(c[1:]), doc=self._doc(meta))

    def machine(self, meta, c):
        return ast.Machine(self._pos(meta), c[0])

    def instance(self, meta, c):
        return ast.Instance(self._pos(c[1]), str(c[1]), str(c[0]), doc=self._doc(meta))

    def end(self, meta, c):
        return ast.End(self._pos(c[0]), str(c[0]), str(c[1]), c[2])

    def connect(self, meta, c):
        return ast.Connect(self._pos(meta), list(c[:-1]), c[-1])

    def path(self, meta, c):
        return ast.Ref(self._pos(c[0]), tuple(str(t) for t in c))

    def setting(self, meta, c):
        return ast.Setting(c[0].pos, c[0].path, c[1])

    def v_irq(self, meta, c):
        return ast.IrqValue(self._pos(meta), c[0])

    def v_ioport(self, meta, c):
        return ast.IoportValue(self._pos(meta), c[0], c[1])

    def v_module(self, meta, c):
        return ast.ModuleValue(self._pos(meta), unquote(c[0]))

    def v_string(self, meta, c):
        return ast.Text(self._pos(c[0]), "".join(unquote(t) for t in c))

    def number(self, meta, c):
        text = str(c[0]).replace("_", "")
        unit = next((u for u in ("ms", "us", "s", "K", "M", "G") if text.endswith(u)), "")
        digits = text[:len(text) - len(unit)]
        base = 16 if digits[:2] in ("0x", "0X") else 10
        return ast.Number(self._pos(c[0]), int(digits, base) * UNITS[unit], unit)

    def boolean(self, meta, c):
        return ast.Bool(self._pos(c[0]), str(c[0]) == "true")

    def ref(self, meta, c):
        return ast.Ref(self._pos(c[0]), tuple(str(t) for t in c))

    def unary_op(self, meta, c):
        return ast.Unary(self._pos(c[0]), str(c[0]), c[1])

    def binary(self, meta, c):
        return ast.Binary(self._pos(c[1]), str(c[1]), c[0], c[2])


_comments = []
_lark = lark.Lark(GRAMMAR, parser="lalr", start=["start", "value"], propagate_positions=True,
                  maybe_placeholders=True, lexer_callbacks={"COMMENT": _comments.append})


def _expected(names):
    words = set()
    for name in names:
        if name in TERMINALS:
            words.add(TERMINALS[name])
            continue
        pattern = next((t.pattern for t in _lark.terminals if t.name == name), None)
        if pattern is None:
            words.add(name.lower())
        elif pattern.type == "str":
            words.add(f"'{pattern.value}'")
        else:
            words.update(f"'{w}'" for w in pattern.value.strip("(?:)").replace("\\", "").split("|"))
    listed = sorted(words)
    return "one of " + ", ".join(listed) if len(listed) > 1 else listed[0]


def parse_text(text, file, report, start="start"):
    """One text to an ast.File (or a value with start='value'); raises Failed after reporting E001."""
    _comments.clear()
    try:
        tree = _lark.parse(text, start=start)
    except lark.UnexpectedCharacters as e:
        report.error(Pos(file, e.line, e.column), "E001", f"unexpected character {text[e.pos_in_stream]!r}",
                     "a word, number, string or sign of the language")
        raise Failed() from None
    except lark.UnexpectedToken as e:
        at_end = e.token.type == "$END"
        lines = text.split("\n")
        pos = Pos(file, len(lines), len(lines[-1]) + 1) if at_end else Pos(file, e.line, e.column)
        what = "the file ends too early" if at_end else f"unexpected '{e.token}'"
        report.error(pos, "E001", what, _expected(e.accepts or e.expected))
        raise Failed() from None
    try:
        return Build(file, list(_comments)).transform(tree)
    except RecursionError:
        report.error(Pos(file, 1, 1), "E001", "the text is nested too deeply", "simpler expressions")
        raise Failed() from None


def load(path, report, display=None):
    """The file and all it imports, in dependency order, as a list of ast.File; each file once."""
    root = pathlib.Path(path)
    files, seen = [], set()

    def visit(p, shown, at):
        key = p.resolve()
        if key in seen:
            return
        seen.add(key)
        try:
            text = p.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
            report.error(at, "E002", f"cannot read '{shown}': {why}", "a file beside the one that imports it")
            return
        tree = parse_text(text, shown, report)
        for item in tree.items:
            if isinstance(item, ast.Import):
                visit(p.parent / item.path, os.path.normpath(pathlib.PurePath(shown).parent / item.path),
                      item.pos)
        files.append(tree)

    shown = display or str(path)
    visit(root, shown, Pos(shown, 1, 1))
    report.stop_on_error()
    return files
