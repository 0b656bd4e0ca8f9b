/* SPDX-License-Identifier: BSD-2-Clause */
/* Ways into the kernel and out of it. A user thread's registers go straight into its TCB (struct regs): the TSS's stack
 * pointer for entries from user mode, which a system call uses as well, is the end of that structure. The kernel uses
 * neither FS nor GS, so they stay the thread's and nothing is swapped. */
#define TSS_RSP0       (tss + 4)
#define USER_RSP       (cpu)
#define VECTOR_SYSCALL 0x100
#define KERNEL_OFFSET  0xffffffff80000000
#define REGS_BYTES     176
#define GATE_DEBUG_IST (16 + 4) /* in the IDT: the second gate's */
#define IST_DEBUG      4
#define ALL_REGS       rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
#define ALL_BACKWARDS  r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
#define SYSCALL_REGS   rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r12, r13, r14, r15 /* and RAX; RCX and R11 are lost */

/* o_rax ..: offsets from the end of struct regs */
    .set o, -REGS_BYTES
    .irp r, ALL_BACKWARDS, vector, error, rip, cs, rflags, rsp, ss
    .set o_\r, o
    .set o, o + 8
    .endr

    .macro push_general
    .irp r, ALL_REGS
    push %\r
    .endr
    .endm

    .macro pop_general
    .irp r, ALL_BACKWARDS
    pop %\r
    .endr
    .endm

    .text
    .globl syscall_entry
/* RCX and R11 hold RIP and RFLAGS; CS and SS are the same for every thread. */
syscall_entry:
    mov %rsp, USER_RSP
    mov TSS_RSP0, %rsp
    mov %rcx, o_rip(%rsp)
    mov %r11, o_rflags(%rsp)
    mov USER_RSP, %rcx
    mov %rcx, o_rsp(%rsp)
    movq $VECTOR_SYSCALL, o_vector(%rsp)
    .irp r, rax, SYSCALL_REGS
    mov %\r, o_\r(%rsp)
    .endr
    mov $kernel_stack_top, %rsp
    call kernel_syscall
    .globl user_return
user_return: /* RAX = registers to continue with */
    cmpl $VECTOR_SYSCALL, REGS_BYTES + o_vector(%rax)
    jne 1f
    .irp r, SYSCALL_REGS, rsp
    mov REGS_BYTES + o_\r(%rax), %\r
    .endr
    mov REGS_BYTES + o_rip(%rax), %rcx
    mov REGS_BYTES + o_rflags(%rax), %r11
    mov REGS_BYTES + o_rax(%rax), %rax
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
    .elseif \vector == 1
    jmp entry_debug
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

/* Where SYSCALL traps (step_probe) #DB has a stack of its own: what comes from a thread goes to its TCB. Elsewhere it is there already,
 * and is written over itself. */
entry_debug:
    testb $3, 24(%rsp)
    jz entry_kernel
    mov %rax, USER_RSP
    mov TSS_RSP0, %rax
    .irp r, vector, error, rip, cs, rflags, rsp, ss
    pop o_\r(%rax)
    .endr
    lea o_vector(%rax), %rsp
    mov USER_RSP, %rax
    jmp entry_common

/* step_probe: a SYSCALL with TF set. A processor that traps it does so at step_landed, although SYSCALL has masked TF. */
    .globl step_probe, step_landed
step_probe:
    pushfq
    orq $0x100, (%rsp)
    popfq
    syscall
step_landed:
    ret

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

/* svm_run: one world switch. RAX = the VMCB's address, RSI = the general registers in encoding order; RAX and RSP are in
 * the VMCB. RSI and RSP are as before then, all other registers are lost. */
    .globl svm_run
svm_run:
    push %rsi
    clgi
    sti
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
    .globl svm_behind, svm_done
svm_behind: /* until VMLOAD the task register is the guest's: nothing that arrives here may use a stack of the TSS */
    vmsave %rax
    pop %rax
    mov %rcx, 8(%rax)
    mov %rdx, 16(%rax)
    mov %rbx, 24(%rax)
    mov %rbp, 40(%rax)
    mov %rsi, 48(%rax)
    mov %rdi, 56(%rax)
    mov %r8, 64(%rax)
    mov %r9, 72(%rax)
    mov %r10, 80(%rax)
    mov %r11, 88(%rax)
    mov %r12, 96(%rax)
    mov %r13, 104(%rax)
    mov %r14, 112(%rax)
    mov %r15, 120(%rax)
    mov %rax, %rsi
    mov $(svm_host_vmcb - KERNEL_OFFSET), %eax
    vmload %rax
    cli
    stgi
svm_done:
    ret

/* svm_run where #DB has a stack of its own, by the TSS: not while the task register is the guest's. */
    .globl svm_run_steps
svm_run_steps:
    movb $0, idt + GATE_DEBUG_IST
    call svm_run
    movb $IST_DEBUG, idt + GATE_DEBUG_IST
    ret

/* svm_enter: the same for the short path, which does not come back: RAX and RSI as above, the rest of the stack is
 * dropped. What the exit leads to are the registers to continue with. */
    .globl svm_enter
svm_enter:
    mov $kernel_stack_top, %rsp
    call *svm_switch
1:
    mov %rsi, %rdi
    call svm_exited
    jmp user_return

/* svm_not_entered: the exit is there without an entry. */
    .globl svm_not_entered
svm_not_entered:
    mov $kernel_stack_top, %rsp
    jmp 1b

    .bss
    .balign 16
    .skip 16384
    .globl kernel_stack_top
kernel_stack_top:
    .section .note.GNU-stack, "", @progbits
