/* SPDX-License-Identifier: BSD-2-Clause */
// USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c tests/host/whole/[!t]*.c
// USES: tests/host/whole/tree.c tests/host/whole/threads.c
#include "whole.h"
#include "check.h"
#include <stdlib.h>
TEST(whole_first)
{
    whole_trace = getenv("TRACE") != NULL;
    whole_init();
    unsigned long seed = getenv("SEED") ? strtoul(getenv("SEED"), 0, 0) : 1,
                  runs = getenv("RUNS") ? strtoul(getenv("RUNS"), 0, 0) : 10;
    unsigned long steps = 0;
    for (unsigned long k = seed; k < seed + runs; k++) {
        static uint8_t in[STEP_BYTES * 400];
        uint64_t x = k * 0x9e3779b97f4a7c15 + 1;
        for (unsigned i = 0; i < sizeof(in); i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            in[i] = x >> 40;
        }
        fprintf(stderr, "seed %lu\n", k);
        steps += whole_run(in, sizeof(in));
    }
    fprintf(stderr, "%lu steps\n", steps);
}
