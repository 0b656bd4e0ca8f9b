# SPDX-License-Identifier: BSD-2-Clause
"""Writes a C program that exercises every procedure of an interface through client, loopback and server.

Modes of the program: `round SEED N` sends random valid values both ways and compares; `request SEED N` and
`answer SEED N` change valid requests, or answers, at random; `noise SEED N` feeds random words. The
implementation side checks that each value it is given belongs to its type."""
from umbra_idl import gen_stubs
from umbra_idl.types import Array, Bool, Bytes, Cap, EnumType, Int, String, StructType

PROLOGUE = r"""
#include "%(name)s_server.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;
static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
}
static uint64_t below(uint64_t n)
{
    return rnd() %% n;
}
/* Random with many small and extreme values. */
static uint64_t value(void)
{
    uint64_t r = rnd();
    return r & 3 ? r >> (r %% 61) : 0 - (r & 4);
}
#define EXPECT(x) do { if (!(x)) { printf("line %%d: %%s\n", __LINE__, #x); exit(1); } } while (0)

enum { ROUND, MUTATE_REQUEST, MUTATE_ANSWER, NOISE };
static int mode;
static unsigned impl_calls, bad_messages, accepted;

static void mutate(struct umbra_message *m)
{
    switch (below(5)) {
    case 0:
        m->tag ^= BIT(below(12));
        break;
    case 1:
        m->ncaps = (uint32_t)below(5);
        break;
    default:
        m->w[below(TAG_WORDS(m->tag) ? TAG_WORDS(m->tag) : 1)] ^= BIT(below(64));
    }
}

err_t umbra_transport_call(cptr_t ep, struct umbra_message *m)
{
    EXPECT(ep == 77);
    EXPECT(TAG_WORDS(m->tag) <= MSG_WORDS_MAX && TAG_NCAPS(m->tag) == m->ncaps);
    /* What is not part of the message must not matter. */
    for (uint32_t i = TAG_WORDS(m->tag); i < MSG_WORDS_MAX; i++)
        m->w[i] = rnd();
    m->badge = 1234;
    uint64_t length = TAG_WORDS(m->tag), before = m->tag;
    if (mode == MUTATE_REQUEST)
        mutate(m);
    bool resized = TAG_WORDS(m->tag) != length || (uint32_t)m->tag != (uint32_t)before;
    unsigned calls = impl_calls;
    %(lower)s_dispatch(m, (void *)5);
    if (resized)
        EXPECT(impl_calls == calls && m->tag == TAG(ERR_BAD_MESSAGE, 0));
    EXPECT(TAG_WORDS(m->tag) <= MSG_WORDS_MAX && TAG_NCAPS(m->tag) == m->ncaps);
    for (uint32_t i = TAG_WORDS(m->tag); i < MSG_WORDS_MAX; i++)
        m->w[i] = rnd();
    if (mode == MUTATE_ANSWER)
        mutate(m);
    if (TAG_LABEL(m->tag) == ERR_BAD_MESSAGE)
        bad_messages++;
    return ERR_OK;
}
"""

EPILOGUE = r"""
static void noise(void)
{
    static const uint32_t labels[] = { %(labels)s };
    struct umbra_message m;
    for (uint32_t i = 0; i < MSG_WORDS_MAX; i++)
        m.w[i] = below(2) ? value() : below(2) ? below(4) : 0;
    m.ncaps = (uint32_t)below(5);
    uint32_t label = below(8) ? labels[below(sizeof labels / sizeof labels[0])] : (uint32_t)rnd();
    m.tag = TAG(label, below(20)) | (below(8) ? TAG_CAPS(m.ncaps) : rnd() & 0xffffff00);
    m.badge = rnd();
    %(lower)s_dispatch(&m, (void *)5);
    EXPECT(m.ncaps == TAG_NCAPS(m.tag) && m.ncaps <= MSG_CAPS_MAX);
    if (TAG_LABEL(m.tag) == ERR_OK)
        accepted++;
    else
        EXPECT(TAG_LABEL(m.tag) == ERR_BAD_MESSAGE || TAG_LABEL(m.tag) == ERR_CONTRACT);
}

int main(int argc, char **argv)
{
    EXPECT(argc == 4);
    mode = !strcmp(argv[1], "round") ? ROUND : !strcmp(argv[1], "request") ? MUTATE_REQUEST
         : !strcmp(argv[1], "answer") ? MUTATE_ANSWER : NOISE;
    state = strtoull(argv[2], 0, 0) * 2654435761u + 88172645463325252ull;
    for (unsigned long i = strtoul(argv[3], 0, 0); i > 0; i--) {
        if (mode == NOISE) {
            noise();
            continue;
        }
%(calls)s
    }
    printf("impl %%u bad %%u accepted %%u\n", impl_calls, bad_messages, accepted);
    return 0;
}
"""


class Writer:
    """C text for random values and comparisons of any type; lvalues are C text."""

    def __init__(self):
        self.depth = 0

    def loop(self, n, body):
        self.depth += 1
        k = f"k{self.depth}"
        inner = body(k)
        self.depth -= 1
        return f"for (uint32_t {k} = 0; {k} < {n}; {k}++) {{ {inner} }}\n"

    def fill(self, t, v):
        """Statements that set lvalue v of a scalar or struct type at random."""
        if isinstance(t, EnumType):
            items = [f"{t.c_name}_{n}".upper() for n, _, _ in t.items]
            if t.flags:
                return f"{v} = (uint{t.base.bits}_t)(value() & {t.max:#x}ull);\n"
            values = f"static const uint{t.base.bits}_t c[] = {{ {', '.join(items)} }};"
            return f"{{ {values} {v} = c[below({len(items)})]; }}\n"
        if isinstance(t, Bool):
            return f"{v} = below(2);\n"
        if isinstance(t, Int):
            return f"{v} = (uint{t.bits}_t)value();\n"
        return "".join(self.fill_field(ft, f"{v}.{name}") for name, ft, _ in t.fields)

    def fill_text(self, v, n):
        fill = self.loop("n", lambda k: f"{v}[{k}] = (char)(1 + below(255));")
        return f"{{ uint32_t n = (uint32_t)below({n + 1}); {fill} {v}[n] = 0; }}\n"

    def fill_some(self, t, n, v, length, kind):
        elem = t.elem if isinstance(t, Array) else Int(8)
        size = f"({kind})below({n + 1})" if length else str(n)
        into = f"{length} = n;" if length else ""
        return f"{{ {kind} n = {size}; {into} " + self.loop("n", lambda k: self.fill(elem,
                                                                                     f"{v}[{k}]")) + "}\n"

    def fill_field(self, t, v):
        if isinstance(t, String):
            return self.fill_text(v, t.n)
        if isinstance(t, Bytes):
            return self.fill_some(t, t.n, v + ".data", v + ".len", "uint16_t")
        if isinstance(t, Array):
            if t.at_most:
                return self.fill_some(t, t.n, v + ".items", v + ".count", "uint16_t")
            return self.fill_some(t, t.n, v, None, "uint32_t")
        return self.fill(t, v)

    def same(self, t, a, b):
        """Statements that expect two lvalues of a scalar or struct type to be equal."""
        if not isinstance(t, StructType):
            return f"EXPECT({a} == {b});\n"
        return "".join(self.same_field(ft, f"{a}.{name}", f"{b}.{name}") for name, ft, _ in t.fields)

    def same_some(self, elem, a, b, n):
        return self.loop(n, lambda k: self.same(elem, f"{a}[{k}]", f"{b}[{k}]"))

    def same_field(self, t, a, b):
        if isinstance(t, String):
            return f"EXPECT(!strcmp({a}, {b}));\n"
        if isinstance(t, Bytes):
            return f"EXPECT({a}.len == {b}.len && !memcmp({a}.data, {b}.data, {b}.len));\n"
        if isinstance(t, Array) and t.at_most:
            return f"EXPECT({a}.count == {b}.count);\n" + self.same_some(t.elem, a + ".items", b + ".items",
                                                                         b + ".count")
        if isinstance(t, Array):
            return self.same_some(t.elem, a, b, t.n)
        return self.same(t, a, b)

    def valid(self, t, v):
        """Statements that expect a scalar or struct to belong to its type."""
        if isinstance(t, EnumType):
            return f"EXPECT({t.c_name}_valid({v}));\n"
        if isinstance(t, Bool):
            return f"EXPECT(*(const uint8_t *)&{v} <= 1);\n"
        if not isinstance(t, StructType):
            return ""
        return "".join(self.valid_field(ft, f"{v}.{name}") for name, ft, _ in t.fields)

    def valid_field(self, t, v):
        if isinstance(t, String):
            return f"EXPECT(strlen({v}) <= {t.n});\n"
        if isinstance(t, Bytes):
            return f"EXPECT({v}.len <= {t.n});\n"
        if isinstance(t, Array):
            data, count = (v + ".items", v + ".count") if t.at_most else (v, str(t.n))
            bound = f"EXPECT({count} <= {t.n});\n" if t.at_most else ""
            return bound + self.loop(count, lambda k: self.valid(t.elem, f"{data}[{k}]"))
        return self.valid(t, v)


def holder(q):
    """Declaration of a place for a value of parameter q: a field as in structs, which all types have."""
    return gen_stubs.c_field("v", q.type)


def pointers(q, pointed):
    """(data, length or None) of q in the C parameters; pointed: outputs are reached by pointers."""
    name = q.name
    if isinstance(q.type, Bytes) or (isinstance(q.type, Array) and q.type.at_most):
        length = f"{name}_{'len' if isinstance(q.type, Bytes) else 'count'}"
        return name, f"(*{length})" if pointed else length
    scalar = not isinstance(q.type, (String, Array))
    return (f"(*{name})" if scalar and (pointed or isinstance(q.type, StructType)) else name), None


def compare_impl(w, q, place):
    """Expects that what the implementation was given for q equals `place` (a holder)."""
    data, length = pointers(q, q.is_out)
    t = q.type
    if isinstance(t, Bytes):
        return f"EXPECT({length} == {place}.len && !memcmp({data}, {place}.data, {place}.len));\n"
    if isinstance(t, Array) and t.at_most:
        return f"EXPECT({length} == {place}.count);\n" + w.same_some(t.elem, data, place + ".items", length)
    if isinstance(t, Cap):
        return f"EXPECT({data} == {place});\n"
    return w.same_field(t, data, place)


def validate_impl(w, q):
    data, length = pointers(q, q.is_out)
    t = q.type
    if isinstance(t, String):
        return f"EXPECT(strlen({data}) <= {t.n});\n"
    if isinstance(t, Bytes):
        return f"EXPECT({length} <= {t.n});\n"
    if isinstance(t, Array):
        count = length or str(t.n)
        return (f"EXPECT({length} <= {t.n});\n" if length else "") + \
            w.loop(count, lambda k: w.valid(t.elem, f"{data}[{k}]"))
    return "" if isinstance(t, Cap) else w.valid(t, data)


def give(w, q, place):
    """The implementation's output q becomes `place`."""
    data, length = pointers(q, True)
    t = q.type
    if isinstance(t, String):
        return f"strcpy({data}, {place});\n"
    if isinstance(t, Bytes):
        return f"{length} = {place}.len; memcpy({data}, {place}.data, {place}.len);\n"
    if isinstance(t, Array):
        source, count = (place + ".items", place + ".count") if t.at_most else (place, str(t.n))
        return (f"{length} = {count};\n" if length else "") + f"memcpy({data}, {source}, sizeof({source}));\n"
    return f"{data} = {place};\n"


def client_arguments(q):
    """Arguments for q in the test's own client: inputs from in_NAME.v, in/outputs in local copies."""
    place, t = f"in_{q.name}.v" if not q.is_out else f"got_{q.name}.v", q.type
    if isinstance(t, Bytes):
        return [place + ".data", f"&len_{q.name}" if q.is_out else place + ".len"]
    if isinstance(t, Array) and t.at_most:
        return [place + ".items", f"&len_{q.name}" if q.is_out else place + ".count"]
    if isinstance(t, (String, Array)):
        return [place]
    return [("&" if q.is_out or isinstance(t, StructType) else "") + place]


def procedure(face, p):
    """(C text, name of its test function)"""
    w, name = Writer(), gen_stubs.prefix(face, p)
    fill = lambda q, v: f"{v} = (cptr_t)rnd();\n" if isinstance(q.type, Cap) else w.fill_field(q.type, v)
    out = []
    for q in p.params:
        if q.is_in:
            out.append(f"static struct {{ {holder(q)}; }} {name}_in_{q.name};")
        if q.is_out:
            out.append(f"static struct {{ {holder(q)}; }} {name}_out_{q.name};")
    out.append(f"{gen_stubs.impl_prototype(face, p)}\n{{")
    out.append("    impl_calls++;\n    EXPECT(self == (void *)5);")
    out.append("    EXPECT(mode == NOISE || badge == 1234);")
    for q in p.params:
        if q.is_in:
            out.append(validate_impl(w, q))
            out.append(f"if (mode == ROUND) {{ {compare_impl(w, q, f'{name}_in_{q.name}.v')} }}")
    for q in p.params:
        if q.is_out:
            out.append(give(w, q, f"{name}_out_{q.name}.v"))
    out.append("    return ERR_OK;\n}")
    out.append(f"static void test_{name}(void)\n{{")
    for q in p.params:
        if q.is_in:
            out.append(fill(q, f"{name}_in_{q.name}.v"))
        if q.is_out:
            out.append(fill(q, f"{name}_out_{q.name}.v"))
            out.append(f"struct {{ {holder(q)}; }} got_{q.name};")
            out.append(f"memset(&got_{q.name}, 0, sizeof got_{q.name});")
            if isinstance(q.type, Bytes) or (isinstance(q.type, Array) and q.type.at_most):
                out.append(f"uint32_t len_{q.name} = 0;")
                if q.is_in:
                    word = "len" if isinstance(q.type, Bytes) else "count"
                    out.append(f"len_{q.name} = {name}_in_{q.name}.v.{word};")
            if q.is_in:
                out.append(f"memcpy(&got_{q.name}, &{name}_in_{q.name}, sizeof got_{q.name});")
    arguments = ["77"] + [a.replace("in_", f"{name}_in_", 1) if a.lstrip("&").startswith("in_") else a
                          for q in p.params for a in client_arguments(q)]
    out.append(f"    err_t e = {name}({', '.join(arguments)});")
    out.append("    if (mode != ROUND) return;")
    if p.requires or p.ensures:
        out.append("    if (e == ERR_CONTRACT) return;")
    out.append("    EXPECT(e == ERR_OK);\n    accepted++;")
    for q in p.params:
        if not q.is_out:
            continue
        if isinstance(q.type, Bytes) or (isinstance(q.type, Array) and q.type.at_most):
            word = "len" if isinstance(q.type, Bytes) else "count"
            out.append(f"got_{q.name}.v.{word} = (uint16_t)len_{q.name};")
        out.append(f"EXPECT(got_{q.name}.v == {name}_out_{q.name}.v);" if isinstance(q.type, Cap)
                   else w.same_field(q.type, f"got_{q.name}.v", f"{name}_out_{q.name}.v"))
    out.append("}")
    return "\n".join(out), f"test_{name}"


def program(face):
    parts = [procedure(face, p) for p in face.procedures]
    labels = ", ".join(gen_stubs.prefix(face, p).upper() + "_LABEL" for p in face.procedures)
    calls = "\n".join(f"        {name}();" for _, name in parts)
    words = dict(name=face.name, lower=face.name.lower(), labels=labels, calls=calls)
    return PROLOGUE % words + "\n".join(text for text, _ in parts) + EPILOGUE % words
