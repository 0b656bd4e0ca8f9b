/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF executables as far as a loader of kernels needs them (System V ABI, chapter 5; ELF-64 Object File
 * Format 1.5): program headers and notes. Everything in the file is a claim until it is checked. */
#ifndef VMM_BOOT_ELF_H
#define VMM_BOOT_ELF_H

#include "servers/vmm/boot/boot.h"

#define ELF_HEADERS_MAX 64 /* chosen: program headers that are looked at */

struct elf {
    const uint8_t *image;
    uint64_t image_bytes;
    bool wide; /* 64-bit */
    uint64_t entry;
    uint64_t table; /* of the program headers: offset, bytes of one, number */
    uint32_t stride, count;
};

/* elf_is - does the file say that it is an ELF file? */
bool elf_is(const uint8_t *image, uint64_t image_bytes);

/* elf_open - checks the header and that the program headers lie in the file. only_32: x86-64 is no answer.
 * BOOT_ELF_CLASS, BOOT_ELF_HEADERS, BOOT_OK. */
struct boot_result elf_open(const uint8_t *image, uint64_t image_bytes, bool only_32, struct elf *e);

/* elf_segments - adds all that is to be loaded to the plan, at physical addresses. If entry is not NULL and
 * lies, as a virtual address, in executable bytes of a segment, it becomes the physical one. Errors as
 * segments_add. */
struct boot_result elf_segments(const struct elf *e, struct boot_plan *plan, uint64_t *entry);

/* elf_note - the first note of that name (with its NUL) and type; where its content lies, or false. */
bool elf_note(const struct elf *e, const char *name, uint32_t type, uint64_t *offset, uint64_t *bytes);

#endif
