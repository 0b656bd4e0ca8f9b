/* SPDX-License-Identifier: BSD-2-Clause */
/* Which instruction loads CR3, by its bytes or by what a processor with decode assists says of it. Pure:
 * tests/host/kernel/test_movcr3.c goes through all encodings, as no emulator has decode assists. */
#ifndef KERNEL_MOVCR3_H
#define KERNEL_MOVCR3_H

#include <umbra/types.h>

#define MOV_CR_BYTES_MIN 3
#define INSTRUCTION_MAX  15

/* MOV to CR3, 0F 22 /3 with a REX before it or none; its mod bits do not matter (APM vol. 3, MOV CRn).
 * Returns its length, 0 for anything else, and the register. */
static inline unsigned mov_to_cr3(uint32_t code, unsigned *gpr)
{
    unsigned rex = (code & 0xf4) == 0x40; /* REX.R would name another control register */

    *gpr = rex ? (code >> 24 & 7) + (code & 1) * 8 : code >> 16 & 7;
    return (code >> 8 * rex & 0x38ffff) == 0x18220f ? 3 + rex : 0;
}

/* The same from EXITINFO1 of an intercepted write of CR3 (APM vol. 2, table 15-2) and the next RIP. Prefixes
 * count for the length. */
static inline unsigned assisted_mov(uint64_t info, uint64_t rip, uint64_t next_rip, unsigned *gpr)
{
    uint64_t length = next_rip - rip;

    *gpr = info & 15;
    return info >> 63 && length - MOV_CR_BYTES_MIN <= INSTRUCTION_MAX - MOV_CR_BYTES_MIN ? (unsigned)length
                                                                                         : 0;
}

#endif
