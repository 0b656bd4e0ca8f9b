/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers that move values without arithmetic. */
#include <servers/vmm/x86/internal.h>

enum x86_result emu_do_mov(struct emu *e)
{
    uint64_t value;
    enum x86_result r = emu_operand_read(e, 1, &value);
    return r != X86_DONE ? r : emu_operand_write(e, 0, value);
}

enum x86_result emu_do_movsx(struct emu *e)
{
    uint64_t value;
    enum x86_result r = emu_operand_read(e, 1, &value);
    return r != X86_DONE ? r : emu_operand_write(e, 0, sign_extend(value, e->insn->operand[1].size));
}

/* With memory always atomic (APM vol. 3, XCHG). */
enum x86_result emu_do_xchg(struct emu *e)
{
    uint64_t b, old;
    enum x86_result r = emu_operand_read(e, 1, &b);
    if (r == X86_DONE)
        r = emu_operand_modify(e, alu_exchange, b, true, &old);
    return r != X86_DONE ? r : emu_operand_write(e, 1, old);
}

enum x86_result emu_do_lea(struct emu *e)
{
    return emu_operand_write(e, 0, emu_offset(e));
}

/* 16 bits: undefined by the manual; processors give 0. */
enum x86_result emu_do_bswap(struct emu *e)
{
    const struct x86_operand *o = &e->insn->operand[0];
    uint64_t value = __builtin_bswap64(x86_gpr_get(e->cpu, o->reg, 8));
    return emu_operand_write(e, 0, o->size == 2 ? 0 : o->size == 4 ? value >> 32 : value);
}

enum x86_result emu_do_setcc(struct emu *e)
{
    return emu_operand_write(e, 0, alu_condition(e->insn->cond, e->cpu->rflags));
}

/* The source is read, and the upper half cleared, even if the condition does not hold. */
enum x86_result emu_do_cmovcc(struct emu *e)
{
    uint64_t old, value;
    enum x86_result r = emu_operand_read(e, 1, &value);
    if (r == X86_DONE)
        r = emu_operand_read(e, 0, &old);
    if (r != X86_DONE)
        return r;
    return emu_operand_write(e, 0, alu_condition(e->insn->cond, e->cpu->rflags) ? value : old);
}

/* CBW CWDE CDQE, CWD CDQ CQO */
enum x86_result emu_do_convert(struct emu *e)
{
    unsigned size = e->insn->opsize;
    if (e->insn->op == X86_CBW)
        x86_gpr_set(e->cpu, RAX, size, sign_extend(e->cpu->gpr[RAX], size / 2));
    else
        x86_gpr_set(e->cpu, RDX, size, e->cpu->gpr[RAX] & sign_bit(size) ? ~0ull : 0);
    return X86_DONE;
}

enum x86_result emu_do_xlat(struct emu *e)
{
    uint64_t offset = (e->cpu->gpr[RBX] + x86_gpr_get(e->cpu, RAX, 1)) & low_mask(e->insn->addrsize), value;
    enum x86_result r = emu_read_value(e, e->insn->segment, offset, 1, &value);
    if (r == X86_DONE)
        x86_gpr_set(e->cpu, RAX, 1, value);
    return r;
}

enum x86_result emu_do_nop(struct emu *e)
{
    (void)e;
    return X86_DONE;
}

enum x86_result emu_do_clflush(struct emu *e)
{
    uint64_t linear;
    enum x86_result r = emu_mem_operand(e, 1, 0, &linear);
    return r != X86_DONE ? r : emu_probe(e, linear, 1, 0);
}

/* MOVAPS, MOVAPD, MOVNTPS, MOVNTPD, MOVDQA, MOVNTDQ want alignment; MOVUPS, MOVDQU, LDDQU do not. */
static bool is_aligned_move(const struct x86_insn *in)
{
    switch (in->opcode) {
    case 0x28:
    case 0x29:
    case 0x2b:
    case 0xe7:
        return true;
    case 0x6f:
    case 0x7f:
        return in->rep == X86_REP_NONE;
    default:
        return false;
    }
}

/* The XMM registers are the caller's: check all but the page, then hand over. */
enum x86_result emu_do_sse(struct emu *e)
{
    unsigned memory = e->insn->op == X86_SSE_LOAD ? 1 : 0;
    if ((e->cpu->cr0 & X86_CR0_EM) || !(e->cpu->cr4 & X86_CR4_OSFXSR))
        return emu_raise(e, X86_VECTOR_UD);
    if (e->cpu->cr0 & X86_CR0_TS)
        return emu_raise(e, X86_VECTOR_NM);
    if (e->insn->operand[memory].kind != X86_MEM)
        return X86_UNKNOWN;
    enum x86_result r = emu_mem_operand(e, 16, memory ? 0 : X86_ACCESS_WRITE, &e->out->linear);
    if (r != X86_DONE)
        return r;
    if (is_aligned_move(e->insn) && e->out->linear % 16)
        return emu_raise(e, X86_VECTOR_GP);
    return X86_SPECIAL;
}
