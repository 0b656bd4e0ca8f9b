/* SPDX-License-Identifier: BSD-2-Clause */
/* What happened between two exits is known with the second one: a root that the kernel lost, loads of CR3
 * that it served, an interrupt; and the segments that an exit came without, where they are needed. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c tests/host/core/rig.c
#include "rig.h"

#include "servers/vmm/policy/cr.h"

#include <string.h>

/* A root of the current epoch that the kernel lost is set again. */
TEST(exit_root_in_the_same_epoch_sets_the_root_again)
{
    struct rig *r = rig_new();

    set_exit(r, EXIT_ROOT);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    bool root = false;
    for (unsigned i = 0; i < r->reply.op_words; i++)
        root = root || (r->reply.ops[i] & 0xff) == OP_SET_ROOT;
    CHECK(root);
    rig_free(r);
}

/* mov cr3, rax, handled by the VMM. */
static void load_cr3(struct rig *r, uint64_t value)
{
    set_exit(r, EXIT_CR);
    r->exit.gpr[RAX] = value;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->segment.state.cr3, value);
}

/* A load that the kernel served is, with the next exit, as if the VMM had handled it: the fault that comes is
 * answered by the same operations on the tables of the same root. */
TEST(a_load_that_the_kernel_served_is_known_with_the_next_exit)
{
    static const uint8_t code[16] = { 0x0f, 0x22, 0xd8 };
    struct umbra_reply_page answer[2];

    for (unsigned served = 0; served < 2; served++) {
        struct rig *r = rig_new();
        put(r, 0x8008, 0x9027); /* only under the second root: 512 GB on */
        put(r, 0x9000, 0x3027);
        CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, code, sizeof(code)), GMEM_OK);
        fetch_page(r, CODE);
        load_cr3(r, 0x8000);
        load_cr3(r, 0x1000);
        if (!served)
            load_cr3(r, 0x8000);
        set_exit(r, EXIT_PAGE);
        r->exit.info[0] = BIT(39) + DATA;
        r->exit.cr3_loads = 3 * served;
        r->exit.cr3 = served ? 0x8000 : 0x1234000; /* means nothing without loads */
        memset(&r->reply, 0, sizeof(r->reply));
        CHECK_EQ(handle(&r->vmm), VMM_RUNS);
        answer[served] = r->reply;
        CHECK_EQ(r->segment.state.cr3, 0x8000);
        CHECK_EQ(r->segment.state.stats.cr3_served, 3 * served);
        CHECK_EQ(r->segment.state.stats.exits[EXIT_CR], served ? 5 : 3);
        CHECK_EQ(shadow_audit(r->vmm.shadow, NULL, NULL), 0);
        rig_free(r);
    }
    CHECK_LT(0, answer[0].op_words);
    CHECK_EQ(answer[0].event, 0);
    CHECK_EQ(answer[0].event, answer[1].event);
    CHECK_EQ(answer[0].op_words, answer[1].op_words);
    CHECK_MEM_EQ(answer[0].ops, answer[1].ops, 8 * answer[0].op_words);
}

static void lapic_set(struct rig *r, uint64_t reg, uint32_t value)
{
    machine_write(&r->segment.state.machine, &r->vmm.undo.dev, 1000, (gpa_t){ LAPIC_BASE + reg },
                  (const uint8_t *)&value, 4);
}

/* That nothing waits is remembered from exit to exit, until the machine has something to say. */
TEST(interrupt_that_comes_when_none_waited_is_injected)
{
    struct rig *r = rig_new();

    put(r, CODE, 0xa20f);
    fetch_page(r, CODE);
    for (unsigned i = 0; i < 3; i++) {
        set_exit(r, EXIT_CPUID);
        CHECK_EQ(handle(&r->vmm), VMM_RUNS);
        CHECK_EQ(r->reply.event, 0);
    }
    lapic_set(r, 0xf0, 0x1ff);
    lapic_set(r, 0x300, 0x40041); /* to itself */
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.event, EVENT_MAKE(0x41, EVENT_INTERRUPT));
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.event, 0);
    rig_free(r);
}

/* --- exits that come without segments --- */

static struct rig *synced;
static unsigned syncs;

static void count_sync(void)
{
    syncs++;
    synced->exit.seg[SEG_FS].base = DATA;
    synced->exit.valid |= STATE_SEGMENTS;
}

TEST(segments_are_asked_for_where_the_emulator_needs_them)
{
    static const uint8_t out[] = { 0x64, 0x6e }; /* outsb from FS:[RSI] */
    struct rig *r = synced = rig_new();

    r->vmm.sync = count_sync;
    syncs = 0;
    put(r, CODE, 0xa20f);
    put(r, DATA + 0x10, 0x5a);
    fetch_page(r, CODE);
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(syncs, 0);
    CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, out, sizeof(out)), GMEM_OK);
    set_exit(r, EXIT_IO);
    r->exit.gpr[RDX] = 0x70;
    r->exit.gpr[RSI] = 0x10;
    r->exit.info[0] = 0x70 << 16 | 1 << 4 | EXIT_IO_STRING;
    r->exit.info[1] = CODE + 2;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(r->segment.state.machine.cmos.index, 0x5a);
    CHECK(!(r->reply.groups & STATE_SEGMENTS));
    rig_free(r);
}

/* Outside of long mode every exit is the emulator's: none is spared. */
TEST(kinds_without_segments_are_asked_for_in_long_mode_only)
{
    struct rig *r = rig_new();

    r->vmm.sync = count_sync;
    vmm_set_want(&r->vmm, 0);
    CHECK_EQ(r->reply.want, STATE_SEGMENTS);
    CHECK_EQ(r->reply.spare, 0);
    vmm_set_want(&r->vmm, EFER_LME | EFER_LMA);
    CHECK_EQ(r->reply.want, STATE_SEGMENTS);
    CHECK(r->reply.spare & 1u << EXIT_PAGE);
    CHECK_EQ(r->reply.spare & (1u << EXIT_MSR | 1u << EXIT_DR | 1u << EXIT_INSTRUCTION | 1u << EXIT_BROKEN),
             0);
    rig_free(r);
}
