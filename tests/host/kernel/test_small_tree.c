/* SPDX-License-Identifier: BSD-2-Clause */
/* Every derivation tree of an Untyped that four slots can hold, and every operation in each: what is left is
 * what a list of (slot, depth) in order says, whether the operation was broken off at each of its steps or
 * not. The states are found by doing all operations in all states until there is no new one. */
// USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c
// USES: tests/host/kernel/fake_arch.c tests/host/kernel/world.c tests/host/kernel/tree_check.c
// USES: tests/host/kernel/cap_inside.c
#include "world.h"
#include <stdlib.h>
#include <string.h>

#define SLOTS      4u
#define FIRST      20u /* of the root CNode */
#define STATES_MAX 1000u
#define SLOT_BYTES (sizeof(struct cap) << CNODE_BITS)

/* Capabilities below the Untyped, each before its children, the first child first. */
struct forest {
    unsigned n;
    struct {
        uint8_t slot, depth, original;
    } cap[SLOTS];
};

static struct state {
    struct forest forest;
    unsigned char slots[SLOT_BYTES];
} * states;
static unsigned state_count;

enum op { RETYPE, COPY, MOVE, DELETE, REVOKE, OPS }; /* RETYPE: from is how many besides the one */

/* --- what should be --- */

static unsigned place_of(const struct forest *f, unsigned slot)
{
    unsigned i = 0;

    while (i < f->n && f->cap[i].slot != slot)
        i++;
    return i;
}

static unsigned descendants(const struct forest *f, unsigned i)
{
    unsigned n = 0;

    while (i + 1 + n < f->n && f->cap[i + 1 + n].depth > f->cap[i].depth)
        n++;
    return n;
}

static void insert(struct forest *f, unsigned at, unsigned slot, unsigned depth, bool original)
{
    memmove(&f->cap[at + 1], &f->cap[at], (f->n - at) * sizeof(f->cap[0]));
    f->cap[at].slot = (uint8_t)slot;
    f->cap[at].depth = (uint8_t)depth;
    f->cap[at].original = original;
    f->n++;
}

static void take(struct forest *f, unsigned at, unsigned n)
{
    memmove(&f->cap[at], &f->cap[at + n], (f->n - at - n) * sizeof(f->cap[0]));
    f->n -= n;
    memset(&f->cap[f->n], 0, (SLOTS - f->n) * sizeof(f->cap[0]));
}

/* A row of 1 + more, each before the ones of before. */
static err_t expect_row(struct forest *f, unsigned to, unsigned more)
{
    for (unsigned slot = to; slot <= to + more; slot++)
        if (place_of(f, slot) < f->n)
            return ERR_SLOT_OCCUPIED;
    for (unsigned slot = to; slot <= to + more; slot++)
        insert(f, 0, slot, 1, true);
    return ERR_OK;
}

static err_t expect(struct forest *f, enum op op, unsigned from, unsigned to)
{
    unsigned i = place_of(f, from);
    bool full = place_of(f, to) < f->n, there = i < f->n;

    if (op == RETYPE)
        return expect_row(f, to, from);
    if (op < DELETE && full)
        return ERR_SLOT_OCCUPIED;
    if ((op == COPY || op == MOVE) && !there)
        return ERR_NO_CAP;
    if (op == MOVE && descendants(f, i))
        return ERR_HAS_CHILDREN;
    if (op == COPY)
        insert(f, i + 1, to, f->cap[i].depth + 1u, false);
    else if (op == MOVE)
        f->cap[i].slot = (uint8_t)to;
    else if (there && op == DELETE)
        take(f, i, 1 + descendants(f, i));
    else if (there)
        take(f, i + 1, descendants(f, i));
    return ERR_OK;
}

/* --- what is --- */

static struct forest found(void)
{
    struct forest f = { 0 };
    const struct cap *top = &root_slots[SLOT_UNTYPED], *c = top->child;

    while (c && c != top) {
        CHECK(f.n < SLOTS && c->type == OBJ_ENDPOINT);
        CHECK(c >= root_slots + FIRST && c < root_slots + FIRST + SLOTS);
        f.cap[f.n].slot = (uint8_t)(c - root_slots - FIRST);
        f.cap[f.n].depth = c->depth;
        f.cap[f.n++].original = !!(c->flags & CAP_ORIGINAL);
        if (c->child) {
            c = c->child;
            continue;
        }
        while (c != top && !c->next)
            c = c->parent;
        c = c != top ? c->next : c;
    }
    return f;
}

static err_t try_once(enum op op, unsigned from, unsigned to)
{
    struct call k = { .cap = &root_slots[SLOT_ROOT], .cspace = root_slots, .cspace_bits = CNODE_BITS };

    switch (op) {
    case RETYPE:
        k.cap = &root_slots[SLOT_UNTYPED];
        k.method = UNTYPED_RETYPE;
        k.words = 5;
        k.w[0] = OBJ_ENDPOINT;
        k.w[2] = SLOT_ROOT;
        k.w[3] = FIRST + to;
        k.w[4] = 1 + from;
        break;
    case COPY:
    case MOVE:
        k.method = op == COPY ? CNODE_COPY : CNODE_MOVE;
        k.words = 3;
        k.w[0] = FIRST + to;
        k.w[1] = FIRST + from;
        k.w[2] = RIGHT_ALL;
        break;
    default:
        k.method = op == DELETE ? CNODE_DELETE : CNODE_REVOKE;
        k.words = 1;
        k.w[0] = FIRST + from;
    }
    return call_once(&k);
}

static void remember(const struct forest *f)
{
    for (unsigned i = 0; i < state_count; i++)
        if (!memcmp(&states[i].forest, f, sizeof(*f)))
            return;
    CHECK(state_count < STATES_MAX);
    states[state_count].forest = *f;
    memcpy(states[state_count++].slots, root_slots, SLOT_BYTES);
}

static void try_in(unsigned state, enum op op, unsigned from, unsigned to, bool broken_off)
{
    struct forest f = states[state].forest, is;
    err_t expected = expect(&f, op, from, to), e;
    unsigned tries = 0;

    memcpy(root_slots, states[state].slots, SLOT_BYTES);
    do {
        preempt_after(broken_off ? 0 : PREEMPT_STEPS);
        e = try_once(op, from, to);
        tree_check();
        CHECK(++tries < 2 * SLOTS);
    } while (e == PREEMPTED);
    is = found();
    check_note("state %u operation %u from %u to %u broken off %u", state, op, from, to, broken_off);
    CHECK_EQ(e, expected);
    CHECK_MEM_EQ(&is, &f, sizeof(f));
    if (!broken_off)
        remember(&f);
}

TEST(every_small_derivation_tree_is_what_was_done)
{
    const struct forest empty = { 0 };

    log_refusals = false;
    world_init();
    states = malloc(STATES_MAX * sizeof(*states));
    remember(&empty);
    for (unsigned s = 0; s < state_count; s++)
        for (unsigned op = 0; op < OPS; op++)
            for (unsigned from = 0; from < SLOTS; from++)
                for (unsigned to = 0; to < SLOTS; to++) {
                    if ((op == RETYPE && to + from >= SLOTS) || (op >= DELETE && to))
                        continue;
                    try_in(s, (enum op)op, from, to, false);
                    if (op >= DELETE)
                        try_in(s, (enum op)op, from, to, true);
                }
    /* ordered forests of k labelled capabilities: k! times the k-th Catalan number, of each k slots */
    CHECK_EQ(state_count, 1 + 4 * 1 + 6 * 2 * 2 + 4 * 6 * 5 + 24 * 14);
    free(states);
}
