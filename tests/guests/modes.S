/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* Every paging mode, in one guest that says what it sees on the serial port; bare under QEMU it must say the same
 * (tests/system/test_modes.py knows the few exceptions).
 *
 * Lines: `real ..`; `matrix FORM UPPER LEAF CONTROL ..` with two characters for each of eight accesses (read, write,
 * fetch by the supervisor; read, write with AC set; read, write, fetch by the user): `.` or 40h + error code, `!` behind
 * it if CR2 is wrong, then the leaf's A + 2 * D; `v86 ..`; `wide ..`: 64-bit code; `walk ..`: modes in many orders;
 * `tick ..`: interrupts. */
#include "modes/names.S"

    .code16
    .globl _start
_start:
    jmp real
    .org 4
port:
    .word 0x3f8                 /* where it is said; tests/system/test_modes.py writes another one for bochs */
    .org 510
    .word 0xaa55

/* --- real mode --- */

real:
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x9000, %ax            /* a stack that nobody has touched: the first exception does */
    mov %ax, %ss
    mov $0x1000, %sp
    movw $real_fault, 0 * 4     /* #DE, #UD, #GP, INT 21h */
    movw %ds, 0 * 4 + 2
    movw $real_fault, 6 * 4
    movw %ds, 6 * 4 + 2
    movw $real_fault, 13 * 4
    movw %ds, 13 * 4 + 2
    movw $real_fault, 0x21 * 4
    movw %ds, 0x21 * 4 + 2
    movw $2f, resume
    movw $3f, expected
3:  ud2
2:  mov $'u', %al
    call real_say
    lidt idtr_short
    movw $2f, resume
    movw $3f, expected
3:  int $0x40                   /* beyond the table's limit */
2:  mov $'g', %al
    call real_say
    xor %cx, %cx
    movw $2f, resume
    movw $3f, expected
3:  div %cx
2:  mov $'d', %al
    call real_say
    movw $2f, resume
    movw $2f, expected          /* INT's own: behind it */
    int $0x21
2:  mov $'i', %al
    call real_say
    mov $10, %al
    call putc16
    lgdt gdtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $CODE32, $flat

/* Says the letter and whether the stack held three words, the first of them where we were. */
real_say:
    call putc16
    mov $'+', %al
    cmpw $0xffa, frame          /* SP of the handler */
    jne 1f
    mov saved_ip, %bx
    cmp expected, %bx
    je 2f
1:  mov $'-', %al
2:  call putc16
    ret
real_fault:
    movw %sp, frame
    mov %sp, %bp
    mov (%bp), %ax
    mov %ax, saved_ip
    mov resume, %ax
    mov %ax, (%bp)
    iret
putc16:
    push %dx
    mov port, %dx
    out %al, %dx
    pop %dx
    ret
resume:   .word 0
expected: .word 0
frame:    .word 0
saved_ip: .word 0
idtr_short: .word 0xff
    .long 0

/* --- 32-bit code: flat, in every mode but the last --- */

    .code32
flat:
    mov $DATA32, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov $STACK, %esp
    call build_idts
    call build_tables
    call build_user
    lidt idtr32
    mov $TSS32, %eax
    ltr %ax
    call matrix
    call v86
    call wide
    call walk
    call tick
    mov $'E', %al
    call putc
    mov $10, %al
    call putc
    mov $0x604, %edx
    mov $0x2000, %ax
    out %ax, %dx
    mov $0xf4, %edx             /* bare in QEMU, in bochs */
    out %al, %dx
    mov $shutdown, %esi
    mov $8, %ecx
    mov $0x8900, %edx
    rep outsb
1:  hlt
    jmp 1b
shutdown:
    .ascii "Shutdown"

#include "modes/base.S"
#include "modes/matrix.S"
#include "modes/v86.S"
#include "modes/wide.S"
#include "modes/walk.S"
#include "modes/tick.S"
