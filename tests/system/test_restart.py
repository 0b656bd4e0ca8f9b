# SPDX-License-Identifier: BSD-2-Clause
"""VMMs that die under a living guest (servers/vmm/inject.h): the guest's own verdict, and every byte that it writes, are
those of a run in which nobody died."""
import re

import pytest
from linux_guest import needs_verify, verdicts, verifying_guest

KINDS = {"delivery": 1, "store": 2, "reply": 3, "loop": 4, "heap": 5, "wild": 6, "state": 7, "message": 8,
         "capability": 9, "exit": 10}
PARTS = ["--scale", "0.3", "storm", "memory", "cow", "maps", "faults", "code", "fpu", "timers"]
SMALL = {"flavour": "cloud-amd64", "append": "panic=-1 oops=panic printk.time=0"}


def dies(*ways, at, every, stores=1, guest=0):
    """The settings: the incarnations die in these ways, in turn."""
    digits = sum(KINDS[way] << 4 * n for n, way in enumerate(ways))
    values = {"inject": digits, "inject_at": at, "inject_every": every, "inject_stores": stores}
    return [word for key, value in values.items() for word in ("--set", "vmm%d.%s=%d" % (guest, key, value))]


def taken_over(outcome):
    return [int(n) for n in re.findall(r"^init: vmm\d has taken over at exit (\d+)", outcome.kernel_log, re.M)]


def require_whole(outcome):
    lines = verdicts(outcome.console)
    assert lines and re.match(r"verify all ok", lines[-1]), outcome.console[-3000:] + outcome.kernel_log[-3000:]


@pytest.fixture(scope="module")
def undisturbed():
    return {}


@needs_verify
@pytest.mark.parametrize("ways, every, stores, least", [
    (("delivery", "store", "reply"), 499, 7, 100),
    (("heap", "exit", "message", "capability", "wild"), 2999, 1, 15),
    (("loop", "reply"), 12000, 1, 4)], ids=("crash", "breach", "hang"))
def test_guest_verifies_and_writes_the_same_bytes_whoever_serves_it(headless, undisturbed, ways, every, stores, least):
    guest = verifying_guest(*PARTS, **SMALL)
    if not undisturbed:
        alone = headless(*guest)
        require_whole(alone)
        undisturbed["console"] = alone.console
    outcome = headless(*guest, *dies(*ways, at=2, every=every, stores=stores), seconds=400)
    require_whole(outcome)
    assert outcome.console == undisturbed["console"]
    assert outcome.ended() and len(taken_over(outcome)) >= least, outcome.kernel_log[-2000:]


@needs_verify
def test_guest_whose_saved_state_is_damaged_stops(headless):
    outcome = headless(*verifying_guest(*PARTS, **SMALL), *dies("state", at=20000, every=1))
    assert outcome.status == 1
    assert "guest vmm0 ended: saved state damaged" in outcome.kernel_log
    assert len(taken_over(outcome)) == 1


@needs_verify
def test_guest_that_kills_every_vmm_at_one_exit_stops_after_three(headless):
    outcome = headless(*verifying_guest(*PARTS, **SMALL), *dies("delivery", at=20000, every=0))
    assert outcome.status == 1
    assert "init: vmm0: every VMM dies at exit 20000" in outcome.kernel_log
    assert taken_over(outcome) == [20000, 20000]


def test_typed_input_is_neither_lost_nor_doubled(headless):
    typed = 8 * "#\n" + "".join("echo line-%03d-$((%d * 3))\n" % (n, n) for n in range(40)) + "poweroff -f\n"
    outcome = headless(*dies("store", "reply", "delivery", at=10000, every=397, stores=9), typed=typed)
    assert outcome.status == 0, outcome.said
    said = re.findall(r"^line-(\d+)-(\d+)\r?$", outcome.console, re.M)
    assert said == [("%03d" % n, str(3 * n)) for n in range(40)]
    assert len(taken_over(outcome)) > 50
