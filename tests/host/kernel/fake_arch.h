/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test sees and turns of the fake processor. */
#ifndef TESTS_FAKE_ARCH_H
#define TESTS_FAKE_ARCH_H

#include <stdint.h>
#include <stdio.h>

#define FAKE_KERNEL_ENTRY 0x5a5a000000000002ull /* the kernel's half of a root table: not present */
#define FAKE_LINES        32                    /* vector of line 0 */

struct fake_arch {
    uint64_t now, timer, loaded;
    uint32_t unmasked; /* interrupt lines */
    uint32_t switches; /* straight from one thread to another */
};
extern struct fake_arch fake;

#endif
