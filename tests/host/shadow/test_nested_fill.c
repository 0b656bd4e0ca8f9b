/* SPDX-License-Identifier: BSD-2-Clause */
/* Nested paging: what is filled maps gfn to gfn, the guest walks its own tables, and the library looks at
 * them anew each time. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "tables/setups.h"

/* A shadow MMU of the nested kind in place of the world's own. */
static struct shadow *nested_new(struct world *w, struct shadow_ops *ops)
{
    struct shadow_config c = config_of(w);

    c.nested = true;
    *ops = (struct shadow_ops){ .word = w->words, .max = REPLY_OPS_MAX };
    w->m->format = SHADOW_NESTED;
    return shadow_init(w->memory, &c);
}

TEST(nested_format_maps_gfn_to_gfn)
{
    struct world *w = quiet_world();
    struct shadow_ops ops;
    struct fill_out out;
    struct shadow *s = nested_new(w, &ops);
    shadow_root(s, &ops);
    CHECK_EQ(shadow_fill_nested(s, (gpa_t){ 0x20123 }, true, &out, &ops), FILL_OK);
    CHECK_EQ(shadow_fill_nested(s, (gpa_t){ 0xfee00000 }, true, &out, &ops), FILL_MMIO);
    CHECK(machine_apply(w->m, w->words, ops.count));
    for (uint64_t gfn = 0; gfn < WORLD_RAM; gfn++) {
        struct hw_result r = machine_walk(w->m, gfn << 12);
        CHECK_EQ(r.outcome, HW_OK);
        CHECK_EQ(r.gfn, gfn);
        CHECK_EQ(r.rights & 15, 15);
    }
    CHECK_EQ(shadow_audit(s, NULL, NULL), 0);
    world_free(w);
}

/* A guest in long mode on the world's tables; what fills is nested. */
static struct shadow *nested_start(struct world *w, struct shadow_ops *ops)
{
    const struct shadow_control long_mode = { CR0_PAGED, 0x1000, CR4_PAE_, EFER_LONG | EFER_NXE_ };
    struct shadow *s = nested_new(w, ops);

    shadow_load(s, &long_mode, ops);
    return s;
}

TEST(nested_guest_in_long_mode_is_walked_by_its_own_tables)
{
    struct world *w = quiet_world();
    struct shadow_ops ops;
    struct fill_out out;
    gpa_t at;
    struct shadow *s = nested_start(w, &ops);
    struct shadow_access a = { .va.v = PAGE(7) + 5, .write = true };

    put(w, 4, 7, 0x20000 | P | RW | US);
    put(w, 4, 8, 0x21000 | P | US | NX);
    CHECK(shadow_holds(s, (gva_t){ PAGE(7) + 5 }, &at));
    CHECK_EQ(at.v, 0x20005);
    CHECK_EQ(get(w, 4, 7) & (A | D), 0); /* only looked at */
    CHECK(!shadow_holds(s, (gva_t){ PAGE(9) }, &at));
    CHECK_EQ(shadow_translate(s, &a, true, &out), TRANSLATE_OK);
    CHECK_EQ(out.gpa.v, 0x20005);
    CHECK_EQ(get(w, 4, 7) & (A | D), A | D);
    a.va.v = PAGE(8);
    CHECK_EQ(shadow_translate(s, &a, true, &out), TRANSLATE_FAULT);
    CHECK_EQ(out.error, 3);
    /* its tables are memory like any other: nothing protects them */
    CHECK_EQ(shadow_fill_nested(s, (gpa_t){ 0x4038 }, true, &out, &ops), FILL_OK);
    CHECK(!shadow_is_table(s, (gfn_t){ 4 }));
    CHECK(machine_apply(w->m, w->words, ops.count));
    CHECK_EQ(machine_walk(w->m, 0x4000).rights & 15, 15);
    CHECK_EQ(shadow_audit(s, NULL, NULL), 0);
    world_free(w);
}

TEST(nested_guest_loads_cr3_without_an_operation)
{
    struct world *w = quiet_world();
    struct shadow_ops ops;
    gpa_t at;
    struct shadow *s = nested_start(w, &ops);
    uint32_t before = ops.count;

    put(w, 6, 0, 0x2000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    CHECK_EQ(shadow_cr3(s, 0x6000, &ops), SHADOW_OK);
    CHECK_EQ(ops.count, before);
    CHECK(shadow_holds(s, (gva_t){ PAGE(7) }, &at));
    put(w, 6, 0, 0);
    CHECK(!shadow_holds(s, (gva_t){ PAGE(7) }, &at));
    world_free(w);
}

/* The processor flushes at a load of CR3, but MOV to CR0 and CR4 is emulated. */
TEST(nested_guest_that_changes_mode_is_flushed_and_keeps_its_tables)
{
    struct world *w = quiet_world();
    struct shadow_ops ops;
    struct fill_out out;
    struct shadow *s = nested_start(w, &ops);
    uint64_t cr0 = CR0_PAGED;

    CHECK_EQ(shadow_fill_nested(s, (gpa_t){ 0x20000 }, true, &out, &ops), FILL_OK);
    uint32_t before = ops.count, tables = shadow_in_use(s);
    CHECK_EQ(shadow_mode(s, cr0, CR4_PAE_ | CR4_PGE_, EFER_LONG, &ops), SHADOW_OK);
    CHECK_EQ(ops.count, before + 1);
    CHECK_EQ(w->words[before] & 0xff, OP_FLUSH);
    CHECK_EQ(shadow_mode(s, cr0 | BIT(29), CR4_PAE_ | CR4_PGE_, EFER_LONG, &ops), SHADOW_OK);
    CHECK_EQ(ops.count, before + 1);
    CHECK_EQ(shadow_mode(s, BIT(0), 0, 0, &ops), SHADOW_OK);
    CHECK_EQ(ops.count, before + 2);
    CHECK_EQ(shadow_in_use(s), tables);
    struct shadow_access a = { .va.v = 0x12345 };
    CHECK_EQ(shadow_translate(s, &a, true, &out), TRANSLATE_OK);
    CHECK_EQ(out.gpa.v, 0x12345);
    world_free(w);
}

/* PAE: the four pointers are memory, read at each walk, whatever their reserved bits (APM vol. 2, 15.25.10).
 */
TEST(nested_guest_reads_pae_pointers_at_each_walk)
{
    struct world *w = quiet_world();
    struct shadow_ops ops;
    gpa_t at;
    struct shadow *s = nested_start(w, &ops);

    put(w, 7, 0, 0x3000 | P);
    CHECK_EQ(shadow_cr3(s, 0x7000, &ops), SHADOW_OK);
    CHECK_EQ(shadow_mode(s, BIT(31) | BIT(0), CR4_PAE_, 0, &ops), SHADOW_OK);
    put(w, 4, 7, 0x20000 | HOT);
    CHECK(shadow_holds(s, (gva_t){ PAGE(7) }, &at));
    CHECK_EQ(at.v, 0x20000);
    put(w, 7, 0, 0);
    CHECK(!shadow_holds(s, (gva_t){ PAGE(7) }, &at));
    world_free(w);
}
