# SPDX-License-Identifier: BSD-2-Clause
"""`run --enlighten`: guests that are told what they are take KVM's clock from their memory, and make no delays by ports."""
import re

import pytest
from linux_guest import QUIET, needs_verify, require_whole, verifying_guest
from test_restart import SMALL, dies, taken_over
from umbra import guest, layout

PARTS = ["--scale", "0.3", "timers", "clocks", "storm", "memory"]
MARK = "build/workloads/mark"
PORTS_MAX = 1500    # until init, serial ports apart: 570 where this was measured, 8968 in a guest that is not told


def test_linux_takes_kvms_clock(dialogue):
    outcome = dialogue([(b"\n/ # ", b"dmesg | grep -i kvm\n"), (b"\n/ # ", b"date -u +%Y-%m-%d\n"), (b"\n/ # ", b"poweroff -f\n")],
                       "--enlighten", "--kernel", guest.kernel("cloud-amd64"), "--initrd", guest.initramfs(), "--append", QUIET)
    assert outcome.status == 0, outcome.said
    assert re.search(r"Hypervisor detected: KVM", outcome.console), outcome.console
    assert re.search(r"kvm-clock: Using msrs 4b564d01 and 4b564d00", outcome.console), outcome.console
    assert re.search(r"^2026-01-01\r?$", outcome.console, re.M), outcome.console


@pytest.mark.needs(MARK)
def test_linux_that_has_kvms_clock_measures_no_timer_and_makes_no_delays(headless):
    path = guest.GUEST / "mark.cpio"
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("mark", 0o100755, (layout.ROOT / MARK).read_bytes())]))
    outcome = headless("--enlighten", "--icount", "--kernel", guest.kernel(), "--initrd", path, "--append",
                       "console=ttyS0 quiet rdinit=/mark -- silent", seconds=400)
    assert outcome.status == 0, outcome.said
    counts = outcome.stats["guests"]["linux"]["counts"]
    assert counts["exits_io"] - counts["exits_uart"] < PORTS_MAX, counts


@needs_verify
def test_clock_of_an_enlightened_guest_outlives_its_vmms(headless, quiet_run):
    options = ["--enlighten", *verifying_guest(*PARTS, **SMALL)]
    expected = quiet_run(headless, options)
    outcome = headless(*options, *dies("delivery", "store", "reply", at=2, every=499, stores=7), seconds=400)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    assert len(taken_over(outcome)) >= 30, outcome.kernel_log[-2000:]
