/* SPDX-License-Identifier: BSD-2-Clause */
/* What call.c and reply.c share. */
#ifndef TESTS_WHOLE_CALL_H
#define TESTS_WHOLE_CALL_H

#include "world.h"

struct argument_words {
    uint64_t w[MSG_WORDS_MAX];
    unsigned n;
};
extern struct argument_words words;
void word(uint64_t w); /* or, seldom, another */

/* The addresses of those capabilities of t's CSpace that fit. */
unsigned named(const struct tcb *t, bool (*fits)(const struct cap *c, const void *what), const void *what,
               cptr_t *list, unsigned max);
void choose_answer(struct tcb *t, cptr_t vcpu);

#endif
