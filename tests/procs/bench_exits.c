/* SPDX-License-Identifier: BSD-2-Clause */
// USES: tests/procs/core/*.c
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
// USES: servers/vmm/policy/*.c servers/vmm/gmem/*.c servers/vmm/gmem/*.S
// MODULES: guests/bench_exits
// ICOUNT: 1
/* Exits as the guest sees them: a hand-written 64-bit guest (tests/guests/bench_exits.S) measures itself; the
 * VMM's core answers. */
#include "tests/procs/core/measure.h"

TEST(exits)
{
    static const struct figure figures[] = { { "exit.cpuid", 1, 101, 1 },
                                             { "exit.io_vmm", 2, 101, 1 },
                                             { "exit.mmio_vmm", 3, 101, 1 } };

    CHECK_EQ(core_measure(figures, sizeof(figures) / sizeof(figures[0])), VMM_END_HALT);
}
