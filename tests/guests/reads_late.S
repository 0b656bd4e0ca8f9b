/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that says "!", leaves what is typed where it is for some seconds, then reads BYTES of it whenever its serial
 * port, without FIFO, has an interrupt, and halts between: no clock wakes it. It writes their sum, as four letters of A to P,
 * and ends by debug exit 0. */
#include "serial_sector.inc"

    .code16
    .set BYTES, 3000
    .set WAIT, 4000             /* of 2^20 ticks of the TSC */
    begin typed
    xor %bx, %bx                /* bytes read */
    xor %bp, %bp                /* their sum */
    call time
    mov %eax, %edi
1:  call time
    sub %edi, %eax
    cmp $WAIT, %eax
    jb 1b
    halt_until %bx, BYTES
    mov $0x3f8, %dx
    mov $4, %cx
1:  rol $4, %bp
    mov %bp, %ax
    and $15, %al
    add $'A', %al
    out %al, %dx
    loop 1b
    mov $10, %al
    out %al, %dx
    xor %eax, %eax
    out %eax, $0xf4
time:
    rdtsc
    shrd $20, %edx, %eax
    ret
typed:
    mov $0x3fa, %dx
    in %dx, %al
1:  mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz 2f
    mov $0x3f8, %dx
    in %dx, %al
    xor %ah, %ah
    add %ax, %bp
    inc %bx
    jmp 1b
2:  end_interrupt
init:
    controllers
    port 0x3fc, 8               /* OUT2 */
    port 0x3f9, 1
    port 0x3f8, '!'
    .word 0
    .byte 0
