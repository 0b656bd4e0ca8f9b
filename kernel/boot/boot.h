/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of booting hand each other. Used before the first thread runs, never after. */
#ifndef KERNEL_BOOT_H
#define KERNEL_BOOT_H

#include <umbra/bootinfo.h>

struct region {
    uint64_t start, end; /* bytes, whole pages */
};
#define REGIONS_MAX 32

struct boot_source {
    uint64_t start, end; /* where the loader put the module */
    char name[240];
};

struct boot_data {
    struct region ram[REGIONS_MAX];
    uint64_t low_end; /* below 4 GB: the end of RAM and of what the firmware keeps next to it */
    unsigned regions, modules;
    struct boot_source module[BOOT_MODULES_MAX];
    char command_line[256];
};

/* multiboot.c: copy what the loader says, as its own memory may be reused. false: not a Multiboot loader. */
bool multiboot_read(uint32_t magic, uint64_t info, struct boot_data *out);
/* elf.c: check a static ELF64 executable; then visit its segments. NULL or what is wrong. */
const char *elf_check(const void *image, uint64_t bytes);
struct elf_segment {
    uint64_t address, memory_bytes, file_bytes;
    const uint8_t *data;
    bool write, execute;
};
unsigned elf_segments(const void *image, struct elf_segment *out, unsigned max, uint64_t *entry);
/* roottask.c */
void roottask_create(struct boot_data *b);
/* banner.c */
const char *version_text(void);

#endif
