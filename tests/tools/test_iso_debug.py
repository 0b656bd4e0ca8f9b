# SPDX-License-Identifier: BSD-2-Clause
"""`iso` and `debug` with a stand-in for the system: the image boots, gdb stands at a symbol."""
import re

import pytest
from umbra import iso, layout, qemu

import echo_kernel


@pytest.fixture
def system(tree):
    echo_kernel.install(tree)
    return tree


def test_menu_names_modules_as_qemu_does():
    assert iso.menu("build/release/umbra.elf", "log=com2", [("build/a.elf", ""), ("b c", "it's")]).splitlines()[5:] == [
        "  multiboot2 /boot/umbra.elf log=com2", "  module2 /boot/m/0 'build/a.elf'",
        "  module2 /boot/m/1 'b' 'c' 'it'\\''s'", "}"]


def test_image_boots(system):
    done = system.run("iso", "--kernel", "K", "--output", "some.iso")
    assert (done.returncode, done.stdout) == (0, "%s\n" % (system.root / "some.iso")), done.stderr
    with qemu.Machine(qemu.Config(None, extra=iso.boot_words(system.root / "some.iso"), name="tools-iso")) as machine:
        machine.expect("hello\n# ", 60)
        machine.send("q")
        assert machine.wait(20) == 0x21
    assert not list((system.root / "build").glob("iso-*"))


def test_debug_stops_at_a_symbol(system):
    done = system.run("debug", "--kernel", "K", "--gdb", "hbreak start", "--gdb", "continue", "--gdb", "x/i $pc")
    assert done.returncode == 0, done.stderr
    assert "<start>:\tmov    $0x80000,%esp" in done.stdout


def test_help_of_debug_names_a_function_that_there_is(system):
    name = re.search(r"hbreak (\w+)", system.run("debug", "--help").stdout)[1]
    sources = [(layout.ROOT / path).read_text() for path in layout.find("kernel/**/*.c")]
    assert any(re.search(r"\b%s\([^;]*\)\n\{" % name, text) for text in sources)
