/* SPDX-License-Identifier: BSD-2-Clause */
/* Ways into the kernel and out of it. A user thread's registers go straight into its TCB (struct regs): the TSS's stack
 * pointer for entries from user mode, which a system call uses as well, is the end of that structure. The kernel uses
 * neither FS nor GS, so they stay the thread's and nothing is swapped. */
#define TSS_RSP0       (tss + 4)
#define USER_RSP       (cpu)
#define VECTOR_SYSCALL 0x100
/* Offsets from the end of struct regs. */
#define R15     -176
#define R14     -168
#define R13     -160
#define R12     -152
#define R10     -136
#define R9      -128
#define R8      -120
#define RDI     -112
#define RSI     -104
#define RBP     -96
#define RBX     -88
#define RDX     -80
#define RAX     -64
#define VECTOR  -56
#define RIP     -40
#define RFLAGS  -24
#define RSP     -16
#define REGS_BYTES 176

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

    .macro pop_general
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
    .endm

    .text
    .globl syscall_entry
/* RCX and R11 hold RIP and RFLAGS; CS and SS are the same for every thread. */
syscall_entry:
    mov %rsp, USER_RSP
    mov TSS_RSP0, %rsp
    mov %rcx, RIP(%rsp)
    mov %r11, RFLAGS(%rsp)
    mov USER_RSP, %rcx
    mov %rcx, RSP(%rsp)
    movq $VECTOR_SYSCALL, VECTOR(%rsp)
    mov %rax, RAX(%rsp)
    mov %rdx, RDX(%rsp)
    mov %rbx, RBX(%rsp)
    mov %rbp, RBP(%rsp)
    mov %rsi, RSI(%rsp)
    mov %rdi, RDI(%rsp)
    mov %r8, R8(%rsp)
    mov %r9, R9(%rsp)
    mov %r10, R10(%rsp)
    mov %r12, R12(%rsp)
    mov %r13, R13(%rsp)
    mov %r14, R14(%rsp)
    mov %r15, R15(%rsp)
    mov $kernel_stack_top, %rsp
    call kernel_syscall
    .globl user_return
user_return: /* RAX = registers to continue with */
    cmpl $VECTOR_SYSCALL, REGS_BYTES + VECTOR(%rax)
    jne 1f
    mov REGS_BYTES + R15(%rax), %r15
    mov REGS_BYTES + R14(%rax), %r14
    mov REGS_BYTES + R13(%rax), %r13
    mov REGS_BYTES + R12(%rax), %r12
    mov REGS_BYTES + R10(%rax), %r10
    mov REGS_BYTES + R9(%rax), %r9
    mov REGS_BYTES + R8(%rax), %r8
    mov REGS_BYTES + RDI(%rax), %rdi
    mov REGS_BYTES + RSI(%rax), %rsi
    mov REGS_BYTES + RBP(%rax), %rbp
    mov REGS_BYTES + RBX(%rax), %rbx
    mov REGS_BYTES + RDX(%rax), %rdx
    mov REGS_BYTES + RIP(%rax), %rcx
    mov REGS_BYTES + RFLAGS(%rax), %r11
    mov REGS_BYTES + RSP(%rax), %rsp
    mov REGS_BYTES + RAX(%rax), %rax
    sysretq
1:  mov %rax, %rsp
    pop_general
    add $16, %rsp
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
entry_stubs: /* exceptions, the lines of the 8259s, the timer, spurious ones (x86.h): no other can happen */
    .set i, 0
    .rept 48
    stub i
    .set i, i + 1
    .endr
    stub 0x40
    stub 0xff

entry_common:
    testb $3, 24(%rsp)
    jz entry_kernel
    push_general
    mov $kernel_stack_top, %rsp
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
    pop_general
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

    .bss
    .balign 16
    .skip 16384
    .globl kernel_stack_top
kernel_stack_top:
    .section .note.GNU-stack, "", @progbits
