/* SPDX-License-Identifier: BSD-2-Clause */
/* What a random guest does, as a list: each step says everything that it needs, so that any part of a list
 * can be run again, with steps left out. A list that ends in a failure is made shorter while it still fails.
 *
 * Steps are relative where a state could be impossible: control bits are flipped, and a flip that the
 * processor would refuse is nothing. */
#ifndef TESTS_HOST_SHADOW_STEPS_H
#define TESTS_HOST_SHADOW_STEPS_H

#include "world.h"

#include <stdio.h>

#define STEPS_MAX 4000u

enum step_kind {
    STEP_ACCESS, /* a: va, b: value, flags: ACCESS_*, length << 8 */
    STEP_DMA,    /* a: gpa, b: value, flags: length */
    STEP_CR3,    /* a: value */
    STEP_FLIP,   /* a, b, c: bits of CR0, CR4, EFER */
    STEP_INVLPG, /* a: va */
    STEP_EXTEND, /* a: va: the processor walks there by itself */
    STEP_EPOCH,
    STEP_HOLE, /* a: gfn becomes a hole, or RAM again */
    STEP_ROOM, /* a: words for operations from now on */
    STEP_LOSE, /* a: so many of the next compare-and-exchanges lose */
    STEP_AUDIT,
    STEP_KINDS
};
enum {
    STEP_WRITE = 1,
    STEP_EXEC = 2,
    STEP_USER = 4,
    STEP_AC = 8,
    STEP_IMPLICIT = 16,
    STEP_DELIVERING = 32,
    STEP_NOT_EMULATED = 64
};

struct step {
    uint32_t kind, flags;
    uint64_t a, b, c;
    uint64_t random; /* what the machine chooses from */
};

struct steps {
    uint32_t count;
    struct step step[STEPS_MAX];
};

/* step_run - ends the test if anything is wrong. */
void step_run(struct world *w, const struct step *s);

void step_print(FILE *to, const struct step *s);
bool step_parse(const char *line, struct step *s);

/* steps_shrink - the list fails; fails() says whether a shorter one does, too, and cuts what it did not get
 * to. Afterwards leaving any single step out makes it pass, or `tries` calls were made. Returns those. */
typedef bool steps_fail(void *context, struct steps *list);
uint32_t steps_shrink(struct steps *list, steps_fail *fails, void *context, uint32_t tries);

#endif
