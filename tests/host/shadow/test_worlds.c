/* SPDX-License-Identifier: BSD-2-Clause */
/* Small worlds, completely: every combination of rights at the last two levels, of the control bits that
 * matter, of every kind of access, in every paging mode and page size, against the reference walk; the
 * guest's entries afterwards, too.
 *
 * Two passes: the walk alone over all bits of two entries, and accesses through the simulated processor over
 * the rights. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

#include <string.h>

/* A way of two entries to frame 16, the last two of the walk. */
struct form {
    const char *name;
    struct shadow_control control;
    uint64_t va, upper, leaf, frame; /* addresses of the two entries; upper 0: there is none */
    uint64_t large;                  /* PS in the leaf */
    uint32_t bytes;
    uint64_t reserved; /* a bit that is reserved in the leaf, or 0 */
};

#define LONG_                                                                                                \
    {                                                                                                        \
        CR0_PAGED, 0x1000, CR4_PAE_, EFER_LONG                                                               \
    }
#define PAE__                                                                                                \
    {                                                                                                        \
        CR0_PAGED, 0x20, CR4_PAE_, 0                                                                         \
    }
#define TWO__                                                                                                \
    {                                                                                                        \
        CR0_PAGED, 0x1000, CR4_PSE_, 0                                                                       \
    }
#define AT 0x3000ull
static const struct form forms[] = {
    { "32", TWO__, AT, 0x1000, 0x2000 + 3 * 4, 16, 0, 4, 0 },
    { "32 large", TWO__, 0x410000 + AT, 0, 0x1004, 0, PS, 4, BIT(21) },
    { "pae", PAE__, AT, 0x2000, 0x3000 + 3 * 8, 16, 0, 8, BIT(40) },
    { "pae large", PAE__, 0x210000 + AT, 0, 0x2008, 0, PS, 8, BIT(51) },
    { "long", LONG_, AT, 0x3000, 0x4000 + 3 * 8, 16, 0, 8, BIT(40) },
    { "long large", LONG_, 0x210000 + AT, 0x2000, 0x3008, 0, PS, 8, BIT(13) },
    { "long 1 GB", LONG_, 0x40010000 + AT, 0x1000, 0x2008, 0, PS, 8, BIT(29) },
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

static uint64_t upper_base(const struct form *f)
{
    return f->leaf & ~0xfffull;
}

static void write_entry(struct world *w, const struct form *f, uint64_t at, uint64_t raw)
{
    gmem_write_bytes(w->mem, (gpa_t){ at }, &raw, f->bytes);
}

static uint64_t read_entry(struct world *w, const struct form *f, uint64_t at)
{
    uint64_t raw = 0;
    gmem_read_bytes(w->mem, (gpa_t){ at }, &raw, f->bytes);
    return raw;
}

static struct world *form_world(const struct form *f)
{
    struct shadow_tuning tuning = shadow_default_tuning();
    tuning.prefetch = tuning.prefetch_direct = 1;
    struct world *w = world_new(64, &tuning, 1, 32);

    world_poke(w, 0x20, 0x2000 | P); /* PAE's pointers */
    if (f->bytes == 8) {
        put(w, 1, 0, 0x2000 | HOT);
        put(w, 2, 0, 0x3000 | HOT);
        put(w, 3, 0, 0x4000 | HOT);
    } else {
        write_entry(w, f, 0x1000, 0x2000 | HOT);
    }
    justify_add(&w->j, f->va);
    world_load(w, f->control);
    return w;
}

/* The processor's control bits, as a number of four. */
static void set_control(struct world *w, const struct form *f, uint32_t n)
{
    uint64_t cr0 = f->control.cr0 & ~CR0_WP_, cr4 = f->control.cr4, efer = f->control.efer;
    world_mode(w, cr0 | (n & 1 ? CR0_WP_ : 0), cr4 | (n & 2 ? CR4_SMEP_ : 0) | (n & 4 ? CR4_SMAP_ : 0),
               efer | (n & 8 ? EFER_NXE_ : 0));
}

/* Kinds of access: the user's three; the supervisor's three, two with AC, two implicit with AC. */
#define KINDS 10u
static struct world_access kind_of(uint32_t kind, uint64_t va)
{
    return (struct world_access){ .va = va + 8,
                                  .user = kind < 3,
                                  .write = kind == 1 || kind == 4 || kind == 7 || kind == 9,
                                  .exec = kind == 2 || kind == 5,
                                  .ac = kind >= 6,
                                  .implicit = kind >= 8,
                                  .len = 4,
                                  .value = kind };
}

static struct model_access as_model(const struct world_access *a)
{
    return (struct model_access){ a->va, a->write, a->exec, a->user, a->implicit, a->ac };
}

/* Bits 0.. of n as the given bits of an entry. */
static uint64_t spread(uint32_t n, const uint64_t *bit, uint32_t bits)
{
    uint64_t raw = 0;
    for (uint32_t i = 0; i < bits; i++)
        raw |= n >> i & 1 ? bit[i] : 0;
    return raw;
}

/* ---- the walk ---- */

static void compare_walk(struct world *w, const struct world_access *a)
{
    struct shadow_access s = { .va = { a->va },
                               .write = a->write,
                               .exec = a->exec,
                               .user = a->user,
                               .implicit = a->implicit,
                               .ac = a->ac };
    struct model_access m = as_model(a);
    struct model_walk ref = model_walk(&w->cpu, &m);
    struct fill_out out = { 0 };
    enum translate_result r = shadow_translate(w->s, &s, false, &out);

    if (ref.outcome == MODEL_OK) {
        CHECK_EQ(r, TRANSLATE_OK);
        CHECK_EQ(out.gpa.v, ref.gpa);
    } else {
        CHECK_EQ(r, TRANSLATE_FAULT);
        CHECK_EQ(out.error, ref.error);
    }
}

static void walk_form(const struct form *f)
{
    const uint64_t leaf[] = { P, RW, US, A, D, G, BIT(63), f->reserved, PS };
    const uint64_t upper[] = { P, RW, US, A, G, BIT(63) };
    uint32_t wide = f->bytes == 8;
    struct world *w = form_world(f);

    for (uint32_t control = 0; control < 16; control++) {
        set_control(w, f, control);
        for (uint32_t u = 0; u < (f->upper ? wide ? 64u : 32u : 1u); u++) {
            uint64_t above = upper_base(f) | spread(u, upper, wide ? 6 : 5);
            if (f->upper)
                write_entry(w, f, f->upper, above);
            for (uint32_t l = 0; l < 512; l++) {
                uint64_t raw = (f->frame << 12 | f->large) ^ spread(l, leaf, 9);
                if (!wide && (l & 64))
                    continue;
                write_entry(w, f, f->leaf, raw);
                check_note("%s control %u upper %#lx leaf %#lx", f->name, control, (unsigned long)above,
                           (unsigned long)raw);
                for (uint32_t kind = 0; kind < KINDS; kind++) {
                    struct world_access a = kind_of(kind, f->va);
                    compare_walk(w, &a);
                }
            }
        }
    }
    world_free(w);
}

TEST(walk_of_every_entry_in_every_mode)
{
    for (uint32_t i = 0; i < FORMS; i++)
        walk_form(&forms[i]);
}

/* ---- accesses ---- */

/* The guest's entries after an access: A where it was allowed, D if it wrote, otherwise nothing. */
static void check_bits(struct world *w, const struct form *f, const struct world_access *a, bool allowed,
                       uint64_t above, uint64_t raw)
{
    if (f->upper)
        CHECK_EQ(read_entry(w, f, f->upper), allowed ? above | A : above);
    CHECK_EQ(read_entry(w, f, f->leaf), allowed ? raw | A | (a->write ? D : 0) : raw);
}

/* Both entries are written as the guest would: it flushes, then tries. */
static void try_access(struct world *w, const struct form *f, uint32_t kind, uint64_t above, uint64_t raw)
{
    struct world_access a = kind_of(kind, f->va);
    struct model_access m = as_model(&a);

    check_note("%s cr0 %#lx cr4 %#lx efer %#lx upper %#lx leaf %#lx kind %u", f->name,
               (unsigned long)w->cpu.cr0, (unsigned long)w->cpu.cr4, (unsigned long)w->cpu.efer,
               (unsigned long)above, (unsigned long)raw, kind);
    if (f->upper)
        world_dma(w, f->upper, f->bytes, above);
    world_dma(w, f->leaf, f->bytes, raw);
    world_cr3(w, w->cpu.cr3);
    struct model_walk ref = model_walk(&w->cpu, &m);
    struct world_result r = world_access(w, a);
    bool allowed = ref.outcome == MODEL_OK;
    CHECK_EQ(r.outcome, allowed ? ACCESS_OK : ACCESS_FAULT);
    if (allowed)
        CHECK_EQ(r.gpa, ref.gpa);
    else
        CHECK_EQ(r.error, ref.error);
    check_bits(w, f, &a, allowed, above, raw);
    if (allowed && !r.emulated)
        CHECK_EQ(world_access(w, a).exits, 0);
}

static void access_form(const struct form *f)
{
    const uint64_t leaf[] = { RW, US, A, D, BIT(63) }, upper[] = { RW, US, BIT(63) };
    uint32_t wide = f->bytes == 8;
    struct world *w = form_world(f);

    for (uint32_t control = 0; control < 16; control++) {
        set_control(w, f, control);
        for (uint32_t u = 0; u < (f->upper ? wide ? 8u : 4u : 1u); u++) {
            uint64_t above = upper_base(f) | P | spread(u, upper, 3);
            for (uint32_t l = 0; l < (wide ? 32u : 16u); l++) {
                uint64_t raw = f->frame << 12 | f->large | P | spread(l, leaf, 5);
                for (uint32_t kind = 0; kind < KINDS; kind++)
                    try_access(w, f, kind, above, raw);
            }
        }
        world_audit(w);
    }
    world_free(w);
}

TEST(access_to_every_page_of_32_bit_paging)
{
    access_form(&forms[0]);
    access_form(&forms[1]);
}

TEST(access_to_every_page_of_pae_paging)
{
    access_form(&forms[2]);
    access_form(&forms[3]);
}

TEST(access_to_every_page_of_long_mode)
{
    access_form(&forms[4]);
    access_form(&forms[5]);
    access_form(&forms[6]);
}

/* ---- from access to access ---- */

/* One leaf, no flush in between: every access after every other, so that what the first left in the hardware
 * tables serves the second. */
TEST(every_access_after_every_other)
{
    for (uint32_t i = 0; i < FORMS; i++) {
        const struct form *f = &forms[i];
        const uint64_t leaf[] = { RW, US, A, D };
        struct world *w = form_world(f);
        for (uint32_t control = 0; control < 16; control++) {
            set_control(w, f, control);
            for (uint32_t l = 0; l < 16; l++) {
                for (uint32_t pair = 0; pair < KINDS * KINDS; pair++) {
                    uint64_t raw = f->frame << 12 | f->large | P | spread(l, leaf, 4);
                    try_access(w, f, pair / KINDS, upper_base(f) | HOT, raw);
                    struct world_access a = kind_of(pair % KINDS, f->va);
                    struct model_access m = as_model(&a);
                    struct model_walk ref = model_walk(&w->cpu, &m);
                    struct world_result r = world_access(w, a);
                    CHECK_EQ(r.outcome, ref.outcome == MODEL_OK ? ACCESS_OK : ACCESS_FAULT);
                }
            }
        }
        world_audit(w);
        world_free(w);
    }
}
