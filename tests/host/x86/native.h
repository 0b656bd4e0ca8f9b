/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs one instruction natively, in user mode, as 64- or 32-bit code. Registers and flags are loaded before
 * and stored after; what the instruction raises is caught. */
#ifndef TESTS_HOST_X86_NATIVE_H
#define TESTS_HOST_X86_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#define NATIVE_CODE   0x30000000ul /* one page */
#define NATIVE_BRANCH 0x30000800ul /* where a taken branch must go */
#define NATIVE_DATA   0x20000000ul
#define NATIVE_BYTES  0x2000ul /* of data, stack included */

/* The layout is known to the assembly. */
struct native_state {
    uint64_t gpr[16], rflags, rip;
    uint64_t fault; /* exception vector + 1, 0 none: then the registers are those at the fault */
};

void native_init(void); /* maps code and data, catches signals */
/* native_run - executes these bytes at NATIVE_CODE with *state, and changes *state as they do. With wide
 * unset it is 32-bit code: then only the low halves of the first eight registers mean something. */
void native_run(const uint8_t *code, unsigned bytes, bool wide, struct native_state *state);

#endif
