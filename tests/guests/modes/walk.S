/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: modes in many orders, real mode among them;
 * page-directory pointers that memory does not hold any more. */

#define M_REAL 4

/* Every pair of modes is in here. */
order:
    .byte M_32, M_PAE, M_LONG, M_PAE, M_32, M_LONG, M_32, M_NONE, M_PAE, M_NONE, M_LONG, M_NONE, M_32
    .byte M_REAL, M_LONG, M_REAL, M_PAE, M_REAL, M_32, M_REAL, M_NONE, M_REAL, M_REAL, M_LONG, M_LONG
    .byte M_PAE, M_PAE, M_32, M_32, M_NONE, M_NONE, M_32
order_end:

walk:
    say "walk "
    movl $TARGET + P + RW + US, PT32T
    movl $TARGET + P + RW, PTT
    movl $0, PTT + 4
    movl $order, step
1:  mov step, %esi
    movzbl (%esi), %eax
    cmp $M_REAL, %eax
    jne 2f
    call real_trip
    jmp 3f
2:  call set_mode
    add $'0', %al
    call putc
    call look
3:  incl step
    cmpl $order_end, step
    jne 1b
    mov $10, %al
    call putc
    call latched
    xor %eax, %eax
    jmp set_mode
step:  .long 0
count: .long 0

/* What a write and a user's read of the target's page give; unpaged: of the target itself, which must hold what was
 * written last. */
look:
    cmpl $M_NONE, mode
    jne 1f
    mov TARGET + 0x300, %eax
    cmp count, %eax
    mov $'=', %al
    je 2f
    mov $'#', %al
2:  jmp putc
1:  incl count
    mov count, %eax
    mov %eax, AT + 0x300
    mov $1, %eax
    call attempt
    mov $5, %eax

/* One try, said as in the matrix. */
attempt:
    mov $AT, %ebx
attempt_at:
    call try
    mov $'.', %al
    cmpl $OK, vector
    je 1f
    mov $'?', %al
    cmpl $14, vector
    jne 1f
    mov error, %eax
    add $0x40, %al
1:  jmp putc

/* To real mode and back. */
real_trip:
    xor %eax, %eax
    call set_mode
    mov %esp, saved_esp
    mov $DATA16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    ljmp $CODE16, $1f
    .code16
1:  mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $0, $2f
2:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x9000, %ax
    mov %ax, %ss
    mov $0x1000, %sp
    lidt idtr_real
    movw $3f, resume
    movw $3f, expected
    int $0x21
3:  mov $'r', %al
    call real_say
    cmpb $0, tick_wanted
    je 6f
    movw $real_fault, 0x20 * 4
    movw %ds, 0x20 * 4 + 2
    movw $3f, resume
    movw $5f, expected
    tick_arm
    sti
5:  jmp 5b
3:  cli
    tick_over
    mov $'t', %al
    call real_say
6:
    mov $0x4000, %ax            /* memory by another segment */
    mov %ax, %fs
    incw %fs:0x10
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $CODE32, $4f
    .code32
4:  mov $DATA32, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov saved_esp, %esp
    lidt idtr32
    ret
idtr_real:
    .word 0x3ff
    .long 0

/* The pointers are those of the last load: of CR3, or of CR4 with a bit changed that loads them. (TCG reads them at every
 * walk.) */
latched:
    say "latched "
    mov $M_PAE, %eax
    call set_mode
    movl $TARGET + P + RW + PS, PD1 + 8
    movl $0, PD1 + 12
    movl $0, PDPT + 8
    mov $AT + 0x200000, %ebx
    xor %eax, %eax
    call attempt_at             /* still there */
    mov %cr3, %eax
    mov %eax, %cr3
    xor %eax, %eax
    call attempt_at             /* gone */
    movl $PD1 + P, PDPT + 8
    xor %eax, %eax
    call attempt_at             /* still gone */
    mov %cr4, %eax
    xor $0x80, %eax             /* PGE */
    mov %eax, %cr4
    xor %eax, %eax
    call attempt_at             /* there */
    movl $PD1 + P + RW, PDPT + 8 /* reserved */
    mov %esp, saved_esp
    movl $1f, landing
    mov %cr3, %eax
    mov %eax, %cr3
    int $0x80
1:  mov vector, %eax
    mov $2, %cl
    call hex
    xor %eax, %eax
    call attempt_at             /* what was there before */
    movl $PD1 + P, PDPT + 8
    mov %cr3, %eax
    mov %eax, %cr3
    mov $10, %al
    jmp putc
