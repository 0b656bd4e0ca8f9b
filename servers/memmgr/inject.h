/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, in debug builds: incarnation i dies or hangs at its step number inject_at + i *
 * inject_every; a step stands before and behind each change of a guest's memory, behind each page that is
 * zeroed, and at both ends of a request. */
#ifndef SERVERS_MEMMGR_INJECT_H
#define SERVERS_MEMMGR_INJECT_H

#include "memmgr_component.h"

enum inject_way {
    INJECT_CRASH,
    INJECT_LOOP, /* for ever */
    INJECT_STAND /* it waits for what never comes */
};

#if UMBRA_DEBUG
void inject_open(const struct memmgr_config *c, uint32_t incarnation);
void inject_step(void);
#else
static inline void inject_open(const struct memmgr_config *c, uint32_t incarnation)
{
    (void)c, (void)incarnation;
}
static inline void inject_step(void) {}
#endif

#endif
