# SPDX-License-Identifier: BSD-2-Clause
"""A guest verifies the machine below it, and every 200 ms of its processor time the shadow tables below it are audited: by its
VMM against the guest's own, by the kernel against what the guest owns, while the kernel's TLB model judges each entry of the
guest (kernel/softtlb.h: a missing flush ends the machine). Under icount, so that the load of the host does not show."""
import argparse
import re
import time

import pytest
from linux_guest import needs_verify, verifying_guest
from umbra import control, guest, images, layout, qemu, system
from umbra.errors import Failure

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
pytestmark = [needs_verify, pytest.mark.needs(layout.kernel_output("debug"), *[layout.server_output("debug", n)
              for n in ("init", "memmgr", "console", "control", "vmm", "tinyvmm")])]
EVERY_US = 200_000
SECONDS = 1200
SHORT = ["--scale", "0.2", "storm", "memory", "cow", "maps", "faults", "code", "threads", "uaccess"]


def audits(machine, path):
    """What the audits found, from the guest's first exit to its end, which ends the machine too."""
    found, due, end = [], 0, time.monotonic() + SECONDS * machine.patience
    with control.open_channel(str(path), 60 * machine.patience) as channel:
        try:
            while (now := channel.guests()[0])["state"] != "ended":
                assert time.monotonic() < end, found[-1:]
                if now["state"] == "running" and now["cpu_us"] >= due:
                    due = now["cpu_us"] + EVERY_US
                    found.append(channel.audit("vmm0"))
                machine.receive(0.02)
        except Failure:     # why is in the log
            pass
    return found


def write_figures(name, found, log):
    last = dict(re.findall(r"^stat (?:kernel|vmm0) (tlb_\w+|shadow_flushed_\w+) (\d+)$", log, re.M))
    rows = [("audits", len(found))]
    rows += [(key, sum(f[key] for f in found)) for key in ("entries", "unsynced", "differences", "kernel_tables", "kernel_entries", "violations")]
    rows += [(key, int(value)) for key, value in last.items()]
    text = "".join("%-16s %12d\n" % row for row in rows)
    (layout.BUILD / "log" / ("audit-%s.txt" % name)).write_text(text)
    print(text)
    return dict(rows)       # shadow_flushed_left: only if there is any


def require_sound(boot, tmp_path, flavour, arguments, at_least):
    words = dict(zip(*[iter(verifying_guest(*arguments, flavour=flavour, append="panic=-1 oops=panic"))] * 2))
    guests = [images.Guest("v", words["--kernel"], words["--initrd"], words["--append"], 128 << 20)]
    log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
    machine = boot(modules=system.modules(OPTIONS, guests), cmdline=system.CMDLINE, icount=True, memory=system.machine_memory(guests),
                   serials=("socket", str(log)), control=str(path))
    while not path.exists():
        machine.receive(0.1)
    found = audits(machine, path)
    status = machine.wait(120)
    said = log.read_text(errors="replace").replace("\r", "")
    assert re.search(r"^verify all ok( but 1 absent)?$", machine.text(), re.M), said[-3000:] + machine.text()[-3000:]
    figures = write_figures(flavour + ("-short" if arguments else ""), found, said)
    assert qemu.debug_exit_value(status) == system.END_CLEAN, said[-3000:]
    assert [f for f in found if f["differences"] or f["violations"]] == []
    assert len(found) >= at_least, figures
    assert max(f["entries"] for f in found) > 2000 and max(f["kernel_entries"] for f in found) > 2000, figures
    assert "shadow_flushed_left" not in figures and figures["shadow_flushed_looks"] > 5000, said[-3000:]
    assert figures["tlb_entries"] > 20000 and figures["tlb_owed"] > 5000 and figures["tlb_sampled"] > 300, figures


def test_audits_and_the_tlb_model_find_nothing_while_a_guest_verifies_itself(boot, tmp_path):
    require_sound(boot, tmp_path, "amd64", SHORT, 6)


@pytest.mark.long
@pytest.mark.parametrize("flavour", guest.FLAVOURS)
def test_audits_and_the_tlb_model_find_nothing_during_the_whole_workload(boot, tmp_path, flavour):
    require_sound(boot, tmp_path, flavour, [], 12)
