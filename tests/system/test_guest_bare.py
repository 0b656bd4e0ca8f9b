# SPDX-License-Identifier: BSD-2-Clause
"""The default guest by itself, directly in QEMU: what `run` gives a guest is known to be good without Umbra.

A failure here is one of the guest's material or of the emulator, never of kernel or VMM.
"""
import pytest
from umbra import guest


@pytest.mark.parametrize("flavour", guest.FLAVOURS)
def test_guest_has_a_shell_with_job_control_and_powers_off(boot, flavour):
    machine = boot(kernel=guest.kernel(flavour), memory="128M", cmdline=guest.APPEND + " quiet",
                   extra=("-initrd", str(guest.initramfs())))
    machine.expect(r"^/ # ", 60)
    machine.send("echo be''gun; sleep 1000\n")
    machine.expect(r"^begun\n", 30)
    machine.wait(1)
    machine.send(b"\x03")
    machine.expect(r"^(\^C)?\n(\^C)?/ # ", 30)      # late, or no `^C`, if the shell, woken by it, was first to write, or to turn the echo off
    machine.send("tty; ls /proc/self/fd | wc -l; uname -r\n")
    machine.expect(r"^/dev/ttyS0\n\d\n6\.", 30)
    machine.send("exit\n")
    machine.expect("reboot: (System halted|Power down)", 20)
