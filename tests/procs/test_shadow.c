/* SPDX-License-Identifier: BSD-2-Clause */
/* ShadowTables and the operations on them: every refusal of every operation, and tables that are reused,
 * stale, of another VM, or gone while something points to them. */
#include "support/vm.h"

#define RW   (RIGHT_READ | RIGHT_WRITE)
#define LONG SHADOW_LONG
#define PAE  SHADOW_PAE

static const uint8_t hlt[] = { 0xf4, 0xeb, 0xfd };

static bool begin(struct vm_test *v)
{
    if (!vm_make(v))
        return false;
    vm_load(v, 0x1000, hlt, sizeof(hlt));
    if (vm_recv(v) != ERR_OK)
        return false;
    vm_long_tables(v);
    vm_long_mode(v, 0x1000, 0x8000, false);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 16));
    return vm_reply(v, NULL) == ERR_OK && v->x->kind == EXIT_HLT && vm_audit(v);
}

/* One operation on a guest that halts again. */
static err_t one(struct vm_test *v, uint64_t w0, uint64_t w1)
{
    op(v, w0);
    if ((w0 & 0xff) != OP_SETUP && (w0 & 0xff) != OP_CLEAR && (w0 & 0xff) != OP_SET_ROOT &&
        (w0 & 0xff) != OP_FLUSH && (w0 & 0xff) != OP_DROP)
        op(v, w1);
    for (unsigned i = 0; (w0 & 0xff) == OP_DOWNGRADE && i < 7; i++)
        op(v, w1);
    return vm_reply(v, NULL);
}

static uint64_t bits_of(cptr_t table, unsigned index)
{
    uint64_t bits = 0;
    sys_invoke(table, SHADOW_READ_BITS, 2, index, 1, 0, 0, &bits);
    return bits;
}

TEST(shadow_table_refusals)
{
    cptr_t t = new_object(OBJ_SHADOW, 0), vm = new_object(OBJ_VM, 0);

    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 0, 1), ERR_NOT_BOUND);
    CHECK_EQ(sys_invoke1(t, SHADOW_BIND, new_slot()), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(t, SHADOW_BIND, t), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(t, SHADOW_BIND, copy_cap(vm, RIGHT_READ)), ERR_NO_RIGHT);
    CHECK_OK(sys_invoke1(t, SHADOW_BIND, vm));
    CHECK_EQ(sys_invoke1(t, SHADOW_BIND, vm), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_invoke1(t, SHADOW_BIND, new_object(OBJ_VM, 0)), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 512, 1), ERR_RANGE);
    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 511, 2), ERR_RANGE);
    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 0, 61), ERR_RANGE);
    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 0, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke2(t, SHADOW_READ_BITS, 511, 1), ERR_STALE_TABLE); /* never set up */
}

struct bad_table {
    cptr_t table;
    err_t error;
};

/* Every operation with every table that it must not have, in each place where it names one. */
TEST(no_operation_takes_a_table_that_is_not_a_current_one_of_the_vm)
{
    struct vm_test v;
    static const uint8_t codes[] = { OP_SETUP, OP_LINK,     OP_FILL,      OP_FILL_RUN, OP_DOWNGRADE,
                                     OP_CLEAR, OP_SET_ROOT, OP_ROOT_LIST, OP_DROP };

    CHECK(begin(&v));
    cptr_t foreign = new_object(OBJ_SHADOW, 0), loose = new_object(OBJ_SHADOW, 0), none = new_slot();
    CHECK_OK(sys_invoke1(foreign, SHADOW_BIND, new_object(OBJ_VM, 0)));
    const struct bad_table bad[] = {
        { none, ERR_NO_CAP },
        { CPTR_SUB(v.vm, 3), ERR_NO_CAP },
        { 0xffffffff, ERR_NO_CAP },
        { v.vm, ERR_WRONG_TYPE },
        { copy_cap(v.table[2], RIGHT_READ), ERR_NO_RIGHT },
        { foreign, ERR_WRONG_VM },
        { loose, ERR_WRONG_VM },
        { v.table[8], ERR_STALE_TABLE },
    };
    for (unsigned c = 0; c < sizeof(codes); c++)
        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            if (codes[c] == OP_SETUP && bad[i].error == ERR_STALE_TABLE)
                continue;
            err_t e = one(
                &v, OP_W0(codes[c], RWXU, codes[c] == OP_SETUP ? SHADOW_KIND(LONG, 1) : 0, bad[i].table), 1);
            if (e != bad[i].error)
                print_number("# operation ", codes[c], "\n");
            CHECK_EQ(e, bad[i].error);
            if (codes[c] == OP_LINK)
                CHECK_EQ(one(&v, OP_W0(OP_LINK, RWXU, 1, v.table[2]), bad[i].table), bad[i].error);
            if (codes[c] == OP_SET_ROOT) /* as a PDPT entry */
                CHECK_EQ(one(&v, OP_W0(OP_SET_ROOT, 0, 3, bad[i].table), 0), bad[i].error);
        }
    CHECK(vm_audit(&v));
}

struct refused_op {
    uint64_t w0, w1;
    err_t error;
};

TEST(operations_are_refused_for_what_they_ask)
{
    struct vm_test v;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(PAE, 2), v.table[0]));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(PAE, 1), v.table[1]));
    CHECK_OK(vm_reply(&v, NULL));
    const struct refused_op list[] = {
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[5]), 0, ERR_LINKED },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[2]), 0, ERR_LINKED },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 0), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 5), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(PAE, 3), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_NESTED, 4), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_NESTED, 1), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(3, 1), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, 0xffff, v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_LINK, RWXU, 512, v.table[2]), v.table[3], ERR_RANGE },
        { OP_W0(OP_LINK, RWXU, 0xffff, v.table[2]), v.table[3], ERR_RANGE },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[2], ERR_WRONG_LEVEL }, /* itself */
        { OP_W0(OP_LINK, RWXU, 1, v.table[3]), v.table[2], ERR_WRONG_LEVEL }, /* upwards */
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[4], ERR_WRONG_LEVEL }, /* two levels down */
        { OP_W0(OP_LINK, RWXU, 1, v.table[5]), v.table[5], ERR_WRONG_LEVEL }, /* under a leaf table */
        { OP_W0(OP_LINK, RWXU, 1, v.table[4]), v.table[1], ERR_WRONG_LEVEL }, /* PAE under long */
        { OP_W0(OP_LINK, RWXU, 1, v.table[0]), v.table[5], ERR_WRONG_LEVEL }, /* long under PAE */
        { OP_W0(OP_FILL, RWXU, 512, v.table[5]), 1, ERR_RANGE },
        { OP_W0(OP_FILL, SH_WRITE | SH_USER, 0, v.table[5]), 1, ERR_RANGE },
        { OP_W0(OP_FILL, RWXU, 0, v.table[4]), 1, ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL, RWXU | SH_LARGE, 0, v.table[5]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL, RWXU | SH_LARGE, 0, v.table[3]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), 1024, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), GUEST_FRAMES_MAX, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), UINT64_MAX, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), BIT(52), ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU | SH_LARGE, 1, v.table[4]), 0, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL_RUN, RWXU, 512, v.table[5]), OP_W1_RUN(0, 1), ERR_RANGE },
        { OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]), OP_W1_RUN(0, 0), ERR_RANGE },
        { OP_W0(OP_FILL_RUN, RWXU, 511, v.table[5]), OP_W1_RUN(0, 2), ERR_RANGE },
        { OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]), OP_W1_RUN(0, 0xffff), ERR_RANGE },
        { OP_W0(OP_FILL_RUN, 0, 0, v.table[5]), OP_W1_RUN(0, 1), ERR_RANGE },
        { OP_W0(OP_FILL_RUN, RWXU, 0, v.table[3]), OP_W1_RUN(0, 1), ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL_RUN, RWXU, 100, v.table[5]), OP_W1_RUN(1023, 2), ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL_RUN, RWXU, 100, v.table[5]), OP_W1_RUN(0xffffffffffff, 1), ERR_NOT_IN_GUEST },
        { OP_W0(OP_SET_ROOT, 0, 0, v.table[3]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 0, v.table[1]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 1, v.table[2]), 0, ERR_WRONG_LEVEL }, /* a long root as a PDPT entry */
        { OP_W0(OP_SET_ROOT, 0, 2, v.table[1]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 4, v.table[0]), 0, ERR_RANGE },
        { OP_W0(OP_SET_ROOT, 0, 0xffff, 0), 0, ERR_RANGE },
        { OP_W0(OP_ROOT_LIST, 0, 16, v.table[2]), 0, ERR_RANGE },
        { OP_W0(OP_ROOT_LIST, 0, 0xffff, 0), 0, ERR_RANGE },
        { OP_W0(OP_ROOT_LIST, 0, 0, v.table[3]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_ROOT_LIST, 0, 0, v.table[0]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_DROP, 0, 512, v.table[5]), 0, ERR_RANGE },
        { OP_W0(OP_DROP, 0, 0xffff, v.table[5]), 0, ERR_RANGE },
        { OP_W0(0, 0, 0, 0), 0, ERR_BAD_OPERATION },
        { OP_W0(OP_CODES, 0, 0, 0), 0, ERR_BAD_OPERATION },
        { UINT64_MAX, 0, ERR_BAD_OPERATION },
    };
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        err_t e = one(&v, list[i].w0, list[i].w1);
        if (e != list[i].error)
            print_number("# operation ", i, " of the list\n");
        CHECK_EQ(e, list[i].error);
        CHECK(vm_audit(&v));
    }
    static const uint8_t longer[] = { OP_LINK, OP_FILL, OP_FILL_RUN, OP_DOWNGRADE, OP_ROOT_LIST };
    for (unsigned i = 0; i < sizeof(longer); i++) { /* cut short, behind an operation that stands */
        uint64_t index = 9;
        op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
        op(&v, OP_W0(longer[i], RWXU, 0, v.table[5]));
        CHECK_EQ(vm_reply(&v, &index), ERR_BAD_OPERATION);
        CHECK_EQ(index, 1);
    }
}

TEST(operations_before_a_refused_one_stand_and_registers_do_not)
{
    struct vm_test v;
    uint64_t index = 0;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_FILL, SH_READ, 40, v.table[5]));
    op(&v, 40);
    op(&v, OP_W0(OP_FILL, SH_READ, 41, v.table[5]));
    op(&v, 4000);
    op(&v, OP_W0(OP_FILL, SH_READ, 42, v.table[5]));
    op(&v, 42);
    v.r->groups = STATE_GPRS | STATE_RIP;
    v.r->gpr_mask = 1u << RBX;
    v.r->gpr[RBX] = 0x1234;
    v.r->rip = 0x2000;
    CHECK_EQ(vm_reply(&v, &index), ERR_NOT_IN_GUEST);
    CHECK_EQ(index, 2);
    CHECK(bits_of(v.table[5], 40) & 1);
    CHECK(!(bits_of(v.table[5], 42) & 1));
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_SYNC, STATE_ALL));
    CHECK(v.x->gpr[RBX] != 0x1234);
    CHECK_EQ(v.x->rip, 0x1000);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
}

/* I1, also for the large leaf and for what becomes read-only later. */
TEST(no_leaf_has_more_rights_than_the_guest_space)
{
    struct vm_test v;
    cptr_t large = new_object(OBJ_RANGE, 21);

    CHECK(begin(&v));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(large, CHANGE_MAP_2M, RIGHT_READ, 512),
                         CHANGE_W1(1024, 0)));
    CHECK_OK(one(&v, OP_W0(OP_FILL, RWXU | SH_LARGE | SH_DIRTY, 1, v.table[4]), 1024));
    CHECK(!(bits_of(v.table[4], 1) & 2));
    CHECK_EQ(one(&v, OP_W0(OP_FILL, RWXU | SH_LARGE, 1, v.table[4]), 1025), ERR_NOT_IN_GUEST);
    CHECK_OK(one(&v, OP_W0(OP_FILL, RWXU, 30, v.table[5]), 1025)); /* 4 KB of it */
    CHECK(!(bits_of(v.table[5], 30) & 2));
    CHECK_OK(one(&v, OP_W0(OP_FILL, RWXU, 31, v.table[5]), 31));
    CHECK(bits_of(v.table[5], 31) & 2);
    CHECK(vm_audit(&v));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 1),
                         CHANGE_W1(31, 0)));
    CHECK_OK(one(&v, OP_W0(OP_FLUSH, 0, 0, 0), 0));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK_EQ(one(&v, OP_W0(OP_FILL, RWXU, 31, v.table[5]), 31), ERR_STALE_TABLE);
    vm_long_tables(&v);
    CHECK_OK(one(&v, OP_W0(OP_FILL, RWXU, 31, v.table[5]), 31));
    CHECK(!(bits_of(v.table[5], 31) & 2));
    CHECK(vm_audit(&v));
}

/* A translation that goes, changes or loses rights is counted; one that comes or gains is not. */
TEST(downgrades_are_counted)
{
    struct vm_test v;

    CHECK(begin(&v));
    struct step {
        uint64_t w0, w1, more;
    } const steps[] = {
        { OP_W0(OP_FILL, SH_READ, 20, v.table[5]), 20, 0 },
        { OP_W0(OP_FILL, RWXU, 20, v.table[5]), 20, 0 },
        { OP_W0(OP_FILL, RWXU & ~SH_EXEC, 20, v.table[5]), 20, 1 },
        { OP_W0(OP_FILL, SH_READ, 20, v.table[5]), 20, 1 },
        { OP_W0(OP_FILL, SH_READ, 20, v.table[5]), 21, 1 },
        { OP_W0(OP_DOWNGRADE, SH_READ, 0, v.table[5]), 1, 1 },
        { OP_W0(OP_DOWNGRADE, 0, 0, v.table[5]), BIT(20), 1 },
        { OP_W0(OP_DROP, 0, 20, v.table[5]), 0, 0 },
        { OP_W0(OP_FILL, SH_READ, 20, v.table[5]), 20, 0 },
        { OP_W0(OP_DROP, 0, 20, v.table[5]), 0, 1 },
        { OP_W0(OP_LINK, RWXU, 1, v.table[4]), v.table[5], 0 },
        { OP_W0(OP_LINK, RWXU, 1, v.table[4]), v.table[5], 1 },
        { OP_W0(OP_DROP, 0, 1, v.table[4]), 0, 1 },
        { OP_W0(OP_CLEAR, 0, 0, v.table[5]), 0, 1 },
    };
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct sys_message m = { .tag = TAG(VM_STATUS, 0) };
        CHECK_OK(sys_call(v.vm, &m));
        uint64_t before = m.w[1];
        CHECK_OK(one(&v, steps[i].w0, steps[i].w1));
        m = (struct sys_message){ .tag = TAG(VM_STATUS, 0) };
        CHECK_OK(sys_call(v.vm, &m));
        if (m.w[1] - before != steps[i].more)
            print_number("# step ", i, "\n");
        CHECK_EQ(m.w[1] - before, steps[i].more);
        CHECK(vm_audit(&v));
    }
}

/* 64 entries at a time, and some of them. */
TEST(rights_are_taken_from_whole_words_of_the_mask_and_from_no_other_entry)
{
    struct vm_test v;

    CHECK(begin(&v));
    CHECK_OK(one(&v, OP_W0(OP_FILL_RUN, RWXU, 32, v.table[5]), OP_W1_RUN(32, 200)));
    op(&v, OP_W0(OP_DOWNGRADE, SH_READ | SH_USER | SH_EXEC, 0, v.table[5]));
    for (unsigned i = 0; i < 8; i++)
        op(&v, i == 1 ? UINT64_MAX : i == 2 ? BIT(5) : 0);
    CHECK_OK(vm_reply(&v, NULL));
    for (unsigned i = 32; i < 240; i++) {
        uint64_t bits = bits_of(v.table[5], i);
        CHECK_EQ(bits & 1, i < 232);
        CHECK_EQ(!!(bits & 2), i < 232 && !(i >= 64 && i < 128) && i != 133);
    }
    op(&v, OP_W0(OP_DOWNGRADE, SH_READ | SH_USER | SH_EXEC, 0, v.table[5])); /* absent ones stay absent */
    for (unsigned i = 0; i < 8; i++)
        op(&v, UINT64_MAX);
    CHECK_OK(vm_reply(&v, NULL));
    for (unsigned i = 232; i < 512; i++)
        CHECK_EQ(bits_of(v.table[5], i), 0);
    CHECK(vm_audit(&v));
}

TEST(a_table_is_empty_after_a_clear_wherever_it_was_used)
{
    struct vm_test v;

    CHECK(begin(&v));
    for (unsigned i = 64; i < 512; i += 64)
        CHECK_OK(one(&v, OP_W0(OP_FILL_RUN, RWXU, i - 3, v.table[5]), OP_W1_RUN(i, 6)));
    CHECK_OK(one(&v, OP_W0(OP_FILL_RUN, RWXU, 300, v.table[5]), OP_W1_RUN(0, 212)));
    CHECK(vm_audit(&v));
    CHECK_OK(one(&v, OP_W0(OP_CLEAR, 0, 0, v.table[5]), 0));
    for (unsigned i = 16; i < 512; i++)
        CHECK_EQ(bits_of(v.table[5], i), 0);
    CHECK_OK(one(&v, OP_W0(OP_FILL, RWXU, 511, v.table[5]), 5));
    CHECK(vm_audit(&v));
}

TEST(a_table_may_be_set_up_anew_when_nothing_points_to_it)
{
    struct vm_test v;

    CHECK(begin(&v));
    CHECK_EQ(one(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 3), v.table[5]), 0), ERR_LINKED);
    CHECK_OK(one(&v, OP_W0(OP_ROOT_LIST, 0, 15, v.table[2]), 0x1000));
    CHECK_OK(one(&v, OP_W0(OP_DOWNGRADE, 0, 0, v.table[4]), 1)); /* drops the link to 5 */
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    CHECK_OK(one(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 3), v.table[5]), 0));
    CHECK_EQ(bits_of(v.table[5], 0), 0);
    CHECK_EQ(one(&v, OP_W0(OP_LINK, RWXU, 0, v.table[4]), v.table[5]), ERR_WRONG_LEVEL);
    CHECK_OK(one(&v, OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[5]));
    CHECK_EQ(one(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[2]), 0),
             ERR_LINKED); /* root, and on the list */
    CHECK_OK(one(&v, OP_W0(OP_ROOT_LIST, 0, 15, 0), 0));
    CHECK_EQ(one(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[2]), 0), ERR_LINKED);
    CHECK(vm_audit(&v));
}

TEST(the_end_of_a_table_with_links_lets_its_children_go)
{
    struct vm_test v;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 2), v.table[7]));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 1), v.table[8]));
    CHECK_OK(one(&v, OP_W0(OP_LINK, RWXU, 3, v.table[7]), v.table[8])); /* 7 itself is never linked */
    CHECK_OK(delete_cap(v.table[7]));
    CHECK(vm_audit(&v));
    CHECK_OK(one(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 2), v.table[8]), 0));
}

/* A root of the list goes with its table: no guest runs on it, and its place can be used again. */
TEST(a_root_on_the_list_goes_with_its_table)
{
    struct vm_test v;

    CHECK(begin(&v));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4), v.table[6]));
    CHECK_OK(one(&v, OP_W0(OP_ROOT_LIST, 0, 3, v.table[6]), 0x5000));
    CHECK_OK(delete_cap(v.table[6]));
    CHECK(vm_audit(&v));
    CHECK_OK(one(&v, OP_W0(OP_FLUSH, 0, 0, 0), 0));
    CHECK_EQ(v.x->kind, EXIT_ROOT); /* the epoch has ended */
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
    CHECK_OK(one(&v, OP_W0(OP_ROOT_LIST, 0, 3, v.table[2]), 0x5000));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK(vm_audit(&v));
}

/* --- a VM, or its memory, goes and comes again (I2, I3) --- */

TEST(a_root_that_ended_while_the_vm_had_no_memory_is_not_entered)
{
    struct vm_test v;

    CHECK(begin(&v));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, v.space)); /* the VM and the window lose it; it lives on */
    CHECK_OK(delete_cap(v.table[2]));
    CHECK_OK(sys_invoke1(v.vm, VM_BIND, v.space));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK_EQ(one(&v, OP_W0(OP_CLEAR, 0, 0, v.table[3]), 0), ERR_STALE_TABLE);
    CHECK(vm_audit(&v));
}

/* The second VM lies where the first was, on the same guest space: the first one's tables are not its own. */
TEST(tables_of_a_vm_that_has_gone_are_stale_in_the_next_one)
{
    struct vm_test v;
    cptr_t memory = new_object(OBJ_UNTYPED, BITS_VM), vcpu = new_object(OBJ_VCPU, 0);

    CHECK(vm_make_at(&v, 0, memory));
    vm_load(&v, 0x1000, hlt, sizeof(hlt));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_OK(delete_cap(v.vm));
    CHECK_OK(delete_cap(v.table[3])); /* the root's only child: its memory may be anything now */
    v.vm = new_object_of(memory, OBJ_VM, 0);
    CHECK_OK(sys_invoke1(v.vm, VM_BIND, v.space));
    CHECK_OK(sys_invoke1(vcpu, VCPU_BIND, v.vm));
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_BIND, v.vm));
    CHECK_EQ(one(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]), 0), ERR_STALE_TABLE);
    CHECK_EQ(one(&v, OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[4]), ERR_STALE_TABLE);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK(vm_audit(&v));
}

/* Two VMs on one guest space: each has its own tables, and a change stops both. */
TEST(two_vms_on_one_guest_space_do_not_share_tables)
{
    struct vm_test v, w;

    CHECK(vm_make_at(&v, 0, 0) && vm_make_at(&w, 1, 0));
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, w.space));
    CHECK_OK(sys_invoke1(w.vm, VM_BIND, v.space));
    vm_load(&v, 0x1000, hlt, sizeof(hlt));
    struct vm_test *both[] = { &v, &w };
    for (unsigned i = 0; i < 2; i++) {
        CHECK_OK(vm_recv(both[i]));
        vm_long_tables(both[i]);
        vm_long_mode(both[i], 0x1000, 0x8000, false);
        op(both[i], OP_W0(OP_FILL, RWXU, 1, both[i]->table[5]));
        op(both[i], 1);
        CHECK_OK(vm_reply(both[i], NULL));
        CHECK_EQ(both[i]->x->kind, EXIT_HLT);
    }
    CHECK_EQ(one(&v, OP_W0(OP_LINK, RWXU, 1, v.table[2]), w.table[3]), ERR_WRONG_VM);
    CHECK_EQ(one(&v, OP_W0(OP_SET_ROOT, 0, 0, w.table[2]), 0), ERR_WRONG_VM);
    CHECK_OK(delete_cap(w.table[5]));
    for (unsigned i = 0; i < 2; i++) {
        CHECK_OK(vm_reply(both[i], NULL));
        CHECK_EQ(both[i]->x->kind, EXIT_ROOT);
        CHECK(vm_audit(both[i]));
    }
}

/* The root's tables for another mode than the guest's are not entered. */
TEST(a_root_of_another_format_is_not_entered)
{
    struct vm_test v;

    CHECK(begin(&v));
    vm_identity(&v, 16); /* PAE, the guest is in long mode */
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK_OK(one(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]), 0));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    for (unsigned i = 0; i < 4; i++)
        CHECK_OK(one(&v, OP_W0(OP_SET_ROOT, 0, i, v.table[0]), 0));
    CHECK_OK(one(&v, OP_W0(OP_SET_ROOT, 0, 2, 0), 0));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK(vm_audit(&v));
    vm_real_mode(&v, 0x1000);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
}
