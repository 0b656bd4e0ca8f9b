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


def test_the_automaton_of_input_has_the_steps_of_the_model_and_of_the_console():
    assert steps.strangers(steps.automaton(steps.INPUT), steps.INPUT) == []


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


def judge_byte(history, last=False, guest=0, position=7, count=8, released=5):
    return steps.judge_byte(steps.automaton(steps.INPUT), steps.Byte(3, 0x61, guest, position, count, released, 9, history), last)


@pytest.mark.parametrize("history", ["VDGEN", "KFDGEN", "FDGEN", "VFFDRRGRGERGEN", "VDRGEN"])
def test_steps_of_a_byte_that_the_model_allows_are_taken(history):
    assert judge_byte(history) is None
    assert all(judge_byte(history[:n], last=True) is None for n in range(1, len(history)))


@pytest.mark.parametrize("history", ["", "V", "VDGE", "DGEN", "VDDGEN", "VDRDGEN", "VDFDGEN", "VGEN", "VDEN", "VDGN", "VDGNE", "KDGEN", "VKFDGEN", "VDGLEN",
                                     "VDLEN", "VDGENR", "VDG.N", "RGEN"])
def test_steps_of_a_byte_that_the_model_has_not_are_found(history):
    assert judge_byte(history)


def test_a_byte_is_given_while_there_is_room_and_lost_when_there_is_none():
    assert judge_byte("VDLEN", position=5000, released=5000 - 4032, count=1) is None
    assert judge_byte("VDGEN", position=5000, released=5000 - 4032, count=5001)
    assert judge_byte("VDGEN", position=5000, released=5000 - 4033, count=5001) and judge_byte("VDGEN", position=4, count=5)
    assert judge_byte("VDGEN", count=9)


def test_a_mark_of_the_line_is_given_to_nobody():
    assert judge_byte("VDREN", guest=None) is None
    assert judge_byte("VDGEN", guest=None) and judge_byte("VEN", guest=None)


TYPED = """report vmm0 1: exit 12 io, not answered: rip 0x10 info 0
report vmm0 1: input taken 3
report vmm0 2: exit 20 event, answered: rip 0x10 info 0
report vmm0 2: input taken 5
report console 1: typed 6: 0x61 to guest 0 behind 3, count 4, released 3, answered 11, steps VDGEN
report console 1: typed 7: 0x62 to nobody behind 0, count 0, released 0, answered 0, steps V
report console 2: typed 7: 0x62 to guest 0 behind 4, count 5, released 3, answered 11, steps VFDRGEN
report console 2: typed 8: 0xff to nobody behind 0, count 0, released 0, answered 0, steps VDEN
report console 2: typed 9: 0x63 to guest 0 behind 5, count 6, released 5, answered 21, steps KFDG
report console 3: typed 9: 0x63 to guest 0 behind 5, count 6, released 5, answered 21, steps KFDGRGEN
report console 3: typed 10: 0x64 to guest 0 behind 6, count 7, released 5, answered 21, steps FD
"""


def input_breaches(log):
    return steps.input_breaches(steps.automaton(steps.INPUT), steps.typed(log), steps.taken(log))


def test_bytes_of_a_log_are_read_and_judged():
    assert [len(report) for report in steps.typed(TYPED)] == [2, 3, 2]
    assert steps.taken(TYPED) == [(0, 11, 3, True), (0, 20, 5, True)]
    assert input_breaches(TYPED) == []


@pytest.mark.parametrize("old, new, why", [
    ("VFDRGEN", "VRGEN", "R after V"), ("VFDRGEN", "VDRGEN", "became"), ("KFDGRGEN", "KFDG", "follows"), ("KFDGRGEN", "KFDGEN", "became"),
    ("typed 10", "typed 11", "missing"), ("9: 0x63 to guest 0 behind 5, count 6, released 5, answered 21, steps KFDGRGEN", "9: 0x65 to guest 0 behind 5, count 6, released 5, answered 21, steps KFDGRGEN", "became"),
    ("behind 6, count 7", "behind 5, count 6", "the one before was behind 5"), ("released 5, answered 21, steps FD", "released 4, answered 21, steps FD", "less than before"),
    ("answered 21, steps FD", "answered 19, steps FD", "less than before"), ("to nobody behind 0, count 0, released 0, answered 0, steps VDEN", "to nobody behind 0, count 0, released 0, answered 0, steps VDGEN", "nobody's"),
    ("input taken 3", "input taken 2", "3 bytes were released, exits up to 11 had taken 2"), ("input taken 5", "input taken 6", "exits up to 20 had taken 6 bytes, of 5"),
    ("input taken 5", "input taken 2", "those up to 20 only 2")])
def test_runs_with_input_that_the_model_has_not_are_found(old, new, why):
    assert old in TYPED
    assert any(why in line for line in input_breaches(TYPED.replace(old, new))), input_breaches(TYPED.replace(old, new))
