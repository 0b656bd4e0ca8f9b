/* SPDX-License-Identifier: BSD-2-Clause */
/* Where things lie in the memory of tests/guests/modes.S, and names of bits. */
#define STACK 0x7000            /* below the program */
#define TRAP_STACK 0x6000       /* what comes from the user goes here */

/* Tables; PAE and long mode share the lower ones. */
#define PD32    0x100000
#define PT32    0x101000        /* the first 4 MB, for the supervisor */
#define PT32T   0x102000        /* what is tried */
#define PT32U   0x103000        /* the user's code */
#define PDPT    0x104000        /* of PAE */
#define PD0     0x105000
#define PD1     0x106000
#define PD2     0x107000
#define PT0     0x108000        /* the first 2 MB */
#define PTT     0x109000
#define PTU     0x10a000
#define PML4    0x10b000
#define PDPTL   0x10c000        /* of long mode */
#define TARGET  0x400000        /* the page that is tried: a 4 MB frame */
#define USER    0x70000         /* the user's code; below 1 MB for V86 */

#define AT      0x40000000      /* where the target is seen; in a 1 GB page 4 MB higher */
#define USER_AT 0x90000000

#define P  1
#define RW 2
#define US 4
#define A  0x20
#define D  0x40
#define PS 0x80
#define G  0x100

#define CR0_PE 1
#define CR0_WP 0x10000
#define CR0_PG 0x80000000
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define EFER   0xc0000080
#define LME    0x100
#define NXE    0x800
#define FLAG_IF 0x200
#define FLAG_AC 0x40000
#define FLAG_VM 0x20000

#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define USER32 0x23
#define USERD  0x2b
#define TSS32  0x30
#define TSS64  0x38
#define CODE16 0x48
#define DATA16 0x50

#define TIMER 0x20              /* the vector of IRQ 0 */
#define OK 0x80                 /* the vector of a try that came to its end */

/* Modes, as set_mode takes them. */
#define M_NONE 0
#define M_32   1
#define M_PAE  2
#define M_LONG 3

/* One interrupt of the timer, in any mode. */
    .macro tick_arm
    mov $0x30, %al              /* once, in 1024 ticks */
    out %al, $0x43
    mov $0, %al
    out %al, $0x40
    mov $4, %al
    out %al, $0x40
    mov $0xfe, %al
    out %al, $0x21
    .endm
    .macro tick_over
    mov $0xff, %al
    out %al, $0x21
    mov $0x20, %al
    out %al, $0x20
    .endm
