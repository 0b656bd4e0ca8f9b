# SPDX-License-Identifier: BSD-2-Clause
"""How long a guest stands still when its VMM dies: ticks from the exit that killed it to that exit's answer by the next VMM,
as that one counts them (`stat NAME blackout` is the last). The guest is the booting Debian kernel of bench_linux.

Deaths are asked for by settings of the description (servers/vmm/inject.h). blackout: the next VMM waits. cold: it dies,
too, at the exit after, so that nobody waits yet. refill: what one death adds to the guest's own count up to init, in which
the blackout is not: shadow tables that are made again, and the processor that building the next VMM takes from the guest.

survival: guests that verify their machine (tests/workloads/verify) while their VMMs die, at each exit's boundaries (at its
delivery and before its answer, in turn) and at random ticks; debug builds. A death counts as survived when its guest's verdict
is that all is well.
"""
import argparse
import random
import re

from umbra import bench_linux, build, guest, images, layout, qemu, run, say, system
from umbra.bench import Figure
from umbra.errors import Failure

AT = 20000                      # an exit in the middle of the boot; chosen
ONCE, TWICE = 0xf0000001, 0xf0000011    # of eight incarnations the first, or the first two, die at an exit's delivery


VERIFY, KERNEL = "build/workloads/verify", "cloud-amd64"
PARTS = "--scale 0.2 storm memory cow maps faults code fpu timers"
LINE = "console=ttyS0 quiet rdinit=/verify panic=-1 oops=panic -- " + PARTS
SURVIVED = "restart.survival"
WANTED = 1000                   # deaths: benchmarks.md
BOUNDARIES, AT_WINDOWS = 400, (3000, 30000)     # deaths a window, at so many exits one after the other; where they begin
RANDOM, FROM_US, PERIOD_US = 2, 500000, 11000    # guests that die by time, from when on, how often: to their end
SURVIVAL_SECONDS = 400          # a window takes 30 to 60; more is a hang


def sources(known):
    if not bench_linux.sources(known):
        return []
    names = {name for name in known if name.startswith("restart.") and not known[name].get("missing")} - {SURVIVED}
    return [("restart", names, lambda _what, options: measure(options)),
            (SURVIVED, {SURVIVED}, lambda _what, options: survival(options))]


def dying(options, kernel, inject, words, name):
    """(what the guest printed, its counters) of a guest whose first VMMs die."""
    options.set = ["vmm0.inject=%d" % inject, "vmm0.inject_at=%d" % AT, "vmm0.inject_every=1"] if inject else []
    try:
        text, counts, _ = bench_linux.as_guest(options, kernel, words, name)
    finally:
        options.set = []
    if inject and counts.get("restarts", 0) != (inject & 15) + (inject >> 4 & 15):
        raise Failure("%d deaths instead of those asked for" % counts.get("restarts", 0))
    return text, counts


def measure(options):
    build.make(list(bench_linux.PROGRAMS))
    kernel, mark = guest.kernel(bench_linux.FLAVOUR), bench_linux.append("mark")
    alive, before = dying(options, kernel, 0, mark, "restart-none")
    whole = bench_linux.marked(alive)
    text, once = dying(options, kernel, ONCE, mark, "restart-once")
    _, twice = dying(options, kernel, TWICE, mark, "restart-twice")
    place = "exit=%d" % AT
    return [Figure("restart.blackout", once["blackout"], "instructions", place),
            Figure("restart.cold", twice["blackout"], "instructions", place),
            Figure("restart.refill", bench_linux.marked(text) - whole, "instructions",
                   "of=%d more_exits=%d" % (whole, once["exits"] - before["exits"]))]


def verifying():
    """A guest whose first process verifies the machine below it."""
    path = guest.GUEST / "bench-verify.cpio"
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("verify", 0o100755, (layout.ROOT / VERIFY).read_bytes())]))
    return images.Guest("linux", guest.kernel(KERNEL), path, LINE, bench_linux.MEMORY)


def settings(**values):
    return ["vmm0.%s=%d" % pair for pair in values.items()]


def windows():
    """[(what it is called, the settings that make the deaths)]"""
    at = [("boundary-%d" % first, settings(inject=0x31, inject_at=first, inject_every=1, inject_count=BOUNDARIES))
          for first in AT_WINDOWS]
    ticks = [FROM_US + random.SystemRandom().randrange(PERIOD_US) for _ in range(RANDOM)]
    return [*at, *(("random-%d" % n, settings(stop_from_us=tick, stop_period_us=PERIOD_US, stop_count=WANTED))
                   for n, tick in enumerate(ticks))]


def survives(options, one, name):
    """(deaths after which another VMM took over, whether the guest verified its machine to the end)"""
    config = run.machine_config(options, [one])
    config.name, config.serials = "bench-" + name, ("socket", "build/log/bench-%s-kernel.log" % name)
    with qemu.Machine(config) as machine:
        status = machine.wait(SURVIVAL_SECONDS)
        text = machine.text()
    log = (layout.ROOT / config.serials[1]).read_text(errors="replace")
    whole = qemu.debug_exit_value(status) == system.END_CLEAN if status is not None else False
    return len(re.findall(r"^init: vmm0 has taken over", log, re.M)), whole and bool(re.search(r"^verify all ok\r?$", text, re.M))


def survival(options):
    options = argparse.Namespace(**{**vars(options), "profile": "debug", "paging": "shadow", "system": system.DEFAULT,
                                    "accel": "tcg", "icount": True, "set": []})
    build.make([VERIFY, *run.ninja_targets(options)])
    one, died, survived, facts = verifying(), 0, 0, []
    for name, options.set in windows():
        deaths, whole = survives(options, one, name)
        died, survived = died + deaths, survived + deaths * whole
        facts.append("%s=%d" % (name, deaths))
        if not whole:
            say.complain("%s: the guest did not come to its end; see build/log/bench-%s-kernel.log" % (SURVIVED, name))
    if died < WANTED:
        raise Failure("%d deaths (%s); at least %d were asked for" % (died, " ".join(facts), WANTED))
    return [Figure(SURVIVED, round(100 * survived / died, 2), "%", "deaths=%d %s profile=debug" % (died, " ".join(facts)))]
