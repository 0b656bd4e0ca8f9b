/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: each form of a page, each kind of entry above it, each leaf, each control bit, each access. */

/* A form: mode, address, leaf entry, the entry above (0 none), frame with PS, name. */
#define FORM_BYTES 24
forms:
    .long M_32, AT, PT32T, PD32 + 256 * 4, TARGET
    .ascii "32/4"
    .long M_32, AT, PD32 + 256 * 4, 0, TARGET + PS
    .ascii "32/L"
    .long M_PAE, AT, PTT, PD1, TARGET
    .ascii "pa/4"
    .long M_PAE, AT, PD1, 0, TARGET + PS
    .ascii "pa/L"
    .long M_LONG, AT, PTT, PD1, TARGET
    .ascii "lo/4"
    .long M_LONG, AT, PD1, PDPTL + 8, TARGET + PS
    .ascii "lo/L"
    .long M_LONG, AT + TARGET, PDPTL + 8, 0, PS
    .ascii "lo/G"
forms_end:

/* Low byte as in an entry; bit 14: a reserved bit, 15: NX. */
leaves:
    .word 0, P, P + RW, P + US, P + RW + US, P + RW + US + G, 0x8000 + P + RW, 0x8000 + P + RW + US, 0x4000 + P + RW + US
leaves_end:
uppers:
    .byte RW + US + P, US + P, RW + P, 0
uppers_end:

form:  .long 0
upper: .long 0
leaf:  .long 0

matrix:
    movl $forms, form
1:  mov form, %edi
    mov (%edi), %eax
    call set_mode
    movl $0, upper
2:  call each_leaf
    mov form, %edi
    cmpl $0, 12(%edi)
    je 3f
    incl upper
    cmpl $uppers_end - uppers, upper
    jne 2b
    call set_upper              /* as it was */
3:  mov form, %edi
    mov 8(%edi), %ebx
    cmpl $0, 12(%edi)
    jne 4f
    call restore
4:  addl $FORM_BYTES, form
    cmpl $forms_end, form
    jne 1b
    ret

/* The large page's place gets its table back. */
restore:
    movl $PT32T + P + RW + US, PD32 + 256 * 4
    movl $PTT + P + RW + US, PD1
    movl $0, PD1 + 4
    movl $PD1 + P + RW + US, PDPTL + 8
    movl $0, PDPTL + 12
    mov %cr3, %eax
    mov %eax, %cr3
    ret

/* The entry above: only its rights change. */
set_upper:
    mov form, %edi
    mov 12(%edi), %ebx
    test %ebx, %ebx
    jz 1f
    mov upper, %eax
    cmp $uppers_end - uppers, %eax
    jb 2f
    xor %eax, %eax
2:  movzbl uppers(%eax), %eax
    mov (%ebx), %ecx
    and $~(7 + A), %ecx
    or %eax, %ecx
    mov %ecx, (%ebx)
1:  ret

each_leaf:
    call set_upper
    movl $leaves, leaf
1:  xor %eax, %eax
2:  push %eax
    cmpl $M_32, mode            /* NXE: it has nothing to change */
    jne 3f
    test $8, %al
    jnz 4f
3:  call set_control
    call line
    xor %eax, %eax
    call set_control
4:  pop %eax
    inc %eax
    cmp $16, %eax
    jne 2b
    addl $2, leaf
    cmpl $leaves + 2, leaf
    jne 5f
    cmpl $uppers_end - uppers - 1, upper
    je 6f                       /* with nothing above the leaf does not matter */
5:  cmpl $leaves_end, leaf
    jne 1b
6:  ret

/* Eight tries. */
line:
    say "matrix "
    mov form, %edi
    mov 20(%edi), %eax
    mov $4, %cl
5:  call putc
    shr $8, %eax
    dec %cl
    jnz 5b
    mov $' ', %al
    call putc
    mov upper, %eax
    mov $1, %cl
    call hex
    mov leaf, %ebx
    movzwl (%ebx), %eax
    mov $4, %cl
    call hex
    mov control, %eax
    mov $1, %cl
    call hex
    mov $' ', %al
    call putc
    xor %eax, %eax
1:  push %eax
    call set_leaf
    mov form, %edi
    mov 4(%edi), %ebx
    mov (%esp), %eax
    call try
    mov $'.', %al
    cmpl $OK, vector
    je 2f
    mov $'?', %al
    cmpl $14, vector
    jne 2f
    mov error, %eax
    add $0x40, %al
2:  call putc
    cmpl $14, vector
    jne 3f
    cmp %ecx, cr2
    je 3f
    mov $'!', %al
    call putc
3:  mov form, %edi
    mov 8(%edi), %ebx
    mov (%ebx), %eax
    shr $5, %eax
    and $3, %al
    add $'0', %al
    call putc
    pop %eax
    inc %eax
    cmp $8, %eax
    jne 1b
    mov $10, %al
    jmp putc

/* The leaf as new, A and D clear; the high half first while it is not present. */
set_leaf:
    mov form, %edi
    mov 8(%edi), %ebx
    mov leaf, %eax
    movzwl (%eax), %eax
    xor %ecx, %ecx
    cmpl $M_32, mode
    je 1f
    movl $0, (%ebx)
    test $0x8000, %eax
    jz 2f
    or $0x80000000, %ecx
2:  test $0x4000, %eax
    jz 3f
    or $0x80000, %ecx           /* bit 51 */
3:  mov %ecx, 4(%ebx)
1:  mov %eax, %ecx
    and $0x1ff, %eax
    or 16(%edi), %eax
    cmpl $M_32, mode
    jne 4f
    test $0x4000, %ecx
    jz 4f
    testl $PS, 16(%edi)
    jz 4f
    or $1 << 21, %eax
4:  mov %eax, (%ebx)
    mov %cr3, %eax
    mov %eax, %cr3
    ret
