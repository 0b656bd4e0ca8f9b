# SPDX-License-Identifier: BSD-2-Clause
"""The kernel boots from the GRUB image as it does with -kernel: same modules, same strings, same results."""
import argparse

import pytest
from umbra import deps, iso, layout

KERNEL = layout.kernel_output("debug")
TASK = layout.proc_output("debug", "tests/procs/test_boot.c")


@pytest.mark.needs(KERNEL, TASK)
def test_root_task_runs_from_the_iso(boot, tmp_path):
    deps.ensure("iso", argparse.Namespace(no_install=False))
    iso.write_image(tmp_path / "boot.iso", KERNEL, [(TASK, "")], cmdline="")
    machine = boot(kernel=None, extra=iso.boot_words(tmp_path / "boot.iso"))
    for name in layout.tests_in("tests/procs/test_boot.c"):
        machine.expect("^ok %s$" % name, 60)
    assert machine.wait(20) is not None
