# SPDX-License-Identifier: BSD-2-Clause
"""VMMs that are stopped at chosen ticks within exits of one kind (servers/vmm/inject.h: stop_*): under icount the timer's
interrupt comes between two instructions that can be counted off. The guest's verdict and its console are those of a run in
which nobody died; build/log/restart-ticks-*.txt say which ticks were met."""
import re

import pytest
from linux_guest import needs_verify, verifying_guest
from test_gap import longest_stretch
from test_restart import SMALL, require_whole
from tiny_guest import CLOCKS, TINY_NEEDS
from umbra import layout

# enum stop_place: bits of stop_exits
EXITS = ["cpuid", "io", "msr", "absent", "table", "user-write", "cr3", "cr", "dr", "invlpg", "hlt", "event", "window",
         "exception", "other"]
WAY = 200       # ticks: the interrupt's own way
PARTS = ["--scale", "0.05", "storm", "memory", "cow", "maps", "faults", "code", "fpu", "timers"]
STOPPED = re.compile(r"^vmm0: stopped: (-?\d+) ticks \(wanted (\d+)\) after \d+, exit (\d+) \(\w+, place (\d+)\), (answered|pending), "
                     r"rip (0x\w+)$", re.M)


def stops(*exits, first, step, count, at=2):
    """The settings: count deaths in exits of each of these kinds, step ticks further each time."""
    values = {"stop_exits": sum(1 << EXITS.index(name) for name in exits), "stop_offset": first, "stop_step": step,
              "stop_count": count, "inject_at": at, "inject_every": 1}
    return [word for key, value in values.items() for word in ("--set", "vmm0.%s=%d" % (key, value))]


def row_of(name, found):
    """A line of the table: how many deaths, at which ticks, in how many places, and whether the exit was answered."""
    ticks = sorted({int(f[0]) for f in found})
    return "%-12s %6d %7d..%-6d %6d %6d %9d %9d\n" % (
        name, len(found), ticks[0], ticks[-1], len(ticks), len({f[5] for f in found}),
        sum(f[4] == "pending" for f in found), sum(f[4] == "answered" for f in found))


HEAD = "%-12s %6s %15s %6s %6s %9s %9s\n" % ("exit", "deaths", "ticks", "ticks", "places", "pending", "answered")


@pytest.fixture(scope="module")
def undisturbed():
    return {}


def guest():
    return [*verifying_guest(*PARTS, **SMALL), "--icount"]


def require_same(headless, undisturbed, *settings):
    if not undisturbed:
        alone = headless(*guest())
        require_whole(alone)
        undisturbed["console"] = alone.console
    outcome = headless(*guest(), *settings, seconds=1500)
    require_whole(outcome)
    assert outcome.console == undisturbed["console"]
    return STOPPED.findall(outcome.kernel_log), longest_stretch(outcome)


def table_of(found):
    by_place = {name: [f for f in found if int(f[3]) == n] for n, name in enumerate(EXITS)}
    return HEAD + "".join(row_of(name, rows) for name, rows in by_place.items() if rows)


PLENTY = {"io", "absent", "table", "user-write", "cr3", "other"}     # a boot and the workload have thousands of them


@needs_verify
@pytest.mark.parametrize("name, exits, first, step, count", [
    ("short", EXITS, 0, 241, 6), pytest.param("long", EXITS, 0, 17, 130, marks=pytest.mark.long),
    pytest.param("consecutive", EXITS, 100, 1, 150, marks=pytest.mark.long)])
def test_vmm_stopped_at_ticks_of_exits_of_every_kind_is_not_noticed(headless, undisturbed, name, exits, first, step, count):
    found, path = require_same(headless, undisturbed, *stops(*exits, first=first, step=step, count=count))
    text = table_of(found)
    (layout.BUILD / "log" / ("restart-ticks-%s.txt" % name)).write_text(text)
    print(text)
    for place, exit_kind in enumerate(EXITS):
        wanted = [int(f[1]) for f in found if int(f[3]) == place]
        assert wanted == [first + n * step for n in range(len(wanted))]
        assert len(wanted) == count or exit_kind not in PLENTY or exit_kind not in exits
    late = [int(f[0]) - int(f[1]) for f in found]   # another timer's interrupt may come just before the tick
    assert -WAY <= min(late) and max(late) <= path + WAY


FEW = {"msr": 60, "dr": 60, "hlt": 60, "exception": 60}      # Linux has few of them; ticks


@pytest.mark.long
@pytest.mark.needs(*TINY_NEEDS)
@pytest.mark.parametrize("exit_kind", FEW)
def test_vmm_stopped_at_consecutive_ticks_of_exits_that_linux_has_few_of_is_not_noticed(tiny, exit_kind):
    """As many ticks a boot as the guest makes such exits, then the next ones. Leaves build/log/restart-ticks-few-*.txt."""
    expected, found = tiny(CLOCKS, []).console, []
    while len(found) < FEW[exit_kind]:
        outcome = tiny(CLOCKS, stops(exit_kind, first=100 + len(found), step=1, count=FEW[exit_kind] - len(found)))
        new = STOPPED.findall(outcome.kernel_log)
        assert outcome.console == expected and new
        found += new
    assert [int(f[1]) for f in found] == [100 + n for n in range(FEW[exit_kind])]
    assert {EXITS[int(f[3])] for f in found} == {exit_kind}
    (layout.BUILD / "log" / ("restart-ticks-few-%s.txt" % exit_kind)).write_text(table_of(found))
    print(table_of(found))
