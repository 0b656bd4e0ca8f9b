/* SPDX-License-Identifier: BSD-2-Clause */
/* Two seconds of user code and system calls in turn, checking that nothing of them changes. For
 * tests/system/test_nmi.py, which interrupts it. */
#include "support/harness.h"

TEST(busy)
{
    uint64_t end = now() + 2 * boot->tsc_hz, rounds = 0;

    while (now() < end) {
        volatile uint64_t sum = 0;
        for (unsigned i = 0; i < 3000; i++)
            sum += i;
        CHECK_EQ(sum, 3000 * 2999 / 2);
        for (unsigned i = 0; i < 30; i++) {
            struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0), .w = { ~0ul, ~0ul, ~0ul, ~0ul } };
            CHECK_OK(sys_call(SLOT_KERNEL, &m));
            CHECK_EQ(m.tag, TAG(0, COUNT_KERNEL_MAX));
        }
        rounds++;
    }
    CHECK(rounds > 0);
}
