/* SPDX-License-Identifier: BSD-2-Clause */
// USES: tests/procs/core/*.c
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
// USES: servers/vmm/policy/*.c servers/vmm/gmem/*.c servers/vmm/gmem/*.S
// MODULES: guests/bench_cr3
// ICOUNT: 1
/* Loads of CR3 as the guest sees them: a hand-written 64-bit guest (tests/guests/bench_cr3.S) measures
 * itself; the VMM core lists its roots, the kernel serves them. Lines: BENCH name value unit. */
#include "tests/procs/core/core.h"

#define ROUNDS 101

static uint64_t median(uint64_t gpa)
{
    uint64_t s[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++)
        gmem_read64(&vmm.mem, (gpa_t){ gpa + 8 * i }, &s[i]);
    for (unsigned i = 1; i < ROUNDS; i++)
        for (unsigned k = i; k && s[k] < s[k - 1]; k--) {
            uint64_t t = s[k];
            s[k] = s[k - 1];
            s[k - 1] = t;
        }
    return s[ROUNDS / 2];
}

static void show(const char *name, uint64_t gpa, uint64_t nothing)
{
    char text[24];
    unsigned i = sizeof(text);
    uint64_t v = median(gpa) - nothing;

    text[--i] = 0;
    do {
        text[--i] = '0' + v % 10;
        v /= 10;
    } while (v);
    print("BENCH ");
    print(name);
    print(" ");
    print(text + i);
    print(" instructions exits=1 syscalls=0\n");
}

TEST(loads_of_cr3)
{
    struct boot_plan plan;
    uint64_t bytes;
    const uint8_t *image = core_module(1, &bytes);
    struct flat_request f = {
        .image = image, .image_bytes = bytes, .memory_bytes = CORE_MEMORY, .mode = FLAT_LONG64
    };

    core_make();
    CHECK_EQ(flat_plan(&f, &plan).error, BOOT_OK);
    CHECK(flat_load(&f, &plan, &core_memory));
    CHECK_EQ(core_run(&plan, NULL), VMM_END_HALT);
    uint64_t nothing = median(0x200000);
    show("shadow.cr3_warm", 0x201000, nothing);
    show("shadow.cr3_ten_roots", 0x202000, nothing);
    CHECK(vmm_segment.state.stats.cr3_served >= 2 * ROUNDS);
}
