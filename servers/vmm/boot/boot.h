/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting a guest: what to write where, and the processor's first state, as a plan that is made and checked
 * before anything is written.
 *
 * Invariants: making a plan reads only the image's header and writes nothing; carrying out a good plan cannot
 * fail for reasons of the image; everything written lies in guest memory [0, memory_bytes) and outside
 * everything else written. Formats: image.h tells them apart. Guest memory is contiguous here; what it is
 * made of is the callbacks' affair. */
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
    BOOT_UNKNOWN_FORMAT,   /* none of image.h's formats */
    BOOT_SETUP_TOO_BIG,    /* have: bytes of the real-mode part; need: the most there is room for */
    BOOT_ELF_CLASS,        /* have: e_type, e_machine and class that do not go together; need: 0 */
    BOOT_ELF_HEADERS,      /* the program headers; have: their number; need: the most */
    BOOT_ELF_CUT,          /* a segment lies outside the file; have: bytes of the file; need: its end */
    BOOT_ELF_SIZE,         /* a segment has more bytes in the file (have) than in memory (need) */
    BOOT_NO_SEGMENT,       /* nothing is to be loaded */
    BOOT_SEGMENT_PLACE,    /* have: a segment's address; need: its bytes of memory */
    BOOT_SEGMENTS_OVERLAP, /* have, need: the addresses of two */
    BOOT_ENTRY_OUTSIDE,    /* have: the entry point, which lies in no segment */
    BOOT_MULTIBOOT_NEEDS,  /* have: the header's flags; need: those that are understood */
    BOOT_MULTIBOOT_FIELDS, /* address fields that contradict each other or the file; have: the value */
    BOOT_MODULES_DAMAGED,  /* the file of modules; have: its bytes; need: bytes that it announces */
    BOOT_MODULES_TOO_MANY, /* have: their number; need: the most */
    BOOT_MODULES_TOO_BIG,  /* have: memory bytes; need: bytes that modules and kernel take */
    BOOT_INFO_TOO_BIG,     /* what a kernel is told has no room beside it; need: its bytes */
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

/* What is loaded of an image with several parts: file bytes of it at an address, zeros behind them. */
struct boot_segment {
    uint64_t start, bytes; /* in memory */
    uint64_t offset, file_bytes;
};
#define BOOT_SEGMENTS_MAX 32

enum boot_format { BOOT_BZIMAGE, BOOT_BZIMAGE_REAL, BOOT_MULTIBOOT, BOOT_PVH, BOOT_FLAT, BOOT_FORMATS };

struct boot_plan {
    enum boot_format format;
    struct boot_cpu cpu;
    struct boot_range e820[BOOT_E820_MAX];
    uint32_t e820_count;
    bool long_mode;                            /* tables and GDT for 64-bit entry are written */
    struct boot_piece kernel, initrd, cmdline; /* bytes 0: none */
    uint64_t kernel_offset;                    /* where in the image the kernel piece begins */
    struct boot_piece setup;                   /* a bzImage's real-mode part; bytes 0: it is not used
                                                */
    struct boot_piece room;                    /* the kernel unpacks itself here: nothing else lies there */
    uint64_t memory_bytes;
    char cmdline_extra[40]; /* in front of the request's command line; empty: nothing */
    struct boot_segment segment[BOOT_SEGMENTS_MAX];
    uint32_t segments;
    struct boot_piece info; /* what the kernel is told of its machine (Multiboot, PVH) */
    uint64_t modules;       /* Multiboot: the first module's address */
};

/* Writing guest memory, which is all zero before. write returns false where the guest has none: loading stops
 * there. */
struct boot_memory {
    bool (*write)(void *context, gpa_t to, const void *bytes, uint64_t n);
    void *context;
};

/* Fixed places below 640K, and the BIOS (bios.h) in the last page below 1 MB. Linux copies all it needs of
 * them before it uses the memory. */
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

/* boot_cpu_without_gdt - for kernels that bring their own before they load a segment register; TR as PVH
 * wants it. */
void boot_cpu_without_gdt(struct boot_cpu *cpu);

/* boot_load_initrd - writes n bytes at offset of the initrd: at once or piece by piece. */
bool boot_load_initrd(const struct boot_plan *plan, const struct boot_memory *m, uint64_t offset,
                      const void *bytes, uint64_t n);

#endif
