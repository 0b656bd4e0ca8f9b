/* SPDX-License-Identifier: BSD-2-Clause */
/* CNodes and the derivation tree as a process sees them: rights only shrink, badges stick, revoke is
 * complete. Random trees under a checker of all links are in tests/host/kernel/test_tree.c. */
#include "support/harness.h"

static err_t copy(cptr_t slot, cptr_t source, unsigned rights)
{
    return sys_invoke3(SLOT_CNODE, CNODE_COPY, slot, source, rights);
}

static err_t mint(cptr_t slot, cptr_t source, unsigned rights, uint64_t badge)
{
    return sys_invoke4(SLOT_CNODE, CNODE_MINT, slot, source, rights, badge);
}

static bool is_empty(cptr_t p)
{
    return sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, p) == ERR_NO_CAP;
}

TEST(a_copy_has_no_more_rights_than_its_source)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), read = copy_cap(n, RIGHT_READ),
           again = copy_cap(read, RIGHT_ALL);
    struct sys_message m = { 0 };

    CHECK(n && read && again);
    CHECK_EQ(sys_signal(read), ERR_NO_RIGHT);
    CHECK_EQ(sys_signal(again), ERR_NO_RIGHT);
    CHECK_OK(sys_signal(n));
    CHECK_EQ(sys_wait(again), 1);
    cptr_t write = copy_cap(n, RIGHT_WRITE), none = copy_cap(n, 0);
    CHECK(write && none);
    CHECK_EQ(sys_poll(write, 0, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_signal(none), ERR_NO_RIGHT);
    CHECK_EQ(mint(new_slot(), read, RIGHT_ALL, 4), ERR_OK);
    CHECK_EQ(sys_signal(new_slot() - 1), ERR_NO_RIGHT);
}

TEST(a_badge_is_given_once_and_inherited)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), s = new_slots(4);

    CHECK_OK(mint(s, n, RIGHT_ALL, 0x100));
    CHECK_EQ(mint(s + 1, s, RIGHT_ALL, 0x200), ERR_RANGE);
    CHECK_OK(mint(s + 1, s, RIGHT_ALL, 0));
    CHECK_OK(copy(s + 2, s + 1, RIGHT_WRITE));
    CHECK_OK(sys_signal(s + 2));
    CHECK_EQ(sys_wait(n), 0x100);
    CHECK_EQ(mint(s + 3, new_object(OBJ_TCB, 0), RIGHT_ALL, 1), ERR_RANGE);
}

TEST(derive_refusals)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), s = new_slot(), size = 1u << ROOT_CNODE_BITS;

    for (unsigned method = CNODE_COPY; method <= CNODE_MINT; method++) {
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, n, RIGHT_ALL + 1, 0), ERR_RANGE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, 0, n, RIGHT_ALL, 0), ERR_RANGE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, size, n, RIGHT_ALL, 0), ERR_RANGE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, ~0ul, n, RIGHT_ALL, 0), ERR_RANGE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, n, n, RIGHT_ALL, 0), ERR_SLOT_OCCUPIED);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, new_slot(), RIGHT_ALL, 0), ERR_NO_CAP);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, CPTR_NULL, RIGHT_ALL, 0), ERR_NO_CAP);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, CPTR_SUB(n, 1), RIGHT_ALL, 0), ERR_NO_CAP);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, TEST_UNTYPED, RIGHT_ALL, 0), ERR_NOT_DERIVABLE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, new_object(OBJ_REPLY, 0), RIGHT_ALL, 0),
                 ERR_NOT_DERIVABLE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, new_object(OBJ_RANGE, 12), RIGHT_ALL, 0),
                 ERR_NOT_DERIVABLE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, new_object(OBJ_PAGETABLE, 0), RIGHT_ALL, 0),
                 ERR_NOT_DERIVABLE);
        CHECK_EQ(sys_invoke4(SLOT_CNODE, method, s, SLOT_IRQCONTROL, RIGHT_ALL, 0), ERR_NOT_DERIVABLE);
        CHECK(is_empty(s));
    }
}

TEST(derivation_has_a_limit)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), last = n;
    unsigned depth = 0;
    err_t e = ERR_OK;

    for (; depth < 200; depth++) {
        cptr_t s = new_slot();
        e = copy(s, last, RIGHT_ALL);
        if (e != ERR_OK)
            break;
        last = s;
    }
    CHECK_EQ(e, ERR_TOO_DEEP);
    CHECK_EQ(mint(new_slot(), last, RIGHT_ALL, 1), ERR_TOO_DEEP);
    CHECK(depth >= 32);
    CHECK_OK(sys_signal(last));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, n));
    CHECK(is_empty(last));
    CHECK_EQ(sys_wait(n), 1);
}

TEST(move_keeps_the_place_in_the_tree)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), s = new_slots(4);

    CHECK_OK(mint(s, n, RIGHT_WRITE, 9));
    CHECK_OK(copy(s + 3, n, RIGHT_ALL));
    CHECK_OK(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s + 1, s));
    CHECK(is_empty(s));
    CHECK_OK(sys_signal(s + 1));
    CHECK_EQ(sys_wait(n), 9);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s, n), ERR_HAS_CHILDREN);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s + 3, s + 1), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s + 1, s + 1), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s, s + 2), ERR_NO_CAP);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, 0, s + 1), ERR_RANGE);
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, 1 << ROOT_CNODE_BITS, s + 1), ERR_RANGE);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, n));
    CHECK(is_empty(s + 1) && is_empty(s + 3));
    CHECK_OK(sys_invoke2(SLOT_CNODE, CNODE_MOVE, s, n));
    CHECK_OK(sys_signal(s));
    CHECK_EQ(sys_wait(s), 1);
}

TEST(revoke_takes_all_descendants_and_nothing_else)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), other = new_object(OBJ_NOTIFICATION, 0);
    cptr_t child = new_slots(40), side = copy_cap(other, RIGHT_ALL);

    for (unsigned i = 0; i < 40; i++) /* brothers, and chains below each */
        CHECK_OK(copy(child + i, i < 4 ? n : child + i - 4, RIGHT_ALL));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, child + 5));
    for (unsigned i = 0; i < 40; i++)
        CHECK_EQ(is_empty(child + i), i > 5 && i % 4 == 1);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, n));
    for (unsigned i = 0; i < 40; i++)
        CHECK(is_empty(child + i));
    CHECK(!is_empty(n) && !is_empty(side));
    CHECK_OK(sys_signal(n));
}

TEST(delete_takes_descendants_and_may_be_repeated)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), a = copy_cap(n, RIGHT_ALL), b = copy_cap(a, RIGHT_ALL);

    CHECK_OK(delete_cap(a));
    CHECK(is_empty(a) && is_empty(b) && !is_empty(n));
    CHECK_OK(delete_cap(a));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, a));
    for (unsigned method = CNODE_DELETE; method <= CNODE_REVOKE; method++) {
        CHECK_EQ(sys_invoke1(SLOT_CNODE, method, 0), ERR_RANGE);
        CHECK_EQ(sys_invoke1(SLOT_CNODE, method, 1 << ROOT_CNODE_BITS), ERR_RANGE);
        CHECK_EQ(sys_invoke1(SLOT_CNODE, method, ~0ul), ERR_RANGE);
    }
}

TEST(two_levels_are_addressed)
{
    cptr_t c = new_object(OBJ_CNODE, 3), n = new_object(OBJ_NOTIFICATION, 0);

    CHECK_OK(sys_invoke4(c, CNODE_MINT, 7, n, RIGHT_ALL, 5));
    CHECK_EQ(sys_invoke4(c, CNODE_MINT, 8, n, RIGHT_ALL, 5), ERR_RANGE);
    CHECK_OK(sys_signal(CPTR_SUB(c, 7)));
    CHECK_EQ(sys_wait(n), 5);
    CHECK_EQ(sys_signal(CPTR_SUB(c, 6)), ERR_NO_CAP);
    CHECK_EQ(sys_signal(CPTR_SUB(c, 8)), ERR_NO_CAP);
    CHECK_EQ(sys_signal(CPTR_SUB(c, 0)), ERR_NO_CAP);
    CHECK_EQ(sys_signal(CPTR_SUB(n, 1)), ERR_NO_CAP);
    CHECK_OK(sys_invoke2(SLOT_CNODE, CNODE_MOVE, new_slot(), CPTR_SUB(c, 7)));
    CHECK_EQ(sys_signal(CPTR_SUB(c, 7)), ERR_NO_CAP);
}

TEST(nothing_is_moved_out_of_a_cnode_without_the_right_to_write)
{
    cptr_t c = new_object(OBJ_CNODE, 3), n = new_object(OBJ_NOTIFICATION, 0), weak = copy_cap(c, RIGHT_READ);

    CHECK_OK(sys_invoke3(c, CNODE_COPY, 3, n, RIGHT_ALL));
    CHECK_OK(sys_signal(CPTR_SUB(weak, 3))); /* used, and copied, it may be */
    CHECK_EQ(sys_invoke2(SLOT_CNODE, CNODE_MOVE, new_slot(), CPTR_SUB(weak, 3)), ERR_NO_RIGHT);
    CHECK_OK(sys_signal(CPTR_SUB(c, 3)));
    CHECK_OK(sys_invoke2(SLOT_CNODE, CNODE_MOVE, new_slot(), CPTR_SUB(c, 3)));
}

TEST(a_cnode_takes_what_it_holds_with_it)
{
    cptr_t c = new_object(OBJ_CNODE, 8), u = new_object(OBJ_UNTYPED, 16), s = new_slots(2);

    /* More than one preemption's worth: one DELETE must still have done it all when it returns. */
    CHECK_OK(sys_retype(IPC, u, OBJ_ENDPOINT, 0, c, 1, 255));
    CHECK_EQ(sys_retype(IPC, u, OBJ_UNTYPED, 16, SLOT_CNODE, s, 1), ERR_NO_MEMORY);
    CHECK_OK(delete_cap(c));
    CHECK_OK(sys_retype(IPC, u, OBJ_UNTYPED, 16, SLOT_CNODE, s, 1));
}

TEST(a_copy_of_a_cnode_goes_without_its_contents)
{
    cptr_t c = new_object(OBJ_CNODE, 4), n = new_object(OBJ_NOTIFICATION, 0), d = copy_cap(c, RIGHT_ALL);

    CHECK_OK(sys_invoke3(d, CNODE_COPY, 3, n, RIGHT_ALL));
    CHECK_OK(delete_cap(d));
    CHECK_OK(sys_signal(CPTR_SUB(c, 3)));
    CHECK_OK(delete_cap(c));
    CHECK_EQ(sys_wait(n), 1);
}

TEST(a_cnode_that_holds_itself_can_be_revoked)
{
    cptr_t u = new_object(OBJ_UNTYPED, 14), c = new_slot();

    CHECK_OK(sys_retype(IPC, u, OBJ_CNODE, 4, SLOT_CNODE, c, 1));
    cptr_t way = copy_cap(c, RIGHT_ALL);
    CHECK_EQ(sys_invoke2(way, CNODE_MOVE, 5, c), ERR_HAS_CHILDREN);
    CHECK_OK(delete_cap(way));
    CHECK_OK(sys_invoke2(c, CNODE_MOVE, 5, c));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, u));
    CHECK_OK(sys_retype(IPC, u, OBJ_UNTYPED, 14, SLOT_CNODE, c, 1));
}

TEST(cnodes_that_hold_each_other_can_be_revoked)
{
    cptr_t u = new_object(OBJ_UNTYPED, 14), c = new_slots(2);

    CHECK_OK(sys_retype(IPC, u, OBJ_CNODE, 4, SLOT_CNODE, c, 2));
    CHECK_OK(sys_invoke2(c, CNODE_MOVE, 1, c + 1));
    CHECK_OK(sys_invoke2(CPTR_SUB(c, 1), CNODE_MOVE, 1, c)); /* nobody else names either of them now */
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, u));
    CHECK_OK(sys_retype(IPC, u, OBJ_UNTYPED, 14, SLOT_CNODE, c, 1));
}

TEST(a_cnode_that_holds_the_untyped_it_is_made_of)
{
    cptr_t top = new_object(OBJ_UNTYPED, 16), u = new_slot(), c = new_slot();

    CHECK_OK(sys_retype(IPC, top, OBJ_UNTYPED, 15, SLOT_CNODE, u, 1));
    CHECK_OK(sys_retype(IPC, u, OBJ_CNODE, 4, SLOT_CNODE, c, 1));
    CHECK_EQ(sys_invoke2(c, CNODE_MOVE, 1, u), ERR_HAS_CHILDREN);
    CHECK_OK(sys_retype(IPC, CPTR_SUB(c, 1), OBJ_UNTYPED, 6, SLOT_CNODE, u, 1) == ERR_NO_CAP ? ERR_OK
                                                                                             : ERR_RANGE);
    CHECK_OK(delete_cap(c));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, top));
    CHECK(is_empty(u));
}

TEST(many_capabilities_are_revoked_by_one_call)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), s = new_slots(2000);

    for (unsigned i = 0; i < 2000; i++)
        CHECK_OK(copy(s + i, i % 40 ? s + i - 1 : n, RIGHT_ALL));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, n));
    for (unsigned i = 0; i < 2000; i++)
        CHECK(is_empty(s + i));
    CHECK(!is_empty(n));
}
