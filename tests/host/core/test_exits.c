/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits that run into the page tables of a guest: a long-mode guest of 64 frames, identity mapped by frames 1
 * to 4, its code in frame 16. The test plays the processor: it makes the exit and looks at the answer. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c
#include "check.h"
#include "servers/vmm/core/vmm.h"
#include "tests/host/support/gmem_host.h"
#include <stdlib.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, FRAMES = 64, TABLES = 32, TABLE = 4, CODE = 16, DATA = 32 };

#define CR0_PAGED   (CR0_PE | CR0_WP | CR0_PG)
#define CR0_NO_WP   (CR0_PE | CR0_PG)
#define EFER_LONG   (EFER_LME | EFER_LMA)
#define CODE_64     0xa9b /* present, code, readable, L */
#define ERROR_WRITE 2

struct guest {
    struct vmm v;
    struct gmem *mem;
    void *memory;
    cptr_t tables[TABLES];
    struct vmm_state state;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
};

static void put(const struct guest *g, uint64_t table, uint64_t index, uint64_t entry)
{
    CHECK_EQ(gmem_write64(g->mem, (gpa_t){ (table << PAGE_SHIFT) + index * 8 }, entry), GMEM_OK);
}

static void begin_ops(struct guest *g)
{
    g->reply = (struct umbra_reply_page){ 0 };
    g->v.ops = (struct shadow_ops){ .word = g->reply.ops, .max = REPLY_OPS_MAX };
    g->v.loaded = false;
    g->v.exception = 0;
}

static struct guest *guest_new(uint64_t cr0, uint64_t cr4)
{
    struct guest *g = aligned_alloc(64, (sizeof(*g) + 63) & ~63ul);
    const struct shadow_control control = { cr0, 0x1000, cr4, EFER_LONG };
    struct shadow_tuning tuning = shadow_default_tuning();

    tuning.unsync_born = 0; /* so that writes to tables are emulated */
    *g = (struct guest){ .mem = gmem_host_new(FRAMES),
                         .memory = aligned_alloc(64, shadow_bytes(TABLES, FRAMES)) };
    g->v = (struct vmm){ .state = &g->state, .exit = &g->exit, .reply = &g->reply, .mem = *g->mem };
    g->v.map = (struct gmem_map){ 1, { { { 0 }, { FRAMES }, GMEM_RAM } } };
    for (unsigned i = 0; i < TABLES; i++)
        g->tables[i] = 100 + i;
    const struct shadow_config c = { .mem = &g->v.mem,
                                     .map = &g->v.map,
                                     .tables = g->tables,
                                     .table_count = TABLES,
                                     .phys_bits = 40,
                                     .frames = FRAMES,
                                     .tuning = tuning };
    g->v.shadow = shadow_init(g->memory, &c);
    CHECK(g->v.shadow != NULL);
    for (uint64_t table = 1; table < TABLE; table++)
        put(g, table, 0, (table + 1) << PAGE_SHIFT | P | W | U | A);
    for (uint64_t frame = 0; frame < FRAMES; frame++)
        put(g, TABLE, frame, frame << PAGE_SHIFT | P | W | A | D);
    g->state.cr0 = cr0;
    g->state.cr3 = 0x1000;
    g->state.cr4 = cr4;
    g->state.efer = EFER_LONG;
    g->exit.seg[SEG_CS].attributes = CODE_64;
    g->exit.rip = CODE << PAGE_SHIFT;
    g->exit.rflags = 2;
    begin_ops(g);
    shadow_load(g->v.shadow, &control, &g->v.ops);
    return g;
}

static void guest_free(struct guest *g)
{
    gmem_host_free(g->mem);
    free(g->memory);
    free(g);
}

static void not_undone(struct dev_undo *undo, void *field, size_t bytes)
{
    (void)undo, (void)field, (void)bytes;
}

/* The same guest on nested paging. */
static struct guest *nested_new(void)
{
    struct guest *g = guest_new(CR0_PAGED, CR4_PAE);
    const struct shadow_control control = { CR0_PAGED, 0x1000, CR4_PAE, EFER_LONG };
    const struct shadow_config c = { .mem = &g->v.mem,
                                     .map = &g->v.map,
                                     .tables = g->tables,
                                     .table_count = TABLES,
                                     .phys_bits = 40,
                                     .frames = FRAMES,
                                     .nested = true,
                                     .tuning = shadow_default_tuning() };

    static const struct cpuid_host cpuid;

    g->v.nested = true;
    g->v.cpuid = &cpuid;
    g->v.undo.dev.note = not_undone;
    g->v.shadow = shadow_init(g->memory, &c);
    begin_ops(g);
    shadow_load(g->v.shadow, &control, &g->v.ops);
    return g;
}

static enum vmm_end fault(struct guest *g, uint64_t va, uint64_t error)
{
    begin_ops(g);
    g->exit.kind = EXIT_PAGE;
    g->exit.info[0] = va;
    g->exit.info[1] = error;
    g->exit.gpr[RDI] = va;
    return vmm_page_fault(&g->v);
}

static bool is_table(const struct guest *g, uint64_t frame)
{
    return shadow_is_table(g->v.shadow, (gfn_t){ frame });
}

static void load_root(struct guest *g)
{
    begin_ops(g);
    shadow_cr3(g->v.shadow, 0x1000, &g->v.ops);
}

/* Stores that are not emulated, all to (rdi). */
static const struct {
    const char *name;
    uint8_t code[8];
} wide[] = {
    { "fxsave", { 0x0f, 0xae, 0x07 } },        { "fxsave64", { 0x48, 0x0f, 0xae, 0x07 } },
    { "xsave", { 0x0f, 0xae, 0x27 } },         { "movups", { 0x0f, 0x11, 0x07 } },
    { "movaps", { 0x0f, 0x29, 0x07 } },        { "movntdq", { 0x66, 0x0f, 0xe7, 0x07 } },
    { "vmovups", { 0xc5, 0xfc, 0x11, 0x07 } }, { "fstp m80", { 0xdb, 0x3f } },
};

TEST(wide_store_to_a_table_makes_it_writable_until_it_is_quiet)
{
    for (unsigned i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        /* A table that the store's own translation needs, and one that it does not. */
        for (uint64_t frame = TABLE; frame <= TABLE + 1; frame++) {
            struct guest *g = guest_new(CR0_PAGED, CR4_PAE | CR4_OSFXSR);
            const uint64_t va = (frame << PAGE_SHIFT) + 0x800;
            uint64_t emulated;
            unsigned faults = 0;

            check_note("%s to %u", wide[i].name, (unsigned)frame);
            put(g, 3, 1, (TABLE + 1) << PAGE_SHIFT | P | W | U | A);
            put(g, TABLE + 1, 0, (uint64_t)DATA << PAGE_SHIFT | P | W | A | D);
            gmem_write_bytes(g->mem, (gpa_t){ CODE << PAGE_SHIFT }, wide[i].code, sizeof(wide[i].code));
            CHECK_EQ(fault(g, 0x200000, 0), VMM_RUNS);
            CHECK_EQ(fault(g, (uint64_t)DATA << PAGE_SHIFT, 0), VMM_RUNS);
            CHECK(is_table(g, frame));
            do { /* a table on the way of the store itself is made anew once */
                emulated = g->state.stats.emulated;
                CHECK_EQ(fault(g, va, ERROR_WRITE), VMM_RUNS);
                CHECK_EQ(g->v.exception, 0);
                vmm_cpu_store(&g->v);
                CHECK_EQ(g->reply.groups, 0);
            } while (++faults < 10 && (g->state.stats.emulated != emulated || is_table(g, frame)));
            CHECK_LE(faults, 4);
            CHECK(!is_table(g, frame));
            for (unsigned n = 0; n < 4; n++) {
                load_root(g);
                CHECK_EQ(fault(g, 0x200000, 0), VMM_RUNS);
                CHECK_EQ(fault(g, (uint64_t)DATA << PAGE_SHIFT, 0), VMM_RUNS);
            }
            CHECK(is_table(g, frame));
            guest_free(g);
        }
    }
}

/* CR0.WP = 0 and SMAP: a supervisor's write to a user read-only page is emulated or not done at all. */
TEST(wide_store_that_no_entry_can_serve_ends_the_guest)
{
    struct guest *g = guest_new(CR0_NO_WP, CR4_PAE | CR4_OSFXSR | CR4_SMAP);

    g->exit.rflags |= X86_FLAG_AC;
    put(g, TABLE, DATA, (uint64_t)DATA << PAGE_SHIFT | P | U | A | D);
    gmem_write_bytes(g->mem, (gpa_t){ CODE << PAGE_SHIFT }, wide[0].code, sizeof(wide[0].code));
    CHECK_EQ(fault(g, (uint64_t)DATA << PAGE_SHIFT, ERROR_WRITE), VMM_END_UNKNOWN);
    guest_free(g);
}

/* A page fault exit in the delivery of an event, that the shadow tables alone caused. */
TEST(rule_9_an_event_that_a_fill_broke_off_is_delivered_again_and_an_instructions_own_is_not)
{
    static const struct {
        uint64_t event;
        bool again;
    } row[] = {
        { EVENT_MAKE(0x40, EVENT_INTERRUPT), true },
        { EVENT_MAKE(2, EVENT_NMI), true },
        { EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR | 0x18ull << 32, true },
        { EVENT_MAKE(14, EVENT_EXCEPTION) | EVENT_HAS_ERROR | 2ull << 32, true },
        { EVENT_MAKE(3, EVENT_EXCEPTION), false },  /* INT3 */
        { EVENT_MAKE(4, EVENT_EXCEPTION), false },  /* INTO */
        { EVENT_MAKE(0x80, EVENT_SOFTWARE), false } /* INT n */
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct guest *g = guest_new(CR0_PAGED, CR4_PAE);
        check_note("row %u", i);
        begin_ops(g);
        g->v.interrupted = row[i].event;
        g->exit.info[0] = (uint64_t)DATA << PAGE_SHIFT;
        g->exit.info[1] = ERROR_WRITE;
        CHECK_EQ(vmm_page_fault(&g->v), VMM_RUNS);
        CHECK_LT(0, g->v.ops.count);
        CHECK_EQ(vmm_events(&g->v), VMM_RUNS);
        CHECK_EQ(g->reply.event, row[i].again ? row[i].event : 0);
        guest_free(g);
    }
}

/* .. and one that the guest's own tables cause. */
TEST(rule_9_a_page_fault_of_the_guest_in_a_delivery_is_combined_with_it)
{
    static const struct {
        uint64_t event, vector;
    } row[] = { { EVENT_MAKE(0x40, EVENT_INTERRUPT), 14 },
                { EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR, 14 },
                { EVENT_MAKE(14, EVENT_EXCEPTION) | EVENT_HAS_ERROR, 8 } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct guest *g = guest_new(CR0_PAGED, CR4_PAE);
        begin_ops(g);
        g->v.interrupted = row[i].event;
        g->exit.info[0] = 0x7fff000;
        g->exit.info[1] = ERROR_WRITE;
        CHECK_EQ(vmm_page_fault(&g->v), VMM_RUNS);
        CHECK_EQ(vmm_events(&g->v), VMM_RUNS);
        CHECK_EQ(EVENT_VECTOR(g->reply.event), row[i].vector);
        guest_free(g);
    }
}

/* Compatibility mode: a store to a device whose second half is at address 0, which is not mapped. */
TEST(access_over_the_end_of_4_gb_goes_on_at_0)
{
    static const uint8_t code[] = { 0x89, 0x07 }; /* mov %eax, (%edi) */
    struct guest *g = guest_new(CR0_PAGED, CR4_PAE);

    put(g, 2, 3, 5ull << PAGE_SHIFT | P | W | U | A);
    put(g, 5, 511, 6ull << PAGE_SHIFT | P | W | U | A);
    put(g, 6, 511, (uint64_t)FRAMES << PAGE_SHIFT | P | W | A | D);
    put(g, TABLE, 0, 0);
    gmem_write_bytes(g->mem, (gpa_t){ CODE << PAGE_SHIFT }, code, sizeof(code));
    g->exit.seg[SEG_CS] = (struct umbra_segment){ 8, 0xc9b, 0xffffffff, 0 };
    g->exit.seg[SEG_DS] = (struct umbra_segment){ 16, 0xc93, 0xffffffff, 0xf0000000 };
    begin_ops(g);
    g->exit.info[0] = 0xfffffffe;
    g->exit.info[1] = ERROR_WRITE;
    g->exit.gpr[RDI] = 0x0ffffffe;
    CHECK_EQ(vmm_page_fault(&g->v), VMM_RUNS);
    CHECK_EQ(g->v.exception, EVENT_MAKE(14, EVENT_EXCEPTION) | EVENT_HAS_ERROR | (uint64_t)ERROR_WRITE << 32);
    CHECK_EQ(g->v.cpu.cr2, 0);
    guest_free(g);
}

TEST(nested_fault_of_memory_is_filled_and_of_a_device_emulated)
{
    static const uint8_t code[] = { 0x89, 0x07 }; /* mov %eax, (%rdi) */
    struct guest *g = nested_new();

    put(g, TABLE, FRAMES + 1,
        (FRAMES + 1ull) << PAGE_SHIFT | P | W | A); /* behind the memory: a device, or nothing */
    gmem_write_bytes(g->mem, (gpa_t){ CODE << PAGE_SHIFT }, code, sizeof(code));
    begin_ops(g);
    g->exit.kind = EXIT_NPF;
    g->exit.info[0] = (uint64_t)DATA << PAGE_SHIFT;
    g->exit.info[1] = ERROR_WRITE | U | BIT(32);
    CHECK_EQ(vmm_nested_fault(&g->v), VMM_RUNS);
    CHECK_LT(0, g->v.ops.count);
    CHECK_EQ(g->state.stats.mmio, 0);
    begin_ops(g);
    g->exit.info[0] = (FRAMES + 1ull) << PAGE_SHIFT;
    g->exit.gpr[RDI] = (FRAMES + 1ull) << PAGE_SHIFT;
    CHECK_EQ(vmm_nested_fault(&g->v), VMM_RUNS);
    vmm_cpu_store(&g->v);
    CHECK_EQ(g->v.ops.count, 0);
    CHECK_LT(0, g->state.stats.mmio);
    CHECK_EQ(g->reply.rip, (CODE << PAGE_SHIFT) + sizeof(code));
    CHECK_EQ(g->reply.groups & STATE_CONTROL, 0);
    guest_free(g);
}

/* Control registers go together: an answer that changes CR0 must not take the guest's CR3 from it. */
TEST(answer_with_control_registers_keeps_a_nested_guests_cr3)
{
    static const uint8_t code[] = { 0x0f, 0x22, 0xc0 }; /* mov %rax, %cr0 */
    struct guest *g = nested_new();

    gmem_write_bytes(g->mem, (gpa_t){ CODE << PAGE_SHIFT }, code, sizeof(code));
    begin_ops(g);
    g->exit.kind = EXIT_CR;
    g->exit.gpr[RAX] = CR0_NO_WP | CR0_ET;
    CHECK_EQ(vmm_emulate(&g->v, NULL), VMM_RUNS);
    vmm_cpu_store(&g->v);
    CHECK(g->reply.groups & STATE_CONTROL);
    CHECK_EQ(g->reply.cr0, CR0_NO_WP | CR0_ET);
    CHECK_EQ(g->reply.cr3, 0x1000);
    CHECK_EQ(g->reply.ops[0] & 0xff, OP_FLUSH);
    guest_free(g);
}

TEST(exceptions_in_real_mode_have_no_error_code)
{
    static const uint64_t with_code = EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR | 5ull << 32;

    for (unsigned protected = 0; protected < 2; protected ++) {
        struct guest *g = guest_new(CR0_PAGED, CR4_PAE);
        g->state.cr0 = CR0_ET | (protected ? CR0_PE : 0);
        for (unsigned again = 0; again < 2; again++) { /* raised now, or broken off by this exit */
            begin_ops(g);
            g->v.exception = again ? 0 : with_code;
            g->v.interrupted = again ? with_code : 0;
            CHECK_EQ(vmm_events(&g->v), VMM_RUNS);
            CHECK_EQ(g->reply.event, protected ? with_code : EVENT_MAKE(13, EVENT_EXCEPTION));
        }
        guest_free(g);
    }
}

/* The processor says what the shadow lacks; the guest must be told what its own table lacks. */
TEST(page_fault_of_the_guest_has_its_address_and_its_own_error_code)
{
    static const struct {
        uint64_t entry, error, expected;
    } cases[] = {
        { 0, 0, 0 },
        { 0, ERROR_WRITE, ERROR_WRITE },
        { P | U | A, ERROR_WRITE, P | ERROR_WRITE },
        { P | W | A, U, P | U },
        { P | W | U | A | BIT(51), 0, P | 8 },
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guest *g = guest_new(CR0_PAGED, CR4_PAE);
        const uint64_t va = ((uint64_t)DATA << PAGE_SHIFT) + 0x123;

        check_note("case %u", i);
        g->exit.cpl = cases[i].error & U ? 3 : 0;
        put(g, TABLE, DATA, cases[i].entry ? (uint64_t)DATA << PAGE_SHIFT | cases[i].entry : 0);
        CHECK_EQ(fault(g, va, cases[i].error), VMM_RUNS);
        CHECK_EQ(g->v.exception, EVENT_MAKE(14, EVENT_EXCEPTION) | EVENT_HAS_ERROR | cases[i].expected << 32);
        CHECK_EQ(g->reply.groups, STATE_CR2);
        CHECK_EQ(g->reply.cr2, va);
        guest_free(g);
    }
}
