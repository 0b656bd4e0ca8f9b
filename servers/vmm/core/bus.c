/* SPDX-License-Identifier: BSD-2-Clause */
/* How the emulator reaches the guest: linear addresses through the guest's own tables, memory through gmem,
 * tables with the shadow MMU told of every change, ports and devices in memory through the machine. */
#include "servers/vmm/core/vmm.h"

#define PAGE_MASK       (PAGE_BYTES - 1)
#define WRITE_PARTS_MAX 4u /* 16 bytes over two pages */

static uint64_t page_fault_event(uint32_t error)
{
    return EVENT_MAKE(X86_VECTOR_PF, EVENT_EXCEPTION) | EVENT_HAS_ERROR | (uint64_t)error << 32;
}

static enum x86_bus_result translate(struct vmm *v, uint64_t linear, unsigned access, bool set_bits,
                                     gpa_t *out, struct x86_fault *fault)
{
    struct shadow_access a = { .va = { linear },
                               .write = access & X86_ACCESS_WRITE,
                               .exec = access & X86_ACCESS_FETCH,
                               .user = access & X86_ACCESS_USER,
                               .implicit = access & X86_ACCESS_SYSTEM,
                               .ac = v->cpu.rflags & X86_FLAG_AC };
    struct fill_out o;

    switch (shadow_translate(v->shadow, &a, set_bits, &o)) {
    case TRANSLATE_OK:
        *out = o.gpa;
        return X86_BUS_OK;
    case TRANSLATE_FAULT:
        *fault = (struct x86_fault){ page_fault_event(o.error), linear };
        return X86_BUS_FAULT;
    case TRANSLATE_NOT_CANONICAL:
        *fault = (struct x86_fault){ EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION) | EVENT_HAS_ERROR, 0 };
        return X86_BUS_FAULT;
    case TRANSLATE_ABSENT:
        VMM_SET(v, ended, VMM_END_ABSENT);
        return X86_BUS_RETRY;
    default:
        return X86_BUS_RETRY;
    }
}

/* The one or two physical pieces of a linear access. */
struct pieces {
    gpa_t at[2];
    unsigned bytes[2];
};

/* Outside of 64-bit code 4 GB is followed by 0; in long mode the descriptor tables may lie higher. */
static uint64_t behind(const struct vmm *v, uint64_t linear, unsigned access)
{
    bool wide = x86_mode(&v->cpu) == X86_64 || ((v->cpu.efer & X86_EFER_LMA) && (access & X86_ACCESS_SYSTEM));
    return wide ? linear : linear & 0xffffffff;
}

static enum x86_bus_result find_pieces(struct vmm *v, uint64_t linear, unsigned size, unsigned access,
                                       bool set_bits, struct pieces *p, struct x86_fault *fault)
{
    unsigned first = PAGE_BYTES - (linear & PAGE_MASK);

    p->bytes[0] = size < first ? size : first;
    p->bytes[1] = size - p->bytes[0];
    enum x86_bus_result r = translate(v, linear, access, set_bits, &p->at[0], fault);
    if (r == X86_BUS_OK && p->bytes[1])
        r = translate(v, behind(v, linear + p->bytes[0], access), access, set_bits, &p->at[1], fault);
    return r;
}

static void read_piece(struct vmm *v, gpa_t at, uint8_t *to, unsigned n)
{
    if (gmem_kind(&v->map, gfn_of(at)) != GMEM_MMIO && gmem_read_bytes(&v->mem, at, to, n) == GMEM_OK)
        return;
    v->state->stats.mmio++;
    machine_read(&v->state->machine, &v->undo.dev, v->now, at, to, n);
}

static uint64_t number(const uint8_t *bytes, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n && n <= 8; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

/* Aligned pieces of 1, 2, 4, 8 bytes are single stores: another reader of a table never sees half an entry.
 */
static int store(struct vmm *v, gpa_t at, const uint8_t *from, unsigned n)
{
    uint64_t value = number(from, n);

    switch (n) {
    case 1:
        return gmem_write8(&v->mem, at, value);
    case 2:
        return gmem_write16(&v->mem, at, value);
    case 4:
        return gmem_write32(&v->mem, at, value);
    case 8:
        return gmem_write64(&v->mem, at, value);
    default:
        return gmem_write_bytes(&v->mem, at, from, n);
    }
}

/* At most 8 bytes: old contents to the undo record, the store, the shadow MMU. */
static void write_part(struct vmm *v, gpa_t at, const uint8_t *from, unsigned n)
{
    uint8_t old[8];

    if (gmem_read_bytes(&v->mem, at, old, n) != GMEM_OK ||
        !undo_guest(&v->undo, at, number(old, n), number(from, n), n))
        return;
    if (store(v, at, from, n) == GMEM_OK && shadow_is_table(v->shadow, gfn_of(at)))
        shadow_table_written(v->shadow, at, n, number(old, n), number(from, n), &v->ops);
}

/* Words, so that none lies in two pages. */
bool vmm_write_memory(struct vmm *v, gpa_t at, const void *from, unsigned n)
{
    gpa_t last = { at.v + n - 1 };

    if (gmem_kind(&v->map, gfn_of(at)) != GMEM_RAM || gmem_kind(&v->map, gfn_of(last)) != GMEM_RAM)
        return false;
    for (unsigned done = 0; done < n; done += 4)
        write_part(v, (gpa_t){ at.v + done }, (const uint8_t *)from + done, 4);
    return true;
}

static void write_piece(struct vmm *v, gpa_t at, const uint8_t *from, unsigned n)
{
    enum gmem_kind kind = gmem_kind(&v->map, gfn_of(at));

    if (kind != GMEM_RAM) {
        v->state->stats.mmio++;
        if (kind == GMEM_MMIO)
            machine_write(&v->state->machine, &v->undo.dev, v->now, at, from, n);
        return; /* ROM keeps what it has */
    }
    for (unsigned done = 0; done < n; done += 8)
        write_part(v, (gpa_t){ at.v + done }, from + done, n - done < 8 ? n - done : 8);
}

/* Room in the undo record for one access, before anything of it is done; else the exit ends first. */
static bool may_write(const struct vmm *v)
{
    return UNDO_WRITES - v->undo.writes >= WRITE_PARTS_MAX;
}

static enum x86_bus_result bus_read(void *ctx, uint64_t linear, unsigned size, void *data, unsigned access,
                                    struct x86_fault *fault)
{
    struct pieces p;
    enum x86_bus_result r = find_pieces(ctx, linear, size, access, true, &p, fault);

    if (r != X86_BUS_OK)
        return r;
    read_piece(ctx, p.at[0], data, p.bytes[0]);
    if (p.bytes[1])
        read_piece(ctx, p.at[1], (uint8_t *)data + p.bytes[0], p.bytes[1]);
    return X86_BUS_OK;
}

static enum x86_bus_result bus_fetch(void *ctx, uint64_t linear, uint8_t *bytes, unsigned size,
                                     unsigned access, struct x86_fault *fault)
{
    return bus_read(ctx, linear, size, bytes, access, fault);
}

static enum x86_bus_result bus_write(void *ctx, uint64_t linear, unsigned size, const void *data,
                                     unsigned access, struct x86_fault *fault)
{
    struct pieces p;

    if (!may_write(ctx))
        return X86_BUS_RETRY;
    enum x86_bus_result r = find_pieces(ctx, linear, size, access | X86_ACCESS_WRITE, true, &p, fault);
    if (r != X86_BUS_OK)
        return r;
    write_piece(ctx, p.at[0], data, p.bytes[0]);
    if (p.bytes[1])
        write_piece(ctx, p.at[1], (const uint8_t *)data + p.bytes[0], p.bytes[1]);
    return X86_BUS_OK;
}

/* One vCPU, and its guest does not run while its exit is handled: compare, then write, is atomic. Aligned
 * entries go by compare-and-exchange all the same, for what a device may write one day. */
static enum x86_bus_result bus_cmpxchg(void *ctx, uint64_t linear, unsigned size, void *expected,
                                       const void *desired, bool *stored, unsigned access,
                                       struct x86_fault *fault)
{
    uint8_t now[16];
    struct pieces p;

    if (!may_write(ctx))
        return X86_BUS_RETRY;
    enum x86_bus_result r = find_pieces(ctx, linear, size, access | X86_ACCESS_WRITE, true, &p, fault);
    if (r != X86_BUS_OK)
        return r;
    read_piece(ctx, p.at[0], now, p.bytes[0]);
    if (p.bytes[1])
        read_piece(ctx, p.at[1], now + p.bytes[0], p.bytes[1]);
    *stored = !__builtin_memcmp(now, expected, size);
    if (!*stored) {
        __builtin_memcpy(expected, now, size);
        return X86_BUS_OK;
    }
    write_piece(ctx, p.at[0], desired, p.bytes[0]);
    if (p.bytes[1])
        write_piece(ctx, p.at[1], (const uint8_t *)desired + p.bytes[0], p.bytes[1]);
    return X86_BUS_OK;
}

static enum x86_bus_result bus_probe(void *ctx, uint64_t linear, unsigned size, unsigned access,
                                     struct x86_fault *fault)
{
    struct pieces p;
    return find_pieces(ctx, linear, size, access, false, &p, fault);
}

static enum x86_bus_result bus_in(void *ctx, uint16_t port, unsigned size, uint32_t *value)
{
    struct vmm *v = ctx;

    v->state->stats.io_reads++;
    *value = machine_in(&v->state->machine, &v->undo.dev, v->now, port, size);
    return X86_BUS_OK;
}

static enum x86_bus_result bus_out(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
    struct vmm *v = ctx;

    v->state->stats.io_writes++;
    machine_out(&v->state->machine, &v->undo.dev, v->now, port, size, value);
    return X86_BUS_OK;
}

static enum x86_bus_result bus_invlpg(void *ctx, uint64_t linear)
{
    struct vmm *v = ctx;

    shadow_invlpg(v->shadow, (gva_t){ linear }, &v->ops);
    return X86_BUS_OK;
}

const struct x86_bus vmm_bus = { .rep_limit = 64,
                                 .fetch = bus_fetch,
                                 .read = bus_read,
                                 .write = bus_write,
                                 .cmpxchg = bus_cmpxchg,
                                 .probe = bus_probe,
                                 .in = bus_in,
                                 .out = bus_out,
                                 .write_cr = vmm_write_cr,
                                 .write_msr = vmm_write_msr,
                                 .read_msr = vmm_read_msr,
                                 .invlpg = bus_invlpg };
