/* SPDX-License-Identifier: BSD-2-Clause */
/* Fills where the processor's modes judge rights: CR0.WP = 0, SMEP, SMAP, and faults that no entry explains.
 */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

TEST(wp0_supervisor_write_flips_a_user_read_only_page)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr0 &= ~CR0_WP_;
    put(w, 4, 7, 0x20000 | P | US | A);
    world_load(w, c);
    CHECK_EQ(user_writes(w, PAGE(7), 1).error, 7);
    CHECK_EQ(user_reads(w, PAGE(7)).exits, 1);
    CHECK_EQ(writes(w, PAGE(7), 1).exits, 1);
    CHECK_EQ(writes(w, PAGE(7), 2).exits, 0);
    CHECK_EQ(get(w, 4, 7), 0x20000 | P | US | A | D);
    CHECK_EQ(user_writes(w, PAGE(7), 3).error, 7);
    CHECK_EQ(user_reads(w, PAGE(7)).exits, 1);
    CHECK_EQ(world_peek(w, 0x20000), 2);
    finish(w);
}

TEST(wp0_upper_read_only_does_not_stop_a_supervisor)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr0 &= ~CR0_WP_;
    put(w, 3, 0, 0x4000 | P | US | A);
    put(w, 4, 7, 0x20000 | HOT);
    world_load(w, c);
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_OK);
    CHECK_EQ(user_writes(w, PAGE(7), 1).error, 7);
    world_mode(w, CR0_PAGED, c.cr4, c.efer);
    CHECK_EQ(writes(w, PAGE(7), 1).error, 3);
    finish(w);
}

TEST(wp0_with_smap_emulates_the_write)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr0 &= ~CR0_WP_;
    c.cr4 |= CR4_SMAP_;
    put(w, 4, 7, 0x20000 | P | US | A | D);
    world_load(w, c);
    CHECK_EQ(writes(w, PAGE(7), 1).error, 3);
    struct world_access a = { .va = PAGE(7), .write = true, .ac = true, .value = 5 };
    CHECK(world_access(w, a).emulated);
    CHECK_EQ(world_peek(w, 0x20000), 5);
    CHECK_EQ(reads(w, PAGE(7)).error, 1);
    finish(w);
}

TEST(smep_and_smap_follow_the_guest)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr4 |= CR4_SMEP_ | CR4_SMAP_;
    put(w, 4, 7, 0x20000 | HOT);
    world_load(w, c);
    CHECK_EQ(user_reads(w, PAGE(7)).outcome, ACCESS_OK);
    CHECK_EQ(executes(w, PAGE(7)).error, 17);
    CHECK_EQ(reads(w, PAGE(7)).error, 1);
    CHECK_EQ(world_access(w, (struct world_access){ .va = PAGE(7), .ac = true }).outcome, ACCESS_OK);
    CHECK_EQ(world_access(w, (struct world_access){ .va = PAGE(7), .ac = true, .implicit = true }).error, 1);
    world_mode(w, c.cr0, CR4_PAE_, c.efer);
    CHECK_EQ(executes(w, PAGE(7)).outcome, ACCESS_OK);
    finish(w);
}

/* At CPL 0 an implicit access with AC set looks like an explicit one, which no entry forbids. */
TEST(smap_implicit_access_at_cpl0_ends_as_guest_fault)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    struct shadow_access a = shadow_access_of_fault((gva_t){ PAGE(7) }, 1, 0, BIT(18), false);
    struct fill_out out;
    uint64_t words[REPLY_OPS_MAX];
    c.cr4 |= CR4_SMAP_;
    put(w, 4, 7, 0x20000 | HOT);
    world_load(w, c);
    user_reads(w, PAGE(7));
    struct shadow_ops ops = { .word = words, .max = REPLY_OPS_MAX };
    CHECK_EQ(shadow_fill(w->s, &a, &out, &ops), FILL_RETRY);
    CHECK_EQ(words[0], OP_FLUSH);
    CHECK_EQ(ops.count, 1);
    CHECK_EQ(shadow_fill(w->s, &a, &out, &ops), FILL_GUEST_FAULT);
    CHECK_EQ(out.error, 1);
    finish(w);
}

/* Only the second in a row says that no flush helped. */
TEST(spurious_faults_with_another_fault_between_are_no_guest_fault)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    struct shadow_access a = shadow_access_of_fault((gva_t){ PAGE(7) }, 1, 0, BIT(18), false);
    struct shadow_access b = shadow_access_of_fault((gva_t){ PAGE(8) }, 0, 0, BIT(18), false);
    struct fill_out out;
    uint64_t words[REPLY_OPS_MAX];
    c.cr4 |= CR4_SMAP_;
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 4, 8, 0);
    world_load(w, c);
    user_reads(w, PAGE(7));
    struct shadow_ops ops = { .word = words, .max = REPLY_OPS_MAX };
    CHECK_EQ(shadow_fill(w->s, &a, &out, &ops), FILL_RETRY);
    CHECK_EQ(shadow_fill(w->s, &b, &out, &ops), FILL_GUEST_FAULT);
    CHECK_EQ(shadow_fill(w->s, &a, &out, &ops), FILL_RETRY);
    finish(w);
}
