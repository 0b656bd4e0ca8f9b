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
