/* SPDX-License-Identifier: BSD-2-Clause */
/* For 64-bit guests that measure themselves: row NUMBER's samples stand at SAMPLES + NUMBER pages, each the
 * ticks between two readings of the time-stamp counter around what is measured. What the readings themselves
 * cost is row 0. Before and after each sample an OUT tells the VMM, which counts crossings in between
 * (tests/procs/core/measure.c); one more, of which nobody makes anything, so that the sample begins after an
 * ordinary exit. R8 to R10 belong to the macros. */
#ifndef GUEST_MEASURE_H
#define GUEST_MEASURE_H

#define SAMPLES    0x200000
#define PORT_BEGIN 0xe9
#define PORT_END   0xea
#define PORT_READY 0xeb

#ifdef __ASSEMBLER__
#define CR0_WP   0x10000
#define MSR_EFER 0xc0000080
#define EFER_NXE 0x800

    .macro nothing
    .endm

    .macro measure number, rounds, what, before=nothing
    mov $SAMPLES + 0x1000 * \number, %r8d
    mov $\rounds, %r9d
9:  \before
    mov $\number, %al
    out %al, $PORT_BEGIN
    out %al, $PORT_READY
    rdtsc
row_\number\()_begin:
    shl $32, %rdx
    lea (%rax, %rdx), %r10
    \what
    rdtsc
row_\number\()_end:
    shl $32, %rdx
    add %rdx, %rax
    sub %r10, %rax
    mov %rax, (%r8)
    add $8, %r8
    mov $\number, %al
    out %al, $PORT_END
    dec %r9d
    jnz 9b
    .endm

    /* Write to each page once, so that nothing is touched first while measuring. */
    .macro use_pages from, count
    mov $\from, %edi
    mov $\count, %ecx
1:  movq $0, (%rdi)
    add $0x1000, %rdi
    dec %ecx
    jnz 1b
    .endm

    /* As kernels run: CR0.WP, EFER.NXE. Row 0. */
    .macro measure_begin
    mov %cr0, %rax
    or $CR0_WP, %eax
    mov %rax, %cr0
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_NXE, %eax
    wrmsr
    use_pages SAMPLES, 32
    measure 0, 101, nothing
    .endm
#endif

#endif
