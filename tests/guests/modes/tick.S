/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: an interrupt of the timer in every mode: the supervisor's, the user's, V86, real mode. `tick MODE ..`
 * with a vector each. */

tick:
    xor %eax, %eax
    call set_mode
    movl $0x1ff, 0xfee000f0     /* the local APIC lets the controller's line through, as firmware has it */
    movl $0x8700, 0xfee00350
    mov $0x11, %al              /* the interrupt controller: vectors from 20h, all masked */
    out %al, $0x20
    mov $TIMER, %al
    out %al, $0x21
    mov $4, %al
    out %al, $0x21
    mov $1, %al
    out %al, $0x21
    mov $0xff, %al
    out %al, $0x21
    mov $h32_32, %eax
    mov $idt32 + TIMER * 8, %edi
    mov $0x8e000000 + CODE32, %edx
    call gate
    mov $h64_32, %eax
    mov $idt64 + TIMER * 16, %edi
    mov $0x8e000000 + CODE64, %edx
    call gate
    xor %eax, %eax
1:  call set_mode
    call tick_mode
    inc %eax
    cmp $M_LONG + 1, %eax
    jne 1b
    xor %eax, %eax
    call set_mode
    jmp tick_real

tick_mode:
    pusha
    say "tick "
    mov mode, %eax
    mov $1, %cl
    call hex
    mov %esp, saved_esp
    movl $2f, landing
    tick_arm
    sti
1:  jmp 1b
2:  call tick_said
    cmpl $M_NONE, mode
    je 5f
    movl $3f, landing
    tick_arm
    mov $USER_AT + 48, %edi
    mov $FLAG_IF + 2, %edx
    jmp enter_user
3:  call tick_said
    cmpl $M_LONG, mode
    je 5f
    movl $4f, landing
    tick_arm
    mov $USER / 16, %edx
    push %edx
    push %edx
    push %edx
    push %edx
    push %edx
    push $0xf00
    push $FLAG_VM + FLAG_IF + 2
    push %edx
    push $48                    /* the user's code again */
    iret
4:  call tick_said
    mov from_flags, %eax        /* VM */
    shr $17, %eax
    and $1, %al
    mov $1, %cl
    call hex
5:  mov $10, %al
    call putc
    popa
    ret

tick_said:
    tick_over
    mov $' ', %al
    call putc
    mov vector, %eax
    mov $2, %cl
    jmp hex

tick_real:
    say "tick "
    movl $1, tick_wanted
    call real_trip
    movl $0, tick_wanted
    mov $10, %al
    jmp putc
tick_wanted: .long 0
