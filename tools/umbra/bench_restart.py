# SPDX-License-Identifier: BSD-2-Clause
"""How long a guest stands still when its VMM dies: ticks from the exit that killed it to that exit's answer by the next VMM,
as that one counts them (`stat NAME blackout` is the last). The guest is the booting Debian kernel of bench_linux.

Deaths are asked for by settings of the description (servers/vmm/inject.h). blackout: the next VMM waits. cold: it dies,
too, at the exit after, so that nobody waits yet. refill: what one death adds to the guest's own count up to init, in which
the blackout is not: shadow tables that are made again, and the processor that building the next VMM takes from the guest.
"""
from umbra import bench_linux, build, guest
from umbra.bench import Figure
from umbra.errors import Failure

AT = 20000                      # an exit in the middle of the boot; chosen
ONCE, TWICE = 0xf0000001, 0xf0000011    # of eight incarnations the first, or the first two, die at an exit's delivery


def sources(known):
    names = {name for name in known if name.startswith("restart.") and not known[name].get("missing")}
    return [("restart", names, lambda _what, options: measure(options))] if bench_linux.sources(known) else []


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
