/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of a Linux kernel image as its real-mode entry needs: a guest that says it is alive, halts from tick to tick of
 * the BIOS (18.2 a second), and answers what is typed: `c` with the ticks of the TSC that 1000 CPUIDs took in hexadecimal,
 * anything else with a line of itself; `q` ends it by the debug-exit port. */
#include "bzimage.inc"
entry:  mov $'!', %bl
say:    mov $0x3f8, %dx
        mov %bl, %al
        out %al, %dx
line:   mov $10, %al
        out %al, %dx
wait:   sti
        hlt
        mov $0x3fd, %dx
        in %dx, %al
        test $1, %al
        jz wait
        mov $0x3f8, %dx
        in %dx, %al
        mov %al, %bl
        cmp $'q', %al
        je leave
        cmp $'c', %al
        jne say
        cli
        rdtsc
        mov %eax, %esi
        mov $1000, %edi
1:      xor %eax, %eax
        cpuid
        dec %edi
        jnz 1b
        rdtsc
        sub %esi, %eax
        mov $8, %cx
        mov $0x3f8, %dx
2:      rol $4, %eax
        push %eax
        and $15, %al
        cmp $10, %al
        jb 3f
        add $39, %al
3:      add $48, %al
        out %al, %dx
        pop %eax
        loop 2b
        jmp line
leave:  xor %al, %al
        mov $0xf4, %dx
        out %al, %dx
4:      hlt
        jmp 4b
        .org 0x600
