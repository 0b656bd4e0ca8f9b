# SPDX-License-Identifier: BSD-2-Clause
"""Output whose reader is slow, of a guest that nothing but its serial port wakes (tests/guests/waits_to_write.S): the line stands still,
the ring fills, then the port, then the guest halts, and all goes on by what the console says of the room that it made."""
import argparse
import re
import time

import pytest
from test_ends import lines
from umbra import control, images, layout, system

GUEST = layout.module_output("debug", "guests/waits_to_write")
OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
BYTES = 20000           # in the guest, too: more than port and ring hold, several times
READ = 3000
HALTS = 3               # for want of room, at least
SECONDS = 60
LOOK = 0.2              # seconds, in which a guest that runs uses its processor
pytestmark = pytest.mark.needs(GUEST, *system.targets("debug", system.DEFAULT))


def wait_for_the_halt(channel, due):
    """Nobody reads meanwhile: QEMU's socket holds some hundred bytes."""
    used = -1
    while time.monotonic() < due:
        [now] = channel.guests()
        if now["state"] == "ended" or now["cpu_us"] == used:
            return
        used = now["cpu_us"]
        time.sleep(LOOK)


def read_some(machine, due):
    """So little that the port is full again before long."""
    begin = len(machine.output)
    while len(machine.output) < min(begin + READ, BYTES) and time.monotonic() < due:
        machine.receive(LOOK)


def test_a_slow_reader_gets_all_of_a_guest_that_waits_for_room(boot, tmp_path):
    guest, log, path = images.Guest("g0", layout.ROOT / GUEST, None, "", 16 << 20), tmp_path / "kernel.log", tmp_path / control.SOCKET
    machine = boot(modules=system.modules(OPTIONS, [guest]), cmdline=system.CMDLINE, memory=system.machine_memory([guest]),
                   serials=("socket", str(log)), control=str(path))
    due = time.monotonic() + SECONDS * machine.patience
    while not path.exists():
        time.sleep(0.1)
    with control.open_channel(str(path), SECONDS * machine.patience) as channel:
        while len(machine.output) < BYTES and time.monotonic() < due:
            wait_for_the_halt(channel, due)
            read_some(machine, due)
    assert machine.output == lines(BYTES), (len(machine.output), log.read_text()[-1500:])
    machine.wait(SECONDS)
    assert int(re.search(r"^stat vmm0 exits_hlt (\d+)$", log.read_text().replace("\r", ""), re.M)[1]) >= HALTS
