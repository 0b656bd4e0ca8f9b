/* SPDX-License-Identifier: BSD-2-Clause */
/* From an operand to the bus: effective address, segment checks (APM vol. 2, 4.7, 4.8, 1.3), and the only
 * places that turn a bus result or a broken rule into the outcome of an instruction. */
#include <servers/vmm/x86/internal.h>

static bool has_error_code(enum x86_vector vector)
{
    return vector == X86_VECTOR_NP || vector == X86_VECTOR_SS || vector == X86_VECTOR_GP;
}

/* In real mode no exception has an error code (APM vol. 2, 8.2). */
enum x86_result emu_raise_code(struct emu *e, enum x86_vector vector, uint32_t code)
{
    e->out->event = EVENT_MAKE(vector, EVENT_EXCEPTION);
    if (has_error_code(vector) && (e->cpu->cr0 & X86_CR0_PE))
        e->out->event |= EVENT_HAS_ERROR | (uint64_t)code << 32;
    return X86_FAULT;
}

enum x86_result emu_raise(struct emu *e, enum x86_vector vector)
{
    return emu_raise_code(e, vector, 0);
}

enum x86_result emu_bus_outcome(struct emu *e, enum x86_bus_result result, const struct x86_fault *fault)
{
    if (result == X86_BUS_OK)
        return X86_DONE;
    if (result == X86_BUS_RETRY)
        return X86_RETRY;
    e->out->event = fault->event;
    e->out->cr2 = fault->cr2;
    return X86_FAULT;
}

uint64_t emu_offset(const struct emu *e)
{
    const struct x86_mem *m = &e->insn->mem;
    uint64_t offset = (uint64_t)m->disp + e->bias;
    if (m->rip_relative)
        offset += e->cpu->rip + e->insn->length;
    if (m->base >= 0)
        offset += e->cpu->gpr[m->base];
    if (m->base == RSP)
        offset += e->rsp_bias;
    if (m->index >= 0)
        offset += e->cpu->gpr[m->index] << m->scale;
    return offset & low_mask(e->insn->addrsize);
}

static enum x86_result segment_fault(struct emu *e, unsigned segment)
{
    return emu_raise(e, segment == SEG_SS ? X86_VECTOR_SS : X86_VECTOR_GP);
}

/* May bytes [offset, offset + size) be accessed in this segment, outside of 64-bit code. */
static bool segment_permits(const struct x86_cpu *cpu, const struct umbra_segment *s, uint64_t offset,
                            unsigned size, unsigned access)
{
    uint16_t a = s->attributes;
    bool data = !(a & X86_SEG_CODE);
    uint64_t last = offset + size - 1;
    if (x86_protected(cpu)) {
        bool write = access & X86_ACCESS_WRITE;
        if (!(a & X86_SEG_P) || (write && !(data && (a & X86_SEG_WRITABLE))))
            return false;
        if (!data && !(a & X86_SEG_WRITABLE)) /* code that is not readable */
            return false;
        if (data && (a & X86_SEG_EXPANDDOWN))
            return offset > s->limit && last <= ((a & X86_SEG_DB) ? 0xffffffff : 0xffff);
    }
    return last <= s->limit;
}

enum x86_result emu_linear(struct emu *e, unsigned segment, uint64_t offset, unsigned size, unsigned access,
                           uint64_t *linear)
{
    const struct umbra_segment *s = &e->cpu->seg[segment];
    if (e->insn->mode == X86_64) {
        *linear = offset + (segment >= SEG_FS ? s->base : 0);
        if (!x86_canonical(*linear) || !x86_canonical(*linear + size - 1))
            return segment_fault(e, segment);
        return X86_DONE;
    }
    if (!segment_permits(e->cpu, s, offset, size, access))
        return segment_fault(e, segment);
    *linear = (s->base + offset) & 0xffffffff;
    return X86_DONE;
}

enum x86_result emu_mem_operand(struct emu *e, unsigned size, unsigned access, uint64_t *linear)
{
    return emu_linear(e, e->insn->mem.segment, emu_offset(e), size, access, linear);
}

static unsigned as_user(const struct emu *e, unsigned access)
{
    return e->cpu->cpl == 3 && !(access & X86_ACCESS_SYSTEM) ? access | X86_ACCESS_USER : access;
}

enum x86_result emu_read(struct emu *e, uint64_t linear, unsigned size, void *data, unsigned access)
{
    struct x86_fault fault = { 0 };
    return emu_bus_outcome(e, e->bus->read(e->ctx, linear, size, data, as_user(e, access), &fault), &fault);
}

enum x86_result emu_write(struct emu *e, uint64_t linear, unsigned size, const void *data)
{
    struct x86_fault fault = { 0 };
    unsigned access = as_user(e, X86_ACCESS_WRITE);
    return emu_bus_outcome(e, e->bus->write(e->ctx, linear, size, data, access, &fault), &fault);
}

enum x86_result emu_probe(struct emu *e, uint64_t linear, unsigned size, unsigned access)
{
    struct x86_fault fault = { 0 };
    return emu_bus_outcome(e, e->bus->probe(e->ctx, linear, size, as_user(e, access), &fault), &fault);
}

enum x86_result emu_cmpxchg(struct emu *e, uint64_t linear, unsigned size, void *expected,
                            const void *desired, bool *stored)
{
    struct x86_fault fault = { 0 };
    unsigned access = as_user(e, X86_ACCESS_WRITE);
    return emu_bus_outcome(
        e, e->bus->cmpxchg(e->ctx, linear, size, expected, desired, stored, access, &fault), &fault);
}

enum x86_result emu_read_value(struct emu *e, unsigned segment, uint64_t offset, unsigned size,
                               uint64_t *value)
{
    uint64_t linear;
    *value = 0;
    enum x86_result r = emu_linear(e, segment, offset, size, 0, &linear);
    return r != X86_DONE ? r : emu_read(e, linear, size, value, 0);
}
