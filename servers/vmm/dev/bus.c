/* SPDX-License-Identifier: BSD-2-Clause */
/* Dispatch of ports and memory by sorted tables, the count of accesses to nothing, deadlines. See bus.h for
 * what holds. */
#include "servers/vmm/dev/bus.h"
#include "servers/vmm/dev/pci.h"

/* No deadline comes sooner than this after the last call: a guest that asks for a million interrupts a second
 * gets fewer, as from a PC that cannot keep up, and cannot occupy its VMM with them. */
#define MIN_PERIOD_HZ 50000

typedef uint32_t (*port_in)(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width);
typedef void (*port_out)(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width,
                         uint32_t value);

#define PORTS_OF(device)                                                                                     \
    static uint32_t device##_port_in(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width)  \
    {                                                                                                        \
        return device##_in(&m->device, ctx, port, width);                                                    \
    }                                                                                                        \
    static void device##_port_out(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width,     \
                                  uint32_t value)                                                            \
    {                                                                                                        \
        device##_out(&m->device, ctx, port, width, value);                                                   \
    }

PORTS_OF(pic)
PORTS_OF(pit)
PORTS_OF(cmos)
PORTS_OF(kbd)
PORTS_OF(power)
PORTS_OF(uart)
PORTS_OF(fwcfg)

static uint32_t pci_port_in(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)m, (void)ctx, (void)port, (void)width;
    return pci_absent_in();
}

static void pci_port_out(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width,
                         uint32_t value)
{
    (void)m, (void)ctx, (void)port, (void)width, (void)value;
}

/* Ports whose writes only take time. What is written is kept nowhere: nothing is to be undone. */
static uint32_t delay_port_in(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)m, (void)ctx, (void)port, (void)width;
    return 0xffffffff;
}

static void delay_port_out(struct machine *m, struct dev_ctx *ctx, uint16_t port, unsigned width,
                           uint32_t value)
{
    (void)m, (void)ctx, (void)port, (void)width, (void)value;
}

struct bus_entry {
    uint16_t first, last;
    uint8_t widths; /* set of 1, 2 and 4: accesses taken whole; with 1 in it wider ones are split */
    bool quiet;     /* no interrupt and no deadline follows from an access: post codes and delays are many */
    port_in in;
    port_out out;
} __attribute__((aligned(32))); /* found by a shift */

#define DEVICE(first, last, widths, device)                                                                  \
    {                                                                                                        \
        first, last, widths, false, device##_port_in, device##_port_out                                      \
    }
#define QUIET(first, last, widths, device)                                                                   \
    {                                                                                                        \
        first, last, widths, true, device##_port_in, device##_port_out                                       \
    }
/* clang-format off */
/* By port. Those below 100h, which polls and delays are of, are found without a search. */
#define LOW_PORTS(E)                                                                                         \
    E(DEVICE, 0x020, 0x021, 1, pic)                                                                          \
    E(DEVICE, 0x040, 0x043, 1, pit)                                                                          \
    E(DEVICE, 0x060, 0x060, 1, kbd)                                                                          \
    E(DEVICE, 0x061, 0x061, 1, pit)                                                                          \
    E(DEVICE, 0x064, 0x064, 1, kbd)                                                                          \
    E(DEVICE, 0x070, 0x071, 1, cmos)                                                                         \
    E(QUIET,  0x080, 0x080, 1, delay)                                                                        \
    E(DEVICE, 0x092, 0x092, 1, kbd)                                                                          \
    E(DEVICE, 0x0a0, 0x0a1, 1, pic)                                                                          \
    E(QUIET,  0x0ed, 0x0ed, 1, delay)                                                                        \
    E(DEVICE, 0x0f4, 0x0f4, 1 | 2 | 4, power)
#define HIGH_PORTS(E)                                                                                        \
    E(DEVICE, 0x3f8, 0x3ff, 1, uart)                                                                         \
    E(DEVICE, 0x4d0, 0x4d1, 1, pic)                                                                          \
    E(QUIET,  0x510, 0x511, 1 | 2, fwcfg)                                                                    \
    E(QUIET,  0x604, 0x604, 2, power)                                                                        \
    E(QUIET,  0xcf8, 0xcf8, 1 | 4, pci)                                                                      \
    E(QUIET,  0xcf9, 0xcf9, 1, power)                                                                        \
    E(QUIET,  0xcfa, 0xcfb, 1, pci)                                                                          \
    E(QUIET,  0xcfc, 0xcff, 1 | 2 | 4, pci)                                                                  \
    E(QUIET,  0x8900, 0x8900, 1, power)
#define ENTRY(kind, first, last, widths, device) kind(first, last, widths, device),
#define PLACE(kind, first, last, widths, device) AT_##first,
#define MARK(kind, first, last, widths, device) [first ... last] = AT_##first,

/* The first takes nothing: there are the ports without a device. */
static const struct bus_entry bus[] = { { 0 }, LOW_PORTS(ENTRY) HIGH_PORTS(ENTRY) };
#define BUS_ENTRIES (sizeof(bus) / sizeof(bus[0]))
enum { AT_NOTHING, LOW_PORTS(PLACE) BUS_LOW };
static const uint8_t place[0x100] = { LOW_PORTS(MARK) }; /* in bus[] */
/* clang-format on */

static __attribute__((noinline)) const struct bus_entry *find_high(uint16_t port)
{
    size_t low = BUS_LOW, high = BUS_ENTRIES;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (port > bus[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < BUS_ENTRIES && port >= bus[low].first ? &bus[low] : &bus[AT_NOTHING];
}

static inline const struct bus_entry *find(uint16_t port)
{
    return port < sizeof(place) ? &bus[place[port]] : find_high(port);
}

bool bus_entry_at(unsigned i, struct bus_entry_view *view)
{
    if (i >= BUS_ENTRIES - 1)
        return false;
    const struct bus_entry *e = &bus[i + 1];
    *view = (struct bus_entry_view){ e->first, e->last, e->widths };
    return true;
}

/* ---- accesses to nothing ---- */

static struct absent_port *absent_slot(struct machine *m, struct dev_ctx *ctx, uint16_t port)
{
    for (uint32_t i = 0; i < m->absent_used; i++)
        if (m->absent[i].port == port)
            return &m->absent[i];
    if (m->absent_used == ABSENT_PORTS)
        return NULL;
    struct absent_port *slot = &m->absent[m->absent_used];
    DEV_SET(ctx, slot->port, port);
    DEV_SET(ctx, m->absent_used, m->absent_used + 1);
    return slot;
}

static void count_absent(struct machine *m, struct dev_ctx *ctx, uint16_t port, bool write)
{
    struct absent_port *slot = absent_slot(m, ctx, port);
    if (!slot)
        DEV_SET(ctx, m->absent_more, m->absent_more + 1);
    else if (write)
        DEV_SET(ctx, slot->writes, slot->writes + 1);
    else
        DEV_SET(ctx, slot->reads, slot->reads + 1);
}

/* ---- one access ---- */

/* The device that takes an access whole, or NULL. A width is a power of two: 3 and the like are nobody's. */
static inline const struct bus_entry *find_whole(uint16_t port, unsigned width)
{
    const struct bus_entry *e = find(port);
    return e->widths & width && !(width & (width - 1)) ? e : NULL;
}

/* The device that takes byte i of a wider access. */
static const struct bus_entry *find_byte(uint16_t port, unsigned i)
{
    return find_whole((uint16_t)(port + i), 1);
}

static bool any_byte(uint16_t port, unsigned width)
{
    for (unsigned i = 0; width > 1 && i < width; i++)
        if (find_byte(port, i))
            return true;
    return false;
}

static inline bool good_width(unsigned width)
{
    return width <= 4 && (0x16 >> width & 1);
}

static inline uint32_t ones(unsigned width)
{
    static const uint32_t of[5] = { [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff };
    return of[width];
}

/* An access that no device takes whole travels in bytes if any of them finds one. Returns whether one did. */
static __attribute__((noinline)) bool split_in(struct machine *m, struct dev_ctx *ctx, uint16_t port,
                                               unsigned width, uint32_t *value)
{
    *value = 0xffffffff;
    if (!good_width(width))
        return false;
    *value = ones(width);
    if (!any_byte(port, width)) {
        count_absent(m, ctx, port, false);
        return false;
    }
    for (unsigned i = 0; i < width; i++) {
        const struct bus_entry *e = find_byte(port, i);
        uint32_t byte = e ? e->in(m, ctx, (uint16_t)(port + i), 1) & 0xff : 0xff;
        *value = (*value & ~(0xffu << 8 * i)) | byte << 8 * i;
    }
    return true;
}

static __attribute__((noinline)) bool split_out(struct machine *m, struct dev_ctx *ctx, uint16_t port,
                                                unsigned width, uint32_t value)
{
    if (!good_width(width))
        return false;
    if (!any_byte(port, width)) {
        count_absent(m, ctx, port, true);
        return false;
    }
    for (unsigned i = 0; i < width; i++) {
        const struct bus_entry *e = find_byte(port, i);
        if (e)
            e->out(m, ctx, (uint16_t)(port + i), 1, value >> 8 * i & 0xff);
    }
    return true;
}

/* ---- devices in memory ---- */

struct mmio_entry {
    uint64_t first, last; /* whole pages */
    bool (*there)(const struct machine *m);
    bool (*read)(struct machine *m, struct dev_ctx *ctx, uint32_t offset, uint8_t *to,
                 unsigned n); /* quiet */
    void (*write)(struct machine *m, struct dev_ctx *ctx, uint32_t offset, const uint8_t *from, unsigned n);
};

static bool lapic_there(const struct machine *m)
{
    return lapic_enabled(&m->lapic);
}

static bool ioapic_there(const struct machine *m)
{
    (void)m;
    return true;
}

#define MEMORY_OF(device)                                                                                    \
    static bool device##_memory_read(struct machine *m, struct dev_ctx *ctx, uint32_t offset, uint8_t *to,   \
                                     unsigned n)                                                             \
    {                                                                                                        \
        return device##_read(&m->device, ctx, offset, to, n);                                                \
    }                                                                                                        \
    static void device##_memory_write(struct machine *m, struct dev_ctx *ctx, uint32_t offset,               \
                                      const uint8_t *from, unsigned n)                                       \
    {                                                                                                        \
        device##_write(&m->device, ctx, offset, from, n);                                                    \
    }

MEMORY_OF(lapic)
MEMORY_OF(ioapic)

static const struct mmio_entry mmio[] = {
    { IOAPIC_BASE, IOAPIC_BASE + IOAPIC_BYTES - 1, ioapic_there, ioapic_memory_read, ioapic_memory_write },
    { LAPIC_BASE, LAPIC_BASE + LAPIC_BYTES - 1, lapic_there, lapic_memory_read, lapic_memory_write },
};
#define MMIO_ENTRIES (sizeof(mmio) / sizeof(mmio[0]))

bool mmio_entry_at(unsigned i, struct mmio_entry_view *view)
{
    if (i >= MMIO_ENTRIES)
        return false;
    *view = (struct mmio_entry_view){ mmio[i].first, mmio[i].last };
    return true;
}

/* The device at an address, if it is switched on. */
static const struct mmio_entry *find_memory(const struct machine *m, uint64_t at)
{
    const struct mmio_entry *e = mmio + MMIO_ENTRIES - 1; /* few; the APIC of each timer tick first */

    for (; e >= mmio; e--)
        if (at - e->first <= e->last - e->first)
            return e->there(m) ? e : NULL;
    return NULL;
}

/* ---- time and lines ---- */

/* When something next becomes due, as far as that can matter: maybe in the past. */
static uint64_t next_due(const struct machine *m, uint64_t now)
{
    uint64_t next = dev_min(uart_next_deadline(&m->uart, now), cmos_next_deadline(&m->cmos, now));
    next = dev_min(next, lapic_next_deadline(&m->lapic, now));
    if (!pic_masked(&m->pic, 0) ||
        !ioapic_masked(&m->ioapic,
                       0)) /* a masked timer wakes nobody; its edge is found when it is unmasked */
        next = dev_min(next, pit_next_deadline(&m->pit, now));
    return next;
}

/* The end of a call: what became due is done, the interrupt controller looks, the deadline is set. */
static void settle(struct machine *m, struct dev_ctx *ctx)
{
    if (ctx->now >= m->deadline) {
        pit_expire(&m->pit, ctx);
        cmos_expire(&m->cmos, ctx);
        uart_expire(&m->uart, ctx);
        lapic_expire(&m->lapic, ctx);
        DEV_SET(ctx, m->served, ctx->now);
    }
    ioapic_sample(&m->ioapic, ctx, &m->lapic);
    pic_sample(&m->pic, ctx); /* and forgets what rose */
    lapic_sample(&m->lapic, ctx, pic_intr(&m->pic));
    uint64_t due = next_due(m, ctx->now), soonest = m->served + m->hz / MIN_PERIOD_HZ;
    uint64_t deadline = due < soonest ? soonest : due;
    if (deadline != m->deadline)
        DEV_SET(ctx, m->deadline, deadline);
    if (ctx->undo)
        ctx->undo->settled = true;
}

/* After an access from which nothing follows, time alone may have something to do. */
static inline void settle_after(struct machine *m, struct dev_ctx *ctx, bool quiet)
{
    if (!quiet || ctx->now >= m->deadline)
        settle(m, ctx);
}

/* ---- the interface ---- */

bool machine_init(struct machine *m, const struct machine_config *config, uint64_t now)
{
    if (config->hz < DEV_HZ_MIN || config->hz > DEV_HZ_MAX)
        return false;
    *m = (struct machine){ .magic = MACHINE_MAGIC,
                           .version = MACHINE_VERSION,
                           .bytes = sizeof(*m),
                           .hz = config->hz,
                           .deadline = DEV_NEVER };
    struct dev_ctx ctx = { .now = now, .lines = &m->lines };
    m->served = now;
    m->lines.a20 = 1;
    m->lines.level = 1; /* OUT of an idle timer is high */
    lapic_init(&m->lapic, config->tsc_offset);
    ioapic_init(&m->ioapic);
    pic_init(&m->pic);
    pit_init(&m->pit, config->hz, now);
    cmos_init(&m->cmos, config->hz, now, config->seconds, config->memory_bytes);
    kbd_init(&m->kbd);
    power_init(&m->power);
    uart_init(&m->uart, 4, config->hz);
    fwcfg_init(&m->fwcfg, config->memory_bytes);
    settle(m, &ctx);
    return true;
}

bool machine_check(const struct machine *m)
{
    return m->magic == MACHINE_MAGIC && m->version == MACHINE_VERSION && m->bytes == sizeof(*m);
}

uint32_t machine_in(struct machine *m, struct dev_undo *undo, uint64_t now, uint16_t port, unsigned width)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    const struct bus_entry *e = find_whole(port, width);
    uint32_t value;
    if (e) {
        value = e->in(m, &ctx, port, width) & ones(width);
        settle_after(m, &ctx, e->quiet);
    } else {
        bool found = split_in(m, &ctx, port, width, &value);
        settle_after(m, &ctx, !found);
    }
    return value;
}

void machine_out(struct machine *m, struct dev_undo *undo, uint64_t now, uint16_t port, unsigned width,
                 uint32_t value)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    const struct bus_entry *e = find_whole(port, width);
    if (e) {
        e->out(m, &ctx, port, width, value & ones(width));
        settle_after(m, &ctx, e->quiet);
    } else {
        bool found = split_out(m, &ctx, port, width, value);
        settle_after(m, &ctx, !found);
    }
}

void machine_read(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint8_t *to, unsigned n)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    const struct mmio_entry *e = find_memory(m, at.v);
    if (!e) {
        __builtin_memset(to, 0xff, n);
        return;
    }
    settle_after(m, &ctx, e->read(m, &ctx, (uint32_t)(at.v - e->first), to, n));
}

void machine_write(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, const uint8_t *from,
                   unsigned n)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    const struct mmio_entry *e = find_memory(m, at.v);
    if (!e)
        return;
    e->write(m, &ctx, (uint32_t)(at.v - e->first), from, n);
    settle(m, &ctx);
}

bool machine_read_word(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint32_t *value)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    const struct mmio_entry *e = find_memory(m, at.v);
    if (e)
        settle_after(m, &ctx,
                     e->read(m, &ctx, (uint32_t)(at.v - e->first), (uint8_t *)value, sizeof(*value)));
    return e;
}

bool machine_write_word(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint32_t value)
{
    bool there = find_memory(m, at.v);
    if (there)
        machine_write(m, undo, now, at, (const uint8_t *)&value, sizeof(value));
    return there;
}

/* What the processor says to its APIC, each a call of the device and what follows from it. */
#define TOLD_BY_PROCESSOR(name, function, type)                                                              \
    void name(struct machine *m, struct dev_undo *undo, uint64_t now, type value)                            \
    {                                                                                                        \
        struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };                               \
        function(&m->lapic, &ctx, value);                                                                    \
        settle(m, &ctx);                                                                                     \
    }
TOLD_BY_PROCESSOR(machine_set_apic_base, lapic_set_base, uint64_t)
TOLD_BY_PROCESSOR(machine_set_tpr, lapic_set_tpr, uint32_t)
TOLD_BY_PROCESSOR(machine_set_deadline, lapic_set_deadline, uint64_t)
TOLD_BY_PROCESSOR(machine_set_tsc, lapic_set_tsc, uint64_t)

void machine_nmi_taken(struct machine *m, struct dev_undo *undo, uint64_t now)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    DEV_SET(&ctx, m->lapic.nmi, 0);
    settle(m, &ctx);
}

void machine_expire(struct machine *m, struct dev_undo *undo, uint64_t now)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    if (now >= m->deadline)
        settle(m, &ctx);
}

size_t machine_take(struct machine *m, struct dev_undo *undo, uint64_t now, uint8_t *bytes, size_t max)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    size_t n = uart_take(&m->uart, &ctx, bytes, max);
    settle(m, &ctx);
    return n;
}

size_t machine_give(struct machine *m, struct dev_undo *undo, uint64_t now, const uint8_t *bytes, size_t n)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    size_t count = uart_give(&m->uart, &ctx, bytes, n);
    settle(m, &ctx);
    return count;
}

uint8_t machine_ack(struct machine *m, struct dev_undo *undo, uint64_t now)
{
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    /* With nothing to give the wire decides who says "spurious". */
    bool outside = lapic_takes_extint(&m->lapic) && (pic_intr(&m->pic) || lapic_pending(&m->lapic) < 0);
    uint8_t vector = outside ? pic_ack(&m->pic, &ctx) : lapic_ack(&m->lapic, &ctx);
    settle(m, &ctx);
    return vector;
}
