/* SPDX-License-Identifier: BSD-2-Clause */
/* The library's walk against the reference walk: random entries with every bit, random control registers. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "check.h"
#include "world.h"

/* Mostly a plausible entry, with one or two bits of any kind changed. */
static uint64_t entry(struct world *w, uint32_t bytes)
{
    uint64_t raw = (1 + world_random(w) % 12) << 12 | 0x67;
    for (uint32_t n = world_random(w) % 3; n > 0; n--)
        raw ^= BIT(world_random(w) % (bytes * 8));
    if (world_percent(w, 15))
        raw ^= 0x80;
    if (raw & 0x80 && world_percent(w, 70))
        raw &= ~0x1ff000ull;
    return raw;
}

static void fill_tables(struct world *w, uint32_t bytes)
{
    for (uint64_t gfn = 1; gfn <= 12; gfn++) {
        for (uint32_t i = 0; i < PAGE_BYTES / bytes; i++) {
            uint64_t raw = entry(w, bytes);
            gmem_write_bytes(w->mem, (gpa_t){ (gfn << 12) + i * bytes }, &raw, bytes);
        }
    }
}

static struct shadow_control random_control(struct world *w)
{
    static const struct shadow_control base[] = {
        { BIT(31) | BIT(0), 0x1000, 0, 0 },
        { BIT(31) | BIT(0), 0x1000, CR4_PAE_, 0 },
        { BIT(31) | BIT(0), 0x1000, CR4_PAE_, EFER_LONG },
        { BIT(0), 0x1000, 0, 0 },
    };
    struct shadow_control c = base[world_random(w) % 4];
    c.cr0 |= world_percent(w, 70) ? CR0_WP_ : 0;
    c.cr4 |= world_percent(w, 50) ? CR4_PSE_ : 0;
    c.cr4 |= world_percent(w, 40) ? CR4_SMEP_ : 0;
    c.cr4 |= world_percent(w, 40) ? CR4_SMAP_ : 0;
    c.efer |= world_percent(w, 60) ? EFER_NXE_ : 0;
    return c;
}

static void compare_one(struct world *w)
{
    struct shadow_access a = { .va.v = world_random(w) << 12 ^ world_random(w) };
    struct fill_out out = { 0 };
    a.va.v = world_percent(w, 80) ? (uint64_t)((int64_t)(a.va.v << 16) >> 16) : a.va.v;
    a.write = world_percent(w, 40);
    a.exec = !a.write && world_percent(w, 40);
    a.user = world_percent(w, 50);
    a.ac = world_percent(w, 50);
    a.implicit = !a.user && world_percent(w, 20);
    struct model_access m = { a.va.v, a.write, a.exec, a.user, a.implicit, a.ac };
    struct model_walk ref = model_walk(&w->cpu, &m);
    enum translate_result result = shadow_translate(w->s, &a, false, &out);
    check_note("va %#lx write %d exec %d user %d cr0 %#lx cr4 %#lx efer %#lx", (unsigned long)a.va.v, a.write,
               a.exec, a.user, (unsigned long)w->cpu.cr0, (unsigned long)w->cpu.cr4,
               (unsigned long)w->cpu.efer);
    switch (ref.outcome) {
    case MODEL_OK:
        CHECK_EQ(result, TRANSLATE_OK);
        CHECK_EQ(out.gpa.v, ref.gpa);
        break;
    case MODEL_PAGE_FAULT:
        CHECK_EQ(result, TRANSLATE_FAULT);
        CHECK_EQ(out.error, ref.error);
        break;
    case MODEL_NOT_CANONICAL:
        CHECK_EQ(result, TRANSLATE_NOT_CANONICAL);
    }
}

TEST(walk_agrees_with_the_reference)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world *w = world_new(128, NULL, seed, WORLD_RAM);
        struct shadow_control c = random_control(w);
        fill_tables(w, (c.cr0 & BIT(31)) && !(c.cr4 & CR4_PAE_) ? 4 : 8);
        for (uint64_t i = 0; i < 4; i++) /* PAE: pointers that are accepted */
            world_poke(w, 0x1000 + i * 8, (i + 2) << 12 | (c.efer & BIT(10) ? 0x67 : 1));
        world_load(w, c);
        for (uint32_t i = 0; i < 500; i++)
            compare_one(w);
        world_free(w);
    }
}
