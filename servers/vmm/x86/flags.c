/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers that read or write RFLAGS as such: single flags, IF with its interrupt shadow, PUSHF, POPF (APM
 * vol. 3). The VME and PVI extensions are not emulated. */
#include <servers/vmm/x86/internal.h>

static unsigned iopl(const struct x86_cpu *cpu)
{
    return (unsigned)(cpu->rflags >> 12 & 3);
}

/* May this code change IF (real mode runs at CPL 0). */
static bool iopl_permits(const struct x86_cpu *cpu)
{
    if (cpu->rflags & X86_FLAG_VM)
        return iopl(cpu) == 3;
    return !(cpu->cr0 & X86_CR0_PE) || cpu->cpl <= iopl(cpu);
}

enum x86_result emu_do_flag(struct emu *e)
{
    uint64_t *flags = &e->cpu->rflags;
    uint8_t *ah = (uint8_t *)&e->cpu->gpr[RAX] + 1;
    const uint64_t low = X86_FLAG_STATUS & 0xff;
    switch (e->insn->op) {
    case X86_CMC:
        *flags ^= X86_FLAG_CF;
        break;
    case X86_CLC:
        *flags &= ~X86_FLAG_CF;
        break;
    case X86_STC:
        *flags |= X86_FLAG_CF;
        break;
    case X86_CLD:
        *flags &= ~X86_FLAG_DF;
        break;
    case X86_STD:
        *flags |= X86_FLAG_DF;
        break;
    case X86_LAHF:
        *ah = (uint8_t)((*flags & low) | X86_FLAG_FIXED);
        break;
    case X86_SAHF:
        *flags = (*flags & ~low) | (*ah & low);
        break;
    }
    return X86_DONE;
}

/* CLI STI: STI that sets IF delays interrupts by one instruction. */
enum x86_result emu_do_interrupt_flag(struct emu *e)
{
    struct x86_cpu *cpu = e->cpu;
    if (!iopl_permits(cpu))
        return (cpu->cr4 & 3) ? X86_UNKNOWN : emu_raise(e, X86_VECTOR_GP); /* VME, PVI */
    if (e->insn->op == X86_CLI) {
        cpu->rflags &= ~X86_FLAG_IF;
    } else {
        e->shadow = !(cpu->rflags & X86_FLAG_IF);
        cpu->rflags |= X86_FLAG_IF;
    }
    return X86_DONE;
}

static bool virtual_without_iopl(const struct x86_cpu *cpu)
{
    return (cpu->rflags & X86_FLAG_VM) && iopl(cpu) != 3;
}

enum x86_result emu_do_pushf(struct emu *e)
{
    uint64_t value = (e->cpu->rflags & ~(X86_FLAG_VM | X86_FLAG_RF)) | X86_FLAG_FIXED;
    if (virtual_without_iopl(e->cpu))
        return (e->cpu->cr4 & X86_CR4_VME) ? X86_UNKNOWN : emu_raise(e, X86_VECTOR_GP);
    return emu_push(e, &value, 1, e->insn->opsize);
}

/* IOPL changes at CPL 0 only, IF where IOPL permits; otherwise they silently stay. RF ends with the
 * instruction. */
uint64_t emu_merge_flags(const struct x86_cpu *cpu, uint64_t value, unsigned size)
{
    uint64_t may_change =
        X86_FLAG_STATUS | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_ID;
    if (cpu->cpl == 0 || !(cpu->cr0 & X86_CR0_PE))
        may_change |= X86_FLAG_IOPL;
    if (iopl_permits(cpu))
        may_change |= X86_FLAG_IF;
    may_change &= low_mask(size);
    return (cpu->rflags & ~may_change) | (value & may_change) | X86_FLAG_FIXED;
}

enum x86_result emu_do_popf(struct emu *e)
{
    uint64_t value, rsp;
    if (virtual_without_iopl(e->cpu))
        return (e->cpu->cr4 & X86_CR4_VME) ? X86_UNKNOWN : emu_raise(e, X86_VECTOR_GP);
    enum x86_result r = emu_pop(e, &value, 1, e->insn->opsize, &rsp);
    if (r != X86_DONE)
        return r;
    e->cpu->rflags = emu_merge_flags(e->cpu, value, e->insn->opsize);
    emu_set_rsp(e, rsp);
    return X86_DONE;
}
