# SPDX-License-Identifier: BSD-2-Clause
"""Consoles that die under living guests (servers/console/inject.h): every byte of output and of what is typed arrives once."""
import re

import pytest
from linux_guest import QUIET, needs_verify, verdicts, verifying_guest
from umbra import layout

WAYS = {"crash": 1, "exit": 2, "capability": 3, "loop": 4, "put": 5, "get": 6, "stand": 7, "typed": 8}
LINES = 60
SHELL = "^/ # "
NUMBERS = "for i in $(seq 1 400); do echo $1-$i-of-the-output; done"


def dies(*ways, at, every=0, count=0):
    """The settings: the consoles die in these ways, in turn, at these steps of theirs; count of them, 0: all."""
    values = {"inject": sum(WAYS[way] << 4 * n for n, way in enumerate(ways)), "inject_at": at, "inject_every": every,
              "inject_count": count}
    return [word for key, value in values.items() for word in ("--set", "console.%s=%d" % (key, value))]


def deaths(outcome):
    return re.findall(r"^console: (crashed|exit|hangs): ", outcome.kernel_log, re.M)


def typed():
    """Many short lines typed, and much output; both say what is missing or doubled. What counts is printed by the last line
    that is typed: what is typed ahead is echoed into the output by the guest. It ends when the guest's own buffer is empty, which it
    would take with it."""
    return 8 * "#\n" + "f() { %s; }\n" % NUMBERS + "".join('r="$r line-%03d-$((%d * 3))"\n' % (n, n) for n in range(LINES)) + \
        "echo; for i in $r; do echo $i; done; f first; f last; sleep 5; poweroff -f\n"


def require_whole(console):
    assert re.findall(r"^line-(\d+)-(\d+)\r?$", console, re.M) == [("%03d" % n, str(3 * n)) for n in range(LINES)]
    for name in ("first", "last"):
        assert re.findall(r"^%s-(\d+)-of-the-output\r?$" % name, console, re.M) == [str(n) for n in range(1, 401)]


@pytest.mark.parametrize("ways, at, every, least", [
    (("crash",), 101, 1, 100), (("put", "get"), 60, 1, 100), (("exit", "capability", "crash"), 500, 7, 30),
    (("loop",), 9000, 0, 3)], ids=("crash", "port", "breach", "hang"))
def test_output_and_input_are_whole_whichever_console_carries_them(headless, ways, at, every, least):
    outcome = headless("--append", QUIET, *dies(*ways, at=at, every=every), typed=typed())
    assert outcome.status == 0, outcome.said + outcome.kernel_log[-2000:]
    require_whole(outcome.console)
    assert len(deaths(outcome)) >= least, outcome.kernel_log[-2000:]
    assert outcome.kernel_log.count("init: console has taken over") == len(deaths(outcome))


@needs_verify
@pytest.mark.parametrize("way", (1, 2), ids=("loop", "stand"))
def test_a_guest_that_begins_gets_its_memory_though_memmgrs_hang(headless, way):
    """In the midst of handing out, and of zeroing: the caller's request is cancelled, and it asks the next one."""
    hangs = ["--set", "memmgr.inject=%d" % way, "--set", "memmgr.inject_at=300", "--set", "memmgr.inject_every=1777", "--set",
             "memmgr.inject_count=3"]
    outcome = headless(*verifying_guest("--scale", "0.3", "memory", flavour="cloud-amd64", append="panic=-1"), *hangs)
    assert outcome.status == 0, outcome.said + outcome.kernel_log[-2000:]
    assert verdicts(outcome.console)[-1].startswith("verify all ok")
    assert len(re.findall("^memmgr: hangs", outcome.kernel_log, re.M)) == 3
    assert len(re.findall("memmgr: hangs: no sign of life", outcome.kernel_log)) == (3 if way == 2 else 0)


@needs_verify
def test_a_guest_verifies_itself_whenever_memmgr_dies_over_its_beginning(headless):
    """Some 2200 steps hand out its memory, 20000 more zero what the memmgr before may have left."""
    deaths = ["--set", "memmgr.inject_at=11", "--set", "memmgr.inject_every=1777", "--set", "memmgr.inject_count=40"]
    outcome = headless(*verifying_guest("--scale", "0.3", "memory", "cow", flavour="cloud-amd64", append="panic=-1"), *deaths)
    assert outcome.status == 0, outcome.said + outcome.kernel_log[-2000:]
    assert verdicts(outcome.console)[-1].startswith("verify all ok")
    assert len(re.findall("^memmgr: crashed", outcome.kernel_log, re.M)) >= 10


def test_three_consoles_in_a_row_that_do_nothing_end_the_system(headless):
    outcome = headless(*dies("crash", at=1))
    assert outcome.status == 1
    assert "init: console: every incarnation dies before it has done anything" in outcome.kernel_log
    assert "init: the system cannot go on without console" in outcome.kernel_log
    assert len(deaths(outcome)) == 3


def test_a_console_that_dies_leaves_a_report(headless):
    outcome = headless("--until", SHELL, *dies("put", at=3000, count=1))
    assert outcome.status == 0, outcome.said
    [path] = re.findall(r"a component died; its report: (\S+)", outcome.said)
    text = (layout.ROOT / path).read_text()
    assert re.match(r"crashed: page fault at 0x\w+, address 0x8, error code 0x[46]\n", text)    # TCG reads before it writes
    assert re.search(r"^at 0x\w+  port_given\b", text, re.M), text
