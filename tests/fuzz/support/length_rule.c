/* SPDX-License-Identifier: BSD-2-Clause */
/* See length_rule.h. Shares nothing with servers/vmm/x86: which opcodes have a ModRM byte and which immediate
 * stands here as sets, opcode by opcode. */
#include "length_rule.h"

#include <stdbool.h>

struct text {
    const uint8_t *bytes;
    unsigned n, at, mode, operand, address; /* sizes in bytes */
    bool wide;                              /* REX.W */
    uint8_t repeat;                         /* F2 or F3 */
};

/* What a class of opcodes is followed by. */
enum { NO = 0, B1 = 1, W2 = 2, Z = 4, V = 8, OFFSET = 16, FAR = 32, M = 64, GROUP3 = 128 };

static bool between(uint8_t op, uint8_t first, uint8_t last)
{
    return op >= first && op <= last;
}

/* One-byte opcodes, apart from prefixes. */
static unsigned class_of_one(uint8_t op, bool is64)
{
    if (op < 0x40)
        return op % 8 < 4 ? M : op % 8 == 4 ? B1 : op % 8 == 5 ? Z : NO;
    if (op == 0x69 || op == 0x81 || op == 0xc7)
        return M | Z;
    if (op == 0x6b || op == 0x80 || op == 0x82 || op == 0x83 || op == 0xc0 || op == 0xc1 || op == 0xc6)
        return M | B1;
    if (op == 0xf6 || op == 0xf7)
        return M | GROUP3;
    if (op == 0x63 || between(op, 0x84, 0x8f) || between(op, 0xd0, 0xd3) || between(op, 0xd8, 0xdf) ||
        op >= 0xfe)
        return M;
    if (!is64 && (op == 0x62 || op == 0xc4 || op == 0xc5))
        return M;
    if (op == 0x68 || op == 0xa9 || op == 0xe8 || op == 0xe9)
        return Z;
    if (between(op, 0xb8, 0xbf))
        return V;
    if (between(op, 0xa0, 0xa3))
        return OFFSET;
    if (op == 0x9a || op == 0xea)
        return FAR;
    if (op == 0xc2 || op == 0xca)
        return W2;
    if (op == 0xc8)
        return W2 | B1;
    if (op == 0x6a || between(op, 0x70, 0x7f) || op == 0xa8 || between(op, 0xb0, 0xb7) || op == 0xcd ||
        op == 0xd4 || op == 0xd5 || between(op, 0xe0, 0xe7) || op == 0xeb)
        return B1;
    return NO;
}

/* Opcodes behind 0F. */
static unsigned class_of_two(uint8_t op)
{
    if (between(op, 0x80, 0x8f))
        return Z;
    if (between(op, 0x70, 0x73) || op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 ||
        between(op, 0xc4, 0xc6))
        return M | B1;
    if (between(op, 0x04, 0x0c) || op == 0x0e || between(op, 0x30, 0x37) || op == 0x77 ||
        between(op, 0xa0, 0xa2) || between(op, 0xa8, 0xaa) || between(op, 0xc8, 0xcf))
        return NO;
    return M;
}

/* A REX counts right before the opcode only; another prefix behind it, a second REX too, undoes it. */
static bool take_prefixes(struct text *t)
{
    for (bool more = true; more && t->at < t->n;) {
        uint8_t b = t->bytes[t->at];
        bool rex = t->mode == 8 && b >> 4 == 4;
        more = rex || b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || (b & 0xe7) == 0x26 ||
               b == 0x64 || b == 0x65;
        t->operand = b == 0x66 ? (t->mode == 2 ? 4 : 2) : t->operand;
        t->address = b == 0x67 ? (t->mode == 4 ? 2 : 4) : t->address;
        t->repeat = b == 0xf2 || b == 0xf3 ? b : t->repeat;
        t->wide = more ? rex && b & 8 : t->wide;
        t->at += more;
    }
    return t->at < t->n;
}

/* ModRM, SIB and displacement; false: they are not all there. */
static bool take_modrm(struct text *t, uint8_t *modrm)
{
    if (t->at >= t->n)
        return false;
    *modrm = t->bytes[t->at++];
    unsigned mod = *modrm >> 6, rm = *modrm & 7;
    if (mod == 3)
        return true;
    if (t->address == 2) {
        t->at += mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
        return true;
    }
    if (rm == 4) {
        if (t->at >= t->n)
            return false;
        rm = t->bytes[t->at++] & 7;
    }
    t->at += mod == 1 ? 1 : mod == 2 || rm == 5 ? 4 : 0;
    return true;
}

static unsigned immediate_bytes(const struct text *t, unsigned class, uint8_t op, uint8_t modrm)
{
    unsigned z = t->wide ? 4 : t->operand == 2 ? 2 : 4, bytes = 0;
    bool test = class & GROUP3 && (modrm >> 3 & 7) < 2;

    bytes += class & B1 || (test && op == 0xf6) ? 1 : 0;
    bytes += class & W2 ? 2 : 0;
    bytes += class & Z || (test && op == 0xf7) ? z : 0;
    bytes += class & V ? (t->wide ? 8 : z) : 0;
    bytes += class & OFFSET ? t->address : 0;
    bytes += class & FAR ? z + 2 : 0;
    return bytes;
}

unsigned length_rule(const uint8_t *bytes, unsigned n, unsigned mode)
{
    struct text t = {
        .bytes = bytes, .n = n, .mode = mode, .operand = mode == 2 ? 2 : 4, .address = mode == 8 ? 8 : mode
    };
    uint8_t modrm = 0;

    if (!take_prefixes(&t))
        return 0;
    uint8_t op = bytes[t.at++];
    unsigned class = class_of_one(op, mode == 8);
    bool extended = op == 0x62 || op == 0xc4 || op == 0xc5 || op == 0x8f;
    if (extended && (mode == 8 || t.at >= n || bytes[t.at] >> 6 == 3 || op == 0x8f))
        return 0;
    if (op == 0x0f) {
        if (t.at >= n)
            return 0;
        op = bytes[t.at++];
        class = class_of_two(op);
        if (op == 0x0f || (op == 0x78 && (t.operand != (mode == 2 ? 2u : 4u) || t.repeat)))
            return 0;
        if (op == 0x38 || op == 0x3a) {
            class = op == 0x38 ? M : M | B1;
            t.at++;
        }
        if (between(op, 0x20, 0x27)) { /* MOV CR and DR: mod counts as 3 */
            t.at++;
            class = NO;
        }
        if (between(op, 0x80, 0x8f) && t.wide)
            t.operand = 4;
    }
    if (class & M && !take_modrm(&t, &modrm))
        return 0;
    t.at += immediate_bytes(&t, class, op, modrm);
    return t.at <= n ? t.at : 0;
}
