/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x100000 */
/* A 64-bit guest that measures what its memory management costs (measure.inc); docs/evaluation.md says what each row does.
 * Entered in long mode with the first 4 GB mapped 1:1 by 2 MB pages. Its tables are pages of its own from 4 MB on, seen
 * through that mapping; what they map is memory from 16 MB on, seen from 1 GB on (REGION: 2 MB each, behind one table)
 * or, in the address space that is built and destroyed, from 512 GB on. A table's entries: PRESENT is present, writable,
 * never used; USED has A and D as well; COPIED is read-only with A and D, as after a fork. */
#include "measure.inc"

#define PML4       0x30000
#define PD1        0x33000 /* of the second GB */
#define IDT        0x230000
#define TABLE(n)   (0x400000 + (n) * 0x1000)
#define REGION(n)  (0x40000000 + (n) * 0x200000)
#define PRESENT    0x3
#define USED       0x63
#define USED_TABLE 0x23
#define COPIED     0x61

/* first TABLE and REGION of each row, and the memory behind it */
#define SEQ        0
#define SEQ_MEM    0x1000000
#define ONE        16
#define ONE_MEM    0x2800000
#define NEW        32
#define NEW_MEM    0x2a00000
#define MAP        160
#define MAP_MEM    0x2c00000
#define DEMAND     161
#define DEMAND_MEM 0x2e00000
#define DIRTY      162
#define DIRTY_MEM  0x3000000
#define FORK       163
#define FORK_MEM   0x3200000
#define COW        164
#define COW_MEM    0x3400000
#define COPY_MEM   0x3600000
#define ROOTS      200 /* ten */
#define SPACE      220 /* PML4, PDPT, PD, two last ones */
#define SPACE_MEM  0x3800000
#define SPACE_AT   0x8000000000

    .code64

    /* count entries from the table on: value, and a page more each */
    .macro entries table, value, count
    mov $\table, %edi
    mov $\value, %eax
    mov $\count, %ecx
1:  mov %rax, (%rdi)
    add $0x1000, %rax
    add $8, %rdi
    dec %ecx
    jnz 1b
    .endm
    .macro link region, table, bits=PRESENT
    movq $\table + \bits, PD1 + 8 * (\region)
    .endm
    .macro flush
    mov %cr3, %rax
    mov %rax, %cr3
    .endm
    .macro touch_pages from, count
    mov $\from, %esi
    mov $\count, %ecx
1:  mov (%rsi), %rax
    add $0x1000, %rsi
    dec %ecx
    jnz 1b
    .endm
    .macro write_pages from, count
    mov $\from, %esi
    mov $\count, %ecx
1:  movq $1, (%rsi)
    add $0x1000, %rsi
    dec %ecx
    jnz 1b
    .endm

    /* --- rows --- */

    .macro next_region /* 512 pages in order */
    mov $512, %ecx
1:  mov (%rsi), %rax
    add $0x1000, %rsi
    dec %ecx
    jnz 1b
    .endm
    .macro next_page
    mov (%rsi), %rcx
    add $0x1000, %rsi
    .endm
    .macro next_page_write
    movq $1, (%rsi)
    add $0x1000, %rsi
    .endm
    .macro next_table
    mov (%rsi), %rcx
    add $0x200000, %rsi
    .endm
    .macro map_touch /* RDI entry, R11 its value, RSI page */
    mov %r11, (%rdi)
    mov (%rsi), %rcx
    .endm
    .macro unmap
    movq $0, (%rdi)
    invlpg (%rsi)
    .endm
    .macro next_entry
    add $8, %rdi
    add $0x1000, %rsi
    add $0x1000, %r11
    .endm
    .macro load_cr3
    mov %r11, %cr3
    .endm
    .macro other_root
    xor $TABLE(ROOTS) ^ PML4, %r11
    .endm
    .macro next_root
    add $0x1000, %r11
    cmp $TABLE(ROOTS + 10), %r11
    jb 1f
    mov $TABLE(ROOTS), %r11d
1:
    .endm
    .macro map_touch_clear_load
    mov %r11, (%rdi)
    mov (%rsi), %rcx
    movq $0, (%rdi)
    mov %rbx, %cr3
    .endm
    .macro make_writable /* 512 pages, each written, all in step */
    entries TABLE(FORK), FORK_MEM + USED, 512
    flush
    write_pages REGION(FORK), 512
    flush
    .endm
    .macro protect_load
    mov $TABLE(FORK), %edi
    mov $512, %ecx
1:  andq $~2, (%rdi)
    add $8, %rdi
    dec %ecx
    jnz 1b
    mov %rbx, %cr3
    .endm
    .macro cycle
    call address_space
    .endm

    .globl _start
_start:
    measure_begin
    use_pages TABLE(0), 256
    use_pages COPY_MEM, 512
    lea page_fault(%rip), %rax
    mov $IDT + 16 * 14, %edi
    mov %ax, (%rdi)
    mov %cs, %dx
    mov %dx, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    shr $16, %rax
    mov %ax, 6(%rdi)
    lidt idt_register

    entries TABLE(SEQ), SEQ_MEM + USED, 5632
    .set i, 0
    .rept 11
    link SEQ + i, TABLE(SEQ + i), USED_TABLE
    .set i, i + 1
    .endr
    flush
    mov $REGION(SEQ), %esi
    measure 1, 11, next_region

    entries TABLE(ONE), ONE_MEM + PRESENT, 512
    link ONE, TABLE(ONE)
    flush
    mov $REGION(ONE), %esi
    next_page               /* the table itself */
    measure 2, 101, next_page
    mov $REGION(ONE) + 0x1000, %esi
    measure 3, 101, next_page_write

    mov $PD1 + 8 * NEW, %edi
    mov $TABLE(NEW) + PRESENT, %eax
    mov $NEW_MEM + PRESENT, %edx
    mov $102, %ecx
2:  mov %rdx, -PRESENT(%rax)
    mov %rax, (%rdi)
    add $8, %rdi
    add $0x1000, %rax
    add $0x1000, %rdx
    dec %ecx
    jnz 2b
    flush
    mov $REGION(NEW), %esi
    next_table
    measure 4, 101, next_table

    movq $MAP_MEM + 511 * 0x1000 + PRESENT, TABLE(MAP) + 511 * 8
    link MAP, TABLE(MAP)
    flush
    mov REGION(MAP) + 511 * 0x1000, %rcx
    mov $TABLE(MAP) - 8, %edi
    mov $REGION(MAP) - 0x1000, %esi
    mov $MAP_MEM - 0x1000 + PRESENT, %r11d
    measure 5, 101, map_touch, next_entry
    mov $TABLE(MAP) - 8, %edi
    mov $REGION(MAP) - 0x1000, %esi
    measure 6, 101, unmap, next_entry

    movq $DEMAND_MEM + 511 * 0x1000 + PRESENT, TABLE(DEMAND) + 511 * 8
    link DEMAND, TABLE(DEMAND)
    flush
    mov REGION(DEMAND) + 511 * 0x1000, %rcx
    lea demand(%rip), %r15
    mov $REGION(DEMAND), %esi
    measure 7, 101, next_page_write

    movq $DIRTY_MEM + 511 * 0x1000 + PRESENT, TABLE(DIRTY) + 511 * 8
    link DIRTY, TABLE(DIRTY)
    mov %cr3, %rbx
    flush
    mov REGION(DIRTY) + 511 * 0x1000, %rcx
    mov $TABLE(DIRTY) - 8, %edi
    mov $REGION(DIRTY) - 0x1000, %esi
    mov $DIRTY_MEM - 0x1000 + PRESENT, %r11d
    measure 8, 101, map_touch_clear_load, next_entry

    link FORK, TABLE(FORK), USED_TABLE
    measure 9, 11, protect_load, make_writable

    entries TABLE(COW), COW_MEM + COPIED, 512
    link COW, TABLE(COW), USED_TABLE
    flush
    touch_pages REGION(COW), 512
    lea copy(%rip), %r15
    mov $REGION(COW), %esi
    measure 10, 101, next_page_write

    mov $TABLE(ROOTS), %edi
    mov $10, %ecx
    mov PML4, %rax
3:  mov %rax, (%rdi)
    add $0x1000, %rdi
    dec %ecx
    jnz 3b
    mov $TABLE(ROOTS), %r11d
    mov $40, %ecx
4:  mov %r11, %cr3          /* all known, all tables in step */
    next_root
    dec %ecx
    jnz 4b
    mov $PML4, %r11d
    mov %r11, %cr3
    measure 11, 101, load_cr3, other_root
    mov $TABLE(ROOTS), %r11d
    measure 12, 101, load_cr3, next_root
    mov %rbx, %cr3

    call address_space
    measure 13, 11, cycle
    cli
    hlt

/* The address space of SPACE is made of pages that hold old tables, used, left and destroyed. */
address_space:
    mov $TABLE(SPACE), %edi
    mov $5 * 512, %ecx
    xor %eax, %eax
    rep stosq
    entries TABLE(SPACE + 3), SPACE_MEM + USED, 1024
    movq $TABLE(SPACE + 3) + USED_TABLE, TABLE(SPACE + 2)
    movq $TABLE(SPACE + 4) + USED_TABLE, TABLE(SPACE + 2) + 8
    movq $TABLE(SPACE + 2) + USED_TABLE, TABLE(SPACE + 1)
    movq $TABLE(SPACE + 1) + USED_TABLE, TABLE(SPACE) + 8
    mov PML4, %rax
    mov %rax, TABLE(SPACE)
    mov $TABLE(SPACE), %eax
    mov %rax, %cr3
    movabs $SPACE_AT, %rsi
    mov $32, %ecx
1:  movq $1, (%rsi)
    movq $1, 0x200000(%rsi)
    add $0x1000, %rsi
    dec %ecx
    jnz 1b
    mov %rbx, %cr3
    mov $TABLE(SPACE + 3), %edi
    mov $1024, %ecx
1:  movq $0, (%rdi)
    add $8, %rdi
    dec %ecx
    jnz 1b
    movq $0, TABLE(SPACE + 2)
    movq $0, TABLE(SPACE + 2) + 8
    movq $0, TABLE(SPACE + 1)
    movq $0, TABLE(SPACE) + 8
    movq $0, TABLE(SPACE)
    ret

/* R15: what to do about it. */
page_fault:
    push %rax
    push %rdx
    mov %cr2, %rax
    mov %rax, %rdx
    shr $9, %eax
    and $0xff8, %eax        /* 8 * index */
    and $0x1ff000, %edx
    jmp *%r15
demand:
    add $DEMAND_MEM + PRESENT, %edx
    mov %rdx, TABLE(DEMAND)(%rax)
    pop %rdx
    pop %rax
    add $8, %rsp
    iretq
copy:
    push %rsi
    push %rdi
    push %rcx
    mov %cr2, %rsi
    and $-0x1000, %rsi
    lea COPY_MEM(%rdx), %edi
    mov $512, %ecx
    rep movsq
    add $COPY_MEM + USED, %edx
    mov %rdx, TABLE(COW)(%rax)
    mov %cr2, %rax
    invlpg (%rax)
    pop %rcx
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rax
    add $8, %rsp
    iretq

idt_register:
    .word 0xfff
    .quad IDT
