/* SPDX-License-Identifier: BSD-2-Clause */
/* Ways into the kernel and out of it. A user thread's registers are pushed straight into its TCB (struct regs): the
 * processor's stack for entries from user mode is the end of that structure. Offsets in GS: struct cpu. */
#define CPU_REGS_END   0
#define CPU_USER_RSP   8
#define CPU_KERNEL_RSP 16
#define USER_SS        0x23
#define USER_CS        0x2b
#define VECTOR_SYSCALL 0x100

    .macro push_general
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    .endm

    .text
    .globl syscall_entry
syscall_entry:
    swapgs
    mov %rsp, %gs:CPU_USER_RSP
    mov %gs:CPU_REGS_END, %rsp
    push $USER_SS
    push %gs:CPU_USER_RSP
    push %r11
    push $USER_CS
    push %rcx
    push $0
    push $VECTOR_SYSCALL
    push_general
    mov %gs:CPU_KERNEL_RSP, %rsp
    call kernel_entry
    .globl user_return
user_return: /* RAX = registers to continue with */
    mov %rax, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    cmpl $VECTOR_SYSCALL, (%rsp)
    jne 1f
    mov 16(%rsp), %rcx
    mov 32(%rsp), %r11
    mov 40(%rsp), %rsp
    swapgs
    sysretq
1:  add $16, %rsp
    swapgs
    iretq

/* Exceptions and interrupts: error code, vector, then the common part. */
    .macro stub vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
    nop
    nop
    .else
    push $0
    .endif
    .if \vector < 128
    push $\vector
    .else
    pushq $\vector
    .endif
    .if \vector == 2 || \vector == 8 || \vector == 18 /* on stacks of their own */
    jmp entry_kernel
    .else
    jmp entry_common
    .endif
    .endm

    .balign 16
    .globl entry_stubs
entry_stubs:
    .set i, 0
    .rept 256
    stub i
    .set i, i + 1
    .endr

entry_common:
    testb $3, 24(%rsp)
    jz entry_kernel
    push_general
    swapgs
    mov %gs:CPU_KERNEL_RSP, %rsp
    push $2 /* no AC (it would turn SMAP off), no DF: SYSCALL masks them, an interrupt gate does not */
    popfq
    mov %cr2, %rdi
    call kernel_entry
    jmp user_return

/* In the kernel only interrupts in the places that allow them, and NMIs, are expected. */
entry_kernel:
    push_general
    cld
    mov %rsp, %rdi
    mov %cr2, %rsi
    call kernel_interrupted
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

/* void svm_run(uint64_t vmcb_hpa, uint64_t *gpr, uint64_t host_vmcb_hpa): one world switch. gpr in encoding order;
 * RAX and RSP are in the VMCB. */
    .globl svm_run
svm_run:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdx
    push %rsi
    clgi
    sti
    mov %rdi, %rax
    vmload %rax
    mov 8(%rsi), %rcx
    mov 16(%rsi), %rdx
    mov 24(%rsi), %rbx
    mov 40(%rsi), %rbp
    mov 56(%rsi), %rdi
    mov 64(%rsi), %r8
    mov 72(%rsi), %r9
    mov 80(%rsi), %r10
    mov 88(%rsi), %r11
    mov 96(%rsi), %r12
    mov 104(%rsi), %r13
    mov 112(%rsi), %r14
    mov 120(%rsi), %r15
    mov 48(%rsi), %rsi
    vmrun %rax
    vmsave %rax
    push %rsi
    mov 8(%rsp), %rsi
    mov %rcx, 8(%rsi)
    mov %rdx, 16(%rsi)
    mov %rbx, 24(%rsi)
    mov %rbp, 40(%rsi)
    mov %rdi, 56(%rsi)
    mov %r8, 64(%rsi)
    mov %r9, 72(%rsi)
    mov %r10, 80(%rsi)
    mov %r11, 88(%rsi)
    mov %r12, 96(%rsi)
    mov %r13, 104(%rsi)
    mov %r14, 112(%rsi)
    mov %r15, 120(%rsi)
    pop 48(%rsi)
    add $8, %rsp
    pop %rax
    vmload %rax
    cli
    stgi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .section .note.GNU-stack, "", @progbits
