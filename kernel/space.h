/* SPDX-License-Identifier: BSD-2-Clause */
/* What VSpaces and GuestSpaces have in common: a root table, a walk, and references that outlive neither.
 *
 * A mapped capability keeps a reference (d1): the space's id and its frame. The id is never used twice, so a
 * reference to a space that has gone is seen as such and unmapping does nothing. */
#ifndef KERNEL_SPACE_H
#define KERNEL_SPACE_H

#include "arch/pte.h"
#include "invoke.h"

#define PTE_WINDOW BIT(9) /* top-level entry that links a GuestSpace: the walk stops there */

struct space {
    uint64_t *root;
    unsigned top;             /* level of the root's entries: 4 VSpace, 3 GuestSpace */
    uint64_t ref;             /* id << 28 | hfn of the object */
    struct guestspace *guest; /* or NULL */
};

/* The space behind a VSpace or GuestSpace capability argument. */
err_t space_argument(const struct tcb *t, cptr_t p, bool guest_allowed, struct space *out);
/* The space that a mapped capability names; false when it is gone. */
bool space_find(uint64_t ref, struct space *out);
/* The entry for address at level, or NULL where a table is missing, a large page or a window is in the way.
 */
uint64_t *space_walk(const struct space *s, uint64_t address, unsigned level);
/* Entries were taken away at address. */
void space_flush(const struct space *s, uint64_t address);

/* guestspace.c: a table that left the space of ref named this frame at gfn. */
void frame_forget(uint64_t ref, hpa_t frame, uint64_t gfn);

#endif
