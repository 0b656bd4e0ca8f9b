/* SPDX-License-Identifier: BSD-2-Clause */
/* GuestSpaces, MemoryRanges and Views as objects: every refusal, and memory that goes in any order. */
#include "support/vm.h"

#define RW    (RIGHT_READ | RIGHT_WRITE)
#define LARGE (1u << 21)

static err_t change(cptr_t space, cptr_t range, unsigned op, unsigned rights, uint64_t pages, uint64_t gfn,
                    uint64_t offset)
{
    return sys_invoke2(space, GUESTSPACE_CHANGE, CHANGE_W0(range, op, rights, pages), CHANGE_W1(gfn, offset));
}

static err_t map(cptr_t space, cptr_t range, uint64_t gfn)
{
    return change(space, range, CHANGE_MAP, RW, 1, gfn, 0);
}

/* Tables for the 2 MB at gfn, of levels 2 and 1; the level-1 table. */
static cptr_t tables(cptr_t space, uint64_t gfn)
{
    cptr_t t = new_objects(OBJ_PAGETABLE, 0, 2);

    sys_invoke3(t, PAGETABLE_MAP, space, gfn >> 18 << 30, 2);
    return sys_invoke3(t + 1, PAGETABLE_MAP, space, gfn >> 9 << 21, 1) == ERR_OK ? t + 1 : 0;
}

/* -1: nothing is mapped there. */
static uint64_t frame_at(cptr_t space, uint64_t gfn)
{
    uint64_t hfn = 0;
    return sys_invoke(SLOT_KERNEL, KERNEL_FRAMES, 3, space, gfn, 1, 0, &hfn) == ERR_OK ? hfn : 0;
}

static uint64_t epoch_of(cptr_t vm)
{
    uint64_t epoch = 0;
    sys_invoke(vm, VM_STATUS, 0, 0, 0, 0, 0, &epoch);
    return epoch;
}

struct refused_change {
    cptr_t range;
    uint64_t op, rights, pages, gfn, offset;
    err_t error;
};

TEST(changes_are_refused_with_an_error_of_their_own)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), r = new_object(OBJ_RANGE, 21),
           other = new_object(OBJ_RANGE, 21);
    cptr_t none = new_slot(), crooked = new_object(OBJ_RANGE, 20), skewed = new_object(OBJ_RANGE, 20);

    CHECK(g && r && other && crooked && skewed && tables(g, 0) && tables(g, 512));
    CHECK_OK(change(g, r, CHANGE_MAP, RW, 2, 4, 0));
    const struct refused_change list[] = {
        { r, 0, RW, 1, 0, 8, ERR_BAD_OPERATION },
        { r, CHANGE_MAP_2M + 1, RW, 1, 0, 8, ERR_BAD_OPERATION },
        { r, 15, RW, 1, 0, 8, ERR_BAD_OPERATION },
        { r, CHANGE_MAP, RW, 0, 0, 8, ERR_RANGE },
        { r, CHANGE_MAP, RW, CHANGE_PAGES_MAX + 1, 0, 0, ERR_RANGE },
        { r, CHANGE_MAP, RW, 0xffffff, 0, 0, ERR_RANGE },
        { r, CHANGE_MAP, RW, 1, GUEST_FRAMES_MAX, 8, ERR_RANGE },
        { r, CHANGE_MAP, RW, 2, GUEST_FRAMES_MAX - 1, 8, ERR_RANGE },
        { r, CHANGE_MAP, RW, 1, 0, 512, ERR_RANGE },
        { r, CHANGE_MAP, RW, 2, 0, 511, ERR_RANGE },
        { r, CHANGE_MAP, RW, 1, 0, 0xffffffff, ERR_RANGE },
        { r, CHANGE_MAP, 0, 1, 0, 8, ERR_NO_RIGHT },
        { r, CHANGE_MAP, RIGHT_WRITE, 1, 0, 8, ERR_NO_RIGHT },
        { none, CHANGE_MAP, RW, 1, 0, 8, ERR_NO_CAP },
        { g, CHANGE_MAP, RW, 1, 0, 8, ERR_WRONG_TYPE },
        { r, CHANGE_MAP, RW, 1, 0, 0, ERR_FRAME_BUSY },
        { r, CHANGE_MAP, RW, 1, 2048, 8, ERR_NO_TABLE },
        { r, CHANGE_MAP, RW, 1, 1ul << 18, 8, ERR_NO_TABLE },
        { r, CHANGE_MAP, RW, 1, 4, 8, ERR_ALREADY_MAPPED },
        { r, CHANGE_MAP, RW, 4, 2, 8, ERR_ALREADY_MAPPED },
        { 0, CHANGE_UNMAP, 0, 0, 0, 0, ERR_RANGE },
        { 0, CHANGE_UNMAP, 0, 1, GUEST_FRAMES_MAX, 0, ERR_RANGE },
        { 0, CHANGE_UNMAP, 0, CHANGE_PAGES_MAX + 1, 0, 0, ERR_RANGE },
        { 0, CHANGE_PROTECT, RW, 1, GUEST_FRAMES_MAX, 0, ERR_RANGE },
        { 0, CHANGE_PROTECT, RIGHT_WRITE, 1, 4, 0, ERR_NO_RIGHT },
        { 0, CHANGE_PROTECT, 0, 1, 4, 0, ERR_NO_RIGHT },
        { other, CHANGE_MAP_2M, RW, 512, GUEST_FRAMES_MAX, 0, ERR_RANGE },
        { other, CHANGE_MAP_2M, RW, 512, 1024, 512, ERR_RANGE },
        { crooked, CHANGE_MAP_2M, RW, 512, 1024, 0, ERR_RANGE },
        { other, CHANGE_MAP_2M, RW, 511, 1024, 0, ERR_ALIGNMENT },
        { other, CHANGE_MAP_2M, RW, 512, 1025, 0, ERR_ALIGNMENT },
        { other, CHANGE_MAP_2M, RW, 512, 1024, 1, ERR_ALIGNMENT },
        { other, CHANGE_MAP_2M, RIGHT_WRITE, 512, 1024, 0, ERR_NO_RIGHT },
        { none, CHANGE_MAP_2M, RW, 512, 1024, 0, ERR_NO_CAP },
        { g, CHANGE_MAP_2M, RW, 512, 1024, 0, ERR_WRONG_TYPE },
        { r, CHANGE_MAP_2M, RW, 512, 1024, 0, ERR_FRAME_BUSY },
        { other, CHANGE_MAP_2M, RW, 512, 1ul << 18, 0, ERR_NO_TABLE },
        { other, CHANGE_MAP_2M, RW, 512, 0, 0, ERR_ALREADY_MAPPED },
    };
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        const struct refused_change *c = &list[i];
        err_t e = change(g, c->range, c->op, c->rights, c->pages, c->gfn, c->offset);
        if (e != c->error)
            print_number("# change ", i, " of the list\n");
        CHECK_EQ(e, c->error);
    }
    CHECK_EQ(sys_invoke(g, GUESTSPACE_CHANGE, 3, CHANGE_W0(0, CHANGE_UNMAP, 0, 1), 0, 0, 0, NULL),
             ERR_SHORT_MESSAGE);
    CHECK_EQ(frame_at(g, 0), UINT64_MAX);
}

/* Two lists of 256 pages are 512, one more is too much; the first stands. */
TEST(change_stops_at_the_limit_of_a_call_and_counts)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), r = new_object(OBJ_RANGE, 22);
    uint64_t done;

    CHECK(tables(g, 0) && tables(g, 512));
    CHECK_EQ(sys_invoke(g, GUESTSPACE_CHANGE, 4, CHANGE_W0(r, CHANGE_MAP, RW, 300), CHANGE_W1(0, 0),
                        CHANGE_W0(r, CHANGE_MAP, RW, 300), CHANGE_W1(512, 300), &done),
             ERR_RANGE);
    CHECK_EQ(done, 1);
    CHECK(frame_at(g, 299) != UINT64_MAX);
    CHECK_EQ(frame_at(g, 512), UINT64_MAX);
}

TEST(a_frame_is_mapped_once_also_beside_a_large_page)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), h = new_object(OBJ_GUESTSPACE, 0),
           r = new_object(OBJ_RANGE, 21);

    CHECK(tables(g, 0) && tables(h, 0));
    CHECK_OK(change(g, r, CHANGE_MAP_2M, RW, 512, 512, 0));
    CHECK_EQ(map(g, r, 0), ERR_FRAME_BUSY);
    CHECK_EQ(change(h, r, CHANGE_MAP, RIGHT_READ, 1, 0, 511), ERR_FRAME_BUSY);
    CHECK_EQ(change(h, r, CHANGE_MAP_2M, RW, 512, 512, 0), ERR_FRAME_BUSY);
    CHECK_OK(change(g, 0, CHANGE_UNMAP, 0, 1, 700, 0)); /* goes whole */
    CHECK_EQ(frame_at(g, 512), UINT64_MAX);
    CHECK_OK(change(h, r, CHANGE_MAP, RW, 1, 0, 511));
    CHECK_EQ(change(g, r, CHANGE_MAP_2M, RW, 512, 512, 0), ERR_FRAME_BUSY);
}

TEST(harvest_and_view_refusals)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), s = new_slot();

    CHECK_EQ(sys_invoke2(g, GUESTSPACE_HARVEST, GUEST_FRAMES_MAX, 1), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_HARVEST, 1, 1), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_HARVEST, 0, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_HARVEST, 0, 61), ERR_RANGE);
    CHECK_OK(sys_invoke2(g, GUESTSPACE_HARVEST, GUEST_FRAMES_MAX - 64, 60));
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_VIEW, s, 16 | RIGHT_READ), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_VIEW, s, RIGHT_WRITE), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_VIEW, 0, RIGHT_READ), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_VIEW, 1u << ROOT_CNODE_BITS, RIGHT_READ), ERR_RANGE);
    CHECK_EQ(sys_invoke2(g, GUESTSPACE_VIEW, g, RIGHT_READ), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke2(deepest(g), GUESTSPACE_VIEW, s = new_slot(), RIGHT_READ), ERR_TOO_DEEP);
}

TEST(views_are_refused_where_frames_are)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), vm = new_object(OBJ_VM, 0), none = new_slot();
    cptr_t window = new_slot(), page = new_slot(), weak = copy_cap(SLOT_VSPACE, RIGHT_READ);

    CHECK_OK(sys_invoke2(g, GUESTSPACE_VIEW, window, RW));
    CHECK_OK(sys_invoke1(vm, VM_VIEW, page));
    CHECK_EQ(sys_invoke2(page, 7, 1, 1), ERR_BAD_METHOD);
    CHECK_EQ(sys_invoke1(page, VIEW_MAP, SLOT_VSPACE), ERR_SHORT_MESSAGE);
    CHECK_EQ(sys_invoke0(page, VIEW_UNMAP), ERR_NOT_MAPPED);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, SLOT_VSPACE, USER_END), ERR_RANGE);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, SLOT_VSPACE, UINT64_MAX - 4095), ERR_RANGE);
    CHECK_EQ(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, 255ul << 39), ERR_RANGE);
    CHECK_EQ(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, 256ul << 39), ERR_RANGE);
    CHECK_EQ(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, 511ul << 39), ERR_RANGE);
    CHECK_EQ(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, VM_WINDOW + (1ul << 38)), ERR_ALIGNMENT);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, SLOT_VSPACE, TEST_ADDRESS + 8), ERR_ALIGNMENT);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, none, TEST_ADDRESS), ERR_NO_CAP);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, g, TEST_ADDRESS), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, weak, TEST_ADDRESS), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke2(page, VIEW_MAP, SLOT_VSPACE, VM_WINDOW), ERR_NO_TABLE);
    CHECK_OK(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, VM_WINDOW));
    CHECK_EQ(sys_invoke2(window, VIEW_MAP, SLOT_VSPACE, VM_WINDOW + (1ul << 39)), ERR_ALREADY_MAPPED);
    cptr_t second = new_slot();
    CHECK_OK(sys_invoke2(g, GUESTSPACE_VIEW, second, RIGHT_READ));
    CHECK_EQ(sys_invoke2(second, VIEW_MAP, SLOT_VSPACE, VM_WINDOW), ERR_ALREADY_MAPPED);
    CHECK_OK(sys_invoke2(second, VIEW_MAP, SLOT_VSPACE, VM_WINDOW + (1ul << 39)));
    CHECK_EQ(sys_invoke3(SLOT_CNODE, CNODE_COPY, new_slot(), page, RIGHT_ALL), ERR_NOT_DERIVABLE);
    cptr_t frame = new_object(OBJ_FRAME, FRAME_4K);
    CHECK_EQ(sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, VM_WINDOW, RW), ERR_NO_TABLE);
    CHECK_EQ(sys_invoke3(new_object(OBJ_PAGETABLE, 0), PAGETABLE_MAP, SLOT_VSPACE, VM_WINDOW, 3),
             ERR_ALREADY_MAPPED);
}

/* A fault in here goes on at the landing with the carry set. */
bool poke(volatile uint8_t *at);
extern const char poke_start[], poke_end[], poke_landing[];
__asm__(".globl poke\npoke:\n poke_start: movb $0x77, (%rdi)\n poke_end: mov $1, %eax\n ret\n"
        "poke_landing: xor %eax, %eax\n ret\n");

static void poke_begin(void)
{
    sys_invoke3(SLOT_TCB, TCB_SET_FIXUP, (uint64_t)poke_start, poke_end - poke_start, (uint64_t)poke_landing);
}

TEST(a_window_gives_no_more_than_its_view_and_its_guest_space)
{
    struct vm_test v;
    cptr_t second = new_slot();

    CHECK(vm_make(&v));
    poke_begin();
    CHECK(poke(v.memory + 0x5000));
    CHECK_OK(change(v.space, 0, CHANGE_PROTECT, RIGHT_READ, 1, 5, 0));
    CHECK(!poke(v.memory + 0x5000));
    CHECK(poke(v.memory + 0x6000));
    CHECK_OK(change(v.space, 0, CHANGE_PROTECT, RW, 1, 5, 0));
    CHECK(poke(v.memory + 0x5000));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_VIEW, second, RIGHT_READ));
    CHECK_OK(sys_invoke2(second, VIEW_MAP, SLOT_VSPACE, VM_WINDOW + (1ul << 39)));
    CHECK(!poke(v.memory + (1ul << 39) + 0x5000));
    CHECK_EQ(v.memory[(1ul << 39) + 0x5000], 0x77);
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 1, 5, 0));
    CHECK(!poke(v.memory + 0x5000));
    CHECK(!poke((volatile uint8_t *)v.x) && !poke((volatile uint8_t *)v.public));
    CHECK_OK(sys_invoke0(v.window, VIEW_UNMAP));
    CHECK(!poke(v.memory + 0x6000));
    CHECK_OK(sys_invoke2(v.window, VIEW_MAP, SLOT_VSPACE, VM_WINDOW));
    CHECK(poke(v.memory + 0x6000));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, v.space)); /* under both windows */
    CHECK(!poke(v.memory + 0x6000) && !poke(v.memory + (1ul << 39) + 0x6000));
}

/* Writes through a window are in the dirty log, once each harvest. */
TEST(window_writes_are_harvested_once)
{
    struct vm_test v;
    uint64_t bits = 0;

    CHECK(vm_make(&v));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_HARVEST, 0, 16));
    v.memory[0x3000] = v.memory[0x9000] = 1;
    CHECK_OK(sys_invoke(v.space, GUESTSPACE_HARVEST, 2, 0, 1, 0, 0, &bits));
    CHECK_EQ(bits, 1u << 3 | 1u << 9);
    v.memory[0x9000] = 2;
    CHECK_OK(sys_invoke(v.space, GUESTSPACE_HARVEST, 2, 0, 1, 0, 0, &bits));
    CHECK_EQ(bits, 1u << 9);
}

TEST(taking_away_ends_the_epoch_and_only_if_something_was_there)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    uint64_t epoch = epoch_of(v.vm);
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 8, 2048, 0));
    CHECK_EQ(epoch_of(v.vm), epoch);
    CHECK_OK(change(v.space, 0, CHANGE_UNMAP, 0, 2, 1023, 0));
    CHECK(epoch_of(v.vm) > epoch);
    epoch = epoch_of(v.vm);
    CHECK_OK(change(v.space, 0, CHANGE_PROTECT, RIGHT_READ, 1, 7, 0));
    CHECK(epoch_of(v.vm) > epoch);
    epoch = epoch_of(v.vm);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_DELETE, v.range));
    CHECK(epoch_of(v.vm) > epoch);
    CHECK_EQ(frame_at(v.space, 7), UINT64_MAX);
}

/* --- what outlives what --- */

struct world {
    cptr_t memory, space_memory, range, space, table;
};

static bool world_make(struct world *w)
{
    w->memory = new_object(OBJ_UNTYPED, 13);
    w->space_memory = new_object(OBJ_UNTYPED, BITS_GUESTSPACE);
    w->range = new_object_of(w->memory, OBJ_RANGE, 13);
    w->space = new_object_of(w->space_memory, OBJ_GUESTSPACE, 0);
    w->table = tables(w->space, 0);
    return w->table && map(w->space, w->range, 5) == ERR_OK;
}

/* The range goes and comes again in the same memory: all its frames are free. */
static bool range_again(struct world *w)
{
    bool ok = delete_cap(w->range) == ERR_OK;
    w->range = new_object_of(w->memory, OBJ_RANGE, 13);
    return ok && w->range;
}

/* Busy as long as it is mapped, and taken out when its range goes. */
static bool frame_is_guarded(struct world *w, cptr_t space, uint64_t gfn)
{
    cptr_t third = new_object(OBJ_GUESTSPACE, 0);
    bool ok = tables(third, 0) && map(third, w->range, 5) == ERR_FRAME_BUSY && delete_cap(w->range) == ERR_OK;
    return ok && frame_at(space, gfn) == UINT64_MAX;
}

TEST(a_table_of_a_guest_space_that_has_gone_frees_no_frame_of_the_next_one)
{
    static const uint64_t gfns[] = { 5, 9 };

    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        CHECK(world_make(&w));
        CHECK_OK(delete_cap(w.space));
        CHECK(range_again(&w));
        cptr_t next = new_object_of(w.space_memory, OBJ_GUESTSPACE, 0); /* where the first was */
        CHECK(tables(next, 0));
        CHECK_OK(map(next, w.range, gfns[i]));
        CHECK_OK(delete_cap(w.table));
        CHECK(frame_is_guarded(&w, next, gfns[i]));
    }
}

TEST(a_table_under_one_that_has_gone_frees_no_frame_that_was_mapped_since)
{
    struct world w;

    CHECK(world_make(&w));
    CHECK_OK(delete_cap(w.table - 1)); /* level 2 */
    CHECK_EQ(frame_at(w.space, 5), UINT64_MAX);
    CHECK_EQ(map(w.space, w.range, 5), ERR_FRAME_BUSY); /* until its table is unmapped, or its range goes */
    CHECK(range_again(&w));
    CHECK(tables(w.space, 0));
    CHECK_OK(map(w.space, w.range, 5));
    CHECK_OK(delete_cap(w.table));
    CHECK(frame_at(w.space, 5) != UINT64_MAX);
    CHECK(frame_is_guarded(&w, w.space, 5));
}

TEST(frames_are_free_when_their_table_goes)
{
    struct world w;

    CHECK(world_make(&w));
    CHECK_OK(sys_invoke0(w.table, PAGETABLE_UNMAP));
    CHECK_OK(sys_invoke3(w.table, PAGETABLE_MAP, w.space, 0, 1));
    CHECK_OK(map(w.space, w.range, 6));
    CHECK_OK(delete_cap(w.space)); /* its tables stay, and hold the frame */
    cptr_t next = new_object_of(w.space_memory, OBJ_GUESTSPACE, 0);
    CHECK(tables(next, 0));
    CHECK_EQ(map(next, w.range, 6), ERR_FRAME_BUSY);
    CHECK_OK(sys_invoke0(w.table, PAGETABLE_UNMAP));
    CHECK_OK(map(next, w.range, 6));
}

static struct {
    cptr_t range;
    volatile bool done;
} removal;

static void remover(uint64_t unused)
{
    (void)unused;
    delete_cap(removal.range);
    removal.done = true;
}

/* Deleting a range takes many steps. What is looked at half way: its first frame is out of the guest space,
 * its last is not. True: we are there, and the thread that deletes waits. */
static bool half_way(struct thread *t, cptr_t space, uint64_t ticks)
{
    cptr_t timer = new_object(OBJ_TIMER, 0), n = new_object(OBJ_NOTIFICATION, 0);

    sys_invoke1(timer, TIMER_BIND, n);
    removal.done = false;
    bool ok = thread_start(t, remover, 0) == ERR_OK && sys_invoke1(timer, TIMER_SET, now() + ticks) == ERR_OK;
    sys_wait(n);
    return ok && frame_at(space, 0) == UINT64_MAX && frame_at(space, 1023) != UINT64_MAX;
}

TEST(a_range_that_is_being_deleted_maps_nothing_any_more)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), h = new_object(OBJ_GUESTSPACE, 0),
           memory = new_object(OBJ_UNTYPED, 22);
    struct thread t;
    bool hit = false;

    CHECK(tables(g, 0) && tables(g, 512) && tables(h, 0));
    CHECK(thread_make(&t, NULL, 0, 100, 0));
    for (uint64_t ticks = 2000; ticks < 4000000 && !hit; ticks += ticks / 16) {
        removal.range = new_slot();
        CHECK_OK(sys_retype(IPC, memory, OBJ_RANGE, 22, SLOT_CNODE, removal.range, 1));
        CHECK_OK(change(g, removal.range, CHANGE_MAP, RW, 512, 0, 0));
        CHECK_OK(change(g, removal.range, CHANGE_MAP, RW, 512, 512, 512));
        hit = half_way(&t, g, ticks);
        if (hit) {
            CHECK_EQ(map(h, removal.range, 7), ERR_WRONG_STATE);
            CHECK_EQ(change(h, removal.range, CHANGE_MAP_2M, RW, 512, 512, 0), ERR_WRONG_STATE);
        }
        for (unsigned i = 0; i < 1000 && !removal.done; i++) {
            cptr_t n = new_object(OBJ_NOTIFICATION, 0), timer = new_object(OBJ_TIMER, 0);
            sys_invoke1(timer, TIMER_BIND, n);
            sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz / 1000);
            sys_wait(n);
        }
        CHECK(removal.done);
        CHECK_OK(sys_invoke0(t.tcb, TCB_SUSPEND));
        CHECK_EQ(frame_at(h, 7), UINT64_MAX);
        CHECK_EQ(frame_at(g, 1023), UINT64_MAX);
    }
    CHECK(hit);
}

/* A large page, its table gone before its guest space and after it. */
TEST(large_pages_are_free_when_their_table_goes)
{
    for (unsigned i = 0; i < 2; i++) {
        cptr_t g = new_object(OBJ_GUESTSPACE, 0), h = new_object(OBJ_GUESTSPACE, 0),
               r = new_object(OBJ_RANGE, 21);
        cptr_t level1 = tables(g, 0);
        CHECK(level1 && tables(h, 0));
        CHECK_OK(change(g, r, CHANGE_MAP_2M, RW, 512, 512, 0));
        if (i)
            CHECK_OK(delete_cap(g));
        CHECK_EQ(change(h, r, CHANGE_MAP_2M, RW, 512, 512, 0), ERR_FRAME_BUSY);
        CHECK_OK(delete_cap(level1 - 1));
        CHECK_OK(change(h, r, CHANGE_MAP_2M, RW, 512, 512, 0));
        CHECK_OK(delete_cap(r));
        CHECK_EQ(frame_at(h, 512), UINT64_MAX);
        CHECK_EQ(frame_at(h, 1023), UINT64_MAX);
    }
}
