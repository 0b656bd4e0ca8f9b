/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that makes every kind of exit that a guest can make by itself, over and over, with a clock of 1 kHz that
 * interrupts anywhere. It sums up what it reads and what its handlers count, says the sum on the serial port, and ends by a
 * triple fault. What it says depends on nothing but what its processor and devices do. */
    .code16
#include "exits.inc"
    .set ROUNDS, 2048
    .set BUFFER, 0x9000
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    movw $step, 4               /* #DB */
    movw %ax, 6
    movw $tick, 0x80            /* line 0 at vector 20h */
    movw %ax, 0x82
    mov $init, %si
1:  lodsw                       /* port and value, up to port 0 */
    xchg %ax, %dx
    lodsb
    test %dx, %dx
    jz 2f
    out %al, %dx
    jmp 1b
2:  mov $ROUNDS, %bp
    xor %esi, %esi
round:
    cli
    mov %bp, %ax                /* leaf 0 or 1 */
    and $1, %eax
    cpuid
    add %ebx, %esi
    add %edx, %esi
    mov $0x277, %ecx            /* PAT: its first type changes between 4 and 6 */
    rdmsr
    xor $2, %al
    wrmsr
    rdmsr
    add %eax, %esi
    mov %bp, %ax
    shl $12, %eax
    mov %eax, %cr3
    mov %cr3, %ebx
    add %ebx, %esi
    mov %cr0, %ebx
    mov %ebx, %cr0
    clts
    mov %eax, %dr0
    mov %dr0, %ebx
    add %ebx, %esi
    invlpg (0)
    wbinvd
    mov $0x3ff, %dx             /* the scratch register of the serial port */
    mov %bp, %ax
    out %al, %dx
    mov $BUFFER, %di
    mov $0, %cx
    mov %cx, %es
    mov $9, %cx
    rep insb                    /* emulated, with as many writes to memory */
    add BUFFER + 5, %esi
    mov %di, %es:0x1000
    mov $0xa000, %ax            /* no memory there: all ones */
    mov %ax, %fs
    mov %bp, %fs:0x100
    add %fs:0x100, %esi
    mov $BUFFER, %di
    xor %bx, %bx
    push %ds
    mov %ax, %ds
    push %si
    mov $0x20, %si
    mov $80, %cx                /* in two exits */
    rep movsb                   /* from there to memory */
    pop %si
    pop %ds
    add BUFFER + 20, %esi
    single_step
    sti                         /* a tick may have waited for it: an exit when it can be taken */
    test $7, %bp
    jnz 3f
    hlt
3:  dec %bp
    jnz round
    cli
    say_sum
    step_handler
    tick_handler
init:
    pic_ports 0xfe
    port 0x43, 0x34             /* 1193182 / 1193 */
    port 0x40, 0xa9
    port 0x40, 0x04
    .word 0
    .byte 0
