# SPDX-License-Identifier: BSD-2-Clause
"""The kernel on processors that lack what the emulator's best one has, and with memory above 4 GB."""
import pytest
from umbra import layout

KERNEL = layout.kernel_output("debug")
OLD = layout.proc_output("debug", "tests/procs/old_processor.c")
BASIC = [layout.proc_output("debug", "tests/procs/%s.c" % t) for t in ("test_ipc", "test_untyped", "test_vspace")]
OLD_CPU = "qemu64,+svm"     # no XSAVE, FSGSBASE, SMEP, SMAP, UMIP, 1 GB pages


def results(boot, proc, **words):
    machine = boot(kernel=KERNEL, modules=[(proc, "")], **words)
    machine.expect(r"^1\.\.\d+$", 90)
    machine.wait(10)
    return machine.text()


@pytest.mark.needs(KERNEL, OLD)
def test_an_old_processor_keeps_threads_apart(boot):
    text = results(boot, OLD, cpu=OLD_CPU, memory="512M")
    assert text.count("\nok ") == 4 and "FAIL" not in text


@pytest.mark.needs(KERNEL, *BASIC)
@pytest.mark.parametrize("proc", BASIC, ids=lambda p: p.split("/")[-1])
@pytest.mark.parametrize("cpu,memory", [(OLD_CPU, "512M"), ("EPYC", "5G")])
def test_the_basics_hold_on_other_machines(boot, proc, cpu, memory):
    assert "FAIL" not in results(boot, proc, cpu=cpu, memory=memory)
