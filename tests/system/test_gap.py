# SPDX-License-Identifier: BSD-2-Clause
"""A guest's neighbour: one guest's VMM is stopped every 20 ms and hangs now and then, another guest reads its time-stamp
counter over and over (part gap of tests/workloads/verify). It waits no longer than for a neighbour whose VMM lives: one
budget period, and what the kernel does without a chance for others. Under icount: ticks are counted, not measured."""
import re

import pytest
from linux_guest import needs_verify, verdicts, verifying_guest
from test_restart import SMALL
from umbra import layout

PERIOD = 10_000         # us: the budget period of component vmm (idl/interfaces/components.idl)
FIRST = 3_600_000       # us: both guests have booted
EVERY = 20_000          # us
ALONE = 4_200_000_000   # ticks: so long a run in which nobody dies
BEFORE = 100_000_000    # ticks: the guests' counters begin so much after the machine's at most


def vm(name, parts):
    _, kernel, _, initrd, _, append = verifying_guest(*parts, **SMALL)
    return ["--vm", "name=%s,kernel=%s,initrd=%s,append=%s,mem=96M" % (name, kernel, initrd, append.replace(",", ",,"))]


def guests(scale, until):
    """Guest a works all the time and writes nothing before it ends, b verifies and then measures until its tick."""
    return [*vm("a", ["--scale", scale, "storm"]),
            *vm("b", ["--scale", "0.02", "--gap", str(until), "storm", "memory", "cow", "faults", "gap"]), "--icount"]


def dying(count, hang_every):
    values = {"stop_from_us": FIRST, "stop_period_us": EVERY, "stop_count": count, "stop_hang": hang_every}
    return [word for key, value in values.items() for word in ("--set", "vmm0.%s=%d" % (key, value))]


def lines_of(name, console):
    return "\n".join(re.findall(r"^%s\|(.*)$" % name, console, re.M))


def longest_gap(outcome):
    said = lines_of("b", outcome.console)
    assert verdicts(said)[-1] == "verify all ok", said
    own = int(re.search(r"^gap own (\d+)$", said, re.M)[1])
    return [int(n) for n in re.search(r"^gap from (\d+) to (\d+) longest (\d+) at \d+$", said, re.M).groups()] + [own]


def ticks(us, outcome):
    """As init counts them: whole ticks a microsecond."""
    return us * (int(re.search(r"^umbra: \d+ boot modules, TSC (\d+) kHz", outcome.kernel_log, re.M)[1]) // 1000)


def longest_stretch(outcome):
    return int(re.search(r"^stat kernel longest_stretch (\d+)$", outcome.kernel_log, re.M)[1])


def stops_of(outcome):
    """Of each stop: when it was to be, and how many ticks later the timer's interrupt came in."""
    return [(int(tick), int(late) - int(wanted)) for late, wanted, tick in
            re.findall(r"^vmm0: stopped: (\d+) ticks \(wanted (\d+)\) after (\d+), exit", outcome.kernel_log, re.M)]


@needs_verify
@pytest.mark.parametrize("stops, hang_every, scale, until", [
    (50, 26, "12", 6_000_000_000), pytest.param(210, 21, "40", 22_000_000_000, marks=pytest.mark.long)])
def test_neighbour_of_a_dying_vmm_waits_no_longer_than_before(headless, stops, hang_every, scale, until):
    hangs = stops // hang_every
    alone = headless(*guests(scale, ALONE), "--until", "gap at least 8388608", seconds=900)
    assert alone.status == 0, alone.said
    [undisturbed] = re.findall(r"^b\|gap from \d+ to \d+ longest (\d+) at \d+$", alone.console, re.M)
    outcome = headless(*guests(scale, until), *dying(stops, hang_every), seconds=1500)
    began, ended, gap, own = longest_gap(outcome)
    path, made, period = longest_stretch(outcome), stops_of(outcome), ticks(PERIOD, outcome)
    text = "".join("%-44s %10d\n" % row for row in (
        ("VMM stopped, times", len(made)), ("VMM hung, times", hangs), ("ticks from stop to stop", ticks(EVERY, outcome)),
        ("longest gap of the neighbour, ticks", gap), ("of them its own timer interrupt, on average", own), ("budget period", period), ("longest path of the kernel", path),
        ("longest gap when nobody dies", int(undisturbed))))
    (layout.BUILD / "log" / ("gap-%d.txt" % stops)).write_text(text)
    print(text)
    assert verdicts(lines_of("a", outcome.console))[-1] == "verify all ok"
    assert outcome.console.index("b|verify all ok") < outcome.console.index("a|verify all ok")   # a was busy all the time
    assert len(made) == stops - hangs
    assert len(re.findall(r"^vmm0: hangs: ", outcome.kernel_log, re.M)) == hangs
    assert max(late for _, late in made) <= path    # to the tick, but for what the kernel had begun
    assert began < made[0][0] - BEFORE and ended > made[-1][0]
    assert gap <= period + path
