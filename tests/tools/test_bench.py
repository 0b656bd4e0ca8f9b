# SPDX-License-Identifier: BSD-2-Clause
"""The bench command: lines become figures, figures become a table and JSON, what is missing is said."""
import json
import re

import pytest
from umbra import bench, bench_linux, crossings, layout, profile
from umbra.errors import Failure, Usage

from test_proc_harness import KERNEL, LINK

TEXT = r"noise\nBENCH ipc.signal 140 instructions syscalls=1 cr3=0\r\nBENCH ipc.signal_wake 400.5 instructions\n"


def system(tree, text):
    tree.write("kernel/arch/x86_64/kernel.ld", LINK)
    tree.write("kernel/start.S", KERNEL % ("out %al, %dx", text))
    tree.write("tests/procs/bench_ipc.c", "/* ipc.signal ipc.signal_wake */\nvoid _start(void);\nvoid _start(void) { }\n")


def test_table_and_json(tree):
    system(tree, TEXT)
    done = tree.run("bench", "ipc", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1] == ["ipc.signal", "140", "instructions", "<=", "150", "met", "seL4", "391", "0.36", "syscalls=1", "cr3=0"]
    assert lines[2] == ["ipc.signal_wake", "400.5", "instructions", "<=", "350", "missed", "seL4", "552", "0.73"]
    assert json.loads((tree.root / "out.json").read_text()) == {
        "ipc.signal": 140, "ipc.signal_wake": 400.5, "units": {"ipc.signal": "instructions", "ipc.signal_wake": "instructions"}}
    assert "-icount shift=0,sleep=off" in (tree.root / "build/log/bench_ipc.cmd").read_text()
    assert "build/release/umbra.elf" in (tree.root / "build/log/bench_ipc.cmd").read_text()


def test_one_figure(tree):
    system(tree, TEXT)
    done = tree.run("bench", "ipc.signal")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["name", "ipc.signal"]


def test_a_figure_that_is_not_measured_is_a_failure(tree):
    system(tree, r"BENCH ipc.signal 140 instructions\n")
    done = tree.run("bench", "ipc")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "build.py: not measured: ipc.signal_wake"


@pytest.mark.parametrize("words,said", [(["--json", "."], "--json .: a folder, not a file"),
                                        (["--json", "no/such"], "--json no/such: there is no such folder"),
                                        (["--plot", "build.py"], "--plot build.py: File exists")])
def test_an_output_that_cannot_be_written_is_found_before_measuring(tree, words, said):
    system(tree, TEXT)
    done = tree.run("bench", *words)
    assert (done.returncode, done.stderr) == (2, "build.py: %s\n" % said)
    assert not (tree.root / "build/log").exists()


def test_figures_without_a_benchmark_are_named(tree):
    system(tree, TEXT)
    done = tree.run("bench")
    assert done.returncode == 0 and "build.py: no benchmark yet: cap.revoke_256 exit.cpuid" in done.stderr


def test_an_unknown_name_is_exit_2(tree):
    assert tree.run("bench", "nonsense").returncode == 2


@pytest.mark.parametrize("text,count", [("", 0), ("a;\n\n// c\n/* d\n e */\nf; /* g */\n", 2), ("/* a */ b\n", 1)])
def test_source_lines(text, count):
    assert bench.source_lines(text) == count


@pytest.mark.parametrize("goal,value,is_met", [("<= 10", 10, True), ("<= 10", 11, False), ("", 1, None), ("<= 1e5", 2e5, False)])
def test_goal(goal, value, is_met):
    assert bench.met(goal, value) is is_met


def test_every_fact_has_a_meaning_and_a_readable_goal():
    for name, fact in bench.facts().items():
        assert fact["what"], name
        assert "goal" not in fact or bench.met(fact["goal"], float(fact["goal"].split()[1])) is True, name


def test_rows_that_the_guest_measured_are_read_and_a_failure_is_one():
    assert bench_linux.measured("x\nBENCHG fork_wait 5 44\nBENCHG end 77\n") == {"fork_wait": (5, 44)}
    with pytest.raises(Failure):
        bench_linux.measured("BENCHG failed: fork: Out of memory\n")
    assert bench_linux.each({"exits": 50, "exits_page": 8}, {"exits": 10}, 4) == {"exits": 10, "exits_page": 2}


def test_every_row_of_the_guest_program_is_known():
    text = (layout.ROOT / "tests/workloads/bench_guest.c").read_text()
    assert set(bench_linux.ROWS) <= set(re.findall(r'^    \{ "(\w+)", sample_', text, re.M))
    assert {"linux." + row for row in bench_linux.ROWS if row != bench_linux.LOOP} <= set(bench.facts())


def test_every_row_is_measured():
    known = bench.facts()
    assert set(known) <= {name for _, names, _ in bench.sources(known) for name in names}


def test_the_model_of_crossings_counts_each_of_them():
    figure = bench.Figure("shadow.cow_page", 2468, "instructions", "exits=2 syscalls=2 cr3=0 fpu=0 flushes=1")
    assert crossings.estimate(figure, {}) == (2468 + 2 * 1350 + 2 * 100, "cycles")
    assert crossings.estimate(bench.Figure("size.kernel_sloc", 8558, "lines"), {}) is None
    assert crossings.estimate(figure, {"prepared": True}) is None
    ratio = bench.Figure("linux.forkexec_ratio", 1.5, "ratio", "exits=10 syscalls=0 cr3=1 fpu=0 bare=20000 ours=30000 kernel=k_1")
    assert crossings.estimate(ratio, {}) == ((30000 + 13500 + 200) / 20000, "ratio")


def test_the_model_s_drawing_has_each_system_and_begins_at_the_instructions():
    loop = bench.Figure("linux.nested_ratio", 1.03, "ratio", "exits=100 bare=1000 ours=1030")
    drawn = dict(crossings.curves([loop], bench.facts()))
    assert drawn.keys() == {"Umbra, nested paging", "KVM, shadow paging (npt=0)"}
    assert drawn["Umbra, nested paging"][0] == 1.03 and drawn["Umbra, nested paging"][1] == 11.03
    assert drawn["KVM, shadow paging (npt=0)"][0] == 3.15


def test_rows_of_guests_have_numbers_for_a_profile():
    assert profile.row_of("tests/procs/bench_shadow.c", "shadow.fill_one") == 2
    with pytest.raises(Usage):
        profile.row_of("tests/procs/bench_shadow.c", "shadow.memory_percent")


def test_a_trace_knows_the_guest_from_its_host():
    line = b"Trace 0: 0x7ff8 [0000000000000000/0000000000100123/%08x/ff020201] \n"
    found = profile.TRACE.findall(line % 0xb0 + line % (profile.IN_GUEST | 0xb0))
    assert [(int(a, 16), bool(int(f, 16) & profile.IN_GUEST)) for a, f in found] == [(0x100123, False), (0x100123, True)]
