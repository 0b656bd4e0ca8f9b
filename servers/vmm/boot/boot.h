/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting a guest: what to write where, and the processor's first state, as a plan that is made and checked
 * before anything is written.
 *
 * Invariants: making a plan reads only the image's header and writes nothing; carrying out a good plan cannot
 * fail for reasons of the image; everything written lies in guest memory [0, memory_bytes) and outside
 * everything else written. Formats: bzimage.h (Linux), flat.h (raw images for tests). Guest memory is
 * contiguous here; what it is made of is the callbacks' affair. */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <umbra/vcpu.h>

#define BOOT_MEMORY_MIN (4ull << 20)
#define BOOT_MEMORY_MAX (3ull << 30) /* above lie the ranges where a PC has devices */
#define BOOT_E820_MAX   8

enum boot_error {
    BOOT_OK,
    BOOT_MEMORY_SIZE,      /* have: bytes asked for; need: the limit that is broken */
    BOOT_NOT_BZIMAGE,      /* no "HdrS" or no boot flag AA55h */
    BOOT_TOO_OLD,          /* have: protocol version; need: BZIMAGE_PROTOCOL */
    BOOT_ZIMAGE,           /* loads low: not a bzImage */
    BOOT_BAD_HEADER,       /* alignment, sizes or addresses that contradict each other; have: the value */
    BOOT_TRUNCATED,        /* have: bytes of the file; need: bytes that its header announces */
    BOOT_KERNEL_TOO_BIG,   /* have: memory bytes; need: memory bytes that this kernel needs at the least */
    BOOT_INITRD_TOO_BIG,   /* have: room in bytes; need: bytes of the initrd */
    BOOT_CMDLINE_TOO_LONG, /* have: bytes of the command line; need: the most this kernel takes */
    BOOT_FLAT_TOO_BIG,     /* have: bytes of the image; need: the room for it */
    BOOT_ERRORS
};

/* One sentence for a person, without the numbers; numbers and their unit are in have and need. */
const char *boot_error_text(enum boot_error e);

struct boot_result {
    enum boot_error error;
    uint64_t have, need;
};

/* The vCPU's first state. Registers that are not named are 0. */
struct boot_cpu {
    uint64_t gpr[GPRS], rip, rflags;
    uint64_t cr0, cr3, cr4, efer;
    struct umbra_segment seg[SEGS];
};

/* What the firmware would say of memory (INT 15h, E820h): types 1 usable, 2 reserved. */
struct boot_range {
    uint64_t start, bytes;
    uint32_t type, reserved;
};

/* A piece of guest memory that a plan uses. */
struct boot_piece {
    uint64_t start, bytes;
};

struct boot_plan {
    struct boot_cpu cpu;
    struct boot_range e820[BOOT_E820_MAX];
    uint32_t e820_count;
    bool long_mode;                            /* tables and GDT for 64-bit entry are written */
    struct boot_piece kernel, initrd, cmdline; /* bytes 0: none */
    uint64_t kernel_offset;                    /* where in the image the kernel piece begins */
    struct boot_piece room;                    /* the kernel unpacks itself here: nothing else lies there */
    uint64_t memory_bytes;
    char cmdline_extra[40]; /* in front of the request's command line; empty: nothing */
};

/* Writing guest memory, which is all zero before. write returns false where the guest has none: loading stops
 * there. */
struct boot_memory {
    bool (*write)(void *context, gpa_t to, const void *bytes, uint64_t n);
    void *context;
};

/* Fixed places below 640K. Linux copies all it needs of them before it uses the memory. */
#define BOOT_BDA          0x400ull   /* BIOS data area: EBDA segment, base memory size */
#define BOOT_ZERO_PAGE    0x10000ull /* boot_params */
#define BOOT_GDT          0x11000ull
#define BOOT_CMDLINE      0x20000ull
#define BOOT_TABLES       0x30000ull /* PML4, PDPT, four page directories: the first 4 GB in 2 MB pages */
#define BOOT_TABLES_BYTES (6 * PAGE_BYTES)
#define BOOT_BASE_END     0x9fc00ull /* the EBDA's page begins here */
#define BOOT_LOW_END      0x100000ull

#define BOOT_CS 0x10 /* GDT selectors of the Linux boot protocol */
#define BOOT_DS 0x18

/* boot_e820 - the memory map of a PC with memory_bytes of memory; returns the number of ranges. */
uint32_t boot_e820(uint64_t memory_bytes, struct boot_range ranges[BOOT_E820_MAX]);

/* boot_memory_size - BOOT_OK if a guest can have so much: a multiple of 4 KiB between the limits. */
struct boot_result boot_memory_size(uint64_t memory_bytes);

/* boot_write_bda, boot_write_long_mode - BIOS data area; GDT and identity tables. */
bool boot_write_bda(const struct boot_memory *m);
bool boot_write_long_mode(const struct boot_memory *m);

/* First states: entry at rip with the segments of the boot protocol; real mode at cs:ip. */
void boot_cpu_long(struct boot_cpu *cpu, uint64_t rip);
void boot_cpu_protected(struct boot_cpu *cpu, uint64_t rip);
void boot_cpu_real(struct boot_cpu *cpu, uint16_t cs, uint16_t ip);

#endif
