/* SPDX-License-Identifier: BSD-2-Clause */
/* A BIOS of one page for kernels that are entered in real mode: what their setup code asks of it, and no more. bios.h
 * says what there is; bios.c writes it to FF00:0000, behind its data. It asks nothing of the VMM but devices.
 *
 * A handler leaves all registers that it does not return. test_bios.c runs it in the emulator. */
        .section .rodata.bios, "a"
        .code16
        .globl bios_image, bios_image_end
#define AT(label) (label - bios_image)

bios_image:
        .word AT(post)
        .word AT(vectors)
        .word AT(data)

data:                           /* struct bios_data in bios.c */
start:  .word 0, 0              /* where the kernel is entered: IP, CS */
start_segment: .word 0
start_sp: .word 0
extended_kib: .word 0           /* INT 15h, AH = 88h */
below_16m_kib: .word 0          /* AX = E801h */
above_16m: .word 0              /* in 64 KiB */
map_bytes: .word 0              /* AX = E820h: 20 bytes an entry */
map:    .fill 160, 1, 0

vectors:                        /* number and offset; all others are `nothing` */
        .word 0x08, AT(tick), 0x10, AT(video), 0x11, AT(equipment), 0x12, AT(memory), 0x13, AT(disk), 0x15, AT(system)
        .word 0x16, AT(keyboard), 0x18, AT(reset), 0x19, AT(reset), 0x1a, AT(clock)
        .word 0x09, AT(eoi), 0x0a, AT(eoi), 0x0b, AT(eoi), 0x0c, AT(eoi), 0x0d, AT(eoi), 0x0e, AT(eoi), 0x0f, AT(eoi)
        .word 0x70, AT(eoi2), 0x71, AT(eoi2), 0x72, AT(eoi2), 0x73, AT(eoi2), 0x74, AT(eoi2), 0x75, AT(eoi2)
        .word 0x76, AT(eoi2), 0x77, AT(eoi2)
        .word 0xffff, AT(nothing)

post:   cli
        cld
        mov $0x11, %al          /* 8259 pair: vectors 08h and 70h; only the timer is open */
        out %al, $0x20
        out %al, $0xa0
        mov $0x08, %al
        out %al, $0x21
        mov $0x70, %al
        out %al, $0xa1
        mov $0x04, %al
        out %al, $0x21
        mov $0x02, %al
        out %al, $0xa1
        mov $0x01, %al
        out %al, $0x21
        out %al, $0xa1
        mov $0xfa, %al
        out %al, $0x21
        mov $0xff, %al
        out %al, $0xa1
        mov $0x36, %al          /* 8254: 18.2 ticks a second */
        out %al, $0x43
        xor %al, %al
        out %al, $0x40
        out %al, $0x40
        mov $0x03, %al          /* serial port: 8 bits, no parity, ready */
        mov $0x3fb, %dx
        out %al, %dx
        inc %dx
        out %al, %dx
        mov %cs:AT(start_segment), %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %fs
        mov %ax, %gs
        mov %ax, %ss
        movzwl %cs:AT(start_sp), %esp
        xor %eax, %eax
        xor %edx, %edx
        ljmp *%cs:AT(start)

nothing: iret

good:   push %bp
        mov %sp, %bp
        andb $0xfe, 6(%bp)      /* the caller's carry flag */
        pop %bp
        iret
unknown: mov $0x86, %ah
bad:    push %bp
        mov %sp, %bp
        orb $1, 6(%bp)
        pop %bp
        iret

system: cmp $0xe820, %ax
        je memory_map
        cmp $0xe801, %ax
        je memory_sizes
        cmp $0x88, %ah
        je memory_above
        cmp $0x24, %ah
        jne unknown
        cmp $3, %al             /* A20 is always on: 0 off, 1 on, 2 what is it, 3 how is it switched */
        ja unknown
        jb 1f
        mov $3, %bx
1:      cmp $2, %al
        jne 2f
        mov $1, %al
2:      xor %ah, %ah
        jmp good

memory_map:
        cmp $0x534d4150, %edx   /* SMAP */
        jne unknown
        cmp $20, %ecx
        jb unknown
        movzwl %cs:AT(map_bytes), %ecx
        sub $20, %ecx
        cmp %ecx, %ebx          /* EBX: how far the caller is; 0 at first */
        ja unknown
        push %si
        push %di
        mov $10, %cx
        lea AT(map)(%bx), %si
        cld
        rep movsw %cs:(%si), %es:(%di)
        pop %di
        pop %si
        add $20, %ebx
        cmp %cs:AT(map_bytes), %bx
        jb 1f
        xor %ebx, %ebx
1:      mov %edx, %eax
        mov $20, %ecx
        jmp good

memory_sizes:
        mov %cs:AT(below_16m_kib), %ax
        mov %cs:AT(above_16m), %bx
        mov %ax, %cx
        mov %bx, %dx
        jmp good

memory_above:
        mov %cs:AT(extended_kib), %ax
        jmp good

disk:   mov $1, %ah
        jmp bad

video:  cmp $0x0e, %ah
        je teletype
        cmp $0x03, %ah
        je cursor
        cmp $0x0f, %ah
        jne nothing
        mov $0x5003, %ax        /* 80 columns, mode 3 */
        xor %bh, %bh
        iret
cursor: mov $0x0607, %cx
        xor %dx, %dx
        iret
teletype:
        push %dx
        push %ax
        mov $0x3fd, %dx
1:      in %dx, %al
        test $0x20, %al
        jz 1b
        pop %ax
        mov $0x3f8, %dx
        out %al, %dx
        pop %dx
        iret

/* AX: the key that waits in the BIOS's data, or one from the serial port; 0 none. DS is the BIOS's data. */
key:    mov 0x1e, %ax
        test %ax, %ax
        jnz 2f
        push %dx
        mov $0x3fd, %dx
        in %dx, %al
        test $1, %al
        mov $0, %ax
        jz 1f
        mov $0x3f8, %dx
        in %dx, %al
        cmp $13, %al
        jne 1f
        mov $0x1c, %ah
1:      mov %ax, 0x1e
        pop %dx
        test %ax, %ax
2:      ret

keyboard:
        push %ds
        push $0x40
        pop %ds
        test $0xee, %ah         /* 00h, 10h take; 01h, 11h look; 02h, 12h which shift keys are down */
        jz 1f
        and $0x0f, %ah
        cmp $2, %ah
        jne 4f
        xor %ax, %ax
        jmp 4f
1:      test $1, %ah
        jnz 5f
2:      call key
        jnz 3f
        sti
        hlt                     /* until the next tick */
        jmp 2b
3:      movw $0, 0x1e
4:      pop %ds
        iret
5:      call key
        push %bp
        mov %sp, %bp
        orb $0x40, 8(%bp)       /* the caller's zero flag: no key */
        test %ax, %ax
        jz 6f
        andb $0xbf, 8(%bp)
6:      pop %bp
        jmp 4b

equipment:
        push %ds
        push $0x40
        pop %ds
        mov 0x10, %ax
        pop %ds
        iret
memory: push %ds
        push $0x40
        pop %ds
        mov 0x13, %ax
        pop %ds
        iret

clock:  test %ah, %ah
        jnz unknown
        push %ds
        push $0x40
        pop %ds
        mov 0x6c, %dx
        mov 0x6e, %cx
        pop %ds
        xor %al, %al
        jmp good

tick:   push %ds
        push %eax
        push $0x40
        pop %ds
        mov 0x6c, %eax
        inc %eax
        cmp $0x1800b0, %eax     /* a day */
        jb 1f
        xor %eax, %eax
1:      mov %eax, 0x6c
        int $0x1c
        pop %eax
        pop %ds
eoi:    push %ax
        mov $0x20, %al
        out %al, $0x20
        pop %ax
        iret
eoi2:   push %ax
        mov $0x20, %al
        out %al, $0xa0
        out %al, $0x20
        pop %ax
        iret

reset:  mov $0xcf9, %dx
        mov $6, %al
        out %al, %dx
1:      hlt
        jmp 1b

        .org AT(bios_image) + 0xff0, 0
        ljmp $0xff00, $AT(reset)
        .org 0xffe, 0
        .byte 0xfc, 0           /* an AT */
bios_image_end:
        .section .note.GNU-stack, "", @progbits
