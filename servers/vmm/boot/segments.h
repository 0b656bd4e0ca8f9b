/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of an image in guest memory: checked as they are added, so that a plan never holds one that lies
 * outside the file, outside memory, or over another one. What else a plan needs is placed beside them. */
#ifndef VMM_BOOT_SEGMENTS_H
#define VMM_BOOT_SEGMENTS_H

#include "servers/vmm/boot/boot.h"

#define SEGMENTS_LOW 0x1000ull /* chosen: below lie vectors and the BIOS's data */
#define INFO_LOW     0x9000ull /* chosen: where QEMU begins with what it tells a kernel */

/* segments_add - one more part; s->bytes 0 adds nothing. BOOT_ELF_CUT, BOOT_ELF_SIZE, BOOT_SEGMENT_PLACE,
 * BOOT_SEGMENTS_OVERLAP, BOOT_ELF_HEADERS (too many), and nothing added; or BOOT_OK. */
struct boot_result segments_add(struct boot_plan *plan, uint64_t image_bytes, const struct boot_segment *s);

/* segments_finish - is there any, and does the entry lie in one? Sets plan->room, from the lowest byte to the
 * end of the highest. BOOT_NO_SEGMENT, BOOT_ENTRY_OUTSIDE, BOOT_OK. */
struct boot_result segments_finish(struct boot_plan *plan, uint64_t entry);

/* segments_place - the lowest page in [from, end) with room for so many bytes beside all segments; 0: none.
 */
uint64_t segments_place(const struct boot_plan *plan, uint64_t from, uint64_t end, uint64_t bytes);

/* segments_place_info - plan->info: low, if the kernel leaves room there, else behind it. BOOT_INFO_TOO_BIG.
 */
struct boot_result segments_place_info(struct boot_plan *plan, uint64_t bytes);

/* segments_load - writes them all. False if memory refuses. */
bool segments_load(const uint8_t *image, const struct boot_plan *plan, const struct boot_memory *m);

#endif
