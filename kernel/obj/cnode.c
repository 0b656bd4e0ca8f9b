/* SPDX-License-Identifier: BSD-2-Clause */
/* CSpaces: finding capabilities, and the CNode's methods. A CPtr reaches one or two levels (umbra/types.h).
 */
#include "derive.h"
#include "invoke.h"
#include "slots.h"

static struct cap *slot_in(const struct cap *cnode, uint64_t index)
{
    return cnode->type == OBJ_CNODE ? slot_at(cap_object(cnode), 1ull << cnode->bits, index) : NULL;
}

struct cap *cspace_slot(const struct tcb *t, cptr_t p)
{
    struct cap *c = slot_in(&t->cspace, p & 0xffff);

    if (c && p >> 16)
        return slot_in(c, (p >> 16) - 1);
    return c;
}

err_t cap_refusal(const struct cap *c, cptr_t p, unsigned type, unsigned rights)
{
    (void)p, (void)rights; /* a release build says nothing of them */
    if (!c || c->type == OBJ_NULL)
        return REFUSED(ERR_NO_CAP, "no capability at %x", p);
    if (c->type != type)
        return REFUSED(ERR_WRONG_TYPE, "capability %x is a %s, not a %s", p, object_name(c->type),
                       object_name(type));
    return REFUSED(ERR_NO_RIGHT, "capability %x has rights %x, needs %x", p, c->rights, rights);
}

err_t cspace_cap(const struct tcb *t, cptr_t p, unsigned type, unsigned rights, struct cap **out)
{
    struct cap *c = cspace_slot(t, p);

    if (!cap_is(c, type, rights))
        return cap_refusal(c, p, type, rights);
    *out = c;
    return ERR_OK;
}

err_t cnode_slots(const struct cap *cnode, uint64_t first, uint64_t n, struct cap **out)
{
    if (!slots_within(1ull << cnode->bits, first, n))
        return ERR_RANGE;
    struct cap *slots = (struct cap *)cap_object(cnode) + first;
    for (uint64_t i = 0; i < n; i++)
        if (slots[i].type != OBJ_NULL)
            return ERR_SLOT_OCCUPIED;
    *out = slots;
    return ERR_OK;
}

err_t cspace_empty(const struct tcb *t, uint64_t index, struct cap **out)
{
    return cnode_slots(&t->cspace, index, 1, out);
}

struct derive {
    struct cap *dest, *src;
    uint8_t rights;
    uint64_t badge;
};

static err_t decode_derive(const struct invocation *v, bool mint, struct derive *d)
{
    err_t e;

    if (v->words < (mint ? 4u : 3u))
        return ERR_SHORT_MESSAGE;
    d->rights = arg(v, 2) & RIGHT_ALL;
    d->badge = mint ? arg(v, 3) : 0;
    if (arg(v, 2) > RIGHT_ALL)
        return ERR_RANGE;
    e = cnode_slots(v->cap, arg(v, 0), 1, &d->dest);
    if (e != ERR_OK)
        return e;
    d->src = cspace_slot(v->caller, (cptr_t)arg(v, 1));
    if (!d->src || d->src->type == OBJ_NULL)
        return ERR_NO_CAP;
    return cap_derive_check(d->dest, d->src, d->badge);
}

static err_t move(struct invocation *v)
{
    struct cap *dest, *src;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    err_t e = cnode_slots(v->cap, arg(v, 0), 1, &dest);
    if (e != ERR_OK)
        return e;
    cptr_t p = (cptr_t)arg(v, 1);
    src = cspace_slot(v->caller, p);
    if (!src || src->type == OBJ_NULL)
        return ERR_NO_CAP;
    /* Moving changes the CNode that the capability leaves: the CSpace itself, or one below it. */
    if (p >> 16 && !(cspace_slot(v->caller, p & 0xffff)->rights & RIGHT_WRITE))
        return REFUSED(ERR_NO_RIGHT, "move out of a read-only CNode");
    if (src->child)
        return ERR_HAS_CHILDREN;
    cap_move(dest, src);
    return ERR_OK;
}

static err_t remove(struct invocation *v, bool with_self)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    struct cap *c = slot_in(v->cap, arg(v, 0));
    if (!c)
        return ERR_RANGE;
    /* An empty slot, too: of a CNode that was there the contents may still be on their way out. */
    cap_work_begin(&v->caller->dying);
    err_t e = with_self ? cap_delete(c) : cap_revoke(c);
    cap_work_end(e);
    return e;
}

err_t cnode_invoke(struct invocation *v)
{
    struct derive d;
    err_t e;

    switch (v->label) {
    case CNODE_COPY:
    case CNODE_MINT:
        e = decode_derive(v, v->label == CNODE_MINT, &d);
        if (e == ERR_OK)
            cap_derive(d.dest, d.src, d.rights, d.badge);
        return e;
    case CNODE_MOVE:
        return move(v);
    case CNODE_DELETE:
        return remove(v, true);
    case CNODE_REVOKE:
        return remove(v, false);
    default:
        return ERR_BAD_METHOD;
    }
}
