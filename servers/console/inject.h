/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, in debug builds: what docs/restart.md promises of the console is tested with these.
 *
 * The configuration names a way to die for each incarnation (hexadecimal digits of `inject`, the lowest
 * first, over and over). Incarnation i dies at its step (flow_step) number inject_at + i * inject_every. */
#ifndef SERVERS_CONSOLE_INJECT_H
#define SERVERS_CONSOLE_INJECT_H

#include "console_component.h"

enum inject_way {
    INJECT_NONE,
    INJECT_CRASH,
    INJECT_EXIT,       /* exit() */
    INJECT_CAPABILITY, /* an operation that the kernel refuses, and abort() over that */
    INJECT_LOOP,       /* for ever */
    INJECT_PUT,        /* with the next byte that was given to the UART, before that is counted */
    INJECT_GET,        /* with the next one that was read, before it is stored */
    INJECT_STAND,      /* it waits for what never comes */
    INJECT_TYPED,      /* in the midst of a byte that was read, at one of its steps after the other */
};

#if UMBRA_DEBUG
void inject_open(const struct console_config *c, uint32_t incarnation);
/* Where the next access to the UART is to store: `to`, or where it dies. */
void *inject_put(void *to);
void *inject_get(void *to);
#else
static inline void inject_open(const struct console_config *c, uint32_t incarnation)
{
    (void)c, (void)incarnation;
}
static inline void *inject_put(void *to)
{
    return to;
}
static inline void *inject_get(void *to)
{
    return to;
}
#endif

#endif
