/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: 64-bit code. Addresses that are not canonical, page faults with wide addresses, accesses over the end
 * of a page. `wide TRY vector error CR2`. */

wide:
    mov $M_LONG, %eax
    call set_mode
    mov $1, %eax
    call set_control
    movl $TARGET + P + RW, PTT  /* one page, nothing behind it */
    movl $0, PTT + 4
    movl $0, PTT + 8
    mov %cr3, %eax
    mov %eax, %cr3
    mov %esp, saved_esp
    ljmp $CODE64, $1f
    .code64
1:  xor %ebp, %ebp
2:  movl $3f, landing64
    mov $0x800000000000, %rbx
    movl %ebp, wide_now
    mov $0x5555, %eax
    mov %rax, %cr2
    movslq wide_tries(, %rbp, 4), %rdx
    jmp *%rdx
3:  movl $0, landing64
    pushq $CODE32
    pushq $4f
    lretq
    .code32
4:  call wide_say
    mov wide_now, %ebp
    inc %ebp
    cmp $(wide_tries_end - wide_tries) / 4, %ebp
    je 5f
    ljmp $CODE64, $2b
5:  movl $0, PTT
    xor %eax, %eax
    jmp set_control

wide_say:
    say "wide "
    mov wide_now, %eax
    mov $2, %cl
    call hex
    mov $' ', %al
    call putc
    mov vector, %eax
    call hex
    mov error, %eax
    call hex
    mov $' ', %al
    call putc
    mov cr2 + 4, %eax
    mov $8, %cl
    call hex
    mov cr2, %eax
    call hex
    mov $10, %al
    jmp putc
wide_now: .long 0

    .code64
wide_0:
    mov (%rbx), %al
    int $0x80
wide_1:
    mov %al, (%rbx)
    int $0x80
wide_2:
    mov %rbx, %rbp
    mov %al, (%rbp)
    int $0x80
wide_3:
    lea -0x10(%rbx), %rbp
    mov 0x10(%rbp), %al
    int $0x80
wide_4:
    jmp *%rbx
wide_5:
    mov $0x7fffffff0123, %rbx
    mov (%rbx), %al
    int $0x80
wide_6:
    mov $0xffff800000000456, %rbx
    mov %al, (%rbx)
    int $0x80
wide_7:
    invlpg (%rbx)
    int $0x80
wide_8:
    mov $AT + 0xffe, %ebx
    mov (%rbx), %eax
    int $0x80
wide_9:
    mov %eax, AT + 0xffd
    int $0x80
wide_10:
    mov $AT + 0xff8, %ebx
    mov %rax, (%rbx)
    int $0x80
wide_11:
    mov $0xffffffff80000000, %rbx
    jmp *%rbx
wide_12:
    mov $AT, %ebx
    lock addl $1, (%rbx)
    int $0x80
    .code32
wide_tries:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12
    .long wide_\n
    .endr
wide_tries_end:
