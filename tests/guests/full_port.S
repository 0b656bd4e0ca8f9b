/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that writes numbered lines to the serial port, a byte whenever the transmitter is empty, and ends when that has
 * not been so for POLLS looks, or after BYTES. The number of bytes that it has written is the value of its debug exit. */
    .code16
    .set POLLS, 2000
    .set BYTES, 12000
    cli
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $0x3fa, %dx
    mov $1, %al                 /* FIFO on: a driver may send 16 bytes at once */
    out %al, %dx
    xor %ebx, %ebx              /* bytes written */
    xor %bp, %bp                /* the line */
line:
    mov %bp, %si
    mov $4, %di
digit:
    rol $4, %si
    mov %si, %ax
    and $15, %al
    add $'A', %al               /* a digit is a letter of A to P */
    call put
    dec %di
    jnz digit
    mov $10, %al
    call put
    inc %bp
    cmp $BYTES, %ebx
    jb line
end:
    mov %ebx, %eax
    out %eax, $0xf4
1:  hlt
    jmp 1b
put:                            /* al */
    mov %al, %ah
    mov $POLLS, %cx
    mov $0x3fd, %dx
2:  in %dx, %al
    test $0x20, %al
    jnz 3f
    loop 2b
    jmp end
3:  mov $0x3f8, %dx
    mov %ah, %al
    out %al, %dx
    inc %ebx
    ret
