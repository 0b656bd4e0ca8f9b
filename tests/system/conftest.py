# SPDX-License-Identifier: BSD-2-Clause
"""`./build.py run` as a fixture: boots without a terminal, and what became of it."""
import argparse
import dataclasses
import json
import re
import subprocess

import pytest
from linux_guest import SECONDS
from umbra import layout

DEFAULTS = argparse.Namespace(profile="debug", qemu=None)


@dataclasses.dataclass
class Outcome:
    status: int
    console: str        # of the guest, without prefixes
    said: str           # by build.py, on standard error
    stats: dict
    kernel_log: str

    def ended(self, name="linux"):
        return self.stats["guests"][name]["ended"]


@pytest.fixture
def words(request):
    """The beginning of every command line."""
    options = getattr(request.config, "umbra_options", DEFAULTS)
    chosen = ["--profile", options.profile or "debug"] + (["--qemu", options.qemu] if options.qemu else [])
    return ["/usr/bin/python3", "build.py", "run", "--no-install", *chosen]


@pytest.fixture
def headless(words, tmp_path):
    """headless(option, ..., typed="text") boots, waits for the end and gives an Outcome."""
    def start(*more, typed=None, seconds=SECONDS):
        stats, script = tmp_path / "stats", tmp_path / "typed"
        command = [*words, "--headless", "--timeout", str(seconds), "--stats", str(stats), *map(str, more)]
        if typed is not None:
            script.write_text(typed)
            command += ["--input", str(script)]
        done = subprocess.run(command, cwd=layout.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=seconds + 120)
        console = re.sub(r"^linux\|", "", done.stdout, flags=re.M)
        known = json.loads(stats.read_text()) if stats.is_file() else {}
        log = (layout.ROOT / known["kernel_log"]).read_text(errors="replace") if known else ""
        return Outcome(done.returncode, console, done.stderr, known, log)
    return start
