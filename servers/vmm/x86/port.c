/* SPDX-License-Identifier: BSD-2-Clause */
/* IN and OUT, and the permission check that string I/O shares (APM vol. 2, 12.2.4). */
#include <servers/vmm/x86/internal.h>

#define TSS_IO_MAP 0x66 /* where the TSS says where its I/O permission map begins */

static enum x86_result read_tss(struct emu *e, uint64_t offset, unsigned size, uint16_t *value)
{
    const struct umbra_segment *tr = &e->cpu->seg[SEG_TR];
    *value = 0;
    if (offset + size - 1 > tr->limit || !(tr->attributes & X86_SEG_P))
        return emu_raise(e, X86_VECTOR_GP);
    return emu_read(e, tr->base + offset, size, value, X86_ACCESS_SYSTEM);
}

/* Two bytes of the map are always read: a port of 4 bytes may straddle them. */
enum x86_result emu_port_allowed(struct emu *e, uint16_t port, unsigned size)
{
    const struct x86_cpu *cpu = e->cpu;
    uint16_t map, bits;
    bool by_level = cpu->cpl <= (cpu->rflags >> 12 & 3) && !(cpu->rflags & X86_FLAG_VM);
    if (!(cpu->cr0 & X86_CR0_PE) || by_level)
        return X86_DONE;
    enum x86_result r = read_tss(e, TSS_IO_MAP, 2, &map);
    if (r == X86_DONE)
        r = read_tss(e, (uint64_t)map + port / 8, 2, &bits);
    if (r != X86_DONE)
        return r;
    return (bits >> port % 8 & ((1u << size) - 1)) ? emu_raise(e, X86_VECTOR_GP) : X86_DONE;
}

enum x86_result emu_do_in(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    uint64_t port;
    uint32_t value = 0;
    enum x86_result r = emu_operand_read(e, 1, &port);
    if (r == X86_DONE)
        r = emu_port_allowed(e, (uint16_t)port, size);
    if (r != X86_DONE)
        return r;
    if (e->bus->in(e->ctx, (uint16_t)port, size, &value) != X86_BUS_OK)
        return X86_RETRY;
    return emu_operand_write(e, 0, value);
}

enum x86_result emu_do_out(struct emu *e)
{
    unsigned size = e->insn->operand[1].size;
    uint64_t port, value;
    enum x86_result r = emu_operand_read(e, 0, &port);
    if (r == X86_DONE)
        r = emu_operand_read(e, 1, &value);
    if (r == X86_DONE)
        r = emu_port_allowed(e, (uint16_t)port, size);
    if (r != X86_DONE)
        return r;
    return e->bus->out(e->ctx, (uint16_t)port, size, (uint32_t)value) == X86_BUS_OK ? X86_DONE : X86_RETRY;
}
