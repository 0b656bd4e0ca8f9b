/* SPDX-License-Identifier: BSD-2-Clause */
/* Random histories of Retype, Copy, Mint, Move, Delete, Revoke, mappings and bindings over several CNodes and
 * untypeds, preempted at any step, gone on with or given up, with everything checked after each call; then
 * named cases. */
/* USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c */
/* USES: tests/host/kernel/fake_arch.c tests/host/kernel/[tw]*[kd].c tests/host/kernel/cap_inside.c */
#include "world.h"
#include <string.h>

static uint64_t seed;

static uint64_t any(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

/* A live capability that processes may name: in a CNode, and not slot 0. */
static struct cap *any_cap(unsigned type, struct slots *in)
{
    struct cap *found = NULL;
    unsigned seen = 0;

    for (unsigned i = 0; i < census.cnodes; i++) {
        struct slots *s = &census.cnode[i];
        if (s->first->flags & CAP_ZOMBIE)
            continue;
        for (unsigned k = 1; k < 1u << s->bits; k++)
            if ((type == OBJ_NULL ? s->first[k].type != OBJ_NULL : s->first[k].type == type) &&
                any(++seen) == 0) {
                found = &s->first[k];
                *in = *s;
            }
    }
    return found;
}

static uint64_t index_in(const struct cap *c, const struct slots *s)
{
    return c - s->first;
}

/* Deleting by one of the threads, preempted at a random step: to the end, or given up half way: for good, for
 * later, or by a thread that ends, whose work another inherits. */
static unsigned by;

static err_t give_up(void)
{
    unsigned other = any(CALLERS);

    if (other != by && any(3) == 0) {
        cap_work_begin(&world_caller(other)->dying);
        cap_work_inherit(&world_caller(by)->dying);
        cap_work_end(PREEMPTED);
    } else if (any(5) == 0) { /* it ends itself */
        cap_work_begin(&world_caller(by)->dying);
        cap_work_inherit(&world_caller(by)->dying);
        cap_work_end(PREEMPTED);
    }
    return PREEMPTED;
}

static err_t take_away(const struct call *c)
{
    world_choose(by = any(CALLERS));
    for (unsigned i = 0;; i++) {
        preempt_after(any(6));
        err_t e = call_once(c);
        if (e != PREEMPTED)
            return e;
        if (any(3) == 0)
            tree_check();
        if (any(6) == 0)
            return give_up();
        CHECK_LT(i, 100000);
    }
}

static void do_retype(void)
{
    static const struct {
        uint8_t type, low, high;
    } kinds[] = { { OBJ_UNTYPED, 10, 18 }, { OBJ_UNTYPED, 12, 21 }, { OBJ_CNODE, 1, 6 },
                  { OBJ_CNODE, 2, 4 },     { OBJ_ENDPOINT, 0, 0 },  { OBJ_NOTIFICATION, 0, 0 },
                  { OBJ_TIMER, 0, 0 },     { OBJ_TCB, 0, 0 },       { OBJ_FRAME, 12, 12 },
                  { OBJ_FRAME, 12, 12 },   { OBJ_VSPACE, 0, 0 },    { OBJ_PAGETABLE, 0, 0 },
                  { OBJ_REPLY, 0, 0 },     { OBJ_SCHED, 0, 0 },     { OBJ_RANGE, 12, 15 },
                  { OBJ_PAGETABLE, 0, 0 } };
    unsigned k = any(sizeof(kinds) / sizeof(kinds[0]));
    uint8_t type = kinds[k].type, bits = kinds[k].low + any(kinds[k].high - kinds[k].low + 1);
    struct slots uin, cin;
    struct cap *u = any_cap(OBJ_UNTYPED, &uin), *cn = any_cap(OBJ_CNODE, &cin);

    if (!u || !cn)
        return;
    uint64_t first = 1 + any((1u << cn->bits) - 1), n = 1 + any(3);
    struct call c = {
        u, UNTYPED_RETYPE, 5, { type, bits, index_in(cn, &cin), first, n }, cin.first, cin.bits
    };
    preempt_after(any(8));
    struct cap *made = (struct cap *)cap_object(cn) + first;
    if (call(&c) != ERR_OK)
        return;
    for (uint64_t i = 0; i < n; i++) {
        CHECK_EQ(made[i].type, type);
        uint64_t *p = cap_object(&made[i]);
        if (type == OBJ_FRAME) {
            for (unsigned w = 0; w < 512; w++)
                CHECK_EQ(p[w], 0);
            memset(p, 0xee, PAGE_BYTES);
        } else if (type == OBJ_CNODE || type == OBJ_PAGETABLE || type == OBJ_ENDPOINT) {
            for (uint64_t w = 0; w < (8ull << (type == OBJ_CNODE       ? bits
                                               : type == OBJ_PAGETABLE ? 6
                                                                       : 0));
                 w++)
                CHECK_EQ(p[w], 0);
        }
    }
}

static void do_derive(bool mint)
{
    struct slots sin, cin;
    struct cap *src = any_cap(OBJ_NULL, &sin), *cn = any_cap(OBJ_CNODE, &cin);
    uint64_t rights = any(16), badge = mint && any(2) ? 1 + any(100) : 0;

    if (!src || !cn)
        return;
    uint64_t index = 1 + any((1u << cn->bits) - 1);
    struct cap *dest = (struct cap *)cap_object(cn) + index, before = *src;
    struct call c = { cn,        mint ? CNODE_MINT : CNODE_COPY,
                      4,         { index, index_in(src, &sin), rights, badge },
                      sin.first, sin.bits };
    bool empty = dest->type == OBJ_NULL;
    err_t e = call(&c);
    if (e == ERR_OK) {
        CHECK(empty);
        CHECK_EQ(dest->rights, before.rights & rights);
        CHECK(dest->parent == src);
        if (badge)
            CHECK_EQ(dest->d0, badge);
    } else if (!empty && (cn->rights & RIGHT_WRITE)) {
        CHECK_EQ(e, ERR_SLOT_OCCUPIED);
    }
}

static void do_move(void)
{
    struct slots sin, cin;
    struct cap *src = any_cap(OBJ_NULL, &sin), *cn = any_cap(OBJ_CNODE, &cin);

    if (!src || !cn ||
        sin.first == root_slots) /* the boot capabilities stay where the check looks for them */
        return;
    uint64_t index = 1 + any((1u << cn->bits) - 1);
    struct cap before = *src, *dest = (struct cap *)cap_object(cn) + index;
    if (dest >= root_slots && dest < root_slots + SLOT_FREE)
        return;
    struct call c = { cn, CNODE_MOVE, 2, { index, index_in(src, &sin) }, sin.first, sin.bits };
    if (call(&c) == ERR_OK) {
        CHECK_EQ(src->type, OBJ_NULL);
        CHECK(dest->obj == before.obj && dest->rights == before.rights && dest->d0 == before.d0 &&
              dest->parent == before.parent && dest->flags == before.flags);
    }
}

static struct cap *descendants[NODES_MAX];
static unsigned collect_below(const struct cap *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < census.nodes; i++)
        if (below(census.node[i], c))
            descendants[n++] = census.node[i];
    return n;
}

static void do_take_away(bool self)
{
    struct slots sin;
    struct cap *victim = any_cap(OBJ_NULL, &sin);

    if (!victim || (victim >= root_slots && victim < root_slots + SLOT_FREE))
        return;
    /* Large ones seldom, or the world never grows. */
    if ((victim->type == OBJ_UNTYPED || victim->type == OBJ_CNODE) && any(4))
        return;
    struct cap *cn = NULL;
    for (unsigned i = 0; i < census.nodes && !cn; i++)
        if (census.node[i]->type == OBJ_CNODE && cap_object(census.node[i]) == (void *)sin.first &&
            (census.node[i]->rights & RIGHT_WRITE))
            cn = census.node[i];
    if (!cn)
        return;
    unsigned n = collect_below(victim);
    struct call c = { cn,      self ? CNODE_DELETE : CNODE_REVOKE, 1, { index_in(victim, &sin) }, sin.first,
                      sin.bits };
    if (take_away(&c) != ERR_OK)
        return;
    CHECK(!victim->child);
    CHECK(!next_dying(&world_caller(by)->dying, NULL));
    if (self)
        CHECK_EQ(victim->type, OBJ_NULL);
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(descendants[i]->type, OBJ_NULL);
}

static void do_map(void)
{
    struct slots fin, vin;
    struct cap *f = any_cap(any(2) ? OBJ_FRAME : OBJ_PAGETABLE, &fin), *v = any_cap(OBJ_VSPACE, &vin);

    if (!f || !v)
        return;
    uint64_t address = any(2) << 39 | any(2) << 30 | any(2) << 21 | any(3) << 12, level = 1 + any(3);
    bool table = f->type == OBJ_PAGETABLE;
    if (table)
        address &= ~(level_bytes(level + 1) - 1);
    struct call c = { f,         table ? PAGETABLE_MAP : FRAME_MAP,
                      3,         { index_in(v, &vin), address, table ? level : any(16) },
                      vin.first, vin.bits };
    if (any(5) == 0)
        c = (struct call){ f, table ? PAGETABLE_UNMAP : FRAME_UNMAP, 0, { 0 }, vin.first, vin.bits };
    call(&c);
}

/* Capabilities inside objects: a timer's, a thread's. */
static void do_bind(void)
{
    struct slots tin, nin;
    struct cap *t, *n;

    if (any(2)) {
        t = any_cap(OBJ_TIMER, &tin), n = any_cap(OBJ_NOTIFICATION, &nin);
        if (t && n)
            call(&(struct call){ t, TIMER_BIND, 1, { index_in(n, &nin) }, nin.first, nin.bits });
        if (t)
            call(&(struct call){ t, TIMER_SET, 1, { any(1000) }, tin.first, tin.bits });
        return;
    }
    t = any_cap(OBJ_TCB, &tin), n = any_cap(OBJ_CNODE, &nin);
    if (!t || !n)
        return;
    uint64_t vspace = 0;
    for (unsigned k = 1; k < 1u << nin.bits; k++)
        if (nin.first[k].type == OBJ_VSPACE)
            vspace = k;
    call(&(struct call){ t, TCB_CONFIGURE, 4, { index_in(n, &nin), vspace, 0, 0 }, nin.first, nin.bits });
    for (unsigned k = 1; k < 1u << nin.bits; k++)
        if (nin.first[k].type == OBJ_NOTIFICATION)
            call(&(struct call){ t, TCB_BIND_NOTIFICATION, 1, { k }, nin.first, nin.bits });
}

static void take_everything(void)
{
    struct call c = { &root_slots[SLOT_ROOT], CNODE_REVOKE, 1, { SLOT_UNTYPED }, root_slots, CNODE_BITS };

    CHECK_EQ(take_away(&c) == PREEMPTED ? call(&c) : ERR_OK, ERR_OK);
    CHECK_EQ(call(&c), ERR_OK);
    for (unsigned i = SLOT_FREE; i < 1u << CNODE_BITS; i++) /* derived from boot capabilities */
        CHECK_EQ(
            call(&(struct call){ &root_slots[SLOT_ROOT], CNODE_DELETE, 1, { i }, root_slots, CNODE_BITS }),
            ERR_OK);
    tree_check();
    CHECK(!root_slots[SLOT_UNTYPED].child && !root_slots[SLOT_ROOT].child);
    CHECK(!cpu.deadlines && !anything_dying());
    CHECK_EQ(census.nodes, SLOT_FREE - 1);
    for (unsigned i = 0; i < frame_meta_count; i++)
        CHECK_EQ(frame_meta[i].owner, META_NONE);
    struct call all = { &root_slots[SLOT_UNTYPED],
                        UNTYPED_RETYPE,
                        5,
                        { OBJ_UNTYPED, UNTYPED_BITS, SLOT_ROOT, 100, 1 },
                        root_slots,
                        CNODE_BITS };
    CHECK_EQ(call(&all), ERR_OK);
    CHECK_EQ(call(&(struct call){ &root_slots[SLOT_ROOT], CNODE_DELETE, 1, { 100 }, root_slots, CNODE_BITS }),
             ERR_OK);
}

static void random_history(uint64_t start, unsigned steps)
{
    seed = start;
    world_init();
    tree_check();
    for (unsigned i = 0; i < steps; i++) {
        check_note("seed %llu step %u", (unsigned long long)start, i);
        switch (any(20)) {
        case 0 ... 5:
            do_retype();
            break;
        case 6 ... 8:
            do_derive(false);
            break;
        case 9 ... 10:
            do_derive(true);
            break;
        case 11 ... 13:
            do_move();
            break;
        case 14 ... 15:
            do_map();
            break;
        case 16:
            do_bind();
            break;
        case 17:
            do_take_away(false);
            break;
        default:
            do_take_away(true);
        }
        tree_check();
        if (i % 1000 == 999) {
            take_everything();
            tree_check();
        }
    }
    take_everything();
}

TEST(random_histories_keep_every_invariant)
{
    for (uint64_t s = 1; s <= 10; s++)
        random_history(s * 0x9e3779b97f4a7c15, 4000);
}

/* --- named cases --- */

static err_t retype(struct cap *u, unsigned type, unsigned bits, unsigned cnode_slot, uint64_t index)
{
    return call(
        &(struct call){ u, UNTYPED_RETYPE, 5, { type, bits, cnode_slot, index, 1 }, root_slots, CNODE_BITS });
}

/* A CNode that is being emptied (A) holds the last capability of another (B), which holds the Untyped above
 * the one that A is made of. Taking that away half way must not let A's memory be handed out again while A is
 * being emptied. */
TEST(memory_of_a_dying_cnode_is_not_handed_out)
{
    for (unsigned stop = 0; stop < 12; stop++) {
        world_init();
        enum { B = 10, U1, A, FRAME };
        struct cap *root = &root_slots[SLOT_ROOT];
        CHECK_EQ(retype(&root_slots[SLOT_UNTYPED], OBJ_CNODE, 3, SLOT_ROOT, B), ERR_OK);
        struct cap *b = cap_object(&root_slots[B]);
        CHECK_EQ(retype(&root_slots[SLOT_UNTYPED], OBJ_UNTYPED, 14, B, 1), ERR_OK);
        CHECK_EQ(retype(&b[1], OBJ_UNTYPED, 13, SLOT_ROOT, U1), ERR_OK);
        CHECK_EQ(retype(&root_slots[U1], OBJ_CNODE, 3, SLOT_ROOT, A), ERR_OK);
        CHECK_EQ(call(&(struct call){ &root_slots[A], CNODE_MOVE, 2, { 1, B }, root_slots, CNODE_BITS }),
                 ERR_OK);
        tree_check();
        struct call c = { root, CNODE_DELETE, 1, { A }, root_slots, CNODE_BITS };
        preempt_after(stop);
        err_t e = call_once(&c);
        tree_check();
        if (root_slots[U1].type == OBJ_UNTYPED) { /* its holder tries */
            retype(&root_slots[U1], OBJ_FRAME, FRAME_4K, SLOT_ROOT, FRAME);
            tree_check();
        }
        while (e == PREEMPTED)
            e = call_once(&c);
        CHECK_EQ(e, ERR_OK);
        tree_check();
        take_everything();
    }
}

/* --- who pays --- */

enum { PAY_U = 10, PAY_A, PAY_OTHER };

static const struct call delete_a = { NULL, CNODE_DELETE, 1, { PAY_A }, NULL, CNODE_BITS };

static err_t delete_slot(unsigned thread, unsigned slot)
{
    struct call c = delete_a;

    c.cap = &root_slots[SLOT_ROOT], c.cspace = root_slots, c.w[0] = slot;
    world_choose(thread);
    return call_once(&c);
}

/* A CNode full of capabilities whose deletion thread 0 has begun. */
static struct cap *half_deleted(void)
{
    world_init();
    CHECK_EQ(retype(&root_slots[SLOT_UNTYPED], OBJ_UNTYPED, 16, SLOT_ROOT, PAY_U), ERR_OK);
    CHECK_EQ(retype(&root_slots[PAY_U], OBJ_CNODE, 8, SLOT_ROOT, PAY_A), ERR_OK);
    struct cap *a = cap_object(&root_slots[PAY_A]);
    for (unsigned i = 1; i < 256; i++)
        CHECK_EQ(call(&(struct call){ &root_slots[PAY_U],
                                      UNTYPED_RETYPE,
                                      5,
                                      { OBJ_ENDPOINT, 0, PAY_A, i, 1 },
                                      root_slots,
                                      CNODE_BITS }),
                 ERR_OK);
    CHECK_EQ(retype(&root_slots[SLOT_UNTYPED], OBJ_ENDPOINT, 0, SLOT_ROOT, PAY_OTHER), ERR_OK);
    preempt_after(10);
    CHECK_EQ(delete_slot(0, PAY_A), PREEMPTED);
    CHECK(next_dying(&world_caller(0)->dying, NULL) == a);
    tree_check();
    return a;
}

static unsigned left_in(const struct cap *cnode)
{
    unsigned n = 0;

    for (unsigned i = 1; i < 256; i++)
        n += cnode[i].type != OBJ_NULL;
    return n;
}

TEST(what_another_thread_began_to_delete_costs_a_caller_nothing)
{
    const struct cap *a = half_deleted();
    unsigned before = left_in(a);

    CHECK(before > 200);
    CHECK_EQ(delete_slot(1, PAY_OTHER), ERR_OK);
    CHECK_EQ(root_slots[PAY_OTHER].type, OBJ_NULL);
    CHECK_EQ(left_in(a), before);
    while (delete_slot(0, PAY_A) == PREEMPTED)
        tree_check();
    CHECK_EQ(left_in(a), 0);
    CHECK(!anything_dying());
}

TEST(who_takes_the_memory_empties_the_cnode_that_another_began_with)
{
    const struct cap *a = half_deleted();

    while (delete_slot(1, PAY_U) == PREEMPTED)
        tree_check();
    CHECK_EQ(left_in(a), 0);
    CHECK(!anything_dying());
    CHECK_EQ(delete_slot(0, PAY_A), ERR_OK);
}

TEST(who_ends_a_thread_finishes_what_it_began)
{
    const struct cap *a = half_deleted();

    cap_work_begin(&world_caller(1)->dying);
    cap_work_inherit(&world_caller(0)->dying);
    cap_work_end(PREEMPTED);
    while (delete_slot(1, PAY_OTHER) == PREEMPTED)
        tree_check();
    CHECK_EQ(left_in(a), 0);
    CHECK(!anything_dying());
}

/* A thread that ended itself half way: each later caller does a little of it, and only that. */
TEST(what_nobody_goes_on_with_is_finished_by_small_steps)
{
    const struct cap *a = half_deleted();
    unsigned before = left_in(a), calls = 0;

    cap_work_begin(&world_caller(0)->dying);
    cap_work_inherit(&world_caller(0)->dying);
    cap_work_end(PREEMPTED);
    for (; anything_dying(); calls++) {
        CHECK_LT(calls, 100);
        preempt_after(PREEMPT_STEPS);
        CHECK_EQ(delete_slot(1, PAY_OTHER), ERR_OK);
        CHECK(before - left_in(a) <= 64);
        before = left_in(a);
        tree_check();
    }
    CHECK(calls > 3);
    CHECK_EQ(left_in(a), 0);
}
