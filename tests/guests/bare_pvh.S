/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* An ELF file written by hand with a PVH entry point, which says the time-stamp counter in hexadecimal on the serial port and
 * leaves: the ticks that the firmware needs before the first instruction of an unpacked kernel. */
        .code32
file:   .byte 0x7f, 'E', 'L', 'F', 2, 1, 1
        .org 16
        .word 2, 62             /* executable, x86-64 */
        .long 1
        .quad start, headers - file, 0
        .long 0
        .word 64, 56, 2, 64, 0, 0
headers: .long 1, 7             /* the whole file, loaded where it is linked */
        .quad 0, file, file, end - file, end - file, 0x1000
        .long 4, 4              /* its note */
        .quad note - file, note, note, noted - note, noted - note, 4
note:   .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start
noted:
start:  mov $0x80000, %esp
#include "say_tsc.inc"
end:
