/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest entries: formats, decoding, and the hardware entry that they allow. See pte.h.
 * Pure; checked against tests/model by tests/host/shadow/test_pte.c. */
#include "pte.h"

#include <umbra/vcpu.h>

static uint64_t bit_range(uint32_t high, uint32_t low)
{
    return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* Reserved bits of PAE and long entries (figures 5-9 to 5-14, 5-18 to 5-26). G is reserved in non-leaf
 * entries of levels 3 and 4 on AMD processors, PS at level 4. */
static uint64_t reserved_wide(enum guest_format guest, uint32_t level, bool large, bool nxe,
                              uint32_t phys_bits)
{
    uint64_t mask = bit_range(51, phys_bits);
    if (guest == GUEST_PAE)
        mask |= bit_range(62, 52);
    if (!nxe)
        mask |= BIT(63);
    if (large && level > 1)
        mask |= bit_range(12 + (level - 1) * 9 - 1, 13);
    if (level == 4)
        mask |= BIT(7);
    if (level >= 3 && !large)
        mask |= BIT(8);
    return mask;
}

/* Only a 4 MB entry has reserved bits: those of its address (20..13 are 39..32) above MAXPHYADDR, and 21. */
static uint64_t reserved_32(uint32_t level, bool large, uint32_t phys_bits)
{
    if (level != 2 || !large)
        return 0;
    return bit_range(21, 13 + (phys_bits < 40 ? phys_bits - 32 : 8));
}

struct pte_format pte_format(enum guest_format guest, bool nxe, bool pse, uint32_t phys_bits)
{
    struct pte_format f = { .guest = guest, .nxe = nxe && guest != GUEST_32, .pse = pse };
    f.frame_mask = guest == GUEST_32 ? 0xfffff000ull : bit_range(51, 12);
    for (uint32_t level = 1; level <= 4; level++) {
        for (uint32_t large = 0; large < 2; large++)
            f.reserved[level][large] = guest == GUEST_32 ? reserved_32(level, large, phys_bits)
                                                         : reserved_wide(guest, level, large, nxe, phys_bits);
    }
    return f;
}

static bool is_large(const struct pte_format *f, uint32_t level, uint64_t raw)
{
    if (!(raw & PTE_LARGE) || level == 1 || level == 4)
        return false;
    if (f->guest == GUEST_32)
        return f->pse;
    return level == 2 || f->guest == GUEST_LONG;
}

static uint64_t large_gfn(const struct pte_format *f, uint32_t level, uint64_t raw)
{
    if (f->guest == GUEST_32)
        return (raw & 0xffc00000) >> PAGE_SHIFT | (raw >> 13 & 0xff) << (32 - PAGE_SHIFT);
    return (raw & f->frame_mask) >> PAGE_SHIFT & ~(entry_frames(level) - 1);
}

struct pte pte_decode(const struct pte_format *f, uint32_t level, uint64_t raw)
{
    struct pte p = { .bits = (uint32_t)raw & (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D) };
    bool large = is_large(f, level, raw);

    if (!(raw & PTE_P))
        return (struct pte){ 0 };
    if (raw & f->reserved[level][large])
        p.bits |= PTE_RESERVED;
    if (f->nxe && (raw & BIT(63)))
        p.bits |= PTE_NX;
    if (large) {
        p.bits |= PTE_LARGE;
        p.gfn = large_gfn(f, level, raw);
    } else {
        p.gfn = (raw & f->frame_mask) >> PAGE_SHIFT;
    }
    return p;
}

/* Rights of a leaf with CR0.WP = 0: a supervisor may write what the guest's entries forbid. A user read-only
 * page has two forms: for users, and without U but with W after a supervisor's write (platform.md); the
 * second would evade SMAP and SMEP. */
static void leaf_rights_wp0(struct want *w, struct role r, uint32_t bits)
{
    bool user = r.fold_us && (bits & PTE_US), rw = r.fold_rw && (bits & PTE_RW);
    if (!user || rw) {
        w->may_write = (bits & PTE_D) != 0;
    } else if ((bits & PTE_D) && !r.smap) {
        w->alt_rights = SH_READ | SH_WRITE | SH_DIRTY | (r.smep ? 0 : w->rights & SH_EXEC);
    }
}

static struct want want_leaf(struct role r, uint64_t gfn, uint32_t bits)
{
    struct want w = { .kind = WANT_LEAF, .gfn = gfn, .rights = SH_READ };
    if (bits & PTE_US)
        w.rights |= SH_USER;
    if (!(bits & PTE_NX))
        w.rights |= SH_EXEC;
    if (r.wp0)
        leaf_rights_wp0(&w, r, bits);
    else
        w.may_write = (bits & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D);
    if (w.may_write)
        w.rights |= SH_WRITE | SH_DIRTY;
    return w;
}

static struct want want_link(struct role r, uint64_t gfn, uint32_t bits)
{
    struct want w = { .kind = WANT_LINK, .gfn = gfn, .rights = SH_READ, .child = r };
    if (bits & PTE_US)
        w.rights |= SH_USER;
    if (!(bits & PTE_NX))
        w.rights |= SH_EXEC;
    if ((bits & PTE_RW) || r.wp0)
        w.rights |= SH_WRITE;
    w.child.level = (uint16_t)(r.level - 1) & 7;
    w.child.fold_rw = r.fold_rw && (bits & PTE_RW);
    w.child.fold_us = r.fold_us && (bits & PTE_US);
    if (bits & PTE_LARGE) { /* a direct child has all rights: what the large page lacks is missing here */
        if (!(bits & PTE_D))
            w.rights &= ~(uint32_t)SH_WRITE;
        w.child.guest = GUEST_DIRECT;
        w.child.quadrant = w.child.nxe = w.child.pse = 0;
    }
    return w;
}

struct want want_of(const struct pte_format *f, struct role r, uint32_t index, uint64_t raw, bool fixed_bits)
{
    struct pte p = pte_decode(f, r.level, raw);
    if (fixed_bits)
        p.bits |= PTE_A | PTE_D;
    if ((p.bits & (PTE_P | PTE_A | PTE_RESERVED)) != (PTE_P | PTE_A))
        return (struct want){ .kind = WANT_NONE };
    if (r.level == 1)
        return want_leaf(r, p.gfn, p.bits);
    if (r.guest == GUEST_32 && (p.bits & PTE_LARGE))
        p.gfn += index % 2 * 512;
    struct want w = want_link(r, p.gfn, p.bits);
    if (r.guest == GUEST_32 && !(p.bits & PTE_LARGE))
        w.child.quadrant = index % 2;
    return w;
}

struct want want_direct(struct role r, uint64_t first, uint32_t index)
{
    uint64_t gfn = first + index * entry_frames(r.level);
    uint32_t all = PTE_P | PTE_A | PTE_D | PTE_RW | PTE_US;
    return r.level == 1 ? want_leaf(r, gfn, all) : want_link(r, gfn, all);
}
