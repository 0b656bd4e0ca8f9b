/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers of bit tests, bit scans and bit counts. */
#include <servers/vmm/x86/internal.h>

/* BT with a register index into memory addresses a bit string: the index, signed, selects the word, too. */
static void select_word(struct emu *e, uint64_t index)
{
    const struct x86_operand *o = e->insn->operand;
    if (o[0].kind != X86_MEM || o[1].kind == X86_IMM)
        return;
    int64_t word = (int64_t)sign_extend(index, o[1].size) >> (o[0].size == 2 ? 4 : o[0].size == 4 ? 5 : 6);
    e->bias = (uint64_t)word * o[0].size;
}

enum x86_result emu_do_bit(struct emu *e)
{
    uint64_t index, value;
    enum x86_result r = emu_operand_read(e, 1, &index);
    if (r != X86_DONE)
        return r;
    select_word(e, index);
    switch (e->insn->op) {
    case X86_BTS:
        return emu_operand_modify(e, alu_bts, index, false, NULL);
    case X86_BTR:
        return emu_operand_modify(e, alu_btr, index, false, NULL);
    case X86_BTC:
        return emu_operand_modify(e, alu_btc, index, false, NULL);
    }
    r = emu_operand_read(e, 0, &value);
    if (r == X86_DONE)
        x86_set_status(e->cpu, alu_bt(e->insn->operand[0].size, value, index, e->cpu->rflags).flags);
    return r;
}

static unsigned leading_zeros(uint64_t value, unsigned bits)
{
    return value ? (unsigned)__builtin_clzll(value) - (64 - bits) : bits;
}

static unsigned trailing_zeros(uint64_t value, unsigned bits)
{
    return value ? (unsigned)__builtin_ctzll(value) : bits;
}

/* Without a library call: the target has none. */
static unsigned count_ones(uint64_t value)
{
    unsigned count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}

static uint64_t scan(unsigned op, uint64_t value, unsigned bits)
{
    switch (op) {
    case X86_BSR:
        return value ? bits - 1 - leading_zeros(value, bits) : 0;
    case X86_LZCNT:
        return leading_zeros(value, bits);
    case X86_POPCNT:
        return count_ones(value);
    default:
        return trailing_zeros(value, bits);
    }
}

/* BSF and BSR of 0 leave the destination alone (APM vol. 3, BSF); only ZF is defined. */
enum x86_result emu_do_bit_scan(struct emu *e)
{
    unsigned op = e->insn->op, size = e->insn->operand[0].size;
    uint64_t value, flags = 0;
    enum x86_result r = emu_operand_read(e, 1, &value);
    if (r != X86_DONE)
        return r;
    uint64_t result = scan(op, value, 8 * size);
    if (op == X86_TZCNT || op == X86_LZCNT)
        flags = (value ? 0 : X86_FLAG_CF) | (result ? 0 : X86_FLAG_ZF);
    else
        flags = value ? 0 : X86_FLAG_ZF;
    if (value || (op != X86_BSF && op != X86_BSR))
        emu_operand_write(e, 0, result);
    x86_set_status(e->cpu, flags);
    return X86_DONE;
}
