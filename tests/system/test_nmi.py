# SPDX-License-Identifier: BSD-2-Clause
"""Non-maskable interrupts come at any moment, also between SWAPGS and the kernel's stack: nothing happens."""
import re
import socket
import time

import pytest
from umbra import layout, qemu

KERNEL = layout.kernel_output("debug")
PROC = layout.proc_output("debug", "tests/procs/busy.c")
NMIS = 300


@pytest.mark.needs(KERNEL, PROC)
def test_nmis_in_user_code_and_kernel_are_survived(boot, tmp_path):
    monitor, trace = tmp_path / "monitor", tmp_path / "interrupts"
    machine = boot(kernel=KERNEL, modules=[(PROC, "")],
                   extra=("-monitor", "unix:%s,server=on,wait=off" % qemu.doubled(monitor), "-d", "int", "-D", str(trace)))
    machine.expect("root task starts", 30)
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(monitor))
        for _ in range(NMIS):
            control.sendall(b"nmi\n")
            time.sleep(0.002)
    machine.expect(r"^1\.\.\d+$", 120)
    machine.wait(10)
    text = machine.text()
    assert "ok busy" in text and "PANIC" not in text
    taken = re.findall(r"v=02 e=0000 i=0 cpl=(\d)", trace.read_text(errors="replace"))
    assert taken.count("3") >= 3 and taken.count("0") >= 3, "NMIs by privilege level: %s" % sorted(taken)
