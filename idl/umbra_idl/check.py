# SPDX-License-Identifier: BSD-2-Clause
"""The checker, part one: names, types, bounds, contracts and messages of everything outside assemblies.

Every function reports and goes on where it can, so that one run shows all that is wrong. Components' own
statements are in check_component.py, assemblies in check_system.py."""
import pathlib

from . import ast, errors as error_table, wire
from .expr import Contract, evaluate, text_of
from .model import Clause, Dataport, Interface, Model, Param, Procedure, Unit
from .types import (Array, BUILTIN, Bool, Bytes, C_WORDS, CAP_KINDS, Cap, ConstSymbol, EnumType, Int, Scope,
                    STUB_WORDS, String, StructType, U64_MAX, is_scalar, shared_layout)

IDL_DIR = pathlib.Path(__file__).resolve().parent.parent
PROCEDURES_MAX = 255
OWN_ERROR_FIRST = 256  # an interface's own errors lie above every error of the table
IMPLICIT_ERRORS = ("BAD_MESSAGE", "CONTRACT")
PAGE = 4096
DATAPORT_PAGES_MAX = 4096


def identity(name):
    """16 bits that tell interfaces apart on the wire: FNV-1a of the name, folded; never 0."""
    h = 0x811c9dc5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 & 0xffffffff
    return (h >> 16 ^ h & 0xffff) or 1


class Checker:
    def __init__(self, report):
        self.report = report
        self.model = Model(Scope())
        self.model.errors = {e["name"]: e["text"] for e in error_table.load(IDL_DIR / "errors.toml")}
        self.c_names = {}

    # -- names ---------------------------------------------------------------------------------------------

    def name_ok(self, decl, what):
        reserved = decl.name in C_WORDS or decl.name in BUILTIN
        stubs_own = what == "parameter" and decl.name in STUB_WORDS
        if reserved or stubs_own or decl.name.startswith(("_", "idl_")):
            self.report.error(decl.pos, "E013", f"'{decl.name}' cannot be the name of {what}",
                              "a name that is no word of C or of the stubs")
            return False
        return True

    def claim_c(self, c_name, decl):
        """C has one scope for all generated identifiers: two of them must not meet."""
        if c_name in self.c_names and self.c_names[c_name] is not decl:
            other = self.c_names[c_name]
            self.report.error(decl.pos, "E013", f"'{decl.name}' becomes {c_name} in C, as does "
                              f"'{other.name}' at {other.pos}", "names that stay different")
        self.c_names.setdefault(c_name, decl)

    def unique(self, table, decl, what):
        """Claims decl.name in a dict of earlier declarations; reports E010."""
        if decl.name in table:
            self.report.error(decl.pos, "E010", f"{what} '{decl.name}' is defined already at "
                              f"{table[decl.name].pos}", "another name")
            return False
        table[decl.name] = decl
        return self.name_ok(decl, what)

    # -- types ---------------------------------------------------------------------------------------------

    def bound(self, e, scope, top, what):
        n = evaluate(e, scope, self.report)
        if n is None:
            return None
        if isinstance(n, bool) or not 1 <= n <= top:
            self.report.error(e.pos, "E025", f"{what} of {n}", f"1 to {top}")
            return None
        return n

    def resolve(self, t, scope, shared=False):
        """The type that a type expression names, or None after a diagnostic."""
        if isinstance(t, ast.TypeName):
            found = BUILTIN.get(t.name) or scope.find(t.name)
            if found is None or isinstance(found, ConstSymbol):
                self.report.error(t.pos, "E011", f"there is no type '{t.name}'",
                                  "u8 u16 u32 u64 bool string<N> bytes<N> cap<KIND> or a declared type")
                return None
            return found
        if isinstance(t, ast.TypeCap):
            if t.kind not in CAP_KINDS:
                self.report.error(t.pos, "E011", f"there is no capability type '{t.kind}'",
                                  "one of " + ", ".join(CAP_KINDS))
                return None
            return Cap(t.kind)
        top = 1 << 24 if shared else wire.WORDS_MAX * 8
        n = self.bound(t.bound, scope, top, "a length")
        if n is None:
            return None
        if isinstance(t, (ast.TypeString, ast.TypeBytes)):
            return String(n) if isinstance(t, ast.TypeString) else Bytes(n)
        elem = self.resolve(t.elem, scope, shared)
        if elem is None:
            return None
        if not (is_scalar(elem) or isinstance(elem, StructType)):
            self.report.error(t.pos, "E026", f"an array of {elem}", "elements that are scalars or structs")
            return None
        return Array(elem, n, t.at_most)

    def const(self, decl, scope, into):
        if not self.unique(scope.decls, decl, "constant"):
            return
        value = evaluate(decl.expr, scope, self.report)
        if value is None:
            return
        if isinstance(value, bool) or not 0 <= value <= U64_MAX:
            self.report.error(decl.pos, "E020", f"constant '{decl.name}' is {value}", "0 to 2^64-1")
            return
        symbol = ConstSymbol(decl.name, scope.c_name(decl.name).upper(), value, decl)
        self.claim_c(symbol.c_name, decl)
        scope.define(decl.name, symbol)
        into.append(symbol)

    def enum(self, decl, scope, into):
        what = "flags" if decl.flags else "enum"
        if not self.unique(scope.decls, decl, what):
            return
        base = BUILTIN.get(decl.base)
        if not isinstance(base, Int):
            self.report.error(decl.pos, "E028", f"{what} '{decl.name}' lies on '{decl.base}'",
                              "u8 u16 u32 or u64")
            base = Int(64)
        t = EnumType(decl.name, scope.c_name(decl.name), base, decl.flags, decl=decl)
        if not decl.items:
            self.report.error(decl.pos, "E023", f"{what} '{decl.name}' is empty", "at least one name")
        names, values, following = {}, {}, 1 if decl.flags else 0
        for item in decl.items:
            self.unique(names, item, "enumerator")
            value = following if item.expr is None else evaluate(item.expr, scope, self.report)
            if value is None:
                continue
            following = self.enumerator(t, item, value, values)
        self.claim_c(t.c_name + "_t", decl)
        for name, _, item in t.items:
            self.claim_c(f"{t.c_name}_{name}".upper(), item)
        scope.define(decl.name, t)
        into.append(t)

    def enumerator(self, t, item, value, values):
        """Adds one enumerator; returns the value that the next one has by default."""
        if isinstance(value, bool) or not 0 <= value <= t.base.max:
            self.report.error(item.pos, "E020", f"'{item.name}' is {value}", f"a value that fits {t.base}")
        elif t.flags and (value == 0 or value & (value - 1)):
            self.report.error(item.pos, "E022", f"'{item.name}' is {value}", "a single bit")
        elif value in values:
            self.report.error(item.pos, "E021", f"'{item.name}' is {value}, as is '{values[value]}'",
                              "another value")
        else:
            values[value] = item.name
            t.items.append((item.name, value, item))
        return value * 2 if t.flags else value + 1

    def struct(self, decl, scope, into):
        if not self.unique(scope.decls, decl, "struct"):
            return
        t = StructType(decl.name, scope.c_name(decl.name), decl=decl)
        if not decl.fields:
            self.report.error(decl.pos, "E023", f"struct '{decl.name}' is empty", "at least one field")
        names = {}
        for f in decl.fields:
            self.unique(names, f, "field")
            inner = f.type.elem if isinstance(f.type, ast.TypeArray) else f.type
            if isinstance(inner, ast.TypeName) and inner.name == decl.name:
                self.report.error(f.pos, "E024", f"struct '{decl.name}' contains itself", "another type")
                continue
            ft = self.resolve(f.type, scope, shared=True)
            if isinstance(ft, Cap):
                self.report.error(f.pos, "E026", f"field '{f.name}' is a capability",
                                  "a parameter by itself for each capability")
            elif ft is not None:
                t.fields.append((f.name, ft, f))
        self.claim_c("struct " + t.c_name, decl)
        scope.define(decl.name, t)
        into.append(t)

    def declare(self, item, scope, types, consts):
        if isinstance(item, ast.Const):
            self.const(item, scope, consts)
        elif isinstance(item, ast.Enum):
            self.enum(item, scope, types)
        elif isinstance(item, ast.Struct):
            self.struct(item, scope, types)

    # -- interfaces ----------------------------------------------------------------------------------------

    def interface(self, decl, file):
        if not self.unique(self.model.scope.interfaces, decl, "interface"):
            return
        scope = new_scope(self.model.scope, decl.name + "_")
        version = evaluate(decl.version, scope, self.report)
        if version is not None and not 1 <= version <= 255:
            self.report.error(decl.pos, "E033", f"interface '{decl.name}' has version {version}", "1 to 255")
            version = None
        face = Interface(decl.name, version or 1, identity(decl.name), scope, file, doc=decl.doc, decl=decl)
        for other in self.model.interfaces.values():
            if other.identity == face.identity:
                self.report.error(decl.pos, "E040", f"'{decl.name}' and '{other.name}' both have identity "
                                  f"{face.identity:#06x}", "another name")
        self.model.interfaces[decl.name] = face
        known = {}
        for item in decl.items:
            if isinstance(item, ast.Errors):
                self.errors(item, face, known)
            elif not isinstance(item, ast.Procedure):
                self.declare(item, scope, face.types, face.consts)
        procedures = [i for i in decl.items if isinstance(i, ast.Procedure)]
        if len(procedures) > PROCEDURES_MAX:
            self.report.error(decl.pos, "E032", f"interface '{decl.name}' has {len(procedures)} procedures",
                              f"at most {PROCEDURES_MAX}")
        for number, item in enumerate(procedures, 1):
            self.procedure(item, face, number, known)

    def errors(self, item, face, known):
        for e in item.items:
            if e.name in known:
                self.report.error(e.pos, "E010", f"error '{e.name}' is listed twice", "one entry")
            elif e.text is None and e.name not in self.model.errors:
                self.report.error(e.pos, "E017", f"'{e.name}' is not in the error table",
                                  "a name from errors.toml, or an own error with its text")
            elif e.text is not None and e.name in self.model.errors:
                self.report.error(e.pos, "E010", f"error '{e.name}' is in the error table already",
                                  "the name without a text, or another name")
            elif e.text is None:
                known[e.name] = ("ERR_" + e.name, self.model.errors[e.name])
            else:
                c_name = f"{face.name}_ERR_{e.name}".upper()
                self.claim_c(c_name, e)
                face.own_errors.append((e.name, c_name, OWN_ERROR_FIRST + len(face.own_errors), e.text))
                known[e.name] = (c_name, e.text)

    def procedure(self, decl, face, number, known):
        if not self.unique(face.scope.procedures, decl, "procedure"):
            return
        c_name = f"{face.name}_{decl.name}".lower()
        self.claim_c(c_name, decl)
        params = self.params(decl, face)
        label = face.identity << 16 | face.version << 8 | number & 0xff
        p = Procedure(decl.name, number, label, decl.idempotent, params, [], [], [],
                      wire.layout([q for q in params if q.is_in]),
                      wire.layout([q for q in params if q.is_out]),
                      decl.doc, decl)
        for side, words in (("request", p.in_wire), ("answer", p.out_wire)):
            if words.max_words > wire.WORDS_MAX:
                self.report.error(decl.pos, "E030",
                                  f"the {side} of '{decl.name}' may have {words.max_words} words",
                                  f"at most {wire.WORDS_MAX}")
            if len(words.caps) > wire.CAPS_MAX:
                self.report.error(decl.pos, "E031", f"the {side} of '{decl.name}' has {len(words.caps)} "
                                  "capabilities", f"at most {wire.CAPS_MAX}")
        self.clauses(decl, p, face, known)
        face.procedures.append(p)

    def params(self, decl, face):
        params, names, c_names = [], {}, {}
        for q in decl.params:
            if not self.unique(names, q, "parameter"):
                continue
            t = self.resolve(q.type, face.scope)
            if t is None:
                continue
            why = wire.allowed_in_message(t)
            if why:
                self.report.error(q.pos, "E026", f"parameter '{q.name}' of type {t}", why)
                continue
            if isinstance(t, Cap) and q.direction == "inout":
                self.report.error(q.pos, "E038", f"capability '{q.name}' is inout", "in or out")
                continue
            for c in c_parameters(q.name, t):
                if c_names.setdefault(c, q) is not q:
                    self.report.error(q.pos, "E013", f"'{q.name}' and '{c_names[c].name}' both need the C "
                                      f"parameter '{c}'", "names that stay different")
            params.append(Param(q.name, q.direction, t, q))
        return params

    def clauses(self, decl, p, face, known):
        raised = None
        for clause in decl.clauses:
            if clause.kind == "errors":
                raised = raised or []
                for ref in clause.names:
                    if ref.path[0] not in known:
                        self.report.error(ref.pos, "E017", f"'{ref.path[0]}' is not an error of interface "
                                          f"'{face.name}'", "one of " + (", ".join(known) or "none declared"))
                    else:
                        raised.append(known[ref.path[0]])
                continue
            checked = self.contract(clause, p, face)
            if checked:
                (p.requires if clause.kind == "requires" else p.ensures).append(checked)
        p.errors = list(known.values()) if raised is None else raised

    def contract(self, clause, p, face):
        values, forbidden = contract_values(p.params, clause.kind)
        translator = Contract(values, face.scope, self.report, forbidden)
        node = translator.node(clause.expr)
        if node is None:
            return None
        if not node.truth:
            self.report.error(clause.pos, "E035", f"the {clause.kind} clause is a number", "a truth value")
            return None
        outputs = {q.name for q in p.params if q.is_out}
        if clause.kind == "ensures" and not any(path[0] in outputs for path in translator.used.values()):
            self.report.error(clause.pos, "E039", "the ensures clause names no output",
                              "an out or inout parameter; what only inputs decide belongs in requires")
            return None
        return Clause(clause.kind, node.c, dict(translator.used), text_of(clause.expr), clause.pos)

    # -- events, dataports, files --------------------------------------------------------------------------

    def event(self, decl, unit):
        if self.unique(self.model.scope.events, decl, "event"):
            self.model.events[decl.name] = decl
            unit.events.append(decl)

    def dataport(self, decl, unit):
        if not self.unique(self.model.scope.dataports, decl, "dataport"):
            return
        scope = self.model.scope
        if len(decl.pages) != 1 or len(decl.layouts) > 1:
            self.report.error(decl.pos, "E052", f"dataport '{decl.name}' has {len(decl.pages)} sizes and "
                              f"{len(decl.layouts)} layouts", "one 'pages' and at most one 'layout'")
            return
        pages = self.bound(decl.pages[0], scope, DATAPORT_PAGES_MAX, "a dataport")
        layout = self.layout(decl.layouts[0], pages) if decl.layouts else None
        if pages is None:
            return
        self.claim_c(f"{decl.name}_PAGES".upper(), decl)
        port = Dataport(decl.name, pages, layout, unit.file, decl.doc, decl)
        self.model.dataports[decl.name] = port
        unit.dataports.append(port)

    def layout(self, ref, pages):
        t = self.model.scope.find(ref.path[0])
        if not isinstance(t, StructType):
            self.report.error(ref.pos, "E011", f"there is no struct '{ref.path[0]}'", "a struct")
            return None
        self.shared(t, ref)
        form = shared_layout(t)
        if form and pages and form[0] > pages * PAGE:
            self.report.error(ref.pos, "E041", f"struct '{t.name}' has {form[0]} bytes",
                              f"at most {pages * PAGE}")
        return t

    def shared(self, t, ref):
        """Marks a struct and all within as shared, after checking that each has one fixed form."""
        t.shared = True
        at = 0
        for name, ft, decl in t.fields:
            inner = ft.elem if isinstance(ft, Array) else ft
            if isinstance(inner, StructType):
                self.shared(inner, ref)
            form = shared_layout(ft)
            if form is None:
                if not isinstance(inner, StructType):
                    self.report.error(decl.pos, "E043", f"field '{name}' of shared struct '{t.name}' is {ft}",
                                      "unsigned integers, enums, fixed arrays and structs of them")
                return
            if at % form[1]:
                self.report.error(decl.pos, "E042",
                                  f"there are {form[1] - at % form[1]} bytes of padding before "
                                  f"'{name}'", "fields in an order, or spare fields, that leave no gap")
            at = -(-at // form[1]) * form[1] + form[0]
        whole = shared_layout(t)
        if whole and whole[0] != at:
            self.report.error(t.decl.pos, "E042",
                              f"struct '{t.name}' ends in {whole[0] - at} bytes of padding",
                              "a spare field there")

    def file(self, tree):
        stem = pathlib.PurePath(tree.path).stem
        unit = Unit(tree.path, stem)
        self.model.units.append(unit)
        from .check_component import component
        for item in tree.items:
            if isinstance(item, ast.Import):
                unit.imports.append(pathlib.PurePath(item.path).stem)
            elif isinstance(item, ast.Interface):
                self.interface(item, tree.path)
            elif isinstance(item, ast.Event):
                self.event(item, unit)
            elif isinstance(item, ast.Dataport):
                self.dataport(item, unit)
            elif isinstance(item, ast.Component):
                component(self, item, tree.path)
            elif isinstance(item, ast.Assembly):
                self.model.assemblies.append(item)
            else:
                self.declare(item, self.model.scope, unit.types, unit.consts)


def new_scope(parent=None, prefix=""):
    scope = Scope(parent, prefix)
    scope.decls, scope.procedures = {}, {}
    scope.interfaces, scope.events, scope.dataports, scope.components = {}, {}, {}, {}
    return scope


def c_parameters(name, t):
    """The C parameters that one parameter becomes."""
    if isinstance(t, Bytes):
        return [name, name + "_len"]
    if isinstance(t, Array) and t.at_most:
        return [name, name + "_count"]
    return [name]


def contract_values(params, kind):
    """What a clause may name: path -> (C name, largest value, is a truth value); and what not, with the
    diagnostic to give."""
    values, forbidden = {}, {}
    for q in params:
        no_value = ("E035", f"'{q.name}' has no value of its own",
                    "a scalar, or .len or .count of bounded data")
        forbidden[(q.name,)] = no_value
        if isinstance(q.type, Cap):
            continue
        for leaf in wire.leaves(q, q.type):
            path, t = leaf.path, leaf.type
            if isinstance(t, (String, Bytes)):
                path, top = path + ("len",), t.n
            elif isinstance(t, Array):
                path, top = path + ("count",), t.n
            else:
                top = t.max
            if kind == "requires" and not q.is_in:
                forbidden[path] = ("E034", f"'{'.'.join(path)}' is an output", "an in or inout parameter")
            else:
                c_name = "_".join(path)
                while any(c_name == v[0] for v in values.values()):
                    c_name += "_"
                values[path] = (c_name, top, isinstance(t, Bool))
                forbidden.pop(path, None)
    return values, forbidden


def check(files, report, checker=None):
    """The Model of parsed files; raises Failed when anything was reported."""
    checker = checker or Checker(report)
    checker.model.scope = new_scope()
    for tree in files:
        checker.file(tree)
    report.stop_on_error()
    return checker.model
