/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces: frames, page tables and views mapped into them. One mapping a capability.
 *
 * Invariant: an entry names only memory whose capability says it is mapped there; taking the capability away
 * clears the entry and flushes before the memory can be reused (I3). */
#include "softtlb.h"
#include "space.h"

struct frame_meta *frame_meta;
uint64_t frame_meta_count;

uint64_t unique_number(void)
{
    static uint64_t last; /* 2^36 ids: a new space every microsecond for 19 hours; epochs use 64 bits of it */
    return ++last;
}

static uint64_t make_ref(uint64_t obj)
{
    return meta_of((hpa_t){ obj })->stamp << 28 | obj >> PAGE_SHIFT;
}

static void space_fill(struct space *s, uint64_t obj, bool guest)
{
    s->ref = make_ref(obj);
    s->root = phys((hpa_t){ obj });
    s->top = 4;
    s->guest = NULL;
    if (!guest)
        return;
    s->guest = phys((hpa_t){ obj });
    s->root = s->guest->table;
    s->top = 3;
}

err_t space_argument(const struct tcb *t, cptr_t p, bool guest_allowed, struct space *out)
{
    const struct cap *c = cspace_slot(t, p);
    unsigned type = guest_allowed && c && c->type == OBJ_GUESTSPACE ? OBJ_GUESTSPACE : OBJ_VSPACE;

    if (!cap_is(c, type, RIGHT_WRITE))
        return cap_refusal(c, p, type, RIGHT_WRITE);
    space_fill(out, c->obj, type == OBJ_GUESTSPACE);
    return ERR_OK;
}

bool space_find(uint64_t ref, struct space *out)
{
    hpa_t obj = hpa_of((hfn_t){ ref & 0xfffffff });
    struct frame_meta *m = meta_of(obj);

    if (!ref || !m || (m->owner != META_VSPACE && m->owner != META_GUESTSPACE) || make_ref(obj.v) != ref)
        return false;
    space_fill(out, obj.v, m->owner == META_GUESTSPACE);
    return true;
}

uint64_t *space_walk(const struct space *s, uint64_t address, unsigned level)
{
    uint64_t *table = s->root;
    unsigned shift = pte_shift(s->top), last = pte_shift(level);

    for (; shift > last; shift -= pte_shift(2) - pte_shift(1)) {
        uint64_t e = table[address >> shift & (TABLE_ENTRIES - 1)];
        if ((e & (PTE_P | PTE_PS | PTE_WINDOW)) != PTE_P)
            return NULL;
        table = phys(pte_hpa(e));
    }
    return &table[address >> last & (TABLE_ENTRIES - 1)];
}

void space_flush(const struct space *s, uint64_t address)
{
    if (s->guest)
        guestspace_bump(s->guest);
    else
        arch_flush_address(phys_to_hpa(s->root), address);
}

/* Clear the entry at level for a mapped capability if it still points to what the capability names. */
static void entry_clear(struct cap *c, unsigned level)
{
    struct space s;

    if (space_find(c->d1, &s)) {
        uint64_t *e = space_walk(&s, c->d0, level);
        if (e && (*e & PTE_P) && pte_hpa(*e).v == c->obj) {
            *e = 0;
            space_flush(&s, c->d0);
        }
    }
    c->d0 = c->d1 = 0;
}

/* --- frames --- */

static unsigned frame_level(const struct cap *c)
{
    return c->flags & CAP_LARGE ? 2 : 1;
}

static err_t frame_map(const struct invocation *v)
{
    struct cap *c = v->cap;
    unsigned level = frame_level(c);
    uint64_t bytes = level_bytes(level);
    struct space s;

    if (v->words < 3)
        return ERR_SHORT_MESSAGE;
    uint64_t address = arg(v, 1), rights = arg(v, 2) & c->rights;
    if (arg(v, 2) > RIGHT_ALL || !(rights & RIGHT_READ))
        return REFUSED(ERR_NO_RIGHT, "map a frame with rights %lx of %x", arg(v, 2), c->rights);
    if (c->d1)
        return ERR_ALREADY_MAPPED;
    if (address > USER_END - bytes)
        return ERR_RANGE;
    if (address & (bytes - 1))
        return ERR_ALIGNMENT;
    err_t e = space_argument(v->caller, (cptr_t)arg(v, 0), false, &s);
    if (e != ERR_OK)
        return e;
    uint64_t *entry = space_walk(&s, address, level);
    if (!entry)
        return ERR_NO_TABLE;
    if (*entry & PTE_P)
        return ERR_ALREADY_MAPPED;
    *entry = c->obj | PTE_P | PTE_U | PTE_A | (rights & RIGHT_WRITE ? PTE_W | PTE_D : 0) |
             (rights & RIGHT_EXEC ? 0 : PTE_NX) | (c->flags & CAP_LARGE ? PTE_PS : 0) |
             (c->flags & CAP_DEVICE ? PTE_PCD | PTE_PWT : 0);
    c->d0 = address;
    c->d1 = s.ref;
    return ERR_OK;
}

void frame_unmap(struct cap *c)
{
    if (c->d1)
        entry_clear(c, frame_level(c));
}

err_t frame_invoke(struct invocation *v)
{
    switch (v->label) {
    case FRAME_MAP:
        return frame_map(v);
    case FRAME_UNMAP:
        if (!v->cap->d1)
            return ERR_NOT_MAPPED;
        frame_unmap(v->cap);
        return ERR_OK;
    default:
        return ERR_BAD_METHOD;
    }
}

/* --- page tables --- */

static err_t pagetable_map(const struct invocation *v)
{
    struct cap *c = v->cap;
    struct space s;

    if (v->words < 3)
        return ERR_SHORT_MESSAGE;
    uint64_t address = arg(v, 1), level = arg(v, 2);
    err_t e = space_argument(v->caller, (cptr_t)arg(v, 0), true, &s);
    if (e != ERR_OK)
        return e;
    if (level < 1 || level >= s.top)
        return ERR_RANGE;
    uint64_t end = s.guest ? GUEST_FRAMES_MAX * PAGE_BYTES : USER_END;
    if (address >= end)
        return ERR_RANGE;
    if (address % level_bytes(level + 1))
        return ERR_ALIGNMENT;
    if (c->d1)
        return ERR_ALREADY_MAPPED;
    uint64_t *entry = space_walk(&s, address, level + 1);
    if (!entry)
        return ERR_NO_TABLE;
    if (*entry & PTE_P)
        return ERR_ALREADY_MAPPED;
    *entry = c->obj | PTE_P | PTE_W | PTE_U | PTE_A;
    c->kind = level;
    c->d0 = address;
    c->d1 = s.ref;
    return ERR_OK;
}

/* What the table maps is not mapped any more, and of guest memory the frames are free again (I6). */
static void forget_entries(const struct cap *c)
{
    uint64_t *table = cap_object(c), gfn = c->d0 >> PAGE_SHIFT;
    uint64_t step = level_bytes(c->kind) >> PAGE_SHIFT;

    for (unsigned i = 0; i < TABLE_ENTRIES; i++, gfn += step) {
        uint64_t e = table[i];
        table[i] = 0;
        if ((e & PTE_P) && (c->kind == 1 || (e & PTE_PS)) && meta_of(pte_hpa(e)))
            frame_forget(c->d1, pte_hpa(e), gfn);
    }
}

static void pagetable_unmap(struct cap *c)
{
    struct space s;

    if (space_find(c->d1, &s)) {
        uint64_t *e = space_walk(&s, c->d0, c->kind + 1);
        if (e && (*e & PTE_P) && pte_hpa(*e).v == c->obj)
            *e = 0;
        if (s.guest)
            softtlb_taken(s.guest);
    }
    forget_entries(c);
    if (space_find(c->d1, &s) && s.guest)
        guestspace_bump(s.guest);
    else
        arch_flush_space();
    c->d0 = c->d1 = 0;
}

err_t pagetable_finalise(struct cap *c)
{
    if (c->d1)
        pagetable_unmap(c);
    return ERR_OK;
}

err_t pagetable_invoke(struct invocation *v)
{
    switch (v->label) {
    case PAGETABLE_MAP:
        return pagetable_map(v);
    case PAGETABLE_UNMAP:
        if (!v->cap->d1)
            return ERR_NOT_MAPPED;
        pagetable_unmap(v->cap);
        return ERR_OK;
    default:
        return ERR_BAD_METHOD;
    }
}

/* --- views --- */

/* A window is a top-level entry, everything else a page. */
static unsigned view_level(const struct cap *c)
{
    return c->kind == VIEW_WINDOW ? 4 : 1;
}

static err_t view_map(const struct invocation *v)
{
    struct cap *c = v->cap;
    struct space s;
    unsigned level = view_level(c);

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t address = arg(v, 1);
    if (c->d1)
        return ERR_ALREADY_MAPPED;
    if (address >= USER_END || level_bytes(level) > USER_END - address)
        return ERR_RANGE;
    if (address % level_bytes(level))
        return ERR_ALIGNMENT;
    err_t e = space_argument(v->caller, (cptr_t)arg(v, 0), false, &s);
    if (e != ERR_OK)
        return e;
    uint64_t *entry = space_walk(&s, address, level);
    if (!entry)
        return ERR_NO_TABLE;
    if (*entry & PTE_P)
        return ERR_ALREADY_MAPPED;
    *entry = c->obj | PTE_P | PTE_U | PTE_NX | PTE_A | (c->rights & RIGHT_WRITE ? PTE_W : 0) |
             (level == 4 ? PTE_WINDOW : PTE_D);
    c->d0 = address;
    c->d1 = s.ref;
    return ERR_OK;
}

void view_unmap(struct cap *c)
{
    if (!c->d1)
        return;
    entry_clear(c, view_level(c));
    if (c->kind == VIEW_WINDOW)
        arch_flush_space();
}

err_t view_invoke(struct invocation *v)
{
    switch (v->label) {
    case VIEW_MAP:
        return view_map(v);
    case VIEW_UNMAP:
        if (!v->cap->d1)
            return ERR_NOT_MAPPED;
        view_unmap(v->cap);
        return ERR_OK;
    default:
        return ERR_BAD_METHOD;
    }
}

void vspace_finalise(struct cap *c)
{
    *meta_of((hpa_t){ c->obj }) = (struct frame_meta){ 0, 0 };
    if (arch_space_is_loaded((hpa_t){ c->obj }))
        arch_kernel_space();
}
