/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree: insert, derive, move, revoke, delete. Invariants are in cap.h.
 *
 * Revoke works leaf first, one capability a step, and may stop after any step: the tree is whole between
 * steps, and running the same call again goes on. CNodes are emptied from a list of dying ones, so nothing
 * recurses; when a slot goes whose only children are dying CNodes, these move up to its parent (two CNodes
 * that hold each other's memory would otherwise wait for each other). Each thread has its own list: who calls
 * empties what its call began, and what it finds dying below what it revokes, and little else. What objects
 * do is not here. */
#include "cap.h"
#include "cpu.h"
#include "derive.h"
#include "links.h"
#include "log.h"

#define ORPHAN_STEPS 64u /* chosen: as long as two looks at interrupts are apart */

/* Dying CNodes: their slots 0 in a ring of d1 (next) and obj (previous) through a head that is no capability.
 */
static struct cap orphans;           /* begun by threads that have ended themselves */
static struct cap *dying = &orphans; /* of the thread that calls */

static struct cap *at(uint64_t pointer)
{
    return (struct cap *)(uintptr_t)pointer;
}

static struct cap *first_of(const struct cap *head)
{
    return head->d1 && at(head->d1) != head ? at(head->d1) : NULL;
}

static void join(struct cap *a, struct cap *b)
{
    a->d1 = (uintptr_t)b;
    b->obj = (uintptr_t)a;
}

static void dying_add(struct cap *zero)
{
    if (!dying->d1)
        join(dying, dying);
    join(zero, at(dying->d1));
    join(dying, zero);
}

static void dying_remove(struct cap *zero)
{
    join(at(zero->obj), at(zero->d1));
}

/* This call empties it, whoever began. */
static void adopt(struct cap *zombie)
{
    dying_remove(zombie);
    dying_add(zombie);
}

/* Debug builds keep the capabilities without a parent in a list, too, and count changes: the dump of all of
 * them (graph.c) begins there, and says nothing that was not true at one moment. */
#if UMBRA_DEBUG
static struct cap *boot;
uint64_t cap_changes;

static void boot_link(struct cap *c)
{
    cap_changes++;
    if (c->parent)
        return;
    c->next = boot;
    if (boot)
        boot->prev = c;
    boot = c;
}

static void boot_replace(const struct cap *c, struct cap *now)
{
    cap_changes++;
    if (boot == c)
        boot = now;
}

const struct cap *cap_next_of(const struct cap *c)
{
    if (!c)
        return boot;
    if (c->child)
        return c->child;
    while (c && !c->next) /* DERIVE_DEPTH_MAX levels at most */
        c = c->parent;
    return c ? c->next : NULL;
}
#else
static inline void boot_link(struct cap *c)
{
    (void)c;
}

static inline void boot_replace(const struct cap *c, struct cap *now)
{
    (void)c, (void)now;
}
#endif

static void unlink(struct cap *c)
{
    boot_replace(c, c->next);
    link_out(c);
}

void cap_insert(struct cap *dest, struct cap *parent)
{
    link_new(dest, parent);
    boot_link(dest);
}

void cap_insert_row(struct cap *first, unsigned n, struct cap *parent)
{
    struct cap *below = parent->child;
    uint8_t depth = parent->depth + 1;

    for (struct cap *c = first; c < first + n; c++) {
        c->depth = depth;
        c->parent = parent;
        c->child = NULL;
        c->next = below;
        c->prev = c + 1;
        below = c;
    }
    first[n - 1].prev = NULL;
    if (parent->child)
        parent->child->prev = first;
    parent->child = below;
    boot_link(first);
}

void cap_derive(struct cap *dest, struct cap *src, uint8_t rights, uint64_t badge)
{
    *dest = derived(src, dest->holder, rights, badge);
    cap_insert(dest, src);
}

void cap_move(struct cap *dest, struct cap *src)
{
    uint8_t holder = dest->holder, old_holder = src->holder;

    ASSERT(!src->child);
    *dest = *src;
    dest->holder = holder;
    if (dest->prev)
        dest->prev->next = dest;
    else if (dest->parent)
        dest->parent->child = dest;
    boot_replace(src, dest);
    if (dest->next)
        dest->next->prev = dest;
    *src = (struct cap){ .holder = old_holder };
}

void cap_clear(struct cap *slot)
{
    uint8_t holder = slot->holder;

    ASSERT(!slot->child);
    unlink(slot);
    *slot = (struct cap){ .holder = holder };
}

/* The original of a CNode goes to the CNode's own slot 0 and waits there until the rest is empty. */
static void cnode_begin_death(struct cap *c)
{
    struct cap *zero = phys((hpa_t){ c->obj });

    cap_move(zero, c);
    zero->flags |= CAP_ZOMBIE;
    zero->d0 = 1;
    dying_add(zero);
}

static err_t delete_leaf(struct cap *c)
{
    if (c->type == OBJ_CNODE && (c->flags & CAP_ORIGINAL)) {
        cnode_begin_death(c);
        return ERR_OK;
    }
    err_t e = object_finalise(c);
    if (e != ERR_OK)
        return e;
    if (c->holder)
        holder_lost(c);
    cap_clear(c);
    return ERR_OK;
}

/* One step of removing slot and what is below it. Descends at most DERIVE_DEPTH_MAX levels. */
static err_t remove_step(struct cap *slot)
{
    struct cap *c = slot;

    while (c->child && !(c->child->flags & CAP_ZOMBIE))
        c = c->child;
    if (!c->child)
        return delete_leaf(c);
    struct cap *zombie = c->child;
    adopt(zombie);
    unlink(zombie);
    link_below(zombie, c->parent);
    boot_link(zombie);
    c->flags |= CAP_CONDEMNED; /* it may seem empty now, but must not be used again before it goes */
    return ERR_OK;
}

static err_t drain_step(void)
{
    struct cap *zero = first_of(dying);
    struct cap *slots = zero;

    for (unsigned scanned = 0; zero->d0 < 1ull << zero->bits; zero->d0++) {
        if (slots[zero->d0].type != OBJ_NULL)
            return remove_step(&slots[zero->d0]);
        if (++scanned == 256)
            return ERR_OK;
    }
    dying_remove(zero);
    cap_clear(zero);
    return ERR_OK;
}

static err_t drain(void)
{
    while (first_of(dying)) {
        err_t e = drain_step();
        if (e != ERR_OK)
            return e;
        if (cpu_preempt_due())
            return PREEMPTED;
    }
    return ERR_OK;
}

err_t cap_revoke(struct cap *slot)
{
    for (;;) {
        err_t e = drain();
        if (e != ERR_OK)
            return e;
        if (!slot->child)
            return ERR_OK;
        if (slot->child->flags & CAP_ZOMBIE) {
            adopt(slot->child);
            continue;
        }
        e = remove_step(slot->child);
        if (e != ERR_OK)
            return e;
        if (cpu_preempt_due())
            return PREEMPTED;
    }
}

err_t cap_delete(struct cap *slot)
{
    err_t e = cap_revoke(slot);
    if (e != ERR_OK)
        return e;
    if (slot->type == OBJ_NULL) /* it lay in a CNode that died meanwhile */
        return ERR_OK;
    e = delete_leaf(slot);
    return e != ERR_OK ? e : drain();
}

void cap_work_begin(struct cap *own)
{
    dying = own;
}

void cap_work_end(err_t e)
{
    dying = &orphans;
    for (unsigned i = 0; e == ERR_OK && i < ORPHAN_STEPS && first_of(dying); i++)
        if (drain_step() != ERR_OK)
            return;
}

void cap_work_inherit(struct cap *from)
{
    if (from == dying)
        dying = &orphans;
    if (!first_of(from))
        return;
    struct cap *first = at(from->d1), *last = at(from->obj);
    if (!dying->d1)
        join(dying, dying);
    join(last, at(dying->d1));
    join(dying, first);
    join(from, from);
}

const char *object_name(unsigned type)
{
    static const char *const names[] = OBJECT_TYPE_NAMES;

    return type < OBJ_TYPES ? names[type] : "?";
}

void cap_dump(const struct cap *c)
{
    log_printf("cap %s obj=%lx rights=%x flags=%x bits=%u depth=%u d0=%lx d1=%lx%s\n", object_name(c->type),
               c->obj, c->rights, c->flags, c->bits, c->depth, c->d0, c->d1, c->child ? " has children" : "");
}
