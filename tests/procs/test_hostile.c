/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM that means harm: random replies, and objects that go and come again in the same memory, in random
 * order. After each step the kernel's tables are audited (KERNEL_AUDIT); another VM beside it must notice
 * nothing. Everything is chosen by the seed that a failing test prints, but for the moment at which the timer
 * ends a guest. */
// MEMORY: 192M
// TIMEOUT: 180
#include "support/vm.h"

#define RW    (RIGHT_READ | RIGHT_WRITE)
#define PAGES 16u /* that the guest's own tables map, all full of HLT */

struct hostile {
    struct vm_test v, other;
    cptr_t vm_memory, vcpu_memory, space_memory, table_memory, timer;
    uint64_t random, seed;
    unsigned kinds[EXIT_KINDS], errors[ERR_COUNT];
    uint64_t loads; /* of CR3 that the kernel served */
};

static struct hostile h;

static uint64_t rnd(void)
{
    h.random ^= h.random << 13;
    h.random ^= h.random >> 7;
    h.random ^= h.random << 17;
    return h.random;
}
static uint64_t below(uint64_t n)
{
    return (rnd() >> 11) % n;
}
static bool one_in(unsigned n)
{
    return below(n) == 0;
}

/* A word that somebody would try. */
static uint64_t word(void)
{
    static const uint64_t tried[] = { 0,       1,          2,       0x7f,       0x80000033, 0x80000011,
                                      0xd01,   BIT(12),    0x20202, 0x1000,     0x7fffffff, BIT(47),
                                      BIT(63), UINT64_MAX, 0x1c00,  0xffffffff, 0xffff0ff0, 0x400,
                                      0x155,   0x10,       0x31 };

    switch (below(6)) {
    case 0:
        return tried[below(sizeof(tried) / sizeof(tried[0]))];
    case 1:
        return BIT(below(64));
    case 2:
        return below(PAGES * 4096);
    case 3:
        return ~BIT(below(64));
    case 4:
        return (uint64_t)(h.v.table[0] + below(20)) << 32 | below(0x100000);
    default:
        return rnd();
    }
}

/* Each word also has MOV CR3, RAX before its last HLT. */
static void fill_with_hlt(struct vm_test *v)
{
    for (unsigned i = 0; i < PAGES * 4096; i += 8)
        *(volatile uint64_t *)(v->memory + i) = 0xf4d8220ff4f4f4f4;
}

/* One of few values, so that guests load what is listed. */
static uint64_t some_cr3(void)
{
    return below(3) * 0x1000;
}

/* --- objects again in the same slot and memory --- */

static err_t again(cptr_t slot, cptr_t memory, unsigned type)
{
    delete_cap(slot);
    return sys_retype(IPC, memory, type, 0, SLOT_CNODE, slot, 1);
}

static bool window(struct vm_test *v)
{
    return sys_invoke2(v->space, GUESTSPACE_VIEW, v->window, RW) == ERR_OK &&
           sys_invoke2(v->window, VIEW_MAP, SLOT_VSPACE, (uint64_t)v->memory) == ERR_OK;
}

static bool vcpu_again(void)
{
    struct vm_test *v = &h.v;

    return again(v->vcpu, h.vcpu_memory, OBJ_VCPU) == ERR_OK && vm_vcpu(v) && vm_recv(v) == ERR_OK;
}

/* The old tables are the new VM's, as they name its place, and useless until they are set up. */
static bool vm_again(void)
{
    struct vm_test *v = &h.v;

    return again(v->vm, h.vm_memory, OBJ_VM) == ERR_OK && sys_invoke1(v->vm, VM_BIND, v->space) == ERR_OK &&
           sys_invoke1(v->vcpu, VCPU_BIND, v->vm) == ERR_OK && vm_recv(v) == ERR_OK;
}

static bool table_again(unsigned i)
{
    return again(h.v.table[i], h.table_memory + i, OBJ_SHADOW) == ERR_OK &&
           sys_invoke1(h.v.table[i], SHADOW_BIND, h.v.vm) == ERR_OK;
}

static void unmap_tables(void)
{
    cptr_t list[] = { h.v.level2, h.v.level1, h.v.level1 + 1 };

    for (unsigned i = 0; i < 3; i++) {
        unsigned k = below(3);
        cptr_t t = list[i];
        list[i] = list[k];
        list[k] = t;
    }
    for (unsigned i = 0; i < 3; i++)
        sys_invoke0(list[i], PAGETABLE_UNMAP);
}

static bool space_again(void)
{
    struct vm_test *v = &h.v;
    bool before = one_in(2);

    if (before)
        unmap_tables();
    if (again(v->space, h.space_memory, OBJ_GUESTSPACE) != ERR_OK)
        return false;
    if (!before)
        unmap_tables();
    bool ok =
        vm_memory(v) && window(v) && sys_invoke1(v->vm, VM_BIND, v->space) == ERR_OK && vm_recv(v) == ERR_OK;
    if (ok)
        fill_with_hlt(v);
    return ok;
}

/* The VM is without memory for a while, in which something goes. */
static bool memory_lost_for_a_while(void)
{
    bool ok = sys_invoke1(SLOT_CNODE, CNODE_REVOKE, h.v.space) == ERR_OK;

    if (one_in(2))
        ok = ok && table_again(below(VM_TABLES));
    return ok && window(&h.v) && sys_invoke1(h.v.vm, VM_BIND, h.v.space) == ERR_OK && vm_recv(&h.v) == ERR_OK;
}

static bool change_something(void)
{
    uint64_t gfn = below(1030), n = 1 + below(8), range = h.v.range;
    unsigned op = 1 + below(4), rights = one_in(2) ? RW : RIGHT_READ;

    sys_invoke2(h.v.space, GUESTSPACE_CHANGE, CHANGE_W0(range, op, rights, op == CHANGE_MAP_2M ? 512 : n),
                CHANGE_W1(op == CHANGE_MAP_2M ? gfn & 512 : gfn, op == CHANGE_MAP_2M ? gfn & 512 : gfn));
    return true;
}

static bool large_page_comes_or_goes(void)
{
    err_t e =
        sys_invoke2(h.v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_UNMAP, 0, 512), CHANGE_W1(512, 0));

    if (e == ERR_OK && one_in(2)) {
        sys_invoke0(h.v.level1 + 1, PAGETABLE_UNMAP);
        sys_invoke2(h.v.space, GUESTSPACE_CHANGE, CHANGE_W0(h.v.range, CHANGE_MAP_2M, RW, 512),
                    CHANGE_W1(512, 512));
    } else if (e == ERR_OK) {
        sys_invoke3(h.v.level1 + 1, PAGETABLE_MAP, h.v.space, 1ul << 21, 1);
        sys_invoke2(h.v.space, GUESTSPACE_CHANGE, CHANGE_W0(h.v.range, CHANGE_MAP, RW, 512),
                    CHANGE_W1(512, 512));
    }
    return e == ERR_OK;
}

static bool views_again(void)
{
    cptr_t view = one_in(2) ? h.v.exit_view : h.v.reply_view;
    cptr_t more = new_slot();
    bool ok = sys_invoke2(h.v.vcpu, VCPU_VIEW, more, one_in(2)) == ERR_OK;

    ok = ok && sys_invoke2(more, VIEW_MAP, SLOT_VSPACE, (uint64_t)h.v.x + 0x8000) == ERR_OK;
    sys_invoke0(view, VIEW_UNMAP);
    ok = ok && delete_cap(more) == ERR_OK &&
         sys_invoke2(view, VIEW_MAP, SLOT_VSPACE,
                     (uint64_t)(view == h.v.exit_view ? (volatile void *)(uintptr_t)h.v.x : h.v.r)) == ERR_OK;
    return ok;
}

static bool notification_again(void)
{
    sys_invoke1(h.v.vcpu, VCPU_BIND_NOTIFICATION, 0);
    if (one_in(2)) {
        sys_invoke1(SLOT_CNODE, CNODE_REVOKE, h.v.notification);
        sys_invoke1(h.timer, TIMER_BIND, h.v.notification);
    }
    return sys_invoke1(h.v.vcpu, VCPU_BIND_NOTIFICATION, h.v.notification) == ERR_OK;
}

static bool something_goes(void)
{
    switch (below(12)) {
    case 0:
        return vcpu_again();
    case 1:
        return vm_again();
    case 2:
        return space_again();
    case 3:
        return memory_lost_for_a_while();
    case 4:
        return views_again();
    case 5:
        return notification_again();
    case 6:
        return large_page_comes_or_goes();
    case 7:
    case 8:
        return table_again(below(VM_TABLES));
    case 9:
        sys_invoke2(h.v.space, GUESTSPACE_HARVEST, below(16) * 64, 1 + below(4));
        return true;
    default:
        return change_something();
    }
}

/* --- replies --- */

static cptr_t some_table(void)
{
    if (one_in(24))
        return h.other.table[below(VM_TABLES)];
    return one_in(32) ? (cptr_t)word() : h.v.table[below(VM_TABLES)];
}

static void random_op(void)
{
    unsigned code = one_in(40) ? rnd() & 0xff : 1 + below(OP_CODES - 1);
    unsigned index = one_in(16) ? rnd() & 0xffff : one_in(2) ? below(4) : below(512), rights = rnd() & 0xff;
    uint64_t second = word();

    if (one_in(2))
        rights |= SH_READ, rights &= ~(unsigned)SH_LARGE;
    switch (code) {
    case OP_SETUP:
        index = one_in(16) ? index : SHADOW_KIND(one_in(3) ? below(3) : SHADOW_LONG, 1 + below(4));
        break;
    case OP_LINK:
        second = some_table();
        break;
    case OP_FILL:
        second = one_in(16) ? word() : below(1030);
        break;
    case OP_FILL_RUN:
        second = OP_W1_RUN(below(1030), below(20));
        break;
    case OP_ROOT_LIST:
        second = one_in(4) ? word() : some_cr3();
        index = below(18);
        break;
    case OP_SET_ROOT:
        index = below(18);
        break;
    default:
        break;
    }
    op(&h.v, OP_W0(code, rights, index, one_in(16) && code >= OP_SET_ROOT ? 0 : some_table()));
    if (code == OP_LINK || code == OP_FILL || code == OP_FILL_RUN || code == OP_ROOT_LIST)
        op(&h.v, second);
    for (unsigned i = 0; code == OP_DOWNGRADE && i < 8; i++)
        op(&h.v, rnd() & rnd());
}

static void random_state(void)
{
    volatile uint64_t *r = (volatile uint64_t *)h.v.r;

    for (unsigned i = 0; i < offsetof(struct umbra_reply_page, ops) / 8; i++)
        if (one_in(4))
            r[i] = word();
    h.v.r->groups = rnd() & rnd() & (one_in(16) ? UINT32_MAX : STATE_ALL);
    h.v.r->want = rnd() & (one_in(16) ? UINT32_MAX : STATE_ALL);
    h.v.r->flags = one_in(64) ? (uint32_t)rnd() : one_in(8) ? REPLY_WINDOW : 0;
    h.v.r->gpr_mask = (uint32_t)rnd();
    h.v.r->event = one_in(2)   ? 0
                   : one_in(4) ? word()
                               : EVENT_MAKE(below(256), below(8)) | (one_in(2) ? EVENT_HAS_ERROR : 0);
}

/* A guest that could really run, in one of the modes, often with something wrong. */
static void plausible_state(void)
{
    static const uint64_t none[offsetof(struct umbra_reply_page, ops) / 8];

    memcpy((void *)(uintptr_t)h.v.r, none, sizeof(none));
    if (one_in(2) || h.v.x->kind == EXIT_ROOT || h.v.x->kind == EXIT_START)
        sys_invoke2(h.v.space, GUESTSPACE_HARVEST, 0, 1); /* a new epoch: all tables can be set up */
    else
        return;
    if (one_in(3)) {
        vm_identity(&h.v, PAGES);
        vm_real_mode(&h.v, below(PAGES * 4096));
        h.v.r->cr0 |= rnd() & 1;
    } else {
        vm_long_tables(&h.v);
        op(&h.v, OP_W0(OP_FILL_RUN, RWXU, 0, h.v.table[5]));
        op(&h.v, OP_W1_RUN(0, PAGES));
        uint64_t rip = below(PAGES * 4096);
        vm_long_mode(&h.v, one_in(2) ? rip : (rip & ~7ul) | 4, below(PAGES * 4096), one_in(2));
        h.v.r->gpr_mask |= 1u << RAX;
        h.v.r->gpr[RAX] = some_cr3();
        for (unsigned i = below(3); i > 0; i--) {
            op(&h.v, OP_W0(OP_ROOT_LIST, 0, below(16), h.v.table[2]));
            op(&h.v, some_cr3());
        }
    }
    if (one_in(2))
        h.v.r->event = EVENT_MAKE(below(256), below(8)) | (one_in(2) ? EVENT_HAS_ERROR : 0);
    h.v.r->want = rnd() & STATE_ALL;
    for (unsigned i = below(4); i > 0; i--) {
        h.v.r->groups |= 1u << below(10);
        ((volatile uint64_t *)h.v.r)[1 + below(sizeof(none) / 8 - 1)] = word();
    }
    h.v.r->flags = one_in(64) ? (uint32_t)rnd() : one_in(8) ? REPLY_WINDOW : 0;
}

/* The reply, with an end to whatever it starts. */
static err_t answer(void)
{
    struct sys_message m = { 0 };

    sys_invoke1(h.timer, TIMER_SET, now() + boot->tsc_hz / 500);
    h.v.r->seq = one_in(64) ? word() : h.v.x->seq;
    h.v.r->op_words = one_in(64) ? (uint32_t)word() : h.v.words;
    h.v.words = 0;
    err_t e = sys_reply_recv(h.v.vcpu, 0, &m);
    sys_invoke0(h.timer, TIMER_CANCEL);
    h.errors[e < ERR_COUNT ? e : 0]++;
    if (e == ERR_OK)
        h.kinds[h.v.x->kind % EXIT_KINDS]++, h.loads += h.v.x->cr3_loads;
    return e;
}

/* --- the whole --- */

static bool begin(uint64_t seed)
{
    h = (struct hostile){ .random = seed * 0x9e3779b97f4a7c15 | 1, .seed = seed };
    h.vm_memory = new_object(OBJ_UNTYPED, BITS_VM);
    h.vcpu_memory = new_object(OBJ_UNTYPED, BITS_VCPU);
    h.space_memory = new_object(OBJ_UNTYPED, BITS_GUESTSPACE);
    h.table_memory = new_objects(OBJ_UNTYPED, BITS_SHADOW, VM_TABLES);
    h.timer = new_object(OBJ_TIMER, 0);
    if (!vm_make_at(&h.v, 0, h.vm_memory) || !vm_make_at(&h.other, 1, 0))
        return false;
    bool ok = sys_invoke1(h.timer, TIMER_BIND, h.v.notification) == ERR_OK && vcpu_again() && space_again();
    for (unsigned i = 0; i < VM_TABLES; i++)
        ok = ok && table_again(i);
    return ok;
}

/* The neighbour: a guest that halts again and again, and memory that stays as it is. */
static bool other_begins(void)
{
    struct vm_test *o = &h.other;

    fill_with_hlt(o);
    for (unsigned i = PAGES * 4096; i < 1u << VM_BITS; i += 8)
        *(volatile uint64_t *)(o->memory + i) = i * h.seed;
    if (vm_recv(o) != ERR_OK)
        return false;
    vm_long_tables(o);
    vm_long_mode(o, 0x1000, 0x8000, false);
    op(o, OP_W0(OP_FILL_RUN, RWXU, 0, o->table[5]));
    op(o, OP_W1_RUN(0, PAGES));
    return vm_reply(o, NULL) == ERR_OK;
}

static bool other_is_well(void)
{
    struct vm_test *o = &h.other;

    if (o->x->kind != EXIT_HLT || vm_reply(o, NULL) != ERR_OK || o->x->kind != EXIT_HLT || !vm_audit(o))
        return false;
    for (unsigned i = PAGES * 4096; i < 1u << VM_BITS; i += 8)
        if (*(volatile uint64_t *)(o->memory + i) != i * h.seed)
            return false;
    return true;
}

static void say(void)
{
    print_number("# seed 0x", h.seed, ", answers by error (first: taken)");
    for (unsigned i = 0; i < ERR_COUNT; i++)
        print_number(" ", h.errors[i], "");
    print("\n# exits by kind");
    for (unsigned i = 0; i < EXIT_KINDS; i++)
        print_number(" ", h.kinds[i], "");
    print_number(", CR3 loads served ", h.loads, "\n");
}

static bool reply_of(unsigned style)
{
    unsigned ops = one_in(4) ? 0 : below(12);

    if (!one_in(8))
        plausible_state();
    else
        random_state();
    if (style)
        for (unsigned i = 0; i < ops; i++)
            random_op();
    while (style && one_in(32) &&
           h.v.words < REPLY_OPS_MAX - 10) /* so much that it is done in several goes */
        for (unsigned i = 0; i < 40 && h.v.words < REPLY_OPS_MAX - 10; i++)
            op(&h.v, OP_W0(one_in(2) ? OP_CLEAR : OP_FLUSH, 0, 0, h.v.table[6 + below(10)]));
    if (style == 2 && one_in(8)) /* nothing but garbage */
        for (unsigned i = 0; i < PAGE_BYTES / 8; i++)
            ((volatile uint64_t *)h.v.r)[i] = word();
    answer();
    if (h.v.x->kind == EXIT_BROKEN)
        return vcpu_again();
    return true;
}

static void attack(uint64_t seed, unsigned rounds, unsigned style, bool objects)
{
    bool ok = begin(seed) && other_begins();

    for (unsigned i = 0; i < rounds && ok; i++) {
        ok = reply_of(style) && (!objects || !one_in(4) || something_goes()) && vm_audit(&h.v);
        if (ok && i % 256 == 0)
            ok = other_is_well();
        if (!ok)
            print_number("# round 0x", i, "\n");
    }
    say();
    CHECK(ok);
    CHECK(other_is_well());
    CHECK(h.errors[ERR_OK] > rounds / 8); /* else this tests nothing */
}

TEST(register_values_and_events_of_all_kinds_are_survived)
{
    attack(1, 4000, 0, false);
}

TEST(random_operations_keep_the_tables_consistent)
{
    attack(2, 6000, 1, false);
}

TEST(garbage_in_every_word_of_the_reply_is_survived)
{
    attack(3, 6000, 2, false);
}

TEST(objects_that_go_and_come_again_between_replies_leave_nothing_behind)
{
    attack(4, 6000, 1, true);
}

TEST(all_of_it_at_once)
{
    attack(5, 6000, 2, true);
}
