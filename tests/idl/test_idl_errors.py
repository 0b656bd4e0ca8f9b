# SPDX-License-Identifier: BSD-2-Clause
"""The error table: the committed C header is what errors.toml gives."""
import subprocess
import sys

from idl_support import ROOT

HEADER = ROOT / "kernel/include/umbra/errors.h"


def test_errors_header_is_made_from_the_table():
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "errors"], cwd=ROOT / "idl",
                          capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0
    formatted = subprocess.run(["clang-format-14", "--assume-filename", str(HEADER)], input=done.stdout,
                               text=True,
                               cwd=ROOT, capture_output=True, timeout=60)
    assert formatted.stdout == HEADER.read_text()


def test_errors_lists_the_diagnostics():
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "errors", "--diagnostics"], cwd=ROOT / "idl",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "E066  servers call each other in a cycle\n" in done.stdout
