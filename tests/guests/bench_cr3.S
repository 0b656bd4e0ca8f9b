/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* A 64-bit guest that measures its loads of CR3: 101 samples each of nothing, a switch between two address spaces, one to
 * the next of ten, at 200000h, 201000h, 202000h. Entered in long mode with the first 4 GB mapped 1:1; its top table, at
 * 30000h, is copied to ten pages from 300000h. */
#define ROUNDS 101
#define TABLES 0x30000
#define ROOTS  0x300000
#define RING   0x310000 /* ten of {CR3, next} */

    .code64
    .macro sample where, what:vararg
    mov $\where, %r8d
    movq $0, (%r8)
    mov $ROUNDS, %r9d
9:  rdtsc
    shl $32, %rdx
    lea (%rax, %rdx), %r10
    \what
    rdtsc
    shl $32, %rdx
    add %rdx, %rax
    sub %r10, %rax
    mov %rax, (%r8)
    add $8, %r8
    dec %r9d
    jnz 9b
    .endm

    .globl _start
_start:
    mov $ROOTS, %r11d
    mov $RING, %ebx
1:  mov $TABLES, %esi
    mov %r11d, %edi
    mov $512, %ecx
    rep movsq
    mov %r11, (%rbx)
    lea 16(%rbx), %rax
    mov %rax, 8(%rbx)
    mov %rax, %rbx
    add $0x1000, %r11d
    cmp $ROOTS + 10 * 0x1000, %r11d
    jne 1b
    movq $RING, RING + 9 * 16 + 8
    mov $0x200000, %r8d /* no first touches while measuring: not of a page, and not of a root */
    mov $RING, %edi
    mov $40, %ecx
2:  mov 8(%rdi), %rdi
    mov (%rdi), %rbx
    mov %rbx, %cr3
    movq $0, (%r8)
    movq $0, 0x1000(%r8)
    movq $0, 0x2000(%r8)
    dec %ecx
    jnz 2b

    sample 0x200000, nop
    mov RING, %rbx
    mov RING + 16, %rsi
    .macro two
    xchg %rbx, %rsi
    mov %rbx, %cr3
    .endm
    sample 0x201000, two
    .macro ten
    mov 8(%rdi), %rdi
    mov (%rdi), %rbx
    mov %rbx, %cr3
    .endm
    sample 0x202000, ten
    cli
    hlt
