# SPDX-License-Identifier: BSD-2-Clause
"""What a guest has written before its end is on the console once, also if the console hangs then and the ring to it is full
(tests/guests/full_port.S writes until its serial port takes no more). Virtual time: the guest's exits are always the same."""
import argparse
import re

import pytest
from linux_guest import Outcome
from test_restart import dies as vmm_dies
from test_restart import taken_over
from test_servers import deaths, dies
from umbra import images, layout, system

GUEST = layout.module_output("debug", "guests/full_port")
OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
FIFO = 4096             # UART_OUT_RING in servers/vmm/dev/uart.h
SECONDS = 200
pytestmark = pytest.mark.needs(GUEST, *system.targets("debug", system.DEFAULT))


def lines(count):
    """The first so many bytes of what the guest writes."""
    numbers = range(count // 5 + 1)
    return "".join("".join(chr(ord("A") + (n >> shift & 15)) for shift in (12, 8, 4, 0)) + "\n" for n in numbers)[:count].encode()


@pytest.fixture
def fill(boot, tmp_path):
    """fill(settings of dies()) boots the guest alone."""
    def start(*settings):
        # a file, not a socket: virtual time does not wait for who reads
        guest, log, said = images.Guest("g0", layout.ROOT / GUEST, None, "", 16 << 20), tmp_path / "kernel.log", tmp_path / "said"
        machine = boot(modules=system.modules(argparse.Namespace(**{**vars(OPTIONS), "set": list(settings[1::2])}), [guest]),
                       cmdline=system.CMDLINE, icount=True, memory=system.machine_memory([guest]), serials=(str(said), str(log)))
        status = machine.wait(SECONDS)
        assert status is not None, log.read_text()[-2000:]
        return Outcome(status, "", "", {}, log.read_text(errors="replace").replace("\r", ""), said.read_bytes())
    return start


def require_whole(outcome, least):
    written = int(re.search(r"^stat vmm0 exit_value (\d+)$", outcome.kernel_log, re.M)[1])
    assert outcome.serial == lines(written), (len(outcome.serial), written, outcome.kernel_log[-1500:])
    assert written > least and "guest vmm0 ended: failed: debug exit with value %d\n" % written in outcome.kernel_log


def last_exit(outcome):
    return int(re.search(r"^stat vmm0 exits (\d+)$", outcome.kernel_log, re.M)[1])


@pytest.mark.parametrize("way, at", [("stand", 40), ("stand", 41), ("loop", 40)])
def test_what_a_guest_wrote_before_its_end_is_shown_though_its_console_hung(fill, way, at):
    outcome = fill(*dies(way, at=at, count=1))
    require_whole(outcome, FIFO)
    assert deaths(outcome) == ["hangs"]


def test_a_guest_that_ends_beside_a_console_that_lives_loses_nothing(fill):
    outcome = fill()
    require_whole(outcome, 3 * FIFO // 2)
    assert not deaths(outcome)


@pytest.mark.parametrize("way, stores", [("store", 1), ("store", 40), ("call", 40), ("store", 75)])
def test_a_vmm_that_dies_at_its_guests_end_neither_doubles_nor_loses_what_was_written(fill, way, stores):
    """Twice, before and while the last output is brought out; the console hangs all the time."""
    hung = dies("stand", at=40, count=1)
    last = last_exit(fill(*hung))
    outcome = fill(*hung, *vmm_dies(way, at=last, every=0, stores=stores, count=2))
    require_whole(outcome, FIFO)
    assert taken_over(outcome) == [last, last] and deaths(outcome) == ["hangs"]
