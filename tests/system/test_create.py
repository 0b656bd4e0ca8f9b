# SPDX-License-Identifier: BSD-2-Clause
"""Guests that no description names: created and destroyed while the system runs (docs/management.md). Time is counted in
instructions, as in test_ctl.py, whose tickers these are."""
import argparse
import re
import subprocess
import time

import pytest
from test_ctl import NEEDED, OPTIONS, SECONDS, SLACK, STEP, TICKER, TURNS, Tickers, renamed_vmm, whole_lines
from tiny_guest import EVERY_EXIT
from umbra import control, images, layout, machine, system
from umbra.errors import Failure

pytestmark = pytest.mark.needs(*NEEDED)
MB = 1 << 20
SOON = 200_000_000          # ticks: a VMM is built in an eighth of the processor, and another one cleared away


class Places(Tickers):
    """One described ticker, and places for others: `kernel0` is its image."""

    def create(self, name="new", mem=16 * MB, kernel="kernel0", **words):
        self.channel.create(name, mem, kernel, **words)

    def names(self):
        return [g["name"] for g in self.channel.guests()]

    def called(self, name):
        return next(g for g in self.channel.guests() if g["name"] == name)

    def places(self):
        return {k: v for k, v in self.channel.ask("places").items() if k not in ("id", "ok")}

    def begun(self, guest):
        """Waits for a guest's first lines: zeroed memory, and time that begins anew."""
        self.until(lambda: re.search("[ZD]\n", self.text[guest]), "beginning of guest %d" % guest)
        self.more(2, guest)
        assert re.findall("[ZD]", self.text[guest]) == ["Z"]

    def destroy(self, name="new", guest=1):
        self.channel.destroy(name)
        self.look()
        self.text[guest] = ""


@pytest.fixture
def places(boot, tmp_path):
    def start(pool=40 * MB, count=2, settings=(), module=()):
        guests = [images.Guest("g0", layout.ROOT / TICKER, None, "", 16 << 20)]
        log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
        options = argparse.Namespace(**{**vars(OPTIONS), "set": list(settings), "pool": pool, "pool_guests": count,
                                        "module": list(module)})
        machine = boot(modules=system.modules(options, guests), cmdline=system.CMDLINE, icount=True,
                       memory=system.machine_memory(guests, options), serials=("socket", str(log)), control=str(path))
        run = Places(machine, 1 + count, path, log)
        run.more(2)
        run.connect()
        return run
    return start


def test_a_guest_comes_to_be_that_no_description_names_and_goes_again(places):
    run = places()
    before = run.places()
    assert run.names() == ["vmm0"] and (before["places"], before["vacant"], before["mapped_bytes"]) == (2, 2, 0)
    run.create("web")
    run.begun(1)
    found = run.called("web")
    assert (found["state"], found["memory_bytes"], found["incarnation"], found["restarts"]) == ("running", 16 * MB, 0, 0)
    assert run.places() == {**before, "vacant": 1, "left_bytes": before["left_bytes"] - 16 * MB, "mapped_bytes": 16 * MB}
    assert re.search("^guest web created in place0$", run.log(), re.M) and "init: web is ready" in run.log()
    run.destroy("web")
    assert run.names() == ["vmm0"] and run.places() == before
    run.more(3)
    assert run.text[1] == ""
    assert run.largest_gap() < STEP + SLACK and whole_lines(run.text[0])


def test_guests_are_created_and_destroyed_fifty_times_and_nothing_is_lost(places):
    """Each begins with zeroed memory, and its end leaves all as it was: the places, their memory, what init and memmgr hold."""
    run = places(pool=16 * MB, count=1)
    run.create()
    run.begun(1)
    run.destroy()
    before, servers = run.places(), run.channel.list()[1]
    for turn in range(50):
        run.create("n%d" % turn)
        if turn % 5 == 0:
            run.begun(1)
        run.destroy("n%d" % turn)
    assert run.places() == before and before["mapped_bytes"] == 0 and before["left_bytes"] == 16 * MB
    assert {s["name"]: s["bytes"] for s in run.channel.list()[1]} == {s["name"]: s["bytes"] for s in servers}
    assert all(s["restarts"] == 0 for s in run.channel.list()[1])
    assert "kernel error" not in run.log()
    run.more(3)
    assert run.largest_gap() < STEP + SLACK and whole_lines(run.text[0])
    run.create()
    run.begun(1)


def test_every_refusal_says_why_and_leaves_nothing_behind(places):
    run = places(pool=40 * MB, count=2)
    before = run.places()
    refused = [({"name": "vmm0"}, "name is taken"), ({"name": "memmgr"}, "name is taken"), ({"name": "place0"}, "name is taken"),
               ({"name": "2nd"}, "guest's name"), ({"name": ""}, "guest's name"), ({"name": "a b"}, "guest's name"),
               ({"name": "x" * 32}, "guest's name"), ({"kernel": "nothing"}, "no such kernel"),
               ({"kernel": ""}, "no such kernel"), ({"kernel": "vmm"}, "no such kernel"), ({"kernel": "init"}, "no such kernel"),
               ({"initrd": "nothing"}, "no such kernel"), ({"mem": 0}, "memory is"), ({"mem": 2 * MB}, "memory is"),
               ({"mem": 16 * MB + 1}, "memory is"), ({"mem": 44 * MB}, "memory is"), ({"mem": 1 << 40}, "number is"),
               ({"percent": 0}, "share"), ({"percent": 101}, "share"), ({"append": "a" * 256}, "command line")]
    for words, why in refused:
        with pytest.raises(control.Refused, match=why):
            run.create(**words)
        assert run.places() == before and run.names() == ["vmm0"], words
    run.create("a", mem=32 * MB)
    with pytest.raises(control.Refused, match="too little of the memory"):
        run.create("b")
    with pytest.raises(control.Refused, match="name is taken"):
        run.create("a", mem=4 * MB)
    run.create("b", mem=8 * MB)
    with pytest.raises(control.Refused, match="all places"):
        run.create("c", mem=4 * MB)
    with pytest.raises(control.Refused, match="described, not created"):
        run.channel.ask("destroy", guest="vmm0")
    with pytest.raises(control.Refused, match="no guest of this name"):
        run.channel.ask("destroy", guest="c")
    run.begun(1)
    run.begun(2)
    run.channel.destroy("a")
    run.channel.destroy("b")
    assert run.places() == before
    assert run.largest_gap() < STEP + SLACK and whole_lines(run.text[0])


def test_a_system_without_places_says_so(places):
    run = places(pool=None)
    assert run.places()["places"] == 0
    with pytest.raises(control.Refused, match="sets nothing aside"):
        run.create()


def test_a_created_guest_is_ruled_like_any_other(places):
    """Its VMM is killed and replaced, it is paused, stopped and started, audited; and is always the same guest."""
    run = places()
    run.create()
    run.begun(1)
    for turn, command in enumerate(("kill-vmm", "restart-vmm")):
        run.until(lambda: run.called("new")["successor"], "successor")
        run.channel.ask(command, guest="new")
        run.until(lambda: run.called("new")["restarts"] == turn + 1, command)
        run.more(3, 1)
    run.channel.ask("pause", guest="new")
    run.more(5)
    assert run.called("new")["state"] == "paused"
    run.channel.ask("resume", guest="new")
    run.more(3, 1)
    assert run.text[1].count("Z") == 1 and whole_lines(run.text[1]) and run.largest_gap(1) < STEP + SLACK
    assert run.channel.audit("new")["differences"] == 0
    run.channel.ask("stop", guest="new")
    run.settle(0)
    run.text[1] = ""
    run.channel.ask("start", guest="new")
    run.begun(1)
    run.machine.send(run.shared.send(1, b"q"))
    run.until(lambda: run.called("new")["state"] == "ended", "end")
    assert run.called("new")["ended"].startswith("powered off")
    run.destroy()
    run.create("other")
    run.begun(1)
    assert (run.called("other")["restarts"], run.called("other")["ended"]) == (0, "")
    assert run.largest_gap() < STEP + SLACK and whole_lines(run.text[0])


def test_a_created_guests_program_is_replaced_and_goes_with_it(places, tmp_path):
    run = places()
    run.create()
    run.begun(1)
    old = run.called("new")["program"]
    run.channel.upload("new", renamed_vmm(tmp_path))
    run.channel.upgrade("new")
    run.goes_on("new", 1)
    new = run.called("new")["program"]
    assert old.startswith("umbra 0") and new.startswith("umbra next ")
    assert run.channel.audit("new")["differences"] == 0
    run.until(lambda: run.called("new")["next"] == new, "successor of the new program")
    run.channel.ask("kill-vmm", guest="new")
    run.goes_on("new", 1)
    assert run.called("new")["program"] == new and run.called("vmm0")["program"] == old
    assert run.text[1].count("Z") == 1 and whole_lines(run.text[1])
    assert max(run.largest_gap(guest) for guest in range(2)) < STEP + SLACK
    run.destroy()
    run.create("other")
    run.begun(1)
    assert run.called("other")["program"] == old


@pytest.mark.parametrize("way", [1, 2], ids=("loop", "stand"))
def test_a_guest_that_runs_goes_on_beside_a_memmgr_that_hangs(places, way):
    """Over the memory of another one that begins, which waits for the next memmgr."""
    run = places(settings=["memmgr.inject=%d" % way, "memmgr.inject_at=400", "memmgr.inject_count=1"])
    assert "memmgr: hangs" not in run.log()
    run.create()
    run.begun(1)
    assert run.log().count("memmgr: hangs") == 1
    run.more(3)
    assert run.largest_gap() < STEP + TURNS and whole_lines(run.text[0])


def test_a_guest_is_destroyed_in_the_midst_of_its_beginning(places):
    """While its VMM is built, sets itself up, takes memory, or the guest has just begun: at many moments."""
    run = places(pool=32 * MB, count=1)
    before = run.places()
    for turn in range(24):
        run.create(mem=32 * MB)
        for _ in range(turn):
            run.channel.ask("list")
        run.destroy()
        assert run.places() == before
    run.create(mem=32 * MB)
    run.begun(1)
    assert run.largest_gap() < STEP + SLACK and "kernel error" not in run.log()


def test_a_place_is_not_free_while_memmgr_may_still_give_memory_to_it(places):
    """The guest goes while memmgr is in the midst of its request, and stands still there until init finds that it hangs."""
    run = places(settings=["memmgr.inject=2", "memmgr.inject_at=400", "memmgr.inject_count=1"], pool=32 * MB, count=1)
    before = run.places()
    run.create(mem=32 * MB)
    run.until(lambda: "memmgr: stands still" in run.log(), "memmgr in the midst of it")
    run.destroy()
    run.until(lambda: "memmgr: hangs" in run.log(), "hang of memmgr")
    run.more(3)
    assert run.places() == before and "kernel error" not in run.log()


def test_a_guest_is_destroyed_while_memmgr_dies_over_its_memory(places):
    run = places(settings=["memmgr.inject_at=200", "memmgr.inject_every=97", "memmgr.inject_count=30"])
    before = run.places()
    for turn in range(8):
        run.create()
        run.until(lambda: run.called("new")["state"] == "running", "running guest")
        run.destroy()
        assert run.places() == before
    run.create()
    run.begun(1)
    assert run.log().count("memmgr: crashed") >= 10 and "kernel error" not in run.log()


def test_the_machine_ends_with_the_last_guest_and_not_before(places):
    run = places()
    run.create()
    run.begun(1)
    run.machine.send(run.shared.send(0, b"q"))
    run.until(lambda: run.called("vmm0")["state"] == "ended", "end of the described guest")
    run.more(3, 1)
    run.channel.ask("destroy", guest="new")
    run.machine.process.wait(SECONDS)


def test_a_guest_that_is_created_while_the_machine_is_about_to_end_keeps_it_going(places):
    """Servers have a tenth of a second for the last guest's output; in it, the next one comes."""
    run = places()
    run.create()
    run.begun(1)
    run.machine.send(run.shared.send(0, b"q"))
    run.until(lambda: run.called("vmm0")["state"] == "ended", "end of the described guest")
    run.channel.send(b'{"id":7001,"command":"destroy","guest":"new"}\n{"id":7002,"command":"create","guest":"next","bytes":16777216,'
                     b'"kernel":"kernel0","initrd":"","line":""}\n')
    run.begun(2)
    run.channel.ask("pause", guest="next")      # a guest that says nothing
    time.sleep(1)
    run.channel.ask("resume", guest="next")
    run.more(2, 2)


TINY = [layout.module_output("debug", "guests/" + n) for n in ("real_ten", "long_touch")]


@pytest.mark.needs(*TINY)
def test_a_guest_whose_component_keeps_no_state_goes_as_others_do(boot, tmp_path):
    port = machine.settings() or ("control.serial_irq = irq 5", "control.serial_ports = ioport 0x3e8..0x3ef")
    text = (layout.ROOT / "systems/tiny.idl").read_text().replace("../idl", str(layout.ROOT / "idl")).replace(
        'vmm1.vm.kernel = module "long_touch";', "vmm1.vm.spare = true; memmgr.spaces.spare = 4M; vmm0.vm.autostart = false;").replace(
        "component console console;", "component console console; component control control;").replace(
        "vmm1.supervisor ->", "vmm1.supervisor, control.supervisor ->").replace(
        "console.prefix", "connect control.management -> init.management; %s; console.prefix" % "; ".join(port))
    (tmp_path / "places.idl").write_text(text)
    system.compiler("compile", str(tmp_path / "places.idl"), "-o", str(tmp_path))
    files = [layout.server_output("debug", n) for n in ("init", "memmgr", "console", "control", "tinyvmm")] + TINY
    log, path = tmp_path / "kernel.log", tmp_path / control.SOCKET
    boot(modules=[(files[0], ""), (str(tmp_path / "system.desc"), "")] + [(f, "") for f in files[1:]], cmdline=system.CMDLINE,
         memory="512M", serials=("socket", str(log)), control=str(path))
    end = time.monotonic() + SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    def live(channel):
        channel.create("tiny", 4 * MB, "long_touch")
        while next(g for g in channel.guests() if g["name"] == "tiny")["state"] != "ended":
            assert time.monotonic() < end
        channel.destroy("tiny")
        assert channel.ask("places")["vacant"] == 1

    with control.open_channel(str(path), SECONDS) as channel:
        try:
            live(channel)
            live(channel)
            channel.ask("start", guest="vmm0")      # described with autostart = false
            while next(g for g in channel.guests() if g["name"] == "vmm0")["state"] != "ended":
                assert time.monotonic() < end
            with pytest.raises(control.Refused, match="cannot do this"):
                channel.ask("start", guest="vmm0")
        except Failure as error:
            pytest.fail("%s\n%s" % (error, log.read_text(errors="replace")))


def test_the_share_of_the_processor_is_what_was_given(places):
    run = places()
    run.create("slow", percent=10)
    run.create("fast", percent=60)
    run.begun(1)
    run.begun(2)
    first = {n: run.called(n)["cpu_us"] for n in ("slow", "fast")}
    run.more(40)
    used = {n: run.called(n)["cpu_us"] - first[n] for n in ("slow", "fast")}
    assert used["slow"] * 2 < used["fast"], used


def test_a_guest_with_a_small_share_has_a_next_vmm_soon_and_others_are_heard_meanwhile(places):
    run = places()
    run.create("slow", percent=1)
    run.begun(1)
    run.until(lambda: run.called("slow")["successor"], "successor")
    run.more(1)
    run.channel.ask("kill-vmm", guest="slow")
    began, heard, seen = run.ticks()[-1], [run.ticks()[-1]], []
    while seen[-2:] != [False, True]:
        seen.append(run.called("slow")["successor"])
        run.more(1)
        heard.append(run.ticks()[-1])
    assert heard[-1] - began < SOON and max(b - a for a, b in zip(heard, heard[1:])) <= 3 * STEP, heard


def test_deaths_are_reported_in_a_system_as_large_as_can_be(places):
    """47 places: each has memory for the report of its deaths, and so have servers that die later."""
    run = places(pool=4 * MB, count=47)
    run.channel.request("crash-control")
    run.until(lambda: "control: crashed" in run.log() and run.connect_if_served(), "channel after its crash")
    assert re.match("crashed: ", run.channel.crash_report("control"))


@pytest.mark.needs(EVERY_EXIT)
def test_another_kernel_than_the_described_guests_comes_as_a_module(places):
    run = places(module=[layout.ROOT / EVERY_EXIT])
    run.create(kernel="module0")
    run.until(lambda: run.text[1] != "" or run.called("new")["ended"] != "", "sign of the other kernel")
    assert "bad image" not in run.called("new")["ended"]


def test_ctl_creates_and_destroys(places):
    run = places()
    run.channel.end.close()

    def ctl(*words):
        return subprocess.run(["/usr/bin/python3", "build.py", "ctl", *words, "--socket", str(run.path)], cwd=layout.ROOT,
                              capture_output=True, text=True, timeout=SECONDS)
    missing = ctl("create", "web", "--kernel", "/nowhere/bzImage")
    assert missing.returncode == 2 and "give it to `run` with --module" in missing.stderr
    run.path.with_name(control.NOTE).write_text('{"guests": ["linux"], "log": null, "modules": {"%s": "kernel0"}}' % (
        layout.ROOT / TICKER))
    made = ctl("create", "web", "--mem", "16M", "--kernel", str(layout.ROOT / TICKER), "--cpu", "50")
    assert made.returncode == 0, made
    assert re.search(r"^web +(starting|running) ", ctl("list").stdout, re.M)
    assert ctl("create", "web", "--kernel", "kernel0").returncode == 1
    assert ctl("create", "linux", "--kernel", "kernel0").returncode == 1
    assert ctl("create", "--kernel", "kernel0").returncode == 2 and ctl("stop", "--mem", "16M").returncode == 2
    assert re.match("2 places for created guests, 1 of them free; 40.0M of memory, 24.0M of it left", ctl("places").stdout)
    assert ctl("destroy", "web").returncode == 0 and "web" not in ctl("list").stdout
    assert ctl("destroy", "web").returncode == 2 and ctl("destroy", "linux").returncode == 1
