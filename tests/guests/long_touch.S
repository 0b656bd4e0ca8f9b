/* SPDX-License-Identifier: BSD-2-Clause */
/* ORG: 0x1000 */
/* 64-bit mode: touches four pages and gives back on port e9h what it finds there again. */
    .code64
    mov $0x5000, %edi
    mov $'L', %al
1:  mov %al, (%rdi)
    add $0x1000, %edi
    inc %al
    cmp $0x9000, %edi
    jne 1b
    mov $0x5000, %edi
2:  mov (%rdi), %al
    out %al, $0xe9
    add $0x1000, %edi
    cmp $0x9000, %edi
    jne 2b
    hlt
