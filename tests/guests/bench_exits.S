/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* A 64-bit guest that measures exits without shadow paging in them (measure.inc). Entered in long mode with the first
 * 4 GB mapped 1:1 by 2 MB pages. Rows: 1 CPUID of leaf 0; 2 OUT; 3 a read of the local APIC's version. */
#include "measure.inc"
#define APIC_VERSION 0xfee00030
    .code64

    .macro ask
    xor %eax, %eax
    cpuid
    .endm
    .macro port
    out %al, $0x80
    .endm
    .macro memory
    mov (%rsi), %eax
    .endm

    .globl _start
_start:
    measure_begin
    measure 1, 101, ask
    measure 2, 101, port
    mov $APIC_VERSION, %esi
    measure 3, 101, memory
    cli
    hlt
