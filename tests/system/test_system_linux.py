# SPDX-License-Identifier: BSD-2-Clause
"""An unmodified Debian kernel as a guest: reaches its shell, takes what is typed, two of them beside each other."""
import argparse

import pytest
from umbra import console, guest, images, layout, qemu, system

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
NEEDED = [layout.kernel_output("debug")] + [layout.server_output("debug", n) for n in ("init", "memmgr", "console", "control", "vmm")]
pytestmark = pytest.mark.needs(*NEEDED)
SECONDS = 120


@pytest.fixture
def linux(boot, tmp_path):
    """linux(n) boots n guests; gives the machine, its kernel log's path in .kernel_log."""
    def start(count=1):
        guests = [images.Guest("g%d" % n, guest.kernel(), guest.initramfs(), guest.APPEND + " quiet", 128 << 20) for n in range(count)]
        log = tmp_path / "kernel.log"
        machine = boot(modules=system.modules(OPTIONS, guests), cmdline=system.CMDLINE, memory=system.machine_memory(guests),
                       serials=("socket", str(log)))
        machine.kernel_log = log
        return machine
    return start


def test_shell_takes_commands_and_ctrl_c_and_the_guest_resets(linux):
    machine = linux()
    machine.expect("^/ # ", SECONDS)
    machine.send("uname -s; echo $((6 * 7))\n")
    machine.expect("^Linux$", 20)
    machine.expect("^42$", 20)
    machine.send("sh -c 'echo begun; sleep 1000'\n")    # the terminal is out of line editing when this answers
    machine.expect("^begun$", 20)
    machine.send("\x03")
    machine.expect(r"^(\^C)?/ # ", 20)      # the shell, woken by it, may be first to write, or to turn the echo off
    machine.send("echo back\n")
    machine.expect("^back$", 20)
    machine.send("reboot -f\n")
    status = machine.wait(30)
    log = machine.kernel_log.read_text()
    assert "guest vmm0 ended: reset" in log
    assert qemu.debug_exit_value(status) == system.END_CLEAN


def test_long_input_and_output_arrive_whole(linux):
    """More than the rings and the FIFOs hold, in both directions."""
    machine = linux()
    machine.expect("^/ # ", SECONDS)
    machine.send("seq 1 6000\n")
    machine.expect("seq 1 6000\n", 30)
    before = machine.position
    machine.expect("^6000$", 60)
    lines = machine.text()[before:machine.position].split()
    assert lines == [str(n) for n in range(1, 6001)]


def test_two_guests_do_not_mix_their_consoles(linux):
    machine, shared, seen = linux(2), console.Shared(2), [b"", b""]
    while not all(b"/ # " in text for text in seen):
        begin = len(machine.output)
        assert machine.receive(SECONDS * machine.patience) and len(machine.output) > begin, seen
        for number, data in shared.receive(machine.output[begin:]):
            seen[number] += data
    for number in (1, 0):
        machine.send(shared.send(number, b"echo guest-%d-\xc3\xbf\n" % number))
    while not all(b"\nguest-%d-" % n in text.replace(b"\r", b"") for n, text in enumerate(seen)):
        begin = len(machine.output)
        assert machine.receive(30 * machine.patience) and len(machine.output) > begin, seen
        for number, data in shared.receive(machine.output[begin:]):
            seen[number] += data
    assert b"guest-1" not in seen[0] and b"guest-0" not in seen[1]
