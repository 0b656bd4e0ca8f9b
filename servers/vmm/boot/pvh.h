/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF kernels with a PVH entry (Xen's docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h): the note
 * XEN_ELFNOTE_PHYS32_ENTRY names where they are entered in 32-bit protected mode without paging, with the
 * address of struct hvm_start_info in EBX. See boot.h for what holds.
 *
 * What the kernel is told lies at 9000h, or in the next room that the kernel leaves; the initrd as high as
 * possible. A kernel whose note says that it is Linux is told its TSC rate like a bzImage. */
#ifndef VMM_BOOT_PVH_H
#define VMM_BOOT_PVH_H

#include "servers/vmm/boot/image.h"

#define PVH_MAGIC 0x336ec578u

/* pvh_is - an ELF file with that note? */
bool pvh_is(const uint8_t *image, uint64_t image_bytes);

struct boot_result pvh_plan(const struct image_request *r, struct boot_plan *plan);
bool pvh_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m);

#endif
