/* SPDX-License-Identifier: BSD-2-Clause */
/* What random guests do. See guest.h. */
#include "guest.h"

#include <stdlib.h>
#include <tests/host/support/gmem_host.h>

const struct guest_shape guest_shapes[GUEST_SHAPES] = {
    { "long", { CR0_PAGED, 0x1000, CR4_PAE_, EFER_LONG | EFER_NXE_ }, false },
    { "pae", { CR0_PAGED, 0x20, CR4_PAE_, EFER_NXE_ }, false },
    { "32", { CR0_PAGED, 0x1000, CR4_PSE_, 0 }, false },
    { "unpaged", { BIT(0), 0, 0, 0 }, false },
    { "real", { 0, 0, 0, 0 }, true },
    { "all", { CR0_PAGED, 0x1000, CR4_PAE_, EFER_LONG | EFER_NXE_ }, true },
};

static const uint32_t wide_index[] = { 0, 1, 5, 511 };
static const uint32_t narrow_index[] = { 0, 1, 5, 256, 512, 1023 };

/* Which level a table frame mostly serves as: roots, then one level down in each group. */
static uint32_t natural_level(uint64_t gfn, uint32_t levels)
{
    static const uint8_t four[WORLD_TABLES + 1] = { 0, 4, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1 };
    static const uint8_t two[WORLD_TABLES + 1] = { 0, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1 };
    return levels == 4 ? four[gfn] : two[gfn];
}

static uint64_t random_table(struct world *w, uint32_t level, uint32_t levels)
{
    for (uint32_t n = 0; n < 100; n++) {
        uint64_t gfn = 1 + world_random(w) % WORLD_TABLES;
        if (natural_level(gfn, levels) == level)
            return gfn;
    }
    return 1;
}

static uint64_t random_target(struct world *w, uint32_t level, uint32_t levels)
{
    uint32_t what = world_random(w) % 100;
    if (what < 5)
        return 1 + world_random(w) % WORLD_TABLES;
    if (level > 1 && what < 92)
        return random_table(w, level - 1, levels);
    if (what < 35)
        return 1 + world_random(w) % WORLD_TABLES;
    if (what < 92)
        return WORLD_TABLES + 1 + world_random(w) % (WORLD_RAM - WORLD_TABLES - 1);
    return what < 96 ? w->rom + world_random(w) % 2 : w->end + world_random(w) % 3;
}

static uint64_t random_entry(struct world *w, uint64_t table, uint32_t bytes, uint32_t levels)
{
    uint32_t level = natural_level(table, levels);
    uint64_t raw = random_target(w, level, levels) << 12;

    if (world_percent(w, 6))
        return 0;
    raw |= world_percent(w, 97) ? 1 : 0;
    raw |= world_percent(w, level > 1 ? 92 : 80) ? 2 : 0;
    raw |= world_percent(w, level > 1 ? 80 : 50) ? 4 : 0;
    raw |= world_percent(w, 75) ? 0x20 : 0;
    raw |= world_percent(w, 60) ? 0x40 : 0;
    raw |= world_percent(w, level > 2 ? 1 : 5) ? 0x100 : 0;
    if (world_percent(w, level == 2 || level == 3 ? 8 : 1))
        raw = (raw & 0xfff) | 0x80;
    if (bytes == 8 && world_percent(w, level > 1 ? 2 : 10))
        raw |= BIT(63);
    if (bytes == 8 && world_percent(w, 1))
        raw |= BIT(40 + world_random(w) % 23);
    return raw;
}

static uint32_t entry_bytes(const struct world *w)
{
    return (w->cpu.cr0 & BIT(31)) && !(w->cpu.cr4 & CR4_PAE_) ? 4 : 8;
}

static uint32_t levels_of(const struct world *w)
{
    return w->cpu.efer & BIT(10) ? 4 : 2;
}

static uint32_t random_index(struct world *w, uint32_t bytes)
{
    if (world_percent(w, 10))
        return (uint32_t)(world_random(w) % 8);
    return bytes == 8 ? wide_index[world_random(w) % 4] : narrow_index[world_random(w) % 6];
}

/* ---- the world ---- */

static void universe_long(struct world *w)
{
    static const uint64_t l4[] = { 0, 511 }, l3[] = { 0, 1 }, l2[] = { 0, 1 }, l1[] = { 0, 1, 5 };
    for (unsigned i = 0; i < 24; i++) {
        uint64_t va = l4[i % 2] << 39 | l3[i / 2 % 2] << 30 | l2[i / 4 % 2] << 21 | l1[i / 8] << 12;
        justify_add(&w->j, va & BIT(47) ? va | ~(BIT(48) - 1) : va);
    }
}

static void universe_small(struct world *w)
{
    static const uint64_t va[] = { 0x0,        0x1000,     0x5000,     0x1ff000,   0x200000,
                                   0x201000,   0x3ff000,   0x400000,   0x401000,   0x600000,
                                   0x40000000, 0x40001000, 0x40200000, 0xc0000000, 0xc0001000,
                                   0xc0005000, 0xffc00000, 0xffffe000, 0xfffff000, 0x405000 };
    for (unsigned i = 0; i < sizeof(va) / sizeof(va[0]); i++)
        justify_add(&w->j, va[i]);
}

static void start_tables(struct world *w, uint32_t bytes, uint32_t levels)
{
    for (uint64_t t = 1; t <= WORLD_TABLES; t++) {
        for (uint32_t i = 0; i < 48; i++) {
            uint64_t at = (t << 12) + random_index(w, bytes) * bytes;
            uint64_t raw = random_entry(w, t, bytes, levels);
            gmem_write_bytes(w->mem, (gpa_t){ at }, &raw, bytes);
        }
    }
}

/* PAE's pointers, eight times four in frame 0: by chance alone they would hardly ever be good. */
static uint64_t good_pointer(struct world *w)
{
    return random_table(w, 2, 2) << 12 | (world_percent(w, 80) ? 1 : 0);
}

static void start_pointers(struct world *w)
{
    for (uint64_t at = 0; at < 8 * 32; at += 8)
        world_poke(w, at, good_pointer(w));
}

struct world *guest_world(const struct guest_shape *shape, uint64_t seed)
{
    static const uint32_t pools[] = { 16, 20, 40, 200 };
    struct shadow_tuning tuning = shadow_default_tuning();
    const struct shadow_control *c = &shape->control;
    bool is_long = c->efer & BIT(10);

    if (seed % 3 == 1)
        tuning = (struct shadow_tuning){ 64, 512, 1, 1, 1, 1, 1, 16, 3 };
    if (seed % 3 == 2)
        tuning = (struct shadow_tuning){ 1, 1, 4, 5, 4, 3, 2, 0, 4 };
    struct world *w = world_new(pools[seed % 4], &tuning, seed, WORLD_RAM);
    if (seed % 2 == 0)
        world_set_readonly(w, WORLD_RAM - 2);
    if (is_long || shape->switches)
        universe_long(w);
    if (!is_long || shape->switches)
        universe_small(w);
    start_tables(w, (c->cr0 & BIT(31)) && !(c->cr4 & CR4_PAE_) ? 4 : 8, is_long ? 4 : 2);
    start_pointers(w);
    world_load(w, *c);
    if (w->cpu.cr0 != c->cr0)
        world_fail(w, "shape %s is refused", shape->name);
    return w;
}

/* ---- steps ---- */

static void emit(struct world *w, struct steps *list, struct step s)
{
    uint64_t chooser = w->random;

    if (list->count == STEPS_MAX)
        return;
    s.random = world_random(w);
    list->step[list->count] = s;
    __atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELEASE); /* whoever looks after a crash */
    step_run(w, &s);
    w->random = chooser * 0x9e3779b97f4a7c15ull + 0x1234567; /* what the step drew does not matter */
    world_random(w);
}

static uint64_t random_va(struct world *w)
{
    uint64_t va = w->j.va[world_random(w) % w->j.vas].va;
    return w->m->format == SHADOW_LONG ? va : va & 0xffffffff;
}

static struct step any_access(struct world *w)
{
    struct step s = { .kind = STEP_ACCESS, .a = random_va(w) + (world_random(w) % 512) * 8 };
    uint32_t kind = world_random(w) % 3;
    s.flags = kind == 1 ? STEP_WRITE : kind == 2 ? STEP_EXEC : 0;
    s.flags |= world_percent(w, 50) ? STEP_USER : 0;
    s.flags |= world_percent(w, 30) ? STEP_AC : 0;
    if (!(s.flags & (STEP_USER | STEP_EXEC)) && world_percent(w, 10))
        s.flags |= STEP_IMPLICIT;
    s.flags |= world_percent(w, 3) ? STEP_DELIVERING : 0;
    s.flags |= world_percent(w, 4) ? STEP_NOT_EMULATED : 0;
    s.b = world_random(w) << 8;
    return s;
}

static struct model_access as_model(const struct step *s)
{
    return (struct model_access){ .va = s->a,
                                  .write = s->flags & STEP_WRITE,
                                  .exec = s->flags & STEP_EXEC,
                                  .user = s->flags & STEP_USER,
                                  .implicit = s->flags & STEP_IMPLICIT,
                                  .ac = s->flags & STEP_AC };
}

/* Mostly what the guest's tables allow: else nearly all would be the guest's own faults. */
static struct step random_access(struct world *w)
{
    struct step s = any_access(w);
    for (uint32_t n = 0; n < 12; n++) {
        struct model_access m = as_model(&s);
        if (model_walk(&w->cpu, &m).outcome == MODEL_OK || world_percent(w, 10))
            break;
        s = any_access(w);
    }
    return s;
}

/* An address that reaches the frame with supervisor writes allowed, or all ones. */
static uint64_t way_to(struct world *w, uint64_t gfn)
{
    uint32_t start = (uint32_t)world_random(w) % w->j.vas;
    for (uint32_t i = 0; i < w->j.vas; i++) {
        struct model_access a = { .va = w->j.va[(start + i) % w->j.vas].va, .write = true, .ac = true };
        if (a.va >> 32 && w->m->format != SHADOW_LONG)
            continue;
        struct model_walk walk = model_walk(&w->cpu, &a);
        if (walk.outcome == MODEL_OK && walk.gpa >> 12 == gfn)
            return a.va;
    }
    return ~0ull;
}

static uint64_t changed_entry(struct world *w, uint64_t gfn, uint64_t old, uint32_t bytes)
{
    static const uint64_t flip[] = { 1, 2, 4, 0x20, 0x40, 0x60, BIT(63) };
    if (world_percent(w, 70))
        return random_entry(w, gfn, bytes, levels_of(w));
    return old ^ flip[world_random(w) % (bytes == 8 ? 7 : 6)];
}

/* One entry, sometimes a half, a byte or something not aligned; through the guest's own mapping of the table
 * if va is not all ones, else by DMA. */
static struct step write_entry(struct world *w, uint64_t gfn, uint64_t va)
{
    uint32_t bytes = entry_bytes(w), len = bytes;
    uint64_t at = (uint64_t)random_index(w, bytes) * bytes;
    uint64_t old = world_peek(w, (gfn << 12) + at) & (bytes == 8 ? ~0ull : 0xffffffff);
    uint64_t raw = changed_entry(w, gfn, old, bytes);

    if (world_percent(w, 4)) {
        len = 1u << world_random(w) % 3;
        at += world_random(w) % 4;
        at = at + len > 4096 ? 0 : at;
    }
    if (va == ~0ull)
        return (struct step){ .kind = STEP_DMA, .flags = len, .a = (gfn << 12) + at, .b = raw };
    struct step s = { .kind = STEP_ACCESS, .flags = STEP_WRITE | STEP_AC | len << 8, .a = va + at, .b = raw };
    s.flags |= world_percent(w, 4) ? STEP_NOT_EMULATED : 0;
    s.flags |= world_percent(w, 2) ? STEP_DELIVERING : 0;
    return s;
}

static void table_writes(struct world *w, struct steps *list)
{
    uint64_t gfn = 1 + world_random(w) % WORLD_TABLES, va = way_to(w, gfn);
    for (uint32_t n = 0; n < 6 && va == ~0ull; n++) {
        gfn = 1 + world_random(w) % WORLD_TABLES;
        va = way_to(w, gfn);
    }
    if (world_percent(w, 5))
        va = ~0ull;
    do {
        emit(w, list, write_entry(w, gfn, va));
        if (va != ~0ull && world_percent(w, 20))
            va = way_to(w, gfn);
    } while (world_percent(w, 50));
}

static bool is_pae(const struct world *w)
{
    return (w->cpu.cr0 & BIT(31)) && (w->cpu.cr4 & CR4_PAE_) && !(w->cpu.efer & BIT(10));
}

static uint64_t random_root(struct world *w, bool pae, uint32_t levels)
{
    if (world_percent(w, 3))
        return (1 + world_random(w) % WORLD_TABLES) << 12;
    if (pae)
        return world_random(w) % 8 * 32;
    return (1 + world_random(w) % (levels == 4 ? 2 : 4)) << 12;
}

static struct step random_cr3(struct world *w)
{
    return (struct step){ .kind = STEP_CR3, .a = random_root(w, is_pae(w), levels_of(w)) };
}

/* One pointer changes; mostly to another directory, sometimes to what is refused. */
static struct step change_pointer(struct world *w)
{
    uint64_t bad = world_percent(w, 10) ? BIT(world_random(w) % 64) : 0;
    return (struct step){
        .kind = STEP_DMA, .flags = 8, .a = world_random(w) % 32 * 8, .b = good_pointer(w) ^ bad
    };
}

static void flip(struct world *w, struct steps *list, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    emit(w, list, (struct step){ .kind = STEP_FLIP, .a = cr0, .b = cr4, .c = efer });
}

/* Through unpaged mode to any other, by the registers' own rules. */
static void other_mode(struct world *w, struct steps *list)
{
    uint32_t to = world_random(w) % 5; /* real, protected, 32-bit, PAE, long */
    uint64_t want_pae = to > 2 ? CR4_PAE_ : 0, want_lme = to == 4 ? BIT(8) : 0;

    if (w->cpu.cr0 & BIT(31))
        flip(w, list, BIT(31), 0, 0);
    flip(w, list, 0, (w->cpu.cr4 & CR4_PAE_) ^ want_pae, 0);
    flip(w, list, 0, 0, (w->cpu.efer & BIT(8)) ^ want_lme);
    flip(w, list, (w->cpu.cr0 & 1) ^ (to > 0 ? 1 : 0), 0, 0);
    emit(w, list, (struct step){ .kind = STEP_CR3, .a = random_root(w, to == 3, to == 4 ? 4 : 2) });
    if (to > 1)
        flip(w, list, BIT(31), 0, 0);
}

static void random_mode(struct world *w, const struct guest_shape *shape, struct steps *list)
{
    static const uint64_t bits[][3] = {
        { CR0_WP_ },     { 0, CR4_SMEP_ },  { 0, CR4_SMAP_ },
        { 0, CR4_PGE_ }, { 0, CR4_PSE_ },   { 0, 0, EFER_NXE_ },
        { BIT(30) },     { CR0_WP_, 0, 0 }, { 0, CR4_SMEP_ | CR4_SMAP_ },
    };
    uint32_t i = world_random(w) % 9;

    if (shape->switches && world_percent(w, 40)) {
        other_mode(w, list);
    } else if (shape->switches && world_percent(w, 10)) { /* 32-bit and PAE change into each other */
        emit(w, list, (struct step){ .kind = STEP_CR3, .a = random_root(w, true, 2) });
        flip(w, list, 0, CR4_PAE_, 0);
    } else {
        flip(w, list, bits[i][0], bits[i][1], bits[i][2]);
    }
}

static void rare_steps(struct world *w, struct steps *list)
{
    switch (world_random(w) % 4) {
    case 0:
        emit(w, list, (struct step){ .kind = STEP_EPOCH });
        break;
    case 1: /* RAM to hole and back; tables, too */
        emit(w, list, (struct step){ .kind = STEP_HOLE, .a = 4 + world_random(w) % 24 });
        break;
    case 2:
        emit(w, list, (struct step){ .kind = STEP_LOSE, .a = 1 + world_random(w) % 2 });
        break;
    default:
        emit(w, list,
             (struct step){ .kind = STEP_ROOM, .a = world_percent(w, 30) ? SHADOW_OPS_ROOM : REPLY_OPS_MAX });
    }
}

void guest_steps(struct world *w, const struct guest_shape *shape, struct steps *list)
{
    uint32_t what = world_random(w) % 1000;

    if (list->count % 32 == 31)
        emit(w, list, (struct step){ .kind = STEP_AUDIT });
    if (what < 420)
        table_writes(w, list);
    else if (what < 840)
        emit(w, list, random_access(w));
    else if (what < 900)
        emit(w, list, (struct step){ .kind = STEP_INVLPG, .a = random_va(w) });
    else if (is_pae(w) && what < 906)
        emit(w, list, change_pointer(w));
    else if (what < 960)
        emit(w, list, random_cr3(w));
    else if (what < 976)
        emit(w, list, (struct step){ .kind = STEP_EXTEND, .a = random_va(w) });
    else if (what < 988)
        random_mode(w, shape, list);
    else
        rare_steps(w, list);
}
