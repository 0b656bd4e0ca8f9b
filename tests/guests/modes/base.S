/* SPDX-License-Identifier: BSD-2-Clause */
/* Part of modes.S: saying things, exceptions, tables, modes, one try of an access. */

putc:
    push %edx
    mov port, %dx
    out %al, %dx
    pop %edx
    ret

/* Text at esi. */
puts:
    lodsb
    test %al, %al
    jz 1f
    call putc
    jmp puts
1:  ret

    .macro say text
    mov $9f, %esi
    call puts
    .section .rodata.modes, "a"
9:  .asciz "\text"
    .text
    .endm

/* eax in cl digits. */
hex:
    push %eax
    push %ecx
    push %ebx
    mov %eax, %ebx
    mov %cl, %ch
    shl $2, %cl
    neg %cl
    add $32, %cl
    shl %cl, %ebx
1:  rol $4, %ebx
    mov %bl, %al
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 2f
    add $39, %al
2:  call putc
    dec %ch
    jnz 1b
    pop %ebx
    pop %ecx
    pop %eax
    ret

/* --- exceptions: written down, then on at *landing with the stack of then --- */

    .macro stub32 vector, error
h32_\vector:
    .if \error
    popl %ss:error
    .else
    movl $0, %ss:error
    .endif
    movl $\vector, %ss:vector
    jmp common32
    .endm
    .irp v, 0,1,2,3,4,5,6,7,9,15,16,18,19,32
    stub32 \v, 0
    .endr
    .irp v, 8,10,11,12,13,14,17
    stub32 \v, 1
    .endr
h32_128:
    movl $0, %ss:error
    movl $OK, %ss:vector
common32:
    popl %ss:from
    popl %ss:from_cs
    popl %ss:from_flags
    mov $DATA32, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %cr2, %eax
    mov %eax, cr2
    mov saved_esp, %esp
    push $2
    popf
    jmp *landing

    .code64
    .macro stub64 vector, error
h64_\vector:
    .if \error
    popq %rax
    movl %eax, error
    .else
    movl $0, error
    .endif
    movl $\vector, vector
    jmp common64
    .endm
    .irp v, 0,1,2,3,4,5,6,7,9,15,16,18,19,32
    stub64 \v, 0
    .endr
    .irp v, 8,10,11,12,13,14,17
    stub64 \v, 1
    .endr
h64_128:
    movl $0, error
    movl $OK, vector
common64:
    popq %rax
    mov %rax, from
    mov $DATA32, %eax
    mov %eax, %ss
    mov %eax, %ds
    mov %eax, %es
    mov %cr2, %rax
    mov %rax, cr2
    mov saved_esp, %esp
    pushq $2
    popfq
    cmpl $0, landing64
    jne 1f
    pushq $CODE32
    mov landing, %eax
    pushq %rax
    lretq
1:  mov landing64, %eax
    jmp *%rax
    .code32

    .balign 8
vector:     .long 0
error:      .long 0
from:       .quad 0
from_cs:    .long 0
from_flags: .long 0
cr2:        .quad 0
saved_esp:  .long 0
landing:    .long 0
landing64:  .long 0             /* not 0: 64-bit code goes on there */
mode:       .long 0
control:    .long 0

handlers32:
    .irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19
    .long h32_\v
    .endr
handlers64:
    .irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19
    .long h64_\v
    .endr

/* A gate to eax with selector and type in edx at edi. */
gate:
    push %eax
    mov %ax, (%edi)
    mov %dx, 2(%edi)
    shr $16, %eax
    mov %ax, 6(%edi)
    shr $16, %edx
    mov %dx, 4(%edi)
    pop %eax
    ret

build_idts:
    mov $idt32, %edi
    mov $2 * 0x81 * 4 + 0x81 * 2, %ecx
    xor %eax, %eax
    rep stosl
    xor %ecx, %ecx
1:  mov handlers32(, %ecx, 4), %eax
    lea idt32(, %ecx, 8), %edi
    mov $0x8e000000 + CODE32, %edx
    call gate
    mov handlers64(, %ecx, 4), %eax
    lea idt64(, %ecx, 8), %edi
    lea (%edi, %ecx, 8), %edi
    mov $0x8e000000 + CODE64, %edx
    call gate
    inc %ecx
    cmp $20, %ecx
    jne 1b
    mov $h32_128, %eax
    mov $idt32 + 0x80 * 8, %edi
    mov $0xee000000 + CODE32, %edx
    call gate
    mov $h64_128, %eax
    mov $idt64 + 0x80 * 16, %edi
    mov $0xee000000 + CODE64, %edx
    jmp gate

/* --- tables --- */

build_tables:
    mov $PD32, %edi
    mov $0x10000 / 4, %ecx
    xor %eax, %eax
    rep stosl
    mov $PT32, %edi             /* 4 MB and 2 MB one to one; the user's page for everybody */
    mov $PT0, %ebx
    mov $P + RW, %eax
    mov $1024, %ecx
1:  stosl
    cmp $513, %ecx
    jb 2f
    mov %eax, (%ebx)
    add $8, %ebx
2:  add $0x1000, %eax
    loop 1b
    orl $US, PT32 + USER / 0x1000 * 4
    orl $US, PT0 + USER / 0x1000 * 8
    movl $PT32 + P + RW + US, PD32
    movl $PT32T + P + RW + US, PD32 + 256 * 4
    movl $PT32U + P + RW + US, PD32 + 576 * 4
    movl $USER + P + US, PT32U
    movl $PD0 + P, PDPT
    movl $PD1 + P, PDPT + 8
    movl $PD2 + P, PDPT + 16
    movl $PT0 + P + RW + US, PD0
    movl $PTT + P + RW + US, PD1
    movl $PTU + P + RW + US, PD2 + 128 * 8
    movl $USER + P + US, PTU
    movl $PDPTL + P + RW + US, PML4
    movl $PD0 + P + RW + US, PDPTL
    movl $PD1 + P + RW + US, PDPTL + 8
    movl $PD2 + P + RW + US, PDPTL + 16
    ret

/* The user's code: what stands at USER_AT + 0, 16, 32. The target: what is fetched there. */
build_user:
    mov $user_code, %esi
    mov $USER, %edi
    mov $user_end - user_code, %ecx
    rep movsb
    movl $0xc3, TARGET + 0x20
    movl $0x80cd, TARGET + 0x10
    ret
user_code:
    mov (%ebx), %eax
    int $0x80
    .org user_code + 16
    mov %eax, (%ebx)
    int $0x80
    .org user_code + 32
    jmp *%ebx
    .org user_code + 48
1:  jmp 1b
user_end:

/* --- modes --- */

/* eax = M_*: through unpaged mode, whatever the present one is. */
set_mode:
    push %ecx
    push %edx
    push %eax
    mov %cr0, %eax
    and $~CR0_PG, %eax
    mov %eax, %cr0
    mov (%esp), %eax
    mov %eax, mode
    mov $CR4_PSE, %edx
    cmp $M_PAE, %eax
    jb 1f
    or $CR4_PAE, %edx
1:  mov %edx, %cr4
    mov $EFER, %ecx
    rdmsr
    and $~LME, %eax
    cmpl $M_LONG, mode
    jne 2f
    or $LME, %eax
2:  wrmsr
    mov mode, %eax
    mov roots(, %eax, 4), %edx
    mov %edx, %cr3
    test %eax, %eax
    jz 3f
    mov %cr0, %edx
    or $CR0_PG, %edx
    mov %edx, %cr0
3:  lidt idtr32
    andb $~2, gdt + TSS32 + 5   /* not busy */
    andb $~2, gdt + TSS64 + 5
    mov $TSS32, %edx
    cmp $M_LONG, %eax
    jne 4f
    lidt idtr64
    mov $TSS64, %edx
4:  ltr %dx
    pop %eax
    pop %edx
    pop %ecx
    ret
roots:
    .long 0, PD32, PDPT, PML4

/* eax = 1 WP, 2 SMEP, 4 SMAP, 8 NXE. */
set_control:
    push %ecx
    push %edx
    push %eax
    mov %eax, control
    mov %cr0, %edx
    and $~CR0_WP, %edx
    test $1, %al
    jz 1f
    or $CR0_WP, %edx
1:  mov %edx, %cr0
    mov %cr4, %edx
    and $~(CR4_SMEP + CR4_SMAP), %edx
    mov %eax, %ecx
    and $6, %ecx
    shl $19, %ecx               /* bits 20, 21 */
    or %ecx, %edx
    mov %edx, %cr4
    mov $EFER, %ecx
    rdmsr
    and $~NXE, %eax
    testb $8, control
    jz 2f
    or $NXE, %eax
2:  wrmsr
    pop %eax
    pop %edx
    pop %ecx
    ret

/* --- one try --- */

/* Access kind eax (0..7 as in the head of modes.S) to the page at ebx: vector, error, cr2 say what came of it; ecx is the
 * address. ebx stays. */
try:
    push %ebx
    push %edi
    push %ebp
    mov %esp, saved_esp
    movl $2f, landing
    mov offsets(, %eax, 4), %ecx
    mov %ecx, offset
    add %ecx, %ebx
    mov %ebx, offset
    jmp *kinds(, %eax, 4)
2:  mov offset, %ecx
    pop %ebp
    pop %edi
    pop %ebx
    ret
try_read_ac:
    push $FLAG_AC + 2
    popf
try_read:
    mov (%ebx), %eax
    int $0x80
try_write_ac:
    push $FLAG_AC + 2
    popf
try_write:
    mov %eax, (%ebx)
    int $0x80
try_exec:
    call *%ebx
    int $0x80
try_user_read:
    mov $USER_AT, %edi
    jmp 1f
try_user_write:
    mov $USER_AT + 16, %edi
    jmp 1f
try_user_exec:
    mov $USER_AT + 32, %edi
1:  mov $2, %edx
enter_user:                     /* at edi with flags edx */
    mov $USERD, %eax
    mov %eax, %ds
    mov %eax, %es
    push $USERD
    push $0
    push %edx
    push $USER32
    push %edi
    iret
kinds:
    .long try_read, try_write, try_exec, try_read_ac, try_write_ac, try_user_read, try_user_write, try_user_exec
offsets:
    .long 0x100, 0x104, 0x20, 0x108, 0x10c, 0x110, 0x114, 0x10
offset: .long 0

/* --- descriptors --- */

    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
    .word tss_end - tss32 - 1, tss32    /* 30h */
    .byte 0, 0x89, 0, 0
    .word 0x67, tss64           /* 38h */
    .byte 0, 0x89, 0, 0
    .quad 0
    .quad 0x00009b000000ffff, 0x000093000000ffff /* 48h, 50h */
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .long gdt
idtr32:
    .word 0x81 * 8 - 1
    .long idt32
idtr64:
    .word 0x81 * 16 - 1
    .long idt64
    .balign 8
tss64:
    .long 0
    .quad TRAP_STACK
    .zero 0x68 - 12
tss32:
    .long 0, TRAP_STACK, DATA32
    .zero 0x66 - 12
    .word 0x68                  /* the I/O permission map: ports to 3ffh, only 3f8h is allowed */
    .fill 0x3f8 / 8, 1, 0xff
    .byte 0xfe
    .byte 0xff
tss_end:
    .set idt32, 0x60000
    .set idt64, 0x60000 + 0x81 * 8
