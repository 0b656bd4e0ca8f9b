/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, in debug builds: what docs/restart.md promises is tested with these. Release builds have
 * one, INJECT_DELIVERY, for the benchmarks; it costs an exit one compare.
 *
 * The configuration names a way to die for each incarnation (hexadecimal digits of `inject`, the lowest
 * first, over and over). Incarnation i dies at its first exit with a number of at least inject_at + i *
 * inject_every; with inject_kinds only at exits of these kinds (bit n: kind n; INJECT_SERIAL, INJECT_TYPED),
 * and not at the one that it takes over; the ways are then in turn for each kind. With inject_places
 * incarnations die only where fewer than so many have died before, a place being a kind of exit with a point:
 * all of the ways are tried there. With inject_besides they also die, as soon as the first has died by plan,
 * after each number of stores that nobody has died after in an exit of that kind, however often in one exit;
 * incarnations that die so do not count for the rest. init can make it hang (DESC_EVENT_HANG). Deaths by
 * time: stop.h.
 *
 * Who dies leaves word at the end of the state segment; who takes over says it on the log with the stores
 * that the exit makes in the end: `inject: exit 3000 io store 2 of 5`, and `besides` behind it. A store is a
 * change of the state or of guest memory that the undo record is told of. It is said late, when the next one
 * takes over: while the guest has no VMM its clock stands still. When the guest ends, it is said what its
 * exits made, whoever died (with inject_besides those since the first death): `inject: hlt made 16 stores 9
 * times, first at exit 954`. */
#ifndef SERVERS_VMM_INJECT_H
#define SERVERS_VMM_INJECT_H

#include "servers/vmm/core/vmm.h"
#include "vmm_component.h"

enum inject_way {
    INJECT_NONE,
    INJECT_DELIVERY,   /* before anything is done */
    INJECT_STORE,      /* after the k-th store to the state segment, k = 1 .. inject_stores in turn, with
                          inject_every 0 the last */
    INJECT_REPLY,      /* all is done, the answer is not sent */
    INJECT_LOOP,       /* for ever */
    INJECT_HEAP,       /* takes all memory there is, then abort() */
    INJECT_WILD,       /* writes over its own memory, then goes on */
    INJECT_STATE,      /* writes over the state segment, then crashes */
    INJECT_MESSAGE,    /* sends its supervisor what no interface has, and ends itself over the answer */
    INJECT_CAPABILITY, /* an operation that the kernel refuses, and ends itself over that */
    INJECT_EXIT,       /* exit() */
    INJECT_CALL,       /* as INJECT_STORE, but in a call to its supervisor, which ends it */
    INJECT_MEMMGR,     /* as INJECT_STORE, but it calls memmgr over and over, till it is found to hang */
    INJECT_WAYS
};

#define INJECT_SERIAL       BIT(31) /* of inject_kinds: accesses to the first serial port */
#define INJECT_TYPED        BIT(30) /* of inject_kinds: exits count from when something was typed */
#define INJECT_SERIAL_PORTS 0x3f8

_Noreturn void inject_crash(void);
/* Release builds: the exit at whose delivery this incarnation is to die, 0 none. It answers at least one. */
uint64_t inject_until(const struct vmm_config *c, uint32_t incarnation);

#if UMBRA_DEBUG
void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation);
/* At the beginning of an exit, and before it is answered, or ends the guest. */
void inject_begin(struct vmm *v);
void inject_end(struct vmm *v);
/* Before the guest's clock goes on: what is to be said of the death before the last one. */
void inject_say(void);
/* The guest has ended: the last death, and how many stores its exits made, those that nobody died at, too. */
void inject_finish(void);
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
static inline void inject_say(void) {}
static inline void inject_finish(void) {}
#endif

#endif
