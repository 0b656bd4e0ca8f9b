/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory: gfn -> frame, changed by lists; the authority that shadow entries are checked against.
 *
 * Invariants: a frame is mapped in at most one guest space at one gfn, as its metadata says (I6); whatever
 * takes away bumps the epoch once a call, so that no shadow entry, window or TLB outlives it (I1..I3). Leaf
 * entries carry the rights; the D bit is the dirty log. */
#include "ipc.h"
#include "shadow.h"
#include "softtlb.h"
#include "space.h"

struct change {
    struct cap *range;
    uint64_t gfn, offset, pages; /* pages of 4 KiB */
    uint8_t op, rights;
    bool large;
};

static struct space guest_space(struct guestspace *g)
{
    hpa_t obj = phys_to_hpa(g);
    return (struct space){
        .root = g->table, .top = 3, .ref = meta_of(obj)->stamp << 28 | obj.v >> PAGE_SHIFT, .guest = g
    };
}

uint64_t *guestspace_entry(struct guestspace *g, uint64_t gfn)
{
    return guest_leaf(g, gfn);
}

uint64_t guestspace_lookup(const struct guestspace *g, uint64_t gfn)
{
    const uint64_t *e = guestspace_entry((struct guestspace *)(uintptr_t)g, gfn);

    if (!e)
        return 0;
    return *e & PTE_PS ? *e + (gfn % TABLE_ENTRIES << PAGE_SHIFT) : *e;
}

void guestspace_bump(struct guestspace *g)
{
    g->epoch = unique_number();
    COUNT(EPOCHS);
    softtlb_taken(g);
    arch_flush_space(); /* windows of the loaded space; another space's go when it is loaded */
}

static uint64_t owner_word(struct guestspace *g, uint64_t gfn, bool large)
{
    return META_GUEST | phys_to_hpa(g).v >> PAGE_SHIFT << 4 | gfn << 32 | (large ? META_LARGE : 0);
}

/* A frame may be mapped if neither it nor the large page it may be part of is. */
static bool frame_is_free(hpa_t a)
{
    struct frame_meta *m = meta_of(a);
    struct frame_meta *head = meta_of((hpa_t){ a.v & ~(level_bytes(2) - 1) });

    return m && META_KIND(m->owner) == META_NONE &&
           !(META_KIND(head->owner) == META_GUEST && (head->owner & META_LARGE));
}

static err_t decode_record(const struct invocation *v, unsigned i, struct change *c)
{
    uint64_t w0 = arg(v, i), w1 = arg(v, i + 1);

    c->op = w0 >> 32 & 15;
    c->rights = w0 >> 36 & 15;
    c->pages = w0 >> 40;
    c->gfn = w1 & 0xffffffff;
    c->offset = w1 >> 32;
    c->large = c->op == CHANGE_MAP_2M;
    c->range = NULL;
    if (c->op < CHANGE_MAP || c->op > CHANGE_MAP_2M)
        return REFUSED(ERR_BAD_OPERATION, "change operation %u", c->op);
    if (!c->pages || c->pages > CHANGE_PAGES_MAX || c->gfn >= GUEST_FRAMES_MAX ||
        c->pages > GUEST_FRAMES_MAX - c->gfn)
        return REFUSED(ERR_RANGE, "change gfn %lx pages %lu", c->gfn, c->pages);
    if (c->op != CHANGE_UNMAP && !(c->rights & RIGHT_READ))
        return ERR_NO_RIGHT;
    if (c->large && (c->gfn % 512 || c->offset % 512 || c->pages != 512))
        return ERR_ALIGNMENT;
    if (c->op == CHANGE_UNMAP || c->op == CHANGE_PROTECT)
        return ERR_OK;
    err_t e = cspace_cap(v->caller, (cptr_t)w0, OBJ_RANGE, RIGHT_WRITE, &c->range);
    if (e != ERR_OK)
        return e;
    if (c->range->d0) /* frames behind the progress would never leave again */
        return REFUSED(ERR_WRONG_STATE, "range %x is being deleted", (cptr_t)w0);
    uint64_t size = 1ull << (c->range->bits - PAGE_SHIFT);
    if (c->offset >= size || c->pages > size - c->offset)
        return REFUSED(ERR_RANGE, "change offset %lx pages %lu of a range of %lx", c->offset, c->pages, size);
    return ERR_OK;
}

static err_t check_map(struct guestspace *g, const struct change *c)
{
    struct space s = guest_space(g);
    uint64_t base = c->range->obj + (c->offset << PAGE_SHIFT);

    if (c->large && base % level_bytes(2))
        return ERR_ALIGNMENT;
    for (uint64_t i = 0; i < c->pages; i++) {
        uint64_t address = (c->gfn + i) << PAGE_SHIFT;
        if (!frame_is_free((hpa_t){ base + (i << PAGE_SHIFT) }))
            return REFUSED(ERR_FRAME_BUSY, "map gfn %lx: its frame is in use", c->gfn + i);
        if (c->large && i)
            continue;
        uint64_t *e = space_walk(&s, address, c->large ? 2 : 1);
        if (!e)
            return ERR_NO_TABLE;
        if (*e & PTE_P)
            return REFUSED(ERR_ALREADY_MAPPED, "map gfn %lx: it is backed already", c->gfn + i);
    }
    return ERR_OK;
}

static void perform_map(struct guestspace *g, const struct change *c)
{
    struct space s = guest_space(g);
    uint64_t step = c->large ? 512 : 1;

    for (uint64_t i = 0; i < c->pages; i += step) {
        uint64_t frame = c->range->obj + ((c->offset + i) << PAGE_SHIFT);
        uint64_t *e = space_walk(&s, (c->gfn + i) << PAGE_SHIFT, c->large ? 2 : 1);
        *e = frame | PTE_P | PTE_U | (c->rights & RIGHT_WRITE ? PTE_W : 0) | (c->large ? PTE_PS : 0);
        *meta_of((hpa_t){ frame }) =
            (struct frame_meta){ owner_word(g, c->gfn + i, c->large), meta_of(phys_to_hpa(g))->stamp };
    }
}

/* Take away, or narrow, pages of [gfn, gfn + pages). A large page goes as a whole. True if something was
 * there. */
static bool perform_narrow(struct guestspace *g, const struct change *c)
{
    bool any = false;

    for (uint64_t i = 0; i < c->pages; i++) {
        uint64_t *e = guestspace_entry(g, c->gfn + i);
        if (!e)
            continue;
        any = true;
        if (c->op == CHANGE_UNMAP || !(c->rights & RIGHT_WRITE))
            softtlb_taken(g);
        if (c->op == CHANGE_UNMAP) {
            meta_of(pte_hpa(*e))->owner = 0;
            *e = 0;
        } else if (c->rights & RIGHT_WRITE) {
            *e |= PTE_W;
        } else {
            *e &= ~(uint64_t)PTE_W;
        }
    }
    return any;
}

static err_t change(struct invocation *v, struct guestspace *g)
{
    uint64_t pages = 0, done = 0;
    bool taken = false;
    err_t e = ERR_OK;

    if (v->words < 2 || v->words % 2)
        return ERR_SHORT_MESSAGE;
    for (unsigned i = 0; i < v->words; i += 2, done++) {
        struct change c;
        e = decode_record(v, i, &c);
        if (e == ERR_OK && (pages += c.pages) > CHANGE_PAGES_MAX)
            e = ERR_RANGE;
        if (e == ERR_OK && c.range)
            e = check_map(g, &c);
        if (e != ERR_OK) {
            error_record(RECORD_CHANGE, c.op <= CHANGE_MAP_2M ? c.op : 0, e);
            break;
        }
        if (c.range)
            perform_map(g, &c);
        else
            taken |= perform_narrow(g, &c);
    }
    if (taken)
        guestspace_bump(g);
    result(v, done);
    return e;
}

static err_t harvest(struct invocation *v, struct guestspace *g)
{
    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t gfn = arg(v, 0), n = arg(v, 1);
    if (gfn >= GUEST_FRAMES_MAX || gfn % 64 || n == 0 || n > 60)
        return ERR_RANGE;
    for (uint64_t w = 0; w < n; w++) {
        uint64_t bits = 0;
        for (unsigned b = 0; b < 64; b++) {
            uint64_t *e = guestspace_entry(g, gfn + w * 64 + b);
            if (e && (*e & PTE_D)) {
                bits |= BIT(b);
                softtlb_taken(g);
                if (!(*e & PTE_PS) || (gfn + w * 64 + b) % 512 == 511)
                    *e &= ~(uint64_t)PTE_D;
            }
        }
        result(v, bits);
    }
    guestspace_bump(g);
    return ERR_OK;
}

static err_t view(struct invocation *v, struct guestspace *g)
{
    struct cap *slot;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t rights = arg(v, 1);
    if (rights > RIGHT_ALL || !(rights & RIGHT_READ))
        return ERR_RANGE;
    err_t e = cspace_empty(v->caller, arg(v, 0), &slot);
    if (e != ERR_OK)
        return e;
    if (v->cap->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    *slot = (struct cap){ .type = OBJ_VIEW,
                          .rights = (rights & (RIGHT_READ | RIGHT_WRITE)) & v->cap->rights,
                          .kind = VIEW_WINDOW,
                          .obj = phys_to_hpa(g->table).v };
    cap_insert(slot, v->cap);
    return ERR_OK;
}

err_t guestspace_invoke(struct invocation *v)
{
    struct guestspace *g = cap_object(v->cap);

    switch (v->label) {
    case GUESTSPACE_CHANGE:
        return change(v, g);
    case GUESTSPACE_VIEW:
        return view(v, g);
    case GUESTSPACE_HARVEST:
        return harvest(v, g);
    default:
        return ERR_BAD_METHOD;
    }
}

void guestspace_finalise(struct guestspace *g)
{
    softtlb_taken(g);
    *meta_of(phys_to_hpa(g)) = (struct frame_meta){ 0, 0 };
}

/* The frame leaves the guest space that has it, if any; that guest space, for the caller to bump. */
static struct guestspace *frame_leaves(hpa_t frame)
{
    struct frame_meta *m = meta_of(frame);
    struct guestspace *g = NULL;

    if (META_KIND(m->owner) != META_GUEST)
        return NULL;
    hpa_t at = hpa_of(META_HFN(m->owner));
    if (meta_of(at)->owner == META_GUESTSPACE && meta_of(at)->stamp == m->stamp) {
        uint64_t *e = guestspace_entry(phys(at), META_GUEST_GFN(m->owner).v);
        if (e && pte_hpa(*e).v == frame.v) {
            *e = 0;
            g = phys(at);
            softtlb_taken(g);
        }
    }
    m->owner = 0;
    return g;
}

/* A table that has left the guest space of ref held the frame at gfn: the frame is free again, unless it was
 * freed and mapped since, by another table or in another guest space in the same place. */
void frame_forget(uint64_t ref, hpa_t frame, uint64_t gfn)
{
    struct frame_meta *m = meta_of(frame);
    uint64_t id = ref >> 28, at = ref & 0xfffffff;
    struct space s;

    if (META_KIND(m->owner) != META_GUEST || META_HFN(m->owner).v != at ||
        META_GUEST_GFN(m->owner).v != gfn || (m->stamp & (BIT(36) - 1)) != id)
        return;
    const uint64_t *e = space_find(ref, &s) ? guestspace_entry(s.guest, gfn) : NULL;
    if (!e || pte_hpa(*e).v != frame.v)
        m->owner = 0;
}

/* A range ends: its frames leave whatever guest spaces have them. d0 is the progress. */
err_t range_finalise(struct cap *c)
{
    uint64_t frames = 1ull << (c->bits - PAGE_SHIFT);
    struct guestspace *last = NULL;
    err_t e = ERR_OK;

    while (c->d0 < frames && e == ERR_OK) {
        struct guestspace *g = frame_leaves((hpa_t){ c->obj + (c->d0++ << PAGE_SHIFT) });
        if (g && last && g != last)
            guestspace_bump(last);
        last = g ? g : last;
        if (cpu_preempt_due())
            e = PREEMPTED;
    }
    if (last)
        guestspace_bump(last);
    return e;
}
