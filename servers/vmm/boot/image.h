/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's kernel image, of whatever format; told apart by content in the order of `qemu -kernel`:
 *
 *   "HdrS" at 202h              bzImage: bzimage.h, realmode.h (the 16-bit entry)
 *   a Multiboot 1 header        multiboot.h
 *   ELF with a PVH note         pvh.h
 *   at most 512 bytes, or 55h AAh at 1FEh
 *                               a raw image for real mode, a boot sector of a test: flat.h */
#ifndef VMM_BOOT_IMAGE_H
#define VMM_BOOT_IMAGE_H

#include "servers/vmm/boot/boot.h"

#define FLAT_BYTES_MAX 512

struct image_request {
    const uint8_t *image;
    uint64_t image_bytes;
    const uint8_t *initrd; /* Multiboot: modules.h; else one file. All of it is there when planning */
    uint64_t initrd_bytes; /* 0: none */
    const char *cmdline;   /* NUL-terminated */
    uint64_t memory_bytes;
    uint64_t tsc_khz; /* told to a Linux by its command line, see cmdline.h; 0: not told */
};

/* image_format - BOOT_FORMATS: none of them. */
enum boot_format image_format(const uint8_t *image, uint64_t image_bytes);

/* image_plan - checks everything and fills *plan; on an error *plan is not to be used. */
struct boot_result image_plan(const struct image_request *r, struct boot_plan *plan);

/* image_load - writes everything the plan names. False if memory refuses. */
bool image_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m);

#endif
