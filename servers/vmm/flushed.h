/* SPDX-License-Identifier: BSD-2-Clause */
/* Debug builds: when the guest has flushed (MOV CR3, INVLPG), its processor's tables must not lag behind its
 * own any more (rules 2 and 3 of docs/shadow-mmu.md). Looked at for some addresses: those that faulted last,
 * where the guest stands, and what INVLPG named. What is left is a line in the log and counted; the tests
 * that boot guests fail over it. That the processor then holds nothing older is kernel/softtlb.h's affair. */
#ifndef SERVERS_VMM_FLUSHED_H
#define SERVERS_VMM_FLUSHED_H

#include "servers/vmm/core/vmm.h"

#define FLUSHED_RECENT 6u /* chosen */
#define FLUSHED_EVERY  4u /* chosen: loads of CR3; all of them, all addresses: a boot is 3.6 % longer */

struct flushed {
    uint64_t loads, invlpgs; /* so far */
    uint64_t looks, left;    /* addresses looked at; those with something left */
    gva_t recent[FLUSHED_RECENT];
    uint32_t next, turn;
};

#if UMBRA_DEBUG
/* The exit was handled, the guest has not run since. */
void flushed_check(struct flushed *f, const struct vmm *v);
#else
static inline void flushed_check(struct flushed *f, const struct vmm *v)
{
    (void)f, (void)v;
}
#endif

#endif
