# SPDX-License-Identifier: BSD-2-Clause
"""How many guests are alive at once in a machine of 1 GB, and what each costs besides its own memory.

The guest is tests/guests/idle.S in the least memory that `run` gives: it halts from tick to tick and answers what is typed. All
that are counted have answered while all the others were there. The number is the largest with which the system boots:
tried downwards from what the description needs. Virtual time is repeatable, so the figures are.
"""
import json
import statistics
import time

from umbra import build, console, control, images, layout, machine, qemu, run, system
from umbra.bench import Figure
from umbra.errors import Failure, Usage

MACHINE = 1024 * images.MB
GUEST = "guests/idle"
SECONDS = 120       # a hang
FEW, STEP = 2, 8    # what eight more guests take is looked at twice; the first guest beside one other is as good as alone
CPUIDS = 1000       # tests/guests/idle.S
SAMPLES = 9


def sources(known):
    names = {name for name in known if name.startswith("scale.")}
    has = layout.find("servers/init/main.c", "tests/guests/idle.S")
    return [("scale", names, lambda _what, options: measure(options))] if len(has) == 2 else []


class Crowd:
    """A running system of so many of these guests."""

    def __init__(self, machine, count, path):
        self.machine, self.path = machine, path
        self.shared = console.Shared(count)
        self.text = [""] * count
        self.taken = 0

    def until(self, condition):
        """Whether that comes true before the machine ends."""
        end = time.monotonic() + SECONDS * self.machine.patience
        while not condition():
            if time.monotonic() > end:
                raise Failure("%d guests: no answer within %d s" % (len(self.text), SECONDS))
            ended = self.machine.process.poll() is not None
            self.machine.receive(0.05)
            for guest, data in self.shared.receive(self.machine.output[self.taken:]):
                self.text[guest] += data.decode("latin-1").replace("\r", "")
            self.taken = len(self.machine.output)
            if ended:
                return condition()
        return True

    def ask(self, guest, byte):
        """The line that the guest answers a byte with; None: there is none."""
        old = self.text[guest].count("\n")
        self.machine.send(self.shared.send(guest, byte))
        return self.text[guest].splitlines()[-1] if self.until(lambda: self.text[guest].count("\n") > old) else None

    def all_alive(self):
        return self.until(lambda: all(t.startswith("!\n") for t in self.text)) and \
            all(self.ask(guest, b"x") == "x" for guest in range(len(self.text)))

    def cpuid(self):
        """Ticks of a CPUID in the first guest: the median of means over a thousand, and the worst of them."""
        took = sorted(int(self.ask(0, b"c"), 16) / CPUIDS for _ in range(SAMPLES))
        return statistics.median(took), took[-1]


def description(options, count, memory=images.MEM_MIN):
    """(boot modules, bytes that the description needs) of a system of so many guests; Usage if the machine is too small."""
    kernel = layout.ROOT / layout.module_output(options.profile, GUEST)
    guests = [images.Guest("g%d" % n, kernel, None, "", memory) for n in range(count)]
    modules = system.modules(options, guests, MACHINE)
    return modules, json.loads((system.folder() / "system/system.json").read_text())["memory_bytes"]


def crowd(options, count, memory=images.MEM_MIN):
    """What a system of so many says of itself; None if it does not come up with all of them alive."""
    modules, _ = description(options, count, memory)
    log, path = "build/log/bench-scale-kernel.log", system.control_socket()
    config = qemu.Config(kernel=layout.kernel_output(options.profile), modules=modules, cmdline=system.CMDLINE, icount=True,
                         memory="%dM" % (MACHINE // images.MB), serials=("socket", log), control=path, qemu=options.qemu,
                         name="bench-scale")
    with machine.start(config) as booted:
        here = Crowd(booted, count, path)
        if not here.all_alive():
            return None
        cpuid = here.cpuid()
        with control.open_channel(str(layout.ROOT / path), SECONDS * booted.patience) as channel:
            listed = channel.guests()
        for guest in range(count):
            booted.send(here.shared.send(guest, b"q"))
        status = booted.wait(SECONDS)
    if qemu.debug_exit_value(status) != system.END_CLEAN:
        raise Failure("%d guests did not end well (status %s); see %s" % (count, status, log))
    stats = run.STATISTIC.findall((layout.ROOT / log).read_text(errors="replace").replace("\r", ""))
    tables = {int(n) for of, key, n in stats if key == "shadow_in_use" and of != "kernel"}
    return {"cpuid": cpuid, "vmm": {g["vmm_bytes"] for g in listed}, "waiting": sum(g["successor"] for g in listed),
            "tables": tables, "pool": {int(n) for _, key, n in stats if key == "shadow_pool"},
            "used": next(int(n) for _, key, n in stats if key == "boot_memory_used")}


def largest(options):
    """(how many, what they say) of the largest crowd, downwards from what the description needs."""
    needs = {n: description(options, n)[1] for n in (FEW, FEW + STEP)}
    each = (needs[FEW + STEP] - needs[FEW]) // STEP
    for count in range(min(system.GUESTS_MAX, (MACHINE - needs[FEW]) // each + FEW), FEW, -1):
        try:
            found = crowd(options, count)
        except Usage:       # the description says so itself
            continue
        if found:
            return count, found
    raise Failure("not even %d guests live in 1 GB; see build/log/bench-scale-kernel.log" % (FEW + 1))


def measure(options):
    options.paging, options.system, options.record, options.set = "shadow", system.DEFAULT, None, []
    build.make(system.targets(options.profile, system.DEFAULT))
    steps = [crowd(options, FEW + i * STEP) for i in range(3)]
    count, most = largest(options)
    if None in steps or any(s["waiting"] != FEW + i * STEP for i, s in enumerate(steps)):
        raise Failure("eighteen guests do not live in 1 GB with their waiting VMMs; see build/log/bench-scale-kernel.log")
    few, sizes = steps[0], set.union(*(s["vmm"] for s in [*steps, most]))
    each = [(b["used"] - a["used"]) // STEP - images.MEM_MIN for a, b in zip(steps, steps[1:])]
    facts = "guest=%dM with_waiting_vmm=%d used=%dM" % (images.MEM_MIN // images.MB, most["waiting"],
                                                        most["used"] // images.MB)
    return [Figure("scale.guests", count, "guests", facts),
            Figure("scale.guest_bytes", each[0], "bytes", "eight_more=%d shadow_pool=%d" % (each[1], 4096 * max(most["pool"]))),
            Figure("scale.vmm_bytes", max(sizes), "bytes", "least=%d" % min(sizes)),
            Figure("scale.tables_in_use", max(most["tables"]), "tables", "least=%d beside_1=%d" % (
                min(most["tables"]), max(few["tables"]))),
            Figure("scale.exit_cpuid", round(most["cpuid"][0], 1), "instructions", "worst=%.1f beside_1=%.1f worst=%.1f" % (
                most["cpuid"][1], *few["cpuid"]))]
