/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* A Multiboot 1 kernel with address fields that says on the serial port what it was told: memory sizes, the memory map,
 * its command line, each module's string and content; then what firmware configuration says of memory and processors, and what
 * text memory keeps and the hole below it reads as.
 * It ends itself by the debug-exit port: 5, or 9 if it was entered otherwise than the specification says. */
        .code32
file:   .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
        .long file, file, end, bss_end, start
start:  mov $stack, %esp
        cmp $0x2badb002, %eax
        jne wrong
        mov %ebx, %ebp
        mov $first, %esi        /* what lies behind the file is zero */
1:      cmpb $0, (%esi)
        jne wrong
        inc %esi
        cmp $bss_end, %esi
        jb 1b
        mov 4(%ebp), %eax       /* KiB below and above */
        call hex
        mov 8(%ebp), %eax
        call hex
        call line
        mov 48(%ebp), %edi      /* the map: start, bytes, type */
        mov 44(%ebp), %ecx
        add %edi, %ecx
2:      mov 4(%edi), %eax
        call hex
        mov 12(%edi), %eax
        call hex
        mov 20(%edi), %eax
        call hex
        call line
        add (%edi), %edi
        add $4, %edi
        cmp %ecx, %edi
        jb 2b
        mov 16(%ebp), %esi
        call text
        call line
        mov 20(%ebp), %ecx      /* the modules */
        mov 24(%ebp), %edi
3:      jecxz 5f
        mov 8(%edi), %esi
        call text
        mov $'=', %al
        call put
        mov (%edi), %esi
        test $0xfff, %esi
        jnz wrong
4:      cmp 4(%edi), %esi
        jae 6f
        mov (%esi), %al
        call put
        inc %esi
        jmp 4b
6:      call line
        add $16, %edi
        dec %ecx
        jmp 3b
5:      mov $3, %eax            /* firmware configuration: signature, memory, processors */
        call select
        call read_four
        call hex
        mov $5, %eax
        call select
        call read_four
        call hex
        xor %eax, %eax
        call select
        call read_four
        mov %eax, %ecx
        mov $4, %edi
7:      mov %cl, %al
        call put
        shr $8, %ecx
        dec %edi
        jnz 7b
        call line
        movl $0x12345678, 0xb8000
        movl $0x9abcdef0, 0xbfffc
        movl $0x11111111, 0xb7ffc
        mov 0xb8000, %eax
        call hex
        mov 0xbfffc, %eax
        call hex
        mov 0xb7ffc, %eax
        call hex
        call line
        mov $5, %al
        jmp leave
wrong:  mov $9, %al
leave:  mov $0xf4, %edx
        out %al, %dx
8:      hlt
        jmp 8b

select: mov $0x510, %edx
        out %ax, %dx
        ret
read_four:                      /* the first is the lowest */
        mov $0x511, %edx
        mov $4, %ecx
1:      in %dx, %al
        ror $8, %eax
        dec %ecx
        jnz 1b
        ret
#include "say32.inc"
        .balign 4
end:
        .set first, .
        .set stack, . + 0x2000
        .set bss_end, . + 0x2100
