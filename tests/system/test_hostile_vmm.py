# SPDX-License-Identifier: BSD-2-Clause
"""VMMs that do on purpose what none of this tree does: another program is the boot module, so nothing in the system knows of
it. Their guests may be lost; nobody else loses anything, waits, or is lied to. Time is counted in instructions."""
import argparse

import pytest
from test_ctl import NEEDED, OPTIONS, SLACK, STEP, TICKER, TURNS, Tickers, other_vmm, renamed_vmm, whole_lines
from umbra import control, images, layout, system

pytestmark = pytest.mark.needs(*NEEDED)
VMM = layout.server_output("debug", "vmm")
SERVES = "        vmm_begin(&p->vmm);\n"
READY = "    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)\n"


@pytest.fixture
def hostile(boot, tmp_path):
    """hostile(place, code) boots two tickers; the first one's VMMs execute the code before that place of their main program."""
    def start(place, code):
        blanks = place[:len(place) - len(place.lstrip())]
        code = "%sif (vmm_info()->name[3] == '0') { %s }\n%s" % (blanks, code, place)
        other_vmm(tmp_path, "servers/vmm/main.c", change=lambda text: text.replace(place, code, 1))
        guests = [images.Guest("g%d" % n, layout.ROOT / TICKER, None, "", 16 << 20) for n in range(2)]
        log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
        modules = system.modules(argparse.Namespace(**{**vars(OPTIONS), "set": []}), guests)
        assert (VMM, "") in modules
        machine = boot(modules=[(str(tmp_path / "vmm.elf"), "") if m[0] == VMM else m for m in modules], cmdline=system.CMDLINE,
                       icount=True, memory=system.machine_memory(guests), serials=("socket", str(log)), control=str(path))
        run = Tickers(machine, 2, path, log)
        run.more(2, guest=1)
        run.connect()
        return run
    return start


def share(run, guest, lines):
    """Hundredths of the processor that a guest has while it says so many lines."""
    used, began = run.guest(guest)["cpu_us"], run.ticks(guest)[-1]
    run.more(lines, guest)
    return (run.guest(guest)["cpu_us"] - used) * 1000 * 100 // (run.ticks(guest)[-1] - began)


def test_a_vmm_that_calls_init_without_end_does_not_keep_others_waiting(hostile):
    run = hostile(SERVES, 'static unsigned exits; if (exits++ == 20) for (;;) supervisor_log(CAP_SUPERVISOR, "%s");' % ("x" * 400))
    run.until(lambda: "x" * 400 in run.log(), "first line")
    run.more(20, guest=1)
    assert share(run, 1, 30) >= 45
    assert run.largest_gap(1) < STEP + TURNS and whole_lines(run.text[1])
    run.ask("stop")
    assert run.guest()["state"] == "stopped"


def test_a_vmm_that_sends_to_init_without_end_does_not_keep_others_waiting(hostile):
    """It waits for no answer, so that its turn could go on when init has done what it asked for."""
    run = hostile(SERVES, 'static unsigned exits; if (exits++ == 20) { supervisor_log(CAP_SUPERVISOR, "%s"); for (;;) { struct sys_message m = { '
                  '.tag = TAG(SUPERVISOR_LOG_LABEL, 51), .w = { 400, %s } }; sys_send(CAP_SUPERVISOR, &m); } }' % (
                      "x" * 400, ", ".join([hex(int.from_bytes(b"x" * 8, "little"))] * 3)))
    run.until(lambda: run.log().count("x" * 400) > 20, "lines that were sent")
    assert share(run, 1, 30) >= 45
    assert run.largest_gap(1) < STEP + TURNS and whole_lines(run.text[1])
    run.ask("stop")
    assert run.guest()["state"] == "stopped"


def test_a_vmm_that_says_it_is_done_for_and_goes_on_is_stopped(hostile):
    """Those that were built to wait: after three of them none is built any more, and the last one would be there for good."""
    run = hostile(READY, "if (p.env.info->incarnation) { struct guest_state none = { 0 }; supervisor_ended(CAP_SUPERVISOR, "
                         "END_REASON_INTERNAL, 0, \"\", &none); for (;;) __asm__ volatile(\"\"); }")
    run.until(lambda: run.log().count("who was to take over is dead") == 3, "three deaths")
    run.more(3, guest=1)
    assert share(run, 1, 30) >= 45
    assert run.guest()["restarts"] == 0 and run.largest_gap(1) < STEP + SLACK


def test_an_audit_that_nobody_asked_for_is_none(hostile):
    run = hostile(SERVES, 'static unsigned exits; if (exits++ % 20 == 0) supervisor_audited(CAP_SUPERVISOR, 7, 7, 7, 7, "forged");')
    run.more(5)
    assert "forged" not in run.log()
    with pytest.raises(control.Refused, match="not in a state"):
        run.ask("audited")


def test_a_vmm_that_goes_on_though_it_shall_wait_has_no_turn_of_its_own(hostile):
    """It says that it is ready without waiting for the answer."""
    run = hostile(READY, "if (p.env.info->incarnation) { struct sys_message ready = { .tag = TAG(SUPERVISOR_READY_LABEL, 0) }; "
                         "sys_send(CAP_SUPERVISOR, &ready); for (;;) __asm__ volatile(\"\"); }")
    run.until(lambda: run.guest()["successor"], "one that waits")
    run.more(3, guest=1)
    assert share(run, 1, 30) >= 45


def test_a_vmm_that_never_gets_ready_to_wait_is_found_out(hostile):
    """Half of its guest's turn is for it till then."""
    run = hostile(READY, "if (p.env.info->incarnation) for (;;) __asm__ volatile(\"\");")
    run.until(lambda: run.log().count("who was to take over is dead") == 3, "three deaths")
    run.more(3, guest=1)
    assert share(run, 1, 30) >= 45 and share(run, 0, 30) >= 45


def test_a_sound_program_behind_one_whose_vmms_never_got_ready_has_one_that_waits(hostile, tmp_path):
    run = hostile(READY, "if (p.env.info->incarnation) __builtin_trap();")
    run.until(lambda: run.log().count("who was to take over is dead") == 3, "three deaths")
    run.upgrade(renamed_vmm(tmp_path))
    run.until(lambda: run.guest()["successor"], "one that waits")


def test_a_vmm_that_signals_the_console_without_end_leaves_its_neighbour_a_quarter(hostile):
    """The console's half of the processor comes before all guests, the other half is shared: docs/limits.md."""
    run = hostile(SERVES, "static unsigned exits; if (exits++ == 20) for (;;) sys_signal(CAP_WRITTEN);")
    run.more(20, guest=1)
    assert share(run, 1, 30) >= 25
