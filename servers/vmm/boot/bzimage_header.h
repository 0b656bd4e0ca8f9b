/* SPDX-License-Identifier: BSD-2-Clause */
/* Offsets in a bzImage's setup header and in struct boot_params, which holds it at the same place (boot.rst,
 * zero-page.rst); between the files that load one. */
#ifndef VMM_BOOT_BZIMAGE_HEADER_H
#define VMM_BOOT_BZIMAGE_HEADER_H

#include "servers/vmm/boot/boot.h"

enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_SYSSIZE = 0x1f4, /* in 16 bytes */
    HDR_BOOT_FLAG = 0x1fe,
    HDR_JUMP_BYTES = 0x201, /* the header ends at 202h plus this */
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER_TYPE = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMDLINE_PTR = 0x228,
    HDR_INITRD_MAX = 0x22c,   /* 2.03 */
    HDR_ALIGNMENT = 0x230,    /* 2.05 */
    HDR_RELOCATABLE = 0x234,  /* 2.05 */
    HDR_XLOADFLAGS = 0x236,   /* 2.12 */
    HDR_CMDLINE_SIZE = 0x238, /* 2.06 */
    HDR_PREF_ADDRESS = 0x258, /* 2.10 */
    HDR_INIT_SIZE = 0x260,    /* 2.10 */
    HDR_LEAST_END = 0x264,
    HDR_START = 0x1f1,
    ZP_E820_COUNT = 0x1e8,
    ZP_E820_TABLE = 0x2d0,
    ZP_ALT_MEM_K = 0x1e0,
    ZP_EXT_MEM_K = 0x002,
};

#define MAGIC_HDRS       0x53726448u
#define LOADFLAG_HIGH    0x01
#define LOADFLAG_HEAP    0x80
#define XLF_KERNEL_64    0x01
#define LOADER_UNDEFINED 0xff

/* bzimage_tell - what every loader fills in: who it is, the initrd, the command line. */
void bzimage_tell(const struct boot_plan *plan, uint8_t *header);

#endif
