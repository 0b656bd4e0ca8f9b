/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that capabilities reach: the derivation tree, the objects at its originals, and the memory of
 * these. Each piece of memory belongs to one object, which lies in the Untyped that its capability derives
 * from, and to no other; each slot that is not empty lies in an object that lives. */
#include "whole.h"
#include <string.h>

struct census census;
static uint64_t seen[WHOLE_BYTES / 8 / 64]; /* by 8 bytes of memory: a node's slot */
static uint64_t seen_lines;                 /* of cpu.irq */
static uint16_t page_owner[WHOLE_FRAMES];   /* object, or SPLIT */
static uint16_t part_owner[WHOLE_FRAMES][64];
#define SPLIT  UINT16_MAX
#define DEPTHS 70u

static struct cap *tree_top(struct cap *c)
{
    for (unsigned i = 0; c->parent; i++, c = c->parent)
        MUST(i < DEPTHS);
    return c;
}

static bool in_memory(const void *p)
{
    return (const unsigned char *)p >= phys_base_host &&
           (const unsigned char *)p < phys_base_host + WHOLE_BYTES;
}

/* Was it seen before; now it is. */
static bool mark(const struct cap *c)
{
    uint64_t *word = &seen_lines, bit;

    if (in_memory(c)) {
        uint64_t n = phys_to_hpa(c).v / 8;
        word = &seen[n / 64];
        bit = BIT(n % 64);
    } else {
        MUST(c >= cpu.irq && c < cpu.irq + IRQ_LINES);
        bit = BIT(c - cpu.irq);
    }
    bool before = *word & bit;
    *word |= bit;
    return before;
}

static bool is_node(const struct cap *c)
{
    if (!in_memory(c))
        return seen_lines >> (c - cpu.irq) & 1;
    uint64_t n = phys_to_hpa(c).v / 8;
    return seen[n / 64] >> n % 64 & 1;
}

/* --- one capability and the one it derives from --- */

static uint64_t place_of(const struct cap *c)
{
    return c->flags & CAP_ZOMBIE ? phys_to_hpa(c).v : c->obj;
}
static uint64_t bytes_of(const struct cap *c)
{
    return 1ull << (c->type == OBJ_CNODE ? c->bits + BITS_SLOT : c->bits);
}

static void check_original(const struct cap *c, const struct cap *parent)
{
    if (c->type == OBJ_IRQ) {
        MUST(parent->type == OBJ_IRQCONTROL && cpu.irq_taken[c->obj]);
        return;
    }
    MUST(parent->type == OBJ_UNTYPED && (c->flags & CAP_DEVICE) == (parent->flags & CAP_DEVICE));
    uint64_t at = place_of(c), bytes = bytes_of(c);
    MUST(at >= parent->obj && at % bytes == 0 && at - parent->obj + bytes <= bytes_of(parent));
    if (!(c->flags & CAP_ZOMBIE))
        MUST(at - parent->obj + bytes <= parent->d0);
}

static void check_view(const struct cap *c, const struct cap *parent)
{
    uint64_t at = parent->obj;

    MUST(!(c->rights & RIGHT_EXEC));
    switch (c->kind) {
    case VIEW_WINDOW:
        MUST(parent->type == OBJ_GUESTSPACE && c->obj == at + offsetof(struct guestspace, table));
        MUST(!(c->rights & ~parent->rights));
        break;
    case VIEW_EXIT:
        MUST(parent->type == OBJ_VCPU && c->obj == at + offsetof(struct vcpu, exit) &&
             c->rights == RIGHT_READ);
        break;
    case VIEW_REPLY:
        MUST(parent->type == OBJ_VCPU && c->obj == at + offsetof(struct vcpu, reply));
        break;
    default:
        MUST(c->kind == VIEW_PUBLIC && parent->type == OBJ_VM && c->rights == RIGHT_READ);
        MUST(c->obj == at + offsetof(struct vm, public));
    }
}

static void check_derived(const struct cap *c, const struct cap *parent)
{
    if (c->flags & CAP_ORIGINAL) {
        MUST(!(c->rights & ~parent->rights));
        check_original(c, parent);
        return;
    }
    if (c->type == OBJ_VIEW && parent->type != OBJ_VIEW) {
        check_view(c, parent);
        return;
    }
    MUST_SAY(!(c->rights & ~parent->rights), "%x of %x, type %u", c->rights, parent->rights, c->type);
    MUST(c->type == parent->type && c->bits == parent->bits);
    MUST((c->flags & (CAP_DEVICE | CAP_LARGE)) == (parent->flags & (CAP_DEVICE | CAP_LARGE)));
    if (c->type == OBJ_IOPORT)
        MUST(c->obj >= parent->obj && c->d0 <= parent->d0 && c->obj <= c->d0);
    else
        MUST(c->obj == parent->obj);
    if (parent->flags & CAP_BADGED)
        MUST((c->flags & CAP_BADGED) && c->d0 == parent->d0);
    MUST(c->type != OBJ_UNTYPED && c->type != OBJ_RANGE && c->type != OBJ_PAGETABLE && c->type != OBJ_REPLY);
}

static void add(struct cap *c, const struct cap *parent)
{
    MUST(c->type != OBJ_NULL && c->type < OBJ_TYPES && c->parent == parent && !mark(c));
    if (parent) {
        MUST(parent->depth < DERIVE_DEPTH_MAX);
        MUST(c->flags & CAP_ZOMBIE ? c->depth > parent->depth : c->depth == parent->depth + 1);
        check_derived(c, parent);
    }
    MUST(census.nodes < NODES_MAX);
    census.node[census.nodes++] = c;
    if ((c->flags & CAP_ORIGINAL) && c->type < OBJ_VIEW)
        census.object[++census.objects] = (struct object){ c, place_of(c), bytes_of(c) };
}

static void add_tree(struct cap *top)
{
    unsigned i = census.nodes;

    if (is_node(top))
        return;
    for (add(top, NULL); i < census.nodes; i++) {
        struct cap *c = census.node[i], *prev = NULL;
        for (struct cap *k = c->child; k; prev = k, k = k->next) {
            MUST(k->prev == prev);
            add(k, c);
        }
    }
}

/* --- slots --- */

static unsigned full_slots;

static void see_slot(struct cap *slot, unsigned holder)
{
    MUST(slot->holder == holder);
    if (slot->type == OBJ_NULL) {
        MUST(!slot->parent && !slot->child && !slot->next && !slot->prev);
        return;
    }
    full_slots++;
    add_tree(tree_top(slot));
    MUST(is_node(slot));
}

static void see_cnode(const struct object *o)
{
    struct cap *first = phys((hpa_t){ o->at });
    bool zombie = o->cap == first;

    MUST(zombie == !!(o->cap->flags & CAP_ZOMBIE));
    for (uint64_t i = zombie ? 0 : 1; i < o->bytes >> BITS_SLOT; i++)
        see_slot(first + i, 0);
    if (!zombie)
        MUST(first->type == OBJ_NULL);
}

static void see_holders(const struct object *o)
{
    void *p = phys((hpa_t){ o->at });

    switch (o->cap->type) {
    case OBJ_CNODE:
        see_cnode(o);
        break;
    case OBJ_TCB: {
        struct tcb *t = p;
        struct cap *slots[] = {
            &t->cspace, &t->vspace, &t->ipc_buffer, &t->fault, &t->sched, &t->notification
        };
        for (unsigned i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
            see_slot(slots[i], OBJ_TCB);
        break;
    }
    case OBJ_TIMER:
        see_slot(&((struct timer *)p)->notification, OBJ_TIMER);
        break;
    case OBJ_VM:
        see_slot(&((struct vm *)p)->guestspace, OBJ_VM);
        break;
    case OBJ_VCPU:
        see_slot(&((struct vcpu *)p)->vm_slot, OBJ_VCPU);
        see_slot(&((struct vcpu *)p)->notification, OBJ_VCPU);
        break;
    default:
        break;
    }
}

static void see_dying(struct cap *head)
{
    struct cap *prev = head;

    for (struct cap *z = next_dying(head, NULL); z; prev = z, z = next_dying(head, z)) {
        MUST(z->flags & CAP_ZOMBIE);
        if (head)
            MUST(z->obj == (uintptr_t)prev);
        add_tree(tree_top(z));
        MUST(is_node(z));
    }
}

/* --- memory --- */

static void own_part(uint64_t at, uint64_t bytes, unsigned from, unsigned to)
{
    uint64_t page = at >> PAGE_SHIFT, first = at / 64 % 64;

    if (page_owner[page] != SPLIT) {
        for (unsigned i = 0; i < 64; i++)
            part_owner[page][i] = page_owner[page];
        page_owner[page] = SPLIT;
    }
    for (uint64_t i = first; i < first + bytes / 64; i++) {
        MUST(part_owner[page][i] == from);
        part_owner[page][i] = to;
    }
}

/* The memory goes from one owner, the Untyped around it, to another. */
static void own(const struct object *o, unsigned from, unsigned to)
{
    if (o->cap->flags & CAP_DEVICE)
        return;
    if (o->bytes < PAGE_BYTES) {
        own_part(o->at, o->bytes, from, to);
        return;
    }
    MUST(o->at + o->bytes <= WHOLE_BYTES);
    for (uint64_t p = o->at >> PAGE_SHIFT; p < (o->at + o->bytes) >> PAGE_SHIFT; p++) {
        MUST_SAY(page_owner[p] == from, "frame %lx is %u's, not %u's, and becomes %u's", p, page_owner[p],
                 from, to);
        page_owner[p] = to;
    }
}

/* What is being emptied may have moved up from an Untyped that is not to be used again. */
static unsigned owner_of_zombie(const struct object *o)
{
    uint64_t page = o->at >> PAGE_SHIFT;
    unsigned owner = page_owner[page] == SPLIT ? part_owner[page][o->at / 64 % 64] : page_owner[page];

    if (owner && census.object[owner].cap != o->cap->parent)
        MUST(census.object[owner].cap->type == OBJ_UNTYPED &&
             (census.object[owner].cap->flags & CAP_CONDEMNED));
    return owner;
}

/* Parents come before their children in the census. */
static unsigned number_of(const struct cap *parent, unsigned below)
{
    while (parent && --below)
        if (census.object[below].cap == parent)
            return below;
    return 0;
}

static void check_memory(void)
{
    const struct cap *parent = NULL;
    unsigned from = 0; /* the object of this parent: children are mostly side by side */

    memset(page_owner, 0, sizeof(page_owner));
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 1; i <= census.objects; i++) {
            const struct object *o = &census.object[i];
            bool zombie = o->cap->flags & CAP_ZOMBIE;
            if (zombie != (pass == 1) || o->at >= WHOLE_BYTES)
                continue;
            if (o->cap->parent != parent)
                from = number_of(parent = o->cap->parent, i);
            own(o, zombie ? owner_of_zombie(o) : from, i);
        }
}

static void check_zeroed(void)
{
    for
        EACH_OBJECT(o, OBJ_UNTYPED)
        {
            const struct cap *u = o->cap;
            const uint64_t *p = phys((hpa_t){ o->at });
            uint64_t step = o->bytes > PAGE_BYTES * 16 ? PAGE_BYTES : 256;
            if ((u->flags & CAP_DEVICE) || (!u->child && u->d0))
                continue; /* all is forgotten at the next Retype */
            MUST(u->d0 <= o->bytes && u->d1 <= o->bytes);
            for (uint64_t at = u->d0; at < u->d1; at += step)
                MUST_SAY(!p[at / 8], "said to be zero at %lx", at);
        }
}

bool lives(const void *p, unsigned type)
{
    if (!in_memory(p))
        return false;
    uint64_t at = phys_to_hpa(p).v;
    unsigned owner = page_owner[at >> PAGE_SHIFT];
    owner = owner == SPLIT ? part_owner[at >> PAGE_SHIFT][at / 64 % 64] : owner;
    const struct object *o = &census.object[owner];
    return owner && o->at == at && o->cap->type == type && !(o->cap->flags & CAP_ZOMBIE);
}

const struct object *owner_of_frame(hpa_t a)
{
    unsigned owner = a.v < WHOLE_BYTES ? page_owner[a.v >> PAGE_SHIFT] : 0;

    return owner && owner != SPLIT ? &census.object[owner] : NULL;
}

void check_tree(void)
{
    memset(seen, 0, sizeof(seen));
    seen_lines = 0;
    census.nodes = census.objects = full_slots = 0;
    for (unsigned i = 1; i < 1u << BOOT_BITS; i++)
        if (boot_slots()[i].type != OBJ_NULL)
            add_tree(tree_top(&boot_slots()[i]));
    see_dying(NULL);
    for (unsigned i = 0; i < IRQ_LINES; i++)
        see_slot(&cpu.irq[i], OBJ_IRQ);
    for (unsigned i = 1; i <= census.objects; i++) { /* they find more */
        see_holders(&census.object[i]);
        if (census.object[i].cap->type == OBJ_TCB)
            see_dying(&((struct tcb *)phys((hpa_t){ census.object[i].at }))->dying);
    }
    MUST_SAY(full_slots == census.nodes, "%u slots, %u capabilities", full_slots, census.nodes);
    check_memory();
    check_zeroed();
}
