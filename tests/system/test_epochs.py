# SPDX-License-Identifier: BSD-2-Clause
"""What a debug kernel does with shadow tables, epochs and ASIDs is a run of the model of them (tests/verify/epoch.pml): gdb stands at each
step (tests/verify/epoch_trace.py), tools/umbra/epochs.py judges them."""
import subprocess

import pytest
import tiny_guest
from test_restart import dies
from umbra import epochs, layout, qemu

SECONDS = 240
BEFORE = ("set confirm off", "set pagination off", "set breakpoint always-inserted on", "set architecture i386:x86-64")
OF_TABLES = {"set up", "link", "fill", "table ends", "taken", "epoch", "flush", "new ASID", "same ASID"}


@pytest.fixture
def traced(boot, tmp_path):
    """traced(what is booted) runs the machine under gdb to its end, or so many steps, and gives (its output, the Replay of its steps)."""
    def start(steps=0, **parts):
        socket, trace = tmp_path / "gdb", tmp_path / "trace"
        booted = boot(**parts, extra=("-S", "-gdb", "unix:%s,server=on,wait=off" % qemu.doubled(socket)))
        while not socket.exists():
            assert booted.wait(0.05) is None, booted.tail()
        commands = [*BEFORE, "file %s" % layout.kernel_output("debug"), "target remote %s" % socket, 'set $trace_path = "%s"' % trace,
                    "set $trace_steps = %d" % steps]
        words = ["gdb", "-q", "-nx", "-batch", *(w for c in commands for w in ("-ex", c)), "-x", "tests/verify/epoch_trace.py"]
        with subprocess.Popen(words, cwd=layout.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as gdb:
            status = booted.wait(SECONDS)
            if status is None:
                gdb.kill()
            said = gdb.stdout.read()
        assert status is not None and gdb.wait() == 0, said[-2000:] + booted.tail()
        return booted.text(), epochs.Replay().run(epochs.parse(trace.read_text()))
    return start


def proc(name):
    return layout.proc_output("debug", "tests/procs/%s.c" % name)


@pytest.mark.needs(layout.kernel_output("debug"), *(proc(n) for n in ("test_tlb", "test_cr3", "test_attacks")))
@pytest.mark.parametrize("name, more", [("test_tlb", {"downgrade", "clear", "leave"}), ("test_cr3", {"downgrade"}), ("test_attacks", {"clear", "leave"})])
def test_what_a_hostile_process_makes_of_shadow_tables_are_steps_of_the_model(traced, name, more):
    said, replay = traced(modules=[(proc(name), "")])
    assert "1..%d" % len(layout.tests_in("tests/procs/%s.c" % name)) in said
    assert replay.breaches == []
    assert OF_TABLES | more <= set(replay.seen), replay.seen


@pytest.mark.needs(*tiny_guest.TINY_NEEDS)
def test_what_vmms_that_die_make_of_shadow_tables_are_steps_of_the_model(traced, tmp_path):
    log = tmp_path / "kernel.log"
    parts = tiny_guest.parts(tiny_guest.EVERY_EXIT, dies("delivery", "store", "reply", at=3, every=3, count=12))
    _, replay = traced(2000, **parts, serials=("socket", str(log)))
    assert log.read_text().count("has taken over at exit") == 12
    assert replay.breaches == []
    assert OF_TABLES - {"table ends"} <= set(replay.seen), replay.seen
