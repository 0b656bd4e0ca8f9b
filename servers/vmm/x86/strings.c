/* SPDX-License-Identifier: BSD-2-Clause */
/* String instructions and REP. One iteration is all or nothing and leaves rSI, rDI, rCX as the architecture
 * shows them between iterations; RIP stays on the instruction until the last, so a fault, a single step or
 * the bound of iterations can come in between (APM vol. 3, 1.2.6). */
#include <servers/vmm/x86/internal.h>

static uint64_t source(const struct emu *e)
{
    return x86_gpr_get(e->cpu, RSI, e->insn->addrsize);
}

static uint64_t destination(const struct emu *e)
{
    return x86_gpr_get(e->cpu, RDI, e->insn->addrsize);
}

static void advance(struct emu *e, unsigned reg)
{
    uint64_t size = e->insn->operand[0].size, step = e->cpu->rflags & X86_FLAG_DF ? -size : size;
    x86_gpr_set(e->cpu, reg, e->insn->addrsize, e->cpu->gpr[reg] + step);
}

static enum x86_result read_source(struct emu *e, uint64_t *value)
{
    return emu_read_value(e, e->insn->segment, source(e), e->insn->operand[0].size, value);
}

static enum x86_result read_destination(struct emu *e, uint64_t *value)
{
    return emu_read_value(e, SEG_ES, destination(e), e->insn->operand[0].size, value);
}

static enum x86_result write_destination(struct emu *e, uint64_t value)
{
    uint64_t linear;
    unsigned size = e->insn->operand[0].size;
    enum x86_result r = emu_linear(e, SEG_ES, destination(e), size, X86_ACCESS_WRITE, &linear);
    return r != X86_DONE ? r : emu_write(e, linear, size, &value);
}

static enum x86_result one_move(struct emu *e)
{
    uint64_t value;
    enum x86_result r = read_source(e, &value);
    if (r == X86_DONE)
        r = write_destination(e, value);
    if (r != X86_DONE)
        return r;
    advance(e, RSI);
    advance(e, RDI);
    return X86_DONE;
}

static enum x86_result one_store(struct emu *e)
{
    enum x86_result r = write_destination(e, x86_gpr_get(e->cpu, RAX, e->insn->operand[0].size));
    if (r == X86_DONE)
        advance(e, RDI);
    return r;
}

static enum x86_result one_load(struct emu *e)
{
    uint64_t value;
    enum x86_result r = read_source(e, &value);
    if (r != X86_DONE)
        return r;
    x86_gpr_set(e->cpu, RAX, e->insn->operand[0].size, value);
    advance(e, RSI);
    return X86_DONE;
}

/* CMPS, SCAS */
static enum x86_result one_compare(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    bool scan = e->insn->op == X86_SCAS;
    uint64_t a = x86_gpr_get(e->cpu, RAX, size), b;
    enum x86_result r = scan ? X86_DONE : read_source(e, &a);
    if (r == X86_DONE)
        r = read_destination(e, &b);
    if (r != X86_DONE)
        return r;
    x86_set_status(e->cpu, alu_sub(size, a, b, e->cpu->rflags).flags);
    if (!scan)
        advance(e, RSI);
    advance(e, RDI);
    return X86_DONE;
}

/* The device gives its value away when it is read: so the memory is checked before. */
static enum x86_result one_input(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    uint16_t port = (uint16_t)e->cpu->gpr[RDX];
    uint64_t linear;
    uint32_t value = 0;
    enum x86_result r = emu_linear(e, SEG_ES, destination(e), size, X86_ACCESS_WRITE, &linear);
    if (r == X86_DONE)
        r = emu_probe(e, linear, size, X86_ACCESS_WRITE);
    if (r == X86_DONE && e->bus->in(e->ctx, port, size, &value) != X86_BUS_OK)
        r = X86_RETRY;
    if (r == X86_DONE)
        r = emu_write(e, linear, size, &value);
    if (r == X86_DONE)
        advance(e, RDI);
    return r;
}

static enum x86_result one_output(struct emu *e)
{
    uint64_t value;
    enum x86_result r = read_source(e, &value);
    if (r == X86_DONE && e->bus->out(e->ctx, (uint16_t)e->cpu->gpr[RDX], e->insn->operand[0].size,
                                     (uint32_t)value) != X86_BUS_OK)
        r = X86_RETRY;
    if (r == X86_DONE)
        advance(e, RSI);
    return r;
}

static enum x86_result one_iteration(struct emu *e)
{
    switch (e->insn->op) {
    case X86_MOVS:
        return one_move(e);
    case X86_STOS:
        return one_store(e);
    case X86_LODS:
        return one_load(e);
    case X86_INS:
        return one_input(e);
    case X86_OUTS:
        return one_output(e);
    default:
        return one_compare(e);
    }
}

/* REPE and REPNE end CMPS and SCAS by ZF, too. */
static bool ends_by_flag(const struct emu *e)
{
    bool zf = e->cpu->rflags & X86_FLAG_ZF;
    return (e->insn->op == X86_CMPS || e->insn->op == X86_SCAS) && zf != (e->insn->rep == X86_REPE);
}

static enum x86_result repeat(struct emu *e)
{
    unsigned size = e->insn->addrsize;
    uint64_t count = x86_gpr_get(e->cpu, RCX, size);
    uint32_t most = e->cpu->rflags & X86_FLAG_TF ? 1 : e->bus->rep_limit;
    for (uint32_t i = 0; i < most && count; i++) {
        enum x86_result r = one_iteration(e);
        if (r != X86_DONE)
            return r;
        x86_gpr_set(e->cpu, RCX, size, --count);
        e->cpu->shadow = 0;
        if (ends_by_flag(e))
            return X86_DONE;
    }
    e->unfinished = count != 0;
    return X86_DONE;
}

enum x86_result emu_do_string(struct emu *e)
{
    if (e->insn->op == X86_INS || e->insn->op == X86_OUTS) {
        enum x86_result r = emu_port_allowed(e, (uint16_t)e->cpu->gpr[RDX], e->insn->operand[0].size);
        if (r != X86_DONE)
            return r;
    }
    return e->insn->rep ? repeat(e) : one_iteration(e);
}
