/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM stopped at any instruction: a child handles the pending exit of lasting.h, is single-stepped, and
 * what it has left after each step is taken over by another VMM in this process. */
#ifndef TESTS_HOST_CORE_STOPPED_H
#define TESTS_HOST_CORE_STOPPED_H

#include "lasting.h"

#include <sys/types.h>

/* child_steps - the stopped child goes on for n instructions. False: it is done. */
bool child_steps(pid_t child, unsigned n);

/* take_over - what the child has left in now_ is taken over and the exit handled to its end; the test ends if
 * state, guest memory or answer is not that in `after`. n, how far the child came, is for the message. */
void take_over(unsigned n);

/* try_exit - the pending exit, undisturbed and stopped after every step-th instruction. Ends as undisturbed,
 * with the exit answered. Returns how often it was stopped. */
unsigned try_exit(unsigned step);

#endif
