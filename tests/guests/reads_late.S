/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that says "!", leaves what is typed where it is for some seconds, then reads BYTES of it whenever its serial
 * port, without FIFO, has an interrupt, and halts between: no clock wakes it. It writes their sum, as four letters of A to P,
 * and ends by debug exit 0. */
    .code16
    .set BYTES, 3000
    .set WAIT, 4000             /* of 2^20 ticks of the TSC */
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    movw $typed, 0x90           /* line 4 at vector 24h */
    movw %ax, 0x92
    xor %bx, %bx                /* bytes read */
    xor %bp, %bp                /* their sum */
    mov $init, %si
1:  lodsw                       /* port and value, up to port 0 */
    xchg %ax, %dx
    lodsb
    test %dx, %dx
    jz 2f
    out %al, %dx
    jmp 1b
2:  call time
    mov %eax, %edi
3:  call time
    sub %edi, %eax
    cmp $WAIT, %eax
    jb 3b
wait:
    cli
    cmp $BYTES, %bx
    jae end
    sti
    hlt
    jmp wait
end:
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
2:  mov $0x20, %al
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
    port 0x3fc, 8               /* OUT2 */
    port 0x3f9, 1
    port 0x3f8, '!'
    .word 0
    .byte 0
