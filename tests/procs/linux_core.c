/* SPDX-License-Identifier: BSD-2-Clause */
// USES: tests/procs/core/*.c
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
// USES: servers/vmm/policy/*.c servers/vmm/gmem/*.c servers/vmm/gmem/*.S
/* One Linux guest on the VMM's core alone. Modules: this program, a bzImage, an initrd. The console goes to
 * the log. */
#include "tests/procs/core/core.h"

static void flush_console(void)
{
    uint8_t text[256];
    size_t n;

    while ((n = machine_take(&vmm.state->machine, &vmm.undo.dev, vmm.now, text, sizeof(text) - 1))) {
        text[n] = 0;
        print((const char *)text);
    }
}

static void load(struct boot_plan *plan)
{
    uint64_t kernel_bytes, initrd_bytes;
    const uint8_t *kernel = core_module(1, &kernel_bytes), *initrd = core_module(2, &initrd_bytes);
    struct bzimage_request r = { .image = kernel,
                                 .image_bytes = kernel_bytes,
                                 .initrd_bytes = initrd_bytes,
                                 .cmdline = "console=ttyS0 panic=-1",
                                 .memory_bytes = CORE_MEMORY };
    struct boot_result res = bzimage_plan(&r, plan);

    if (res.error != BOOT_OK) {
        print(boot_error_text(res.error));
        leave(1);
    }
    if (!bzimage_load(&r, plan, &core_memory) ||
        !boot_load_initrd(plan, &core_memory, 0, initrd, initrd_bytes))
        need(ERR_NO_MEMORY, "loading");
}

TEST(linux_core)
{
    static const char *const kinds[] = EXIT_KIND_NAMES;
    struct boot_plan plan;

    core_make();
    load(&plan);
    enum vmm_end end = core_run(&plan, flush_console);
    print("\nguest ended: ");
    print(vmm_end_name(end));
    print_number(" rip 0x", vmm.exit->rip, "\n");
    for (unsigned i = 0; i < EXIT_KINDS; i++)
        if (vmm.state->stats.exits[i]) {
            print("stat ");
            print(kinds[i]);
            print_number(" 0x", vmm.state->stats.exits[i], "\n");
        }
    CHECK_EQ(end, VMM_END_RESET);
}
