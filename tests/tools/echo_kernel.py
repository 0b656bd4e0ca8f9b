# SPDX-License-Identifier: BSD-2-Clause
"""A stand-in for the whole system, for tests of the tool alone: greets on the first serial port, echoes what is typed.

q leaves cleanly, f leaves as failed, t ends by a triple fault, anything else comes back; Enter gives a prompt.
"""
import struct

LINK = "ENTRY(start) SECTIONS { . = 0x100000; .text : { *(.text*) } /DISCARD/ : { *(.note*) *(.comment*) } }\n"
SOURCE = r"""
.section .text.start, "axR"
.code32
.globl start
header: .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003), header, header, 0, 0, start
        .balign 8
second: .long 0xe85250d6, 0, third - second, -(0xe85250d6 + (third - second)), 0, 8
third:
start:  mov $0x80000, %esp
        mov $greeting, %esi
        call say
next:   mov $0x3fd, %edx
        in %dx, %al
        test $1, %al
        jz next
        mov $0x3f8, %edx
        in %dx, %al
        cmp $'q', %al
        je clean
        cmp $'f', %al
        je failed
        cmp $'t', %al
        je triple
        cmp $10, %al
        je prompt
        cmp $13, %al
        je prompt
        cmp $3, %al
        je break
        out %al, %dx
        jmp next
prompt: mov $again, %esi
        call say
        jmp next
break:  mov $broken, %esi
        call say
        jmp next
clean:  mov $ended, %esi
        mov $0x2f8, %edx
        call write
        mov $0x10, %al
        out %al, $0xf4
failed: mov $0x11, %al
        out %al, $0xf4
triple: lidt none
        int3
say:    mov $0x3f8, %edx
write:  lodsb
        test %al, %al
        jz 1f
        out %al, %dx
        jmp write
1:      ret
none:   .word 0
        .long 0
greeting: .asciz "hello\r\n# "
again:  .asciz "\r\n# "
broken: .asciz "^C\r\n# "
ended:  .asciz "guest linux ended: poweroff\nstat linux cpuid 34\n"
"""


def bzimage(protocol=0x20f, start=16 << 20, init=32 << 20, flags=1, size=None):
    """Bytes that look like a Linux kernel image as far as the boot protocol goes."""
    data = bytearray(0x400 * 5)
    data[0x1f1] = 4
    struct.pack_into("<I", data, 0x1f4, (len(data) - 5 * 512) // 16)
    data[0x1fe:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, protocol)
    data[0x211] = flags
    struct.pack_into("<I", data, 0x22c, 0x7fffffff)
    struct.pack_into("<I", data, 0x238, 2047)
    struct.pack_into("<QI", data, 0x258, start, init)
    return bytes(data[:size])


def multiboot(flags=0x10003, end=32 << 20):
    """Bytes that look like a Multiboot kernel with address fields."""
    magic, base = 0x1badb002, 1 << 20
    return struct.pack("<8I", magic, flags, -(magic + flags) & 0xffffffff, base, base, 0, end, base)


def install(tree):
    """Makes the scratch tree one whose `run` boots the stand-in with a stand-in guest kernel K."""
    tree.write("kernel/arch/x86_64/kernel.ld", LINK)
    tree.write("kernel/start.S", SOURCE)
    (tree.root / "K").write_bytes(bzimage())
