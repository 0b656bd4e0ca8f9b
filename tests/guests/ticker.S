/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that says on the serial port: Z if 64 KB to 576 KB of its memory are zero, else D, before it fills them;
 * then on and on its time-stamp counter in hexadecimal, a line each 2^24 ticks. On a `q` it powers off. */
    .code16
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $'Z', %bl
    mov $0x1000, %bp
1:  mov %bp, %es
    xor %di, %di
    xor %eax, %eax
    mov $0x4000, %cx
    repe scasl
    je 2f
    mov $'D', %bl
2:  xor %di, %di
    mov $0xaaaaaaaa, %eax
    mov $0x4000, %cx
    rep stosl
    add $0x1000, %bp
    cmp $0x9000, %bp
    jne 1b
    mov %bl, %al
    mov $0x3f8, %dx
    out %al, %dx
    mov $10, %al
    out %al, %dx
    mov $0xff, %al              /* no interrupts, but IF on: bochs ends no guest that has it off */
    out %al, $0x21
    out %al, $0xa1
    sti
tick:
    rdtsc
    mov %eax, %ebx
    mov %edx, %esi
    sub last, %eax
    sbb last + 4, %edx
    jnz 1f
    cmp $0x1000000, %eax
    jb tick
1:  mov %ebx, last
    mov %esi, last + 4
    mov %esi, %eax
    call hex
    mov %ebx, %eax
    call hex
    mov $0x3f8, %dx
    mov $10, %al
    out %al, %dx
    mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz tick
    mov $0x3f8, %dx
    in %dx, %al
    cmp $'q', %al
    jne tick
    mov $0x604, %dx             /* as QEMU's power management */
    mov $0x2000, %ax
    out %ax, %dx
3:  hlt
    jmp 3b
hex:                            /* eax in eight digits */
    mov $8, %cx
    mov $0x3f8, %dx
4:  rol $4, %eax
    push %eax
    and $15, %al
    cmp $10, %al
    jb 5f
    add $39, %al
5:  add $48, %al
    out %al, %dx
    pop %eax
    loop 4b
    ret
last:
    .quad 0
