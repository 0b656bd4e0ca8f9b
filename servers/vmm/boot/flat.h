/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw guest images for tests: bytes that are loaded at one address and entered there in a given mode.
 *
 * FLAT_REAL16  at 7C00h, real mode, CS:IP 0000:7C00, SP below it: what a boot sector expects
 * FLAT_PROTECTED32, FLAT_LONG64  at 1 MB, flat segments, stack below 640K; long mode with the first 4 GB
 * identity-mapped Nothing else is promised: no BIOS, no zero page. */
#ifndef VMM_BOOT_FLAT_H
#define VMM_BOOT_FLAT_H

#include "servers/vmm/boot/boot.h"

#define FLAT_REAL_START 0x7c00ull

enum flat_mode { FLAT_REAL16, FLAT_PROTECTED32, FLAT_LONG64, FLAT_MODES };

struct flat_request {
    const uint8_t *image;
    uint64_t image_bytes;
    uint64_t memory_bytes; /* a multiple of 4 KiB; real mode needs 64 KiB, the others 1 MB and the image */
    enum flat_mode mode;
};

/* flat_plan - BOOT_MEMORY_SIZE, BOOT_FLAT_TOO_BIG (an empty image, too) or BOOT_OK and *plan. */
struct boot_result flat_plan(const struct flat_request *r, struct boot_plan *plan);
bool flat_load(const struct flat_request *r, const struct boot_plan *plan, const struct boot_memory *m);

#endif
