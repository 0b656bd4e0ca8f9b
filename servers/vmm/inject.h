/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, in debug builds: what docs/restart.md promises is tested with these. Release builds have
 * one, INJECT_DELIVERY, for the benchmarks; it costs an exit one compare.
 *
 * The configuration names a way to die for each incarnation (hexadecimal digits of `inject`, the lowest
 * first, over and over). Incarnation i dies at its first exit with a number of at least inject_at + i *
 * inject_every. Besides, init can make it hang (DESC_EVENT_HANG).
 *
 * Deaths by time need no way: the VMM tells init at which tick it is to be stopped (stop_*:
 * supervisor.stop_at and stop_every). For a tick within an exit it does so when the exit is delivered, waits
 * until the time that the call took is over, and handles the exit. Offsets count from LEAD_TICKS before that.
 */
#ifndef SERVERS_VMM_INJECT_H
#define SERVERS_VMM_INJECT_H

#include "servers/vmm/core/vmm.h"
#include "supervisor_types.h"
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

/* Kinds of exits within which a VMM is stopped at a tick: bits of stop_exits. */
enum inject_at {
    AT_CPUID,
    AT_IO,
    AT_MSR,
    AT_ABSENT,     /* #PF on what is not present: a fill, a fault of the guest's own, a device in memory */
    AT_TABLE,      /* #PF of the guest's kernel over a write to what is present: a table that is shadowed */
    AT_USER_WRITE, /* the same of a process: copy on write, a first write */
    AT_CR3,        /* written */
    AT_CR,         /* another, or read */
    AT_DR,
    AT_INVLPG,
    AT_HLT,
    AT_EVENT,
    AT_WINDOW,
    AT_EXCEPTION,
    AT_OTHER,
    AT_PLACES
};

BUILD_ASSERT(AT_PLACES <= STOP_PLACES);

_Noreturn void inject_crash(void);
/* Release builds: the exit at whose delivery this incarnation is to die, 0 none. It answers at least one. */
uint64_t inject_until(const struct vmm_config *c, uint32_t incarnation);

#if UMBRA_DEBUG
void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation, uint64_t tsc_hz);
/* At the beginning of an exit, and before it is answered. */
void inject_begin(struct vmm *v);
void inject_end(struct vmm *v);
#else
static inline void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation,
                               uint64_t tsc_hz)
{
    (void)v, (void)c, (void)incarnation, (void)tsc_hz;
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
