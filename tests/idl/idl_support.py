# SPDX-License-Identifier: BSD-2-Clause
"""Paths and helpers that the tests of the interface language share. Importing it finds umbra_idl."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "idl"))
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def generate(source, folder, *options):
    """Runs the command line as a user would; returns the completed process."""
    return subprocess.run([sys.executable, "-m", "umbra_idl", "compile", str(source), "-o", str(folder),
                           *options],
                          cwd=ROOT / "idl", capture_output=True, text=True, timeout=120)


def build(compiler, sources, out, *options):
    command = [compiler, "-std=gnu11", *WARNINGS, *options, "-I", str(ROOT / "kernel/include"), "-I",
               str(ROOT / "lib"), "-I", str(ROOT), "-I", str(out.parent), *map(str, sources), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:4000]
