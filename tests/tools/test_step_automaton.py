# SPDX-License-Identifier: BSD-2-Clause
"""The automaton of an exit's steps: it is the models', and takes what they allow and nothing else."""
import pytest
from umbra import steps

GOOD = ["BHOC", "BHOCRWBHOC", "RWBHOC", "BRWBHRWBHOC", "RRWBHOC", "BHRWBHORWBHOC", "BHOCRWBHOCRWBHOC"]
BAD = ["", "B", "BH", "BOHC", "BHC", "HOC", "BHOCBHOC", "BHOCWBHOC", "BHOCRBHOC", "RWRWRWBHOC", "BHOCR", "WBHOC", "BH.C", "RWHOC"]


def test_the_automaton_has_the_steps_of_the_models_and_of_the_vmm():
    assert steps.strangers(steps.automaton()) == []


def test_the_automaton_of_lines_has_the_steps_of_the_model_and_of_the_console():
    assert steps.strangers(steps.automaton(steps.LINES), steps.LINES) == []


@pytest.mark.parametrize("history", GOOD)
def test_steps_that_the_models_allow_are_taken(history):
    assert steps.judge(steps.automaton(), history, True, "io") is None


@pytest.mark.parametrize("history", BAD)
def test_steps_that_no_answered_exit_can_have_are_found(history):
    assert steps.judge(steps.automaton(), history, True, "io")


@pytest.mark.parametrize("history", ["", "B", "BH", "BHO", "BHOC", "R", "BHOCRW", "RW"])
def test_an_exit_that_was_not_answered_may_stand_anywhere(history):
    assert steps.judge(steps.automaton(), history, False, "io") is None


def test_a_step_that_the_model_has_no_more_is_a_stranger():
    found = steps.automaton()
    found["C"] = found["C"]._replace(texts=["stored = true", "commit_other();"])
    assert steps.strangers(found) == ["exit.pml: 'commit_other();' does not stand where committed has it"]
    del found["O"]
    assert any("step O" in line for line in steps.strangers(found))


LOG = """report vmm0 0: crashed
report vmm0 0: exit 12 io, not answered: rip 0x10 info 0
report vmm0 0: trace 11 page        rip 0x1 info 0x0 0x0 steps BHOC, 5 ticks before
report vmm0 0: trace 12 io          rip 0x10 info 0x0 0x0 steps BH, 0 ticks before
report vmm0 1: exit 13 io, not answered: rip 0x11 info 0
report vmm0 1: trace 12 io          rip 0x10 info 0x0 0x0 steps BHRWBHOC, 5 ticks before
report vmm0 1: trace 13 io          rip 0x11 info 0x0 0x0 steps B, 0 ticks before
"""


def test_deaths_of_a_log_are_read_and_judged():
    found = steps.deaths(LOG)
    assert [(d.seq, d.answered, len(d.exits)) for d in found] == [(12, False, 2), (13, False, 2)]
    assert steps.breaches(steps.automaton(), found) == []


@pytest.mark.parametrize("old, new, why", [
    ("BHRWBHOC", "RWBHOC", "became"), ("trace 12 io          rip 0x10 info 0x0 0x0 steps BHR", "trace 12 hlt         rip 0x10 info 0x0 0x0 steps BHR", "delivered again"),
    ("trace 11 page", "trace 10 page", "missing"), ("steps BHOC,", "steps BHO,", "answered after"), ("BHRWBHOC", "BHOC", "became"),
    ("exit 13", "exit 15", "begun is 13")])
def test_runs_that_no_model_has_are_found(old, new, why):
    assert old in LOG
    assert any(why in line for line in steps.breaches(steps.automaton(), steps.deaths(LOG.replace(old, new))))


@pytest.mark.parametrize("history", ["T", "TLSU", "TLRSU", "TLRRSGRSGU", "TLSRSU"])
def test_steps_of_a_line_that_the_model_allows_are_taken(history):
    assert steps.judge_line(steps.automaton(steps.LINES), history, False) is None


@pytest.mark.parametrize("history", ["", "TL", "TLS", "LSU", "TSLU", "TLU", "TLGU", "TLSULSU", "TRSU", "TLSUG", "TL.U"])
def test_steps_of_a_line_that_the_model_has_not_are_found(history):
    assert steps.judge_line(steps.automaton(steps.LINES), history, False)


LINES = """report vmm0 1: exit 12 io, answered: rip 0x10 info 0
report vmm0 1: trace 10 page        rip 0x1 info 0x0 0x0 steps BHOC entries 5, 5 ticks before
report vmm0 1: trace 11 io          rip 0x1 info 0x0 0x0 steps BHOC entries 7, 5 ticks before
report vmm0 1: trace 12 io          rip 0x10 info 0x0 0x0 steps BHOC entries 8, 0 ticks before
report console 1: line 6: guest 0, entry 5 of exit 11, answered 11, 1 bytes, steps TLSU
report console 1: line 7: guest 1, entry 0 of exit 9, answered 10, 1 bytes, steps T
report console 2: line 7: guest 1, entry 0 of exit 9, answered 10, 1 bytes, steps T
report console 2: line 8: guest 1, entry 0 of exit 9, answered 10, 1 bytes, steps TLSU
report console 2: line 9: guest 0, entry 6 of exit 11, answered 11, 1 bytes, steps TLS
report console 3: line 9: guest 0, entry 6 of exit 11, answered 11, 1 bytes, steps TLSGU
report console 3: line 10: guest 0, entry 7 of exit 12, answered 13, 1 bytes, steps TL
"""


def line_breaches(log):
    return steps.line_breaches(steps.automaton(steps.LINES), steps.shown(log), steps.deaths(log))


def test_lines_of_a_log_are_read_and_judged():
    assert [len(report) for report in steps.shown(LINES)] == [2, 3, 2]
    assert steps.entries_made(steps.deaths(LINES)) == {(0, 11): range(5, 7), (0, 12): range(7, 8)}
    assert line_breaches(LINES) == []


@pytest.mark.parametrize("old, new, why", [
    ("entry 7 of exit 12, answered 13", "entry 7 of exit 12, answered 11", "before exit 12 is answered"),
    ("entry 7 of exit 12", "entry 8 of exit 12", "entry 8 behind 6"), ("entry 7 of exit 12", "entry 6 of exit 12", "entry 6 behind 6"),
    ("entry 7 of exit 12", "entry 7 of exit 10", "exit 10 behind 11"), ("line 8: guest 1, entry 0", "line 8: guest 1, entry 1", "entry 1 behind 0"),
    ("line 10", "line 11", "missing"), ("TLSGU", "TLS", "follows"), ("TLSGU", "TLRSGU", "became"), ("TLSGU", "TLSSU", "S after S"),
    ("entries 7", "entries 6", "did not make"), ("entry 5 of exit 11", "entry 5 of exit 12", "did not make"), ("exit 9, answered 10, 1 bytes, steps T\nreport console 2: line 8", "exit 8, answered 10, 1 bytes, steps T\nreport console 2: line 8", "became")])
def test_runs_of_consoles_that_the_model_has_not_are_found(old, new, why):
    assert old in LINES
    assert any(why in line for line in line_breaches(LINES.replace(old, new)))
