/* SPDX-License-Identifier: BSD-2-Clause */
/* Linux bzImages (Linux Documentation/x86/boot.rst, protocol 2.02 and later), entered
 *   in 64-bit mode    where the kernel says that it has that entry (XLF_KERNEL_64),
 *   in 32-bit mode    where it says otherwise how it is entered without a BIOS (xloadflags, protocol 2.12),
 *   in real mode      else: its setup code asks the BIOS (realmode.h).
 * See boot.h for what holds. */
#ifndef VMM_BOOT_BZIMAGE_H
#define VMM_BOOT_BZIMAGE_H

#include "servers/vmm/boot/boot.h"

#define BZIMAGE_PROTOCOL 0x0202 /* the first whose command line may lie anywhere */
#define BZIMAGE_HEADER_BYTES                                                                                 \
    0x290 /* as much of the file as planning reads; where boot_params has the next field */

struct bzimage_request {
    const uint8_t *
        image; /* at least min(image_bytes, BZIMAGE_HEADER_BYTES) are there when planning; all when loading */
    uint64_t image_bytes;
    uint64_t initrd_bytes; /* 0: none */
    const char *cmdline;   /* NUL-terminated */
    uint64_t memory_bytes;
    uint64_t tsc_khz; /* the guest's TSC rate, told by `tsc_early_khz=`; 0: not told. See cmdline.h */
};

/* bzimage_is - the signature is there. */
bool bzimage_is(const uint8_t *image, uint64_t image_bytes);

/* bzimage_plan - checks everything and fills *plan; on an error *plan is not to be used. Places:
 *   kernel  at its preferred address; one that is not relocatable at code32_start; at 1 MiB for its setup
 * code command line  the request's; with tsc_khz, unless it says tsc_early_khz itself or there is no room,
 * with that in front of it (behind `--` it would be an argument of init): measuring the TSC against the PIT
 * takes port accesses of under 10 us, else Linux gives up its TSC for good initrd  as high as memory and the
 * kernel's initrd_addr_max allow, page aligned; else below the kernel */
struct boot_result bzimage_plan(const struct bzimage_request *r, struct boot_plan *plan);

/* bzimage_load - writes all but the initrd: kernel, command line, what its entry needs. False if memory
 * refuses.
 */
bool bzimage_load(const struct bzimage_request *r, const struct boot_plan *plan, const struct boot_memory *m);

#endif
