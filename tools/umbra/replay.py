# SPDX-License-Identifier: BSD-2-Clause
"""`test replay FILE`: runs the VMM's core of this tree over a recording that `run --record FILE` made, and compares.

The program is tests/replay/replay.c; its last line is the verdict. Status 0: the same; 1: a difference, or the core
died; 2: the file is no recording.
"""
import ctypes
import os
import subprocess

from umbra import build, images, layout
from umbra.errors import Failure, Usage

SECONDS = 600               # a hang; a Linux boot takes one
ADDR_NO_RANDOMIZE = 0x40000     # personality(2): the address sanitizer of gcc 12 wants it


def sanitizer_setup():
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


def replay(path, program=layout.REPLAY_OUTPUT):
    """Runs it; returns the finished process with its output as text."""
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}
    try:
        return subprocess.run([str(layout.ROOT / program), str(path)], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=SECONDS, preexec_fn=sanitizer_setup)
    except subprocess.TimeoutExpired as late:
        raise Failure("the replay of %s does not end within %d s" % (path, SECONDS)) from late


def command(names):
    if len(names) != 1:
        raise Usage("test replay takes one FILE, made by ./build.py run --record FILE")
    images.readable(names[0], "recording")
    build.make([layout.REPLAY_OUTPUT])
    done = replay(names[0])
    print((done.stderr + done.stdout).rstrip(), flush=True)
    return done.returncode if done.returncode in (0, 1, 2) else 1
