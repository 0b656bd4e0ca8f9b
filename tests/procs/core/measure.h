/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of a guest that measures itself (tests/guests/measure.h), served by the VMM's core: medians of its
 * samples less row 0, with the crossings inside them. Lines: BENCH name value unit key=value... */
#ifndef TEST_CORE_MEASURE_H
#define TEST_CORE_MEASURE_H

#include "core.h"

struct figure {
    const char *name;
    unsigned row, rounds;
    unsigned units; /* things in one sample: the figure is of one */
};

/* Runs the guest of boot module 1 to its end and prints the figures. */
enum vmm_end core_measure(const struct figure *figures, unsigned count);

#endif
