/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC: index and data register, the redirection table. See ioapic.h for what holds. */
#include "servers/vmm/dev/ioapic.h"

#define VERSION ((IOAPIC_INPUTS - 1) << 16 | 0x11u)
#define ID      1u /* as in the MP table */

#define OFFSET_SELECT 0x00
#define OFFSET_DATA   0x10

enum { INDEX_ID, INDEX_VERSION, INDEX_ARBITRATION, INDEX_TABLE = 0x10 };

#define ENTRY_LOGICAL  BIT(11)
#define ENTRY_POLARITY BIT(13) /* active low */
#define ENTRY_REMOTE   BIT(14)
#define ENTRY_LEVEL    BIT(15)
#define ENTRY_MASK     BIT(16)
#define ENTRY_BITS     0xff0000000001afffull /* what can be written */

void ioapic_init(struct ioapic *a)
{
    *a = (struct ioapic){ .id = ID << 24 };
    for (unsigned i = 0; i < IOAPIC_INPUTS; i++)
        a->entry[i] = ENTRY_MASK;
}

static unsigned input_of(unsigned irq)
{
    return irq ? irq : 2;
}

bool ioapic_masked(const struct ioapic *a, unsigned irq)
{
    return irq == 2 || (a->entry[input_of(irq)] & ENTRY_MASK);
}

bool ioapic_nmi_possible(const struct ioapic *a)
{
    for (unsigned i = 0; i < IOAPIC_INPUTS; i++)
        if (!(a->entry[i] & ENTRY_MASK) && (a->entry[i] >> 8 & 7) == LAPIC_MODE_NMI)
            return true;
    return false;
}

/* Lines as inputs: the cascade's line 2 is not led out. */
static uint32_t inputs_of(uint32_t lines)
{
    return (lines & 0xfff8) | (lines & 2) | (lines & 1) << 2;
}

static void send(struct ioapic *a, struct dev_ctx *ctx, struct lapic *l, unsigned i)
{
    uint64_t e = a->entry[i];
    struct lapic_message message = { .mode = e >> 8 & 7,
                                     .vector = e & 0xff,
                                     .to = (uint32_t)(e >> 56),
                                     .logical = e & ENTRY_LOGICAL,
                                     .level = e & ENTRY_LEVEL };
    if (lapic_receive(l, ctx, &message) && (e & ENTRY_LEVEL))
        DEV_SET(ctx, a->entry[i], e | ENTRY_REMOTE);
}

static void end_of(struct ioapic *a, struct dev_ctx *ctx, uint32_t vector)
{
    for (unsigned i = 0; i < IOAPIC_INPUTS; i++)
        if ((a->entry[i] & ENTRY_REMOTE) && (a->entry[i] & 0xff) == vector)
            DEV_SET(ctx, a->entry[i], a->entry[i] & ~ENTRY_REMOTE);
}

static bool wants(uint64_t e, bool level, bool rose)
{
    if (e & ENTRY_MASK)
        return false;
    if (e & ENTRY_LEVEL)
        return level != !!(e & ENTRY_POLARITY) && !(e & ENTRY_REMOTE);
    return rose;
}

void ioapic_sample(struct ioapic *a, struct dev_ctx *ctx, struct lapic *l)
{
    uint32_t level = inputs_of(ctx->lines->level), rose = inputs_of(ctx->lines->rose);
    int ended = lapic_ended(l, ctx);
    /* An edge of an active-low input is a fall. */
    uint32_t fell = a->level & ~level;
    if (ended >= 0)
        end_of(a, ctx, (uint32_t)ended);
    if (level != a->level)
        DEV_SET(ctx, a->level, level);
    for (uint32_t left = rose | fell | a->watched; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint64_t e = a->entry[i];
        if (wants(e, level >> i & 1, (e & ENTRY_POLARITY ? fell : rose) >> i & 1))
            send(a, ctx, l, i);
    }
}

static uint32_t read_index(const struct ioapic *a)
{
    uint32_t half = a->select - INDEX_TABLE;
    if (half < 2 * IOAPIC_INPUTS)
        return (uint32_t)(a->entry[half / 2] >> half % 2 * 32);
    switch (a->select) {
    case INDEX_ID:
    case INDEX_ARBITRATION:
        return a->id;
    case INDEX_VERSION:
        return VERSION;
    default:
        return 0;
    }
}

/* Remote IRR stays while the entry is level-triggered; switching to edge clears it, which operating systems
 * use to end an interrupt by hand. */
static void write_entry(struct ioapic *a, struct dev_ctx *ctx, uint32_t half, uint32_t v)
{
    uint64_t e = a->entry[half / 2];
    unsigned shift = half % 2 * 32;
    uint64_t next = (e & ~(0xffffffffull << shift)) | (uint64_t)v << shift;
    next = (next & ENTRY_BITS) | (e & ENTRY_REMOTE);
    if (!(next & ENTRY_LEVEL))
        next &= ~ENTRY_REMOTE;
    DEV_SET(ctx, a->entry[half / 2], next);
    uint32_t bit = 1u << half / 2, others = a->watched & ~bit;
    DEV_SET(ctx, a->watched, (next & ENTRY_LEVEL) && !(next & ENTRY_MASK) ? others | bit : others);
}

static void write_index(struct ioapic *a, struct dev_ctx *ctx, uint32_t v)
{
    uint32_t half = a->select - INDEX_TABLE;
    if (half < 2 * IOAPIC_INPUTS)
        write_entry(a, ctx, half, v);
    else if (a->select == INDEX_ID)
        DEV_SET(ctx, a->id, v & 0x0f000000);
}

bool ioapic_read(struct ioapic *a, struct dev_ctx *ctx, uint32_t offset, uint8_t *to, unsigned n)
{
    (void)ctx;
    for (unsigned i = 0; i < n; i++) {
        uint32_t place = offset + i, reg = place & ~3u, value = 0;
        if (reg == OFFSET_SELECT)
            value = a->select;
        else if (reg == OFFSET_DATA)
            value = read_index(a);
        to[i] = (uint8_t)(value >> 8 * (place % 4));
    }
    return true;
}

void ioapic_write(struct ioapic *a, struct dev_ctx *ctx, uint32_t offset, const uint8_t *from, unsigned n)
{
    if (n != 4)
        return;
    uint32_t v = from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
    if (offset == OFFSET_SELECT)
        DEV_SET(ctx, a->select, v & 0xff);
    else if (offset == OFFSET_DATA)
        write_index(a, ctx, v);
}
