/* SPDX-License-Identifier: BSD-2-Clause */
/* What the root task finds: its first capabilities and the boot information page (kernel-api.md, "Boot").
 *
 * The root task is boot module 0, a static ELF64 executable. It starts with RDI = address of struct
 * umbra_bootinfo, RSP at the top of a small stack, and SLOT_ROOT_* filled. */
#ifndef UMBRA_BOOTINFO_H
#define UMBRA_BOOTINFO_H

#include <umbra/object.h>

enum {
    SLOT_CNODE = 1,
    SLOT_TCB,
    SLOT_VSPACE,
    SLOT_IPC_BUFFER,
    SLOT_SCHED,
    SLOT_SCHEDCONTROL,
    SLOT_IRQCONTROL,
    SLOT_IOPORT,
    SLOT_KERNEL,
    SLOT_FIRST_FREE = 16, /* untyped memory and module frames follow; see first_free */
};

#define ROOT_CNODE_BITS  14
#define BOOT_MODULES_MAX 24
#define BOOT_UNTYPED_MAX 96
#define BOOT_STACK_BYTES (64 * 1024ul)
/* Where the root task's own pages lie. */
#define BOOT_STACK_TOP    0x7fff00000000ul
#define BOOT_INFO_ADDRESS 0x7fff10000000ul
#define BOOT_IPC_ADDRESS  0x7fff10010000ul

struct umbra_boot_untyped {
    cptr_t cap;
    uint8_t bits, device, pad[2];
    uint64_t address; /* of device memory: where the processor sees it; of RAM always 0 (I4) */
};

/* A module's bytes lie in 2 MB frames, read-only, from the first byte of frame cap; the rest of the last is
 * 0. */
struct umbra_boot_module {
    cptr_t cap;
    uint32_t frames;
    uint64_t bytes;
    char name[240]; /* file name and arguments as the boot loader gave them */
};

#define BOOT_MAGIC 0x554d425241303031ul
struct umbra_bootinfo {
    uint64_t magic;
    uint32_t untyped_count, module_count;
    cptr_t first_free; /* first empty slot */
    uint32_t debug;    /* a debug build */
    uint64_t tsc_hz;
    uint64_t memory_bytes;
    char command_line[256];
    char version[64];
    struct umbra_boot_untyped untyped[BOOT_UNTYPED_MAX];
    struct umbra_boot_module module[BOOT_MODULES_MAX];
};

#endif
