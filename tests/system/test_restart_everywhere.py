# SPDX-License-Identifier: BSD-2-Clause
"""Where in the handling of which exits VMMs have died, as a table, while the guest came to its undisturbed result and wrote
the same bytes. A long run's table stands in docs/restart.md; each run leaves build/log/restart.txt and one file a test."""
import dataclasses
import re

import pytest
from linux_guest import needs_verify, require_whole, verifying_guest
from test_restart import PARTS, SMALL, dies, taken_over
from tiny_guest import CLOCKS, EVERY_EXIT, TINY_NEEDS
from umbra import layout

# --- which exits have killed a VMM, and where in them ---

POINTS = ["delivery", "store", "reply", "call"]     # servers/vmm/inject.h
WAYS = ["delivery", "store", "reply", "call", "store"]
EVENT = 13      # EXIT_EVENT, kernel/include/umbra/vcpu.h
PAGE = 2
OWN = (1 << 20) - 1 - (1 << EVENT)      # all kinds but events: what the guest does itself
ANY = OWN | 1 << EVENT
KINDS_OF = {"own": OWN, "other": OWN - (1 << PAGE)}     # without those that fill the next VMM's shadow tables again


VCPU_H = layout.ROOT / "kernel/include/umbra/vcpu.h"


@dataclasses.dataclass
class Death:
    exit: int
    kind: str
    point: str
    inside: bool    # a call to a server, which had not answered
    stores: int     # made before
    all: int        # that the exit makes when it is handled to its end
    besides: bool   # not by plan: nobody had died after so many stores


def deaths(outcome):
    """What each incarnation that took over has said of its predecessor."""
    found = re.findall(r"^vmm0: inject: exit (\d+) (\w+) (\w+)( inside)? (\d+) of (\d+)( besides)?$", outcome.kernel_log, re.M)
    said = [Death(int(n), kind, point, bool(inside), int(k), int(of), bool(more)) for n, kind, point, inside, k, of, more in found]
    assert [d.exit for d in said] == taken_over(outcome)
    for death in said:      # it was to die after a store, and the exit made none
        death.point = "reply" if death.point in ("store", "call") and not death.stores and not death.inside else death.point
    return said


def planned(said):
    return [death for death in said if not death.besides]


def spared(outcome, said):
    """Kinds of exits between the first and the last death by plan of which nobody died, as far as reports have them: the first 16 are
    whole, with the 16 exits before."""
    seen = re.findall(r"^report \w+ \d+: trace (\d+) +(\w+)", outcome.kernel_log, re.M)
    first, last = planned(said)[0].exit, planned(said)[-1].exit
    return {kind for n, kind in seen if first < int(n) < last and int(n) not in {d.exit for d in said}}


def made_stores(outcome):
    """{kind: {stores: the first of its exits that made so many}}, the guest's whole life long, whether anybody died there."""
    made = {}
    said = re.findall(r"^vmm0: inject: (\w+) made (\d+) stores \d+ times, first at exit (\d+)$", outcome.kernel_log, re.M)
    for kind, n, first in said:
        made.setdefault(kind, {})[int(n)] = int(first)
    return made


def most_stores(outcome):
    return {kind: max(made) for kind, made in made_stores(outcome).items()}


def places_left(said, most):
    """[(kind, k)]: exits of this kind have a k-th store, and nobody died after it."""
    top = dict(most)
    for death in said:
        top[death.kind] = max(top.get(death.kind, 0), death.all, death.stores)
    died = {(d.kind, d.stores) for d in said if d.point in ("store", "call")}
    return [(kind, k) for kind in sorted(top) for k in range(1, top[kind] + 1) if (kind, k) not in died]


def spans(numbers):
    """1, 2, 3, 7 as text: 1-3 7."""
    runs = []
    for n in sorted(numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return " ".join("%d-%d" % tuple(run) if run[0] < run[1] else str(run[0]) for run in runs) or "none"


def table_of(said, most):
    """Kinds of exits by points, then the indices of stores after which one died; what is empty is listed."""
    kinds = sorted({d.kind for d in said})
    lines = ["%-12s" % "exit" + "".join("%10s" % p for p in POINTS) + "  after store; not after"]
    empty = []
    for kind in kinds:
        mine = [d for d in said if d.kind == kind]
        counts = {p: sum(d.point == p for d in mine) for p in POINTS}
        after = {d.stores for d in mine if d.point in ("store", "call") and d.stores}
        top = max(max(d.all for d in mine), max(after, default=0), most.get(kind, 0))
        lines.append("%-12s" % kind + "".join("%10d" % counts[p] for p in POINTS) +
                     "  %s; %s" % (spans(after), spans(set(range(1, top + 1)) - after)))
        empty += ["%s x %s%s" % (kind, p, " (makes no store)" if not top and p in ("store", "call") else "")
                  for p in POINTS if not counts[p]]
    return "\n".join(lines + ["empty: " + (", ".join(empty) or "none")]) + "\n"


NEVER = {
    "none": "is no exit", "npf": "these guests have no nested paging", "task_switch": "the emulator switches by itself",
    "root": "memory is taken away from a guest only while one of its exits waits",
    "invalid": "no VMM of this tree leaves a state that the processor refuses", "broken": "these guests switch no tasks"}
collected = []      # (name, deaths, most stores) of each test of this run


def keep_table(name, outcome, said, most, *more):
    """build/log/restart-NAME.txt."""
    counts = ["%d exits in all" % guest["counts"]["exits"] for guest in outcome.stats.get("guests", {}).values()]
    by_plan = planned(said)
    first = ", ".join(["%d deaths at exits %d to %d" % (len(by_plan), by_plan[0].exit, by_plan[-1].exit),
                       "%d besides" % (len(said) - len(by_plan)), *counts, *more])
    text = first + "\n" + table_of(said, most)
    collected.append((name, said, most))
    (layout.BUILD / "log" / ("restart-%s.txt" % name)).write_text(text)
    print(text)


def all_of(runs):
    """(deaths, most stores) of several."""
    most = {}
    for _, _, mine in runs:
        most = {kind: max(most.get(kind, 0), mine.get(kind, 0)) for kind in {*most, *mine}}
    return [d for _, said, _ in runs for d in said], most


@pytest.fixture(scope="module", autouse=True)
def summary():
    """build/log/restart.txt: all deaths of this run of which the guest's transcript was the undisturbed one's. docs/restart.md
    has that of the last long run."""
    yield
    if not collected:
        return
    said, most = all_of(collected)
    names = re.findall(r'"(\w+)"', re.search(r"EXIT_KIND_NAMES *\\(.*?)}", VCPU_H.read_text(), re.S)[1])
    never = [name for name in names if name not in {d.kind for d in said}]
    text = "%d deaths in %d guests, each with the right result and transcript\n" % (len(said), len(collected))
    text += table_of(said, most) + "".join("no exit %s: %s\n" % (name, NEVER.get(name, "not in this run")) for name in never)
    (layout.BUILD / "log" / "restart.txt").write_text(text)


WINDOWS = {"start": 1, "boot": 3000, "work": 40000}     # the exit at which they begin


@needs_verify
@pytest.mark.parametrize("window, count", [
    ("work", 100), *(pytest.param(*row, marks=pytest.mark.long) for row in (("start", 500), ("boot", 2000), ("work", 1000)))])
def test_every_exit_of_a_window_kills_its_vmm(headless, quiet_run, window, count):
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*WAYS, at=WINDOWS[window], every=1, stores=7, count=count, kinds=ANY, besides=1),
                       seconds=900)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    said = deaths(outcome)
    assert [d.exit for d in planned(said)] == [WINDOWS[window] + n for n in range(count)]
    keep_table("%s-%d" % (window, count), outcome, said, most_stores(outcome))


@needs_verify
@pytest.mark.parametrize("window, kinds, count", [
    ("work", "other", 60), *(pytest.param(*row, marks=pytest.mark.long) for row in (
        ("boot", "own", 2000), ("boot", "other", 500), ("work", "own", 1000), ("work", "other", 1000)))])
def test_every_exit_that_the_guest_makes_itself_kills_its_vmm(headless, quiet_run, window, kinds, count):
    """Events are passed over: one follows most deaths, as the world's clock went on meanwhile."""
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*WAYS, at=WINDOWS[window], every=1, stores=7, count=count, kinds=KINDS_OF[kinds],
                                     besides=1), seconds=900)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    said = deaths(outcome)
    passed_over = {"event"} if kinds == "own" else {"event", "page"}
    by_plan = planned(said)
    assert len(by_plan) == count and not {d.kind for d in by_plan} & passed_over and spared(outcome, said) <= passed_over
    keep_table("%s-%s-%d" % (window, kinds, count), outcome, said, most_stores(outcome))


@needs_verify
@pytest.mark.parametrize("parts, times", [(PARTS, 1), pytest.param(["--scale", "0.3"], 1, marks=pytest.mark.long)],
                         ids=("short", "all"))
def test_a_vmm_dies_at_every_place_that_occurs(headless, quiet_run, parts, times):
    """Each kind of exit with each point, each number of stores included, so often, wherever it first occurs from boot to the
    workload's end."""
    guest = verifying_guest(*parts, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*POINTS, at=2, every=0, places=times, besides=1), seconds=900)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    keep_table("places-%s" % ("short" if parts == PARTS else "all"), outcome, deaths(outcome), most_stores(outcome))


@needs_verify
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.long)])
def test_a_vmm_that_hangs_in_calls_to_memmgr_is_replaced(headless, quiet_run, count):
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies("memmgr", at=20000, every=3001 if count < 10 else 501, stores=5, count=count, besides=1),
                       seconds=900)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    said = deaths(outcome)
    inside = sum(d.inside for d in said)
    assert len(planned(said)) == count and inside >= count // 2
    keep_table("memmgr-%d" % count, outcome, said, most_stores(outcome), "%d of them while memmgr had not answered" % inside)


# --- a guest that makes every exit ---


def twice_at(exit, stores, ways=("store", "store")):
    """A VMM dies there, and so does the next one. In virtual time all is the same up to there, whichever exit that is."""
    return dies(*ways, at=exit, every=0, stores=stores, count=2)


NOWHERE = 1 << 62


@pytest.fixture(scope="module")
def alone():
    """alone(tiny, image): the guest that nobody disturbed; its exits and their stores are counted."""
    known = {}

    def outcome_of(tiny, image):
        if image not in known:
            known[image] = tiny(image, twice_at(NOWHERE, 1))
            assert re.fullmatch(r"[A-P]{8}\n", known[image].console), known[image]
        return known[image]
    return outcome_of


@pytest.mark.needs(*TINY_NEEDS)
@pytest.mark.parametrize("icount", [True, pytest.param(False, marks=pytest.mark.long)], ids=("icount", "world"))
def test_a_guest_that_makes_every_exit_comes_to_the_same_sum(tiny, alone, icount):
    """In the world's time clocks also expire together with other exits, which then make more stores."""
    expected = alone(tiny, EVERY_EXIT).console
    outcome = tiny(EVERY_EXIT, dies(*POINTS, at=2, every=0, places=1, besides=1), icount)
    assert outcome.console == expected and "guest vmm0 ended: triple fault" in outcome.kernel_log, outcome
    keep_table("bare-%s" % ("icount" if icount else "world"), outcome, deaths(outcome), most_stores(outcome))


@pytest.mark.needs(*TINY_NEEDS)
def test_a_guest_that_waits_in_a_loop_over_sti_gets_its_interrupts(tiny, alone):
    """In each of 26 rounds 12 of the timer, one that it sends itself, and one single step: 16Ch."""
    assert alone(tiny, CLOCKS).console == "AAAAABGM\n"


@pytest.mark.needs(*TINY_NEEDS)
def test_a_vmm_dies_after_every_store_that_an_exit_makes_while_clocks_expire(tiny, alone):
    """Wherever an exit with such a store comes first; then, for those left out, exactly at an exit of which the undisturbed run
    says that it makes so many. Of the most stores that HLT makes, and of the last exit, at which two of four ways are left."""
    undisturbed = alone(tiny, CLOCKS)
    made = made_stores(undisturbed)
    outcome = tiny(CLOCKS, dies(*POINTS, at=2, every=0, places=1, besides=1))
    assert outcome.console == undisturbed.console
    said, most = all_of([("", deaths(outcome), most_stores(outcome)), ("", [], most_stores(undisturbed))])
    keep_table("clocks", outcome, said, most)
    exact = [("hlt", most["hlt"], ("store", "call")), ("shutdown", 1, ("reply", "call"))]
    exact += [(*place, ("store", "call")) for place in places_left(said, most) if place[0] != "start"]
    for kind, k, ways in exact:
        first = made[kind][min(n for n in made[kind] if n >= k)]
        outcome = tiny(CLOCKS, twice_at(first, k, ways))
        assert outcome.console == undisturbed.console
        two = deaths(outcome)
        assert [(d.exit, d.kind, d.point, d.stores) for d in two] == [(first, kind, way, k) for way in ways]
        keep_table("clocks-%s-%d" % (kind, k), outcome, two, {})
        said += two
    assert [place for place in places_left(said, most) if place[0] != "start"] == []


@pytest.mark.needs(*TINY_NEEDS)
@pytest.mark.parametrize("ways, stores", [
    (("store", "reply"), 1), (("call", "delivery"), 2), (("store", "call"), 3), (("call", "store"), 4)],
                         ids=lambda value: value if isinstance(value, int) else "-".join(value))
def test_vmms_die_before_their_guest_has_begun(tiny, alone, ways, stores):
    """Twice on EXIT_START, which a third one answers; it finds memory that is used."""
    outcome = tiny(CLOCKS, dies(*ways, at=1, every=0, stores=stores, count=2))
    assert outcome.console == alone(tiny, CLOCKS).console
    said = deaths(outcome)
    assert [(d.kind, d.point) for d in said] == [("start", way) for way in ways]
    assert {d.stores for d in said if d.point in ("store", "call")} == {stores}
    keep_table("begin-%d" % stores, outcome, said, {})


# --- the console, both ways ---

TYPED = 1 << 31 | 1 << 30   # INJECT_SERIAL, INJECT_TYPED


def typed_lines(count):
    """So many lines for the part that echoes, and its end, each for its prompt."""
    words = ["%s-%d" % ("".join(chr(33 + (n * n + 7 * k) % 94) for k in range(20 + 9 * n)), n) for n in range(count)]
    return [(b"echo %d? " % (n + 1), word.encode() + b"\n") for n, word in enumerate([*words, "end"])]


@needs_verify
@pytest.mark.parametrize("lines", [1, pytest.param(4, marks=pytest.mark.long)])
def test_what_is_typed_is_echoed_while_vmms_die(dialogue, lines):
    """At accesses to the serial port, from the first byte on that was typed. More deaths a second than that, and the guest is busy
    with its clock alone: a tick of 4 ms is less than a death takes it."""
    guest = verifying_guest("echo", **SMALL)
    alone = dialogue(typed_lines(lines), *guest)
    require_whole(alone)
    typed = sum(len(line) for _, line in typed_lines(lines))
    outcome = dialogue(typed_lines(lines), *guest, *dies(*WAYS, at=2, every=1, stores=12, kinds=TYPED, besides=1),
                       seconds=900)
    require_whole(outcome)
    assert outcome.serial == alone.serial and alone.serial
    said = deaths(outcome)
    by_plan = planned(said)
    assert len(by_plan) > typed // 2 and not [d for d in by_plan if d.kind != "io"]
    keep_table("echo-%d" % lines, outcome, said, most_stores(outcome), "%d bytes typed" % typed)


EXPLAINED = {}      # (kind, k): why nobody dies there
REPEATABLE = re.compile("bare-icount|clocks.*|begin-.*")    # in virtual time, so that what occurs is always the same


def test_no_store_that_occurred_is_left_out():
    """Of all tests before this one; but what other clocks make of a short run is not always the same, and not enough."""
    whole = any(name == "places-all" for name, _, _ in collected)
    said, most = all_of([run for run in collected if whole or REPEATABLE.fullmatch(run[0])])
    if {"clocks", "bare-icount", "begin-4"} <= {name for name, _, _ in collected}:
        assert [place for place in places_left(said, most) if place not in EXPLAINED] == []
