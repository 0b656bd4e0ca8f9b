# SPDX-License-Identifier: BSD-2-Clause
"""Crash reports of a kernel log, and where their addresses lie."""
import re
import subprocess

import pytest
from umbra import layout, symbols

LOG = """init: vmm0 is ready
report a 1: crashed: page fault
report a 1: component vmm0, program vmm, incarnation 0
report b 1: hangs: 500 us on exit 3
vmm0: report a 9: not one
report a 1: at 0x1
report a 1 end
report a 2: exit: status 1
"""
SOURCE = """static void __attribute__((noinline)) inner(volatile int *p) { *p = 1; }
static void __attribute__((noinline)) other(volatile int *p) { inner(p); *p = 2; }
int main(void) { int x; inner(&x); other(&x); return x; }
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    (tmp_path / "build/log").mkdir(parents=True)
    (tmp_path / "build/debug/servers").mkdir(parents=True)
    return tmp_path


def test_reports_are_told_apart_and_one_cut_short_counts():
    assert symbols.reports(LOG) == {
        ("a", 1): ["crashed: page fault", "component vmm0, program vmm, incarnation 0", "at 0x1"],
        ("b", 1): ["hangs: 500 us on exit 3"], ("a", 2): ["exit: status 1"]}


def test_files_are_written_and_forgotten_for_one_slot_only(root):
    assert symbols.write(LOG, "debug", "build/log/crash") == [
        "build/log/crash-a-1.txt", "build/log/crash-b-1.txt", "build/log/crash-a-2.txt"]
    symbols.write(LOG, "debug", "build/log/crash1")
    symbols.forget("build/log/crash")
    assert sorted(p.name for p in (root / "build/log").iterdir()) == ["crash1-a-1.txt", "crash1-a-2.txt", "crash1-b-1.txt"]


def test_addresses_become_function_file_and_line(root):
    elf = root / "build/debug/servers/vmm.elf"
    (root / "x.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O1", "-static", "-no-pie", "-o", str(elf), str(root / "x.c")], check=True)
    inner = next(address for address, name in symbols.functions(str(elf)) if name == "inner")
    listing = subprocess.run(["objdump", "-d", str(elf)], capture_output=True, text=True, check=True).stdout
    from_other, main_inner, main_other = (
        re.search(r"<%s>:\n(?:.+\n)*?.*call.*<%s>\n *([0-9a-f]+):" % names, listing)[1]
        for names in (("other", "inner"), ("main", "inner"), ("main", "other")))
    lines = symbols.readable(["component vmm0, program vmm, incarnation 0", "at %#x" % inner, "called from 0x" + from_other,
                              "called from 0x" + main_inner, "called from 0x" + main_other,
                              "exit 1 io, not answered: rip 0x401000"], "debug")
    assert lines[1] == "at %#x  inner+0x0  inner x.c:1" % inner
    assert re.fullmatch(r"called from 0x%s  other\+0x\w+  other x\.c:2" % from_other, lines[2])
    assert re.fullmatch(r"called from 0x%s \?  main\+0x\w+  main x\.c:3" % main_inner, lines[3])   # main called other
    assert re.fullmatch(r"called from 0x%s  main\+0x\w+  main x\.c:3" % main_other, lines[4])
    assert lines[5] == "exit 1 io, not answered: rip 0x401000"


def test_a_report_of_an_unknown_program_stays_as_it_is(root):
    lines = ["component vmm0, program gone, incarnation 0", "at 0x401000"]
    assert symbols.readable(lines, "debug") == lines
