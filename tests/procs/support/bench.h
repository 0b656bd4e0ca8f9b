/* SPDX-License-Identifier: BSD-2-Clause */
/* What measuring root tasks have in common: samples and their median, crossings, and peers: threads of a few
 * instructions (peer.S) in an address space of their own. */
#ifndef TEST_BENCH_H
#define TEST_BENCH_H

#include "harness.h"

#define ROUNDS 101
extern uint64_t samples[ROUNDS];

/* Crossings of ROUNDS rounds: read before and after. */
struct counts {
    uint64_t c[COUNT_KERNEL_MAX];
};
struct counts read_counts(void);
/* BENCH line of the samples' median, with the crossings of one of ROUNDS or of `rounds` rounds. */
void show(const char *name, const struct counts *before, const struct counts *after);
void show_once(const char *name, const struct counts *before, const struct counts *after, unsigned rounds);
/* What reading the clock twice costs is not part of any figure. */
uint64_t clock_cost(void);

extern const uint8_t peer_echo[], peer_take[], peer_fault[], peer_wait[], peer_yield[], peer_spin[],
    peer_end[];
struct peer {
    cptr_t tcb, sched;
    struct umbra_ipc_buffer *buffer; /* as mapped here; words[0] is where a peer writes the time */
};
/* target: endpoint or notification; in the peer's CSpace, which is the root task's. */
bool peer_make(struct peer *p, const uint8_t *entry, unsigned priority, cptr_t target, cptr_t reply);

#endif
