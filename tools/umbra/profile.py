# SPDX-License-Identifier: BSD-2-Clause
"""`bench --profile ROW`: where the instructions of one sample of a row go, by function.

QEMU executes one instruction at a time and names each (-d exec). Of a row of a guest that measures itself
(tests/guests/measure.h) the sample whose length is the median is shown, from the first reading of the counter to the second:
functions of the kernel and of the root task, inlined ones by themselves, with how often they were entered. A REP instruction
counts once an iteration.
"""
import collections
import os
import pathlib
import re
import subprocess
import threading

from umbra import build, layout, qemu, symbols
from umbra.errors import Failure, Usage

TRACE = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/([0-9a-f]+)/", re.M)
IN_GUEST = 1 << 21      # QEMU's HF_GUEST_MASK
CHUNK = 1 << 20
SECONDS = 1200


def row_of(path, name):
    """The number by which a root task's source knows the figure."""
    found = re.search(r'"%s",\s*(\d+),' % re.escape(name), (layout.ROOT / path).read_text())
    if not found:
        raise Usage("%s is not measured by a guest: no profile" % name)
    return int(found[1])


def window(path, options, row):
    """Addresses of the guest's labels around the row's samples."""
    module = layout.directive(path, "MODULES")[0]
    source = "tests/%s.S" % module
    listed = subprocess.run(["nm", "build/%s/obj/guests/%s.o" % (options.profile, source)], cwd=layout.ROOT,
                            capture_output=True, text=True, check=True).stdout
    labels = {name: int(offset, 16) for offset, name in re.findall(r"^([0-9a-f]+) \w (\w+)$", listed, re.M)}
    org = int(layout.directive(source, "ORG")[0], 0)
    return org + labels["row_%d_begin" % row], org + labels["row_%d_end" % row]


def without_zeroing(kernel):
    """A -dfilter value that leaves out the kernel's zeroing of memory: most of a boot."""
    known = symbols.functions(str(layout.ROOT / kernel))
    at = next(i for i, (_, name) in enumerate(known) if name == "arch_zero")
    return "0..%#x,%#x..%#x" % (known[at][0] - 1, known[at + 1][0], (1 << 64) - 1)


class Samples(threading.Thread):
    """Reads the trace while QEMU writes it; keeps what lies between the labels."""

    def __init__(self, fifo, begin, end):
        super().__init__(daemon=True)
        self.fifo, self.found = fifo, []
        self.begin, self.end = (b"/%016x/" % address for address in (begin, end))

    def run(self):
        with open(self.fifo, "rb", buffering=0) as trace:
            rest, inside = b"", None
            while data := trace.read(CHUNK):
                data = rest + data
                cut = data.rfind(b"\n") + 1
                rest, data, at = data[cut:], data[:cut], 0
                while at < len(data):
                    place = data.find(self.end if inside is not None else self.begin, at)
                    stop = data.rfind(b"\n", 0, place) + 1 if place >= 0 else len(data)
                    if inside is not None:
                        inside.append(data[at:stop])
                        if place >= 0:
                            self.found.append(b"".join(inside))
                    at = stop if place < 0 else data.index(b"\n", place) + 1
                    if place >= 0:
                        inside = [data[stop:at]] if inside is None else None


def trace(path, options, row):
    """The median sample: [(address, in the guest)] of each instruction."""
    begin, end = window(path, options, row)
    fifo = layout.BUILD / "log" / "profile.fifo"
    fifo.parent.mkdir(parents=True, exist_ok=True)
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    reader = Samples(fifo, begin, end)
    reader.start()
    modules = [layout.proc_output(options.profile, path)]
    modules += [layout.module_output(options.profile, m) for m in layout.directive(path, "MODULES")]
    config = qemu.Config(kernel=layout.kernel_output(options.profile), modules=[(m, "") for m in modules], icount=True,
                         name="profile", qemu=options.qemu, extra=("-singlestep", "-d", "exec,nochain", "-D", str(fifo),
                                "-dfilter", without_zeroing(layout.kernel_output(options.profile))))
    with qemu.Machine(config) as machine:
        status, tail = machine.wait(SECONDS), machine.tail()
    reader.join()
    fifo.unlink()
    if qemu.debug_exit_value(status) is None or not reader.found:
        raise Failure("no profile (status %s)\n%s" % (status, tail))
    found = sorted(([(int(a, 16), bool(int(f, 16) & IN_GUEST)) for a, f in TRACE.findall(sample)] for sample in reader.found),
                   key=len)
    return found[len(found) // 2]


def inner_functions(elf, addresses):
    """{address: the function whose source it is, inlined or not}."""
    said = subprocess.run(["addr2line", "-a", "-f", "-i", "-e", elf], input="\n".join(map(hex, addresses)), cwd=layout.ROOT,
                          capture_output=True, text=True).stdout
    blocks = re.split(r"^(?=0x)", said, flags=re.M)
    return {int(lines[0], 16): lines[1] for lines in (b.splitlines() for b in blocks) if len(lines) > 1 and lines[1] != "??"}


def attribute(steps, elfs):
    """[(where, function, instructions, times entered)], the largest first; where: guest or an ELF file's stem."""
    known = {elf: symbols.functions(str(elf)) for elf in elfs}
    inner, outer = {}, {}
    for elf in elfs:
        low, high = known[elf][0][0], known[elf][-1][0] + (1 << 16)
        mine = sorted({a for a, in_guest in steps if not in_guest and low <= a < high})
        named = inner_functions(str(elf), mine)
        for a in mine:
            outer[a] = (elf.stem, symbols.function_at(known[elf], a).split("+")[0])
            inner[a] = (elf.stem, named.get(a, outer[a][1]))
    tables = []
    for names in (outer, inner):
        count, entered, last = collections.Counter(), collections.Counter(), None
        for a, in_guest in steps:
            name = ("guest", "") if in_guest else names.get(a, ("?", hex(a)))
            count[name] += 1
            entered[name] += name != last
            last = name
        tables.append([(*name, n, entered[name]) for name, n in count.most_common()])
    return tables


def show(path, name, options):
    """Prints the profile of one figure."""
    kernel, task = layout.kernel_output(options.profile), layout.proc_output(options.profile, path)
    guests = [layout.module_output(options.profile, m) for m in layout.directive(path, "MODULES")]
    build.make([kernel, task, *guests])
    steps = trace(path, options, row_of(path, name))
    by_symbol, by_source = attribute(steps, [layout.ROOT / kernel, layout.ROOT / task])
    for title, table in (("by function", by_symbol), ("by function, inlined ones by themselves", by_source)):
        print("%s, one sample: %d instructions, %s" % (name, len(steps), title))
        for where, function, n, times in table:
            print("%8d %6d  %-14s %s" % (n, times, where, function))
