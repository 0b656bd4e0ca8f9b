/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* A 64-bit guest that measures its own exits: 101 samples each of nothing, CPUID, OUT, first read of a page, at 200000h,
 * 201000h, 202000h, 203000h. Entered in long mode with the first 4 GB mapped 1:1 by 2 MB pages; tables at 30000h. */
#define ROUNDS  101
#define TABLES  0x30000
#define PD1     (TABLES + 0x3000) /* of the second GB */
#define PT      0x301000

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
    mov $0x200000, %edi /* no first touches while measuring */
    mov $4, %ecx
1:  movq $0, (%rdi)
    add $0x1000, %rdi
    loop 1b

    sample 0x200000, nop
    xor %eax, %eax
    sample 0x201000, cpuid
    sample 0x202000, out %al, $0x80

    /* 512 pages of the second GB on 4 MB.., present, writable, never accessed */
    mov $PT, %edi
    mov $0x400003, %eax
    mov $512, %ecx
2:  mov %rax, (%rdi)
    add $0x1000, %rax
    add $8, %rdi
    loop 2b
    movq $PT + 3, PD1
    mov %cr3, %rax
    mov %rax, %cr3
    mov $0x40000000, %esi
    mov (%rsi), %rcx /* the table itself */
    .macro touch
    add $0x1000, %rsi
    mov (%rsi), %rcx
    .endm
    sample 0x203000, touch
    cli
    hlt
