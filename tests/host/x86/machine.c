/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine of emulator tests; see machine.h. */
#include <string.h>

#include "machine.h"

static bool page_of(const struct machine *m, uint64_t linear, unsigned *page)
{
    *page = (unsigned)((linear - m->base) / PAGE_BYTES);
    return linear - m->base < sizeof(m->memory);
}

/* The page fault of one byte, if any. */
static bool byte_fault(const struct machine *m, uint64_t linear, unsigned access, struct x86_fault *fault)
{
    unsigned page, code = access & (X86_ACCESS_WRITE | X86_ACCESS_USER | X86_ACCESS_FETCH);
    bool present = page_of(m, linear, &page) && m->rights[page] != PAGE_ABSENT;
    if (present && (!(access & X86_ACCESS_WRITE) || m->rights[page] == PAGE_WRITABLE))
        return false;
    fault->event = EVENT_MAKE(X86_VECTOR_PF, EVENT_EXCEPTION) | EVENT_HAS_ERROR |
                   (uint64_t)(code | (present ? 1 : 0)) << 32;
    fault->cr2 = linear;
    return true;
}

static enum x86_bus_result allow(struct machine *m, uint64_t linear, unsigned size, unsigned access,
                                 struct x86_fault *fault)
{
    m->last_access = access;
    if (!(access & X86_ACCESS_FETCH) && ++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    for (unsigned i = 0; i < size; i++)
        if (byte_fault(m, linear + i, access, fault))
            return X86_BUS_FAULT;
    return X86_BUS_OK;
}

static enum x86_bus_result bus_read(void *ctx, uint64_t linear, unsigned size, void *data, unsigned access,
                                    struct x86_fault *fault)
{
    struct machine *m = ctx;
    enum x86_bus_result r = allow(m, linear, size, access, fault);
    if (r == X86_BUS_OK)
        memcpy(data, &m->memory[linear - m->base], size);
    return r;
}

static enum x86_bus_result bus_fetch(void *ctx, uint64_t linear, uint8_t *bytes, unsigned size,
                                     unsigned access, struct x86_fault *fault)
{
    struct machine *m = ctx;
    if (!m->code)
        return bus_read(ctx, linear, size, bytes, access, fault);
    memset(bytes, 0xcc, size);
    for (unsigned i = 0; i < size && linear - m->code_linear + i < m->code_bytes; i++)
        bytes[i] = m->code[linear - m->code_linear + i];
    return X86_BUS_OK;
}

static enum x86_bus_result bus_write(void *ctx, uint64_t linear, unsigned size, const void *data,
                                     unsigned access, struct x86_fault *fault)
{
    struct machine *m = ctx;
    enum x86_bus_result r = allow(m, linear, size, access, fault);
    if (r != X86_BUS_OK)
        return r;
    memcpy(&m->memory[linear - m->base], data, size);
    m->writes++;
    return r;
}

static enum x86_bus_result bus_cmpxchg(void *ctx, uint64_t linear, unsigned size, void *expected,
                                       const void *desired, bool *stored, unsigned access,
                                       struct x86_fault *fault)
{
    struct machine *m = ctx;
    enum x86_bus_result r = allow(m, linear, size, access, fault);
    if (r != X86_BUS_OK)
        return r;
    uint8_t *at = &m->memory[linear - m->base];
    if (m->contended) {
        m->contended--;
        at[0]++;
    }
    *stored = !memcmp(at, expected, size);
    m->writes += *stored;
    if (*stored)
        memcpy(at, desired, size);
    else
        memcpy(expected, at, size);
    return r;
}

static enum x86_bus_result bus_probe(void *ctx, uint64_t linear, unsigned size, unsigned access,
                                     struct x86_fault *fault)
{
    return allow(ctx, linear, size, access, fault);
}

static enum x86_bus_result port_call(struct machine *m, uint16_t port, unsigned size)
{
    if (++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    m->port = port;
    m->port_size = size;
    m->port_calls++;
    return X86_BUS_OK;
}

static enum x86_bus_result bus_in(void *ctx, uint16_t port, unsigned size, uint32_t *value)
{
    struct machine *m = ctx;
    enum x86_bus_result r = port_call(m, port, size);
    if (r == X86_BUS_OK)
        *value = size == 4 ? m->port_value : m->port_value & ((1u << 8 * size) - 1);
    return r;
}

static enum x86_bus_result bus_out(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
    struct machine *m = ctx;
    enum x86_bus_result r = port_call(m, port, size);
    if (r == X86_BUS_OK)
        m->port_value = value;
    return r;
}

static enum x86_bus_result general_protection(struct x86_fault *fault)
{
    fault->event = EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION) | EVENT_HAS_ERROR;
    return X86_BUS_FAULT;
}

/* Takes what it gets, but for CR4 = all ones. */
static enum x86_bus_result bus_write_cr(void *ctx, struct x86_cpu *cpu, unsigned cr, uint64_t value,
                                        struct x86_fault *fault)
{
    struct machine *m = ctx;
    if (++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    if (cr == 4 && value == ~0ull)
        return general_protection(fault);
    m->cr = cr;
    m->cr_value = value;
    if (cr == 0)
        cpu->cr0 = value;
    return X86_BUS_OK;
}

static enum x86_bus_result bus_write_msr(void *ctx, struct x86_cpu *cpu, uint32_t msr, uint64_t value,
                                         struct x86_fault *fault)
{
    struct machine *m = ctx;
    (void)cpu;
    if (++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    if (msr == ~0u)
        return general_protection(fault);
    m->msr = msr;
    m->msr_value = value;
    return X86_BUS_OK;
}

static enum x86_bus_result bus_read_msr(void *ctx, const struct x86_cpu *cpu, uint32_t msr, uint64_t *value,
                                        struct x86_fault *fault)
{
    struct machine *m = ctx;
    (void)cpu;
    if (++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    if (msr == ~0u)
        return general_protection(fault);
    m->msr = msr;
    *value = m->msr_value;
    return X86_BUS_OK;
}

static enum x86_bus_result bus_invlpg(void *ctx, uint64_t linear)
{
    struct machine *m = ctx;
    if (++m->calls == m->fail_at)
        return X86_BUS_RETRY;
    m->invlpg = linear;
    return X86_BUS_OK;
}

const struct x86_bus machine_bus = {
    .rep_limit = 64,
    .fetch = bus_fetch,
    .read = bus_read,
    .write = bus_write,
    .cmpxchg = bus_cmpxchg,
    .probe = bus_probe,
    .in = bus_in,
    .out = bus_out,
    .write_cr = bus_write_cr,
    .write_msr = bus_write_msr,
    .read_msr = bus_read_msr,
    .invlpg = bus_invlpg,
};

static void set_segments(struct machine *m, uint16_t data, uint16_t code, uint32_t limit)
{
    for (unsigned i = 0; i < SEGS; i++)
        m->cpu.seg[i] = (struct umbra_segment){ .attributes = data, .limit = limit };
    m->cpu.seg[SEG_CS].attributes = code;
    m->cpu.seg[SEG_GDTR].limit = m->cpu.seg[SEG_IDTR].limit = 0xffff;
    m->cpu.seg[SEG_TR].attributes = m->cpu.seg[SEG_LDTR].attributes = 0; /* not there */
}

void machine_init(struct machine *m, uint64_t base)
{
    memset(m, 0, sizeof(*m));
    m->base = base;
    memset(m->memory, 0xcc, sizeof(m->memory));
    memset(m->rights, PAGE_WRITABLE, sizeof(m->rights));
    m->cpu.cr0 = X86_CR0_PE | X86_CR0_PG;
    m->cpu.efer = X86_EFER_LMA;
    m->cpu.rflags = X86_FLAG_FIXED;
    m->cpu.rip = base;
    m->cpu.gpr[RSP] = base + sizeof(m->memory) - PAGE_BYTES / 2;
    set_segments(m, 0x893, 0xa9b, 0xffffffff);
}

void machine_real(struct machine *m)
{
    m->cpu.cr0 = 0;
    m->cpu.efer = 0;
    set_segments(m, 0x93, 0x9b, 0xffff);
    m->cpu.seg[SEG_CS].selector = (uint16_t)(m->base >> 4);
    m->cpu.seg[SEG_CS].base = m->base;
    m->cpu.rip = 0;
}

void machine_protected(struct machine *m)
{
    m->cpu.cr0 = X86_CR0_PE;
    m->cpu.efer = 0;
    set_segments(m, 0xc93, 0xc9b, 0xffffffff);
}

enum x86_result machine_step(struct machine *m)
{
    return x86_step(&m->cpu, &machine_bus, m, &m->out);
}

enum x86_result machine_run(struct machine *m, const void *code, unsigned bytes)
{
    uint64_t cs = x86_mode(&m->cpu) == X86_64 ? 0 : m->cpu.seg[SEG_CS].base;
    memcpy(&m->memory[m->cpu.rip + cs - m->base], code, bytes);
    return machine_step(m);
}

uint64_t machine_get(const struct machine *m, uint64_t linear, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, &m->memory[linear - m->base], size);
    return value;
}

void machine_put(struct machine *m, uint64_t linear, unsigned size, uint64_t value)
{
    memcpy(&m->memory[linear - m->base], &value, size);
}
