/* SPDX-License-Identifier: BSD-2-Clause */
/* Decimal arithmetic and SALC: 16- and 32-bit code only, old boot code mostly (APM vol. 3, AAA to DAS). */
#include <servers/vmm/x86/internal.h>

static void set_result(struct x86_cpu *cpu, unsigned size, uint64_t value, uint64_t flags)
{
    x86_gpr_set(cpu, RAX, size, value);
    x86_set_status(cpu, flags | alu_szp(1, value));
}

/* DAA DAS: both halves are corrected by what AL was before. */
static void decimal_adjust(struct x86_cpu *cpu, bool subtract)
{
    uint64_t al = x86_gpr_get(cpu, RAX, 1), flags = 0, correction = 0;
    if ((al & 15) > 9 || (cpu->rflags & X86_FLAG_AF)) {
        correction = 6;
        flags = X86_FLAG_AF;
        if (subtract ? al < 6 : al > 0xff - 6)
            flags |= X86_FLAG_CF;
    }
    if (al > 0x99 || (cpu->rflags & X86_FLAG_CF)) {
        correction += 0x60;
        flags |= X86_FLAG_CF;
    }
    set_result(cpu, 1, subtract ? al - correction : al + correction, flags);
}

/* AAA AAS */
static void ascii_adjust(struct x86_cpu *cpu, bool subtract)
{
    uint64_t ax = x86_gpr_get(cpu, RAX, 2), flags = 0;
    if ((ax & 15) > 9 || (cpu->rflags & X86_FLAG_AF)) {
        ax = subtract ? ax - 0x106 : ax + 0x106;
        flags = X86_FLAG_AF | X86_FLAG_CF;
    }
    set_result(cpu, 2, ax & 0xff0f, flags);
}

enum x86_result emu_do_decimal(struct emu *e)
{
    struct x86_cpu *cpu = e->cpu;
    uint64_t ax = x86_gpr_get(cpu, RAX, 2), base = e->insn->imm;
    switch (e->insn->op) {
    case X86_DAA:
    case X86_DAS:
        decimal_adjust(cpu, e->insn->op == X86_DAS);
        break;
    case X86_AAA:
    case X86_AAS:
        ascii_adjust(cpu, e->insn->op == X86_AAS);
        break;
    case X86_AAM:
        if (!base)
            return emu_raise(e, X86_VECTOR_DE);
        set_result(cpu, 2, (ax & 0xff) / base << 8 | (ax & 0xff) % base, 0);
        break;
    case X86_AAD:
        set_result(cpu, 2, (ax + (ax >> 8) * base) & 0xff, 0);
        break;
    default:
        x86_gpr_set(cpu, RAX, 1, cpu->rflags & X86_FLAG_CF ? 0xff : 0);
        break; /* SALC */
    }
    return X86_DONE;
}
