/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes of mode: roots and tables that two formats share, pointers that are latched, what a restart keeps.
 */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

static void put32(struct world *w, uint64_t table, uint32_t index, uint32_t value)
{
    gmem_write_bytes(w->mem, (gpa_t){ (table << 12) + index * 4 }, &value, 4);
}

/* Frame 1 is a page directory and the four PDPT entries, frame 2 a page table (of 48 MB on) and a page
 * directory: frames are seen at 48 MB in both modes. */
#define HIGH 0x3000000ull
static struct world *both_world(void)
{
    struct world *w = quiet_world();
    put(w, 1, 0, 0x2000 | P);
    put32(w, 1, HIGH >> 22, 0x2000 | P | RW);
    for (uint32_t i = 0; i < 48; i++)
        put32(w, 2, i, i << 12 | P | RW);
    put(w, 2, HIGH >> 21, 0x3000 | P | RW); /* dwords 48, 49 */
    for (uint32_t i = 0; i < 48; i++) {
        put(w, 3, i, i << 12 | P | RW);
        justify_add(&w->j, HIGH + PAGE(i));
    }
    world_load(w, world_32(0x1000));
    return w;
}

TEST(pae_turned_on_and_off_under_paging)
{
    struct world *w = both_world();
    for (uint32_t n = 0; n < 3; n++) {
        for (uint32_t i = 1; i < 48; i += 5)
            CHECK_EQ(writes(w, HIGH + PAGE(i) + 0x800, n).gpa, PAGE(i) + 0x800);
        world_audit(w);
        world_mode(w, CR0_PAGED, CR4_PAE_ | CR4_PSE_, 0);
        for (uint32_t i = 1; i < 48; i += 3)
            CHECK_EQ(writes(w, HIGH + PAGE(i) + 0x800, n).gpa, PAGE(i) + 0x800);
        CHECK_EQ(reads(w, HIGH + PAGE(48)).outcome, ACCESS_FAULT);
        world_audit(w);
        world_mode(w, CR0_PAGED, CR4_PSE_, 0);
    }
    finish(w);
}

/* A 32-bit directory entry that was used has A, which is reserved in a pointer. */
TEST(pae_is_refused_on_a_directory_that_was_used)
{
    struct world *w = both_world();
    CHECK_EQ(reads(w, HIGH + PAGE(20)).gpa, PAGE(20));
    put(w, 1, 0, 0x2000 | P | A);
    CHECK_EQ(shadow_mode(w->s, CR0_PAGED, CR4_PAE_ | CR4_PSE_, 0, &w->ops), SHADOW_BAD_PDPT);
    CHECK_EQ(w->ops.count, 0);
    CHECK_EQ(reads(w, HIGH + PAGE(20)).exits, 0);
    finish(w);
}

/* Frames 2 and 3 are directories that lead to one page each; the pointers at 20h. */
static struct world *pointers_world(void)
{
    struct world *w = quiet_world();
    for (uint64_t t = 2; t < 4; t++) {
        put(w, t, 0, (t + 4) << 12 | UPPER);
        put(w, t + 4, 0, (t + 0x10) << 12 | HOT);
    }
    world_poke(w, 0x20, 0x2000 | P);
    world_load(w, world_pae(0x20));
    return w;
}

TEST(pointers_are_loaded_by_the_control_bits_that_the_manual_names)
{
    static const struct {
        uint64_t cr0, cr4, efer;
        bool load;
    } row[] = {
        { .cr0 = BIT(30), .load = true },           /* CD */
        { .cr0 = BIT(30) | BIT(29), .load = true }, /* CD, NW */
        { .cr4 = CR4_PGE_, .load = true },
        { .cr4 = CR4_PSE_, .load = true },
        { .cr4 = CR4_SMEP_, .load = true },
        { .cr4 = CR4_SMEP_ | CR4_SMAP_, .load = true },
        { .cr0 = CR0_WP_ },
        { .cr0 = BIT(3) }, /* TS */
        { .cr4 = CR4_SMAP_ },
        { .cr4 = BIT(9) }, /* OSFXSR */
        { .efer = EFER_NXE_ },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct world *w = pointers_world();
        check_note("row %u", i);
        CHECK_EQ(reads(w, 0).gpa, 0x12000);
        world_dma(w, 0x20, 8, 0x3000 | P);
        CHECK_EQ(reads(w, 0).gpa, 0x12000);
        world_mode(w, CR0_PAGED ^ row[i].cr0, CR4_PAE_ ^ row[i].cr4, EFER_NXE_ ^ row[i].efer);
        CHECK_EQ(world_access(w, (struct world_access){ .va = 0, .ac = true }).gpa,
                 row[i].load ? 0x13000 : 0x12000);
        CHECK_EQ(shadow_pdptes(w->s)[0], (row[i].load ? 0x3000 : 0x2000) | P);
        world_cr3(w, 0x20);
        CHECK_EQ(world_access(w, (struct world_access){ .va = 0, .ac = true }).gpa, 0x13000);
        finish(w);
    }
}

/* Every bit of a pointer: what is reserved is refused, and everything stays as it was. */
TEST(pointers_with_reserved_bits_are_refused)
{
    for (uint32_t bit = 1; bit < 64; bit++) {
        struct world *w = pointers_world();
        bool good = bit == 3 || bit == 4 || (bit >= 9 && bit < 40);
        check_note("bit %u", bit);
        CHECK_EQ(reads(w, 0).gpa, 0x12000);
        world_dma(w, 0x28, 8, BIT(bit) | P);
        world_dma(w, 0x20, 8, 0x3000 | P);
        w->ops.count = 0;
        if (!good) {
            CHECK_EQ(shadow_cr3(w->s, 0x20, &w->ops), SHADOW_BAD_PDPT);
            CHECK_EQ(shadow_mode(w->s, CR0_PAGED, CR4_PAE_ | CR4_PGE_, EFER_NXE_, &w->ops), SHADOW_BAD_PDPT);
            CHECK_EQ(w->ops.count, 0);
        } else {
            world_cr3(w, 0x20);
        }
        CHECK_EQ(reads(w, 0).gpa, good ? 0x13000 : 0x12000);
        world_dma(w, 0x28, 8, BIT(bit)); /* not present: nothing is reserved */
        world_cr3(w, 0x20);
        CHECK_EQ(reads(w, 0).gpa, 0x13000);
        finish(w);
    }
}

/* A VMM that takes over has the pointers, not the memory that they came from. */
TEST(pointers_are_handed_over)
{
    struct world *w = pointers_world();
    struct shadow_control c = world_pae(0x20);
    uint64_t kept[4];

    CHECK_EQ(reads(w, 0).gpa, 0x12000);
    for (unsigned i = 0; i < 4; i++)
        kept[i] = shadow_pdptes(w->s)[i];
    world_poke(w, 0x20, 0x3000 | P | RW); /* not even good */
    machine_new_epoch(w->m);
    shadow_reset(w->s);
    w->ops = (struct shadow_ops){ .word = w->words, .max = REPLY_OPS_MAX };
    shadow_resume(w->s, &c, kept, &w->ops);
    CHECK(machine_apply(w->m, w->words, w->ops.count));
    CHECK_EQ(reads(w, 0).gpa, 0x12000);
    finish(w);
}

/* The same tables read with NX reserved and with NX meant: the shadows of the one do not serve the other. */
TEST(nxe_off_makes_nx_a_reserved_bit)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT | NX);
    put(w, 3, 2, 0x4000 | UPPER | NX);
    start(w);
    for (uint32_t n = 0; n < 3; n++) {
        CHECK_EQ(reads(w, PAGE(7)).gpa, 0x20000);
        CHECK_EQ(executes(w, PAGE(7)).error, 17);
        world_mode(w, CR0_PAGED, CR4_PAE_, EFER_LONG);
        CHECK_EQ(reads(w, PAGE(7)).error, 9);
        CHECK_EQ(reads(w, 0x400000 + PAGE(7)).error, 9);
        world_mode(w, CR0_PAGED, CR4_PAE_, EFER_LONG | EFER_NXE_);
    }
    finish(w);
}

/* Real mode, too, is paged mode in hardware: the same tables as those of unpaged protected mode. */
TEST(real_and_unpaged_mode_share_their_tables)
{
    struct world *w = world_new(128, NULL, 1, 600);
    justify_add(&w->j, PAGE(3));
    world_load(w, (struct shadow_control){ 0, 0, 0, 0 });
    CHECK_EQ(writes(w, PAGE(3), 1).exits, 1);
    world_mode(w, BIT(0), 0, 0);
    CHECK_EQ(writes(w, PAGE(3), 2).exits, 0);
    world_mode(w, 0, CR4_PAE_, 0);
    CHECK_EQ(writes(w, PAGE(3), 3).exits, 0);
    CHECK_EQ(user_writes(w, PAGE(3), 4).exits, 0); /* V86's CPL means nothing without paging */
    finish(w);
}
