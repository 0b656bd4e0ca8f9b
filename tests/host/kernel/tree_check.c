/* SPDX-License-Identifier: BSD-2-Clause */
/* The invariants of kernel/cap.h, checked over everything that can be reached from the boot capabilities,
 * from the slots of all CNodes and from the dying ones: links, depth, rights, where objects lie, where slots
 * lie, what page tables show. */
#include "world.h"
#include <stdlib.h>

struct census census;

bool below(const struct cap *c, const struct cap *ancestor)
{
    for (c = c->parent; c; c = c->parent)
        if (c == ancestor)
            return true;
    return false;
}

/* A dying CNode's slot 0 is the begin of the CNode; its obj links it. */
static uint64_t obj_of(const struct cap *c)
{
    return c->flags & CAP_ZOMBIE ? phys_to_hpa(c).v : c->obj;
}

static bool makes_space(const struct cap *c) /* an original that occupies memory */
{
    return (c->flags & CAP_ORIGINAL) && c->type != OBJ_UNTYPED && c->type < OBJ_VIEW &&
           obj_of(c) >= UNTYPED_AT;
}

static uint64_t bytes_of(const struct cap *c)
{
    return 1ull << (c->type == OBJ_CNODE ? c->bits + BITS_SLOT : c->bits);
}

static void check_node(const struct cap *c, const struct cap *parent)
{
    CHECK(c->type != OBJ_NULL && c->type < OBJ_TYPES);
    CHECK(c->parent == parent);
    if (!parent)
        return;
    CHECK_EQ(c->rights & ~parent->rights, 0);
    CHECK(parent->depth < DERIVE_DEPTH_MAX);
    if (c->flags & CAP_ZOMBIE)
        CHECK(c->depth > parent->depth);
    else
        CHECK_EQ(c->depth, parent->depth + 1);
    if (c->flags & CAP_ORIGINAL) {
        CHECK_EQ(parent->type, OBJ_UNTYPED);
        CHECK(obj_of(c) >= parent->obj && obj_of(c) % bytes_of(c) == 0);
        if (!(c->flags & CAP_ZOMBIE))
            CHECK(obj_of(c) - parent->obj + bytes_of(c) <= parent->d0);
        CHECK(obj_of(c) - parent->obj + bytes_of(c) <= bytes_of(parent));
    } else {
        CHECK_EQ(c->type, parent->type);
        CHECK_EQ(c->obj, parent->obj);
        CHECK_EQ(c->bits, parent->bits);
        if (parent->flags & CAP_BADGED)
            CHECK_EQ(c->d0, parent->d0);
    }
}

static void visit(struct cap *c)
{
    CHECK_LT(census.nodes, NODES_MAX);
    census.node[census.nodes++] = c;
    if (c->type == OBJ_CNODE && (c->flags & CAP_ORIGINAL))
        census.cnode[census.cnodes++] = (struct slots){ phys((hpa_t){ obj_of(c) }), c->bits };
}

/* Children of all nodes found so far; each is found once, as it has one parent and links are checked both
 * ways. */
static void visit_below(void)
{
    for (unsigned i = 0; i < census.nodes; i++) {
        struct cap *c = census.node[i], *prev = NULL;
        for (struct cap *k = c->child; k; prev = k, k = k->next) {
            CHECK(k->prev == prev);
            check_node(k, c);
            visit(k);
        }
    }
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (struct cap *const *)a, y = (uintptr_t) * (struct cap *const *)b;
    return x < y ? -1 : x > y;
}

static bool is_node(const struct cap *slot)
{
    return bsearch(&slot, census.node, census.nodes, sizeof(slot), by_address) != NULL;
}

static bool in_a_cnode(const struct cap *slot)
{
    for (unsigned i = 0; i < census.cnodes; i++)
        if (slot >= census.cnode[i].first && slot < census.cnode[i].first + (1ul << census.cnode[i].bits))
            return true;
    return false;
}

/* A slot that is part of an object: that object lives. */
static bool in_an_object(const struct cap *slot)
{
    if (!slot->holder)
        return false;
    if (slot->holder == OBJ_IRQ)
        return slot >= cpu.irq && slot < cpu.irq + IRQ_LINES;
    for (unsigned i = 0; i < census.nodes; i++) {
        const struct cap *o = census.node[i];
        uint64_t at = phys_to_hpa(slot).v;
        if (o->type == slot->holder && makes_space(o) && at >= obj_of(o) && at < obj_of(o) + bytes_of(o))
            return true;
    }
    return false;
}

/* Every capability lies in a slot that lives, and every slot that lives holds nothing that the tree does not
 * know. */
static void check_slots(void)
{
    for (unsigned i = 0; i < census.nodes; i++)
        CHECK(in_a_cnode(census.node[i]) || in_an_object(census.node[i]));
    for (unsigned i = 0; i < census.cnodes; i++)
        for (struct cap *s = census.cnode[i].first; s < census.cnode[i].first + (1ul << census.cnode[i].bits);
             s++) {
            CHECK_EQ(s->holder, 0);
            if (s->type != OBJ_NULL)
                CHECK(is_node(s));
            else
                CHECK(!s->parent && !s->child && !s->next && !s->prev);
        }
}

static int by_object(const void *a, const void *b)
{
    uint64_t x = obj_of(*(struct cap *const *)a), y = obj_of(*(struct cap *const *)b);
    return x < y ? -1 : x > y;
}

static void check_no_overlap(void)
{
    static struct cap *object[NODES_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < census.nodes; i++)
        if (makes_space(census.node[i]))
            object[n++] = census.node[i];
    qsort(object, n, sizeof(object[0]), by_object);
    for (unsigned i = 1; i < n; i++)
        CHECK(obj_of(object[i - 1]) + bytes_of(object[i - 1]) <= obj_of(object[i]));
    /* Of two untypeds one contains the other as its descendant, or they are apart; so with untyped and
     * object. */
    for (unsigned i = 0; i < census.nodes; i++) {
        struct cap *u = census.node[i];
        if (u->type != OBJ_UNTYPED)
            continue;
        for (unsigned k = 0; k < census.nodes; k++) {
            struct cap *o = census.node[k];
            if (o == u || !(o->flags & CAP_ORIGINAL) || (o->flags & CAP_ZOMBIE) || o->type >= OBJ_VIEW ||
                obj_of(o) < UNTYPED_AT || below(u, o))
                continue;
            bool apart = obj_of(o) + bytes_of(o) <= u->obj || u->obj + bytes_of(u) <= obj_of(o);
            CHECK(apart || below(o, u));
        }
        const uint64_t *p = cap_object(u);
        if (u->child || !u->d0) /* else all is forgotten at the next Retype */
            for (uint64_t at = u->d0; at < u->d1; at += 256)
                CHECK_EQ(p[at / 8], 0); /* what is said to be zero is: samples */
    }
}

/* The entries of a live address space show live frames and tables, mapped there by a capability that says so.
 */
static void check_entry(uint64_t ref, uint64_t address, uint64_t entry, unsigned level)
{
    bool table = level > 1 && !(entry & PTE_PS);

    for (unsigned i = 0; i < census.nodes; i++) {
        struct cap *c = census.node[i];
        if (c->type != (table ? OBJ_PAGETABLE : OBJ_FRAME) || c->obj != pte_hpa(entry).v || c->d1 != ref ||
            c->d0 != address || (table && c->kind != level - 1))
            continue;
        CHECK((c->rights & RIGHT_WRITE) || table || !(entry & PTE_W));
        if (table)
            for (unsigned k = 0; k < TABLE_ENTRIES; k++) {
                uint64_t e = ((uint64_t *)cap_object(c))[k];
                if ((e & PTE_P) && level - 1 == 1)
                    check_entry(ref, address + k * level_bytes(1), e, 1);
                else if (e & PTE_P)
                    check_entry(ref, address + k * level_bytes(level - 1), e, level - 1);
            }
        return;
    }
    FAIL("address %llx shows %llx, which nothing maps there", (unsigned long long)address,
         (unsigned long long)pte_hpa(entry).v);
}

static void check_spaces(void)
{
    for (unsigned i = 0; i < census.nodes; i++) {
        struct cap *v = census.node[i];
        if (v->type != OBJ_VSPACE || !(v->flags & CAP_ORIGINAL))
            continue;
        const uint64_t *root = cap_object(v);
        uint64_t ref = meta_of((hpa_t){ v->obj })->stamp << 28 | v->obj >> PAGE_SHIFT;
        for (unsigned k = 0; k < 256; k++)
            if (root[k] & PTE_P)
                check_entry(ref, k * level_bytes(4), root[k], 4);
        for (unsigned k = 256; k < 512; k++)
            CHECK_EQ(root[k], FAKE_KERNEL_ENTRY);
    }
}

void tree_check(void)
{
    census.nodes = census.cnodes = 0;
    for (unsigned i = 1; i < SLOT_FREE; i++)
        if (root_slots[i].type != OBJ_NULL) {
            check_node(&root_slots[i], NULL);
            visit(&root_slots[i]);
        }
    for (unsigned i = 0; i <= CALLERS; i++) {
        const struct cap *head = i < CALLERS ? &world_caller(i)->dying : NULL;
        for (struct cap *z = next_dying(head, NULL); z; z = next_dying(head, z)) {
            CHECK(z->flags & CAP_ZOMBIE);
            if (!z->parent)
                visit(z);
        }
    }
    visit_below();
    qsort(census.node, census.nodes, sizeof(census.node[0]), by_address);
    for (unsigned i = 1; i < census.nodes; i++)
        CHECK(census.node[i] != census.node[i - 1]);
    check_slots();
    check_no_overlap();
    check_spaces();
}
