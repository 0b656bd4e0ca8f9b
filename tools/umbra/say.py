# SPDX-License-Identifier: BSD-2-Clause
"""What the tool says about its own work: notes and progress, on standard error only.

Standard output belongs to the guest, the tests or the table that a command was asked for. Progress and colours are off for
a pipe, with --quiet and with NO_COLOR.
"""
import os
import sys

_quiet = False


def be_quiet(quiet):
    global _quiet
    _quiet = quiet


def fancy():
    """True where progress that overwrites itself and colours are welcome."""
    return sys.stderr.isatty() and not _quiet and "NO_COLOR" not in os.environ


def note(text):
    """One line that tells what long work begins; nothing with --quiet."""
    if not _quiet:
        print("build.py: " + text, file=sys.stderr, flush=True)


def progress(text):
    """Overwrites the present line; an empty text clears it."""
    if fancy():
        print("\r\x1b[K" + text, end="", file=sys.stderr, flush=True)


def complain(text):
    print("build.py: " + text, file=sys.stderr, flush=True)
