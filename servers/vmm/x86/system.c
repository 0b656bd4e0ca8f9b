/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers of system instructions: tables, control and debug registers, MSRs, and the checks before an
 * instruction is handed to the caller (APM vol. 3, chapter 4). What a control register or MSR means is behind
 * the bus. */
#include <servers/vmm/x86/internal.h>

static bool privileged(const struct emu *e)
{
    return e->cpu->cpl == 0;
}

/* SGDT SIDT SLDT STR SMSW under UMIP (APM vol. 2, 3.1.3). */
static bool hidden_by_umip(const struct emu *e)
{
    return (e->cpu->cr4 & X86_CR4_UMIP) && e->cpu->cpl == 3;
}

/* SGDT SIDT */
enum x86_result emu_do_store_table(struct emu *e)
{
    const struct umbra_segment *s = &e->cpu->seg[e->insn->op == X86_SGDT ? SEG_GDTR : SEG_IDTR];
    unsigned size = e->insn->mode == X86_64 ? 10 : 6;
    uint8_t bytes[10] = { (uint8_t)s->limit, (uint8_t)(s->limit >> 8) };
    uint64_t linear;
    for (unsigned i = 2; i < size; i++)
        bytes[i] = (uint8_t)(s->base >> 8 * (i - 2));
    if (hidden_by_umip(e))
        return emu_raise(e, X86_VECTOR_GP);
    enum x86_result r = emu_mem_operand(e, size, X86_ACCESS_WRITE, &linear);
    return r != X86_DONE ? r : emu_write(e, linear, size, bytes);
}

/* LGDT LIDT: a 16-bit operand has a base of 24 bits. */
enum x86_result emu_do_load_table(struct emu *e)
{
    unsigned size = e->insn->mode == X86_64 ? 10 : 6;
    uint8_t bytes[16] = { 0 };
    uint64_t linear, base = 0;
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    enum x86_result r = emu_mem_operand(e, size, 0, &linear);
    if (r == X86_DONE)
        r = emu_read(e, linear, size, bytes, 0);
    if (r != X86_DONE)
        return r;
    for (unsigned i = 2; i < size; i++)
        base |= (uint64_t)bytes[i] << 8 * (i - 2);
    if (e->insn->mode == X86_64 && !x86_canonical(base))
        return emu_raise(e, X86_VECTOR_GP);
    if (e->insn->mode != X86_64 && e->insn->opsize == 2)
        base &= 0xffffff;
    struct umbra_segment *s = &e->cpu->seg[e->insn->op == X86_LGDT ? SEG_GDTR : SEG_IDTR];
    s->limit = (uint32_t)(bytes[0] | bytes[1] << 8);
    s->base = base;
    return X86_DONE;
}

/* SLDT STR */
enum x86_result emu_do_store_selector(struct emu *e)
{
    if (!x86_protected(e->cpu))
        return emu_raise(e, X86_VECTOR_UD);
    if (hidden_by_umip(e))
        return emu_raise(e, X86_VECTOR_GP);
    return emu_operand_write(e, 0, e->cpu->seg[e->insn->op == X86_SLDT ? SEG_LDTR : SEG_TR].selector);
}

enum x86_result emu_do_smsw(struct emu *e)
{
    return hidden_by_umip(e) ? emu_raise(e, X86_VECTOR_GP) : emu_operand_write(e, 0, e->cpu->cr0);
}

static enum x86_result write_cr(struct emu *e, unsigned cr, uint64_t value)
{
    struct x86_fault fault = { 0 };
    return emu_bus_outcome(e, e->bus->write_cr(e->ctx, e->cpu, cr, value, &fault), &fault);
}

/* PE MP EM TS; PE can be set, not cleared. */
enum x86_result emu_do_lmsw(struct emu *e)
{
    uint64_t value, cr0 = e->cpu->cr0;
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    enum x86_result r = emu_operand_read(e, 0, &value);
    if (r != X86_DONE)
        return r;
    return write_cr(e, 0, (cr0 & ~14ull) | (value & 15));
}

enum x86_result emu_do_clts(struct emu *e)
{
    return privileged(e) ? write_cr(e, 0, e->cpu->cr0 & ~X86_CR0_TS) : emu_raise(e, X86_VECTOR_GP);
}

static uint64_t read_cr(const struct x86_cpu *cpu, unsigned cr)
{
    switch (cr) {
    case 0:
        return cpu->cr0;
    case 2:
        return cpu->cr2;
    case 3:
        return cpu->cr3;
    case 4:
        return cpu->cr4;
    default:
        return cpu->cr8;
    }
}

enum x86_result emu_do_mov_cr(struct emu *e)
{
    const struct x86_operand *o = e->insn->operand;
    uint64_t value;
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    if (o[1].kind == X86_CR)
        return emu_operand_write(e, 0, read_cr(e->cpu, o[1].reg));
    emu_operand_read(e, 1, &value);
    if (o[0].reg != 2)
        return write_cr(e, o[0].reg, value);
    e->cpu->cr2 = value;
    return X86_DONE;
}

#define DR6_ONES  0xffff0ff0ull /* APM vol. 2, 13.1.1 */
#define DR6_ZEROS 0xffffffff00001000ull
#define DR7_ONES  0x400ull
#define DR7_ZEROS 0xffffffff0000d800ull

static uint64_t *debug_register(struct x86_cpu *cpu, unsigned n)
{
    return n < 4 ? &cpu->dr[n] : n & 1 ? &cpu->dr7 : &cpu->dr6;
}

/* DR4 and DR5 are DR6 and DR7, but for CR4.DE; DR7.GD makes every access a #DB. */
enum x86_result emu_do_mov_dr(struct emu *e)
{
    const struct x86_operand *o = e->insn->operand;
    bool write = o[0].kind == X86_DR;
    unsigned n = write ? o[0].reg : o[1].reg;
    uint64_t value, *dr = debug_register(e->cpu, n);
    if ((n == 4 || n == 5) && (e->cpu->cr4 & X86_CR4_DE))
        return emu_raise(e, X86_VECTOR_UD);
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    if (e->cpu->dr7 & X86_DR7_GD) {
        e->out->dr6 = X86_DR6_BD;
        return emu_raise(e, X86_VECTOR_DB);
    }
    if (!write)
        return emu_operand_write(e, 0, *dr);
    emu_operand_read(e, 1, &value);
    if (n >= 4 && value >> 32)
        return emu_raise(e, X86_VECTOR_GP);
    if (n >= 4)
        value = n & 1 ? (value & ~DR7_ZEROS) | DR7_ONES : (value & ~DR6_ZEROS) | DR6_ONES;
    *dr = value;
    return X86_DONE;
}

/* RDMSR WRMSR */
enum x86_result emu_do_msr(struct emu *e)
{
    struct x86_cpu *cpu = e->cpu;
    struct x86_fault fault = { 0 };
    uint32_t msr = (uint32_t)cpu->gpr[RCX];
    uint64_t value = x86_gpr_get(cpu, RAX, 4) | cpu->gpr[RDX] << 32;
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    if (e->insn->op == X86_WRMSR)
        return emu_bus_outcome(e, e->bus->write_msr(e->ctx, cpu, msr, value, &fault), &fault);
    enum x86_result r = emu_bus_outcome(e, e->bus->read_msr(e->ctx, cpu, msr, &value, &fault), &fault);
    if (r != X86_DONE)
        return r;
    x86_gpr_set(cpu, RAX, 4, value);
    x86_gpr_set(cpu, RDX, 4, value >> 32);
    return X86_DONE;
}

/* No segment check, and an address that is not canonical does nothing (APM vol. 3, INVLPG). */
enum x86_result emu_do_invlpg(struct emu *e)
{
    unsigned segment = e->insn->mem.segment;
    uint64_t linear = emu_offset(e);
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_GP);
    if (e->insn->mode != X86_64)
        linear = (linear + e->cpu->seg[segment].base) & 0xffffffff;
    else if (segment >= SEG_FS)
        linear += e->cpu->seg[segment].base;
    if (!x86_canonical(linear))
        return X86_DONE;
    return e->bus->invlpg(e->ctx, linear) == X86_BUS_OK ? X86_DONE : X86_RETRY;
}

/* CLAC STAC */
enum x86_result emu_do_access_flag(struct emu *e)
{
    if (!privileged(e))
        return emu_raise(e, X86_VECTOR_UD);
    if (e->insn->op == X86_STAC)
        e->cpu->rflags |= X86_FLAG_AC;
    else
        e->cpu->rflags &= ~X86_FLAG_AC;
    return X86_DONE;
}

enum x86_result emu_do_undefined(struct emu *e)
{
    return emu_raise(e, X86_VECTOR_UD);
}

static bool has_osxsave(const struct emu *e)
{
    return e->cpu->cr4 & X86_CR4_OSXSAVE;
}

/* The checks that come before what the caller does. */
enum x86_result emu_do_special(struct emu *e)
{
    uint64_t cr4 = e->cpu->cr4;
    switch (e->insn->op) {
    case X86_XGETBV:
        return has_osxsave(e) ? X86_SPECIAL : emu_raise(e, X86_VECTOR_UD);
    case X86_XSETBV:
        if (!has_osxsave(e))
            return emu_raise(e, X86_VECTOR_UD);
        return privileged(e) ? X86_SPECIAL : emu_raise(e, X86_VECTOR_GP);
    case X86_RDTSC:
    case X86_RDTSCP:
        return privileged(e) || !(cr4 & X86_CR4_TSD) ? X86_SPECIAL : emu_raise(e, X86_VECTOR_GP);
    case X86_RDPMC:
        return privileged(e) || (cr4 & X86_CR4_PCE) ? X86_SPECIAL : emu_raise(e, X86_VECTOR_GP);
    case X86_INVD:
    case X86_WBINVD:
    case X86_SWAPGS:
        return privileged(e) ? X86_SPECIAL : emu_raise(e, X86_VECTOR_GP);
    case X86_HLT:
        return privileged(e) ? X86_HALT : emu_raise(e, X86_VECTOR_GP);
    case X86_MONITOR:
        return emu_linear(e, e->insn->segment, x86_gpr_get(e->cpu, RAX, e->insn->addrsize), 1, 0,
                          &e->out->linear) == X86_DONE
                   ? X86_SPECIAL
                   : X86_FAULT;
    default:
        return X86_SPECIAL;
    }
}
