/* SPDX-License-Identifier: BSD-2-Clause */
/* The stack: several values are checked before the first is written, RSP changes last. */
#include <servers/vmm/x86/internal.h>

#define ENTER_PUSHES_MAX 32

unsigned emu_stack_size(const struct emu *e)
{
    if (e->insn->mode == X86_64)
        return 8;
    return (e->cpu->seg[SEG_SS].attributes & X86_SEG_DB) && !(e->cpu->rflags & X86_FLAG_VM) ? 4 : 2;
}

void emu_set_rsp(struct emu *e, uint64_t rsp)
{
    x86_gpr_set(e->cpu, RSP, emu_stack_size(e), rsp);
}

static enum x86_result slot_of(struct emu *e, uint64_t rsp, unsigned size, unsigned access, uint64_t *linear)
{
    return emu_linear(e, SEG_SS, rsp & low_mask(emu_stack_size(e)), size, access, linear);
}

enum x86_result emu_push(struct emu *e, const uint64_t *values, unsigned count, unsigned size)
{
    uint64_t linear[PUSH_MAX], rsp = e->cpu->gpr[RSP];
    enum x86_result r = X86_DONE;
    for (unsigned i = 0; i < count && r == X86_DONE; i++) {
        r = slot_of(e, rsp - (i + 1) * size, size, X86_ACCESS_WRITE, &linear[i]);
        if (r == X86_DONE && count > 1)
            r = emu_probe(e, linear[i], size, X86_ACCESS_WRITE);
    }
    for (unsigned i = 0; i < count && r == X86_DONE; i++)
        r = emu_write(e, linear[i], size, &values[i]);
    if (r == X86_DONE)
        emu_set_rsp(e, rsp - count * size);
    return r;
}

enum x86_result emu_pop(struct emu *e, uint64_t *values, unsigned count, unsigned size, uint64_t *rsp)
{
    enum x86_result r = X86_DONE;
    *rsp = e->cpu->gpr[RSP];
    for (unsigned i = 0; i < count && r == X86_DONE; i++) {
        uint64_t linear;
        values[i] = 0;
        r = slot_of(e, *rsp, size, 0, &linear);
        if (r == X86_DONE)
            r = emu_read(e, linear, size, &values[i], 0);
        *rsp += size;
    }
    return r;
}

enum x86_result emu_do_push(struct emu *e)
{
    uint64_t value;
    enum x86_result r = emu_operand_read(e, 0, &value);
    return r != X86_DONE ? r : emu_push(e, &value, 1, e->insn->opsize);
}

/* POP to memory computes its address with the RSP behind the pop; POP RSP ends with the value popped. */
enum x86_result emu_do_pop(struct emu *e)
{
    uint64_t value, rsp, before = e->cpu->gpr[RSP];
    enum x86_result r = emu_pop(e, &value, 1, e->insn->opsize, &rsp);
    if (r != X86_DONE)
        return r;
    if (e->insn->operand[0].kind == X86_MEM) {
        e->rsp_bias = rsp - before;
        r = emu_operand_write(e, 0, value);
        if (r == X86_DONE)
            emu_set_rsp(e, rsp);
        return r;
    }
    emu_set_rsp(e, rsp);
    return emu_operand_write(e, 0, value);
}

enum x86_result emu_do_pusha(struct emu *e)
{
    uint64_t values[8];
    for (unsigned i = 0; i < 8; i++)
        values[i] = e->cpu->gpr[i];
    return emu_push(e, values, 8, e->insn->opsize);
}

enum x86_result emu_do_popa(struct emu *e)
{
    uint64_t values[8], rsp;
    enum x86_result r = emu_pop(e, values, 8, e->insn->opsize, &rsp);
    if (r != X86_DONE)
        return r;
    for (unsigned i = 0; i < 8; i++)
        if (7 - i != RSP)
            x86_gpr_set(e->cpu, 7 - i, e->insn->opsize, values[i]);
    emu_set_rsp(e, rsp);
    return X86_DONE;
}

static enum x86_result probe_slot(struct emu *e, uint64_t rsp, unsigned size, unsigned access,
                                  uint64_t *linear)
{
    enum x86_result r = slot_of(e, rsp, size, access, linear);
    return r != X86_DONE ? r : emu_probe(e, *linear, size, access);
}

/* With a level above 0 the frame pointers of the enclosing procedures are copied (APM vol. 3, ENTER): each is
 * read after the push before it, and may be what that wrote. So the reads are probed, too, and nothing is
 * read before all may happen. */
enum x86_result emu_do_enter(struct emu *e)
{
    unsigned size = e->insn->opsize, level = e->insn->imm2 & 31;
    uint64_t rsp = e->cpu->gpr[RSP], rbp = e->cpu->gpr[RBP], frame = rsp - size;
    uint64_t from[ENTER_PUSHES_MAX], to[ENTER_PUSHES_MAX], end = frame - level * size - e->insn->imm, linear;
    enum x86_result r = X86_DONE;
    for (unsigned i = 0; i <= level && r == X86_DONE; i++) {
        if (i && i < level)
            r = probe_slot(e, rbp - i * size, size, 0, &from[i]);
        if (r == X86_DONE)
            r = probe_slot(e, frame - i * size, size, X86_ACCESS_WRITE, &to[i]);
    }
    if (r == X86_DONE) /* the last byte of the new frame must be writable */
        r = probe_slot(e, end, 1, X86_ACCESS_WRITE, &linear);
    for (unsigned i = 0; i <= level && r == X86_DONE; i++) {
        uint64_t value = i ? frame : rbp;
        if (i && i < level)
            r = emu_read(e, from[i], size, &value, 0);
        if (r == X86_DONE)
            r = emu_write(e, to[i], size, &value);
    }
    if (r != X86_DONE)
        return r;
    x86_gpr_set(e->cpu, RBP, size, frame);
    emu_set_rsp(e, end);
    return X86_DONE;
}

enum x86_result emu_do_leave(struct emu *e)
{
    uint64_t value = 0, linear, rbp = e->cpu->gpr[RBP];
    enum x86_result r = slot_of(e, rbp, e->insn->opsize, 0, &linear);
    if (r == X86_DONE)
        r = emu_read(e, linear, e->insn->opsize, &value, 0);
    if (r != X86_DONE)
        return r;
    emu_set_rsp(e, rbp + e->insn->opsize);
    x86_gpr_set(e->cpu, RBP, e->insn->opsize, value);
    return X86_DONE;
}
