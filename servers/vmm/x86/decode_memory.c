/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoder: memory operands (APM vol. 3, 1.4 to 1.5 and tables 1-9 to 1-15). Which segment they default to is
 * decided here, too. */
#include <servers/vmm/x86/cursor.h>

/* 16-bit addressing (APM vol. 3, table 1-9). */
static void take_mem16(struct cursor *c, struct x86_insn *in)
{
    static const int8_t base[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
    static const int8_t index[8] = { RSI, RDI, RSI, RDI, -1, -1, -1, -1 };
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7;
    in->mem.base = base[rm];
    in->mem.index = index[rm];
    if (mod == 0 && rm == 6) {
        in->mem.base = -1;
        in->mem.disp = (int64_t)take_number(c, 2);
    } else if (mod) {
        in->mem.disp = (int64_t)take_signed(c, mod);
    }
}

static void take_sib(struct cursor *c, struct x86_insn *in)
{
    uint8_t sib = take(c);
    unsigned index = (sib >> 3 & 7) | (in->rex & 2) << 2;
    in->mem.scale = sib >> 6;
    in->mem.index = index == RSP ? -1 : (int8_t)index;
    in->mem.base = (int8_t)((sib & 7) | (in->rex & 1) << 3);
    if ((sib & 7) == RBP && in->modrm >> 6 == 0) {
        in->mem.base = -1;
        in->mem.disp = (int64_t)take_signed(c, 4);
    }
}

/* The segment of ModRM memory: SS goes with a base of RSP or RBP (R12 and R13 are no such bases). */
static uint8_t mem_segment(const struct x86_insn *in)
{
    if (in->segment != SEGS)
        return in->segment;
    return in->mem.base == RSP || in->mem.base == RBP ? SEG_SS : SEG_DS;
}

void x86_take_mem(struct cursor *c, struct x86_insn *in)
{
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7;
    in->mem = (struct x86_mem){ .base = -1, .index = -1 };
    if (in->addrsize == 2) {
        take_mem16(c, in);
    } else if (rm == RSP) {
        take_sib(c, in);
    } else if (mod == 0 && rm == RBP) {
        in->mem.disp = (int64_t)take_signed(c, 4);
        in->mem.rip_relative = in->mode == X86_64;
    } else {
        in->mem.base = (int8_t)(rm | (in->rex & 1) << 3);
    }
    if (in->addrsize != 2 && mod)
        in->mem.disp += (int64_t)take_signed(c, mod == 1 ? 1 : 4);
    in->mem.segment = mem_segment(in);
}

void x86_take_moffs(struct cursor *c, struct x86_insn *in)
{
    in->mem = (struct x86_mem){ .base = -1, .index = -1, .disp = (int64_t)take_number(c, in->addrsize) };
    in->mem.segment = mem_segment(in);
}
