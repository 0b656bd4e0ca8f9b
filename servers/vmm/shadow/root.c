/* SPDX-License-Identifier: BSD-2-Clause */
/* Control registers and roots: which paging mode the guest is in, which tables stand at the top, and the sync
 * points that loads of CR3 and changes of mode are. Where no root can be had the kernel is left without one;
 * it then asks (EXIT_ROOT), and shadow_root is called again. */
#include "walk.h"

static enum guest_format format_of_mode(const struct shadow_control *c)
{
    if (!(c->cr0 & CR0_PG))
        return GUEST_DIRECT;
    if (c->efer & EFER_LMA)
        return GUEST_LONG;
    return c->cr4 & CR4_PAE ? GUEST_PAE : GUEST_32;
}

static struct role top_role(const struct shadow_control *c, enum guest_format format)
{
    struct role r = { .guest = (uint16_t)format & 3 };
    r.hw = format == GUEST_LONG ? SHADOW_LONG : SHADOW_PAE;
    r.level = r.hw == SHADOW_PAE ? 2 : 4;
    if (format == GUEST_DIRECT)
        return r;
    r.nxe = format != GUEST_32 && (c->efer & EFER_NXE);
    r.pse = format == GUEST_32 && (c->cr4 & CR4_PSE);
    if (!(c->cr0 & CR0_WP)) {
        r.wp0 = r.fold_rw = r.fold_us = 1;
        r.smep = (c->cr4 & CR4_SMEP) != 0;
        r.smap = (c->cr4 & CR4_SMAP) != 0;
    }
    return r;
}

void control_set(struct shadow *s, const struct shadow_control *c)
{
    struct control *k = &s->control;
    k->regs = *c;
    k->format = format_of_mode(c);
    k->role = top_role(c, k->format);
    k->pte = pte_format(k->format, k->role.nxe, k->role.pse, s->config.phys_bits);
    if (s->config.nested) /* format and pte say how the guest's tables are walked, the hardware's are these */
        k->role = (struct role){ .hw = SHADOW_NESTED, .level = 4, .guest = GUEST_DIRECT };
    k->hw = k->role.hw;
}

/* Frame of the top table in the slot; false: the guest has none there. */
static bool top_frame(const struct control *c, uint32_t slot, uint64_t *gfn)
{
    switch ((enum guest_format)c->role.guest) {
    case GUEST_DIRECT:
        *gfn = c->hw == SHADOW_PAE ? (uint64_t)slot << 18 : 0;
        return true;
    case GUEST_PAE:
        *gfn = (c->pdpte[slot] & c->pte.frame_mask) >> PAGE_SHIFT;
        return c->pdpte[slot] & PTE_P;
    default:
        *gfn = (c->regs.cr3 & c->pte.frame_mask) >> PAGE_SHIFT;
        return true;
    }
}

static struct role slot_role(const struct control *c, uint32_t slot)
{
    struct role r = c->role;
    if (c->role.guest == GUEST_32)
        r.quadrant = slot & 3;
    return r;
}

static void top_set(struct shadow *s, uint32_t slot, struct table *t, struct shadow_ops *ops)
{
    if (t->flags & TABLE_TOP)
        roots_touch(s, t);
    else
        roots_insert(s, t);
    s->top[slot] = (uint16_t)table_id(s, t);
    s->held.page = NOTHING_HELD;
    op_set_root(ops, s->config.tables[table_id(s, t)], slot);
}

struct table *root_make(struct shadow *s, uint32_t slot, struct shadow_ops *ops)
{
    uint64_t gfn;
    struct role role = slot_role(&s->control, slot);

    if (!top_frame(&s->control, slot, &gfn))
        return NULL;
    struct table *t = table_find(s, gfn, role);
    if (!t)
        t = table_make(s, gfn, role, ops);
    if (!t || shadow_ops_room(ops) < 1)
        return NULL;
    top_set(s, slot, t, ops);
    return t;
}

/* Tops that exist are set at once, the others when a fault asks for them. */
static void tops_pae(struct shadow *s, struct shadow_ops *ops)
{
    for (uint32_t slot = 0; slot < TOPS; slot++) {
        uint64_t gfn;
        struct table *t = NULL;
        if (top_frame(&s->control, slot, &gfn))
            t = table_find(s, gfn, slot_role(&s->control, slot));
        if (t)
            top_set(s, slot, t, ops);
        else
            op_set_root(ops, CPTR_NULL, slot);
    }
}

/* Links that the root before has, as far as the new one's own entries ask for the same: those of the kernel's
 * half, mostly. Everything is in sync, and the new root is on no list. */
static void links_inherit(struct shadow *s, struct table *t, const struct table *before,
                          struct shadow_ops *ops)
{
    for (uint32_t k = 0; k < MASK_WORDS; k++) {
        for (uint64_t todo = before->filled[k]; todo; todo &= todo - 1) {
            uint32_t index = k * 64 + (uint32_t)__builtin_ctzll(todo);
            uint64_t raw, e = s->entry[table_id(s, before)][index];
            struct table *child = &s->table[ENTRY_CHILD(e)];
            if (shadow_ops_room(ops) < OPS_SPARE + OPS_LINKED || child->parents >= PARENTS_MAX ||
                !guest_entry_read(s, (t->gfn << PAGE_SHIFT) + index * 8, 8, &raw))
                return;
            struct want want = want_of(&s->control.pte, t->role, index, raw, t->flags & TABLE_ROM);
            if (want.kind == WANT_LINK && want.gfn == child->gfn && role_equal(want.child, child->role))
                link_set(s, t, index, child, want.rights, ops);
        }
    }
}

/* before: the root that was the present one, or NO_TABLE. */
static void top_four_level(struct shadow *s, uint32_t before, struct shadow_ops *ops)
{
    uint64_t made = s->counters.tables_made;
    struct table *t = root_make(s, 0, ops);

    if (!t) {
        op_set_root(ops, CPTR_NULL, 0);
        return;
    }
    if (s->counters.tables_made != made && before != NO_TABLE && s->control.hw == SHADOW_LONG) {
        const struct table *b = &s->table[before];
        if (b != t && (b->flags & TABLE_LIVE) && role_equal(b->role, t->role))
            links_inherit(s, t, b, ops);
    }
    if (s->control.hw == SHADOW_LONG)
        list_add(s, &s->table[s->top[0]], s->control.regs.cr3, ops);
}

/* Everything is in sync. */
static void roots_switch(struct shadow *s, struct shadow_ops *ops)
{
    if (s->free_count == 0) /* while the old root is still known: the kernel holds it until SET_ROOT */
        reclaim(s, 1, ops);
    s->held.page = NOTHING_HELD;
    uint32_t before = s->top[0];
    for (uint32_t i = 0; i < TOPS; i++)
        s->top[i] = NO_TABLE;
    if (s->control.hw == SHADOW_PAE)
        tops_pae(s, ops);
    else
        top_four_level(s, before, ops);
    orphans_end(s, ORPHANS_BATCH, ops);
}

void shadow_root(struct shadow *s, struct shadow_ops *ops)
{
    sync_point(s, ops);
    roots_switch(s, ops);
}

/* APM vol. 2, 5.3.4: the four entries are read once, at the load. */
static bool pdptes_read(const struct shadow *s, uint64_t cr3, uint64_t pdpte[4])
{
    uint64_t reserved = ~((BIT(s->config.phys_bits) - 1) & ~0xfffull) & ~0xe19ull;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t at = (cr3 & 0xffffffe0) + i * 8;
        if (!guest_entry_read(s, at, 8, &pdpte[i]))
            pdpte[i] = 0;
        if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved))
            return false;
    }
    return true;
}

static void pdptes_set(struct shadow *s, const uint64_t pdpte[4])
{
    for (uint32_t i = 0; i < 4; i++)
        s->control.pdpte[i] = pdpte[i];
}

/* The guest loads the root that it runs on: the processor has it. */
static bool root_stays(const struct shadow *s)
{
    const struct control *c = &s->control;
    const struct table *t = &s->table[s->top[0]];

    return c->format == GUEST_LONG && s->top[0] != NO_TABLE &&
           t->gfn == (c->regs.cr3 & c->pte.frame_mask) >> PAGE_SHIFT && role_equal(t->role, c->role);
}

enum shadow_status shadow_cr3(struct shadow *s, uint64_t cr3, struct shadow_ops *ops)
{
    uint64_t pdpte[4];
    uint64_t before = s->counters.tables_made;

    if (s->config.nested) {
        s->control.regs.cr3 = cr3;
        return SHADOW_OK;
    }
    if (s->control.format == GUEST_PAE) {
        if (!pdptes_read(s, cr3, pdpte))
            return SHADOW_BAD_PDPT;
        pdptes_set(s, pdpte);
    }
    s->control.regs.cr3 = cr3;
    if (s->control.format == GUEST_DIRECT)
        return SHADOW_OK;
    sync_point(s, ops);
    if (root_stays(s)) {
        list_add(s, &s->table[s->top[0]], cr3, ops);
        if (s->orphan_head != NO_TABLE)
            orphans_end(s, ORPHANS_BATCH, ops);
    } else {
        roots_switch(s, ops);
    }
    if (s->counters.tables_made == before)
        s->counters.cr3_known++;
    else
        s->counters.cr3_new++;
    return SHADOW_OK;
}

/* Loads of the PDPT entries by MOV CR0 and MOV CR4 (APM vol. 2, 5.3.4; vol. 3, MOV CRn). */
static bool loads_pdptes(const struct control *old, const struct shadow_control *c, enum guest_format format)
{
    uint64_t cr0 = old->regs.cr0 ^ c->cr0, cr4 = old->regs.cr4 ^ c->cr4;
    if (format != GUEST_PAE)
        return false;
    return old->format != GUEST_PAE || (cr0 & (CR0_PG | CR0_CD | CR0_NW)) ||
           (cr4 & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP));
}

static bool flushes(const struct shadow_control *old, const struct shadow_control *c)
{
    return ((old->cr0 ^ c->cr0) & (CR0_PG | CR0_WP)) ||
           ((old->cr4 ^ c->cr4) & (CR4_PGE | CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP)) ||
           ((old->efer ^ c->efer) & (EFER_NXE | EFER_LMA));
}

enum shadow_status shadow_mode(struct shadow *s, uint64_t cr0, uint64_t cr4, uint64_t efer,
                               struct shadow_ops *ops)
{
    struct shadow_control c = { .cr0 = cr0, .cr3 = s->control.regs.cr3, .cr4 = cr4, .efer = efer };
    struct shadow_control old = s->control.regs;
    struct role role = s->control.role;
    uint64_t pdpte[4];
    bool load = loads_pdptes(&s->control, &c, format_of_mode(&c));

    if (s->config.nested) {
        control_set(s, &c);
        if (flushes(&old, &c) && shadow_ops_room(ops) > 0)
            op_flush(ops);
        return SHADOW_OK;
    }
    if (load && !pdptes_read(s, c.cr3, pdpte))
        return SHADOW_BAD_PDPT;
    s->control.regs = c;
    if (!flushes(&old, &c) && !load)
        return SHADOW_OK;
    if (load)
        pdptes_set(s, pdpte);
    sync_point(s, ops);
    control_set(s, &c);
    if (!role_equal(role, s->control.role))
        list_empty(s, ops); /* roots of another role */
    if (load || !role_equal(role, s->control.role))
        roots_switch(s, ops);
    return SHADOW_OK;
}

enum shadow_status shadow_load(struct shadow *s, const struct shadow_control *c, struct shadow_ops *ops)
{
    uint64_t pdpte[4];
    bool pae = !s->config.nested && format_of_mode(c) == GUEST_PAE;

    if (pae && !pdptes_read(s, c->cr3, pdpte))
        return SHADOW_BAD_PDPT;
    shadow_resume(s, c, pae ? pdpte : s->control.pdpte, ops);
    return SHADOW_OK;
}

void shadow_resume(struct shadow *s, const struct shadow_control *c, const uint64_t pdpte[4],
                   struct shadow_ops *ops)
{
    pdptes_set(s, pdpte);
    control_set(s, c);
    list_empty(s, ops);
    shadow_root(s, ops);
}

const uint64_t *shadow_pdptes(const struct shadow *s)
{
    return s->control.pdpte;
}
