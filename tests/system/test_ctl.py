# SPDX-License-Identifier: BSD-2-Clause
"""The management channel of a running system, with guests that say their time-stamp counter on and on (ticker.S). Time is
counted in instructions, so that the load of the host does not show."""
import argparse
import json
import random
import re
import subprocess
import time

import pytest
from linux_guest import needs_verify, verifying_guest
from test_servers import dies
from umbra import console, control, images, layout, machine, system
from umbra.errors import Failure

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
TICKER = layout.module_output("debug", "guests/ticker")
NEEDED = [layout.kernel_output("debug"), TICKER] + [layout.server_output("debug", n)
                                                   for n in ("init", "memmgr", "console", "control", "vmm", "tinyvmm")]
pytestmark = pytest.mark.needs(*NEEDED)
STEP = 1 << 24              # between two lines of a ticker
SLACK = 150_000_000         # ticks: what a hand-over and the building of the next VMM may take from a guest
TURNS = 30_000_000          # ticks: a turn of each other guest and of a server that spins
SECONDS = 60 * machine.patience()


class Tickers:
    """A system of tickers: what each says, and the channel."""

    def __init__(self, machine, count, path, log):
        self.machine, self.count, self.path, self.log_path = machine, count, path, log
        self.shared = console.Shared(count)
        self.text = [""] * count
        self.taken = 0
        self.channel = None

    def look(self):
        """Takes what has come."""
        self.machine.receive(0.05)
        for guest, data in self.shared.receive(self.machine.output[self.taken:]):
            self.text[guest] += data.decode("latin-1").replace("\r", "")
        self.taken = len(self.machine.output)

    def until(self, condition, what):
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, "no %s\n%r\n%s" % (what, [t[-200:] for t in self.text], self.log())
            self.look()

    def settle(self, guest):
        """Waits until what was said before has come: by what another guest says after it."""
        for _ in range(10):
            self.look()
        self.more(3, guest)

    def goes_on(self, name="vmm0", guest=0):
        """Waits until exits of the guest are answered from now on, and shown: its lines alone may have been on their way."""
        def said():
            return next(g for g in self.channel.guests() if g["name"] == name)
        before = said()["exits"]
        self.until(lambda: said()["exits"] > before + 1 and said()["state"] == "running", "guest that goes on")
        self.settle(guest)

    def ticks(self, guest=0):
        return [int(t, 16) for t in re.findall(r"^([0-9a-f]{16})\n", self.text[guest], re.M)]

    def more(self, number, guest=0):
        """Waits for so many further lines of the guest."""
        wanted = len(self.ticks(guest)) + number
        self.until(lambda: len(self.ticks(guest)) >= wanted, "%d lines of guest %d" % (wanted, guest))

    def largest_gap(self, guest=0):
        found = self.ticks(guest)
        assert found == sorted(found), "time went back"
        return max(b - a for a, b in zip(found, found[1:]))

    def log(self):
        return self.log_path.read_text(errors="replace").replace("\r", "")

    def connect(self):
        if self.channel:
            self.channel.end.close()
        self.channel = control.open_channel(str(self.path), SECONDS)
        return self.channel

    def connect_if_served(self):
        """A new connection that is answered within a second."""
        self.connect().timeout = 1
        try:
            self.channel.ask("list")
        except Failure:
            return False
        self.channel.timeout = SECONDS
        return True

    def upgrade(self, image):
        self.channel.upload("vmm0", image)
        self.channel.upgrade("vmm0")

    def ask(self, command, guest=0, **fields):
        return self.channel.ask(command, guest="vmm%d" % guest, **fields)

    def guest(self, number=0):
        return self.channel.guests()[number]


@pytest.fixture
def tickers(boot, tmp_path):
    def start(count=1, settings=(), silent=()):
        guests = [images.Guest("g%d" % n, layout.ROOT / TICKER, None, "", 16 << 20) for n in range(count)]
        log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
        options = argparse.Namespace(**{**vars(OPTIONS), "set": list(settings)})
        machine = boot(modules=system.modules(options, guests), cmdline=system.CMDLINE, icount=True,
                       memory=system.machine_memory(guests), serials=("socket", str(log)), control=str(path))
        run = Tickers(machine, count, path, log)
        for guest in range(count):
            run.more(0 if guest in silent else 2, guest)
        run.connect()
        return run
    return start


def test_list_says_what_there_is_and_stats_grow(tickers):
    run = tickers(2)
    first, second = run.channel.guests()
    assert (first["name"], second["name"]) == ("vmm0", "vmm1")
    assert first["state"] == second["state"] == "running" and first["memory_bytes"] == 16 << 20
    assert first["incarnation"] == first["restarts"] == 0
    for key in ("exits", "cpu_us"):
        run.until(lambda: run.guest()[key] > first[key], "growth of " + key)


def test_a_paused_guests_clock_stands_still_and_the_others_go_on(tickers):
    """In the middle of an exit, as one mostly is that has just said something, and between two."""
    run = tickers(2)
    for delay in (0, 0.06, 0.12):
        run.until(lambda: run.guest()["successor"], "successor")
        run.more(2)
        time.sleep(delay)
        run.ask("pause")
        assert run.guest()["state"] == "paused"
        run.settle(1)
        silent, before = len(run.ticks()), run.ticks(1)[-1]
        run.more(15, guest=1)
        assert len(run.ticks()) == silent
        assert run.ticks(1)[-1] - before > STEP + SLACK
        run.ask("resume")
        run.more(2)
    assert run.largest_gap() < STEP + SLACK
    assert run.largest_gap(1) < STEP + SLACK    # nobody else lost anything
    assert run.guest()["state"] == "running"


def test_a_vmm_that_is_killed_or_replaced_leaves_its_guest_alone(tickers):
    run = tickers()
    for turn, command in enumerate(("kill-vmm", "restart-vmm", "kill-vmm")):
        run.until(lambda: run.guest()["successor"], "successor")
        run.ask(command)
        run.goes_on()
        assert run.guest()["incarnation"] == run.guest()["restarts"] == turn + 1
    assert run.largest_gap() < STEP + SLACK
    assert run.text[0].count("Z") == 1


def test_a_vmm_that_hangs_is_found_out(tickers):
    run = tickers()
    run.ask("hang-vmm")
    run.until(lambda: run.guest()["restarts"] == 1, "restart")
    run.more(3)
    assert run.largest_gap() < STEP + SLACK
    report = run.channel.crash_report("vmm0")
    assert re.match(r"hangs: \d+ us on exit \d+\n", report) and "\nexit " in report, report


def test_a_vmm_that_hangs_at_the_first_exit_of_a_guest_that_begins_again_is_found_out(tickers):
    """The guest before had answered many."""
    run = tickers(settings=["vmm0.inject=0x400", "vmm0.inject_at=1", "vmm0.inject_every=0", "vmm0.inject_count=3"])
    run.until(lambda: run.guest()["successor"], "successor")
    run.ask("stop")
    run.text[0] = ""
    run.ask("start")
    assert run.guest()["exits"] <= 1
    run.until(lambda: "vmm0: hangs: " in run.log(), "hang that is found")
    run.more(3)
    assert run.guest()["state"] == "running"


def test_the_channel_dies_and_guests_live_on(tickers):
    run = tickers()
    for turn in range(5):
        run.channel.request("crash-control")
        run.until(lambda: run.log().count("control: crashed") == turn + 1, "crash")
        run.until(lambda: run.connect_if_served(), "channel after its crash")
        assert run.guest()["restarts"] == 0
    run.channel.request("crash-control")
    run.until(lambda: "init: control is not built again" in run.log(), "end of the rebuilding")
    run.more(3)
    assert run.largest_gap() < STEP + SLACK


def whole_lines(text):
    return re.fullmatch(r"Z\n([0-9a-f]{16}\n)*[0-9a-f]*", text)


@pytest.mark.parametrize("way", ["loop", "stand"])
def test_guests_that_run_go_on_beside_a_console_that_hangs(tickers, way):
    """What they say meanwhile waits in their rings, and for the rest in their serial ports; how late they were stands in it."""
    run = tickers(2, dies(way, at=3000, count=1)[1::2])
    run.until(lambda: "init: console has taken over" in run.log(), "console that takes over")
    for guest in range(2):
        run.more(100, guest)
        assert whole_lines(run.text[guest]) and run.text[guest].count("Z") == 1
        assert run.largest_gap(guest) < STEP + TURNS
    assert run.log().count("console: hangs") == 1


def test_a_console_that_is_replaced_loses_no_byte_and_no_guest(tickers):
    """Stopped at any instruction, between a byte's way to the port and the store that counts it, too."""
    run = tickers(2)
    randomness = random.Random(3)
    for turn in range(25):
        run.channel.ask("restart-server", server="console")
        for _ in range(randomness.randrange(3)):
            run.look()
    run.settle(0)
    for guest in (0, 1):
        assert whole_lines(run.text[guest]), run.text[guest]
        assert run.largest_gap(guest) < STEP + SLACK
    guests, servers = run.channel.list()
    assert [g["restarts"] for g in guests] == [0, 0]
    assert {s["name"]: s["restarts"] for s in servers}["console"] == 25
    run.machine.send(run.shared.send(1, b"q"))
    run.until(lambda: run.guest(1)["state"] == "ended", "end of the guest that was told")
    with pytest.raises(control.Refused):
        run.channel.ask("restart-server", server="control")


def other_vmm(folder, source, define="", change=lambda text: text):
    """A VMM of which one file is compiled with another definition, or is another: the build's own commands, changed in that."""
    target = layout.server_output("debug", "vmm")
    commands = subprocess.run(["ninja", "-f", "build/build.ninja", "-t", "commands", target], cwd=layout.ROOT, text=True,
                              capture_output=True, check=True).stdout.splitlines()
    compile_ = next(c for c in commands if re.search(r" -c %s " % re.escape(source), c))
    place = re.search(r" -o (\S+)$", compile_)[1]
    link = next(c for c in commands if " -o %s " % target in c)
    new, program, other = folder / "changed.o", folder / "vmm.elf", folder / "changed.c"
    text = (layout.ROOT / source).read_text()
    other.write_text(change(text))
    assert define or other.read_text() != text
    compile_ = compile_.replace(" -o " + place, " -o %s %s" % (new, define)).replace("-MF " + place, "-MF %s" % new)
    compile_ = compile_.replace(" -c " + source, " -iquote %s -c %s" % (source.rpartition("/")[0], other))
    link = link.replace(" %s " % place, " %s " % new).replace(" -o %s " % target, " -o %s " % program)
    for line in (compile_, link):
        subprocess.run(line, shell=True, cwd=layout.ROOT, check=True)
    return control.program_only(program.read_bytes())


def renamed_vmm(folder):
    return other_vmm(folder, "servers/vmm/program.c", "-UUMBRA_VERSION '-DUMBRA_VERSION=\"next\"'")


def vmm_that_begins_with(folder, code):
    """Each exit's handling does."""
    place = "        vmm_begin(&p->vmm);\n"
    return other_vmm(folder, "servers/vmm/main.c", change=lambda text: text.replace(place, "%s        %s\n" % (place, code)))


def slow_vmm(folder):
    """It takes a fifth of a second more before it is ready."""
    wait = "    for (uint64_t t = host_tsc(); host_tsc() - t < 200000000;)\n        ;\n"
    place = "    if (supervisor_ready("
    return other_vmm(folder, "servers/vmm/main.c", change=lambda text: text.replace(place, wait + place))


def test_another_program_takes_over_under_a_running_guest(tickers, tmp_path):
    run = tickers()
    old = run.guest()["program"]
    run.upgrade(renamed_vmm(tmp_path))
    run.goes_on()
    new = run.guest()["program"]
    assert old.startswith("umbra 0") and new.startswith("umbra next ")
    run.until(lambda: run.guest()["next"] == new, "successor of the new program")
    run.ask("kill-vmm")
    run.goes_on()
    assert run.guest()["program"] == new and run.guest()["incarnation"] >= 3
    assert run.largest_gap() < STEP + SLACK
    assert run.text[0].count("Z") == 1


def test_a_paused_guest_stands_still_though_a_program_for_it_gets_ready(tickers, tmp_path):
    run = tickers(2)
    run.channel.upload("vmm0", slow_vmm(tmp_path))
    run.channel.send(b'{"id":7001,"command":"upgrade","guest":"vmm0"}\n{"id":7002,"command":"pause","guest":"vmm0"}\n')
    run.until(lambda: run.guest()["state"] == "paused", "pause")
    before = run.guest()
    run.more(60, guest=1)       # what was not read while the program came is shown meanwhile
    after = run.guest()
    assert (after["state"], after["restarts"], after["exits"]) == ("paused", 0, before["exits"])
    assert (run.ask("upgraded")["phase"], run.ask("upgraded")["text"]) == ("refused", "the guest was paused")
    run.ask("resume")
    run.until(lambda: run.guest()["exits"] > before["exits"], "guest that goes on")
    assert run.guest()["state"] == "running"


def test_an_upgrade_whose_guest_is_stopped_meanwhile_is_refused(tickers, tmp_path):
    run = tickers(2)
    run.channel.upload("vmm0", slow_vmm(tmp_path))
    run.channel.send(b'{"id":7001,"command":"upgrade","guest":"vmm0"}\n{"id":7002,"command":"stop","guest":"vmm0"}\n')
    run.until(lambda: run.guest()["state"] == "stopped", "stop")
    assert (run.ask("upgraded")["phase"], run.ask("upgraded")["text"]) == ("refused", "its guest has ended")
    run.ask("start")
    run.until(lambda: run.guest()["state"] == "running", "guest that begins anew")
    assert run.guest()["program"].startswith("umbra 0")


def test_a_program_that_does_not_know_the_saved_state_is_refused(tickers, tmp_path):
    run = tickers()
    before = run.guest()
    strange = other_vmm(tmp_path, "servers/vmm/core/start.c", "-DVMM_STATE_VERSION=77")
    with pytest.raises(control.Refused, match=r"the guest's state is of version \d+, .* bytes; this program reads"):
        run.upgrade(strange)
    run.until(lambda: run.guest()["successor"], "successor of the old program")
    run.more(2)
    after = run.guest()
    assert (after["incarnation"], after["restarts"], after["next"]) == (0, 0, before["program"])
    assert run.largest_gap() < STEP + SLACK


def test_a_program_that_dies_before_it_answers_an_exit_gives_way_to_the_old_one(tickers, tmp_path):
    """It said that it was ready, and the guest was handed over to it."""
    run = tickers()
    before = run.guest()
    run.channel.upload("vmm0", vmm_that_begins_with(tmp_path, "inject_crash();"))
    run.ask("upgrade")
    run.until(lambda: run.ask("upgraded")["phase"] == "refused", "refusal")
    assert run.ask("upgraded")["text"] == "the new program died before it answered an exit"
    run.more(3)
    run.until(lambda: run.guest()["successor"], "successor of the old program")
    after = run.guest()
    assert after["program"] == after["next"] == before["program"] and after["restarts"] == 2
    assert re.match(r"crashed: page fault", run.channel.crash_report("vmm0"))
    run.ask("kill-vmm")
    run.more(2)
    assert run.largest_gap() < STEP + SLACK and whole_lines(run.text[0])
    run.upgrade(renamed_vmm(tmp_path))      # a sound one may still come
    assert run.guest()["program"].startswith("umbra next ")


def test_what_is_no_vmm_is_refused(tickers):
    run = tickers()
    whole = control.program_only((layout.ROOT / layout.server_output("debug", "vmm")).read_bytes())
    other = control.program_only((layout.ROOT / layout.server_output("debug", "tinyvmm")).read_bytes())
    for image, why in ((b"#!/bin/sh\n", "no ELF file"), (whole[:4096], "outside the file"),
                       (other, "built for another system description")):
        with pytest.raises(control.Refused, match=why):
            run.upgrade(image)
    run.channel.ask("upload", guest="vmm0", bytes=100, crc=1)
    for wrong in ({"offset": 1, "data": "AAAA"}, {"offset": 0, "data": "A" * 136}, {"offset": 0, "data": "*"}, {"data": "AAAA"}):
        with pytest.raises(control.Refused):
            run.channel.ask("piece", **wrong)
    run.channel.ask("piece", offset=0, data="A" * 132)
    run.ask("upgrade")
    assert "did not come whole" in run.ask("upgraded")["text"]
    for size in (0, control.IMAGE_MAX + 1, 1 << 40):
        with pytest.raises(control.Refused):
            run.channel.ask("upload", guest="vmm0", bytes=size, crc=1)
    run.more(2)
    assert run.guest()["restarts"] == 0 and run.largest_gap() < STEP + SLACK


def boot_verifying(boot, tmp_path, *parts):
    """A machine whose guest verifies itself, and the path of its management channel."""
    words = dict(zip(*[iter(verifying_guest(*parts, flavour="cloud-amd64", append="panic=-1 oops=panic"))] * 2))
    guests = [images.Guest("v", words["--kernel"], words["--initrd"], words["--append"], 128 << 20)]
    log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
    machine = boot(modules=system.modules(OPTIONS, guests), cmdline=system.CMDLINE, memory=system.machine_memory(guests),
                   serials=("socket", str(log)), control=str(path))
    end = time.monotonic() + SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    return machine, path


@needs_verify
def test_shadow_tables_of_a_running_guest_say_what_its_own_say(boot, tmp_path):
    """Under work that changes them all the time; right after a restart, too, and of what is filled again then."""
    machine, path = boot_verifying(boot, tmp_path, "--scale", "4", "storm", "memory", "cow", "maps", "faults")
    with control.open_channel(str(path), SECONDS) as channel:
        while channel.guests()[0]["exits"] < 30000:
            time.sleep(0.1)
        found = []
        while channel.guests()[0]["state"] != "ended" and len(found) < 16:
            if len(found) % 4 == 3:
                channel.ask("kill-vmm", guest="vmm0")
            try:
                found.append(channel.audit("vmm0"))
            except control.Refused:
                assert channel.guests()[0]["state"] == "ended"
            machine.receive(0.2)
        assert [f for f in found if f["differences"]] == []
        assert len(found) >= 8 and len({f["incarnation"] for f in found}) >= 3, found
        assert max(f["entries"] for f in found) > 2000, found
    machine.expect("^verify all ok", SECONDS * 3)


def audit_of_faulty(machine, path, faulty):
    """What an audit finds after an upgrade to a faulty VMM; None: the guest has ended."""
    with control.open_channel(str(path), SECONDS) as channel:
        while channel.guests()[0]["exits"] < 30000:
            time.sleep(0.1)
        assert channel.audit("vmm0")["differences"] == 0
        channel.upload("vmm0", faulty)
        channel.upgrade("vmm0")
        found, end = {"differences": 0}, time.monotonic() + SECONDS
        while not found["differences"] and time.monotonic() < end:
            try:
                found = channel.audit("vmm0")
            except Failure:     # the guest has ended, and so does the machine that has no other
                assert machine.wait(SECONDS) is not None
                return None
    return found


@needs_verify
def test_an_audit_finds_what_a_faulty_vmm_leaves_in_its_shadow_tables(boot, tmp_path):
    """One that lets a page stay writable that the guest has made read-only, as it does with every page of a fork."""
    faulty = other_vmm(tmp_path, "servers/vmm/shadow/resync.c", change=lambda text: text.replace("    if (lost) {", "    if (lost && !s) {"))
    found = None
    for attempt in range(15):       # the guest may come to its own, wrong, end before
        if found:
            break
        folder = tmp_path / str(attempt)
        folder.mkdir()
        found = audit_of_faulty(*boot_verifying(boot, folder, "--scale", "100", "storm", "cow", "maps"), faulty)
    assert found and re.match(r"table \d+ entry \d+: (writer that the guest forbids|leaf with more rights)", found["first"]), found


def test_a_program_that_hangs_before_it_answers_gives_way_though_another_one_is_on_its_way(tickers, tmp_path):
    """Which is refused till the one before has answered: else there were nothing to give way to."""
    run = tickers()
    before = run.guest()
    begins_with(run, vmm_that_begins_with(tmp_path, SPINS))
    with pytest.raises(control.Refused, match="not in a state"):
        run.ask("upload", bytes=4096, crc=0)
    run.until(lambda: run.ask("upgraded")["phase"] == "refused", "refusal")
    run.goes_on()
    assert run.guest()["program"] == before["program"]
    run.upgrade(renamed_vmm(tmp_path))


@needs_verify
def test_a_guest_verifies_itself_over_an_upgrade(boot, tmp_path):
    """Amid its work, and no later than when it asks for a line: on a busy machine the program comes slowly."""
    machine, path = boot_verifying(boot, tmp_path, "--scale", "4", "storm", "memory", "cow", "fpu", "timers", "echo", "segments")
    image = renamed_vmm(tmp_path)
    with control.open_channel(str(path), SECONDS) as channel:
        while channel.guests()[0]["state"] != "running":
            time.sleep(0.1)
        channel.upload("vmm0", image)
        machine.expect("^verify storm ok", SECONDS * 3)
        channel.upgrade("vmm0")
        assert channel.guests()[0]["program"].startswith("umbra next ")
        machine.expect(r"^echo 1\? ", SECONDS * 3)
        machine.send("end\n")
        machine.expect("^verify all ok", SECONDS * 3)


SPINS = "for (;;) __asm__ volatile(\"\");"


def begins_with(run, image):
    """The guest has gone over to it, and it answers nothing."""
    run.channel.upload("vmm0", image)
    run.channel.send(b'{"id":7001,"command":"upgrade","guest":"vmm0"}\n')
    run.until(lambda: run.ask("upgraded")["phase"] == "done", "program that took over")


@pytest.mark.parametrize("command", ["kill-vmm", "restart-vmm"])
def test_a_program_that_has_answered_nothing_is_replaced_by_the_old_one(tickers, tmp_path, command):
    run = tickers()
    before = run.guest()
    begins_with(run, vmm_that_begins_with(tmp_path, SPINS))
    run.ask(command)
    answer = run.ask("upgraded")
    assert (answer["phase"], answer["text"]) == ("refused", "the new program was replaced before it answered an exit")
    run.goes_on()
    assert run.guest()["program"] == before["program"]
    run.upgrade(renamed_vmm(tmp_path))


def test_a_guest_that_is_stopped_under_a_program_on_trial_begins_anew_with_the_old_one(tickers, tmp_path):
    run = tickers()
    before = run.guest()
    begins_with(run, vmm_that_begins_with(tmp_path, SPINS))
    run.ask("stop")
    answer = run.ask("upgraded")
    assert (answer["phase"], answer["text"]) == ("refused", "the new program was stopped before it answered an exit")
    run.ask("start")
    run.until(lambda: run.guest()["state"] == "running", "guest that begins anew")
    assert run.guest()["program"] == before["program"]


def test_a_program_on_trial_does_not_end_its_guest(tickers, tmp_path):
    run = tickers()
    before = run.guest()
    unable = other_vmm(tmp_path, "servers/vmm/main.c", change=lambda text: text.replace(
        "enum vmm_end end = vmm_handle(&p->vmm);", "enum vmm_end end = VMM_END_UNKNOWN;"))
    run.channel.upload("vmm0", unable)
    run.ask("upgrade")
    run.until(lambda: run.ask("upgraded")["phase"] == "refused", "refusal")
    run.goes_on()
    assert run.guest()["program"] == before["program"]


def test_a_stopped_guest_is_silent_and_the_system_is_there_without_any(tickers):
    run = tickers(2)
    run.ask("stop")
    assert run.guest()["state"] == "stopped" and run.guest()["ended"] == "stopped"
    run.settle(1)
    silent = len(run.ticks())
    run.more(3, guest=1)
    assert len(run.ticks()) == silent
    with pytest.raises(control.Refused, match="not in a state"):
        run.ask("pause")
    assert "guest vmm0 ended: stopped" in run.log()
    run.machine.send(run.shared.send(1, b"q"))
    run.until(lambda: run.guest(1)["state"] == "ended", "end of the other guest")
    assert run.guest(1)["ended"].startswith("powered off")


def test_a_guest_that_is_started_again_begins_with_zeroed_memory(tickers):
    run = tickers(2)
    for turn in range(1, 4):
        run.ask("stop")
        run.settle(1)
        run.text[0] = ""
        run.ask("start")
        run.until(lambda: re.search("[ZD]\n", run.text[0]), "beginning")
        run.text[0] = run.text[0][re.search("[ZD]\n", run.text[0]).start():]
        run.more(3)
        assert re.findall("[ZD]", run.text[0]) == ["Z"]
        assert run.ticks()[0] < STEP + 2 * SLACK    # its time begins anew, too, though the next VMM is built at once
        assert run.guest()["state"] == "running" and run.guest()["ended"] == ""
    run.until(lambda: run.guest()["successor"], "successor")
    run.ask("kill-vmm")
    run.more(2)
    assert run.largest_gap() < STEP + SLACK
    assert run.largest_gap(1) < STEP + SLACK and "D" not in run.text[1]


def test_frames_that_come_back_are_zero_for_whoever_gets_them(tickers):
    """Both begin at once: each gets also what the other one had; the third time what was written to the first time."""
    run = tickers(2)
    for _ in range(2):
        run.ask("stop", 0)
        run.ask("stop", 1)
        for _ in range(15):
            run.look()
        run.text = ["", ""]
        run.ask("start", 0)
        run.ask("start", 1)
        for guest in (0, 1):
            run.until(lambda: re.search("[ZD]\n", run.text[guest]), "beginning of guest %d" % guest)
            run.more(2, guest)
            assert re.findall("[ZD]", run.text[guest]) == ["Z"]


def test_a_guest_without_autostart_begins_when_it_is_told(tickers):
    run = tickers(2, settings=["vmm0.vm.autostart=false"], silent=(0,))
    assert run.guest()["state"] == "waiting" and run.text[0] == ""
    with pytest.raises(control.Refused):
        run.ask("pause")
    run.ask("start")
    run.more(3)
    assert run.guest()["state"] == "running" and run.guest()["incarnation"] == 0
    with pytest.raises(control.Refused):
        run.ask("start")


def test_running_guests_do_not_notice_that_memmgr_is_replaced(tickers):
    run = tickers(2)
    for turn in range(3):
        run.channel.ask("restart-server", server="memmgr")
        run.more(2)
        run.until(lambda: run.log().count("init: memmgr has taken over") == turn + 1, "memmgr")
    for guest in (0, 1):
        assert run.largest_gap(guest) < STEP + SLACK and whole_lines(run.text[guest])
    run.ask("stop")
    run.settle(1)
    run.text[0] = ""
    run.ask("start")
    run.until(lambda: re.search("[ZD]\n", run.text[0]), "beginning")
    run.more(3)
    assert re.findall("[ZD]", run.text[0]) == ["Z"] and run.guest()["restarts"] == 0
    assert run.largest_gap(1) < STEP + SLACK


def test_memory_is_zero_and_nobody_elses_whenever_memmgr_dies(tickers):
    """In the middle of handing out and of zeroing; each further one lives longer, and both guests begin again and again."""
    run = tickers(2, settings=["memmgr.inject_at=7", "memmgr.inject_every=331", "memmgr.inject_count=60"])
    for turn in range(3):
        for guest in (0, 1):
            run.ask("stop", guest)
        for _ in range(10):
            run.look()
        run.text = ["", ""]
        for guest in (0, 1):
            run.ask("start", guest)
        for guest in (0, 1):
            run.until(lambda: re.search("[ZD]\n", run.text[guest]), "beginning of guest %d" % guest)
            run.more(2, guest)
            assert re.findall("[ZD]", run.text[guest]) == ["Z"], run.log()
    assert run.log().count("memmgr: crashed") >= 20
    assert not re.search(r"kernel error", run.log())


def test_memmgr_stopped_at_any_instruction_loses_no_guest(tickers):
    run = tickers(2)
    randomness = random.Random(5)
    for turn in range(6):
        run.ask("stop")
        run.settle(1)
        run.text[0] = ""
        run.ask("start")
        for _ in range(4):
            for _ in range(randomness.randrange(3)):
                run.look()
            try:
                run.channel.ask("restart-server", server="memmgr")
            except control.Refused:
                pass        # the next one is not ready yet
        run.until(lambda: re.search("[ZD]\n", run.text[0]), "beginning")
        run.more(2)
        assert re.findall("[ZD]", run.text[0]) == ["Z"], run.log()
    assert run.largest_gap(1) < STEP + 4 * SLACK and whole_lines(run.text[1])


NONSENSE = [b"{\n", b"\0\xff\x80\n", b"[]\n", b'{"command":"list"\n', b'{"command":7}\n', b'{"id":1}\n', b"x" * 5000 + b"\n",
            b'{"command":"pause"}\n', b'{"command":"pause","guest":"nobody"}\n', b'{"command":"format-disk"}\n',
            b'{"command":"pause","guest":"' + b"a" * 900 + b'"}\n']


def test_nonsense_is_answered_with_errors_and_harms_nothing(tickers):
    run = tickers()
    for line in NONSENSE:
        run.channel.send(line)
        answer = json.loads(run.channel.line(time.monotonic() + SECONDS))
        assert answer["ok"] is False and answer["error"], line
    randomness = random.Random(1)
    for _ in range(20):
        run.channel.send(bytes(randomness.randrange(256) for _ in range(randomness.randrange(200))) + b"\n")
    assert run.guest()["state"] == "running"
    run.more(2)


def test_a_client_that_goes_away_in_mid_line_harms_nothing(tickers):
    run = tickers()
    for part in (b'{"command":"stop","guest":"vm', b"y" * 3000, b'{"command":"list"}\n' * 50):
        run.channel.send(part)
        run.connect()
        assert run.guest()["state"] == "running"
    run.more(2)


def test_whoever_takes_no_answers_stops_himself_only(tickers):
    run = tickers()
    idle = control.connected(str(run.path))     # nobody is served beside the first: it waits
    run.channel.end.settimeout(1)
    with pytest.raises((TimeoutError, Failure)):
        while True:
            run.channel.end.sendall(b'{"command":"list"}\n' * 1000)
    run.more(3)
    run.channel.end.close()
    idle.close()
    assert run.connect().guests()[0]["state"] == "running"


def test_ctl_speaks_to_the_system_that_runs(tickers):
    run = tickers()
    run.channel.end.close()

    def ctl(*words):
        return subprocess.run(["/usr/bin/python3", "build.py", "ctl", *words, "--socket", str(run.path)], cwd=layout.ROOT,
                              capture_output=True, text=True, timeout=SECONDS)
    shown = ctl("list")
    assert shown.returncode == 0 and re.search(r"^vmm0 +running +0 +0 ", shown.stdout, re.M), shown
    assert json.loads(ctl("stats", "--json").stdout)[0]["exits"] > 0
    assert ctl("pause").returncode == 0
    refused = ctl("pause", "vmm0")
    assert refused.returncode == 1 and "not in a state for this" in refused.stderr
    assert ctl("resume", "nobody").returncode == 2
    assert ctl("dance").returncode == 2
    assert ctl("resume", "vmm0").returncode == 0
    assert re.search(r"^console +running +0 ", shown.stdout, re.M) and re.search(r"^memmgr +running +0 ", shown.stdout, re.M)
    looked = ctl("audit")
    assert looked.returncode == 0 and re.match(r"[1-9]\d* entries looked at, .* 0 differences\nthe kernel: [1-9]\d* .* 0 violations; .* 0 needless, ", looked.stdout), looked
    assert ctl("restart-server", "console").returncode == 0 and ctl("restart-server", "nobody").returncode == 2
    assert re.search(r"^console +\w+ +1 ", ctl("list").stdout, re.M)
    assert ctl("crash-report", "console").stdout == "no death is known\n"
