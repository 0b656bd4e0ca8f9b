/* SPDX-License-Identifier: BSD-2-Clause */
/* A bzImage of an old protocol (2.03) whose setup code runs in real mode and asks the BIOS: the memory map and sizes, keys,
 * ticks; all in hexadecimal, by the BIOS, on the screen. Then it enters its protected-mode part, which says the first word of
 * the initrd and ends itself by the debug-exit port: 7. */
        .code16
image:
        .org 0x1f1
        .byte 2                 /* setup sectors */
        .word 0
        .long (kernel_end - kernel + 15) / 16
        .org 0x1fe
        .word 0xaa55
        jmp short_entry
        .ascii "HdrS"
        .word 0x0203
        .org 0x211
        .byte 1                 /* loaded high */
        .org 0x214
code32: .long 0x100000
ramdisk: .long 0, 0
        .org 0x228
cmdline: .long 0
        .long 0x37ffffff
short_entry:
        jmp entry
        .org 0x290
entry:  mov %cs, %ax            /* this segment begins behind the boot sector: labels lie 200h higher */
        sub $0x20, %ax
        mov %ds, %bx
        cmp %bx, %ax
        jne wrong
        sti
        xor %ebx, %ebx
1:      mov $0xe820, %eax       /* the map: start, bytes, type */
        mov $0x534d4150, %edx
        mov $20, %ecx
        mov $buffer - image, %di
        push %ds
        pop %es
        int $0x15
        jc wrong
        mov buffer - image, %eax
        call hex
        mov buffer - image + 8, %eax
        call hex
        mov buffer - image + 16, %eax
        call hex
        call line
        test %ebx, %ebx
        jnz 1b
        mov $0xe801, %ax        /* KiB below 16 MiB, 64 KiB above, KiB by the old way */
        int $0x15
        push %bx
        movzwl %ax, %eax
        call hex
        pop %ax
        movzwl %ax, %eax
        call hex
        mov $0x88, %ah
        int $0x15
        movzwl %ax, %eax
        call hex
        int $0x12
        movzwl %ax, %eax
        call hex
        call line
        stc                     /* A20, no disk, nothing unknown */
        mov $0x2401, %ax
        int $0x15
        jc wrong
        mov $0x0201, %ax
        int $0x13
        jnc wrong
        mov $0x1234, %ax
        int $0x15
        jnc wrong
        mov $1, %ah             /* no key, then one, looked at and taken */
2:      mov $1, %ah
        int $0x16
        jz 2b
        push %ax
        xor %ah, %ah
        int $0x16
        pop %bx
        cmp %ax, %bx
        jne wrong
        movzwl %ax, %eax
        call hex
        xor %ah, %ah
        int $0x1a
        mov %dx, %bx
3:      hlt                     /* until a tick has been counted */
        xor %ah, %ah
        int $0x1a
        cmp %dx, %bx
        je 3b
        mov cmdline - image, %esi       /* the first byte of the command line */
        shr $4, %esi
        mov %si, %es
        mov %es:0, %al
        call put
        call line
        cli
        lgdtl gdtr - image
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        mov ramdisk - image, %esi
        mov $0x18, %ax
        mov %ax, %ds
        ljmpl $0x10, $0x100000
wrong:  mov $9, %al
        out %al, $0xf4
4:      hlt
        jmp 4b

line:   mov $13, %al
        call put
        mov $10, %al
put:    push %bx
        mov $0x0e, %ah
        mov $7, %bx
        int $0x10
        pop %bx
        ret
hex:    mov $8, %cx             /* eax in eight digits and a space */
5:      rol $4, %eax
        push %eax
        and $15, %al
        cmp $10, %al
        jb 6f
        add $39, %al
6:      add $48, %al
        call put
        pop %eax
        loop 5b
        mov $32, %al
        jmp put
        .balign 8
gdt:    .quad 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   .word 31
        .long 0x10000 + gdt - image
buffer: .fill 20, 1, 0

        .org 0x600
        .code32
kernel: mov $4, %ecx
        mov $0x3f8, %edx
1:      mov (%esi), %al
        out %al, %dx
        inc %esi
        loop 1b
        mov $10, %al
        out %al, %dx
        mov $7, %al
        mov $0xf4, %edx
        out %al, %dx
2:      hlt
        jmp 2b
kernel_end:
        .byte 0                 /* the last paragraph is short */
