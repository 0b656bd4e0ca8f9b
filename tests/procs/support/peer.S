/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers of a few instructions for benchmarks: position independent, without memory, so that they can be copied to a
 * page of another address space. RDI = endpoint | Reply object << 32 at the start. Numbers: umbra/syscall.h. */
#define SYS_REPLY_RECV -2
#define SYS_RECV       -3

    .text
    .globl peer_echo, peer_fault, peer_end
/* Answers each message with itself. */
peer_echo:
    mov %rdi, %r12
    mov $SYS_RECV, %rax
1:  syscall
    mov %r12, %rdi
    mov $SYS_REPLY_RECV, %rax
    jmp 1b

/* Answers each fault: go on two bytes further. */
peer_fault:
    mov %rdi, %r12
    mov $SYS_RECV, %rax
1:  syscall
    mov %r12, %rdi
    add $2, %rdx
    mov $1, %rsi
    mov $SYS_REPLY_RECV, %rax
    jmp 1b
peer_end:
    .section .note.GNU-stack, "", @progbits
