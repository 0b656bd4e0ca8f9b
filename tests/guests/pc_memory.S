/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x7c00 */
/* A boot sector that looks at what a PC has in memory besides RAM, and says on the serial port what it saw:
 *   ROM word, the same after a write to it, a word of the hole for video memory; the local APIC's version, the I/O
 *   APIC's; then N for an NMI sent to itself, S for an interrupt, T for one of the APIC's timer; then it powers off. */
    .code16
    cli
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $0xf000, %ax
    mov %ax, %ds
    mov 0x1230, %ax
    call word
    movw $0x4321, 0x1230
    mov 0x1230, %ax
    call word
    mov $0xa000, %ax
    mov %ax, %ds
    mov 0x10, %ax
    call word
    xor %ax, %ax
    mov %ax, %ds
    lgdt gdtr
    lidt idtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $flat
word:
    call byte
byte:                           /* of ax: the high one, then swapped */
    xchg %al, %ah
    push %ax
    shr $4, %al
    call digit
    pop %ax
    push %ax
    call digit
    pop %ax
    ret
digit:
    and $15, %al
    add $48, %al
    cmp $58, %al
    jb 1f
    add $39, %al
1:  mov $0x3f8, %dx
    out %al, %dx
    ret

    .code32
flat:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %esp
    mov $0xfee00000, %ebx
    mov 0x30(%ebx), %al         /* 10h: say it as a letter of its own */
    add $0x31, %al              /* A */
    call say
    movl $1, 0xfec00000
    mov 0xfec00010, %al         /* 11h */
    add $0x31, %al              /* B */
    call say
    mov $0x600 + 2 * 8, %edi
    mov $nmi, %eax
    call gate
    movl $0x400, 0x300(%ebx)
    mov $0x600 + 0x40 * 8, %edi
    mov $ipi, %eax
    call gate
    mov $timer, %eax
    call gate
    sti
    movl $0x40040, 0x300(%ebx)
    nop
    cli                         /* the timer may be faster than this gets to hlt */
    movl $0x41, 0x320(%ebx)
    movl $0xb, 0x3e0(%ebx)
    movl $100000, 0x380(%ebx)
    sti
    hlt
    mov $10, %al
    call say
    mov $0x604, %edx
    mov $0x2000, %ax
    out %ax, %dx
    hlt
gate:                           /* an interrupt gate to eax at edi */
    mov %ax, (%edi)
    movw $8, 2(%edi)
    movw $0x8e00, 4(%edi)
    shr $16, %eax
    mov %ax, 6(%edi)
    add $8, %edi
    ret
nmi:
    mov $'N', %al
    call say
    iret
ipi:
    mov $'S', %al
    jmp handled
timer:
    mov $'T', %al
handled:
    call say
    movl $0, 0xb0(%ebx)
    iret
say:
    mov $0x3f8, %edx
    out %al, %dx
    ret

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
    .word 23
    .long gdt
idtr:
    .word 0x3ff
    .long 0x600
