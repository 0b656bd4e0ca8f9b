/* SPDX-License-Identifier: BSD-2-Clause */
/* The walk of the guest's tables (AMD APM vol. 2, 5.2 to 5.6). See walk.h. */
#include "walk.h"

bool guest_entry_read(const struct shadow *s, uint64_t gpa, uint32_t bytes, uint64_t *raw)
{
    uint32_t half = 0;
    int result;
    if (bytes == 8) {
        result = gmem_read64(s->config.mem, (gpa_t){ gpa }, raw);
    } else {
        result = gmem_read32(s->config.mem, (gpa_t){ gpa }, &half);
        *raw = half;
    }
    if (result == GMEM_OK)
        return true;
    *raw = bytes == 8 ? ~0ull : 0xffffffffull;
    return gmem_kind(s->config.map, gfn_of((gpa_t){ gpa })) != GMEM_RAM;
}

uint32_t walk_fault_code(const struct control *c, const struct shadow_access *a, uint32_t why)
{
    bool reports_fetch = c->pte.nxe || (c->regs.cr4 & CR4_SMEP);
    return why | (a->write ? PF_W : 0) | (a->user ? PF_U : 0) | (a->exec && reports_fetch ? PF_I : 0);
}

/* Usually it is there. */
static inline bool entry_read(const struct shadow *s, uint64_t gpa, uint32_t bytes, uint64_t *raw)
{
    if (bytes == 8 && gmem_read64(s->config.mem, (gpa_t){ gpa }, raw) == GMEM_OK)
        return true;
    return guest_entry_read(s, gpa, bytes, raw);
}

/* Where the walk begins; false if a PDPT entry is not present. With nested paging it is read now (APM vol. 2,
 * 15.25.10). */
static bool walk_begin(const struct shadow *s, uint64_t va, struct guest_walk *w, uint64_t *table)
{
    const struct control *c = &s->control;
    uint64_t pdpte;

    w->top = c->format == GUEST_LONG ? 4 : 2;
    *table = c->regs.cr3 & c->pte.frame_mask;
    if (c->format == GUEST_PAE) {
        pdpte = c->pdpte[va >> 30 & 3];
        if (s->config.nested &&
            !guest_entry_read(s, (c->regs.cr3 & 0xffffffe0) + (va >> 30 & 3) * 8, 8, &pdpte))
            return false;
        *table = pdpte & c->pte.frame_mask;
        return pdpte & PTE_P;
    }
    return true;
}

/* Compiled once for each format. */
static inline __attribute__((always_inline)) enum walk_result
walk_tables(const struct shadow *s, const struct shadow_access *a, uint64_t va, enum guest_format format,
            struct guest_walk *w)
{
    const struct control *c = &s->control;
    uint32_t bytes = guest_entry_bytes(format), width = bytes == 4 ? 10 : 9;
    uint64_t table;

    w->error = walk_fault_code(c, a, 0);
    if (!walk_begin(s, va, w, &table))
        return WALK_FAULT;
    for (uint32_t level = w->top; level >= 1; level--) {
        uint32_t shift = PAGE_SHIFT + (level - 1) * width;
        w->at[level] = table + (va >> shift & ((1u << width) - 1)) * bytes;
        w->leaf = level;
        if (!entry_read(s, w->at[level], bytes, &w->raw[level])) {
            w->absent_gpa = w->at[level];
            return WALK_ABSENT;
        }
        struct pte p = pte_decode(&c->pte, level, w->raw[level]);
        if (!(p.bits & PTE_P))
            return WALK_FAULT;
        if (p.bits & PTE_RESERVED) {
            w->error |= PF_P | PF_RSV;
            return WALK_FAULT;
        }
        w->bits = (w->bits & (p.bits | PTE_NX)) | (p.bits & PTE_NX);
        w->common &= w->raw[level];
        if (level == 1 || (p.bits & PTE_LARGE)) {
            w->gfn = p.gfn + (va >> PAGE_SHIFT & ((1ull << (shift - PAGE_SHIFT)) - 1));
            break;
        }
        table = p.gfn << PAGE_SHIFT;
    }
    w->error |= PF_P;
    return walk_allows(c, a, w->bits) ? WALK_OK : WALK_FAULT;
}

enum walk_result guest_walk(const struct shadow *s, const struct shadow_access *a, struct guest_walk *w)
{
    uint64_t va = a->va.v;
    w->bits = PTE_RW | PTE_US;
    w->common = ~0ull;
    w->top = w->leaf = 0;
    if (s->control.format == GUEST_LONG) {
        if (va + BIT(47) >= BIT(48))
            return WALK_NOT_CANONICAL;
        return walk_tables(s, a, va, GUEST_LONG, w);
    }
    va &= 0xffffffff;
    if (s->control.format == GUEST_PAE)
        return walk_tables(s, a, va, GUEST_PAE, w);
    if (s->control.format == GUEST_32)
        return walk_tables(s, a, va, GUEST_32, w);
    w->gfn = va >> PAGE_SHIFT;
    return WALK_OK;
}

static int set_bits(const struct shadow *s, uint64_t at, uint32_t bytes, uint64_t raw, uint64_t bits)
{
    const struct gmem *m = s->config.mem;
    if (bytes == 8)
        return gmem_cas64(m, (gpa_t){ at }, raw, raw | bits);
    return gmem_cas32(m, (gpa_t){ at }, (uint32_t)raw, (uint32_t)(raw | bits));
}

enum walk_result walk_set_bits(const struct shadow *s, struct guest_walk *w, bool write)
{
    uint32_t bytes = guest_entry_bytes(s->control.format);
    if ((w->common & PTE_A) && (!write || w->top == 0 || (w->raw[w->leaf] & PTE_D)))
        return WALK_OK;
    for (uint32_t level = w->top; level >= 1 && level >= w->leaf; level--) {
        uint64_t bits = PTE_A | (write && level == w->leaf ? PTE_D : 0);
        if ((w->raw[level] & bits) == bits)
            continue;
        int result = set_bits(s, w->at[level], bytes, w->raw[level], bits);
        if (result == GMEM_LOST)
            return WALK_FAULT;
        /* A table in ROM behaves as on hardware: the write has no effect. */
        if (result != GMEM_OK && gmem_kind(s->config.map, gfn_of((gpa_t){ w->at[level] })) == GMEM_RAM) {
            w->absent_gpa = w->at[level];
            return WALK_ABSENT;
        }
        w->raw[level] |= bits;
    }
    return WALK_OK;
}

/* An entry may stand at several levels of one walk (a table that maps itself): setting A at one level makes
 * the reading of the others old, at most once a level. */
#define WALKS_MAX 5u

enum translate_result shadow_translate(const struct shadow *s, const struct shadow_access *a, bool set,
                                       struct fill_out *out)
{
    struct guest_walk w;
    enum walk_result set_result = WALK_FAULT;

    for (uint32_t n = 0; n < WALKS_MAX && set_result == WALK_FAULT; n++) {
        enum walk_result result = guest_walk(s, a, &w);
        if (result == WALK_FAULT) {
            out->error = w.error;
            return TRANSLATE_FAULT;
        }
        if (result == WALK_NOT_CANONICAL)
            return TRANSLATE_NOT_CANONICAL;
        set_result = result == WALK_OK && set ? walk_set_bits(s, &w, a->write) : result;
    }
    if (set_result == WALK_FAULT)
        return TRANSLATE_RETRY;
    if (set_result == WALK_ABSENT) {
        out->gpa.v = w.absent_gpa;
        return TRANSLATE_ABSENT;
    }
    out->gpa.v = w.gfn << PAGE_SHIFT | (a->va.v & (PAGE_BYTES - 1));
    return TRANSLATE_OK;
}
