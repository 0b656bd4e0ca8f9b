# SPDX-License-Identifier: BSD-2-Clause
"""The promise about memory, from the kernel's own tables: an unmodified Linux runs on scattered frames that it takes for
contiguous, by shadow paging, and its VMM holds no memory of anybody else.

init's `audit` asks the kernel (KERNEL_FRAMES, KERNEL_DUMP): servers/init/audit.c. Nothing here believes a server.
"""
import argparse
import re
import struct
import typing

import pytest
from umbra import guest, images, layout, machine, qemu, system

KERNEL = layout.kernel_output("debug")
NEEDED = [KERNEL] + [layout.server_output("debug", n) for n in ("init", "memmgr", "console", "control", "vmm")]
pytestmark = pytest.mark.needs(*NEEDED)
OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)
SECONDS = 120
MEMORY = 128 << 20
DATAPORTS = (0x600000000000, 0x610000000000)    # lib/desc/desc.h: DESC_DATAPORT, DESC_SEGMENT
RIGHT_WRITE = 2
NO_MEMORY = {"ioport", "irq", "irqcontrol", "schedcontrol", "kernel", "view"}
COMMANDS = "cat /proc/iomem; uname -a; wc -c /init; grep MemTotal /proc/meminfo"


class Cap(typing.NamedTuple):
    type: str
    first: int
    end: int
    rights: int
    address: int    # where it is mapped, 0: nowhere


def section_of(log, title):
    """The capabilities that the lines behind `audit TITLE` show."""
    text = re.search(r"^audit %s\n(.*?)(?=^audit )" % re.escape(title), log, re.M | re.S)[1]
    caps = []
    for m in re.finditer(r"^cap (\w+) obj=(\w+) rights=(\w+) flags=\w+ bits=(\d+) depth=\d+ d0=(\w+) d1=(\w+)", text, re.M):
        first, bits = int(m[2], 16), int(m[4]) + (6 if m[1] == "cnode" else 0)
        if m[1] not in NO_MEMORY:
            caps.append(Cap(m[1], first, first + (1 << bits), int(m[3], 16), int(m[5], 16) if int(m[6], 16) else 0))
    return caps, text


def kernel_image():
    """Where the kernel lies in memory, by its program headers."""
    data = (layout.ROOT / KERNEL).read_bytes()
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    parts = [struct.unpack_from("<IIQQQQQ", data, offset + i * size) for i in range(count)]
    loads = [(p[4], p[4] + p[6]) for p in parts if p[0] == 1]
    return min(a for a, _ in loads), max(b for _, b in loads)


def overlap(a, b):
    return a.first < b.end and b.first < a.end


@pytest.fixture(scope="module")
def reports():
    """seed -> (kernel log, what the guest printed), of two boots that differ in the seed only."""
    found = {}
    for seed in (1, 2):
        one = images.Guest("g0", guest.kernel(), guest.initramfs(), guest.APPEND + " quiet", MEMORY)
        log = qemu.LOG / ("memory-%d.log" % seed)
        config = qemu.Config(kernel=KERNEL, name="memory-%d-console" % seed, modules=system.modules(OPTIONS, [one]),
                             cmdline=system.CMDLINE + " audit seed=%d" % seed, memory=system.machine_memory([one]),
                             serials=("socket", str(log)))
        with machine.start(config) as booted:
            booted.expect("^/ # ", SECONDS)
            booted.send(COMMANDS + "; echo done-$((6 * 7))\n")
            before = booted.position
            booted.expect("^done-42$", 30)
            said = booted.text()[before:booted.position].replace("\r", "")
            booted.send("reboot -f\n")
            assert qemu.debug_exit_value(booted.wait(60)) == system.END_CLEAN
        found[seed] = log.read_text(errors="replace").replace("\r", ""), said
    return found


def frames_line(log):
    words = re.search(r"^audit vmm0 (pages .*)$", log, re.M)[1].split()
    return {k: int(v, 16 if k == "order" else 10) for k, v in zip(words[::2], words[1::2])}


def test_neighbouring_guest_frames_lie_apart_in_the_machine(reports):
    for seed, (log, _) in reports.items():
        line = frames_line(log)
        assert "seed %d\n" % seed in log
        assert line["mapped"] >= 0.98 * MEMORY // 4096 and line["pairs"] >= 0.98 * line["mapped"]
        assert line["apart"] > 0.9 * line["pairs"]
        assert line["most-frequent-difference"] < 0.05 * line["pairs"]


def test_the_order_is_the_seeds_and_the_guest_sees_none_of_it(reports):
    (log1, said1), (log2, said2) = reports[1], reports[2]
    assert frames_line(log1)["order"] != frames_line(log2)["order"]
    assert "System RAM" in said1 and said1 == said2


def test_nested_paging_is_off_and_guest_mode_is_intercepted(reports):
    for log, _ in reports.values():
        _, text = section_of(log, "vcpu vmm0")
        nested, cr3 = re.search(r"^  nested paging (\d+) cr3=(\w+) ", text, re.M).groups()
        assert nested == "0"
        shadow, _ = section_of(log, "slots vmm0")
        assert int(cr3, 16) in {c.first for c in shadow if c.type == "shadow"}, "the guest's root is one of its tables"


def test_the_vmm_holds_no_capability_to_memory(reports):
    for log, _ in reports.values():
        held, _ = section_of(log, "slots vmm0")
        kinds = {c.type for c in held}
        assert "vcpu" in kinds and "shadow" in kinds
        assert not kinds & {"untyped", "frame", "range", "vspace", "pagetable", "guestspace"}, kinds


def test_what_the_vmm_has_mapped_is_its_own(reports):
    """Not the kernel's, not memmgr's, not the console's; shared with the console: the dataports, nothing else."""
    first, end = kernel_image()
    for log, _ in reports.values():
        untyped, modules = section_of(log, "boot untyped")[0], section_of(log, "boot modules")[0]
        mine = [c for c in section_of(log, "held vmm0")[0] if c.type == "frame" and c.address]
        theirs = [c for name in ("memmgr", "console") for what in ("slots", "held")
                  for c in section_of(log, "%s %s" % (what, name))[0]]
        objects = [c for what in ("slots", "held") for c in section_of(log, what + " vmm0")[0] if c.type != "frame"]
        assert len(mine) > 50 and len(untyped) > 1 and {c.type for c in theirs} >= {"frame", "range", "cnode", "tcb"}
        shared = set()
        for frame in mine:
            assert frame.end <= first or frame.first >= end, "a frame of the kernel's image"
            inside = [u for u in untyped if u.first <= frame.first and frame.end <= u.end]
            module = [m for m in modules if overlap(m, frame)]
            assert inside or module, "a frame of memory that the kernel kept"
            assert not module or not frame.rights & RIGHT_WRITE, "a boot module that can be written"
            for other in theirs:
                if overlap(frame, other):
                    assert other.type == "frame" and DATAPORTS[0] <= frame.address < DATAPORTS[1], (frame, other)
                    assert DATAPORTS[0] <= other.address < DATAPORTS[1], (frame, other)
                    shared.add(frame)
            assert not any(overlap(frame, o) for o in objects), "a frame that is a kernel object"
        assert shared, "the console's rings are shared: else this found nothing to compare"
