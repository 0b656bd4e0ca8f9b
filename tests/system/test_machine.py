# SPDX-License-Identifier: BSD-2-Clause
"""What a guest finds in its machine besides RAM: a boot sector that looks at it."""
import argparse

import pytest
from umbra import images, layout, qemu, system

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
SECTOR = layout.module_output("debug", "guests/pc_memory")
NEEDED = [layout.kernel_output("debug"), SECTOR] + [layout.server_output("debug", n) for n in ("init", "memmgr", "console", "control", "vmm")]
pytestmark = pytest.mark.needs(*NEEDED)


def test_rom_is_read_only_video_memory_is_absent_and_apics_interrupt(boot, tmp_path):
    guests = [images.Guest("pc", layout.ROOT / SECTOR, None, "", 16 << 20)]
    log = tmp_path / "kernel.log"
    machine = boot(modules=system.modules(OPTIONS, guests), cmdline=system.CMDLINE, memory=system.machine_memory(guests),
                   serials=("socket", str(log)))
    status = machine.wait(30)
    assert "00000000ffffABNST\n" in machine.text(), machine.text() + log.read_text(errors="replace")
    assert "guest vmm0 ended: powered off" in log.read_text() and qemu.debug_exit_value(status) == system.END_CLEAN
