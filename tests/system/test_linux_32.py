# SPDX-License-Identifier: BSD-2-Clause
"""32-bit Linux as a guest: Debian's i386 kernels with tables of three levels (686-pae) and of two (686), and 32-bit processes below
a 64-bit kernel. The verifying workload is the same as in test_linux.py, built as 32-bit code.
"""
import re
import subprocess

import pytest
from linux_guest import QUIET, require_verified, verdicts, verify_32, verifying_guest
from umbra import guest

WHOLE = pytest.param("1", marks=pytest.mark.long)


@pytest.mark.parametrize("scale", ["0.3", WHOLE])
@pytest.mark.parametrize("flavour", guest.FLAVOURS_32)
def test_verifying_workload_passes_as_32_bit_code(headless, flavour, scale):
    outcome = headless(*verifying_guest("--scale", scale, flavour=flavour, program=verify_32()), seconds=400)
    require_verified(outcome)
    listed = subprocess.run([str(verify_32()), "--list"], capture_output=True, text=True).stdout.split()
    assert [line.split()[1] for line in verdicts(outcome.console)[:-1]] == listed


@pytest.mark.parametrize("scale", ["0.3", WHOLE])
def test_verifying_workload_passes_as_32_bit_code_below_a_64_bit_kernel(headless, scale):
    outcome = headless(*verifying_guest("--scale", scale, flavour="amd64", program=verify_32()), seconds=400)
    require_verified(outcome)


@pytest.mark.long
@pytest.mark.parametrize("flavour", guest.FLAVOURS_32)
def test_shell_runs_a_script_and_powers_off(headless, tmp_path, flavour):
    initrd, script = tmp_path / "initrd", b"#!/bin/sh\nuname -rm\necho $((6 * 7))\npoweroff -f\n"
    initrd.write_bytes(guest.initramfs_bytes(guest.busybox("i386"), [("etc/start", 0o100755, script)],
                                             guest.applets(guest.busybox())))
    outcome = headless("--kernel", guest.kernel(flavour), "--initrd", initrd, "--append", QUIET)
    assert re.search(r"^6\.1\..*-%s i686$" % flavour, outcome.console, re.M), outcome.console[-3000:]
    assert re.search(r"^42$", outcome.console, re.M)
    assert outcome.status == 0, outcome.said
