# SPDX-License-Identifier: BSD-2-Clause
"""Every diagnostic has a golden file: golden/E0xx*.idl is wrong in that one way, the .txt beside it is what
is printed. `UMBRA_GOLDEN=write` writes the .txt files anew; read the difference before it is committed."""
import os
import re
import subprocess
import sys

import pytest

from idl_support import ROOT
from umbra_idl.check import Checker, check
from umbra_idl.check_system import check_system
from umbra_idl.closure import close
from umbra_idl.describe import describe
from umbra_idl.desc import encode
from umbra_idl.diagnostics import CODES, Failed, Report
from umbra_idl.parser import load

GOLDEN = ROOT / "tests/idl/golden"
CASES = sorted(p for p in GOLDEN.glob("E*.idl"))


def diagnose(path):
    report = Report()
    checker = Checker(report)
    try:
        model = check(load(path, report, display=path.name), report, checker)
        if len(model.assemblies) > 1:
            report.error(model.assemblies[1].pos, "E075", f"{len(model.assemblies)} assemblies", "one")
            raise Failed()
        for decl in model.assemblies:
            system = check_system(checker, decl)
            description = describe(system)
            close(system, description, report)
            encode(description)
    except Failed:
        pass
    return report.lines()


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_golden(path):
    lines = diagnose(path)
    golden = path.with_suffix(".txt")
    if os.environ.get("UMBRA_GOLDEN") == "write":
        golden.write_text("".join(line + "\n" for line in lines))
    assert lines == golden.read_text().splitlines()
    code = path.stem[:4]
    assert lines and all(f"error {code}:" in line for line in lines)


@pytest.mark.parametrize("code", CODES)
def test_every_diagnostic_has_a_golden_file_and_is_used(code):
    assert any(path.stem[:4] == code for path in CASES)
    source = "".join(p.read_text() for p in (ROOT / "idl/umbra_idl").glob("*.py"))
    assert source.count(f'"{code}"') >= 2


def test_codes_used_are_all_declared():
    source = "".join(p.read_text() for p in (ROOT / "idl/umbra_idl").glob("*.py"))
    assert set(re.findall(r'"(E\d\d\d)"', source)) == set(CODES)


def test_every_diagnostic_names_a_place_and_says_what_was_expected():
    for path in GOLDEN.glob("E*.txt"):
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"[\w.]+:\d+:\d+: error E\d\d\d: .+", line), line
            assert "; expected " in line, line


def test_command_line_prints_the_same_and_leaves_with_status_1():
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "check", str(GOLDEN / "E075.idl")],
                          cwd=ROOT / "idl",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "error E075: 2 assemblies; expected one" in done.stderr


@pytest.mark.parametrize("text", ["const A = " + "(" * 5000 + "1" + ")" * 5000 + ";",
                                  "const A = 1" + " + 1" * 5000 + ";", "const A = " + "-" * 5000 + "1;"])
def test_deep_nesting_is_a_diagnostic(text, tmp_path):
    (tmp_path / "t.idl").write_text(text)
    lines = diagnose(tmp_path / "t.idl")
    assert all("error E0" in line for line in lines)


def test_output_folder_that_cannot_be_written_is_one_line_and_status_2(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "compile", str(ROOT / "systems/tiny.idl"), "-o",
                           str(tmp_path / "file" / "x")], cwd=ROOT / "idl", capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("umbra_idl: cannot write")


def test_random_text_is_a_diagnostic_and_never_an_exception(tmp_path):
    """Words of the language in random order, and good files with a part cut out or doubled."""
    import random
    rng = random.Random(3)
    good = [p.read_text()
            for p in (ROOT / "idl/interfaces").glob("*.idl")] + [(GOLDEN / "common.idl").read_text()]
    words = re.findall(r"\w+|[^\w\s]", " ".join(good))
    for n in range(400):
        if n % 2:
            text = " ".join(rng.choice(words) for _ in range(rng.randrange(40)))
        else:
            text = re.sub(r"import .*?;", "", rng.choice(good))
            a, b = sorted(rng.randrange(len(text)) for _ in range(2))
            b = min(b, a + 40)
            text = text[:a] + rng.choice([text[a:b] * 2, "", rng.choice(words)]) + text[b:]
        (tmp_path / "t.idl").write_text(text)
        diagnose(tmp_path / "t.idl")
