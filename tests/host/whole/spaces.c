/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces and guest memory: what page tables show is what capabilities say is mapped there, what the
 * metadata of frames says is what there is, and the processor holds no translation that has gone (I3, I6). */
#include "whole.h"
#include <string.h>

/* Capabilities that are mapped somewhere, by the frame that they name. */
#define ELSEWHERE WHOLE_FRAMES
static uint16_t mapped_first[WHOLE_FRAMES + 1], mapped_next[NODES_MAX];
#define NOBODY UINT16_MAX

static unsigned bucket(uint64_t hpa)
{
    return hpa < WHOLE_BYTES ? hpa >> PAGE_SHIFT : ELSEWHERE;
}

static uint64_t ref_of(uint64_t obj)
{
    return meta_of((hpa_t){ obj })->stamp << 28 | obj >> PAGE_SHIFT;
}

static void find_mapped(void)
{
    memset(mapped_first, 0xff, sizeof(mapped_first));
    for (unsigned i = 0; i < census.nodes; i++) {
        const struct cap *c = census.node[i];
        bool maps = c->type == OBJ_FRAME || c->type == OBJ_PAGETABLE || c->type == OBJ_VIEW;
        if (!maps || (!c->d1 && c->type != OBJ_PAGETABLE))
            continue;
        mapped_next[i] = mapped_first[bucket(c->obj)];
        mapped_first[bucket(c->obj)] = i;
    }
}

/* Who maps hpa at this address of the space, with an entry of this level. */
static const struct cap *mapper(uint64_t ref, uint64_t hpa, uint64_t address, unsigned type, unsigned level)
{
    for (unsigned i = mapped_first[bucket(hpa)]; i != NOBODY; i = mapped_next[i]) {
        const struct cap *c = census.node[i];
        if (c->type == type && c->obj == hpa && c->d1 == ref && c->d0 == address &&
            (type != OBJ_PAGETABLE || c->kind == level - 1u))
            return c;
    }
    return NULL;
}

/* --- what the processor may hold --- */

static struct tlb_entry now[TLB_MAX];
static unsigned now_count;

static void reached(uint64_t address, uint64_t entry, uint64_t rights)
{
    MUST(now_count < TLB_MAX);
    now[now_count++] =
        (struct tlb_entry){ address, (entry & ~(uint64_t)(PTE_W | PTE_NX | PTE_A | PTE_D)) | rights };
}

/* Rights of an entry below others. */
static uint64_t narrowed(uint64_t rights, uint64_t entry)
{
    return (rights & entry & PTE_W) | ((rights | entry) & PTE_NX);
}

static void check_tlb(void)
{
    unsigned k = 0;

    for (unsigned i = 0; i < host_tlb_count; i++) {
        const struct tlb_entry *e = &host_tlb[i];
        while (k < now_count && now[k].address < e->address)
            k++;
        MUST_SAY(k < now_count && now[k].address == e->address, "the TLB may hold %lx, which has gone",
                 e->address);
        MUST_SAY(!((now[k].entry ^ e->entry) & (PTE_ADDRESS | PTE_PS)) &&
                     !(e->entry & ~now[k].entry & PTE_W) && !(now[k].entry & ~e->entry & PTE_NX),
                 "the TLB may hold more of %lx", e->address);
    }
    memcpy(host_tlb, now, now_count * sizeof(now[0]));
    host_tlb_count = now_count;
}

/* --- address spaces --- */

static void see_window(uint64_t address, uint64_t entry, uint64_t rights)
{
    struct guestspace *g = phys((hpa_t){ pte_hpa(entry).v - offsetof(struct guestspace, table) });

    MUST(lives(g, OBJ_GUESTSPACE) && (rights & PTE_NX));
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        const uint64_t *two = g->table[i] & PTE_P ? phys(pte_hpa(g->table[i])) : NULL;
        for (unsigned j = 0; two && j < TABLE_ENTRIES; j++) {
            uint64_t at = address + i * level_bytes(3) + j * level_bytes(2);
            const uint64_t *one = (two[j] & (PTE_P | PTE_PS)) == PTE_P ? phys(pte_hpa(two[j])) : NULL;
            if (two[j] & PTE_P && two[j] & PTE_PS)
                reached(at, two[j], narrowed(rights, two[j]));
            for (unsigned k = 0; one && k < TABLE_ENTRIES; k++)
                if (one[k] & PTE_P)
                    reached(at + k * PAGE_BYTES, one[k], narrowed(rights, one[k]));
        }
    }
}

static void see_page(uint64_t ref, uint64_t address, uint64_t entry, unsigned level, uint64_t rights)
{
    const struct cap *f = mapper(ref, pte_hpa(entry).v, address, OBJ_FRAME, level);
    const struct cap *c = f ? f : mapper(ref, pte_hpa(entry).v, address, OBJ_VIEW, level);

    MUST_SAY(c, "address %lx shows %lx, which nothing maps there", address, pte_hpa(entry).v);
    MUST(c->rights & RIGHT_READ);
    MUST(!(entry & PTE_W) || (c->rights & RIGHT_WRITE));
    MUST(c->type == OBJ_FRAME ? (entry & PTE_NX) || (c->rights & RIGHT_EXEC) : !!(entry & PTE_NX));
    MUST((level == 2) == !!(entry & PTE_PS) &&
         (c->type != OBJ_FRAME || (level == 2) == !!(c->flags & CAP_LARGE)));
    MUST(!(entry & PTE_W) || c->type == OBJ_FRAME || c->kind == VIEW_REPLY);
    reached(address, entry, rights);
}

static void see_table(uint64_t ref, const uint64_t *table, unsigned level, uint64_t address, uint64_t rights)
{
    for (unsigned i = 0; i < (level == 4 ? TABLE_ENTRIES / 2 : TABLE_ENTRIES); i++) {
        uint64_t e = table[i], at = address + i * level_bytes(level), now_rights = narrowed(rights, e);
        if (!(e & PTE_P))
            continue;
        MUST(e & PTE_U);
        if (level == 4 && (e & PTE_WINDOW)) {
            const struct cap *c = mapper(ref, pte_hpa(e).v, at, OBJ_VIEW, 4);
            MUST(c && c->kind == VIEW_WINDOW && (!(e & PTE_W) || (c->rights & RIGHT_WRITE)));
            see_window(at, e, now_rights);
        } else if (level == 1 || (e & PTE_PS)) {
            see_page(ref, at, e, level, now_rights);
        } else {
            MUST(mapper(ref, pte_hpa(e).v, at, OBJ_PAGETABLE, level));
            see_table(ref, phys(pte_hpa(e)), level - 1, at, now_rights);
        }
    }
}

static void check_space(const struct object *o)
{
    const uint64_t *root = phys((hpa_t){ o->at });

    now_count = 0;
    see_table(ref_of(o->at), root, 4, 0, PTE_W);
    for (unsigned k = 256; k < TABLE_ENTRIES; k++)
        MUST(root[k] == FAKE_KERNEL_ENTRY);
    if (o->at == fake.loaded)
        check_tlb();
}

/* A table that is mapped nowhere shows nothing when it is mapped again. */
static void check_table(const struct cap *c)
{
    const uint64_t *table = phys((hpa_t){ c->obj });

    for (unsigned i = 0; !c->d1 && i < TABLE_ENTRIES; i++)
        MUST(!table[i]);
}

void check_spaces(void)
{
    find_mapped();
    MUST(!fake.loaded || lives(phys((hpa_t){ fake.loaded }), OBJ_VSPACE));
    for
        EACH_OBJECT(o, OBJ_VSPACE)
    check_space(o);
    for
        EACH_OBJECT(o, OBJ_PAGETABLE)
    check_table(o->cap);
}

/* --- guest memory --- */

static void see_frame(const struct object *g, uint64_t entry, uint64_t gfn, bool large)
{
    const struct frame_meta *m = meta_of(pte_hpa(entry));

    MUST(m && META_KIND(m->owner) == META_GUEST && META_HFN(m->owner).v == g->at >> PAGE_SHIFT);
    MUST(META_GUEST_GFN(m->owner).v == gfn && !(m->owner & META_LARGE) == !large);
    MUST(m->stamp == meta_of((hpa_t){ g->at })->stamp && (entry & PTE_U));
    for (unsigned i = 0; i < (large ? TABLE_ENTRIES : 1); i++) {
        const struct object *r = owner_of_frame((hpa_t){ pte_hpa(entry).v + i * PAGE_BYTES });
        MUST_SAY(r && r->cap->type == OBJ_RANGE, "gfn %lx has a frame that is nobody's", gfn + i);
        MUST(!i || META_KIND(m[i].owner) == META_NONE);
        MUST(r->cap->d0 <= (pte_hpa(entry).v - r->at) >> PAGE_SHIFT); /* not on its way out */
    }
}

static void check_guest(const struct object *o)
{
    const struct guestspace *g = phys((hpa_t){ o->at });
    uint64_t ref = ref_of(o->at);

    for (uint64_t i = 0; i < TABLE_ENTRIES; i++) {
        if (!(g->table[i] & PTE_P))
            continue;
        const uint64_t *two = phys(pte_hpa(g->table[i]));
        MUST(mapper(ref, pte_hpa(g->table[i]).v, i * level_bytes(3), OBJ_PAGETABLE, 3));
        for (uint64_t j = 0; j < TABLE_ENTRIES; j++) {
            uint64_t gfn = (i * TABLE_ENTRIES + j) * TABLE_ENTRIES;
            if (!(two[j] & PTE_P))
                continue;
            if (two[j] & PTE_PS) {
                see_frame(o, two[j], gfn, true);
                continue;
            }
            MUST(mapper(ref, pte_hpa(two[j]).v, gfn << PAGE_SHIFT, OBJ_PAGETABLE, 2));
            const uint64_t *one = phys(pte_hpa(two[j]));
            for (unsigned k = 0; k < TABLE_ENTRIES; k++)
                if (one[k] & PTE_P)
                    see_frame(o, one[k], gfn + k, false);
        }
    }
}

/* Metadata is of what lies there. */
static void check_meta(uint64_t frame)
{
    static const uint8_t type[] = { [META_SHADOW] = OBJ_SHADOW,
                                    [META_VSPACE] = OBJ_VSPACE,
                                    [META_GUESTSPACE] = OBJ_GUESTSPACE,
                                    [META_VM] = OBJ_VM };
    const struct frame_meta *m = &frame_meta[frame];
    unsigned kind = META_KIND(m->owner);
    hpa_t at = { frame << PAGE_SHIFT };

    if (kind == META_NONE)
        return;
    if (kind != META_GUEST) {
        MUST(kind <= META_VM && lives(phys(at), type[kind]));
        return;
    }
    const struct object *r = owner_of_frame(at);
    MUST_SAY(r && r->cap->type == OBJ_RANGE, "frame %lx is said to be a guest's", frame);
}

void check_guests(void)
{
    for (uint64_t f = 0; f < frame_meta_count; f++)
        check_meta(f);
    for
        EACH_OBJECT(o, OBJ_VSPACE)
    MUST(META_KIND(meta_of((hpa_t){ o->at })->owner) == META_VSPACE);
    for
        EACH_OBJECT(o, OBJ_VM)
    MUST(META_KIND(meta_of((hpa_t){ o->at })->owner) == META_VM);
    for
        EACH_OBJECT(o, OBJ_GUESTSPACE)
        {
            MUST(META_KIND(meta_of((hpa_t){ o->at })->owner) == META_GUESTSPACE);
            check_guest(o);
        }
}
