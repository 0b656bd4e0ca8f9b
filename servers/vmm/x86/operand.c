/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading, writing and modifying operands. Values are zero-extended to 64 bits; sizes are bytes. */
#include <servers/vmm/x86/internal.h>

#define ATOMIC_TRIES 64 /* chosen: against another processor of the same guest; then X86_RETRY */

uint64_t x86_gpr_get(const struct x86_cpu *cpu, unsigned reg, unsigned size)
{
    return cpu->gpr[reg] & low_mask(size);
}

/* Writing 4 bytes clears the upper half, 1 and 2 leave the rest alone (APM vol. 1, 3.1.2.3). */
void x86_gpr_set(struct x86_cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t mask = low_mask(size);
    cpu->gpr[reg] = size >= 4 ? value & mask : (cpu->gpr[reg] & ~mask) | (value & mask);
}

void x86_set_status(struct x86_cpu *cpu, uint64_t flags)
{
    cpu->rflags = (cpu->rflags & ~X86_FLAG_STATUS) | (flags & X86_FLAG_STATUS);
}

static uint64_t register_read(const struct x86_cpu *cpu, const struct x86_operand *o)
{
    return o->kind == X86_REG_HIGH ? cpu->gpr[o->reg] >> 8 & 0xff : x86_gpr_get(cpu, o->reg, o->size);
}

static void register_write(struct x86_cpu *cpu, const struct x86_operand *o, uint64_t value)
{
    if (o->kind == X86_REG_HIGH)
        cpu->gpr[o->reg] = (cpu->gpr[o->reg] & ~0xff00ull) | (value & 0xff) << 8;
    else
        x86_gpr_set(cpu, o->reg, o->size, value);
}

enum x86_result emu_operand_read(struct emu *e, unsigned which, uint64_t *value)
{
    const struct x86_operand *o = &e->insn->operand[which];
    uint64_t linear;
    switch (o->kind) {
    case X86_REG:
    case X86_REG_HIGH:
        *value = register_read(e->cpu, o);
        return X86_DONE;
    case X86_IMM:
        *value = e->insn->imm & low_mask(o->size);
        return X86_DONE;
    case X86_SEGREG:
        *value = e->cpu->seg[o->reg].selector;
        return X86_DONE;
    }
    *value = 0;
    enum x86_result r = emu_mem_operand(e, o->size, 0, &linear);
    return r != X86_DONE ? r : emu_read(e, linear, o->size, value, 0);
}

enum x86_result emu_operand_write(struct emu *e, unsigned which, uint64_t value)
{
    const struct x86_operand *o = &e->insn->operand[which];
    uint64_t linear;
    if (o->kind != X86_MEM) {
        register_write(e->cpu, o, value);
        return X86_DONE;
    }
    enum x86_result r = emu_mem_operand(e, o->size, X86_ACCESS_WRITE, &linear);
    return r != X86_DONE ? r : emu_write(e, linear, o->size, &value);
}

/* As emu_operand_modify, at linear; result.value and .flags are left to the caller. */
static enum x86_result memory_modify(struct emu *e, uint64_t linear, unsigned size, alu_fn fn, uint64_t b,
                                     bool atomic, uint64_t *old, struct alu *result)
{
    *old = 0;
    enum x86_result r = emu_read(e, linear, size, old, X86_ACCESS_WRITE);
    if (r != X86_DONE)
        return r;
    for (unsigned i = 0; i < ATOMIC_TRIES; i++) {
        bool stored = false;
        *result = fn(size, *old, b, e->cpu->rflags);
        if (!atomic)
            return emu_write(e, linear, size, &result->value);
        r = emu_cmpxchg(e, linear, size, old, &result->value, &stored);
        if (r != X86_DONE || stored)
            return r;
    }
    return X86_RETRY;
}

enum x86_result emu_operand_modify(struct emu *e, alu_fn fn, uint64_t b, bool atomic, uint64_t *old)
{
    const struct x86_operand *o = &e->insn->operand[0];
    uint64_t linear, was;
    struct alu result;
    if (o->kind == X86_MEM) {
        enum x86_result r = emu_mem_operand(e, o->size, X86_ACCESS_WRITE, &linear);
        if (r == X86_DONE)
            r = memory_modify(e, linear, o->size, fn, b, atomic || e->insn->lock, &was, &result);
        if (r != X86_DONE)
            return r;
    } else {
        was = register_read(e->cpu, o);
        result = fn(o->size, was, b, e->cpu->rflags);
        register_write(e->cpu, o, result.value);
    }
    x86_set_status(e->cpu, result.flags);
    if (old)
        *old = was;
    return X86_DONE;
}
