# SPDX-License-Identifier: BSD-2-Clause
"""VMMs that die under a living guest (servers/vmm/inject.h): the guest's own verdict, and every byte that it writes, are
those of a run in which nobody died."""
import argparse
import dataclasses
import re

import pytest
from linux_guest import QUIET, needs_verify, verdicts, verifying_guest
from umbra import images, layout, system

KINDS = {"delivery": 1, "store": 2, "reply": 3, "loop": 4, "heap": 5, "wild": 6, "state": 7, "message": 8,
         "capability": 9, "exit": 10, "call": 11, "memmgr": 12}
PARTS = ["--scale", "0.3", "storm", "memory", "cow", "maps", "faults", "code", "fpu", "timers"]
SHELL = "^/ # "
NEVER_AGAIN = 1 << 31     # incarnations apart
SMALL = {"flavour": "cloud-amd64", "append": "panic=-1 oops=panic printk.time=0"}


def dies(*ways, at, every, stores=1, count=0, kinds=0, places=0, guest=0):
    """The settings: the incarnations die in these ways, in turn; count of them, 0: all; at exits of these kinds, 0: any; only
    where fewer than so many places have died, 0: anywhere."""
    digits = sum(KINDS[way] << 4 * n for n, way in enumerate(ways))
    values = {"inject": digits, "inject_at": at, "inject_every": every, "inject_stores": stores, "inject_count": count,
              "inject_kinds": kinds, "inject_places": places}
    return [word for key, value in values.items() for word in ("--set", "vmm%d.%s=%d" % (guest, key, value))]


def log_of(outcome):
    return outcome if isinstance(outcome, str) else outcome.kernel_log


def taken_over(outcome):
    return [int(n) for n in re.findall(r"^init: vmm\d has taken over at exit (\d+)", log_of(outcome), re.M)]


def reports(outcome):
    """The texts of the files that the run says it wrote."""
    return [(layout.ROOT / path).read_text() for path in re.findall(r"a component died; its report: (\S+)", outcome.said)]


def require_whole(outcome):
    lines = verdicts(outcome.console)
    assert lines and re.match(r"verify all ok", lines[-1]), outcome.console[-3000:] + outcome.kernel_log[-3000:]


@pytest.fixture(scope="module")
def quiet_run():
    """The console of a guest that nobody disturbed, by its options."""
    known = {}

    def console(headless, guest):
        key = tuple(map(str, guest))
        if key not in known:
            outcome = headless(*guest, seconds=400)
            require_whole(outcome)
            known[key] = outcome.console
        return known[key]
    return console


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
    assert outcome.console == expected
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


def deaths(outcome):
    """What each incarnation that took over has said of its predecessor."""
    found = re.findall(r"^vmm0: inject: exit (\d+) (\w+) (\w+)( inside)? (\d+) of (\d+)$", log_of(outcome), re.M)
    said = [Death(int(n), kind, point, bool(inside), int(k), int(of)) for n, kind, point, inside, k, of in found]
    assert [d.exit for d in said] == taken_over(outcome)
    for death in said:      # it was to die after a store, and the exit made none
        death.point = "reply" if death.point in ("store", "call") and not death.stores and not death.inside else death.point
    return said


def most_stores(outcome):
    """{kind: the most stores that any of its exits made}, the guest's whole life long."""
    return {kind: int(n) for kind, n in re.findall(r"^vmm0: inject: (\w+) makes up to (\d+) stores$", log_of(outcome), re.M)}


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
    "none": "is no exit", "npf": "nested paging is not there", "task_switch": "the emulator switches by itself",
    "root": "memory is taken away from a guest only while one of its exits waits",
    "invalid": "no VMM of this tree makes a state that the processor refuses", "broken": "the same: it is an emulator's fault"}
collected = []      # (guests, deaths, most stores) of each test of this run


def keep_table(name, outcome, said, most, *more):
    """build/log/restart-NAME.txt. outcome: of the guest, or its kernel's log."""
    counts = [] if isinstance(outcome, str) else ["%d exits in all" % outcome.stats["guests"]["linux"]["counts"]["exits"]]
    first = ", ".join(["%d deaths at exits %d to %d" % (len(said), said[0].exit, said[-1].exit), *counts, *more])
    text = first + "\n" + table_of(said, most)
    collected.append((said, most))
    (layout.BUILD / "log" / ("restart-%s.txt" % name)).write_text(text)
    print(text)


@pytest.fixture(scope="module", autouse=True)
def summary():
    """build/log/restart.txt: all deaths of this run of which the guest's transcript was the undisturbed one's. docs/restart.md
    has that of the last long run."""
    yield
    if not collected:
        return
    said = [d for run, _ in collected for d in run]
    most = {kind: max(m.get(kind, 0) for _, m in collected) for _, m in collected for kind in m}
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
    outcome = headless(*guest, *dies(*WAYS, at=WINDOWS[window], every=1, stores=7, count=count, kinds=ANY),
                       seconds=900)
    require_whole(outcome)
    assert outcome.console == expected
    said = deaths(outcome)
    assert [d.exit for d in said] == [WINDOWS[window] + n for n in range(count)]
    keep_table("%s-%d" % (window, count), outcome, said, {})


@needs_verify
@pytest.mark.parametrize("window, kinds, count", [
    ("work", "other", 60), *(pytest.param(*row, marks=pytest.mark.long) for row in (
        ("boot", "own", 2000), ("boot", "other", 500), ("work", "own", 1000), ("work", "other", 1000)))])
def test_every_exit_that_the_guest_makes_itself_kills_its_vmm(headless, quiet_run, window, kinds, count):
    """Events are passed over: one follows most deaths, as the world's clock went on meanwhile."""
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*WAYS, at=WINDOWS[window], every=1, stores=7, count=count, kinds=KINDS_OF[kinds]),
                       seconds=900)
    require_whole(outcome)
    assert outcome.console == expected
    said = deaths(outcome)
    assert len(said) == count and not {d.kind for d in said} & {"event", *(["page"] if kinds == "other" else [])}
    keep_table("%s-%s-%d" % (window, kinds, count), outcome, said, {})


@needs_verify
@pytest.mark.parametrize("parts, times", [(PARTS, 1), pytest.param(["--scale", "0.3"], 2, marks=pytest.mark.long)],
                         ids=("short", "all"))
def test_a_vmm_dies_at_every_place_that_occurs(headless, quiet_run, parts, times):
    """Each kind of exit with each point, each number of stores included, so often, wherever it first occurs from boot to the
    workload's end."""
    guest = verifying_guest(*parts, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies(*POINTS, at=2, every=0, places=times), seconds=900)
    require_whole(outcome)
    assert outcome.console == expected
    keep_table("places-%d" % times, outcome, deaths(outcome), most_stores(outcome))


@needs_verify
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.long)])
def test_a_vmm_that_hangs_in_calls_to_memmgr_is_replaced(headless, quiet_run, count):
    guest = verifying_guest(*PARTS, **SMALL)
    expected = quiet_run(headless, guest)
    outcome = headless(*guest, *dies("memmgr", at=20000, every=3001 if count < 10 else 501, stores=5, count=count), seconds=900)
    require_whole(outcome)
    assert outcome.console == expected
    said = deaths(outcome)
    inside = sum(d.inside for d in said)
    assert len(said) == count and inside >= count // 2
    keep_table("memmgr-%d" % count, outcome, said, {}, "%d of them while memmgr had not answered" % inside)


# --- a guest that makes every exit ---

EVERY_EXIT = layout.module_output("debug", "guests/every_exit")
BARE = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
BARE_SECONDS = 240


@pytest.fixture
def bare(boot, tmp_path):
    """bare(settings of dies()) boots the guest alone, in virtual time, and gives what it said and the kernel's log."""
    def start(settings=()):
        guest = images.Guest("bare", layout.ROOT / EVERY_EXIT, None, "", 16 << 20)
        log = tmp_path / "kernel.log"
        machine = boot(modules=system.modules(argparse.Namespace(**{**vars(BARE), "set": list(settings[1::2])}), [guest]),
                       cmdline=system.CMDLINE, icount=True, memory=system.machine_memory([guest]), serials=("socket", str(log)))
        assert machine.wait(BARE_SECONDS) is not None, machine.text()[-500:] + log.read_text()[-2000:]
        return machine.text(), log.read_text(errors="replace").replace("\r", "")
    return start


BARE_NEEDS = (EVERY_EXIT, layout.kernel_output("debug"), *(layout.server_output("debug", n) for n in (
    "init", "memmgr", "console", "control", "vmm")))


@pytest.fixture(scope="module")
def bare_sum():
    """What the guest says that nobody disturbed."""
    known = []

    def said(bare):
        if not known:
            text, log = bare()
            assert re.fullmatch(r"[A-P]{8}\n", text) and "guest vmm0 ended: triple fault" in log, (text, log[-2000:])
            known.append(text)
        return known[0]
    return said


@pytest.mark.needs(*BARE_NEEDS)
@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_guest_that_makes_every_exit_comes_to_the_same_sum(bare, bare_sum, times):
    alone = bare_sum(bare)
    said, log = bare(dies(*POINTS, at=2, every=0, places=times))
    assert said == alone and "guest vmm0 ended: triple fault" in log, (said, alone, log[-2000:])
    keep_table("bare-%d" % times, log, deaths(log), most_stores(log))


@pytest.mark.needs(*BARE_NEEDS)
@pytest.mark.parametrize("ways, stores", [(("store", "reply"), 1), (("call", "delivery"), 2), *(
    pytest.param(*row, marks=pytest.mark.long) for row in ((("store", "call"), 3), (("call", "store"), 4)))],
    ids=lambda value: value if isinstance(value, int) else "-".join(value))
def test_vmms_die_before_their_guest_has_begun(bare, bare_sum, ways, stores):
    """Twice on EXIT_START, which a third one answers; it finds memory that is used."""
    text, log = bare(dies(*ways, at=1, every=0, stores=stores, count=2))
    assert text == bare_sum(bare)
    said = deaths(log)
    assert [(d.kind, d.point) for d in said] == [("start", way) for way in ways]
    assert {d.stores for d in said if d.point in ("store", "call")} == {stores}
    keep_table("begin-%d" % stores, log, said, {})


# --- the console, both ways ---

EXITS_A_CHARACTER = 20      # typed, echoed, and answered
SERIAL = 1 << 31            # INJECT_SERIAL


def typed_lines(count):
    """So many lines for the part that echoes, and its end, each for its prompt."""
    words = ["%s-%d" % ("".join(chr(33 + (n * n + 7 * k) % 94) for k in range(20 + 9 * n)), n) for n in range(count)]
    return [(b"echo %d? " % (n + 1), word.encode() + b"\n") for n, word in enumerate([*words, "end"])]


@needs_verify
@pytest.mark.parametrize("lines, every", [(2, 100), pytest.param(4, 1, marks=pytest.mark.long)])
def test_what_is_typed_is_echoed_while_vmms_die(dialogue, lines, every):
    """At accesses to the serial port, from about the first prompt on. More deaths a second than that, and the guest is busy
    with its clock alone: a tick of 4 ms is less than a death takes it."""
    guest = verifying_guest("echo", **SMALL)
    alone = dialogue(typed_lines(lines), *guest)
    require_whole(alone)
    typed = sum(len(line) for _, line in typed_lines(lines))
    begin = alone.stats["guests"]["linux"]["counts"]["exits"] - EXITS_A_CHARACTER * typed
    outcome = dialogue(typed_lines(lines), *guest, *dies(*WAYS, at=begin, every=every, stores=12, kinds=SERIAL), seconds=900)
    require_whole(outcome)
    assert outcome.console == alone.console
    said = deaths(outcome)
    assert len(said) > typed // 2 and not [d for d in said if d.kind != "io"]
    keep_table("echo-%d" % lines, outcome, said, {}, "%d bytes typed" % typed)
