/* SPDX-License-Identifier: BSD-2-Clause */
/* See device.h. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

#define HZ         1000000000ull
#define STEPS_MAX  200u
#define NOTES_MAX  4096u
#define ARENA_SIZE (64u << 10)

/* ---- one step ---- */

struct step {
    uint8_t what;
    uint16_t port;
    unsigned width;
    uint32_t value;
    uint64_t at, number;
};

static uint64_t device_memory(const struct machine *m, struct fuzz_input *in)
{
    uint64_t page = fuzz_device.memory ? fuzz_device.memory : fuzz_byte(in) & 1 ? LAPIC_BASE : IOAPIC_BASE;
    uint8_t how = fuzz_byte(in);
    (void)m;
    if (how < 0xf0)
        return page + (uint64_t)(how << 4 & (fuzz_device.memory ? fuzz_device.memory_mask : 0xff0));
    return page + (fuzz_number(in, 2) & 0xfff);
}

static struct step take_step(const struct machine *m, struct fuzz_input *in)
{
    struct step s = { .what = fuzz_byte(in) };

    switch (s.what & 15) {
    case 0 ... 3: /* out */
    case 4 ... 5: /* in */
        s.port = fuzz_device.ports ? fuzz_device.port[fuzz_byte(in) % fuzz_device.ports] : 0x80;
        s.port = (uint16_t)(s.what & 0x80 ? s.port - 1 + (s.what >> 5 & 3) : s.port);
        s.width = s.what & 0x10 ? 1u << (s.what >> 5 & 3) % 3 : 1;
        s.value = (uint32_t)fuzz_number(in, s.width);
        break;
    case 6 ... 7: /* memory */
        s.at = device_memory(m, in);
        s.width = s.what & 0x10 ? 1u << (s.what >> 5 & 3) : 4;
        s.width =
            s.width > PAGE_BYTES - s.at % PAGE_BYTES ? (unsigned)(PAGE_BYTES - s.at % PAGE_BYTES) : s.width;
        s.number = s.what & 8 ? 0 : fuzz_number(in, 4);
        break;
    case 8: /* time: up to 2^47 ticks */
        s.number = (uint64_t)fuzz_byte(in) << (s.what >> 4) * 8 / 3;
        break;
    default:
        s.value = fuzz_byte(in);
        s.number = s.what & 0x10 ? fuzz_value(in) : 0;
    }
    return s;
}

static uint64_t told_by_processor(struct machine *m, struct dev_undo *undo, uint64_t now,
                                  const struct step *s)
{
    switch (s->value % 5) {
    case 0:
        machine_set_apic_base(m, undo, now, LAPIC_BASE | LAPIC_BASE_BSP | (s->number & LAPIC_BASE_ENABLE));
        break;
    case 1:
        machine_set_tsc(m, undo, now, s->number);
        break;
    case 2:
        machine_nmi_taken(m, undo, now);
        break;
    case 3:
        machine_set_tpr(m, undo, now, s->value & 0xf0);
        break;
    default:
        machine_set_deadline(m, undo, now,
                             s->what & 0x20 ? now + m->lapic.tsc_offset + s->value * 100ull : s->number);
    }
    return 0;
}

/* A line of the ISA bus that no device of the machine drives moves, and whatever looks at it does. */
static void line(struct machine *m, struct dev_undo *undo, uint64_t now, const struct step *s)
{
    static const uint8_t lines[8] = { 3, 5, 7, 9, 10, 11, 14, 15 };
    struct dev_ctx ctx = { .now = now, .lines = &m->lines, .undo = undo };
    if (s->value & 0x20)
        dev_edge(&ctx, lines[s->value & 7]);
    else
        dev_line(&ctx, lines[s->value & 7], s->value & 0x10);
    machine_set_tpr(m, undo, now, m->lapic.tpr);
}

/* Returns what it answered. */
static uint64_t perform(struct machine *m, struct dev_undo *undo, uint64_t now, const struct step *s)
{
    uint8_t bytes[64];

    memset(bytes, s->value, sizeof(bytes));
    switch (s->what & 15) {
    case 0 ... 3:
        machine_out(m, undo, now, s->port, s->width, s->value);
        return 0;
    case 4 ... 5:
        return machine_in(m, undo, now, s->port, s->width);
    case 6:
        memcpy(bytes, &s->number, 4);
        machine_write(m, undo, now, (gpa_t){ s->at }, bytes, s->width);
        return 0;
    case 7:
        machine_read(m, undo, now, (gpa_t){ s->at }, bytes, s->width);
        memcpy(&now, bytes, sizeof(now));
        return now;
    case 8:
    case 9:
        machine_expire(m, undo, now);
        return m->deadline;
    case 10:
        return machine_intr(m) ? machine_ack(m, undo, now) : 0x100;
    case 11:
        return machine_give(m, undo, now, bytes, s->value % sizeof(bytes));
    case 12:
        return machine_take(m, undo, now, bytes, s->value % sizeof(bytes)) << 8 | bytes[0];
    case 13:
        line(m, undo, now, s);
        return machine_intr(m) | machine_nmi(m) << 1;
    default:
        return told_by_processor(m, undo, now, s);
    }
}

/* ---- the undo record ---- */

struct notes {
    struct dev_undo undo;
    struct machine *m;
    struct {
        uint8_t *field;
        size_t bytes, at;
    } note[NOTES_MAX];
    uint8_t arena[ARENA_SIZE];
    size_t used, bytes;
};

static void note(struct dev_undo *undo, void *field, size_t bytes)
{
    struct notes *n = (struct notes *)undo;
    uint64_t offset = (uint64_t)((uint8_t *)field - (uint8_t *)n->m);

    CHECK(offset < sizeof(struct machine) && bytes <= sizeof(struct machine) - offset);
    CHECK(n->used < NOTES_MAX && bytes <= ARENA_SIZE - n->bytes);
    n->note[n->used].field = field;
    n->note[n->used].bytes = bytes;
    n->note[n->used++].at = n->bytes;
    memcpy(n->arena + n->bytes, field, bytes);
    n->bytes += bytes;
}

static void roll_back(struct notes *n)
{
    while (n->used) {
        n->used--;
        memcpy(n->note[n->used].field, n->arena + n->note[n->used].at, n->note[n->used].bytes);
    }
    n->bytes = 0;
}

/* ---- all that holds for a step ---- */

struct rig {
    struct machine *m, *twin, before, after;
    struct notes notes;
    uint64_t now;
};

/* No machine comes near DEV_NEVER, the last tick of 64 bits. */
#define END_OF_TIME (1ull << 62)

static void pass_time(struct rig *r, const struct step *s)
{
    uint64_t to = r->now + (s->what >> 4);

    if ((s->what & 15) == 8)
        to = r->now + s->number;
    else if ((s->what & 15) == 9 && r->m->deadline > r->now && r->m->deadline != DEV_NEVER)
        to = r->m->deadline;
    r->now = to < r->now || to > END_OF_TIME ? END_OF_TIME : to;
}

static void do_step(struct rig *r, const struct step *s)
{
    bool access = (s->what & 15) < 6;

    r->before = *r->m;
    r->notes.undo.settled = false;
    uint64_t answer = perform(r->m, &r->notes.undo, r->now, s);
    bool settled = r->notes.undo.settled;
    r->after = *r->m;
    roll_back(&r->notes);
    CHECK_MEM_EQ(r->m, &r->before, sizeof(r->before));
    CHECK_EQ(perform(r->m, NULL, r->now, s), answer);
    CHECK_MEM_EQ(r->m, &r->after, sizeof(r->after));
    CHECK_EQ(perform(r->twin, NULL, r->now, s), answer);
    CHECK_MEM_EQ(r->twin, &r->after, sizeof(r->after));
    if (settled && r->now >= r->before.deadline)
        CHECK_LT(r->now, r->m->deadline);
    if (access && !settled) {
        machine_set_tpr(r->twin, NULL, r->now, r->twin->lapic.tpr);
        CHECK_MEM_EQ(r->twin, &r->after, sizeof(r->after));
    }
    if (fuzz_device.told && access)
        fuzz_device.told(r->m, (s->what & 15) < 4, s->port, s->width,
                         (s->what & 15) < 4 ? s->value : (uint32_t)answer);
    if (fuzz_device.check)
        fuzz_device.check(r->m, r->now);
    CHECK(machine_check(r->m));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct rig r = { .notes = { .undo = { .note = note } } };
    struct fuzz_input in = { bytes, bytes + n };
    struct machine_config config = {
        .hz = HZ, .seconds = 1700000000, .memory_bytes = 128 << 20, .tsc_offset = 0 - HZ
    };

    r.m = malloc(sizeof(*r.m)); /* exactly: the sanitizer sees each byte beside it */
    r.twin = malloc(sizeof(*r.twin));
    r.notes.m = r.m;
    r.now = 5 * HZ;
    CHECK(machine_init(r.m, &config, r.now));
    memcpy(r.twin, r.m, sizeof(*r.m));
    if (fuzz_device.begin)
        fuzz_device.begin();
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in); i++) {
        struct step s = take_step(r.m, &in);
        check_note("step %u: what %#x port %#x width %u value %#x at %#llx number %#llx now %llu", i, s.what,
                   s.port, s.width, s.value, (unsigned long long)s.at, (unsigned long long)s.number,
                   (unsigned long long)r.now);
        pass_time(&r, &s);
        do_step(&r, &s);
    }
    free(r.m);
    free(r.twin);
    return 0;
}
