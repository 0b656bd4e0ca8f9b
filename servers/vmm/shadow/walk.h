/* SPDX-License-Identifier: BSD-2-Clause */
/* The walk of the guest's own tables, shared by fills and by shadow_translate. Reads only; A and D are set by
 * a separate step once the access is known to be allowed. */
#ifndef SHADOW_WALK_H
#define SHADOW_WALK_H

#include "internal.h"

enum walk_result { WALK_OK, WALK_FAULT, WALK_NOT_CANONICAL, WALK_ABSENT };

/* Entries are indexed by level (1..top). Without paging top is 0. */
struct guest_walk {
    uint32_t top, leaf;  /* levels of the first and the last entry */
    uint32_t error;      /* WALK_FAULT: error code */
    uint32_t bits;       /* PTE_RW, PTE_US, PTE_NX of all entries together */
    uint64_t common;     /* bits that all entries read have set */
    uint64_t gfn;        /* the 4 KiB frame that va lies in */
    uint64_t absent_gpa; /* WALK_ABSENT */
    uint64_t at[5];      /* gpa of each entry */
    uint64_t raw[5];
};

enum walk_result guest_walk(const struct shadow *s, const struct shadow_access *a, struct guest_walk *w);

/* walk_set_bits - sets A in all entries of the walk, D in the last if write. WALK_OK; WALK_FAULT: another
 * writer won, start again; WALK_ABSENT: a table lies in RAM that the GuestSpace does not let us write. */
enum walk_result walk_set_bits(const struct shadow *s, struct guest_walk *w, bool write);

/* walk_fault_code - the error code of a fault; why: PF_P, PF_RSV. */
uint32_t walk_fault_code(const struct control *c, const struct shadow_access *a, uint32_t why);

/* guest_entry_read - the entry at gpa. A hole reads as ones. False: RAM that the GuestSpace does not give. */
bool guest_entry_read(const struct shadow *s, uint64_t gpa, uint32_t bytes, uint64_t *raw);

#define CR0_WP   BIT(16)
#define CR0_NW   BIT(29)
#define CR0_CD   BIT(30)
#define CR0_PG   BIT(31)
#define CR4_PSE  BIT(4)
#define CR4_PAE  BIT(5)
#define CR4_PGE  BIT(7)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* walk_allows - whether rights `bits` (PTE_*) admit the access (APM vol. 2, 5.6). */
static inline bool walk_allows(const struct control *c, const struct shadow_access *a, uint32_t bits)
{
    bool user_page = (bits & PTE_US) != 0;
    if (a->exec && ((bits & PTE_NX) || (!a->user && user_page && (c->regs.cr4 & CR4_SMEP))))
        return false;
    if (a->user)
        return user_page && (!a->write || (bits & PTE_RW));
    if (!a->exec && user_page && (c->regs.cr4 & CR4_SMAP) && (a->implicit || !a->ac))
        return false;
    return !a->write || (bits & PTE_RW) || !(c->regs.cr0 & CR0_WP);
}

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSV = 8, PF_I = 16 };

#endif
