/* SPDX-License-Identifier: BSD-2-Clause */
/* Random guests: which world they live in, and what they do next. Everything follows from shape and seed. */
#ifndef TESTS_HOST_SHADOW_GUEST_H
#define TESTS_HOST_SHADOW_GUEST_H

#include "steps.h"

struct guest_shape {
    const char *name;
    struct shadow_control control;
    bool switches; /* between all modes */
};
extern const struct guest_shape guest_shapes[];
#define GUEST_SHAPES 6u

/* guest_world - tables filled by the seed, pool and tuning chosen by it, control registers loaded. */
struct world *guest_world(const struct guest_shape *shape, uint64_t seed);

/* guest_steps - the next thing that the guest does: one step, or a few that belong together. Each is written
 * down in the list before it is run. */
void guest_steps(struct world *w, const struct guest_shape *shape, struct steps *list);

/* guest_runs - so many guests of about GUEST_STEPS steps each, from the seed on. A failure is made short and
 * printed, then run once more to end the test. */
#define GUEST_STEPS 2000u
void guest_runs(const struct guest_shape *shape, uint64_t seed, uint64_t guests);

/* guest_replay - runs a list as guest_runs prints it: a line `guest SHAPE SEED`, then steps. */
void guest_replay(FILE *from);

/* Environment: UMBRA_STEPS, UMBRA_SEED, UMBRA_REPLAY. */
uint64_t guest_environment(const char *name, uint64_t otherwise);

#endif
