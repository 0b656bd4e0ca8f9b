# SPDX-License-Identifier: BSD-2-Clause
"""C text of one procedure: client stub, server function, contracts. The templates place it in files.

Both sides check all they send and all they receive. A side's locals begin with idl_, which no name in the
language may."""
import re

from .types import Array, Bool, Bytes, Cap, EnumType, Int, String, StructType, is_scalar
from .wire import Element, leaves

CLIENT, SERVER = "client", "server"


def c_type(t):
    if isinstance(t, Int):
        return f"uint{t.bits}_t"
    if isinstance(t, Bool):
        return "bool"
    if isinstance(t, EnumType):
        return t.c_name + "_t"
    if isinstance(t, StructType):
        return "struct " + t.c_name
    return "cptr_t"


def c_field(name, t):
    """A struct's field, without the semicolon."""
    if isinstance(t, String):
        return f"char {name}[{t.n + 1}]"
    if isinstance(t, Bytes):
        return f"struct {{ uint16_t len; uint8_t data[{t.n}]; }} {name}"
    if isinstance(t, Array):
        inner = f"{c_type(t.elem)} "
        if t.at_most:
            return f"struct {{ uint16_t count; {inner}items[{t.n}]; }} {name}"
        return f"{inner}{name}[{t.n}]"
    return f"{c_type(t)} {name}"


def c_params(p):
    """The C parameters of parameter p, for the client stub and the implementation alike."""
    t, name = p.type, p.name
    const, star = ("", "*") if p.is_out else ("const ", "")
    if isinstance(t, String):
        return [f"char {name}[{t.n + 1}]" if p.is_out else f"const char *{name}"]
    if isinstance(t, Bytes):
        return [f"{const}uint8_t {'*' if not p.is_out else ''}{name}{f'[{t.n}]' if p.is_out else ''}",
                f"uint32_t {star}{name}_len"]
    if isinstance(t, Array):
        if not t.at_most:
            return [f"{const}{c_type(t.elem)} {name}[{t.n}]"]
        if p.is_out:
            return [f"{c_type(t.elem)} {name}[{t.n}]", f"uint32_t *{name}_count"]
        return [f"const {c_type(t.elem)} *{name}", f"uint32_t {name}_count"]
    if isinstance(t, StructType):
        return [f"{const}{c_type(t)} *{name}"]
    return [f"{c_type(t)} {star}{name}"]


def scalar_check(t, value):
    """A C condition that says the value does not belong to scalar type t; None if each value does."""
    if isinstance(t, EnumType):
        return f"!{t.c_name}_valid({value})"
    return None


class Side:
    """Names of one procedure's values on one side, and what to return when they are wrong."""

    def __init__(self, procedure, side):
        self.p, self.side = procedure, side
        self.m = "m->" if side == SERVER else "idl_m."
        self.lengths = {}  # (param name, fields, outgoing) -> local

    def value(self, leaf):
        p = leaf.param
        if leaf.fields:
            return p.name + ("->" if self.side == CLIENT else ".") + ".".join(leaf.fields)
        return f"(*{p.name})" if self.side == CLIENT and p.is_out and is_scalar(p.type) else p.name

    def data(self, leaf):
        base = self.value(leaf)
        if leaf.fields and isinstance(leaf.type, Bytes):
            return base + ".data"
        if leaf.fields and isinstance(leaf.type, Array) and leaf.type.at_most:
            return base + ".items"
        return base

    def length(self, leaf):
        """The place of the length of bounded data; None for strings, which end with 0."""
        if isinstance(leaf.type, String):
            return None
        word = "len" if isinstance(leaf.type, Bytes) else "count"
        if leaf.fields:
            return f"{self.value(leaf)}.{word}"
        name = f"{leaf.param.name}_{word}"
        return f"(*{name})" if self.side == CLIENT and leaf.param.is_out else name

    def local(self, leaf, out):
        key = (leaf.path, out)
        number = sum(k[1] == out for k in self.lengths)
        return self.lengths.setdefault(key, f"idl_{'o' if out else 'i'}{number}")


def _address(m, at, dynamic):
    return f"{m}w + idl_at" if dynamic else f"{m}w + {at}" if at else f"{m}w"


class Blocks:
    """Walks the blocks of a message: the word where each begins, in lines of C."""

    def __init__(self, wire, m):
        self.wire, self.m, self.dynamic, self.at = wire, m, False, wire.head_words

    def declare(self):
        behind_variable = any(b.variable for b in self.wire.blocks[:-1])
        return [f"uint32_t idl_at = {self.wire.head_words};"] if behind_variable else []

    def walk(self, one, count_of):
        """one(block, address, count) -> lines"""
        lines, uses_at = [], bool(self.declare())
        for i, b in enumerate(self.wire.blocks):
            count = count_of(b)
            lines += one(b, _address(self.m, self.at, self.dynamic), count)
            last = i == len(self.wire.blocks) - 1
            if uses_at and not last:
                lines.append(f"idl_at += {block_words(b, count)};")
                self.dynamic = True
            else:
                self.at += b.max_words
        return lines


def block_words(b, count):
    if not b.variable:
        return str(b.max_words)
    if isinstance(b.elem, Element):
        return f"{count} * {b.elem.words}" if b.elem.words > 1 else count
    return f"idl_words({count}{f' * {b.elem_bytes}' if b.elem_bytes > 1 else ''})"


def word_expr(items, value_of):
    parts = []
    for i in items:
        v = value_of(i)
        parts.append(f"(uint64_t){v}" + (f" << {i.shift}" if i.shift else ""))
    return " | ".join(parts)


def used_bits(items):
    return max(i.shift + i.bits for i in items)


def field_of(element, item):
    return element + "." + ".".join(item.leaf.fields)


# -- sending -----------------------------------------------------------------------------------------------

def lengths_and_checks(side, wire, out, bad):
    """Lines that compute the lengths of bounded data and refuse values that do not belong to their types."""
    lines = []
    for b in wire.blocks:
        if not b.variable:
            continue
        local, length = side.local(b.leaf, out), side.length(b.leaf)
        source = length or f"idl_string_len({side.data(b.leaf)}, {b.n + 1})"
        lines += [f"const uint32_t {local} = {source};", f"if ({local} > {b.n})", f"    return {bad};"]
    for item in wire.head:
        condition = None if item.length else scalar_check(item.leaf.type, side.value(item.leaf))
        if condition:
            lines += [f"if ({condition})", f"    return {bad};"]
    for b in wire.blocks:
        lines += _element_checks(side, b, side.local(b.leaf, out) if b.variable else b.n, bad)
    return lines


def _element_checks(side, b, count, bad):
    element = f"{side.data(b.leaf)}[idl_k]"
    if isinstance(b.elem, Element):
        conditions = [scalar_check(i.leaf.type, field_of(element, i)) for i in b.elem.items]
    else:
        conditions = [scalar_check(b.elem, element)] if b.elem is not None else []
    conditions = [c for c in conditions if c]
    if not conditions:
        return []
    return [f"for (uint32_t idl_k = 0; idl_k < {count}; idl_k++)", f"    if ({' || '.join(conditions)})",
            f"        return {bad};"]


def pack(side, wire, out):
    """Lines that write the checked values into the words; leaves idl_at behind them when it varies."""
    m, lines = side.m, []
    for w in range(wire.head_words):
        lines.append(f"{m}w[{w}] = " + word_expr(
            wire.items_of(w), lambda i: side.local(i.leaf, out) if i.length else side.value(i.leaf)) + ";")
    blocks = Blocks(wire, m)
    lines += blocks.declare()

    def one(b, address, count):
        data = side.data(b.leaf)
        if not isinstance(b.elem, Element):
            size = f"{count} * {b.elem_bytes}" if b.elem_bytes > 1 else str(count)
            return [f"idl_put({address}, {data}, {size});"]
        head = [f"for (uint32_t idl_k = 0; idl_k < {count}; idl_k++) {{",
                f"    uint64_t *idl_e = {address} + idl_k * {b.elem.words};"]
        for w in range(b.elem.words):
            items = [i for i in b.elem.items if i.word == w]
            words = word_expr(items, lambda i: field_of(f"{data}[idl_k]", i))
            head.append(f"    idl_e[{w}] = {words};")
        return head + ["}"]

    lines += blocks.walk(one, lambda b: side.local(b.leaf, out) if b.variable else b.n)
    for i, p in enumerate(wire.caps):
        star = "*" if side.side == CLIENT and out else ""
        lines.append(f"{m}caps[{i}] = {star}{p.name};")
    return lines


def total_words(side, wire, out):
    parts = [str(wire.head_words)] if wire.head_words or not wire.blocks else []
    parts += [block_words(b, side.local(b.leaf, out) if b.variable else b.n) for b in wire.blocks]
    return " + ".join(parts)


def tag_expr(side, wire, out, label):
    caps = f" | TAG_CAPS({len(wire.caps)})" if wire.caps else ""
    return f"TAG({label}, {total_words(side, wire, out)}){caps}"


# -- receiving ---------------------------------------------------------------------------------------------

def receive(side, wire, out, bad):
    """Lines that check the message and take the values out of it."""
    m = side.m
    lines = _shape(side, wire, out, bad)
    for w in range(wire.head_words):
        bits = used_bits(wire.items_of(w))
        if bits < 64:
            lines += [f"if ({m}w[{w}] >> {bits} != 0)", f"    return {bad};"]
    for item in wire.head:
        if item.length:
            continue
        lines += _take_scalar(item, f"{m}w[{item.word}]", side.value(item.leaf), bad)
    blocks = Blocks(wire, m)
    lines += blocks.declare()
    lines += blocks.walk(lambda b, address, count: _take_block(side, b, address, count, bad),
                         lambda b: side.local(b.leaf, out) if b.variable else b.n)
    for i, p in enumerate(wire.caps):
        star = "*" if side.side == CLIENT and out else ""
        lines.append(f"{star}{p.name} = {m}caps[{i}];")
    return lines


def _shape(side, wire, out, bad):
    """The number of words and capabilities is exactly what the values need."""
    m, caps = side.m, f"TAG_CAPS({len(wire.caps)})"
    if not wire.variable:
        return [f"if ((uint32_t){m}tag != (uint32_t)({wire.max_words} | {caps}) || "
                f"{m}ncaps != {len(wire.caps)})", f"    return {bad};"]
    lines = [f"const uint32_t idl_words_{'o' if out else 'i'} = TAG_WORDS({m}tag);",
             f"if (((uint32_t){m}tag & ~0xffu) != (uint32_t){caps} || {m}ncaps != {len(wire.caps)} || "
             f"idl_words_{'o' if out else 'i'} < {wire.head_words})",
             f"    return {bad};"]
    for item in wire.head:
        if item.length:
            local = side.local(item.leaf, out)
            bound = next(b.n for b in wire.blocks if b.leaf is item.leaf)
            lines += [f"const uint32_t {local} = (uint16_t)({m}w[{item.word}] >> {item.shift});",
                      f"if ({local} > {bound})", f"    return {bad};"]
    return lines + [f"if (idl_words_{'o' if out else 'i'} != {total_words(side, wire, out)})",
                    f"    return {bad};"]


def _take_scalar(item, word, target, bad):
    t = item.leaf.type
    source = f"{word} >> {item.shift}" if item.shift else word
    if isinstance(t, Bool):
        return [f"if ((uint8_t)({source}) > 1)", f"    return {bad};",
                f"{target} = (uint8_t)({source}) != 0;"]
    lines = [f"{target} = ({c_type(t)})({source});"]
    condition = scalar_check(t, target)
    return lines + ([f"if ({condition})", f"    return {bad};"] if condition else [])


def _take_block(side, b, address, count, bad):
    data, lines = side.data(b.leaf), []
    length = side.length(b.leaf) if b.variable else None
    if length:
        kind = "uint16_t" if b.leaf.fields else "uint32_t"
        lines.append(f"{length} = {f'({kind})' if kind == 'uint16_t' else ''}{count};")
    if isinstance(b.elem, Element):
        lines += [f"for (uint32_t idl_k = 0; idl_k < {count}; idl_k++) {{",
                  f"    const uint64_t *idl_e = {address} + idl_k * {b.elem.words};"]
        for w in range(b.elem.words):
            bits = used_bits([i for i in b.elem.items if i.word == w])
            if bits < 64:
                lines += [f"    if (idl_e[{w}] >> {bits} != 0)", f"        return {bad};"]
        for item in b.elem.items:
            taken = _take_scalar(item, f"idl_e[{item.word}]", field_of(f"{data}[idl_k]", item), bad)
            lines += ["    " + line for line in taken]
        return lines + ["}"]
    if isinstance(b.leaf.type, String):
        return lines + [f"if (!idl_get_string({address}, {data}, {count}))", f"    return {bad};"]
    if isinstance(b.elem, Bool):
        return lines + [f"if (!idl_get_bools({address}, {data}, {count}))", f"    return {bad};"]
    size = f"{count} * {b.elem_bytes}" if b.elem_bytes > 1 else str(count)
    lines += [f"if (!idl_get({address}, {data}, {size}))", f"    return {bad};"]
    return lines + _element_checks(side, b, count, bad)


# -- whole functions ---------------------------------------------------------------------------------------

def contract_args(clauses):
    """The union of what the clauses name, in order: C name -> path."""
    args = {}
    for clause in clauses:
        args.update(clause.args)
    return args


def contract_function(name, clauses):
    """The inline function both sides use to decide the clauses."""
    args = contract_args(clauses)
    body = " && ".join(f"({c.c})" for c in clauses)
    lines = [f"static inline bool {name}({', '.join('uint64_t ' + a for a in args) or 'void'})", "{"]
    lines += [f"    (void){a};" for a in args if not re.search(rf"\b{a}\b", body)]
    return lines + [f"    return {body};", "}"]


def contract_call(side, name, clauses, want_out):
    """The call of a contract function with this side's values."""
    by_path = {}
    for p in side.p.params:
        if isinstance(p.type, Cap):
            continue
        for leaf in leaves(p, p.type):
            out = want_out and p.is_out
            if is_scalar(leaf.type):
                by_path[leaf.path] = side.value(leaf)
            elif isinstance(leaf.type, Array) and not leaf.type.at_most:
                continue
            else:
                word = "count" if isinstance(leaf.type, Array) else "len"
                by_path[leaf.path + (word,)] = side.local(leaf, out)
    return f"{name}({', '.join(by_path[path] for path in contract_args(clauses).values())})"


def prefix(face, p):
    return f"{face.name}_{p.name}".lower()


def client_prototype(face, p):
    params = ["cptr_t ep"] + [c for q in p.params for c in c_params(q)]
    return f"err_t {prefix(face, p)}({', '.join(params)})"


def impl_prototype(face, p):
    params = ["void *self", "uint64_t badge"] + [c for q in p.params for c in c_params(q)]
    return f"err_t {prefix(face, p)}_impl({', '.join(params)})"


def client_body(face, p):
    """The lines inside the client stub."""
    side, name = Side(p, CLIENT), prefix(face, p)
    lines = ["struct umbra_message idl_m;"]
    lines += lengths_and_checks(side, p.in_wire, False, "ERR_RANGE")
    if p.requires:
        lines += [f"if (!{contract_call(side, name + '_requires', p.requires, False)})",
                  "    return ERR_CONTRACT;"]
    lines += pack(side, p.in_wire, False)
    lines += [f"idl_m.tag = {tag_expr(side, p.in_wire, False, name.upper() + '_LABEL')};",
              f"idl_m.ncaps = {len(p.in_wire.caps)};", "err_t idl_err = umbra_transport_call(ep, &idl_m);"]
    if p.idempotent:
        lines += ["if (idl_err == ERR_CANCELLED) /* idempotent: the server was restarted, once more */",
                  "    idl_err = umbra_transport_call(ep, &idl_m);"]
    lines += ["if (idl_err != ERR_OK)", "    return idl_err;", "if (TAG_LABEL(idl_m.tag) != ERR_OK)",
              f"    return {name}_error(TAG_LABEL(idl_m.tag)) ? (err_t)TAG_LABEL(idl_m.tag) : "
              "ERR_BAD_MESSAGE;"]
    lines += receive_scoped(side, p.out_wire, "ERR_BAD_MESSAGE")
    if p.ensures:
        lines += [f"if (!{contract_call(side, name + '_ensures', p.ensures, True)})",
                  "    return ERR_CONTRACT;"]
    return lines + ["return ERR_OK;"]


def receive_scoped(side, wire, bad):
    """Taking the answer: idl_at, if the request had one too, is set back instead of declared again."""
    lines = receive(side, wire, True, bad)
    if Blocks(side.p.in_wire, "").declare():
        lines = [line.replace("uint32_t idl_at =", "idl_at =") for line in lines]
    return lines


def server_locals(p):
    lines = []
    for q in p.params:
        t, name = q.type, q.name
        zero_array = " = { 0 }" if q.is_out else ""
        zero = " = 0" if q.is_out else ""
        if isinstance(t, String):
            lines.append(f"char {name}[{t.n + 1}]{zero_array};")
        elif isinstance(t, Bytes):
            lines += [f"uint8_t {name}[{t.n}]{zero_array};", f"uint32_t {name}_len{zero};"]
        elif isinstance(t, Array):
            lines.append(f"{c_type(t.elem)} {name}[{t.n}];")
            if q.is_out:
                lines.append(f"memset({name}, 0, sizeof {name});")
            if t.at_most:
                lines.append(f"uint32_t {name}_count{zero};")
        elif isinstance(t, StructType):
            lines += [f"{c_type(t)} {name};", f"memset(&{name}, 0, sizeof {name});"]
        else:
            lines.append(f"{c_type(t)} {name}{zero};")
    return lines


def impl_arguments(p):
    out = []
    for q in p.params:
        amp = "&" if q.is_out else ""
        if isinstance(q.type, Bytes):
            out += [q.name, f"{amp}{q.name}_len"]
        elif isinstance(q.type, Array):
            out += [q.name] + ([f"{amp}{q.name}_count"] if q.type.at_most else [])
        elif isinstance(q.type, String):
            out.append(q.name)
        else:
            out.append(("&" if isinstance(q.type, StructType) else amp) + q.name)
    return out


def server_body(face, p):
    """The lines inside the server's function for this procedure."""
    side, name = Side(p, SERVER), prefix(face, p)
    lines = server_locals(p) + receive(side, p.in_wire, False, "ERR_BAD_MESSAGE")
    if p.requires:
        lines += [f"if (!{contract_call(side, name + '_requires', p.requires, False)})",
                  "    return ERR_CONTRACT;"]
    call = f"{name}_impl({', '.join(['self', 'm->badge'] + impl_arguments(p))})"
    lines += [f"err_t idl_err = {call};", "if (idl_err != ERR_OK)",
              f"    return {name}_error((uint32_t)idl_err) ? idl_err : ERR_CONTRACT;"]
    lines += lengths_and_checks(side, p.out_wire, True, "ERR_CONTRACT")
    if p.ensures:
        lines += [f"if (!{contract_call(side, name + '_ensures', p.ensures, True)})",
                  "    return ERR_CONTRACT;"]
    packed = pack(side, p.out_wire, True)
    if Blocks(p.in_wire, "").declare():
        packed = [line.replace("uint32_t idl_at =", "idl_at =") for line in packed]
    return lines + packed + [f"m->tag = {tag_expr(side, p.out_wire, True, 'ERR_OK')};", "return ERR_OK;"]
