/* SPDX-License-Identifier: BSD-2-Clause */
/* Several boot modules with their strings in one file, as `run` packs what --initrd names for a Multiboot
 * kernel: 16 bytes of header (MODULES_MAGIC, number, 0), then for each module offset and bytes in the file,
 * of the module and of its string without a NUL, then what they point to. All numbers are little endian.
 * tools/umbra/images.py writes it. A file that does not begin so is one module with an empty string. */
#ifndef VMM_BOOT_MODULES_H
#define VMM_BOOT_MODULES_H

#include "servers/vmm/boot/boot.h"

#define MODULES_MAGIC "UMBRAMOD"
#define MODULES_MAX   32

struct module {
    struct boot_piece content, text; /* in the file */
};

struct modules {
    uint32_t count;
    struct module module[MODULES_MAX];
};

/* modules_open - checks all claims of the file. BOOT_MODULES_DAMAGED, BOOT_MODULES_TOO_MANY, BOOT_OK. */
struct boot_result modules_open(const uint8_t *file, uint64_t bytes, struct modules *m);

#endif
