# SPDX-License-Identifier: BSD-2-Clause
"""C files of interfaces and types: fills the templates. Deterministic: same input, same bytes."""
import pathlib

import jinja2

from . import gen_stubs, wire
from .check import IMPLICIT_ERRORS
from .expr import literal
from .types import Array, EnumType, StructType, shared_layout

_env = jinja2.Environment(loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
                          undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)


def error_function(face, p):
    """Whether a server may answer with this error."""
    name = gen_stubs.prefix(face, p)
    names = list(dict.fromkeys([c for c, _ in p.errors] + ["ERR_" + n for n in IMPLICIT_ERRORS]))
    cases = "".join(f"    case (uint32_t){n}:\n" for n in names)
    return (f"static inline bool {name}_error(uint32_t e)\n{{\n    switch (e) {{\n{cases}"
            "        return true;\n    default:\n        return false;\n    }\n}")


def describe(face, p):
    """The comment above a client stub."""
    lines = [f"{gen_stubs.prefix(face, p)} - {p.doc or 'procedure ' + p.name}"]
    for clause in p.requires + p.ensures:
        lines.append(f"  {clause.kind} {clause.text}")
    for c_name, text in p.errors:
        lines.append(f"  {c_name}: {text}")
    if p.idempotent:
        lines.append("  Idempotent: sent again when the server was restarted meanwhile.")
    return "\n".join(lines)


def types_used(types):
    """All enums and structs that these types mention, themselves included."""
    seen = []

    def visit(t):
        if isinstance(t, Array):
            visit(t.elem)
        elif isinstance(t, (EnumType, StructType)) and t not in seen:
            seen.append(t)
            for _, ft, _ in getattr(t, "fields", []):
                visit(ft)

    for t in types:
        visit(t)
    return seen


def _annotate(types):
    for t in types:
        if isinstance(t, EnumType):
            t.enum_fits = t.max < 1 << 31
            t.contiguous = sorted(v for _, v, _ in t.items) == list(range(len(t.items)))


def _render(template, **values):
    common = dict(c_field=gen_stubs.c_field, shared_layout=shared_layout, literal=literal,
                  prefix=gen_stubs.prefix,
                  client_prototype=gen_stubs.client_prototype, impl_prototype=gen_stubs.impl_prototype,
                  client_body=gen_stubs.client_body, server_body=gen_stubs.server_body, describe=describe,
                  contract_function=gen_stubs.contract_function, error_function=error_function, wire=wire)
    text = _env.get_template(template).render(**common, **values)
    lines = [line.rstrip() for line in text.split("\n")]
    out = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(out)


def interface_files(model, face):
    """name -> text of the four files of an interface."""
    used = types_used([q.type for p in face.procedures for q in p.params] +
                      [f for t in face.types for _, f, _ in getattr(t, "fields", [])])
    files = [u for u in model.units if any(t in u.types for t in used) or u.file == face.file]
    includes = [f"{u.stem}_types.h" for u in files if u.has_header]
    _annotate(face.types)
    values = dict(face=face, includes=includes, NAME=face.name.upper())
    return {f"{face.name}{suffix}": _render(f"interface{suffix}.j2", **values)
            for suffix in (".h", "_client.c", "_server.h", "_server.c")}


def unit_files(model):
    """name -> text of the headers with types, constants and dataports outside interfaces."""
    out = {}
    for unit in model.units:
        if unit.has_header:
            _annotate(unit.types)
            stems = {u.stem for u in model.units if u.has_header}
            includes = [f"{i}_types.h" for i in unit.imports if i in stems]
            out[f"{unit.stem}_types.h"] = _render("types.h.j2", unit=unit, includes=includes)
    return out


def render(template, **values):
    """For the other generators: same environment, same clean-up."""
    return _render(template, **values)
