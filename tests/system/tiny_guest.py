# SPDX-License-Identifier: BSD-2-Clause
"""Guests of a few hundred bytes that make every exit (tests/guests), alone in a system: conftest.py's `tiny` boots them."""
import argparse

from umbra import images, layout, system

EVERY_EXIT = layout.module_output("debug", "guests/every_exit")
CLOCKS = layout.module_output("debug", "guests/exits_with_clocks")     # each kind with all that clocks bring with it
TINY_NEEDS = (EVERY_EXIT, CLOCKS, layout.kernel_output("debug"), *(layout.server_output("debug", n) for n in (
    "init", "memmgr", "console", "control", "vmm")))
SECONDS = 240


def parts(image, settings):
    """What is booted for it: settings are words of a command line, --set NAME.ATTRIBUTE=VALUE."""
    guest = images.Guest("tiny", layout.ROOT / image, None, "", 16 << 20)
    options = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None, set=list(settings[1::2]))
    return {"modules": system.modules(options, [guest]), "cmdline": system.CMDLINE, "memory": system.machine_memory([guest])}
