# SPDX-License-Identifier: BSD-2-Clause
"""`bench --profile-row ROW`: where the instructions of one sample of a row go, by function.

QEMU executes one instruction at a time and names each (-d exec). Of the first samples of a row of a guest that measures itself
(tests/guests/measure.h) the one whose length is the median is shown, from the first reading of the counter to the second: functions of the kernel and of the root task, inlined ones by themselves, with how often they were entered. A REP instruction
counts once an iteration.
"""
import collections
import re
import socket
import subprocess
import time

from umbra import build, layout, qemu, symbols
from umbra.errors import Failure, Usage

TRACE = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/([0-9a-f]+)/", re.M)
IN_GUEST = 1 << 21      # QEMU's HF_GUEST_MASK
SAMPLES = 11            # of the row's first
SECONDS = 300


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


class Stub:
    """QEMU's end of the gdb protocol: breakpoints, and words to its monitor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.buffer = b""

    def send(self, words):
        self.socket.sendall(b"$%s#%02x" % (words, sum(words) & 255))

    def answer(self):
        """The next packet's payload."""
        while not (found := re.search(rb"\$([^#]*)#..", self.buffer, re.S)):
            data = self.socket.recv(65536)
            if not data:
                raise Failure("QEMU ended before the row")
            self.buffer += data
        self.buffer = self.buffer[found.end():]
        self.socket.sendall(b"+")
        return found[1]

    def ask(self, words):
        self.send(words)
        return self.answer()

    def monitor(self, words):
        """A line to QEMU's monitor; what it says is dropped."""
        self.send(b"qRcmd," + words.encode().hex().encode())
        while self.answer() not in (b"OK", b""):
            pass

    def run_to(self, address):
        """Continues to the next time that the instruction at an address comes."""
        self.ask(b"s")      # off the breakpoint that it stands on
        self.ask(b"Z0,%x,1" % address)
        self.ask(b"c")
        self.ask(b"z0,%x,1" % address)


def trace(path, options, row):
    """The median of some samples: [(address, in the guest)] of each instruction."""
    begin, end = window(path, options, row)
    stub, log = layout.BUILD / "log" / "profile.gdb", layout.BUILD / "log" / "profile.trace"
    for file in (stub, log):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
    modules = [layout.proc_output(options.profile, path)]
    modules += [layout.module_output(options.profile, m) for m in layout.directive(path, "MODULES")]
    config = qemu.Config(kernel=layout.kernel_output(options.profile), modules=[(m, "") for m in modules], icount=True,
                         name="profile", qemu=options.qemu,
                         extra=("-D", str(log), "-S", "-gdb", "unix:%s,server=on,wait=off" % stub))
    with qemu.Machine(config):
        gdb = Stub(stub)
        gdb.run_to(begin)
        gdb.monitor("singlestep on")
        gdb.monitor("log exec,nochain")
        for _ in range(SAMPLES):
            gdb.run_to(end)
        gdb.monitor("log none")
    steps = [(int(a, 16), bool(int(f, 16) & IN_GUEST)) for a, f in TRACE.findall(log.read_bytes())]
    found, at = [], 0
    while (begin, True) in steps[at:]:
        first = steps.index((begin, True), at)
        at = steps.index((end, True), first) if (end, True) in steps[first:] else len(steps)
        found.append(steps[first:at])
    return sorted(found, key=len)[len(found) // 2]


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
