/* SPDX-License-Identifier: BSD-2-Clause */
/* A record of whichever kind, for who writes and reads files of all of them: the tests beside this, and the
 * fuzz target of recordings. */
#ifndef TESTS_HOST_RECORD_ANY_H
#define TESTS_HOST_RECORD_ANY_H

#include "servers/vmm/record/record.h"

/* What is not of its kind is 0. */
struct any {
    enum record_kind kind;
    struct record_begin begin;
    struct boot_cpu cpu;
    struct umbra_exit_page exit;
    struct record_access access;
    struct record_text text;
    struct record_answer answer;
    uint64_t end;
};

/* any_code - writes it or reads it, as the codec does, but for the kind, which is before it. last: the exit
 * before, against which an answer is coded. */
void any_code(struct record_codec *c, struct any *x, const struct umbra_exit_page *last);

/* any_in_bounds - what was read keeps the format's limits. */
bool any_in_bounds(const struct any *x);

#endif
