/* SPDX-License-Identifier: BSD-2-Clause */
// USES: tests/procs/core/*.c
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
// USES: servers/vmm/policy/*.c servers/vmm/gmem/*.c servers/vmm/gmem/*.S
// MODULES: guests/bench_shadow
// ICOUNT: 1
/* Shadow paging as the guest sees it: a hand-written 64-bit guest (tests/guests/bench_shadow.S) measures
 * itself; the VMM's core answers. docs/evaluation.md describes the rows. */
#include "tests/procs/core/measure.h"

TEST(shadow)
{
    static const struct figure figures[] = {
        { "shadow.fill_seq_page", 1, 11, 512 }, { "shadow.fill_one", 2, 101, 1 },
        { "shadow.dirty", 3, 101, 1 },          { "shadow.new_table", 4, 101, 1 },
        { "shadow.map_touch", 5, 101, 1 },      { "shadow.unmap_invlpg", 6, 101, 1 },
        { "shadow.demand_fault", 7, 101, 1 },   { "shadow.cr3_one_dirty", 8, 101, 1 },
        { "shadow.cr3_fork_sync", 9, 11, 1 },   { "shadow.cow_page", 10, 101, 1 },
        { "shadow.cr3_warm", 11, 101, 1 },      { "shadow.cr3_ten_roots", 12, 101, 1 },
        { "shadow.as_cycle", 13, 11, 1 },
    };

    CHECK_EQ(core_measure(figures, sizeof(figures) / sizeof(figures[0])), VMM_END_HALT);
}
