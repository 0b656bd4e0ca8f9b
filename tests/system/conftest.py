# SPDX-License-Identifier: BSD-2-Clause
"""`./build.py run` as a fixture: boots without a terminal, and what became of it."""
import argparse
import json
import os
import re
import select
import subprocess
import time

import modes_guest
import pytest
import tiny_guest
from linux_guest import SECONDS, Outcome, require_whole
from umbra import deps, layout, machine

DEFAULTS = argparse.Namespace(profile="debug", qemu=None)


@pytest.fixture
def words(request):
    """The beginning of every command line."""
    options = getattr(request.config, "umbra_options", DEFAULTS)
    chosen = ["--profile", options.profile or "debug"] + (["--qemu", options.qemu] if options.qemu else [])
    return ["/usr/bin/python3", "build.py", "run", "--no-install", "--machine", machine.kind(), *chosen]


def outcome_of(status, console, said, stats):
    known = json.loads(stats.read_text()) if stats.is_file() else {}
    path = layout.ROOT / known["kernel_log"] if known else None
    log = path.read_text(errors="replace") if path else ""
    assert not re.search(r"^\w+: a flush left ", log, re.M), log[-3000:]      # a debug VMM looks (servers/vmm/flushed.h)
    return Outcome(status, console, said, known, log, path.with_name(path.name.replace("kernel", "run")).read_bytes() if path else b"")


@pytest.fixture
def headless(words, tmp_path):
    """headless(option, ..., typed="text") boots, waits for the end and gives an Outcome."""
    def start(*more, typed=None, seconds=SECONDS):
        seconds *= machine.patience()
        stats, script = tmp_path / "stats", tmp_path / "typed"
        command = [*words, "--headless", "--timeout", str(seconds), "--stats", str(stats), *map(str, more)]
        if typed is not None:
            script.write_text(typed)
            command += ["--input", str(script)]
        done = subprocess.run(command, cwd=layout.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=seconds + 120)
        return outcome_of(done.returncode, re.sub(r"^linux\|", "", done.stdout, flags=re.M), done.stderr, stats)
    return start


@pytest.fixture
def dialogue(words, tmp_path):
    """dialogue([(prompt, answer), ...], option, ...) boots and types each answer when its prompt is there, never before: so
    what the guest says does not depend on when it was typed. The Outcome's console has every byte, carriage returns too."""
    def start(answers, *more, seconds=SECONDS):
        seconds *= machine.patience()
        stats, said = tmp_path / "stats", tmp_path / "said"
        command = [*words, "--quiet", "--timeout", str(seconds), "--stats", str(stats), *map(str, more)]
        deadline, seen, begin = time.monotonic() + seconds + 120, b"", 0
        with open(said, "wb") as errors, subprocess.Popen(command, cwd=layout.ROOT, stdin=subprocess.PIPE,
                                                          stdout=subprocess.PIPE, stderr=errors) as run:
            while select.select([run.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                data = os.read(run.stdout.fileno(), 65536)
                if not data:
                    break
                seen += data
                if answers and (found := seen.find(answers[0][0], begin)) >= 0:
                    begin = found + len(answers[0][0])
                    os.write(run.stdin.fileno(), answers.pop(0)[1])
            else:
                run.kill()
        return outcome_of(run.returncode, seen.decode(errors="replace"), said.read_text(errors="replace"), stats)
    return start


@pytest.fixture(scope="session")
def quiet_run():
    """Every byte that a guest writes which nobody disturbs, by its options."""
    known = {}

    def console(headless, guest):
        key = tuple(map(str, guest))
        if key not in known:
            outcome = headless(*guest, seconds=400)
            require_whole(outcome)
            known[key] = outcome.serial
        return known[key]
    return console


@pytest.fixture(scope="session")
def said():
    """What the guest of every paging mode says without Umbra, by emulator; asked once."""
    return {}


@pytest.fixture
def bochs(tmp_path, said):
    if "bochs" not in said:
        deps.ensure("test", argparse.Namespace(no_install=False))
        image = bytearray((layout.ROOT / modes_guest.IMAGE).read_bytes())
        image[modes_guest.PORT:modes_guest.PORT + 2] = (0xe9).to_bytes(2, "little")
        (tmp_path / "rom").write_bytes(modes_guest.rom(bytes(image)))
        (tmp_path / "settings").write_text(modes_guest.BOCHS.format(folder=tmp_path))
        done = subprocess.run(["bochs", "-q", "-f", str(tmp_path / "settings")], input=b"c\n", timeout=modes_guest.SECONDS * machine.patience(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "SDL_VIDEODRIVER": "dummy"})
        said["bochs"] = done.stdout.decode(errors="replace").replace("\r", "")
        assert "\nE\n" in said["bochs"], said["bochs"][-2000:]
    return said["bochs"]


@pytest.fixture
def bare(request, boot, tmp_path, said):
    if machine.kind() == "bochs":
        return request.getfixturevalue("bochs")
    if "bare" not in said:
        path = tmp_path / "rom"
        path.write_bytes(modes_guest.rom((layout.ROOT / modes_guest.IMAGE).read_bytes()))
        boot(kernel=None, memory="16M", extra=("-bios", str(path)), serials=(str(tmp_path / "said"),)).wait(modes_guest.SECONDS)
        said["bare"] = (tmp_path / "said").read_text()
        assert said["bare"].endswith("\nE\n"), said["bare"][-500:]
    return said["bare"]


@pytest.fixture
def tiny(boot, tmp_path):
    """tiny(image, settings) boots a guest of tiny_guest.py, in virtual time or in the world's, and gives an Outcome at its end."""
    def start(image, settings, icount=True):
        log = tmp_path / "kernel.log"
        booted = boot(**tiny_guest.parts(image, settings), icount=icount, serials=("socket", str(log)))
        status = booted.wait(tiny_guest.SECONDS)
        assert status is not None, booted.text()[-500:] + log.read_text()[-2000:]
        return Outcome(status, booted.text(), "", {}, log.read_text(errors="replace").replace("\r", ""))
    return start
