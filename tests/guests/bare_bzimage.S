/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of a Linux kernel image as QEMU's -kernel wants; its real-mode entry says the time-stamp counter in hexadecimal
 * on the serial port and leaves: the ticks that the firmware needs before the first instruction of a bzImage. */
        .code16
        .org 0x1f1
        .byte 1                 /* one setup sector */
        .word 0
        .long 0x20              /* the protected-mode part, in 16 bytes */
        .org 0x1fe
        .word 0xaa55
        jmp entry
        .ascii "HdrS"
        .word 0x020c
        .org 0x211
        .byte 1                 /* loaded high */
        .org 0x214
        .long 0x100000
        .org 0x22c
        .long 0x7fffffff, 0x1000
        .org 0x238
        .long 255               /* longest command line */
        .org 0x258
        .quad 0x100000
        .long 0x10000
entry:
        rdtsc
        mov %eax, %ebx
        mov %edx, %eax
        call hex
        mov %ebx, %eax
        call hex
        mov $10, %al
        mov $0x3f8, %edx
        out %al, %dx
        mov $0xf4, %edx
        out %al, %dx
1:      hlt
        jmp 1b
hex:    mov $8, %ecx            /* eax in eight digits */
        mov $0x3f8, %edx
2:      rol $4, %eax
        push %eax
        and $15, %al
        cmp $10, %al
        jb 3f
        add $39, %al
3:      add $48, %al
        out %al, %dx
        pop %eax
        loop 2b
        ret
        .org 0x600
