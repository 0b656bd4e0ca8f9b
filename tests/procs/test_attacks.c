/* SPDX-License-Identifier: BSD-2-Clause */
/* The shapes of published escapes from shadow-paging hypervisors, replayed by a VMM that means harm and its
 * guest.
 *
 * The test plays both, and memmgr, which takes frames from the one VM and gives them to its neighbour. After
 * each attack the neighbour runs on, its memory is as it was, and the kernel's tables are audited.
 * docs/assurance.md, "Attacks", says which line of the kernel stops which;
 * tests/mutants/kernel-attack-*.patch take each away. What is said of others' faults is from their published
 * records; none of their code is here. */
// TIMEOUT: 120
#include "support/vm.h"

#define RW      (RIGHT_READ | RIGHT_WRITE)
#define LONG    SHADOW_LONG
#define SECRET  1000u /* gfn at which the neighbour gets a frame */
#define REFUSED 0x100u
#define STORED  0x6666666666666666ul

static struct vm_test v, other;

/* --- the neighbour --- */

static uint64_t pattern(uint64_t at)
{
    return at * 0x9e3779b97f4a7c15;
}

static void fill_page(struct vm_test *of, uint64_t gfn)
{
    for (uint64_t at = gfn << 12; at < (gfn + 1) << 12; at += 8)
        *(volatile uint64_t *)(of->memory + at) = pattern(at);
}

/* It maps its first pages itself, but for the one that holds its code in place of the pattern. */
static void other_tables(void)
{
    vm_long_tables(&other);
    op(&other, OP_W0(OP_FILL_RUN, RWXU, 0, other.table[5]));
    op(&other, OP_W1_RUN(0, 16));
}

static bool other_runs(void)
{
    for (unsigned i = 0; i < 3; i++) {
        if (vm_reply(&other, NULL) != ERR_OK)
            return false;
        if (other.x->kind == EXIT_ROOT) /* its memory changed, too */
            other_tables();
        else if (other.x->kind != EXIT_HLT)
            return false;
    }
    for (uint64_t at = 0; at < 1u << VM_BITS; at += 8)
        if (at >> 12 != 1 && *(volatile uint64_t *)(other.memory + at) != pattern(at))
            return false;
    return other.x->kind == EXIT_HLT && vm_audit(&other) && vm_audit(&v);
}

/* --- the attacker --- */

/* Its guest stores RAX at [RBX] and halts, again and again. */
static void own_tables(void)
{
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
}

static bool begin(void)
{
    static const uint8_t store[] = { 0x48, 0x89, 0x03, 0xf4, 0xeb, 0xfa }, hlt[] = { 0xf4, 0xeb, 0xfd };

    if (!vm_make_at(&v, 0, 0) || !vm_make_at(&other, 1, 0))
        return false;
    for (uint64_t gfn = 0; gfn < 1u << (VM_BITS - 12); gfn++)
        fill_page(&other, gfn);
    vm_load(&other, 0x1000, hlt, sizeof(hlt));
    vm_load(&v, 0x1000, store, sizeof(store));
    if (vm_recv(&v) != ERR_OK || vm_recv(&other) != ERR_OK)
        return false;
    other_tables();
    vm_long_mode(&other, 0x1000, 0x8000, false);
    own_tables();
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->gpr[RBX] = 0x8000;
    v.r->gpr_mask |= 1u << RBX;
    return vm_reply(&v, NULL) == ERR_OK && v.x->kind == EXIT_HLT && other_runs();
}

/* The operations so far, then a store of the guest to an address: the exit that comes of it. */
static unsigned store_at(uint64_t address)
{
    v.r->groups |= STATE_RIP | STATE_GPRS;
    v.r->rip = 0x1000;
    v.r->gpr[RBX] = address;
    v.r->gpr[RAX] = STORED;
    v.r->gpr_mask |= 1u << RBX | 1u << RAX;
    err_t e = vm_reply(&v, NULL);
    return e == ERR_OK ? v.x->kind : REFUSED + e;
}

static err_t one(uint64_t w0, uint64_t w1, bool has_w1)
{
    op(&v, w0);
    if (has_w1)
        op(&v, w1);
    return vm_reply(&v, NULL);
}

static err_t change(cptr_t space, cptr_t range, unsigned o, unsigned rights, uint64_t pages, uint64_t gfn,
                    uint64_t offset)
{
    return sys_invoke2(space, GUESTSPACE_CHANGE, CHANGE_W0(range, o, rights, pages), CHANGE_W1(gfn, offset));
}

/* The frame at an offset of the attacker's range, which no VM has, becomes the neighbour's. */
static bool give(uint64_t offset)
{
    bool ok = change(other.space, 0, CHANGE_UNMAP, 0, 1, SECRET, 0) == ERR_OK &&
              change(other.space, v.range, CHANGE_MAP, RW, 1, SECRET, offset) == ERR_OK;

    if (ok)
        fill_page(&other, SECRET);
    return ok;
}

static bool take_and_give(uint64_t gfn)
{
    return change(v.space, 0, CHANGE_UNMAP, 0, 1, gfn, 0) == ERR_OK && give(gfn);
}

/* --- what others' kernels did with guests' tables --- */

/* CVE-2026-53359 (KVM, "Januscape"): a shadow page made for a large page of the guest (direct) is taken again
 * for a table of the guest with the same gfn (indirect): the role is not compared. The entry's reverse map is
 * kept under another gfn than it is searched for, and outlives the memory. Here: a table that splinters a
 * large page stays linked and filled while the large page goes and small ones come in its place, one frame of
 * it to the neighbour. */
TEST(a_table_of_a_large_page_serves_no_small_ones_after_it)
{
    CHECK(begin());
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 512, 512, 0));
    CHECK_OK(sys_invoke0(v.level1 + 1, PAGETABLE_UNMAP));
    CHECK_OK(change(v.space, v.range, CHANGE_MAP_2M, RW, 512, 512, 512));
    own_tables();
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[6]));
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[6]);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[6]));
    op(&v, OP_W1_RUN(512, 16));
    CHECK_EQ(store_at(0x200000), EXIT_HLT);
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 512, 512, 0));
    CHECK_OK(sys_invoke3(v.level1 + 1, PAGETABLE_MAP, v.space, 1ul << 21, 1));
    CHECK_OK(change(v.space, v.range, CHANGE_MAP, RW, 8, 512, 520));
    CHECK(give(512));
    CHECK_EQ(store_at(0x200000), EXIT_ROOT);
    own_tables();
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(one(OP_W0(OP_FILL, RWXU, 1, v.table[6]), 513, true), ERR_STALE_TABLE);
    CHECK_EQ(one(OP_W0(OP_LINK, RWXU, 1, v.table[4]), v.table[6], true), ERR_STALE_TABLE);
    CHECK_EQ(store_at(0x200000), EXIT_PAGE);
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[6]));
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[6]);
    CHECK_EQ(store_at(0x200000), EXIT_PAGE); /* it is empty */
    CHECK(other_runs());
}

/* CVE-2026-46113 (KVM): the gfn of an entry of a direct shadow page is computed from the page's own and the
 * index; after a change of the guest's tables behind its back an entry has another gfn, and is not found when
 * that memory goes. Here: entries of any gfn at any place, through two tables; their memory goes while the
 * guest runs on them. */
TEST(an_entry_in_any_place_ends_with_its_memory)
{
    CHECK(begin());
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[6]));
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[6]);
    op(&v, OP_W0(OP_FILL, RWXU, 3, v.table[5]));
    op(&v, 700);
    op(&v, OP_W0(OP_FILL, RWXU, 511, v.table[6]));
    op(&v, 700);
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK_EQ(store_at(0x3ff008), EXIT_HLT);
    CHECK(take_and_give(700));
    CHECK_EQ(store_at(0x3000), EXIT_ROOT);
    CHECK_EQ(store_at(0x3ff008), EXIT_ROOT);
    own_tables();
    CHECK_EQ(store_at(0x3000), EXIT_HLT); /* its page 3 */
    CHECK_EQ(one(OP_W0(OP_FILL, RWXU, 3, v.table[5]), 700, true), ERR_NOT_IN_GUEST);
    CHECK(other_runs());
}

/* A large entry for what is not one large frame: known of both hypervisors in many forms (XSA-148: a writable
 * large page past the checks). Here: one page of 4 KiB at a bound of 2 MB, behind whose frame the neighbour's
 * lies; and a real large page, asked for from its middle. */
TEST(a_large_entry_covers_nothing_but_one_large_frame)
{
    CHECK(begin());
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 512, 512, 0));
    CHECK_OK(change(v.space, v.range, CHANGE_MAP, RW, 1, 512, 512));
    CHECK(give(513));
    own_tables();
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(one(OP_W0(OP_FILL, RWXU | SH_LARGE, 1, v.table[4]), 512, true), ERR_NOT_IN_GUEST);
    CHECK_EQ(one(OP_W0(OP_FILL_RUN, RWXU | SH_LARGE, 1, v.table[4]), OP_W1_RUN(512, 2), true),
             ERR_NOT_IN_GUEST);
    CHECK_EQ(store_at(0x201000), EXIT_PAGE);
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 1, 512, 0));
    CHECK(give(0x300)); /* 513 is free again */
    CHECK_OK(sys_invoke0(v.level1 + 1, PAGETABLE_UNMAP));
    CHECK_EQ(change(v.space, v.range, CHANGE_MAP_2M, RW, 512, 512, 512), ERR_FRAME_BUSY);
    CHECK(other_runs());
}

/* CVE-2021-38198 (KVM): a shadow page is taken for a way of other rights than it was made for, so that an
 * entry is writable which no way allows. Here: memory that became read-only, reached by two ways, of more
 * rights the second. */
TEST(no_way_of_links_makes_an_entry_writable_that_its_frame_is_not)
{
    CHECK(begin());
    *(volatile uint64_t *)(v.memory + 0x9000) = 1;
    CHECK_OK(change(v.space, 0, CHANGE_PROTECT, RIGHT_READ, 1, 9, 0));
    CHECK_EQ(store_at(0x9000), EXIT_ROOT);
    own_tables();
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[5]);
    CHECK_EQ(store_at(0x9000), EXIT_PAGE);
    CHECK_EQ(v.x->info[1] & 3, 3);
    op(&v, OP_W0(OP_LINK, SH_READ, 1, v.table[4]));
    op(&v, v.table[5]);
    op(&v, OP_W0(OP_LINK, RWXU, 1, v.table[4]));
    op(&v, v.table[5]);
    op(&v, OP_W0(OP_FILL, RWXU | SH_DIRTY, 9, v.table[5]));
    op(&v, 9);
    CHECK_EQ(store_at(0x209000), EXIT_PAGE);
    CHECK_EQ(*(volatile uint64_t *)(v.memory + 0x9000), 1);
    CHECK(other_runs());
}

/* CVE-2026-64561 (KVM, "Zapscape"): shadow pages are taken back for want of memory, the root in use among
 * them, and the fault that is being handled goes on to fill it. Here: a VMM in want of tables makes the root
 * in use, the one on the list and each table below into leaf tables, whose entries would be the guest's own
 * pages as tables. */
TEST(a_table_in_use_does_not_become_another_one)
{
    CHECK(begin());
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[6]));
    op(&v, OP_W0(OP_LINK, RWXU, 0, v.table[6]));
    op(&v, v.table[3]);
    op(&v, OP_W0(OP_ROOT_LIST, 0, 0, v.table[6]));
    op(&v, 0x5000);
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    for (unsigned t = 2; t <= 6; t++)
        for (unsigned level = 1; level <= 4; level++)
            CHECK_EQ(one(OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, level), v.table[t]), 0, false), ERR_LINKED);
    op(&v, OP_W0(OP_CLEAR, 0, 0, v.table[2])); /* that may be */
    CHECK_EQ(store_at(0x3000), EXIT_PAGE);
    op(&v, OP_W0(OP_LINK, RWXU, 0, v.table[2]));
    op(&v, v.table[3]);
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK(other_runs());
}

/* XSA-438 (CVE-2023-34322): the reference to the top-level shadow is dropped before the processor has left
 * it; its memory is taken for something else while the guest runs on it. Here: the root in use ends, its
 * memory becomes a frame of the attacker's, full of entries of its own making. */
TEST(a_guest_does_not_go_on_with_a_root_whose_memory_is_other_memory)
{
    CHECK(begin());
    cptr_t memory = new_object(OBJ_UNTYPED, FRAME_4K), frame = new_slot();
    delete_cap(v.table[7]);
    CHECK_OK(sys_retype(IPC, memory, OBJ_SHADOW, 0, SLOT_CNODE, v.table[7], 1));
    CHECK_OK(sys_invoke1(v.table[7], SHADOW_BIND, v.vm));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[7]));
    op(&v, OP_W0(OP_LINK, RWXU, 0, v.table[7]));
    op(&v, v.table[3]);
    op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[7]));
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK_OK(delete_cap(v.table[7]));
    CHECK_OK(sys_retype(IPC, memory, OBJ_FRAME, FRAME_4K, SLOT_CNODE, frame, 1));
    CHECK(map_tables(SLOT_VSPACE, TEST_ADDRESS));
    CHECK_OK(sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, TEST_ADDRESS, RW));
    for (unsigned i = 0; i < 512; i++)
        ((volatile uint64_t *)TEST_ADDRESS)[i] = 0x200007 + i * 0x1000ul;
    CHECK_EQ(store_at(0x3000), EXIT_ROOT);
    own_tables();
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK(other_runs());
}

/* XSA-243 (CVE-2017-15592): a self-linear mapping in a top-level table, through which shadow tables are taken
 * for guests' pages. Here: each table linked below itself and below each other, at the place of a linear
 * mapping. */
TEST(no_table_lies_below_itself)
{
    CHECK(begin());
    for (unsigned above = 2; above <= 5; above++)
        for (unsigned below = 2; below <= 5; below++)
            if (below != above + 1)
                CHECK_EQ(one(OP_W0(OP_LINK, RWXU, 511, v.table[above]), v.table[below], true),
                         ERR_WRONG_LEVEL);
    CHECK_EQ(store_at(0xfffffffffffff000), EXIT_PAGE);
    CHECK_EQ(store_at(0xffffff8000000000), EXIT_PAGE);
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK(other_runs());
}

/* --- memory that changes hands --- */

/* A fault in here goes on at the landing. */
bool touch(volatile uint64_t *at);
extern const char touch_start[], touch_end[], touch_landing[];
__asm__(".globl touch\ntouch:\n touch_start: incq (%rdi)\n touch_end: mov $1, %eax\n ret\n"
        "touch_landing: xor %eax, %eax\n ret\n");

static void touch_begin(void)
{
    sys_invoke3(SLOT_TCB, TCB_SET_FIXUP, (uint64_t)touch_start, touch_end - touch_start,
                (uint64_t)touch_landing);
}

/* XSA-219 (CVE-2017-10915): a write to a table is emulated by an address that was translated before; the
 * frame has no reference meanwhile and may change its owner before the write. Here: a VMM's window, its
 * translation in the processor, while the frame goes to the neighbour; and an instruction on two pages, of
 * which the second has gone. */
TEST(a_write_through_the_window_does_not_follow_its_frame_to_the_neighbour)
{
    CHECK(begin());
    touch_begin();
    volatile uint64_t *at = (volatile uint64_t *)(v.memory + 20 * 4096), *across = at - 1;
    across = (volatile uint64_t *)((uintptr_t)across + 4); /* four bytes on either page */
    CHECK(touch(at) && touch(across));
    CHECK(take_and_give(20));
    CHECK(!touch(at));
    CHECK(!touch(across));
    CHECK(other_runs());
}

/* Reuse of a window: the guest space that it shows ends, another VM's comes to be in the same memory. */
TEST(a_window_does_not_show_the_guest_space_that_comes_after)
{
    CHECK(begin());
    touch_begin();
    cptr_t memory = new_object(OBJ_UNTYPED, BITS_GUESTSPACE), space = new_slot(), view = new_slot(),
           next = new_slot();
    cptr_t range = new_object(OBJ_RANGE, FRAME_4K), tables = new_objects(OBJ_PAGETABLE, 0, 4);
    volatile uint64_t *mine = (volatile uint64_t *)(VM_WINDOW + (2ul << 39)),
                      *its = (volatile uint64_t *)(VM_WINDOW + (3ul << 39));

    for (unsigned turn = 0; turn < 2; turn++) {
        CHECK_OK(sys_retype(IPC, memory, OBJ_GUESTSPACE, 0, SLOT_CNODE, space, 1));
        CHECK_OK(sys_invoke3(tables + 2 * turn, PAGETABLE_MAP, space, 0, 2));
        CHECK_OK(sys_invoke3(tables + 2 * turn + 1, PAGETABLE_MAP, space, 0, 1));
        CHECK_OK(change(space, range, CHANGE_MAP, RW, 1, 0, 0));
        CHECK_OK(sys_invoke2(space, GUESTSPACE_VIEW, turn ? next : view, RW));
        CHECK_OK(sys_invoke2(turn ? next : view, VIEW_MAP, SLOT_VSPACE, (uint64_t)(turn ? its : mine)));
        CHECK(touch(turn ? its : mine));
        if (turn)
            break;
        CHECK_OK(delete_cap(space)); /* and with it the view */
        CHECK(!touch(mine));
        CHECK_OK(sys_invoke0(tables + 1, PAGETABLE_UNMAP)); /* the frame is free */
        CHECK_OK(sys_invoke0(tables, PAGETABLE_UNMAP));
    }
    CHECK(!touch(mine));
    CHECK_EQ(*its, 2); /* each could while it was its own */
    CHECK(other_runs());
}

/* Reuse behind paging-structure caches: a table in the middle is emptied and leads elsewhere in the same
 * answer, with nothing that says flush; then the guest goes by the way that the processor knows. The TLB
 * model of debug kernels (kernel/softtlb.c) stops the machine at an entry that would. */
TEST(a_way_that_leads_elsewhere_is_not_remembered)
{
    CHECK(begin());
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    *(volatile uint64_t *)(v.memory + 0x3000) = 1;
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[6]));
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[6]));
    op(&v, OP_W1_RUN(0, 16));
    op(&v, OP_W0(OP_FILL, RWXU, 3, v.table[6]));
    op(&v, 5);
    op(&v, OP_W0(OP_CLEAR, 0, 0, v.table[4]));
    op(&v, OP_W0(OP_LINK, RWXU, 0, v.table[4]));
    op(&v, v.table[6]);
    CHECK_EQ(store_at(0x3000), EXIT_HLT);
    CHECK_EQ(*(volatile uint64_t *)(v.memory + 0x3000), 1);
    CHECK_EQ(*(volatile uint64_t *)(v.memory + 0x5000), STORED);
    CHECK(other_runs());
}
