/* SPDX-License-Identifier: BSD-2-Clause */
/* First instructions of every program that is linked with musl, and the handler of its Linux system calls.
 * Programs are linked with `-e umbra_start`; musl's own _start runs behind it as on Linux. */
#define RED_ZONE    128
#define FXSAVE      512
#define START_BYTES 1024

    .text
    .globl umbra_start
umbra_start: /* RSP at the top of the stack; the block that Linux programs find there is made below it */
    xor %ebp, %ebp
    and $-16, %rsp
    sub $START_BYTES, %rsp
    mov %rsp, %rdi
    mov $START_BYTES, %esi
    call libc_prepare
    jmp _start

/* The kernel continues here when the thread makes a Linux system call: RCX = return address, R11 = flags, all else
 * as the caller left it. Only RAX, RCX and R11 may change, SSE registers included. */
    .globl libc_call_entry
libc_call_entry:
    lea -RED_ZONE(%rsp), %rsp
    push %rbp
    push %rcx
    push %r11
    push %r9
    push %r8
    push %r10
    push %rdx
    push %rsi
    push %rdi
    mov %rsp, %rbp
    mov %rax, %rdi
    mov %rsp, %rsi
    sub $FXSAVE, %rsp
    and $-16, %rsp
    fxsave64 (%rsp)
    cld
    call libc_linux_call
    fxrstor64 (%rsp)
    mov %rbp, %rsp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    pop %r11
    pop %rcx
    push %r11
    popfq
    pop %rbp
    lea RED_ZONE(%rsp), %rsp
    jmp *%rcx
    .section .note.GNU-stack, "", @progbits
