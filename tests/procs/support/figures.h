/* SPDX-License-Identifier: BSD-2-Clause */
/* What benchmarks make of their samples. */
#ifndef PROCS_FIGURES_H
#define PROCS_FIGURES_H

#include "harness.h"

/* Sorts them. */
static inline uint64_t median_of(uint64_t *s, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        for (unsigned k = i; k && s[k] < s[k - 1]; k--) {
            uint64_t t = s[k];
            s[k] = s[k - 1];
            s[k - 1] = t;
        }
    return s[count / 2];
}

static inline void print_decimal(uint64_t v)
{
    char text[24];
    unsigned i = sizeof(text);

    text[--i] = 0;
    do {
        text[--i] = '0' + v % 10;
        v /= 10;
    } while (v);
    print(text + i);
}

/* All counters of the kernel. */
static inline void kernel_counters(uint64_t c[COUNT_KERNEL_MAX])
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    sys_call(SLOT_KERNEL, &m);
    for (unsigned i = 0; i < COUNT_KERNEL_MAX; i++)
        c[i] = i < MSG_REGISTERS ? m.w[i] : IPC->words[i];
}

#endif
