# SPDX-License-Identifier: BSD-2-Clause
"""The QEMU wrapper: command line, module list, the machine is gone whatever happens."""
import os
import signal
import subprocess
import sys
import time

import pytest
from umbra import layout, qemu
from umbra.errors import Failure

# An endless loop at the multiboot entry point: enough of a kernel to be alive.
LOOP = (".code32\n.long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003), 0x100000, 0x100000, 0, 0, 0x100020\n"
        ".org 0x20\nmov $0x3f8, %edx\nmov $'h', %al\nout %al, %dx\nmov $'i', %al\nout %al, %dx\nmov $10, %al\nout %al, %dx\n"
        "1: mov $0x3fd, %edx\nin %dx, %al\ntest $1, %al\njz 1b\nmov $0x3f8, %edx\nin %dx, %al\n"
        "mov $0xf4, %edx\nout %al, %dx\n2: jmp 2b\n")


@pytest.fixture
def kernel(tmp_path):
    """Says hi, waits for a byte, writes it to debug-exit."""
    (tmp_path / "k.S").write_text(LOOP)
    subprocess.run(["gcc", "-c", "-m64", "-o", "k.o", "k.S"], cwd=tmp_path, check=True)
    subprocess.run(["ld", "-N", "-e", "0x100020", "-Ttext=0x100000", "--oformat", "binary", "-o", "k.bin", "k.o"],
                   cwd=tmp_path, check=True)
    return tmp_path / "k.bin"


def test_command_line_is_that_of_the_platform():
    config = qemu.Config("k.elf", modules=[("a", "x=1,2"), ("b", "")], cmdline="log=com2", icount=True,
                         serials=("socket", "build/log/k,1.log"))
    assert qemu.command_line(config, "Q", [7]) == [
        "Q", "-accel", "tcg", "-cpu", "max,-la57", "-m", "1G", "-machine", "q35", "-nodefaults", "-vga", "none",
        "-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        "-icount", "shift=0,sleep=off", "-rtc", "clock=vm,base=2024-01-01T00:00:00", "-seed", "1",
        "-chardev", "socket,id=serial0,fd=7", "-serial", "chardev:serial0",
        "-chardev", "file,id=serial1,path=build/log/k,,1.log", "-serial", "chardev:serial1",
        "-kernel", "k.elf", "-initrd", "a x=1,,2,b", "-append", "log=com2"]


@pytest.mark.parametrize("status,value", [(0, None), (None, None), (1, 0), (33, 16), (-9, None), (2, None)])
def test_debug_exit_value(status, value):
    assert qemu.debug_exit_value(status) == value


def test_expect_send_and_exit_status(kernel):
    with qemu.Machine(qemu.Config(kernel, name="tools-talk")) as machine:
        machine.expect(r"^hi$", 20)
        machine.send(b"\x10")
        assert machine.wait(20) == 0x21
        assert qemu.debug_exit_value(machine.exit_status) == 0x10
    assert "-kernel" in (qemu.LOG / "tools-talk.cmd").read_text()
    assert (qemu.LOG / "tools-talk.log").read_bytes() == b"hi\n"


def test_expect_times_out_with_what_was_seen(kernel):
    with qemu.Machine(qemu.Config(kernel, name="tools-late")) as machine:
        machine.expect("hi", 20)
        with pytest.raises(Failure, match="no 'never' within 0.3 s"):
            machine.expect("never", 0.3)
        pid = machine.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_qemu_that_ends_early_is_a_failure_with_its_words(tmp_path):
    with qemu.Machine(qemu.Config(tmp_path / "missing", name="tools-early")) as machine:
        with pytest.raises(Failure, match="could not open kernel"):
            machine.expect("x", 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_qemu_outlives_its_parent(kernel, number):
    code = ("import sys; sys.path.insert(0, %r)\nfrom umbra import qemu\n"
            "with qemu.Machine(qemu.Config(%r, name='tools-orphan')) as m:\n"
            "    print(m.process.pid, flush=True); m.wait(60)\n" % (str(layout.ROOT / "tools"), str(kernel)))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.send_signal(number)
    parent.wait(20)
    for _ in range(100):
        if not os.path.exists("/proc/%d" % pid) or " Z " in open("/proc/%d/stat" % pid).read():
            return
        time.sleep(0.1)
    pytest.fail("QEMU %d still runs" % pid)
