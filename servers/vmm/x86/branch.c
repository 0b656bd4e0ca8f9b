/* SPDX-License-Identifier: BSD-2-Clause */
/* Near branches. The target is checked before anything is pushed or counted. */
#include <servers/vmm/x86/internal.h>

enum x86_result emu_check_target(struct emu *e, uint64_t target)
{
    bool good = e->insn->mode == X86_64 ? x86_canonical(target) : target <= e->cpu->seg[SEG_CS].limit;
    return good ? X86_DONE : emu_raise(e, X86_VECTOR_GP);
}

static uint64_t relative_target(const struct emu *e)
{
    return (e->next_rip + e->insn->imm) & low_mask(e->insn->opsize);
}

/* The target of CALL and JMP in either form. */
static enum x86_result read_target(struct emu *e, bool indirect, uint64_t *target)
{
    enum x86_result r = X86_DONE;
    if (indirect)
        r = emu_operand_read(e, 0, target);
    else
        *target = relative_target(e);
    return r != X86_DONE ? r : emu_check_target(e, *target);
}

enum x86_result emu_do_call(struct emu *e)
{
    uint64_t target;
    enum x86_result r = read_target(e, e->insn->op == X86_CALL_INDIRECT, &target);
    if (r == X86_DONE)
        r = emu_push(e, &e->next_rip, 1, e->insn->opsize);
    if (r == X86_DONE)
        e->next_rip = target;
    return r;
}

enum x86_result emu_do_ret(struct emu *e)
{
    uint64_t target, rsp;
    enum x86_result r = emu_pop(e, &target, 1, e->insn->opsize, &rsp);
    if (r == X86_DONE)
        r = emu_check_target(e, target);
    if (r != X86_DONE)
        return r;
    emu_set_rsp(e, rsp + e->insn->imm);
    e->next_rip = target;
    return X86_DONE;
}

enum x86_result emu_do_jmp(struct emu *e)
{
    uint64_t target;
    enum x86_result r = read_target(e, e->insn->op == X86_JMP_INDIRECT, &target);
    if (r == X86_DONE)
        e->next_rip = target;
    return r;
}

static enum x86_result jump_if(struct emu *e, bool taken)
{
    uint64_t target = relative_target(e);
    if (!taken)
        return X86_DONE;
    enum x86_result r = emu_check_target(e, target);
    if (r == X86_DONE)
        e->next_rip = target;
    return r;
}

enum x86_result emu_do_jcc(struct emu *e)
{
    return jump_if(e, alu_condition(e->insn->cond, e->cpu->rflags));
}

/* LOOPNE E0, LOOPE E1, LOOP E2, JrCXZ E3 */
enum x86_result emu_do_loop(struct emu *e)
{
    unsigned size = e->insn->addrsize;
    uint64_t count = x86_gpr_get(e->cpu, RCX, size);
    bool zf = e->cpu->rflags & X86_FLAG_ZF;
    if (e->insn->op == X86_JCXZ)
        return jump_if(e, count == 0);
    count = (count - 1) & low_mask(size);
    bool taken = count && (e->insn->opcode == 0xe2 || zf == (e->insn->opcode == 0xe1));
    enum x86_result r = jump_if(e, taken);
    if (r == X86_DONE)
        x86_gpr_set(e->cpu, RCX, size, count);
    return r;
}
