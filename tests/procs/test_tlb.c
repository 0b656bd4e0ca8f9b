/* SPDX-License-Identifier: BSD-2-Clause */
/* Guests that run before and after everything that makes translations go. The tests look at little: a debug
 * kernel's TLB model (kernel/softtlb.h) stops the machine at an entry without the flush that it owes, and
 * KERNEL_AUDIT says whether the model was told of every change. */
#include "support/vm.h"

#define LONG SHADOW_LONG

static const uint8_t hlt[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp back */

static uint64_t counted(enum tlb_count which)
{
    struct sys_message m = { .tag = TAG(KERNEL_TLB, 0) };

    if (sys_call(SLOT_KERNEL, &m) != ERR_OK)
        return UINT64_MAX;
    return which < MSG_REGISTERS ? m.w[which] : IPC->words[which];
}

/* Root 2 (tables 2..5): 16 pages 1:1. */
static void first_root(struct vm_test *v)
{
    vm_long_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 16));
}

/* Root 6 beside it: the same, and everything below its first entry is root 2's. */
static void second_root(struct vm_test *v)
{
    op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v->table[6]));
    op(v, OP_W0(OP_LINK, RWXU, 0, v->table[6]));
    op(v, v->table[3]);
}

/* The answer, which must lead to the next HLT. */
static bool runs(struct vm_test *v)
{
    return vm_reply(v, NULL) == ERR_OK && v->x->kind == EXIT_HLT;
}

static bool begin(struct vm_test *v)
{
    if (!vm_make(v))
        return false;
    vm_load(v, 0x1000, hlt, sizeof(hlt));
    if (vm_recv(v) != ERR_OK)
        return false;
    first_root(v);
    second_root(v);
    vm_long_mode(v, 0x1000, 0x8000, false);
    return runs(v) && vm_audit(v);
}

static void downgrade(struct vm_test *v, cptr_t table, unsigned rights, uint64_t mask)
{
    op(v, OP_W0(OP_DOWNGRADE, rights, 0, table));
    op(v, mask);
    for (unsigned i = 0; i < 7; i++)
        op(v, 0);
}

static void fill(struct vm_test *v, unsigned rights, unsigned index, uint64_t gfn)
{
    op(v, OP_W0(OP_FILL, rights, index, v->table[5]));
    op(v, gfn);
}

TEST(entries_are_judged_and_their_flushes_counted)
{
    struct vm_test v;

    CHECK(begin(&v));
    uint64_t entries = counted(TLB_ENTRIES), begun = counted(TLB_BEGUN), losses = counted(TLB_LOSSES);
    CHECK(runs(&v));
    CHECK(counted(TLB_ENTRIES) - entries >= boot->debug); /* interrupts of the host bring more */
    CHECK_EQ(counted(TLB_BEGUN), begun);
    fill(&v, SH_READ, 9, 9);
    CHECK(runs(&v));
    CHECK_EQ(counted(TLB_BEGUN), begun + boot->debug);
    CHECK_EQ(counted(TLB_LOSSES), losses + boot->debug);
    CHECK(runs(&v));
    CHECK_EQ(counted(TLB_BEGUN), begun + boot->debug);
    uint64_t needless = counted(TLB_NEEDLESS);
    op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
    CHECK(runs(&v));
    CHECK_EQ(counted(TLB_NEEDLESS), needless + boot->debug);
    CHECK(vm_audit(&v));
}

/* Of each operation that takes away, at a leaf and above one. */
TEST(a_guest_runs_on_after_entries_became_less)
{
    struct vm_test v;

    CHECK(begin(&v));
    for (unsigned step = 0; step < 14; step++) {
        switch (step % 7) {
        case 0:
            fill(&v, SH_READ, 9, 9);
            break;
        case 1:
            fill(&v, RWXU, 9, 10 + step);
            break;
        case 2:
            downgrade(&v, v.table[5], SH_READ, BIT(8) | BIT(9));
            break;
        case 3:
            downgrade(&v, v.table[5], 0, BIT(9));
            break;
        case 4: /* all of it, but not what the guest stands on */
            op(&v, OP_W0(OP_CLEAR, 0, 0, v.table[5]));
            op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
            op(&v, OP_W1_RUN(0, 16));
            break;
        case 5:
            fill(&v, RWXU & ~SH_EXEC, 9, 9);
            break;
        default:
            op(&v, OP_W0(OP_LINK, SH_READ | SH_EXEC, 0, v.table[4]));
            op(&v, v.table[5]);
            break;
        }
        CHECK(runs(&v));
        CHECK(runs(&v));
        CHECK(vm_audit(&v));
    }
}

/* What was lost while another root ran is owed at each one's next entry. */
TEST(roots_that_come_back_owe_what_was_lost_meanwhile)
{
    struct vm_test v;
    bool listed = false;

    CHECK(begin(&v));
    for (unsigned turn = 0; turn < 40; turn++) { /* more than the emulator has ASIDs */
        if (turn == 20) {
            for (unsigned i = 0; i < 2; i++) {
                op(&v, OP_W0(OP_ROOT_LIST, 0, i, v.table[i ? 6 : 2]));
                op(&v, 0x5000 + i * 0x1000);
            }
            listed = true;
        }
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[turn & 1 ? 6 : 2]));
        if (turn % 3 == 0)
            fill(&v, turn & 4 ? SH_READ : RWXU, 9, 9 + turn % 5);
        CHECK(runs(&v));
    }
    CHECK(listed);
    CHECK(vm_audit(&v));
}

static uint64_t flushes(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? IPC->words[COUNT_FLUSHES] : UINT64_MAX;
}

/* Roots that no list has, one after the other; then one of them is listed. A flush that is asked for is made
 * for the present one. */
TEST(two_roots_in_turn_keep_their_translations_if_nothing_is_lost)
{
    struct vm_test v;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[6]));
    CHECK(runs(&v));
    for (unsigned listed = 0; listed < 2; listed++) {
        if (listed) {
            op(&v, OP_W0(OP_ROOT_LIST, 0, 0, v.table[2]));
            op(&v, 0x5000);
            op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]));
            CHECK(runs(&v));
        }
        uint64_t before = flushes();
        for (unsigned turn = 0; turn < 8; turn++) {
            op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[turn & 1 ? 6 : 2]));
            CHECK(runs(&v));
        }
        CHECK_EQ(flushes(), before);
        op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
        CHECK(runs(&v));
        CHECK_EQ(flushes(), before + 1);
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]));
        CHECK(runs(&v));
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[6]));
        CHECK(runs(&v));
        CHECK_EQ(flushes(), before + 1);
        fill(&v, SH_READ, 9, 9 + listed); /* owed by both */
        CHECK(runs(&v));
        CHECK_EQ(flushes(), before + 2);
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]));
        CHECK(runs(&v));
        CHECK_EQ(flushes(), before + 3);
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[6]));
        CHECK(runs(&v));
        CHECK_EQ(flushes(), before + 3);
    }
    CHECK(vm_audit(&v));
}

/* The same for roots that the kernel enters by itself. */
TEST(served_roots_owe_what_was_lost_meanwhile)
{
    /* mov %rax, %cr3; hlt; mov %rcx, %cr3; hlt; jmp back */
    static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0xf4, 0x0f, 0x22, 0xd9, 0xf4, 0xeb, 0xf6 };
    struct vm_test v;

    CHECK(begin(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    for (unsigned i = 0; i < 2; i++) {
        op(&v, OP_W0(OP_ROOT_LIST, 0, i, v.table[i ? 6 : 2]));
        op(&v, 0x5000 + i * 0x1000);
    }
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->gpr_mask |= 1u << RAX | 1u << RCX;
    v.r->gpr[RAX] = 0x6000;
    v.r->gpr[RCX] = 0x5000;
    uint64_t loads = 0;
    for (unsigned turn = 0; turn < 24; turn++) {
        CHECK(runs(&v));
        loads += v.x->cr3_loads;
        vm_skip(&v, 1);
        if (turn % 3 == 2)
            fill(&v, turn & 4 ? SH_READ : RWXU, 9, 9 + turn % 5);
    }
    CHECK_EQ(loads, 24);
    CHECK(vm_audit(&v));
}

/* Memory taken, narrowed, harvested, an epoch that ends by itself; tables made anew, on the same frames. */
/* An answer that asks for the window where it is open already is not followed by an entry: what it owed is
 * owed by the next one, be it that the processor has no ASID left (16 under QEMU) and all must go. */
TEST(what_an_entry_owes_that_did_not_come_is_owed_by_the_next)
{
    struct vm_test v;

    CHECK(begin(&v));
    for (unsigned n = 0; n < 40; n++) {
        for (unsigned k = 0; k < n % 20; k++) {
            v.r->groups = STATE_RFLAGS;
            v.r->rflags = 0x202;
            v.r->flags = REPLY_WINDOW;
            op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
            CHECK_OK(vm_reply(&v, NULL));
            CHECK_EQ(v.x->kind, EXIT_WINDOW);
        }
        fill(&v, RWXU, 9, 9 + n % 2);
        CHECK(runs(&v));
    }
    CHECK(vm_audit(&v));
}

TEST(a_guest_runs_on_new_tables_after_its_memory_changed)
{
    struct vm_test v;

    CHECK(begin(&v));
    for (unsigned step = 0; step < 8; step++) {
        struct sys_message renew = { .tag = TAG(VM_RENEW, 0) };
        switch (step & 3) {
        case 0:
            CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_UNMAP, 0, 2),
                                 CHANGE_W1(20 + step, 0)));
            break;
        case 1:
            CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 1),
                                 CHANGE_W1(14 + step / 4, 0)));
            break;
        case 2:
            CHECK_OK(sys_invoke2(v.space, GUESTSPACE_HARVEST, 0, 1));
            break;
        default:
            CHECK_OK(sys_call(v.vm, &renew));
            break;
        }
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_ROOT);
        first_root(&v);
        second_root(&v);
        CHECK(runs(&v));
        op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[6]));
        CHECK(runs(&v));
        CHECK(vm_audit(&v));
    }
}

TEST(a_guest_runs_on_after_a_linked_table_ended)
{
    struct vm_test v;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[7]));
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[7]);
    CHECK(runs(&v));
    CHECK_OK(delete_cap(v.table[7]));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    first_root(&v);
    CHECK(runs(&v));
    CHECK_OK(delete_cap(v.table[8])); /* one that nothing ever led to */
    CHECK(runs(&v));
    CHECK(vm_audit(&v));
}

/* The VM gets other memory; a table that it had linked before goes while it runs on new ones. */
TEST(a_guest_runs_on_after_a_table_of_its_memory_before_ended)
{
    struct vm_test v, w;

    CHECK(vm_make_at(&w, 1, 0));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, w.space));
    CHECK(begin(&v));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, v.space));
    CHECK_OK(sys_invoke1(v.vm, VM_BIND, w.space));
    CHECK_OK(sys_invoke2(w.space, GUESTSPACE_VIEW, w.window, RIGHT_READ | RIGHT_WRITE));
    CHECK_OK(sys_invoke2(w.window, VIEW_MAP, SLOT_VSPACE, (uint64_t)w.memory));
    vm_load(&w, 0x1000, hlt, sizeof(hlt));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    for (unsigned i = 0; i < 4; i++)
        op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4 - i), v.table[8 + i]));
    for (unsigned i = 0; i < 3; i++) {
        op(&v, OP_W0(OP_LINK, RWXU, 0, v.table[8 + i]));
        op(&v, v.table[9 + i]);
    }
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[11]));
    op(&v, OP_W1_RUN(0, 16));
    op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[8]));
    CHECK(runs(&v));
    CHECK_OK(delete_cap(v.table[5]));
    CHECK(runs(&v));
    CHECK(vm_audit(&v));
}

/* The four pointers of PAE are no table's entries. */
TEST(a_pointer_of_a_pae_root_that_goes_is_a_loss)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, hlt, sizeof(hlt));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    vm_real_mode(&v, 0x1000);
    CHECK(runs(&v));
    for (unsigned i = 0; i < 6; i++) {
        op(&v, OP_W0(OP_SET_ROOT, 0, 1 + i % 3, i < 3 ? v.table[0] : 0));
        CHECK(runs(&v));
    }
    CHECK(vm_audit(&v));
}
