/* SPDX-License-Identifier: BSD-2-Clause */
/* From the boot loader (Multiboot 1 or 2, 32-bit protected mode, paging off) to kernel_boot in 64-bit mode.
 * Builds the first page tables: the first GB at 0 (until kernel_boot drops it) and at KERNEL_OFFSET, and the direct
 * map of physical memory at PHYS_BASE with 1 GB pages, or 2 MB pages of the first 4 GB on processors without. */
#define KERNEL_OFFSET 0xffffffff80000000
#define PA(x)         ((x) - KERNEL_OFFSET)
#define MB1_MAGIC     0x1badb002
#define MB1_FLAGS     0x10003
#define MB2_MAGIC     0xe85250d6

    .section .boot, "ax"
    .code32
    .balign 8
mb1_header:
    .long MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)
    .long PA(mb1_header), PA(kernel_start), PA(data_end), PA(kernel_end), PA(boot_start)
    .balign 8
mb2_header:
    .long MB2_MAGIC, 0, mb2_end - mb2_header, -(MB2_MAGIC + 0 + (mb2_end - mb2_header))
    .short 2, 0 /* addresses */
    .long 24, PA(mb2_header), PA(kernel_start), PA(data_end), PA(kernel_end)
    .short 3, 0 /* entry */
    .long 12, PA(boot_start)
    .balign 8
    .short 6, 0 /* modules page aligned */
    .long 8
    .short 0, 0
    .long 8
mb2_end:

    .globl boot_start
boot_start:
    cli
    cld
    mov $PA(boot_stack_top), %esp
    mov %eax, %ebp           /* the loader's magic */
    mov %ebx, PA(boot_info)  /* where its information lies; CPUID changes EBX */

    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode
    mov %edx, %esi

    /* PD of the first GB, 2 MB pages */
    mov $PA(boot_pd), %edi
    mov $0x83, %eax
    mov $512 * 4, %ecx
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $0x200000, %eax
    add $8, %edi
    dec %ecx
    jnz 1b

    movl $PA(boot_pd) + 3, PA(boot_pdpt_low)
    movl $PA(boot_pd) + 3, PA(boot_pdpt_kernel) + 510 * 8
    movl $PA(boot_pdpt_low) + 3, PA(boot_pml4)
    movl $PA(boot_pdpt_phys) + 3, PA(boot_pml4) + 256 * 8
    movl $PA(boot_pdpt_kernel) + 3, PA(boot_pml4) + 511 * 8

    mov $PA(boot_pdpt_phys), %edi
    bt $26, %esi /* 1 GB pages */
    jnc small_pages
    mov $512, %ecx
    mov $0x83, %eax
    xor %edx, %edx
2:  mov %eax, (%edi)
    mov %edx, 4(%edi)
    orl $0x80000000, 4(%edi)
    add $0x40000000, %eax
    adc $0, %edx
    add $8, %edi
    dec %ecx
    jnz 2b
    jmp tables_done
small_pages:
    mov $PA(boot_pd) + 3, %eax
    mov $4, %ecx
3:  mov %eax, (%edi)
    movl $0x80000000, 4(%edi)
    add $0x1000, %eax
    add $8, %edi
    dec %ecx
    jnz 3b
tables_done:

    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax /* SCE LME NXE */
    wrmsr
    mov $0x20, %eax /* PAE */
    mov %eax, %cr4
    mov $PA(boot_pml4), %eax
    mov %eax, %cr3
    mov $0x80010033, %eax /* PG WP NE ET MP PE */
    mov %eax, %cr0
    lgdt PA(boot_gdt_pointer)
    ljmp $8, $PA(long_mode)

no_long_mode:
    mov $PA(no_long_mode_text), %esi
    mov $0x3f8, %dx
4:  lodsb
    test %al, %al
    jz 5f
    outb %al, %dx
    jmp 4b
5:  hlt
    jmp 5b
no_long_mode_text:
    .asciz "umbra: this processor has no 64-bit mode\n"

    .balign 8
boot_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_gdt_pointer:
    .short . - boot_gdt - 1
    .quad PA(boot_gdt)

    .code64
long_mode:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $boot_stack_top, %rsp
    mov %ebp, %edi
    mov boot_info, %esi
    movabs $kernel_boot, %rax
    call *%rax
    ud2

    .bss
    .balign 4096
    .globl boot_pml4, boot_pd, boot_pdpt_kernel
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pdpt_phys: .skip 4096
boot_pdpt_kernel: .skip 4096
boot_pd: .skip 4 * 4096
boot_info: .skip 16
    .globl boot_stack_top
    .skip 16384
boot_stack_top:
    .section .note.GNU-stack, "", @progbits
