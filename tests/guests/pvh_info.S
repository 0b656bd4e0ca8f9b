/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x200000 */
/* An ELF file written by hand with a PVH entry point that says on the serial port what it was told: version, number of
 * modules, the memory map, its command line, the module's content. It ends itself by the debug-exit port: 0, or 9 if it was
 * entered otherwise than the interface says. */
        .code32
file:   .byte 0x7f, 'E', 'L', 'F', 2, 1, 1
        .org 16
        .word 2, 62             /* executable, x86-64 */
        .long 1
        .quad start, headers - file, 0
        .long 0
        .word 64, 56, 2, 64, 0, 0
headers: .long 1, 7             /* the whole file, loaded where it is linked, and a stack */
        .quad 0, file, file, end - file, end - file + 0x1000, 0x1000
        .long 4, 4              /* its note */
        .quad note - file, note, note, noted - note, noted - note, 4
note:   .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start
noted:
start:  mov $end + 0x1000, %esp
        mov %ebx, %ebp
        cmpl $0x336ec578, (%ebp)
        jne wrong
        mov %cr0, %eax
        and $0x80000001, %eax
        cmp $1, %eax
        jne wrong
        mov 4(%ebp), %eax       /* version, modules */
        call hex
        mov 12(%ebp), %eax
        call hex
        call line
        mov 40(%ebp), %edi      /* the map: start, bytes, type */
        mov 48(%ebp), %ecx
1:      mov (%edi), %eax
        call hex
        mov 8(%edi), %eax
        call hex
        mov 16(%edi), %eax
        call hex
        call line
        add $24, %edi
        dec %ecx
        jnz 1b
        mov 24(%ebp), %esi
        call text
        call line
        cmpl $0, 12(%ebp)
        je 3f
        mov 16(%ebp), %edi
        mov (%edi), %esi
        mov 8(%edi), %ecx
2:      mov (%esi), %al
        call put
        inc %esi
        dec %ecx
        jnz 2b
        call line
3:      xor %al, %al
        jmp leave
wrong:  mov $9, %al
leave:  mov $0xf4, %edx
        out %al, %dx
4:      hlt
        jmp 4b

#include "say32.inc"
end:
