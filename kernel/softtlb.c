/* SPDX-License-Identifier: BSD-2-Clause */
/* See softtlb.h. Held by tests/host/kernel/test_softtlb.c (what it must notice), tests/procs/test_tlb.c and
 * test_hostile.c (what it must not), and the mutants kernel-tlb-*. */
#include "softtlb.h"
#include "arch/pte.h"
#include "log.h"

#if UMBRA_DEBUG
#define LOSSES       16u   /* chosen: for the report */
#define SAMPLE       16u   /* chosen: of so many flushes after a loss one is looked at closely */
#define SAMPLE_STEPS 16u   /* chosen: tables read for that, some 3000 instructions each */
#define STEPS_MAX    4096u /* chosen: more than a guest's tables reach; a VMM can link one in many ways */
#define OF_PROCESSOR (~(uint64_t)(PTE_A | PTE_D)) /* the processor sets the others by itself */

/* Moments are counts of what happened. */
struct frame {
    uint64_t sum;    /* shadow table: over its present entries, as was told */
    uint64_t lost;   /* shadow table, VM: when an entry, or one of its tables', last became less */
    uint64_t gone;   /* VM: when a table that was linked ended, or it left its memory; GuestSpace: when
                        something was taken, or its   epoch ended */
    uint64_t linked; /* shadow table: when it was last linked, or entered on; 0: not since it was set up */
    uint32_t asid;   /* of the root that is this table, or, in PAE format, this vCPU's: the last one */
};

struct asid {
    uint64_t round; /* of model.round: older ones were emptied with all others */
    uint64_t since; /* when it was last empty */
    uint64_t fine;  /* so far losses of the VM were found not to concern it */
    const struct vm *vm;
    const struct guestspace *space;
    uint64_t format;
    hpa_t table[4];
};

struct loss {
    uint64_t moment, old, new;
    hpa_t table;
    uint32_t index;
};

static struct {
    struct frame *frame;
    struct asid *asid;
    uint32_t asids;
    uint64_t moment, round;
    uint64_t count[TLB_COUNTS];
    struct loss loss[LOSSES];
} model = { .round = 1 };

void softtlb_asids(uint32_t count)
{
    model.asids = count;
}

uint64_t softtlb_bytes(void)
{
    return frame_meta_count * sizeof(struct frame) + model.asids * sizeof(struct asid);
}

void softtlb_open(void *memory)
{
    model.frame = memory;
    model.asid = (struct asid *)(model.frame + frame_meta_count);
}

/* NULL: not RAM, or the model is not there yet. */
static struct frame *frame_of(hpa_t a)
{
    return model.frame && meta_of(a) ? &model.frame[a.v >> PAGE_SHIFT] : NULL;
}

static struct frame *frame_at(const void *object)
{
    return frame_of(phys_to_hpa(object));
}

/* --- what goes --- */

static bool is_link(uint64_t owner, uint64_t entry)
{
    return (entry & PTE_P) && (owner >> 32 & 15) > 1 && !(entry & PTE_PS);
}

/* The TLB may hold more of the old entry than there is in the new one (APM vol. 2, 5.5.2). */
static bool loses(uint64_t old, uint64_t new)
{
    return (old & PTE_P) && (((old ^ new) & (PTE_ADDRESS | PTE_PS)) ||
                             (old & ~new &(PTE_P | PTE_W | PTE_U | PTE_D)) || (new & ~old &PTE_NX));
}

/* 0 of an entry that is not present, so that an empty table has 0. */
static uint64_t term(uint64_t entry, unsigned index)
{
    uint64_t x = (entry & OF_PROCESSOR) ^ (uint64_t)(index + 1) << 52;

    if (!(entry & PTE_P))
        return 0;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
    return x ^ x >> 32;
}

static void lose(struct frame *f, hpa_t table, struct loss l)
{
    struct frame *vm = frame_of(hpa_of(META_HFN(meta_of(table)->owner)));

    f->lost = ++model.moment;
    if (vm)
        vm->lost = f->lost;
    l.moment = f->lost;
    l.table = table;
    model.loss[model.count[TLB_LOSSES]++ % LOSSES] = l;
}

void softtlb_change(const uint64_t *entry, uint64_t new)
{
    hpa_t at = phys_to_hpa(entry), table = { at.v & ~(PAGE_BYTES - 1) };
    unsigned index = at.v % PAGE_BYTES / sizeof(*entry);
    struct frame *f = frame_of(table);
    uint64_t old = *entry;

    if (!f)
        return;
    f->sum += term(new, index) - term(old, index);
    if (loses(old, new))
        lose(f, table, (struct loss){ .old = old, .new = new, .index = index });
    struct frame *child = is_link(meta_of(table)->owner, new) ? frame_of(pte_hpa(new)) : NULL;
    if (child)
        child->linked = ++model.moment;
}

void softtlb_cleared(const uint64_t *entries)
{
    struct frame *f = frame_at(entries);

    if (!f || !f->sum)
        return;
    f->sum = 0;
    lose(f, phys_to_hpa(entries), (struct loss){ .index = TABLE_ENTRIES });
}

void softtlb_ended(hpa_t table)
{
    struct frame *f = frame_of(table);
    uint64_t owner = meta_of(table)->owner;
    hpa_t at = hpa_of(META_HFN(owner));

    if (!f)
        return;
    if (f->linked && META_KIND(owner) == META_SHADOW && meta_of(at)->owner == META_VM) {
        const struct vm *vm = phys(at);
        /* in the epoch that is, and since the VM has this memory */
        if (vm->space && f->linked > frame_at(vm->space)->gone && f->linked > frame_at(vm)->gone)
            frame_at(vm)->gone = ++model.moment;
    }
    f->linked = f->sum = 0;
}

/* Nothing leads to it: what did went, and was told, or is of an epoch that has ended. */
void softtlb_begun(const uint64_t *entries)
{
    struct frame *f = frame_at(entries);

    if (f)
        f->linked = f->sum = 0;
}

void softtlb_left(const struct vm *vm)
{
    struct frame *f = frame_at(vm);

    if (f)
        f->gone = ++model.moment;
}

void softtlb_taken(const struct guestspace *g)
{
    struct frame *f = frame_at(g);

    if (f)
        f->gone = ++model.moment;
}

bool softtlb_knows(hpa_t table)
{
    const struct frame *f = frame_of(table);
    const uint64_t *entries = phys(table);
    uint64_t sum = 0;

    for (unsigned i = 0; f && i < TABLE_ENTRIES; i++)
        sum += term(entries[i], i);
    return !f || sum == f->sum;
}

/* --- what is reached --- */

struct way {
    const uint64_t *entries;
    uint64_t owner;
    unsigned index;
};

/* A table below this one, or it itself, lost something after that moment. More than `left` tables were to be
 * read: taken for yes. */
static bool reaches_a_loss(hpa_t top, uint64_t since, uint64_t left)
{
    struct way way[4];
    unsigned depth = 0;

    if (frame_of(top)->lost > since)
        return true;
    way[0] = (struct way){ phys(top), meta_of(top)->owner, 0 };
    for (;;) {
        struct way *w = &way[depth];
        if (w->index == TABLE_ENTRIES) {
            if (!depth)
                return false;
            depth--;
            continue;
        }
        uint64_t e = w->entries[w->index++];
        if (!(e & PTE_P))
            continue;
        const struct frame *f = is_link(w->owner, e) ? frame_of(pte_hpa(e)) : NULL;
        if (!f)
            continue;
        uint64_t owner = meta_of(pte_hpa(e))->owner;
        if (f->lost > since || (depth < 3 && (owner >> 32 & 15) > 1 && !left--))
            return true;
        if (depth < 3 && (owner >> 32 & 15) > 1)
            way[++depth] = (struct way){ phys(pte_hpa(e)), owner, 0 };
    }
}

static bool root_reaches_a_loss(const struct shadow_root *r, uint64_t since, uint64_t limit)
{
    for (unsigned i = 0; i < 4; i++)
        if (r->table[i].v && frame_of(r->table[i]) && reaches_a_loss(r->table[i], since, limit))
            return true;
    return false;
}

/* --- entries --- */

static struct frame *root_frame(const struct vcpu *v)
{
    return v->root.format == GUEST_PAE ? frame_at(v) : frame_of(v->root.table[0]);
}

static bool is_of(const struct asid *a, const struct vcpu *v)
{
    bool same = a->vm == v->vm && a->space == v->vm->space && a->format == v->root.format;

    for (unsigned i = 0; i < 4; i++) /* a pointer that comes takes nothing away */
        same &= !a->table[i].v || a->table[i].v == v->root.table[i].v;
    return same;
}

static bool lost_as_a_whole(const struct asid *a)
{
    return frame_at(a->vm)->gone > a->since || frame_at(a->space)->gone > a->since;
}

const char *softtlb_judge(const struct vcpu *v, uint32_t asid, enum softtlb_control control)
{
    if (!model.frame)
        return NULL;
    if (asid == 0 || asid >= model.asids)
        return "there is no such ASID for guests";
    struct asid *a = &model.asid[asid];
    if (control != SOFTTLB_KEEP || a->round != model.round)
        return NULL; /* empty */
    if (!is_of(a, v))
        return "the ASID holds another root's translations";
    if (frame_at(a->vm)->gone > a->since)
        return "a table has ended that the ASID may lead to";
    if (frame_at(a->space)->gone > a->since)
        return "guest memory was taken that the ASID may lead to";
    if (frame_at(a->vm)->lost <= a->fine)
        return NULL;
    if (root_reaches_a_loss(&v->root, a->since, STEPS_MAX))
        return "entries became less that the ASID may hold";
    a->fine = model.moment;
    return NULL;
}

/* The root begins on an ASID that holds nothing: was there a reason? */
static void note_reason(const struct vcpu *v, enum softtlb_control control)
{
    struct frame *f = root_frame(v);
    const struct asid *before = f && f->asid ? &model.asid[f->asid] : NULL;

    model.count[TLB_BEGUN]++;
    if (control == SOFTTLB_EMPTY_ALL)
        model.count[TLB_EMPTIED]++;
    if (!before || before->round != model.round || !is_of(before, v))
        return;
    bool whole = lost_as_a_whole(before);
    if (!whole && frame_at(v->vm)->lost <= before->since) {
        model.count[TLB_NEEDLESS]++;
        return;
    }
    if (whole || model.count[TLB_OWED]++ % SAMPLE)
        return;
    model.count[TLB_SAMPLED]++;
    model.count[TLB_SPARED] += !root_reaches_a_loss(&v->root, before->since, SAMPLE_STEPS);
}

static void begin(const struct vcpu *v, uint32_t asid, enum softtlb_control control)
{
    struct asid *a = &model.asid[asid];
    struct frame *f = root_frame(v);

    note_reason(v, control);
    if (control == SOFTTLB_EMPTY_ALL)
        model.round++;
    *a = (struct asid){ .round = model.round,
                        .since = ++model.moment,
                        .fine = model.moment,
                        .vm = v->vm,
                        .space = v->vm->space,
                        .format = v->root.format };
    if (f)
        f->asid = asid;
}

static _Noreturn void missing(const struct vcpu *v, uint32_t asid, const char *why)
{
    const struct asid *a = &model.asid[asid < model.asids ? asid : 0];
    uint64_t n = model.count[TLB_LOSSES];

    log_printf("softtlb: vCPU %p of VM %p, root %lx, ASID %u empty at %lu, now %lu\n", (const void *)v,
               (const void *)v->vm, v->root.table[0].v, asid, a->since, model.moment);
    for (uint64_t i = n < LOSSES ? 0 : n - LOSSES; i < n; i++) {
        const struct loss *l = &model.loss[i % LOSSES];
        log_printf("softtlb: at %lu table %lx index %u %lx -> %lx\n", l->moment, l->table.v, l->index, l->old,
                   l->new);
    }
    PANIC("TLB flush missing: %s", why);
}

void softtlb_enter(const struct vcpu *v, uint32_t asid, enum softtlb_control control)
{
    if (!model.frame)
        return;
    const char *why = softtlb_judge(v, asid, control);
    if (why)
        missing(v, asid, why);
    model.count[TLB_ENTRIES]++;
    struct asid *a = &model.asid[asid];
    if (control != SOFTTLB_KEEP || a->round != model.round)
        begin(v, asid, control);
    for (unsigned i = 0; i < 4; i++) {
        struct frame *f = v->root.table[i].v ? frame_of(v->root.table[i]) : NULL;
        a->table[i] = v->root.table[i];
        if (f)
            f->linked = model.moment;
    }
}

void softtlb_read(uint64_t to[TLB_COUNTS])
{
    for (unsigned i = 0; i < TLB_COUNTS; i++)
        to[i] = model.count[i];
}
#endif
