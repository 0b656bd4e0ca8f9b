/* SPDX-License-Identifier: BSD-2-Clause */
/* A software TLB for debug builds: emulators flush at every world switch, so only a model can see that a
 * flush is missing (I3). It believes neither epochs nor downgrade counts.
 *
 * What the hardware may hold for an ASID: every whole and partial walk of every table that its root reached
 * at an entry since the ASID was last empty. That set is kept as moments instead: when something went from a
 * table (softtlb_change, told before each store to a shadow entry), from a VM's tables as such, from a guest
 * space; when each ASID was last empty. An entry that does not empty its ASID is wrong if the root reaches a
 * table from which something went since (what cut a table off went from one that is reached still), if the
 * ASID served another root, or if tables or guest memory went as a whole. docs/decisions.md, "The TLB model".
 *
 * Its memory is taken at boot. In release builds there is nothing of it. */
#ifndef KERNEL_SOFTTLB_H
#define KERNEL_SOFTTLB_H

#include "objects.h"

enum softtlb_control { SOFTTLB_KEEP = 0, SOFTTLB_EMPTY_ALL = 1, SOFTTLB_EMPTY_ASID = 3 }; /* TLB_CONTROL */

#if UMBRA_DEBUG
/* Before svm.c's first entry: how many ASIDs there are, 0 included. */
void softtlb_asids(uint32_t count);
/* Memory for as many frames as there are (frame_meta_count), zeroed. */
uint64_t softtlb_bytes(void);
void softtlb_open(void *memory);

/* The entry, which lies in a shadow table, is about to be this. */
void softtlb_change(const uint64_t *entry, uint64_t new);
/* No entry of the table is present any more, if any was. */
void softtlb_cleared(const uint64_t *entries);
/* The table is set up, all of it empty. */
void softtlb_begun(const uint64_t *entries);
/* The table is about to be other memory. */
void softtlb_ended(hpa_t table);
/* The VM has no guest space any more. */
void softtlb_left(const struct vm *vm);
/* Frames of the guest space, or rights to them, have gone; or its epoch has ended. */
void softtlb_taken(const struct guestspace *g);
/* The guest of v is about to be entered on v->root with this ASID and TLB_CONTROL. A missing flush is a panic
 * with the last losses in the log. */
void softtlb_enter(const struct vcpu *v, uint32_t asid, enum softtlb_control control);
/* The same question without a panic: NULL, or what is wrong. */
const char *softtlb_judge(const struct vcpu *v, uint32_t asid, enum softtlb_control control);
/* Whether every change of the table's entries was told. */
bool softtlb_knows(hpa_t table);
/* KERNEL_TLB. */
void softtlb_read(uint64_t to[TLB_COUNTS]);
#else
static inline void softtlb_asids(uint32_t count)
{
    (void)count;
}
static inline uint64_t softtlb_bytes(void)
{
    return 0;
}
static inline void softtlb_open(void *memory)
{
    (void)memory;
}
static inline void softtlb_change(const uint64_t *entry, uint64_t new)
{
    (void)entry, (void)new;
}
static inline void softtlb_cleared(const uint64_t *entries)
{
    (void)entries;
}
static inline void softtlb_begun(const uint64_t *entries)
{
    (void)entries;
}
static inline void softtlb_ended(hpa_t table)
{
    (void)table;
}
static inline void softtlb_left(const struct vm *vm)
{
    (void)vm;
}
static inline void softtlb_taken(const struct guestspace *g)
{
    (void)g;
}
static inline void softtlb_enter(const struct vcpu *v, uint32_t asid, enum softtlb_control control)
{
    (void)v, (void)asid, (void)control;
}
static inline bool softtlb_knows(hpa_t table)
{
    (void)table;
    return true;
}
static inline void softtlb_read(uint64_t to[TLB_COUNTS])
{
    for (unsigned i = 0; i < TLB_COUNTS; i++)
        to[i] = 0;
}
#endif

#endif
