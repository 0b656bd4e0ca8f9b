# SPDX-License-Identifier: BSD-2-Clause
"""Which emulator is the machine: QEMU, or bochs as a second model of the processor (`--machine bochs`).

The choice is one for a process and those that it starts, by an environment variable: a test's `build.py run` boots the same.
"""
import os

from umbra import layout

NOT_ON_BOCHS, STOPS_BOCHS = "tests/not_on_bochs.txt", "tests/stops_bochs.txt"
KINDS = ("qemu", "bochs")
VARIABLE = "UMBRA_MACHINE"
PATIENCE = {"qemu": 1, "bochs": 15}     # chosen: how many times as long as in QEMU a thing may take
# bochs's COM3 shares COM1's interrupt line, so the management channel is COM4.
SETTINGS = {"qemu": (), "bochs": ("control.serial_base=0x2e8", "control.serial_irq=irq 3", "control.serial_ports=ioport 0x2e8..0x2ef")}


def add_option(parser):
    parser.add_argument("--machine", choices=KINDS, default=kind(), help="default: qemu; bochs: slow, and stricter")


def choose(options):
    os.environ[VARIABLE] = options.machine


def kind():
    found = os.environ.get(VARIABLE)
    return found if found in KINDS else KINDS[0]


def patience():
    return PATIENCE[kind()]


def settings():
    """What a system's description says otherwise."""
    return SETTINGS[kind()]


def listed(path):
    """{name of a test: why} of a list under tests/."""
    lines = (layout.ROOT / path).read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def stopping():
    """Tests that would stop this machine, or hang on it."""
    return listed(STOPS_BOCHS) if kind() == "bochs" else {}


def left_out():
    """Tests that can mean nothing on this machine."""
    return listed(NOT_ON_BOCHS) if kind() == "bochs" else {}


def start(config):
    """The Machine for a qemu.Config; it runs while its block does."""
    from umbra import bochs, qemu   # here: the image is made of what the description names
    return (bochs if kind() == "bochs" else qemu).Machine(config)
