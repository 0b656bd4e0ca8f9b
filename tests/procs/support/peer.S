/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers of a few instructions for benchmarks: position independent, without memory, so that they can be copied to a
 * page of another address space. RDI = endpoint or notification | Reply object << 32, RSI = a page of their own. Numbers: umbra/syscall.h. */
#define SYS_REPLY_RECV -2
#define SYS_RECV       -3
#define SYS_YIELD      -8

    .text
    .globl peer_echo, peer_take, peer_fault, peer_wait, peer_yield, peer_spin, peer_end
/* Answers each message with itself. */
peer_echo:
    mov %rdi, %r12
    mov $SYS_RECV, %rax
1:  syscall
    mov %r12, %rdi
    mov $SYS_REPLY_RECV, %rax
    jmp 1b

/* Answers each message with an empty one. */
peer_take:
    mov %rdi, %r12
    mov $SYS_RECV, %rax
1:  syscall
    mov %r12, %rdi
    xor %esi, %esi
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

    .macro write_time
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, (%rbx)
    .endm

/* Writes the time of each signal. */
peer_wait:
    mov %rdi, %r12
    mov %rsi, %rbx
1:  mov %r12, %rdi
    mov $SYS_RECV, %rax
    syscall
    write_time
    jmp 1b

peer_yield:
    mov $SYS_YIELD, %rax
    syscall
    jmp peer_yield

/* Writes the time over and over. */
peer_spin:
    mov %rsi, %rbx
1:  write_time
    jmp 1b
peer_end:
    .section .note.GNU-stack, "", @progbits
