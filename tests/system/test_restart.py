# SPDX-License-Identifier: BSD-2-Clause
"""VMMs that die under a living guest (servers/vmm/inject.h): the guest's own verdict, and every byte that it writes, are
those of a run in which nobody died."""
import re

import pytest
from linux_guest import QUIET, needs_verify, require_whole, verifying_guest
from umbra import layout

KINDS = {"delivery": 1, "store": 2, "reply": 3, "loop": 4, "heap": 5, "wild": 6, "state": 7, "message": 8,
         "capability": 9, "exit": 10, "call": 11, "memmgr": 12}
PARTS = ["--scale", "0.3", "storm", "memory", "cow", "maps", "faults", "code", "fpu", "timers"]
SHELL = "^/ # "
NEVER_AGAIN = 1 << 31     # incarnations apart
SMALL = {"flavour": "cloud-amd64", "append": "panic=-1 oops=panic printk.time=0"}


def dies(*ways, at, every, stores=1, count=0, kinds=0, places=0, besides=0, guest=0):
    """The settings: the incarnations die in these ways, in turn; count of them, 0: all; at exits of these kinds, 0: any; only
    where fewer than so many places have died, 0: anywhere; and, with besides=1, after any number of stores once."""
    digits = sum(KINDS[way] << 4 * n for n, way in enumerate(ways))
    values = {"inject": digits, "inject_at": at, "inject_every": every, "inject_stores": stores, "inject_count": count,
              "inject_kinds": kinds, "inject_places": places, "inject_besides": besides}
    return [word for key, value in values.items() for word in ("--set", "vmm%d.%s=%d" % (guest, key, value))]


def taken_over(outcome):
    return [int(n) for n in re.findall(r"^init: vmm\d has taken over at exit (\d+)", outcome.kernel_log, re.M)]


def reports(outcome):
    """The texts of the files that the run says it wrote."""
    return [(layout.ROOT / path).read_text() for path in re.findall(r"a component died; its report: (\S+)", outcome.said)]


@needs_verify
@pytest.mark.parametrize("ways, every, stores, least", [
    (("delivery", "store", "reply"), 499, 7, 100),
    (("heap", "exit", "message", "capability", "wild"), 2999, 1, 15),
    (("loop", "reply"), 8000, 1, 6)], ids=("crash", "breach", "hang"))
def test_guest_verifies_and_writes_the_same_bytes_whoever_serves_it(headless, quiet_run, ways, every, stores, least):
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*ways, at=2, every=every, stores=stores), seconds=400)
    require_whole(outcome)
    assert outcome.serial == expected and expected
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
    outcome = headless("--append", QUIET, *dies("store", "reply", "delivery", at=10000, every=397, stores=9), typed=typed)
    assert outcome.status == 0, outcome.said
    said = re.findall(r"^line-(\d+)-(\d+)\r?$", outcome.console, re.M)
    assert said == [("%03d" % n, str(3 * n)) for n in range(40)]
    assert len(taken_over(outcome)) > 50
    assert len(re.findall(r"^vmm0: crashed: ", outcome.kernel_log, re.M)) == len(taken_over(outcome))
    assert len(reports(outcome)) == 16      # REPORTS_WHOLE in servers/init/report.c


@pytest.mark.parametrize("way, why, function", [
    ("delivery", r"crashed: page fault at 0x\w+, address 0x8, error code 0x6", "inject_crash"),
    ("loop", r"hangs: \d+ us on exit 3000", "inject_begin"),
    ("heap", r"crashed: |exit: ", "inject_begin")])
def test_report_names_the_function_that_crashed(headless, way, why, function):
    outcome = headless("--until", SHELL, *dies(way, at=3000, every=NEVER_AGAIN))
    assert outcome.status == 0 and taken_over(outcome) == [3000], outcome.said
    [text] = reports(outcome)
    assert re.match(why, text)
    code = re.findall(r"^(?:at|called from) 0x\w+(?: \?)?  (.*)$", text, re.M)
    assert any(re.search(r"\b%s servers/vmm/inject.c:\d+" % function, line) for line in code[:12]), text
    assert any(re.search(r"\bmain\+0x\w+ .* servers/vmm/main.c:\d+", line) for line in code), text


def test_report_has_the_exit_the_guest_and_the_exits_before(headless):
    outcome = headless("--until", SHELL, *dies("delivery", at=3000, every=NEVER_AGAIN))
    [text] = reports(outcome)
    kind, rip = re.search(r"^exit 3000 (\w+), not answered: rip 0x(\w+) ", text, re.M).groups()
    assert re.search(r"^guest rip 0*%s flags" % rip, text, re.M)
    cr0, cr3, efer = (int(re.search(r"^guest cr0 .*\b%s (\w+)" % name, text, re.M)[1], 16) if name != "cr0" else
                      int(re.search(r"^guest cr0 (\w+)", text, re.M)[1], 16) for name in ("cr0", "cr3", "efer"))
    assert cr0 >> 31 and cr0 & 1 and cr3 and efer >> 10 & 1     # Linux, past its first instructions
    last = re.findall(r"^trace (\d+) +(\w+) +rip 0x(\w+) .*, (\d+) ticks before$", text, re.M)
    assert [int(seq) for seq, *_ in last] == list(range(2985, 3001))
    assert last[-1] == ("3000", kind, rip, "0")
    ticks = [int(entry[3]) for entry in last]
    assert ticks == sorted(ticks, reverse=True)


def test_guest_that_is_stopped_stays_in_the_log_and_the_other_runs_on(headless):
    outcome = headless("--vm", "name=a", "--vm", "name=b", "--until", SHELL, *dies("delivery", at=3000, every=0))
    assert outcome.status == 0, outcome.said
    assert "b|/ # " in outcome.console and outcome.ended("b") is None
    assert outcome.ended("a").startswith("crashed: page fault")
    assert taken_over(outcome) == [3000, 3000]
    texts = reports(outcome)
    assert len(texts) == 3 and all(re.search(r"^exit 3000 \w+, not answered", text, re.M) for text in texts)
    assert "death 3 in a row at this exit" in texts[2] and re.search(r"^guest rip \w{16} flags", texts[2], re.M)
