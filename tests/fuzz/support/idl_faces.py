# SPDX-License-Identifier: BSD-2-Clause
"""Writes the C file that the fuzz target idl_dispatch is linked with: for each interface of the system, and for the one that has every
type, what tests/idl/idl_harness.py makes of its procedures, and a table of them all. argv[1]: the file.
"""
import pathlib
import sys

import idl_harness
from umbra_idl import gen_stubs
from umbra_idl.check import check
from umbra_idl.diagnostics import Report
from umbra_idl.parser import load
from umbra_idl.types import Array, Bytes, Cap, String, StructType, is_scalar
from umbra_idl.wire import leaves

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = ("idl/interfaces/components.idl", "tests/idl/every_type.idl")


def interfaces():
    found = {}
    for name in FILES:
        report = Report()
        found.update(check(load(ROOT / name, report), report).interfaces)
    return [found[name] for name in sorted(found)]


def requires(face, p):
    """The call of a procedure's requires clause with what its implementation was given, or nothing."""
    if not p.requires:
        return ""
    by_path = {}
    for q in p.params:
        if isinstance(q.type, Cap):
            continue
        for leaf in leaves(q, q.type):
            data, length = idl_harness.pointers(q, q.is_out)
            place = ".".join([data, *leaf.fields])
            if is_scalar(leaf.type):
                by_path[leaf.path] = place
            elif isinstance(leaf.type, (Bytes, Array, String)):
                word = "count" if isinstance(leaf.type, Array) else "len"
                by_path[leaf.path + (word,)] = "%s.%s" % (place, word) if leaf.fields else length or "strlen(%s)" % place
    arguments = ", ".join(by_path[path] for path in gen_stubs.contract_args(p.requires).values())
    return "    EXPECT(%s_requires(%s));\n" % (gen_stubs.prefix(face, p), arguments)


def digest_items(elem, items, count, depth):
    if not isinstance(elem, StructType):
        return "    face_given(%s, %s * sizeof(%s[0]));\n" % (items, count, items)
    i = "i%d" % depth
    return "    for (unsigned %s = 0; %s < %s; %s++) {\n%s    }\n" % (i, i, count, i, digest(elem, "%s[%s]" % (items, i), depth + 1))


def digest(t, place, depth=0):
    """Code that takes up a value, but no padding and no part of a buffer behind what counts."""
    if isinstance(t, StructType):
        return "".join(digest(field, "%s.%s" % (place, name), depth) for name, field, _ in t.fields)
    if isinstance(t, String):
        return "    face_given(%s, strlen(%s));\n" % (place, place)
    if isinstance(t, Bytes):
        return "    face_given(%s.data, %s.len);\n" % (place, place)
    if isinstance(t, Array):
        items, count = (place + ".items", place + ".count") if t.at_most else (place, t.n)
        return digest_items(t.elem, items, count, depth)
    assert is_scalar(t) or isinstance(t, Cap), t
    return "    face_given(&%s, sizeof(%s));\n" % (place, place)


def given(p):
    """Everything that the implementation was given goes into the digest."""
    text = ""
    for q in p.params:
        if not q.is_in:
            continue
        data, length = idl_harness.pointers(q, q.is_out)
        if isinstance(q.type, Bytes):
            text += "    face_given(%s, %s);\n" % (data, length)
        elif isinstance(q.type, Array):
            text += digest_items(q.type.elem, data, length or q.type.n, 0)
        else:
            text += digest(q.type, data)
    return text


def procedure(face, p):
    text, name = idl_harness.procedure(face, p)
    mark = "    impl_calls++;\n"
    assert text.count(mark) == 1
    return text.replace(mark, mark + requires(face, p) + given(p)), name


def main(out):
    parts = ['/* SPDX-License-Identifier: BSD-2-Clause */\n/* Made by idl_faces.py. */\n#include "tests/fuzz/support/faces.h"\n']
    rows = []
    found = [face for face in interfaces() if face.procedures]
    parts += ['#include "%s_server.h"\n' % face.name for face in found]
    for face in found:
        made = [procedure(face, p) for p in face.procedures]
        labels = ", ".join(gen_stubs.prefix(face, p).upper() + "_LABEL" for p in face.procedures)
        parts += [text + "\n" for text, _ in made]
        parts.append("static const uint32_t %s_labels[] = { %s };\n" % (face.name, labels))
        parts.append("static void (*const %s_calls[])(void) = { %s };\n" % (face.name, ", ".join(name for _, name in made)))
        rows.append('    { "%s", %s_dispatch, %s_labels, %s_calls, %d },\n' % (face.name, face.name.lower(), face.name, face.name, len(made)))
    parts.append("const struct face faces[] = {\n%s};\nconst unsigned faces_count = %d;\n" % ("".join(rows), len(rows)))
    pathlib.Path(out).write_text("".join(parts))


if __name__ == "__main__":
    main(sys.argv[1])
