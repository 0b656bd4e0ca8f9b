/* SPDX-License-Identifier: BSD-2-Clause */
/* What one entry of a guest's table means, and what hardware entry it allows: pure functions on values.
 *
 * Guest formats are the architecture's three; GUEST_DIRECT stands for no table at all (unpaged mode, nested
 * format, the parts of a large page). AMD APM vol. 2, 5.2 to 5.4. */
#ifndef SHADOW_PTE_H
#define SHADOW_PTE_H

#include <umbra/types.h>

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

static inline uint32_t role_bits(struct role r)
{
    return (uint32_t)(r.hw | r.level << 2 | r.guest << 5 | r.quadrant << 7 | r.nxe << 9 | r.pse << 10 |
                      r.wp0 << 11 | r.fold_rw << 12 | r.fold_us << 13 | r.smep << 14 | r.smap << 15);
}
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
};

struct pte {
    uint64_t gfn;  /* of the page or table; a large page's first */
    uint32_t bits; /* PTE_* */
};

/* pte_format - for tables of the given format; phys_bits as MAXPHYADDR. */
struct pte_format pte_format(enum guest_format guest, bool nxe, bool pse, uint32_t phys_bits);

/* pte_decode - one present or absent entry of the level. */
struct pte pte_decode(const struct pte_format *f, uint32_t level, uint64_t raw);

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

/* want_of - entry index of a table with role r whose guest entry reads raw. WANT_NONE unless it is present
 * without reserved bits and has A set; nothing is writable unless D is set. fixed_bits: the guest's table
 * cannot be written, its A and D count as set. */
struct want want_of(const struct pte_format *f, struct role r, uint32_t index, uint64_t raw, bool fixed_bits);

/* want_direct - entry index of a direct table that begins at frame first. */
struct want want_direct(struct role r, uint64_t first, uint32_t index);

#endif
