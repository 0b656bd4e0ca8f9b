# SPDX-License-Identifier: BSD-2-Clause
"""The kept corpora, run again; and what a run of the fuzzer does with a corpus and a finding, by a toy target."""
import argparse
import re
import subprocess
import sys

import pytest
from umbra import fuzz, layout, verify
from umbra.errors import Usage

ALL_CORPORA_BYTES_MAX = 5 << 20
TOY = r"""
#include "support/fuzz.h"
#include "check.h"
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    CHECK(n < 2 || bytes[0] != 'b' || bytes[1] != %s);
    return 0;
}
"""


@pytest.mark.parametrize("name", [pytest.param(t.name, marks=pytest.mark.needs(layout.fuzz_output(t.source))) for t in fuzz.TARGETS])
def test_kept_inputs_are_no_findings(name):
    done = fuzz.replay(fuzz.by_name(name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"^(\d+) inputs$", done.stdout, re.M)[1]) > 0


def test_every_target_has_a_source_and_every_source_is_a_target():
    assert set(layout.find("tests/fuzz/*.c")) == {t.source for t in fuzz.TARGETS}
    assert {p.name for p in (layout.ROOT / fuzz.CORPUS).iterdir()} == {t.name for t in fuzz.TARGETS}


def test_corpora_are_small():
    assert sum(p.stat().st_size for p in (layout.ROOT / fuzz.CORPUS).iterdir()) < ALL_CORPORA_BYTES_MAX


def test_the_page_tells_of_every_target():
    rows = re.findall(r"^\| (`[^|]*`) \|", (layout.ROOT / fuzz.PAGE).read_text(), re.M)
    told = {name for row in rows for name in re.findall("`(.*?)`", row)}
    assert {t.name for t in fuzz.TARGETS} <= told


def test_a_corpus_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "corpus"
    assert fuzz.write_corpus(path, {b"abc", b"z", b"pinned"}, [b"pinned"]) == 0
    path.write_text("# why\n" + path.read_text())
    assert fuzz.read_corpus(path) == ([b"pinned", b"z", b"abc"], [b"pinned"])
    fuzz.write_corpus(path, {b"z"}, [b"pinned"])
    assert path.read_text() == "# why\npin cGlubmVk\neg==\n"


def test_a_corpus_keeps_the_shortest_inputs_and_all_pinned_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "CORPUS_BYTES_MAX", 12)
    assert fuzz.write_corpus(tmp_path / "c", {b"a", b"bb", b"cccc"}, [b"d" * 100]) == 1
    assert fuzz.read_corpus(tmp_path / "c")[0] == [b"d" * 100, b"a", b"bb"]


def test_a_target_that_nobody_knows_is_wrong_usage():
    with pytest.raises(Usage, match="no fuzz target is called bogus"):
        fuzz.by_name("bogus")


def test_the_list_says_how_long_each_target_has_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "PAGE", str(tmp_path / "page.md"))
    (tmp_path / "page.md").write_text("| 2026-01-01 | abc | `decoder` | 1.5 | 9 | 9 | 9 | 9 | 0 |\n"
                                      "| 2026-01-02 | abc | `decoder` | 2.0 | 9 | 9 | 9 | 9 | 0 |\n")
    assert fuzz.command(argparse.Namespace(fuzz="list")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(fuzz.TARGETS) and lines[0].split()[:4] == ["decoder", "vmm.fuzz-decoder", "3.5", "minutes"]


def test_every_target_is_a_property():
    assert {p.name for p in verify.PROPERTIES if p.method == fuzz.FUZZED} == {t.shown_as for t in fuzz.TARGETS}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A target that has a finding behind `b`, in files of its own."""
    def make(byte):
        source = layout.ROOT / "tests/fuzz/toy.c"
        monkeypatch.setattr(fuzz, "PAGE", str(tmp_path / "page.md"))
        monkeypatch.setattr(fuzz, "CORPUS", str(tmp_path))
        monkeypatch.setattr(fuzz, "WORK", tmp_path / "work")
        monkeypatch.setattr(fuzz.build, "make", lambda targets: None)
        monkeypatch.setattr(layout, "fuzz_sources", lambda path: (str(tmp_path / "toy.c"), *layout.FUZZ_SUPPORT))
        (tmp_path / "page.md").write_text("| date |\n| --- |\n")
        (tmp_path / "toy.c").write_text(TOY.replace("%s", byte).replace("support/fuzz.h", "tests/fuzz/support/fuzz.h"))
        assert not source.exists()
        return fuzz.Target("toy", "vmm", "bytes", 8)
    return make


def test_a_run_without_a_finding_keeps_what_covers_something_and_tells_of_itself(toy, tmp_path, capsys):
    target = toy("'u' || true")
    (tmp_path / "toy").write_text("YQ==\nYWE=\nYWFh\n")
    assert fuzz.fuzz(target, 1 / 60, 1) == 0
    inputs, pinned = fuzz.read_corpus(tmp_path / "toy")
    assert pinned == [] and 0 < len(inputs) < 6 and max(map(len, inputs)) < 3
    row = (tmp_path / "page.md").read_text().splitlines()[-1]
    assert re.fullmatch(r"\| [\d-]{10} \| [^|]+ \| `toy` \| \d\.\d \| \d+ \| \d+ \| \d+ \| \d+ \| 0 \|", row)
    assert capsys.readouterr().out.splitlines()[-1] == row


def test_a_run_lasts_its_minutes_of_processor_time_whatever_the_clock_says(tmp_path):
    """Half a second of waiting is not counted; what ends when it is asked to has status 0, what ends before keeps its own."""
    busy = ("import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(print(time.process_time())));\n"
            "end = time.monotonic() + 0.5\nwhile time.monotonic() < end: time.sleep(0.1)\nwhile True: pass")
    status, text = fuzz.execute([sys.executable, "-c", busy], tmp_path / "log", 0.4)
    assert status == 0 and float(text) >= 0.35
    assert fuzz.execute([sys.executable, "-c", "print('done'); exit(7)"], tmp_path / "log", 5) == (7, "done\n")


def test_a_finding_is_pinned_and_counted(toy, tmp_path, capsys):
    target = toy("'u'")
    (tmp_path / "toy").write_text("Yg==\n")
    assert fuzz.fuzz(target, 1, 1) == 1
    inputs, pinned = fuzz.read_corpus(tmp_path / "toy")
    assert len(pinned) == 1 and pinned[0][:2] == b"bu" and pinned[0] in inputs and b"b" in inputs
    assert (tmp_path / "page.md").read_text().splitlines()[-1].endswith("| 1 |")
    assert "a finding, pinned in" in capsys.readouterr().err


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_minutes_count_as_of_this_code_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    git(tmp_path, "init", "-q")
    for name in ("pic.c", "pic.h", "else.c"):
        (tmp_path / name).write_text("int a;\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "a")
    first, paths = git(tmp_path, "rev-parse", "--short=12", "HEAD"), ["pic.c", ":(glob)*.h"]
    (tmp_path / "else.c").write_text("int b;\n")
    assert fuzz.unchanged(first, paths)
    assert not fuzz.unchanged(first + "-dirty", paths) and not fuzz.unchanged("0123456789ab", paths)
    (tmp_path / "pic.h").write_text("int b;\n")
    assert not fuzz.unchanged(first, paths)


def test_a_targets_code_is_what_it_is_built_from():
    assert {"servers/vmm/dev/pic.c", ":(glob)servers/vmm/dev/*.h", "kernel/include"} <= set(fuzz.code_of(fuzz.by_name("pic")))
    assert "idl" in fuzz.code_of(fuzz.by_name("idl-dispatch"))
    assert {"kernel/obj/cap.c", "kernel/arch/x86_64/asid.h"} <= set(fuzz.code_of(fuzz.by_name("kernel")))      # by an include
    assert "servers/vmm/gmem/gmem.h" in fuzz.code_of(fuzz.by_name("core"))
