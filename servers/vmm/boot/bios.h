/* SPDX-License-Identifier: BSD-2-Clause */
/* A BIOS for kernels that are entered in real mode (realmode.h): interrupt vectors, the BIOS's data, and one
 * page of ROM (bios.S) that sets up interrupt controller and timer, then enters the kernel.
 *
 *   INT 10h  0Eh writes to the serial port; 03h, 0Fh: a cursor, 80 columns; all else is no display
 *   INT 11h, 12h  from the BIOS's data        INT 13h  there are no disks
 *   INT 15h  E820h, E801h, 88h: memory; 24h: A20
 *   INT 16h  keys come from the serial port   INT 1Ah  00h: ticks, which IRQ 0 counts at 46Ch
 *   INT 18h, 19h  reset                       all others return at once; an unknown function sets carry */
#ifndef VMM_BOOT_BIOS_H
#define VMM_BOOT_BIOS_H

#include "servers/vmm/boot/boot.h"

#define BIOS_SEGMENT 0xff00u
#define BIOS_START   0xff000ull

/* Where the BIOS enters the kernel; all segments but CS are the same. */
struct bios_start {
    uint16_t ip, cs, segment, sp;
};

/* bios_cpu - the first state: at the BIOS's beginning. */
void bios_cpu(struct boot_cpu *cpu);

/* bios_write - all of it, with plan's memory map. False if memory refuses. */
bool bios_write(const struct boot_plan *plan, const struct bios_start *start, const struct boot_memory *m);

#endif
