/* SPDX-License-Identifier: BSD-2-Clause */
/* The root task's first instructions: RDI = boot information, RSP at the top of its stack. */
    .text
    .globl _start
_start:
    and $-16, %rsp
    call harness_main
    ud2
