# SPDX-License-Identifier: BSD-2-Clause
"""System tests: one boot a program, results from the serial line, a plan that must fit.

The kernel here is forty bytes that print a fixed text and leave by debug-exit; so only the harness is under test.
"""
import pytest

LINK = ("ENTRY(start) SECTIONS { . = 0x100000; .text : { *(.text*) } /DISCARD/ : { *(.note*) *(.comment*) } }\n")
KERNEL = """.section .text.start, "axR"
.code32
.globl start
header: .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003), header, header, 0, 0, start
start:  mov $text, %%esi
1:      lodsb
        test %%al, %%al
        jz 2f
        mov $0x3f8, %%edx
        out %%al, %%dx
        jmp 1b
2:      mov $0xf4, %%edx
        mov $0x10, %%al
        %s
3:      jmp 3b
text:   .asciz "%s"
"""
TEST_C = "%s\n#define TEST(x) void x(void); void x(void)\nTEST(one) { }\nTEST(two) { }\nvoid _start(void);\nvoid _start(void) { }\n"


def system(tree, text, leave="out %al, %dx", directives=""):
    tree.write("kernel/arch/x86_64/kernel.ld", LINK)
    tree.write("kernel/start.S", KERNEL % (leave, text))
    tree.write("tests/procs/test_p.c", TEST_C % directives)
    return tree.run("test", "procs")


@pytest.mark.parametrize("text,passed,failed,said", [
    (r"hello\r\nok one\r\nok two\r\n1..2\r\n", 2, 0, ""),
    (r"ok one\nFAIL two: left is 3\n1..2\n", 1, 1, "two: left is 3"),
    (r"ok one\n1..2\n", 1, 1, "two: QEMU ended with status 33 (debug-exit value 16)"),
    (r"ok one\nok two\n", 1, 1, "no plan line"),
    (r"ok one\nok two\n1..3\n", 1, 1, "the program ran 3 tests, its source names 2"),
    (r"PANIC\n", 0, 2, "PANIC"),
])
def test_results_come_from_the_serial_line(tree, text, passed, failed, said):
    done = system(tree, text)
    assert done.stdout.splitlines()[-1] == "%d passed, %d failed, 0 skipped" % (passed, failed)
    assert said in done.stdout
    assert (tree.root / "build/log/proc-test_p.cmd").read_text().count("procs/test_p.elf") == 1


def test_a_hang_is_a_failure(tree):
    done = system(tree, r"ok one\nok two\n1..2\n", leave="nop", directives="// TIMEOUT: 2")
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"
    assert "no end within 2 s" in done.stdout


def test_free_form_tests_boot_and_expect(tree):
    tree.write("tests/system/test_f.py", """
import pytest
@pytest.mark.needs("build/debug/umbra.elf")
def test_boot(boot):
    machine = boot(cmdline="x=1")
    assert machine.expect(r"^ok (\\w+)\\n", 20)[1] == "one"
    assert machine.wait(20) == 33
""")
    system(tree, r"ok one\n1..2\n")
    done = tree.run("test", "system")
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed, 0 skipped", done.stdout
