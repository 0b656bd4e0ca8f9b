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
end:
