/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that makes each kind of exit at the moment at which clocks expire, so that one exit brings all of their
 * changes: the local APIC's timer has the deadline, the PIT and the CMOS clock come along. At which instruction that is, is
 * tried out: STEPS rounds, each STEP ticks later than the one before. It waits with interrupts off. What it says on the
 * serial port is what its processor does, and how many interrupts came: one a timer, one each that it sends itself. */
    .code16
#include "exits.inc"
    .set WAIT, 125000           /* ticks of the APIC's timer; the CMOS clock's period is 122070 */
    .set EARLY, -64             /* of the first round: after what the program knows */
    .set STEP, 8
    .set STEPS, 26
    .set APIC, 0xfee00000
    .set TIMER, 0x30
    .set SENT, 0x31
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $0xa000, %bx            /* no memory there */
    mov %bx, %fs
    movw $step, 4               /* #DB */
    movw %ax, 6
    movw $tick, 0x20 * 4
    movw %ax, 0x20 * 4 + 2
    movw $timer, TIMER * 4
    movw %ax, TIMER * 4 + 2
    movw $sent, SENT * 4
    movw %ax, SENT * 4 + 2
    mov $init, %si
1:  lodsw                       /* port and value */
    xchg %ax, %dx
    lodsb
    out %al, %dx
    cmp $init_end, %si
    jne 1b
    lgdt flat                   /* GS reaches everything from now on */
    mov %cr0, %eax
    inc %ax
    mov %eax, %cr0
    mov $8, %bx
    mov %bx, %gs
    dec %ax
    mov %eax, %cr0
    mov $APIC, %edi
    movl $0xb, %gs:0x3e0(%edi)  /* a tick is one of the time-stamp counter's */
    movl $TIMER, %gs:0x320(%edi)
    xor %esi, %esi
    mov $STEPS, %bp
round:
    xor %bx, %bx
each:
    mov $0xc, %al               /* its flags rise anew */
    out %al, $0x70
    in $0x71, %al
    movb $0, fired
    cmpw $strike_window, strikes(%bx)
    jne 2f
    movl $0x40000 + SENT, %gs:0x300(%edi)
2:  movzwl %bp, %ecx
    imul $-STEP, %ecx
    add $EARLY + WAIT + STEP * STEPS, %ecx
    rdtsc
    movl $WAIT, %gs:0x380(%edi)
    add %eax, %ecx
3:  rdtsc                       /* half of what is left, over and over: reading the counter is slow in an emulator */
    sub %ecx, %eax
    jns 5f
    neg %eax
    shr $2, %eax
    jz 3b
4:  dec %eax
    jnz 4b
    jmp 3b
5:  push %bx
    call *strikes(%bx)
    pop %bx
4:  sti                         /* till the timer has come */
    nop
    cmpb $0, fired
    je 4b
    mov $0xfe, %al              /* and the PIT has been heard, so that its line rises anew, too */
    out %al, $0x21
    mov $0xff, %al
    out %al, $0x21
    cli
    add $2, %bx
    cmp $STRIKES, %bx
    jb each
    dec %bp
    jnz round
    say_sum
strikes:
    .word strike_hlt, strike_window, strike_cpuid, strike_cr, strike_dr, strike_invlpg, strike_msr, strike_io
    .word strike_instruction, strike_page, strike_exception, strike_event
    .set STRIKES, . - strikes
strike_hlt:
    sti
    hlt
    ret
strike_window:
    sti
    nop
    ret
strike_cpuid:
    cpuid
    ret
strike_cr:
    mov %cr0, %eax
    ret
strike_dr:
    mov %eax, %dr0
    ret
strike_invlpg:
    invlpg (0)
    ret
strike_msr:
    mov $0x277, %ecx
    rdmsr
    ret
strike_io:
    mov $0x3ff, %dx             /* the scratch register of the serial port */
    out %al, %dx
    ret
strike_instruction:
    wbinvd
    ret
strike_page:
    mov %fs:0x100, %al
    ret
strike_exception:               /* single step: one trap after the next instruction */
    single_step
    ret
strike_event:                   /* a clock's own, and it can be taken */
    sti
    ret
    step_handler
timer:
    movb $1, fired
sent:
    inc %esi
    movl $0, %gs:0xb0(%edi)
    iret
    tick_handler
descriptors:
    .quad 0
    .quad 0x00cf92000000ffff
flat:
    .word . - descriptors - 1
    .long descriptors
fired:
    .byte 0
init:
    pic_ports 0xff              /* so the PIT has no deadlines */
    port 0x43, 0x34
    port 0x40, 60               /* 20 kHz */
    port 0x40, 0
    port 0x70, 0xa
    port 0x71, 0x23             /* 8192 Hz */
init_end:
