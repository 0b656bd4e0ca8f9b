/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: virtual-8086 mode under 32-bit and PAE paging, with IOPL 0 and 3. A line each: `v86 MODE IOPL TRY
 * vector error IP`, and the address of a page fault. */

#define V86_CODE 0x100          /* in the user's page */

    .code16
v86_code:
v86_0:
    cli
    int $0x80
v86_1:
    pushf
    int $0x80
v86_2:
    hlt
    int $0x80
v86_3:
    mov $0x3f8, %dx
    mov $'v', %al
    out %al, %dx
    int $0x80
v86_4:
    out %al, $0x80
    int $0x80
v86_5:
    mov 0x1000, %al             /* the supervisor's */
    int $0x80
v86_6:
    mov %al, 0x1234
    int $0x80
v86_7:
    mov %cr0, %eax
    int $0x80
v86_8:
    mov $0xffff, %ax
    mov %ax, %es
    mov %es:0x10, %al           /* 1 MB */
    int $0x80
v86_9:
    xor %eax, %eax
    cpuid
    int $0x80
v86_10:
    pushf
    push %cs
    push $V86_CODE + 1f - v86_code
    iret
1:  int $0x80
v86_11:
    int $0x21                   /* no gate */
v86_12:
    xor %cx, %cx
    div %cx
v86_13:
    ud2
v86_14:
    wbinvd
    int $0x80
v86_15:
    mov $0x3f8, %dx
    mov $V86_CODE + v86_text - v86_code, %si
    mov $3, %cx
    cld
    rep outsb
    int $0x80
v86_16:
    push %ax                    /* its stack at the end of the user's page, and below 64K: it wraps */
    popf
    int $0x80
v86_text:
    .ascii "s3s"
v86_end:
    .code32
v86_tries:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
    .word V86_CODE + v86_\n - v86_code
    .endr
v86_tries_end:

v86:
    mov $v86_code, %esi
    mov $USER + V86_CODE, %edi
    mov $v86_end - v86_code, %ecx
    rep movsb
    mov $M_32, %eax
1:  call set_mode
    xor %ebx, %ebx              /* IOPL */
2:  xor %edi, %edi
3:  call v86_try
    inc %edi
    cmp $(v86_tries_end - v86_tries) / 2, %edi
    jne 3b
    add $0x3000, %ebx
    cmp $0x3000, %ebx
    je 2b
    inc %eax
    cmp $M_PAE, %eax
    je 1b
    ret

v86_try:
    pusha
    say "v86 "
    mov mode, %eax
    mov $1, %cl
    call hex
    mov %ebx, %eax
    shr $12, %eax
    call hex
    mov $' ', %al
    call putc
    mov %edi, %eax
    mov $2, %cl
    call hex
    mov $' ', %al
    call putc
    mov %esp, saved_esp
    movl $1f, landing
    mov $USER / 16, %edx
    push %edx                   /* GS FS DS ES SS ESP EFLAGS CS EIP */
    push %edx
    push %edx
    push %edx
    push %edx
    push $0xf00
    lea FLAG_VM + 2(%ebx), %eax
    push %eax
    push %edx
    movzwl v86_tries(, %edi, 2), %eax
    push %eax
    xor %eax, %eax
    iret
1:  mov $' ', %al
    call putc
    mov vector, %eax
    mov $2, %cl
    call hex
    mov error, %eax
    mov $4, %cl
    call hex
    mov $' ', %al
    call putc
    mov from, %eax
    call hex
    mov from_flags, %eax        /* VM and IOPL */
    shr $12, %eax
    call hex
    cmpl $14, vector
    jne 2f
    mov $' ', %al
    call putc
    mov cr2, %eax
    mov $8, %cl
    call hex
2:  mov $10, %al
    call putc
    popa
    ret
