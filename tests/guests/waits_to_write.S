/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that writes numbered lines to the serial port, 16 bytes each time that its interrupt says that there is room, and
 * halts between: no clock wakes it. It ends after BYTES by debug exit 0. */
    .code16
    .set BYTES, 20000
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    movw $room, 0x90            /* line 4 at vector 24h */
    movw %ax, 0x92
    xor %ebx, %ebx              /* bytes written */
    xor %bp, %bp                /* the line, and how many of its bytes were written */
    xor %di, %di
    mov $init, %si
1:  lodsw                       /* port and value, up to port 0 */
    xchg %ax, %dx
    lodsb
    test %dx, %dx
    jz wait
    out %al, %dx
    jmp 1b
wait:
    cli
    cmp $BYTES, %ebx
    jae end
    sti
    hlt
    jmp wait
end:
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
3:  mov $0x20, %al
    out %al, $0x20
    iret
    .macro port number, value
    .word \number
    .byte \value
    .endm
init:
    port 0x20, 0x11             /* edges, two controllers */
    port 0x21, 0x20
    port 0x21, 4
    port 0x21, 1
    port 0x21, 0xef
    port 0xa1, 0xff
    port 0x3fa, 1               /* FIFO on: a driver may send 16 bytes at once */
    port 0x3fc, 8               /* OUT2 */
    port 0x3f9, 2
    .word 0
    .byte 0
