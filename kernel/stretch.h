/* SPDX-License-Identifier: BSD-2-Clause */
/* How long the kernel runs without a chance for anybody else, in debug builds: ticks from an entry to where
 * it goes to user mode, into a guest, or waits; the longest of each kind of entry. Not in it: what entry.S
 * does before and after, some 60 instructions. */
#ifndef KERNEL_STRETCH_H
#define KERNEL_STRETCH_H

#include "objects.h"

/* Kinds of entry: rows of one table. */
enum {
    STRETCH_METHODS = 16,
    STRETCH_CALL = 0,                              /* invocations: object type * STRETCH_METHODS + method */
    STRETCH_SYSCALL = OBJ_TYPES * STRETCH_METHODS, /* others: the number without its sign */
    STRETCH_FAULT = STRETCH_SYSCALL + 16,          /* the vector */
    STRETCH_LINE = STRETCH_FAULT + 32,             /* an interrupt of a line, of the timer */
    STRETCH_TIMER,
    STRETCH_IDLE, /* from the interrupt that ended the wait on */
    STRETCH_EXIT, /* from the guest to its VMM: EXIT_*; EXIT_NONE: an interrupt */
    STRETCH_ROWS = STRETCH_EXIT + EXIT_KINDS
};

#if UMBRA_DEBUG
void stretch_begin(unsigned row);
/* The one that is under way is of this kind. */
void stretch_is(unsigned row);
void stretch_end(void);
/* The timer's interrupt came in. */
void stretch_timer(void);
/* The longest, its row, and when the timer's last interrupt came in; forgets the stretches, if told so. */
void stretch_read(uint64_t to[3], bool forget);
/* A line in the log for every kind that is at least a quarter as long as the longest. */
void stretch_log(void);
#else
static inline void stretch_begin(unsigned row)
{
    (void)row;
}
static inline void stretch_is(unsigned row)
{
    (void)row;
}
static inline void stretch_end(void) {}
static inline void stretch_timer(void) {}
static inline void stretch_read(uint64_t to[3], bool forget)
{
    (void)forget;
    to[0] = to[1] = to[2] = 0;
}
static inline void stretch_log(void) {}
#endif

#endif
