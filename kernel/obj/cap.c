/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree: insert, derive, move, revoke, delete. Invariants are in cap.h.
 *
 * Revoke works leaf first, one capability a step, and may stop after any step: the tree is whole between
 * steps, and running the same call again goes on. CNodes are emptied from a list of dying ones, so nothing
 * recurses; when a slot goes whose only children are dying CNodes, these move up to its parent (two CNodes
 * that hold each other's memory would otherwise wait for each other). What objects do is not here. */
#include "cap.h"
#include "cpu.h"
#include "log.h"

static struct cap *dying; /* slot 0 of CNodes being emptied, linked by d1 */

static void unlink(struct cap *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else if (c->parent)
        c->parent->child = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void link_below(struct cap *c, struct cap *parent)
{
    c->parent = parent;
    c->prev = NULL;
    c->next = parent ? parent->child : NULL;
    if (c->next)
        c->next->prev = c;
    if (parent)
        parent->child = c;
}

void cap_insert(struct cap *dest, struct cap *parent)
{
    dest->child = NULL;
    dest->depth = parent ? parent->depth + 1 : 0;
    link_below(dest, parent);
}

err_t cap_derive_check(const struct cap *dest, const struct cap *src, uint64_t badge)
{
    if (dest->type != OBJ_NULL)
        return ERR_SLOT_OCCUPIED;
    if (src->type == OBJ_UNTYPED || src->type == OBJ_RANGE || src->type == OBJ_VIEW ||
        src->type == OBJ_PAGETABLE || src->type == OBJ_IRQCONTROL || src->type == OBJ_REPLY ||
        (src->flags & CAP_ZOMBIE))
        return ERR_NOT_DERIVABLE;
    if (badge && ((src->type != OBJ_ENDPOINT && src->type != OBJ_NOTIFICATION) || (src->flags & CAP_BADGED)))
        return ERR_RANGE;
    if (src->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    return ERR_OK;
}

void cap_derive(struct cap *dest, struct cap *src, uint8_t rights, uint64_t badge)
{
    uint8_t holder = dest->holder;

    *dest = (struct cap){ .type = src->type,
                          .rights = src->rights & rights,
                          .flags = src->flags & (CAP_DEVICE | CAP_BADGED | CAP_LARGE),
                          .bits = src->bits,
                          .holder = holder,
                          .obj = src->obj };
    if (src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION) {
        dest->d0 = badge ? badge : src->d0;
        dest->flags |= badge ? CAP_BADGED : 0;
    } else if (src->type == OBJ_IOPORT) {
        dest->d0 = src->d0;
    }
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
    zero->d1 = (uint64_t)(uintptr_t)dying;
    dying = zero;
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
    unlink(zombie);
    link_below(zombie, c->parent);
    c->flags |= CAP_CONDEMNED; /* it may seem empty now, but must not be used again before it goes */
    return ERR_OK;
}

static err_t drain_step(void)
{
    struct cap *zero = dying;
    struct cap *slots = zero;

    for (unsigned scanned = 0; zero->d0 < 1ull << zero->bits; zero->d0++) {
        if (slots[zero->d0].type != OBJ_NULL)
            return remove_step(&slots[zero->d0]);
        if (++scanned == 256)
            return ERR_OK;
    }
    dying = (struct cap *)(uintptr_t)zero->d1;
    cap_clear(zero);
    return ERR_OK;
}

static err_t drain(void)
{
    while (dying) {
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
        if (!slot->child) /* after drain there are no zombies anywhere */
            return ERR_OK;
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
