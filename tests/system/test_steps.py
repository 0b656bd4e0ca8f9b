# SPDX-License-Identifier: BSD-2-Clause
"""What VMMs did with exits in a run in which many of them die is a run of the models (tests/verify/exit.pml, output.pml): the steps of each
exit in the trace rings that reports of deaths show, judged by tests/verify/exit.steps."""
import re

from test_restart import SHELL, dies
from umbra import steps


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
