/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers of far transfers, real-mode interrupts, and the moves to and from segment registers. */
#include <servers/vmm/x86/internal.h>

struct far_pointer {
    uint64_t offset;
    uint16_t selector;
};

static enum x86_result read_far(struct emu *e, unsigned size, struct far_pointer *p)
{
    uint8_t bytes[16] = { 0 };
    uint64_t linear;
    enum x86_result r = emu_mem_operand(e, size + 2, 0, &linear);
    if (r == X86_DONE)
        r = emu_read(e, linear, size + 2, bytes, 0);
    p->offset = 0;
    for (unsigned i = 0; i < size; i++)
        p->offset |= (uint64_t)bytes[i] << 8 * i;
    p->selector = (uint16_t)(bytes[size] | bytes[size + 1] << 8);
    return r;
}

/* JMP and CALL, direct and through memory. */
enum x86_result emu_do_jmp_far(struct emu *e)
{
    struct far_pointer p = { e->insn->imm, e->insn->imm2 };
    struct umbra_segment cs;
    enum x86_result r = X86_DONE;
    if (e->insn->operand[0].kind == X86_MEM)
        r = read_far(e, e->insn->opsize, &p);
    if (r == X86_DONE)
        r = emu_check_code(e, p.selector, p.offset, false, &cs);
    if (r == X86_DONE && e->insn->op == X86_CALL_FAR) {
        /* the accessed bit may be set without the push, as after a fault in between on a processor */
        uint64_t values[2] = { e->cpu->seg[SEG_CS].selector, e->next_rip };
        struct umbra_segment before = e->cpu->seg[SEG_CS];
        r = emu_load_code(e, &cs);
        if (r == X86_DONE)
            r = emu_push(e, values, 2, e->insn->opsize);
        if (r != X86_DONE)
            e->cpu->seg[SEG_CS] = before;
    } else if (r == X86_DONE) {
        r = emu_load_code(e, &cs);
    }
    if (r == X86_DONE)
        e->next_rip = p.offset;
    return r;
}

enum x86_result emu_do_ret_far(struct emu *e)
{
    uint64_t values[2], rsp;
    struct umbra_segment cs;
    enum x86_result r = emu_pop(e, values, 2, e->insn->opsize, &rsp);
    if (r == X86_DONE)
        r = emu_check_code(e, (uint16_t)values[1], values[0], true, &cs);
    if (r == X86_DONE)
        r = emu_load_code(e, &cs);
    if (r != X86_DONE)
        return r;
    emu_set_rsp(e, rsp + e->insn->imm);
    e->next_rip = values[0];
    return X86_DONE;
}

/* Real mode only: the others change levels and modes. */
enum x86_result emu_do_iret(struct emu *e)
{
    uint64_t values[3], rsp;
    struct umbra_segment cs;
    if (e->cpu->cr0 & X86_CR0_PE)
        return X86_UNKNOWN;
    enum x86_result r = emu_pop(e, values, 3, e->insn->opsize, &rsp);
    if (r == X86_DONE)
        r = emu_check_code(e, (uint16_t)values[1], values[0], true, &cs);
    if (r == X86_DONE)
        r = emu_load_code(e, &cs);
    if (r != X86_DONE)
        return r;
    emu_set_rsp(e, rsp);
    e->cpu->rflags = emu_merge_flags(e->cpu, values[2], e->insn->opsize);
    e->next_rip = values[0];
    return X86_DONE;
}

/* INT n, INT3, INTO in real mode (APM vol. 2, 8.6). */
enum x86_result emu_do_int(struct emu *e)
{
    struct x86_cpu *cpu = e->cpu;
    unsigned vector = e->insn->op == X86_INT ? (unsigned)e->insn->imm : e->insn->op == X86_INT3 ? 3 : 4;
    uint32_t entry = 0;
    if (e->insn->op == X86_INTO && !(cpu->rflags & X86_FLAG_OF))
        return X86_DONE;
    if (cpu->cr0 & X86_CR0_PE)
        return X86_UNKNOWN;
    if (vector * 4 + 3 > cpu->seg[SEG_IDTR].limit)
        return emu_raise(e, X86_VECTOR_GP);
    enum x86_result r = emu_read(e, cpu->seg[SEG_IDTR].base + vector * 4, 4, &entry, X86_ACCESS_SYSTEM);
    uint64_t values[3] = { cpu->rflags, cpu->seg[SEG_CS].selector, e->next_rip };
    struct umbra_segment cs;
    if (r == X86_DONE)
        r = emu_check_code(e, (uint16_t)(entry >> 16), entry & 0xffff, false, &cs);
    if (r == X86_DONE)
        r = emu_push(e, values, 3, 2);
    if (r != X86_DONE)
        return r;
    cpu->seg[SEG_CS] = cs;
    cpu->rflags &= ~(X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_AC | X86_FLAG_RF);
    e->next_rip = entry & 0xffff;
    return X86_DONE;
}

/* Loading SS holds back interrupts and traps for one instruction, so that RSP can follow. */
static enum x86_result load_and_shadow(struct emu *e, unsigned segment, uint64_t selector)
{
    enum x86_result r = emu_load_segment(e, segment, (uint16_t)selector);
    if (r == X86_DONE && segment == SEG_SS) {
        e->shadow = true;
        e->loads_ss = true;
    }
    return r;
}

enum x86_result emu_do_mov_seg(struct emu *e)
{
    const struct x86_operand *to = &e->insn->operand[0];
    uint64_t value;
    if (to->kind == X86_SEGREG && to->reg == SEG_CS)
        return emu_raise(e, X86_VECTOR_UD);
    enum x86_result r = emu_operand_read(e, 1, &value);
    if (r != X86_DONE)
        return r;
    return to->kind == X86_SEGREG ? load_and_shadow(e, to->reg, value) : emu_operand_write(e, 0, value);
}

enum x86_result emu_do_push_seg(struct emu *e)
{
    uint64_t value = e->cpu->seg[e->insn->operand[0].reg].selector;
    return emu_push(e, &value, 1, e->insn->opsize);
}

enum x86_result emu_do_pop_seg(struct emu *e)
{
    uint64_t value, rsp;
    unsigned width = emu_stack_size(e); /* of the stack before SS changes */
    enum x86_result r = emu_pop(e, &value, 1, e->insn->opsize, &rsp);
    if (r == X86_DONE)
        r = load_and_shadow(e, e->insn->operand[0].reg, value);
    if (r == X86_DONE)
        x86_gpr_set(e->cpu, RSP, width, rsp);
    return r;
}

/* LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5 */
enum x86_result emu_do_load_far(struct emu *e)
{
    struct far_pointer p;
    unsigned segment = SEG_GS;
    switch (e->insn->opcode) {
    case 0xc4:
        segment = SEG_ES;
        break;
    case 0xc5:
        segment = SEG_DS;
        break;
    case 0xb2:
        segment = SEG_SS;
        break;
    case 0xb4:
        segment = SEG_FS;
        break;
    }
    enum x86_result r = read_far(e, e->insn->opsize, &p);
    if (r == X86_DONE)
        r = emu_load_segment(e, segment, p.selector);
    return r != X86_DONE ? r : emu_operand_write(e, 0, p.offset);
}
