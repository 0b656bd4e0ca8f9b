/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* Ten bytes of real mode: a port write, a CPUID, a halt. */
    .code16
    mov $0x41, %al
    out %al, $0xe9
    xor %ax, %ax
    cpuid
    hlt
    nop
