/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 kernels (Multiboot Specification 0.6.96): loaded as their header's address fields say, if it
 * has them, else as a 32-bit ELF file; with memory size, memory map, command line and modules. See boot.h for
 * what holds.
 *
 * What the kernel is told lies at 9000h, or in the next room that the kernel leaves. Modules lie behind the
 * kernel, each at a page. */
#ifndef VMM_BOOT_MULTIBOOT_H
#define VMM_BOOT_MULTIBOOT_H

#include "servers/vmm/boot/image.h"

#define MULTIBOOT_SEARCH_BYTES 8192u       /* the header begins and ends in these */
#define MULTIBOOT_MAGIC        0x1badb002u /* of the header */
#define MULTIBOOT_BOOTED       0x2badb002u /* EAX at the entry */

/* multiboot_find - the offset of a header with a right checksum; false: there is none. */
bool multiboot_find(const uint8_t *image, uint64_t image_bytes, uint64_t *offset);

struct boot_result multiboot_plan(const struct image_request *r, struct boot_plan *plan);
bool multiboot_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m);

#endif
