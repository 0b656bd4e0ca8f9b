/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory accessors over the window (gmem.h), for the target. A page fault at any instruction between
 * gmem_fixup_start and gmem_fixup_end continues at gmem_landing (TCB_SET_FIXUP), which returns the reason: R11 is not 0
 * while a write is tried, and then a read tells a read-only page from an absent one. */
#define GMEM_ABSENT   1
#define GMEM_READONLY 2
#define GMEM_LOST     3

    .text
    .globl gmem_fixup_start, gmem_fixup_end, gmem_landing
gmem_fixup_start:

/* RSI = guest address -> pointer, or absent. The limit is compared by subtraction. */
    .macro locate size
    mov 8(%rdi), %rax
    sub $\size, %rax
    jb absent
    cmp %rax, %rsi
    ja absent
    add (%rdi), %rsi
    .endm

    .macro reader name, size, register, moves
    .globl \name
    .balign 16
\name:
    xor %r11d, %r11d
    locate \size
    \moves (%rsi), %\register
    \moves %\register, (%rdx)
    xor %eax, %eax
    ret
    .endm
    reader gmem_read8, 1, cl, movb
    reader gmem_read16, 2, cx, movw
    reader gmem_read32, 4, ecx, movl
    reader gmem_read64, 8, rcx, movq

    .macro writer name, size, register, moves
    .globl \name
    .balign 16
\name:
    mov $1, %r11d
    locate \size
    \moves %\register, (%rsi)
    xor %eax, %eax
    ret
    .endm
    writer gmem_write8, 1, dl, movb
    writer gmem_write16, 2, dx, movw
    writer gmem_write32, 4, edx, movl
    writer gmem_write64, 8, rdx, movq

    .macro exchanger name, size, expected, value, accumulator
    .globl \name
    .balign 16
\name:
    mov $1, %r11d
    locate \size
    mov %\expected, %\accumulator
    lock cmpxchg %\value, (%rsi)
    mov $GMEM_LOST, %ecx
    mov $0, %eax
    cmovne %ecx, %eax
    ret
    .endm
    exchanger gmem_cas32, 4, edx, ecx, eax
    exchanger gmem_cas64, 8, rdx, rcx, rax

/* (memory, root, va, walk): RSI is the table, RAX the offset of the entry; R9 = last offset of 8 bytes. */
    .macro walk_level number, shift
    mov %rdx, %rax
    shr $\shift, %rax
    and $0xff8, %eax
    or %rsi, %rax
    cmp %r9, %rax
    ja absent
    mov (%r8, %rax), %rsi
    mov %rsi, 8 * \number(%rcx)
    .endm
    .macro walk_down number, large
    test $1, %sil
    jz walked_\number
    .if \large
    test $0x80, %sil
    jnz walked_\number
    .endif
    and %r10, %rsi
    .endm
    .macro walk_end number
walked_\number:
    movl $\number, 40(%rcx)
    xor %eax, %eax
    ret
    .endm
    .globl gmem_walk_long
    .balign 16
gmem_walk_long:
    xor %r11d, %r11d
    mov 8(%rdi), %r9
    sub $8, %r9
    jb absent
    mov (%rdi), %r8
    movabs $0xffffffffff000, %r10
    walk_level 4, 36
    walk_down 4, 0
    walk_level 3, 27
    walk_down 3, 1
    walk_level 2, 18
    walk_down 2, 1
    walk_level 1, 9
    xor $8, %rax
    mov (%r8, %rax), %rsi
    mov %rsi, (%rcx)
    walk_end 1
    walk_end 2
    walk_end 3
    walk_end 4

/* Copies; gmem.c has checked the range. A write copy faults at RDI, not RSI: R11 = 2. */
    .globl gmem_copy_in, gmem_copy_out
    .balign 16
gmem_copy_in: /* (to, from the window, bytes) */
    xor %r11d, %r11d
    mov %rdx, %rcx
    shr $3, %rcx
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
    rep movsb
    xor %eax, %eax
    ret
    .balign 16
gmem_copy_out: /* (to the window, from, bytes) */
    mov $2, %r11d
    mov %rdx, %rcx
    shr $3, %rcx
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
    rep movsb
    xor %eax, %eax
    ret

    .balign 16
gmem_landing:
    test %r11d, %r11d
    jz absent
    cmp $2, %r11d
    cmove %rdi, %rsi
    xor %r11d, %r11d
    movb (%rsi), %cl
    mov $GMEM_READONLY, %eax
    ret
absent:
    mov $GMEM_ABSENT, %eax
    ret
gmem_fixup_end:
    .section .note.GNU-stack, "", @progbits
