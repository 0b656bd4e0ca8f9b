/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that writes numbered lines to the serial port, 16 bytes each time that its interrupt says that there is room, and
 * halts between: no clock wakes it. It ends after BYTES by debug exit 0. */
#include "serial_sector.inc"

    .code16
    .set BYTES, 20000
    begin room
    xor %ebx, %ebx              /* bytes written */
    xor %bp, %bp                /* the line, and how many of its bytes were written */
    xor %di, %di
    halt_until %ebx, BYTES
    xor %eax, %eax
    out %eax, $0xf4
room:
    mov $0x3fa, %dx             /* which takes the interrupt back */
    in %dx, %al
    mov $0x3fd, %dx
    in %dx, %al
    test $0x20, %al
    jz 3f
    mov $16, %cx
    mov $0x3f8, %dx
1:  cmp $BYTES, %ebx
    jae 3f
    mov $10, %al
    cmp $4, %di
    je 2f
    rol $4, %bp
    mov %bp, %ax
    and $15, %al
    add $'A', %al               /* a digit is a letter of A to P */
2:  out %al, %dx
    inc %ebx
    inc %di
    cmp $5, %di
    jne 4f
    xor %di, %di
    inc %bp
4:  loop 1b
3:  end_interrupt
init:
    controllers
    port 0x3fa, 1               /* FIFO on: a driver may send 16 bytes at once */
    port 0x3fc, 8               /* OUT2 */
    port 0x3f9, 2
    .word 0
    .byte 0
