# SPDX-License-Identifier: BSD-2-Clause
"""What VMMs did with exits in a run in which many of them die is a run of the models (tests/verify/exit.pml, output.pml): the steps of each
exit in the trace rings that reports of deaths show, judged by tests/verify/exit.steps. So is what consoles did with its output, judged by
console.steps and by the exits that made it; and with what is typed, judged by input.steps and by what VMMs had taken."""
import re

from linux_guest import QUIET
from test_restart import SHELL, dies
from test_servers import dies as consoles_die
from umbra import steps

SERIAL, TYPED, EVENT = 1 << 31, 1 << 30, 1 << 13     # INJECT_SERIAL, INJECT_TYPED, EXIT_EVENT


def test_exits_of_a_run_with_deaths_are_steps_of_the_models(headless):
    outcome = headless("--until", SHELL, *dies("delivery", "store", "reply", "exit", at=2000, every=7, stores=5, count=20))
    assert outcome.status == 0, outcome.said
    found = steps.deaths(outcome.kernel_log)
    again = [int(n) for n in re.findall(r"^init: vmm0 has taken over at exit (\d+)", outcome.kernel_log, re.M)]
    seen = {e.seq: e.steps for d in found for e in d.exits}
    assert len(found) >= 12 and len(again) == 20 and len(seen) > 100      # REPORTS_WHOLE, REPORT_EXITS in servers/init
    assert sum("R" in history for history in seen.values()) >= 10
    assert steps.breaches(steps.automaton(), found) == []
    ends = {d.exits[-1].steps for d in found if d.exits[-1].seq == d.seq}
    assert {"B", "BHO"} <= ends, ends      # at delivery, and with all done but the answer


def test_three_deaths_at_one_exit_are_three_recoveries_at_most(headless):
    outcome = headless("--until", SHELL, *dies("reply", "delivery", at=3000, every=0))
    found = steps.deaths(outcome.kernel_log)
    assert outcome.status == 1 and [d.seq for d in found] == [3000] * 3
    assert steps.breaches(steps.automaton(), found) == []
    assert found[-1].exits[-1].steps == "BHORWBRWBHO"


def test_lines_of_a_run_with_deaths_of_both_sides_are_steps_of_the_model(headless):
    """Linux's first line leaves by some exit before the 1800th, a byte each two."""
    outcome = headless("--until", SHELL, *dies("delivery", "store", "reply", at=1800, every=40, stores=5, count=16, kinds=SERIAL),
                       *consoles_die("crash", "put", at=60, every=1, count=16))
    assert outcome.status == 0, outcome.said
    found, reports = steps.deaths(outcome.kernel_log), steps.shown(outcome.kernel_log)
    seen = {x.number: x for report in reports for x in report}
    made = {key for key, entries in steps.entries_made(found).items() if entries}
    assert len(found) >= 12 and len(reports) == 16 and len(seen) > 100
    assert len(made & {(x.guest, x.seq) for x in seen.values()}) >= 20
    assert any("R" in x.steps for x in seen.values()) and any("G" in x.steps for x in seen.values())
    assert steps.line_breaches(steps.automaton(steps.LINES), reports, found) == []


def test_bytes_typed_in_a_run_with_deaths_of_both_sides_are_steps_of_the_model(dialogue):
    """A console dies with the first byte in its register, the next one at a step of a byte, and so on for each step. In virtual time: on a
    busy machine nobody hangs."""
    lines = [b"echo line-%03d-$((%d * 3))\n" % (n, n) for n in range(6)] + [b"poweroff -f\n"]
    outcome = dialogue([(b"/ # ", line) for line in lines], "--icount", "--append", QUIET, *consoles_die("get", "typed", at=30, every=4, count=16),
                       *dies("delivery", "store", "reply", at=1, every=60, stores=5, count=16, kinds=SERIAL | TYPED | EVENT))
    found, reports = steps.taken(outcome.kernel_log), steps.typed(outcome.kernel_log)
    assert steps.input_breaches(steps.automaton(steps.INPUT), reports, found) == []
    assert outcome.status == 0, outcome.said
    assert re.findall(r"^line-(\d+)-(\d+)\r?$", outcome.console, re.M) == [("%03d" % n, str(3 * n)) for n in range(6)]
    seen = {x.number: x for report in reports for x in report}
    assert len(found) >= 12 and len(reports) == 15 and len(seen) >= 30      # the first has nothing to tell of yet
    assert all(t.bytes > 0 for t in found)      # no VMM died before something was typed
    assert all(b"".join(lines)[x.number] == x.byte for x in seen.values())
    assert {pair for x in seen.values() for pair in zip(x.steps, x.steps[1:])} >= set(map(tuple, ("KF", "VF", "DR", "GR", "ER"))), seen
    both = [(x, t) for x in seen.values() if "D" in x.steps for t in found]
    assert any(x.answered <= t.upto for x, t in both) and any(x.answered > t.upto for x, t in both)
