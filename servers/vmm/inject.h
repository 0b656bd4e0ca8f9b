/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, in debug builds: what docs/restart.md promises is tested with these. Release builds have
 * one, INJECT_DELIVERY, for the benchmarks; it costs an exit one compare.
 *
 * The configuration names a way to die for each incarnation (hexadecimal digits of `inject`, the lowest
 * first, over and over). Incarnation i dies at its first exit with a number of at least inject_at + i *
 * inject_every. Besides, init can make it hang (DESC_EVENT_HANG). */
#ifndef SERVERS_VMM_INJECT_H
#define SERVERS_VMM_INJECT_H

#include "servers/vmm/core/vmm.h"
#include "vmm_component.h"

enum inject_way {
    INJECT_NONE,
    INJECT_DELIVERY,   /* before anything is done */
    INJECT_STORE,      /* after the k-th store to the state segment, k = 1 .. inject_stores in turn */
    INJECT_REPLY,      /* all is done, the answer is not sent */
    INJECT_LOOP,       /* for ever */
    INJECT_HEAP,       /* takes all memory there is, then abort() */
    INJECT_WILD,       /* writes over its own memory, then goes on */
    INJECT_STATE,      /* writes over the state segment, then crashes */
    INJECT_MESSAGE,    /* sends its supervisor what no interface has, and ends itself over the answer */
    INJECT_CAPABILITY, /* an operation that the kernel refuses, and ends itself over that */
    INJECT_EXIT,       /* exit() */
};

_Noreturn void inject_crash(void);
/* Release builds: the exit at whose delivery this incarnation is to die, 0 none. It answers at least one. */
uint64_t inject_until(const struct vmm_config *c, uint32_t incarnation);

#if UMBRA_DEBUG
void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation);
/* At the beginning of an exit, and before it is answered. */
void inject_begin(struct vmm *v);
void inject_end(struct vmm *v);
#else
static inline void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation)
{
    (void)v, (void)c, (void)incarnation;
}
static inline void inject_begin(struct vmm *v)
{
    (void)v;
}
static inline void inject_end(struct vmm *v)
{
    (void)v;
}
#endif

#endif
