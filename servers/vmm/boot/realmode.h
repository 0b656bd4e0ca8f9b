/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16-bit entry of a bzImage (boot.rst, "Memory Layout", "Running the Kernel"): its setup code runs in
 * real mode, asks the BIOS (bios.h), and enters the kernel itself. bzimage.c says which images are entered
 * so, and has placed kernel, initrd and command line. */
#ifndef VMM_BOOT_REALMODE_H
#define VMM_BOOT_REALMODE_H

#include "servers/vmm/boot/bzimage.h"

#define REALMODE_SETUP     0x10000ull /* where QEMU loads it */
#define REALMODE_SETUP_MAX 0xf000ull  /* chosen: heap and stack lie behind it, up to 64 KiB */

/* realmode_plan - plan->setup and the first state. BOOT_SETUP_TOO_BIG, BOOT_OK. */
struct boot_result realmode_plan(uint64_t setup_bytes, struct boot_plan *plan);

/* realmode_load - all but the kernel and its command line. False if memory refuses. */
bool realmode_load(const struct bzimage_request *r, const struct boot_plan *plan,
                   const struct boot_memory *m);

#endif
