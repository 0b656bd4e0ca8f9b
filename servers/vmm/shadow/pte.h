/* SPDX-License-Identifier: BSD-2-Clause */
/* What one entry of a guest's table means, and what hardware entry it allows: pure functions on values.
 *
 * Guest formats are the architecture's three; GUEST_DIRECT stands for no table at all (unpaged mode, nested
 * format, the parts of a large page). AMD APM vol. 2, 5.2 to 5.4. */
#ifndef SHADOW_PTE_H
#define SHADOW_PTE_H

#include <umbra/vcpu.h>

enum guest_format { GUEST_DIRECT, GUEST_32, GUEST_PAE, GUEST_LONG };

/* What a shadow table is, besides its guest frame. Two tables with equal frame and role have equal content.
 */
struct role {
    uint16_t hw : 2;       /* SHADOW_LONG, SHADOW_PAE, SHADOW_NESTED */
    uint16_t level : 3;    /* 1 = 4 KiB leaves */
    uint16_t guest : 2;    /* enum guest_format of the guest's table */
    uint16_t quadrant : 2; /* GUEST_32: which half (level 1) or quarter (level 2) of the guest's table */
    uint16_t nxe : 1;      /* EFER.NXE */
    uint16_t pse : 1;      /* GUEST_32: CR4.PSE */
    uint16_t wp0 : 1;      /* CR0.WP = 0; only then the following matter, else they are 0: */
    uint16_t fold_rw : 1;  /* all entries above have R/W */
    uint16_t fold_us : 1;  /* all entries above have U/S */
    uint16_t smep : 1;     /* CR4.SMEP */
    uint16_t smap : 1;     /* CR4.SMAP */
};
BUILD_ASSERT(sizeof(struct role) == 2);

static inline uint16_t role_bits(struct role r)
{
    uint16_t bits;
    __builtin_memcpy(&bits, &r, sizeof(bits));
    return bits;
}
/* As bits of that word: one level, and the folded rights (tests/host/shadow/test_pte.c). */
#define ROLE_LEVEL   4u
#define ROLE_FOLD_RW 0x1000u
#define ROLE_FOLD_US 0x2000u
static inline bool role_equal(struct role a, struct role b)
{
    return role_bits(a) == role_bits(b);
}
/* Tables that stand at the top of a root. */
static inline bool role_is_top(struct role r)
{
    return r.level == 4 || (r.hw == 1 && r.level == 2);
}

enum {
    PTE_P = 1,
    PTE_RW = 2,
    PTE_US = 4,
    PTE_A = 0x20,
    PTE_D = 0x40,
    PTE_LARGE = 0x80,
    PTE_NX = 0x100,
    PTE_RESERVED = 0x200,
};

/* How to read entries: made once for each set of control bits. */
struct pte_format {
    enum guest_format guest;
    bool nxe, pse;
    uint64_t frame_mask;     /* address bits of a 4 KiB entry */
    uint64_t reserved[5][2]; /* by level, large */
    uint64_t nx;             /* the bit that forbids execution, or 0 */
    uint32_t large;          /* set of levels at which PS means a large page */
};

struct pte {
    uint64_t gfn;  /* of the page or table; a large page's first */
    uint32_t bits; /* PTE_* */
};

/* pte_format - for tables of the given format; phys_bits as MAXPHYADDR. */
struct pte_format pte_format(enum guest_format guest, bool nxe, bool pse, uint32_t phys_bits);

/* Geometry of guest tables against hardware tables. */
static inline uint32_t guest_entry_bytes(enum guest_format guest)
{
    return guest == GUEST_32 ? 4 : 8;
}
/* The guest entry behind entry index of a shadow table. */
static inline uint32_t guest_index(struct role r, uint32_t index)
{
    if (r.guest != GUEST_32)
        return index;
    return r.level == 1 ? r.quadrant * 512u + index : r.quadrant * 256u + index / 2;
}
/* The first shadow entry of guest entry g, which must lie in the table's quadrant, and how many there are. */
static inline uint32_t shadow_index(struct role r, uint32_t g)
{
    if (r.guest != GUEST_32)
        return g;
    return r.level == 1 ? g % 512 : g % 256 * 2;
}
static inline uint32_t shadow_span(struct role r)
{
    return r.guest == GUEST_32 && r.level == 2 ? 2 : 1;
}
static inline bool in_quadrant(struct role r, uint32_t g)
{
    if (r.guest != GUEST_32)
        return true;
    return r.quadrant == (r.level == 1 ? g / 512 : g / 256);
}
/* 4 KiB frames under one entry of a hardware table of the level. */
static inline uint64_t entry_frames(uint32_t level)
{
    return 1ull << (level - 1) * 9;
}

static inline uint64_t pte_large_gfn(const struct pte_format *f, uint32_t level, uint64_t raw)
{
    if (f->guest == GUEST_32)
        return (raw & 0xffc00000) >> PAGE_SHIFT | (raw >> 13 & 0xff) << (32 - PAGE_SHIFT);
    return (raw & f->frame_mask) >> PAGE_SHIFT & ~(entry_frames(level) - 1);
}

/* pte_decode - one present or absent entry of the level. */
static inline struct pte pte_decode(const struct pte_format *f, uint32_t level, uint64_t raw)
{
    uint32_t large = (raw & PTE_LARGE) >> 7 & f->large >> level;
    struct pte p = { .bits = (uint32_t)raw & (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D) };

    if (!(raw & PTE_P))
        return (struct pte){ 0 };
    if (raw & f->reserved[level][large])
        p.bits |= PTE_RESERVED;
    if (raw & f->nx)
        p.bits |= PTE_NX;
    if (large)
        p.bits |= PTE_LARGE;
    p.gfn = large ? pte_large_gfn(f, level, raw) : (raw & f->frame_mask) >> PAGE_SHIFT;
    return p;
}

enum want_kind { WANT_NONE, WANT_LEAF, WANT_LINK };

/* The most that a hardware entry may hold for a guest entry. */
struct want {
    enum want_kind kind;
    uint64_t gfn;      /* leaf: frame; link: frame of the child's guest table, or the first frame (direct) */
    struct role child; /* link */
    uint32_t rights;   /* SH_* */
    bool may_write;    /* leaf: rights has SH_WRITE */
    uint32_t alt_rights; /* CR0.WP = 0: the form for supervisor writes to a user read-only page; 0: none */
};

/* CR0.WP = 0: the rest of a leaf's rights. */
void want_leaf_wp0(struct want *w, struct role r, uint32_t bits);

static inline struct want want_leaf(struct role r, uint64_t gfn, uint32_t bits)
{
    struct want w = { .kind = WANT_LEAF, .gfn = gfn, .rights = SH_READ };
    if (bits & PTE_US)
        w.rights |= SH_USER;
    if (!(bits & PTE_NX))
        w.rights |= SH_EXEC;
    if (r.wp0)
        want_leaf_wp0(&w, r, bits);
    else
        w.may_write = (bits & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D);
    if (w.may_write)
        w.rights |= SH_WRITE | SH_DIRTY;
    return w;
}

static inline struct want want_link(struct role r, uint64_t gfn, uint32_t bits)
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

/* want_of - entry index of a table with role r whose guest entry reads raw. WANT_NONE unless it is present
 * without reserved bits and has A set; nothing is writable unless D is set. fixed_bits: the guest's table
 * cannot be written, its A and D count as set. */
static inline struct want want_of(const struct pte_format *f, struct role r, uint32_t index, uint64_t raw,
                                  bool fixed_bits)
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

/* want_direct - entry index of a direct table that begins at frame first. */
static inline struct want want_direct(struct role r, uint64_t first, uint32_t index)
{
    uint64_t gfn = first + index * entry_frames(r.level);
    uint32_t all = PTE_P | PTE_A | PTE_D | PTE_RW | PTE_US;
    return r.level == 1 ? want_leaf(r, gfn, all) : want_link(r, gfn, all);
}

#endif
