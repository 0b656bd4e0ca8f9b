/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables: the operations of a reply, each checked against the GuestSpace before an entry is written.
 *
 * Invariants: I1 (a leaf points to the GuestSpace's frame, with no more rights), I2 (a non-leaf points to a
 * table of the same VM, format and epoch, one level down), and: META_SHADOW_LINKS of a table of the current
 * epoch counts the entries and roots that point to it. A table of an earlier epoch is only ever set up anew.
 * What makes a translation smaller or other raises the VM's downgrade count; guest entry flushes where it
 * differs (I3). */
#include "arch/pte.h"
#include "invoke.h"
#include "ipc.h"
#include "lookup.h"
#include "quick.h"
#include "shadow.h"
#include "obj/shadow_ops.h"
#include "softtlb.h"

#define SHADOW_LINKS_MAX (BIT(16) - 1)
#define WORK_MAX         4096u /* chosen: entries written between two looks at interrupts (I9) */
#define WORK_REPLACED    3u    /* as many more for one that is replaced: it takes four times as long */

/* The table stays known until the next one is asked for, or a setup. */
static err_t find_table(struct batch *b, cptr_t p)
{
    struct table *out = &b->known;
    struct cap *c;

    if (!quick_slot(b->t, p, &c))
        c = cspace_slot(b->t, p);
    b->known_p = 0;
    if (!c || c->type != OBJ_SHADOW || !(c->rights & RIGHT_WRITE))
        return cspace_cap(b->t, p, OBJ_SHADOW, RIGHT_WRITE, &c); /* says why */
    out->hpa = (hpa_t){ c->obj };
    out->meta = meta_of(out->hpa);
    uint64_t owner = out->meta->owner;
    if (!shadow_is_of(owner, b->vm))
        return REFUSED(ERR_WRONG_VM, "shadow table %x of another VM", p);
    out->entries = phys(out->hpa);
    out->level = meta_level(owner);
    out->format = meta_format(owner);
    b->known_p = p;
    return ERR_OK;
}

static err_t table_of_vm(struct batch *b, cptr_t p, struct table *out)
{
    err_t e = find_table(b, p);

    *out = b->known;
    return e;
}

/* b->known becomes this table, if it is of the current epoch. */
static inline err_t know_current(struct batch *b, cptr_t p)
{
    err_t e = p == b->known_p && p ? ERR_OK : find_table(b, p);

    if (e == ERR_OK && b->known.meta->stamp != b->vm->space->epoch)
        e = REFUSED(ERR_STALE_TABLE, "shadow table %x is of epoch %lu", p, b->known.meta->stamp);
    return e;
}

err_t current_table(struct batch *b, cptr_t p, struct table *out)
{
    err_t e = know_current(b, p);

    *out = b->known;
    return e;
}

static bool is_link(const struct table *t, uint64_t entry)
{
    return (entry & PTE_P) && t->level > 1 && !(entry & PTE_PS);
}

static void unlink_child(uint64_t entry)
{
    meta_of(pte_hpa(entry))->owner -= META_SHADOW_LINK;
}

/* What stood in an entry goes: always a downgrade. */
static void drop_entry(struct batch *b, const struct table *t, unsigned index)
{
    uint64_t old = t->entries[index];

    if (!(old & PTE_P))
        return;
    softtlb_change(&t->entries[index], 0);
    t->entries[index] = 0;
    if (is_link(t, old))
        unlink_child(old);
    b->downgraded = true;
}

#define BLOCK 64u /* entries: META_SHADOW_BLOCK */
#define GROUP 8u  /* chosen: a cache line */
static void clear_block(struct batch *b, const struct table *t, volatile uint64_t *block)
{
    for (volatile uint64_t *e = block; e < block + BLOCK; e += GROUP) {
        if (!(e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]))
            continue;
        b->downgraded = true;
        for (unsigned k = 0; k < GROUP; k++)
            if (is_link(t, e[k]))
                unlink_child(e[k]);
#pragma GCC unroll 8
        for (unsigned k = 0; k < GROUP; k++)
            e[k] = 0;
    }
}

/* Of leaves nobody looks what there was. */
static void clear_table(struct batch *b, const struct table *t)
{
    uint64_t used = META_SHADOW_BLOCKS(t->meta->owner);

    b->downgraded |= t->level == 1 && used;
    for (; used; used &= used - 1) {
        uint64_t *block = t->entries + __builtin_ctzll(used) * BLOCK;
        if (t->level == 1)
            arch_zero(block, BLOCK * sizeof(*block));
        else
            clear_block(b, t, block);
    }
    softtlb_cleared(t->entries);
    t->meta->owner &= ~(META_SHADOW_BLOCK(TABLE_ENTRIES) - META_SHADOW_BLOCK(0));
}

static err_t op_setup(struct batch *b, cptr_t p, unsigned kind)
{
    struct table t;
    unsigned format = kind >> 4, level = kind & 15;
    uint64_t epoch = b->vm->space->epoch;

    err_t e = table_of_vm(b, p, &t);
    if (e != ERR_OK)
        return e;
    if (format > SHADOW_NESTED || level < 1 || level > top_level(format) ||
        (format == SHADOW_NESTED) != b->vm->nested)
        return REFUSED(ERR_WRONG_LEVEL, "set up format %u level %u", format, level);
    uint64_t owner = t.meta->owner;
    if (t.meta->stamp == epoch && META_SHADOW_LINKS(owner))
        return REFUSED(ERR_LINKED, "set up a table with %lu links", META_SHADOW_LINKS(owner));
    if (t.meta->stamp == epoch) {
        clear_table(b, &t);
        b->downgraded |=
            !!(owner & META_SHADOW_USED); /* as a table of another level it may sit in a walk cache */
    } else if (META_SHADOW_BLOCKS(owner)) {
        arch_zero(t.entries, PAGE_BYTES);
    }
    t.meta->owner = META_SHADOW | phys_to_hpa(b->vm).v >> PAGE_SHIFT << 4 | (uint64_t)level << 32 |
                    (uint64_t)format << 36;
    t.meta->stamp = epoch;
    softtlb_begun(t.entries);
    b->known_p = 0; /* level and format are new */
    return ERR_OK;
}

static err_t op_link(struct batch *b, cptr_t p, unsigned index, unsigned rights, cptr_t child_p)
{
    struct table t;
    const struct table *child = &b->known;

    err_t e = current_table(b, p, &t);
    if (e == ERR_OK)
        e = know_current(b, child_p);
    if (e != ERR_OK)
        return e;
    if (index >= TABLE_ENTRIES)
        return ERR_RANGE;
    if (t.level < 2 || child->level != t.level - 1 || child->format != t.format)
        return REFUSED(ERR_WRONG_LEVEL, "link level %u under level %u", child->level, t.level);
    if (META_SHADOW_LINKS(child->meta->owner) >= SHADOW_LINKS_MAX)
        return ERR_RANGE;
    drop_entry(b, &t, index);
    uint64_t link = child->hpa.v | (entry_flags(rights) & ~(uint64_t)PTE_D);
    softtlb_change(&t.entries[index], link);
    t.entries[index] = link;
    t.meta->owner |= META_SHADOW_BLOCK(index);
    child->meta->owner = (child->meta->owner + META_SHADOW_LINK) | META_SHADOW_USED;
    return ERR_OK;
}

/* A leaf replaces what stood in the entry: less, or other, is a downgrade. */
static void replace_entry(struct batch *b, const struct table *t, unsigned index, uint64_t new)
{
    uint64_t old = t->entries[index];

    if (leaf_takes(old, new) || is_link(t, old)) {
        b->work += WORK_REPLACED;
        drop_entry(b, t, index);
    }
}

/* The guest space's entry for a frame, given the one for the frame before it, if any: side by side in one
 * table, or the same of a large page. */
static inline uint64_t *next_frame(struct guestspace *g, uint64_t *before, uint64_t gfn)
{
    if (!before || gfn % TABLE_ENTRIES == 0)
        return guestspace_entry(g, gfn);
    if (*before & PTE_PS)
        return before;
    return before[1] & PTE_P ? before + 1 : NULL;
}

/* Leaves: what the VMM asks, no more than the GuestSpace gives. */
static err_t fill(struct batch *b, const struct table *t, unsigned index, uint64_t flags, uint64_t gfn,
                  unsigned n)
{
    uint64_t *guest = NULL;
    bool large = flags & PTE_PS;

    for (; n; n--, index++, gfn += large ? LARGE_PAGES : 1) {
        guest = next_frame(b->vm->space, large ? NULL : guest, gfn);
        if (!guest)
            return REFUSED(ERR_NOT_IN_GUEST, "fill gfn %lx", gfn);
        uint64_t pte = *guest, new = leaf_of(pte, gfn, flags);
        if (large && (!(pte & PTE_PS) || gfn % LARGE_PAGES))
            return REFUSED(ERR_NOT_IN_GUEST, "fill 2M at gfn %lx: not one large frame", gfn);
        log_writable(guest, pte, new);
        if (t->entries[index] & PTE_P)
            replace_entry(b, t, index, new);
        softtlb_change(&t->entries[index], new);
        t->entries[index] = new;
    }
    return ERR_OK;
}

static err_t op_fill_run(struct batch *b, cptr_t p, unsigned index, unsigned rights, uint64_t gfn, unsigned n)
{
    const struct table *t = &b->known;

    err_t e = know_current(b, p);
    if (e != ERR_OK)
        return e;
    if (index >= TABLE_ENTRIES || n == 0 || n > TABLE_ENTRIES - index || !(rights & SH_READ))
        return REFUSED(ERR_RANGE, "fill index %u count %u rights %x", index, n, rights);
    bool large = rights & SH_LARGE;
    if (t->level != (large ? 2u : 1u))
        return REFUSED(ERR_WRONG_LEVEL, "fill %s at level %u", large ? "2M" : "4K", t->level);
    t->meta->owner |= 2 * META_SHADOW_BLOCK(index + n - 1) - META_SHADOW_BLOCK(index);
    b->work += n;
    return fill(b, t, index, entry_flags(rights) | (large ? PTE_PS : 0), gfn, n);
}

/* The entries of mask m, of 64, lose `take` and get `add`; those that are not present stay as they are. */
static inline void narrow(uint64_t *entries, uint64_t m, uint64_t take, uint64_t add)
{
    if (!add && !~m) { /* a fork takes W from many */
#pragma GCC unroll 8
        for (unsigned i = 0; i < BLOCK; i++) {
            softtlb_change(&entries[i], entries[i] & ~take);
            entries[i] &= ~take;
        }
        return;
    }
    for (; m; m &= m - 1) {
        unsigned i = __builtin_ctzll(m);
        if (!(entries[i] & PTE_P))
            continue;
        softtlb_change(&entries[i], (entries[i] & ~take) | add);
        entries[i] = (entries[i] & ~take) | add;
    }
}

/* Entries of the mask keep only some rights. */
static err_t op_downgrade(struct batch *b, cptr_t p, unsigned rights, bool clean,
                          const volatile uint64_t *mask)
{
    const struct table *t = &b->known;
    uint64_t take = (rights & SH_WRITE ? 0 : PTE_W) | (rights & SH_USER ? 0 : PTE_U) | (clean ? PTE_D : 0);
    uint64_t add = rights & SH_EXEC ? 0 : PTE_NX;

    err_t e = know_current(b, p);
    if (e != ERR_OK)
        return e;
    for (unsigned first = 0; first < TABLE_ENTRIES; first += BLOCK) {
        uint64_t m = *mask++;
        if (rights & SH_READ)
            narrow(t->entries + first, m, take, add);
        else
            for (; m; m &= m - 1)
                drop_entry(b, t, first + __builtin_ctzll(m));
    }
    b->downgraded = true;
    return ERR_OK;
}

static err_t op_drop(struct batch *b, cptr_t p, unsigned index)
{
    err_t e = know_current(b, p);

    if (e == ERR_OK && index >= TABLE_ENTRIES)
        e = ERR_RANGE;
    if (e == ERR_OK)
        drop_entry(b, &b->known, index);
    return e;
}

static err_t op_clear(struct batch *b, cptr_t p)
{
    err_t e = know_current(b, p);

    if (e == ERR_OK)
        clear_table(b, &b->known);
    return e;
}

/* Words behind word 0. */
static const uint8_t operands[OP_CODES] = {
    [OP_LINK] = 1, [OP_FILL] = 1, [OP_FILL_RUN] = 1, [OP_DOWNGRADE] = 8, [OP_ROOT_LIST] = 1
};

/* w: the words behind w0, each to be read once. */
static err_t apply_one(struct batch *b, uint64_t w0, const volatile uint64_t *w)
{
    unsigned rights = w0 >> 8 & 0xff, index = w0 >> 16 & 0xffff;
    cptr_t table = (cptr_t)(w0 >> 32);
    uint64_t w1;

    switch ((enum reply_op)(w0 & 0xff)) {
    case OP_SETUP:
        b->work += TABLE_ENTRIES;
        return op_setup(b, table, index);
    case OP_LINK:
        return op_link(b, table, index, rights, (cptr_t)w[0]);
    case OP_FILL:
        return op_fill_run(b, table, index, rights, w[0], 1);
    case OP_FILL_RUN:
        w1 = w[0];
        return op_fill_run(b, table, index, rights, w1 & 0xffffffffffff, w1 >> 48);
    case OP_DOWNGRADE:
        b->work += TABLE_ENTRIES;
        return op_downgrade(b, table, rights, index & 1, w);
    case OP_CLEAR:
        b->work += TABLE_ENTRIES;
        return op_clear(b, table);
    case OP_SET_ROOT:
        return op_set_root(b, index, table);
    case OP_ROOT_LIST:
        return op_root_list(b, index, table, w[0]);
    case OP_FLUSH:
        b->v->force_flush = 1;
        return ERR_OK;
    case OP_DROP:
        return op_drop(b, table, index);
    default:
        return ERR_BAD_OPERATION;
    }
}

err_t shadow_apply(struct vcpu *v, struct tcb *t, const uint64_t *ops, unsigned words, unsigned *index)
{
    struct batch b = { .v = v, .vm = v->vm, .t = t };
    const volatile uint64_t *shared = ops;
    err_t e = ERR_OK;
    unsigned i = v->ops_done;

    v->ops_done = 0;
    while (i < words && e == ERR_OK) {
        uint64_t w0 = shared[i];
        unsigned code = w0 & 0xff, n = code < OP_CODES ? operands[code] : 0;
        *index = i;
        e = n < words - i ? apply_one(&b, w0, shared + i + 1) : ERR_BAD_OPERATION;
        if (e != ERR_OK)
            error_record(RECORD_OP, code < OP_CODES ? code : 0, REFUSED(e, "operation %lx at %u", w0, i));
        i += 1 + n;
        b.work++;
        if (e == ERR_OK && b.work >= WORK_MAX && i < words) {
            v->ops_done = i; /* the same call goes on there */
            e = PREEMPTED;
        }
    }
    if (b.downgraded)
        b.vm->downgrades++;
    return e;
}

/* --- the capability --- */

static err_t bind(struct invocation *v, struct frame_meta *m)
{
    struct cap *vm;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_VM, RIGHT_WRITE, &vm);
    if (e != ERR_OK)
        return e;
    if (META_KIND(m->owner) == META_SHADOW)
        return ERR_ALREADY_BOUND;
    *m = (struct frame_meta){ META_SHADOW | vm->obj >> PAGE_SHIFT << 4, 0 };
    return ERR_OK;
}

/* The guest space in whose present epoch the table was set up; NULL: that epoch is over, or its VM has gone.
 */
static struct guestspace *lives_in(const struct frame_meta *m)
{
    hpa_t at = hpa_of(META_HFN(m->owner));
    const struct vm *vm = phys(at);

    if (meta_of(at)->owner != META_VM || !vm->space || vm->space->epoch != m->stamp)
        return NULL;
    return vm->space;
}

/* What another guest of this VM left in its tables is none of its successor's business. */
static err_t read_bits(struct invocation *v, const struct frame_meta *m)
{
    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t first = arg(v, 0), n = arg(v, 1);
    if (first >= TABLE_ENTRIES || n == 0 || n > 60 || n > TABLE_ENTRIES - first)
        return ERR_RANGE;
    if (META_KIND(m->owner) != META_SHADOW)
        return ERR_NOT_BOUND;
    if (!lives_in(m))
        return ERR_STALE_TABLE;
    const uint64_t *entries = cap_object(v->cap);
    for (uint64_t i = 0; i < n; i++)
        result(v, entries[first + i] & PTE_FLAGS);
    return ERR_OK;
}

err_t shadow_invoke(struct invocation *v)
{
    struct frame_meta *m = meta_of((hpa_t){ v->cap->obj });

    switch (v->label) {
    case SHADOW_BIND:
        return bind(v, m);
    case SHADOW_READ_BITS:
        return read_bits(v, m);
    default:
        return ERR_BAD_METHOD;
    }
}

void shadow_finalise(struct cap *c)
{
    struct frame_meta *m = meta_of((hpa_t){ c->obj });

    bool holds = meta_level(m->owner) > 1 && META_SHADOW_BLOCKS(m->owner); /* counted links, perhaps */

    if (META_KIND(m->owner) == META_SHADOW && ((m->owner & META_SHADOW_USED) || holds)) {
        struct guestspace *space = lives_in(m);
        if (space)
            guestspace_bump(space);
    }
    softtlb_ended((hpa_t){ c->obj });
    *m = (struct frame_meta){ 0, 0 };
}
