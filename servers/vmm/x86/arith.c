/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers of two- and one-operand arithmetic, shifts, compare-and-exchange. */
#include <servers/vmm/x86/internal.h>

static alu_fn binary_fn(unsigned op)
{
    static const alu_fn fn[] = { alu_add, alu_or, alu_adc, alu_sbb, alu_and, alu_sub, alu_xor };
    return fn[op - X86_ADD];
}

enum x86_result emu_do_binary(struct emu *e)
{
    uint64_t b;
    enum x86_result r = emu_operand_read(e, 1, &b);
    return r != X86_DONE ? r : emu_operand_modify(e, binary_fn(e->insn->op), b, false, NULL);
}

static enum x86_result compare(struct emu *e, alu_fn fn)
{
    uint64_t a, b;
    enum x86_result r = emu_operand_read(e, 0, &a);
    if (r == X86_DONE)
        r = emu_operand_read(e, 1, &b);
    if (r == X86_DONE)
        x86_set_status(e->cpu, fn(e->insn->operand[0].size, a, b, e->cpu->rflags).flags);
    return r;
}

enum x86_result emu_do_compare(struct emu *e)
{
    return compare(e, alu_sub);
}

enum x86_result emu_do_test(struct emu *e)
{
    return compare(e, alu_and);
}

enum x86_result emu_do_unary(struct emu *e)
{
    switch (e->insn->op) {
    case X86_INC:
        return emu_operand_modify(e, alu_inc, 0, false, NULL);
    case X86_DEC:
        return emu_operand_modify(e, alu_dec, 0, false, NULL);
    case X86_NEG:
        return emu_operand_modify(e, alu_neg, 0, false, NULL);
    default:
        return emu_operand_modify(e, alu_not, 0, false, NULL);
    }
}

enum x86_result emu_do_shift(struct emu *e)
{
    static const alu_fn fn[] = { alu_rol, alu_ror, alu_rcl, alu_rcr, alu_shl, alu_shr, alu_shl, alu_sar };
    uint64_t count;
    enum x86_result r = emu_operand_read(e, 1, &count);
    return r != X86_DONE ? r : emu_operand_modify(e, fn[e->insn->op - X86_ROL], count, false, NULL);
}

enum x86_result emu_do_double_shift(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    uint64_t a, fill, count;
    enum x86_result r = emu_operand_read(e, 0, &a);
    if (r == X86_DONE)
        r = emu_operand_read(e, 1, &fill);
    if (r == X86_DONE)
        r = emu_operand_read(e, 2, &count);
    if (r != X86_DONE)
        return r;
    struct alu result = e->insn->op == X86_SHLD ? alu_shld(size, a, fill, (unsigned)count, e->cpu->rflags)
                                                : alu_shrd(size, a, fill, (unsigned)count, e->cpu->rflags);
    r = emu_operand_write(e, 0, result.value);
    if (r == X86_DONE)
        x86_set_status(e->cpu, result.flags);
    return r;
}

/* The source gets the old destination; if both are one register it holds the sum. */
enum x86_result emu_do_xadd(struct emu *e)
{
    uint64_t b, old;
    enum x86_result r = emu_operand_read(e, 1, &b);
    if (r == X86_DONE)
        r = emu_operand_modify(e, alu_add, b, false, &old);
    if (r != X86_DONE)
        return r;
    const struct x86_operand *o = e->insn->operand;
    if (o[0].kind == o[1].kind && o[0].reg == o[1].reg)
        return X86_DONE;
    return emu_operand_write(e, 1, old);
}

/* Memory is written in every case, if only with what it held (APM vol. 3, CMPXCHG): so it needs the right to.
 */
enum x86_result emu_do_cmpxchg(struct emu *e)
{
    const struct x86_operand *o = &e->insn->operand[0];
    uint64_t accumulator = x86_gpr_get(e->cpu, RAX, o->size), old = accumulator, desired, linear;
    bool stored = false;
    enum x86_result r = emu_operand_read(e, 1, &desired);
    if (r != X86_DONE)
        return r;
    if (o->kind == X86_MEM) {
        r = emu_mem_operand(e, o->size, X86_ACCESS_WRITE, &linear);
        if (r == X86_DONE)
            r = emu_cmpxchg(e, linear, o->size, &old, &desired, &stored);
    } else {
        r = emu_operand_read(e, 0, &old);
        stored = old == accumulator;
        if (stored)
            emu_operand_write(e, 0, desired);
    }
    if (r != X86_DONE)
        return r;
    x86_set_status(e->cpu, alu_sub(o->size, accumulator, stored ? accumulator : old, e->cpu->rflags).flags);
    if (!stored)
        x86_gpr_set(e->cpu, RAX, o->size, old);
    return X86_DONE;
}

enum x86_result emu_do_cmpxchg8b(struct emu *e)
{
    struct x86_cpu *cpu = e->cpu;
    unsigned half = (e->insn->rex & 8) ? 8 : 4;
    uint64_t linear, expected[2], desired[2];
    bool stored = false;
    enum x86_result r = emu_mem_operand(e, 2 * half, X86_ACCESS_WRITE, &linear);
    if (r != X86_DONE)
        return r;
    if (half == 8 && linear % 16)
        return emu_raise(e, X86_VECTOR_GP);
    expected[0] = half == 8 ? cpu->gpr[RAX] : x86_gpr_get(cpu, RAX, 4) | cpu->gpr[RDX] << 32;
    desired[0] = half == 8 ? cpu->gpr[RBX] : x86_gpr_get(cpu, RBX, 4) | cpu->gpr[RCX] << 32;
    expected[1] = cpu->gpr[RDX];
    desired[1] = cpu->gpr[RCX];
    r = emu_cmpxchg(e, linear, 2 * half, expected, desired, &stored);
    if (r != X86_DONE)
        return r;
    if (!stored) {
        x86_gpr_set(cpu, RAX, half, expected[0]);
        x86_gpr_set(cpu, RDX, half, half == 8 ? expected[1] : expected[0] >> 32);
    }
    cpu->rflags = stored ? cpu->rflags | X86_FLAG_ZF : cpu->rflags & ~X86_FLAG_ZF;
    return X86_DONE;
}
