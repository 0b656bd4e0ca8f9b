/* SPDX-License-Identifier: BSD-2-Clause */
/* The decoder proper: prefixes, opcode row, ModRM, operands, in the order of the bytes (APM vol. 3, 1.1
 * to 1.7). Every byte is taken by take(), which alone knows the two limits: what was given, and 15. */
#include <servers/vmm/x86/cursor.h>

/* In 64-bit code overrides to ES CS SS DS are ignored, as if they were not there (APM vol. 3, 1.2.4). */
static void override_segment(struct x86_insn *in, enum segment segment)
{
    if (in->mode != X86_64 || segment >= SEG_FS)
        in->segment = (uint8_t)segment;
}

/* Returns the first byte behind the legacy prefixes and REX; *overridden tells of a segment override. */
static uint8_t take_prefixes(struct cursor *c, struct x86_insn *in, bool *address_prefix)
{
    in->segment = SEGS; /* none yet */
    while (!c->too_long && !c->short_of_bytes) {
        uint8_t byte = take(c);
        uint8_t rex = in->rex;
        in->rex = 0; /* counts only right before the opcode */
        switch (byte) {
        case 0x26:
            override_segment(in, SEG_ES);
            break;
        case 0x2e:
            override_segment(in, SEG_CS);
            break;
        case 0x36:
            override_segment(in, SEG_SS);
            break;
        case 0x3e:
            override_segment(in, SEG_DS);
            break;
        case 0x64:
            override_segment(in, SEG_FS);
            break;
        case 0x65:
            override_segment(in, SEG_GS);
            break;
        case 0x66:
            in->opsize_prefix = true;
            break;
        case 0x67:
            *address_prefix = true;
            break;
        case 0xf0:
            in->lock = true;
            break;
        case 0xf2:
        case 0xf3:
            in->rep = byte;
            break;
        default:
            if (in->mode != X86_64 || (byte & 0xf0) != 0x40) {
                in->rex = rex;
                return byte;
            }
            in->rex = byte;
        }
    }
    return 0;
}

static void set_sizes(struct x86_insn *in, bool address_prefix)
{
    if (in->mode == X86_64) {
        in->opsize = (in->rex & 8) ? 8 : in->opsize_prefix ? 2 : 4;
        in->addrsize = address_prefix ? 4 : 8;
    } else {
        in->opsize = ((in->mode == X86_32) != in->opsize_prefix) ? 4 : 2;
        in->addrsize = ((in->mode == X86_32) != address_prefix) ? 4 : 2;
    }
}

static const struct x86_desc *prefixed(const struct x86_insn *in, const struct x86_desc *row)
{
    uint8_t prefix = in->rep ? in->rep : in->opsize_prefix ? 0x66 : 0;
    for (unsigned i = 0; prefix && i < x86_prefixed_count; i++)
        if (x86_prefixed[i].opcode == in->opcode && x86_prefixed[i].prefix == prefix)
            return &x86_prefixed[i].desc;
    return row;
}

static bool is_undefined(const struct x86_desc *row)
{
    return row->op == X86_OTHER && row->flags == 0;
}

static bool has_modrm(const struct x86_desc *row)
{
    if (row->flags & (GROUP | MR))
        return true;
    for (unsigned i = 0; i < 3; i++)
        if (row->operand[i] && row->operand[i] <= X86_LAST_REG)
            return true;
    return false;
}

/* The row of a group member: its operands come behind, or instead of, those of the opcode's row. */
static struct x86_desc group_row(const struct x86_insn *in, const struct x86_desc *row)
{
    bool register_form = in->modrm >= 0xc0;
    struct x86_desc r = x86_groups[row->op][register_form][in->modrm >> 3 & 7];
    if (row->op == GRP7 && register_form && !is_undefined(&x86_group7_register[in->modrm & 63]))
        r = x86_group7_register[in->modrm & 63];
    if (!is_undefined(&r))
        for (unsigned i = 0; i < 3; i++)
            if (!r.operand[i])
                r.operand[i] = row->operand[i];
    r.flags |= row->flags & (N64 | D64);
    return r;
}

/* XCHG rAX,rAX is NOP, or PAUSE; the other exceptions to "one opcode, one meaning". */
static void settle_op(struct x86_insn *in, const struct x86_desc *row)
{
    if ((row->flags & O64) && in->mode != X86_64)
        in->op = row->op == X86_SWAPGS ? X86_UD : X86_OTHER;
    if (in->map == 0 && in->opcode == 0x90 && !(in->rex & 1))
        in->op = in->rep == X86_REPE ? X86_PAUSE : X86_NOP;
    if ((row->flags & D64) && in->mode == X86_64 && in->opsize == 4)
        in->opsize = 8;
}

static bool lock_is_wrong(const struct x86_insn *in, const struct x86_desc *row)
{
    return in->lock && (!(row->flags & LK) || in->operand[0].kind != X86_MEM);
}

static enum x86_decoded finish(const struct cursor *c, struct x86_insn *in, enum x86_decoded status)
{
    in->length = (uint8_t)c->at;
    if (c->too_long)
        return X86_TOO_LONG;
    if (c->short_of_bytes) {
        in->length = (uint8_t)(c->at + 1);
        return X86_NEED_MORE;
    }
    return status;
}

static bool modrm_is_register_only(const struct x86_desc *row)
{
    return row->operand[0] == RY || row->operand[1] == RY;
}

static enum x86_decoded take_row(struct cursor *c, struct x86_insn *in, struct x86_desc row)
{
    if (has_modrm(&row)) {
        in->modrm = take(c);
        if (in->modrm < 0xc0 && !modrm_is_register_only(&row))
            x86_take_mem(c, in);
        if (row.flags & GROUP)
            row = group_row(in, &row);
    }
    if (is_undefined(&row) || ((row.flags & N64) && in->mode == X86_64))
        return finish(c, in, X86_INVALID);
    in->op = row.op;
    settle_op(in, &row);
    bool valid = true;
    for (unsigned i = 0; i < 3 && row.operand[i]; i++) {
        valid = x86_take_operand(c, in, row.operand[i], &in->operand[i]) && valid;
        in->operands = (uint8_t)(i + 1);
    }
    if (row.flags & I8)
        take(c);
    if (lock_is_wrong(in, &row))
        valid = false;
    if (in->segment == SEGS)
        in->segment = SEG_DS;
    return finish(c, in, valid ? X86_DECODED : X86_INVALID);
}

/* 0F38 and 0F3A, and what VEX and EVEX lead to: only their lengths matter. */
static enum x86_decoded take_other(struct cursor *c, struct x86_insn *in, bool modrm, bool imm8)
{
    in->op = X86_OTHER;
    if (modrm) {
        in->modrm = take(c);
        if (in->modrm < 0xc0)
            x86_take_mem(c, in);
    }
    if (imm8)
        take(c);
    if (in->segment == SEGS)
        in->segment = SEG_DS;
    return finish(c, in, X86_DECODED);
}

/* The second byte is mod = 3 where the old meaning (LES LDS BOUND) allows memory only. */
static bool is_vex(const struct cursor *c, const struct x86_insn *in)
{
    if (in->opcode != 0xc4 && in->opcode != 0xc5 && in->opcode != 0x62)
        return false;
    return in->mode == X86_64 || (c->at < c->avail && c->at < X86_INSN_MAX && c->bytes[c->at] >= 0xc0);
}

static enum x86_decoded take_vex(struct cursor *c, struct x86_insn *in)
{
    bool evex = in->opcode == 0x62;
    unsigned map = 1;
    uint8_t first = take(c);
    if (in->opcode != 0xc5) {
        map = first & (evex ? 7 : 31);
        take(c);
    }
    if (evex)
        take(c);
    uint8_t opcode = take(c);
    in->opcode = opcode;
    in->map = (uint8_t)map;
    if (map == 0 || map > 6 || map == 4 || (!evex && map > 3))
        return finish(c, in, X86_UNSUPPORTED);
    bool imm8 =
        map == 3 ||
        (map == 1 && ((opcode & 0xfc) == 0x70 || opcode == 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6)));
    return take_other(c, in, !(map == 1 && opcode == 0x77 && !evex), imm8);
}

static enum x86_decoded take_two_byte(struct cursor *c, struct x86_insn *in)
{
    in->map = 1;
    in->opcode = take(c);
    in->cond = in->opcode & 15;
    if (in->opcode == 0x38 || in->opcode == 0x3a) {
        in->map = in->opcode == 0x38 ? 2 : 3;
        in->opcode = take(c);
        return take_other(c, in, true, in->map == 3);
    }
    if (in->opcode == 0x78 || in->opcode == 0x79) /* SSE4a EXTRQ INSERTQ or Intel VMREAD VMWRITE */
        return finish(c, in, X86_UNSUPPORTED);
    const struct x86_desc *row = &x86_two_byte[in->opcode];
    if (row->flags & PREFIXED)
        row = prefixed(in, row);
    return take_row(c, in, *row);
}

enum x86_decoded x86_decode(const uint8_t *bytes, unsigned avail, enum x86_mode mode, struct x86_insn *in)
{
    struct cursor c = { .bytes = bytes, .avail = avail };
    bool address_prefix = false;
    *in = (struct x86_insn){ .mode = (uint8_t)mode };
    in->mem = (struct x86_mem){ .base = -1, .index = -1 };
    in->opcode = take_prefixes(&c, in, &address_prefix);
    in->cond = in->opcode & 15;
    set_sizes(in, address_prefix);
    if (c.too_long || c.short_of_bytes)
        return finish(&c, in, X86_INVALID);
    if (in->opcode == 0x0f)
        return take_two_byte(&c, in);
    if (is_vex(&c, in))
        return take_vex(&c, in);
    if (in->opcode == 0x8f && c.at < c.avail && (c.bytes[c.at] & 0x38))
        return finish(&c, in, X86_UNSUPPORTED); /* XOP */
    return take_row(&c, in, x86_one_byte[in->opcode]);
}

unsigned x86_length(const uint8_t *bytes, unsigned avail, enum x86_mode mode)
{
    struct x86_insn in;
    return x86_decode(bytes, avail, mode, &in) == X86_DECODED ? in.length : 0;
}

bool x86_decode_cr_mov(const uint8_t *bytes, unsigned avail, enum x86_mode mode, struct x86_cr_mov *mov)
{
    unsigned at = 0;
    uint8_t rex = 0;
    if (mode == X86_64 && avail && (bytes[0] & 0xf0) == 0x40)
        rex = bytes[at++];
    if (avail < at + 3 || bytes[at] != 0x0f || (bytes[at + 1] & 0xfd) != 0x20)
        return false;
    uint8_t modrm = bytes[at + 2], cr = (uint8_t)((modrm >> 3 & 7) | (rex & 4) << 1);
    if (cr > 8 || !(BIT(cr) & (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(8))))
        return false;
    *mov = (struct x86_cr_mov){ .cr = cr,
                                .gpr = (uint8_t)((modrm & 7) | (rex & 1) << 3),
                                .length = (uint8_t)(at + 3),
                                .write = bytes[at + 1] == 0x22 };
    return true;
}

#define OP_NAME(name) #name,
const char *x86_op_name(enum x86_op op)
{
    static const char *const names[] = { X86_OP_LIST(OP_NAME) };
    return op < X86_OPS ? names[op] : "?";
}
