# SPDX-License-Identifier: BSD-2-Clause
"""Who hears of output, of room for more, and of input that waits.

Where the reader is slow, and nothing but its serial port wakes the guest (tests/guests/waits_to_write.S), the line stands still, the ring
fills, then the port, then the guest halts, and all goes on by what the console says of the room that it made."""
import argparse
import re
import time

import pytest
from test_ends import lines
from umbra import control, images, layout, system

WRITER, READER, IDLER = (layout.module_output("debug", "guests/" + name) for name in ("waits_to_write", "reads_late", "idle"))
OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
BYTES = 20000           # in the guest, too: more than port and ring hold, several times
READ = 3000
TYPED = b"0123456789" * 300   # as many as the guest reads: more than its port holds, less than its ring with it
HALTS = 4               # at least; the first is not for want of room
SECONDS = 60
LOOK = 0.2              # seconds, in which a guest that runs uses its processor
TICKS = 20              # of 18.2 a second
pytestmark = pytest.mark.needs(WRITER, READER, IDLER, *system.targets("debug", system.DEFAULT))


@pytest.fixture
def started(boot, tmp_path):
    """started(image, ..) gives a machine with that guest, and where the kernel's log goes."""
    def start(image, **words):
        guest, log = images.Guest("g0", layout.ROOT / image, None, "", 16 << 20), tmp_path / "kernel.log"
        return boot(modules=system.modules(OPTIONS, [guest]), cmdline=system.CMDLINE, memory=system.machine_memory([guest]),
                    serials=("socket", str(log)), **words), log
    return start


def counted(log, name):
    return int(re.search(r"^stat vmm0 %s (\d+)$" % name, log.read_text().replace("\r", ""), re.M)[1])


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


def test_a_slow_reader_gets_all_of_a_guest_that_waits_for_room(started, tmp_path):
    path = tmp_path / control.SOCKET
    machine, log = started(WRITER, control=str(path))
    due = time.monotonic() + SECONDS * machine.patience
    while not path.exists():
        time.sleep(0.1)
    with control.open_channel(str(path), SECONDS * machine.patience) as channel:
        while len(machine.output) < BYTES and time.monotonic() < due:
            wait_for_the_halt(channel, due)
            read_some(machine, due)
    assert machine.output == lines(BYTES), (len(machine.output), log.read_text()[-1500:])
    machine.wait(SECONDS)
    assert counted(log, "exits_hlt") >= HALTS


def test_a_guest_that_writes_nothing_makes_no_exits_for_output(started):
    """Each interrupt of its clock is one exit, and none follows."""
    machine, log = started(IDLER)
    machine.expect("^!", SECONDS)
    due = time.monotonic() + 3 * TICKS / 18.2 * machine.patience
    while time.monotonic() < due:
        machine.receive(LOOK)
    machine.send("q")
    machine.wait(SECONDS)
    ticks = counted(log, "injected")
    assert ticks >= TICKS and counted(log, "exits_event") <= ticks + ticks // 4


def test_a_guest_gets_all_that_was_typed_before_it_read(started):
    """Its port has not had room for it; nothing but its port wakes it (tests/guests/reads_late.S)."""
    machine, _ = started(READER)
    machine.expect("^!", SECONDS)
    machine.send(TYPED)
    machine.expect("".join(chr(ord("A") + (sum(TYPED) >> n & 15)) for n in (12, 8, 4, 0)), SECONDS)
    machine.wait(SECONDS)
