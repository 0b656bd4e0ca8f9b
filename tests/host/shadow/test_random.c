/* SPDX-License-Identifier: BSD-2-Clause */
/* Random guests: table writes, CR3 loads, INVLPG, accesses, mode changes, DMA, epochs, in every paging mode,
 * with pools from tiny to ample. UMBRA_STEPS sets the number of steps, UMBRA_SEED the first seed.
 * USES-lines name the sources.
 */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "check.h"
#include "world.h"

#include <stdlib.h>

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

struct shape {
    const char *name;
    struct shadow_control control;
    uint32_t bytes;             /* of an entry */
    uint32_t index[6], indices; /* entries that are used */
    bool switches;              /* between all modes */
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

static uint64_t random_va(struct world *w)
{
    uint64_t va = w->j.va[world_random(w) % w->j.vas].va;
    return w->m->format == SHADOW_LONG ? va : va & 0xffffffff;
}

static struct world_access any_access(struct world *w)
{
    struct world_access a = { .va = random_va(w) + (world_random(w) % 512) * 8 };
    uint32_t kind = world_random(w) % 3;
    a.write = kind == 1;
    a.exec = kind == 2;
    a.user = world_percent(w, 50);
    a.ac = world_percent(w, 30);
    a.implicit = !a.user && !a.exec && world_percent(w, 10);
    a.delivering = world_percent(w, 3);
    a.not_emulated = world_percent(w, 4);
    a.value = world_random(w) << 8;
    return a;
}

/* Mostly what the guest's tables allow: else nearly all would be the guest's own faults. */
static struct world_access random_access(struct world *w)
{
    struct world_access a = any_access(w);
    for (uint32_t n = 0; n < 12; n++) {
        struct model_access m = { a.va, a.write, a.exec, a.user, a.implicit, a.ac };
        if (model_walk(&w->cpu, &m).outcome == MODEL_OK || world_percent(w, 10))
            break;
        a = any_access(w);
    }
    return a;
}

/* An address that reaches the frame with supervisor writes allowed, or 0. */
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
static void write_entry(struct world *w, uint64_t gfn, uint64_t va)
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
    if (va == ~0ull) {
        world_dma(w, (gfn << 12) + at, len, raw);
        return;
    }
    struct world_access a = { .va = va + at, .write = true, .ac = true, .len = len, .value = raw };
    a.not_emulated = world_percent(w, 4);
    a.delivering = world_percent(w, 2);
    world_access(w, a);
}

static void table_write(struct world *w)
{
    uint64_t gfn = 1 + world_random(w) % WORLD_TABLES, va = way_to(w, gfn);
    for (uint32_t n = 0; n < 6 && va == ~0ull; n++) {
        gfn = 1 + world_random(w) % WORLD_TABLES;
        va = way_to(w, gfn);
    }
    if (world_percent(w, 5))
        va = ~0ull;
    do {
        write_entry(w, gfn, va);
        if (va != ~0ull && world_percent(w, 20))
            va = way_to(w, gfn);
    } while (world_percent(w, 50));
}

static uint64_t random_cr3(struct world *w)
{
    uint64_t gfn = 1 + world_random(w) % (levels_of(w) == 4 ? 2 : 4);
    if (world_percent(w, 3))
        gfn = 1 + world_random(w) % WORLD_TABLES;
    bool pae = (w->cpu.cr0 & BIT(31)) && (w->cpu.cr4 & CR4_PAE_) && !(w->cpu.efer & BIT(10));
    return gfn << 12 | (pae ? world_random(w) % 2 * 32 : 0);
}

static void random_mode(struct world *w, const struct shape *shape)
{
    uint64_t cr0 = w->cpu.cr0, cr4 = w->cpu.cr4, efer = w->cpu.efer;
    if (shape->switches && world_percent(w, 50)) {
        static const uint64_t modes[4][3] = {
            { BIT(0), 0, 0 },
            { CR0_PAGED, CR4_PSE_, 0 },
            { CR0_PAGED, CR4_PAE_, EFER_NXE_ },
            { CR0_PAGED, CR4_PAE_, EFER_LONG | EFER_NXE_ },
        };
        uint32_t i = world_random(w) % 4;
        world_mode(w, modes[i][0], modes[i][1], modes[i][2]);
        return;
    }
    switch (world_random(w) % 6) {
    case 0:
        cr0 ^= CR0_WP_;
        break;
    case 1:
        cr4 ^= CR4_SMEP_;
        break;
    case 2:
        cr4 ^= CR4_SMAP_;
        break;
    case 3:
        cr4 ^= CR4_PGE_;
        break;
    case 4:
        cr4 ^= CR4_PSE_;
        break;
    default:
        efer ^= EFER_NXE_;
    }
    world_mode(w, cr0, cr4, efer);
}

static void one_step(struct world *w, const struct shape *shape)
{
    uint32_t what = world_random(w) % 1000;
    w->ops_max = world_percent(w, 20) ? SHADOW_OPS_ROOM : REPLY_OPS_MAX;
    if (w->j.full)
        world_cr3(w, w->cpu.cr3);
    if (what < 420)
        table_write(w);
    else if (what < 850)
        world_access(w, random_access(w));
    else if (what < 910)
        world_invlpg(w, random_va(w));
    else if (what < 970)
        world_cr3(w, random_cr3(w));
    else if (what < 985)
        machine_extend(w->m, random_va(w));
    else if (what < 995)
        random_mode(w, shape);
    else if (what < 997)
        world_new_epoch(w);
    else
        machine_extend(w->m, random_va(w));
}

static void random_guest(const struct shape *shape, uint64_t seed, uint64_t steps)
{
    static const uint32_t pools[] = { 16, 20, 40, 200 };
    struct shadow_tuning tuning = shadow_default_tuning();
    struct world *w;

    if (seed % 3 == 1)
        tuning = (struct shadow_tuning){ 64, 512, 1, 1, 1, 1, 1, 3 };
    if (seed % 3 == 2)
        tuning = (struct shadow_tuning){ 1, 1, 4, 5, 4, 3, 2, 4 };
    check_note("%s UMBRA_SEED=%lu", shape->name, (unsigned long)seed);
    w = world_new(pools[seed % 4], &tuning, seed, WORLD_RAM);
    if (seed % 2 == 0)
        world_set_readonly(w, WORLD_RAM - 2);
    if (shape->bytes == 8 && (shape->control.efer & BIT(10)))
        universe_long(w);
    if (shape->switches || !(shape->control.efer & BIT(10)))
        universe_small(w);
    start_tables(w, shape->bytes, shape->control.efer & BIT(10) ? 4 : 2);
    world_load(w, shape->control);
    for (uint64_t i = 0; i < steps; i++) {
        one_step(w, shape);
        if (i % environment("UMBRA_AUDIT", 32) == 0)
            world_audit(w);
    }
    world_audit(w);
    world_free(w);
}

static void random_guests(const struct shape *shape)
{
    uint64_t total = environment("UMBRA_STEPS", 100000) / 5, each = 2000, seed = environment("UMBRA_SEED", 1);
    for (uint64_t done = 0; done < total; done += each, seed++)
        random_guest(shape, seed, each);
}

TEST(random_guest_long)
{
    struct shape shape = { .name = "long", .control = world_long(0x1000), .bytes = 8 };
    random_guests(&shape);
}

TEST(random_guest_pae)
{
    struct shape shape = { .name = "pae", .control = world_pae(0x1000), .bytes = 8 };
    random_guests(&shape);
}

TEST(random_guest_32)
{
    struct shape shape = { .name = "32", .control = world_32(0x1000), .bytes = 4 };
    random_guests(&shape);
}

TEST(random_guest_unpaged)
{
    struct shape shape = { .name = "unpaged", .control = { BIT(0), 0, 0, 0 }, .bytes = 8 };
    random_guests(&shape);
}

TEST(random_guest_all_modes)
{
    struct shape shape = { .name = "all", .control = world_long(0x1000), .bytes = 8, .switches = true };
    random_guests(&shape);
}
