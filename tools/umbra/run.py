# SPDX-License-Identifier: BSD-2-Clause
"""The command `run`: boots a system with guests and connects their consoles to a terminal, or to a pipe and a file.

Everything the user named is checked before the build. Whatever happens the terminal is as before and QEMU is gone.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import select
import shlex
import termios
import time
import tty

from umbra import (
    build, console, control, deps, guest as default_guest, images, kernels, layout, locks, machine, qemu, say, symbols, system)
from umbra.errors import Failure, Lacking, Usage

GUEST_NAME = re.compile(r"[A-Za-z0-9_-]{1,31}")
CREATED = re.compile(r"^guest (\S+) (?:created in (place\d+)|destroyed)\r?$", re.M)
ENDED = re.compile(r"^guest (\S+) ended: (.*)$", re.M)
STATISTIC = re.compile(r"^stat (\S+) (\S+) (-?\d+)$", re.M)
TICK = 0.1      # seconds between looks at the clock


def arguments(parser):
    add = parser.add_argument
    add("system", nargs="?", default=system.DEFAULT, metavar="SYSTEM", help="a description from systems/")
    add("--kernel", metavar="F", help="a Linux bzImage, or a Multiboot 1 or PVH kernel; default: Debian's, downloaded once")
    add("--initrd", metavar="F", help="its initramfs; of a Multiboot kernel its modules: 'A words,B words'")
    add("--append", metavar="S", help="its command line")
    add("--mem", metavar="SIZE", help="its memory, for example 128M (the default)")
    add("--vm", action="append", metavar="name=a,kernel=F,...", help="one of several guests; a comma in a value is doubled")
    add("--headless", action="store_true", help="no terminal: consoles to standard output, lines prefixed `name|`")
    add("--timeout", metavar="S", help="fail after so many seconds")
    add("--until", metavar="REGEX", help="succeed as soon as a console's present line matches")
    add("--log", metavar="FILE", help="consoles also to this file")
    add("--input", metavar="FILE", help="typed to the first guest, a line whenever it waits")
    add("--stats", metavar="FILE", help="how each guest ended, and its exits, as JSON")
    add("--record", metavar="FILE", help="all that the first guest's VMM receives and answers; see `test replay FILE`")
    add("--pool", metavar="SIZE", help="memory set aside for guests that `ctl create` makes while the system runs")
    add("--pool-guests", type=int, metavar="N", help="how many there can be at once; default: %d" % system.POOL_GUESTS)
    add("--module", action="append", metavar="F", help="a further kernel or initramfs for them; the guests' own are there, too")
    add("--seed", type=int, metavar="N", help="decides the order of guests' memory in the machine")
    add("--set", action="append", default=[], metavar="C.S=VALUE",
        help="a setting of the system's description, for example memmgr.seed=7")
    add("--icount", action="store_true", help="repeatable virtual time: an instruction is a nanosecond")
    add("--paging", choices=("shadow", "nested"), default="shadow", help="default: shadow; nested: for reference")
    add("--enlighten", action="store_true", help="tell the guests that they are guests: KVM's clock, no delays by ports")
    add("--accel", choices=("tcg", "kvm"), default="tcg", help="default: tcg")
    machine.add_option(parser)
    add("--dry-run", action="store_true", help="do all but boot: print QEMU's command line")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = ("examples: ./build.py run\n"
                     "          ./build.py run --headless --timeout 400 --kernel bzImage --initrd root.cpio.gz \\\n"
                     "              --append console=ttyS0 --mem 128M --until 'login:'\n" + console.HELP)


def split_options(text):
    """The key=value pairs of a --vm; a doubled comma is a comma."""
    pairs = {}
    for part in re.split(r"(?<!,),(?!,)", text.replace(",,", "\0")):
        key, equals, value = part.partition("=")
        if not equals or key not in ("name", "kernel", "initrd", "append", "mem"):
            raise Usage("--vm %s: %r is not one of name=, kernel=, initrd=, append=, mem=" % (text, part))
        if key in pairs:
            raise Usage("--vm %s: %s is given twice" % (text, key))
        pairs[key] = value.replace("\0", ",")
    return pairs


def described_guests(options):
    """One dictionary of words a guest, as the user gave them."""
    single = {key: getattr(options, key) for key in ("kernel", "initrd", "append", "mem")
              if getattr(options, key) is not None}
    if options.system != system.DEFAULT:
        wrong = next(iter(single), "vm" if options.vm else None)
        if wrong:
            raise Usage("--%s does not go with system %s, whose description says it" % (wrong, options.system))
        return []
    if not options.vm:
        return [{"name": "linux", **single}]
    if single:
        raise Usage("--%s does not go with --vm; write it inside, as --vm name=a,%s=..." % ((next(iter(single)),) * 2))
    described = [split_options(text) for text in options.vm]
    for number, pairs in enumerate(described):
        pairs.setdefault("name", "vm%d" % number)
        if not GUEST_NAME.fullmatch(pairs["name"]):
            raise Usage("--vm: name %r is not 1 to 31 letters, digits, - and _" % pairs["name"])
    names = [pairs["name"] for pairs in described]
    if len(set(names)) != len(names):
        raise Usage("--vm: two guests have the same name: " + " ".join(names))
    return described


def named_file(text, what):
    path = pathlib.Path(text)
    images.readable(path, what)
    return path


def guest_of(pairs):
    """The Guest that the words describe; what they leave out is the default guest's."""
    own_kernel = "kernel" in pairs
    mem = images.parse_memory(pairs.get("mem", "128M"))
    kernel = named_file(pairs["kernel"], "kernel") if own_kernel else default_guest.kernel()
    append = pairs.get("append", "" if own_kernel else default_guest.APPEND)
    if own_kernel and images.is_multiboot(kernel):      # as QEMU: the first word of the line is the kernel's name
        line = " ".join(filter(None, (pairs["kernel"], append)))
        return images.Guest(pairs["name"], kernel, packed_modules(pairs), line, mem)
    initrd = named_file(pairs["initrd"], "initramfs") if "initrd" in pairs else \
        None if own_kernel else default_guest.initramfs()
    return images.Guest(pairs["name"], kernel, initrd, append, mem)


def packed_modules(pairs):
    """One file of all the modules that --initrd names for a Multiboot kernel; None without."""
    if "initrd" not in pairs:
        return None
    path = system.folder() / ("modules-" + pairs["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kernels.pack_modules(images.read_modules(pairs["initrd"])))
    return path


def check_files_named(described):
    """Everything wrong with named files and words is said before the default guest is downloaded."""
    for pairs in described:
        images.check_append(pairs["name"], pairs.get("append", ""))
        images.parse_memory(pairs.get("mem", "128M"))
        modules = "kernel" in pairs and images.is_multiboot(pairs["kernel"])
        if "initrd" in pairs:
            images.read_modules(pairs["initrd"]) if modules else images.readable(pairs["initrd"], "initramfs")
    sizes = [images.parse_memory(pairs.get("mem", "128M")) for pairs in described]
    system.check_guests(sizes)
    return sizes


def check_words(options):
    """What can be wrong with the options alone."""
    try:
        options.seconds = float(options.timeout) if options.timeout is not None else math.inf
    except ValueError:
        options.seconds = 0
    if not options.seconds > 0:
        raise Usage("--timeout %s is not a number of seconds" % options.timeout)
    try:
        re.compile(options.until or "")
    except re.error as error:
        raise Usage("--until %s is not a regular expression: %s" % (options.until, error)) from error
    if options.paging == "nested" and options.system != system.DEFAULT:
        raise Usage("--paging nested does not go with system %s, whose description says it" % options.system)
    if options.enlighten and options.system != system.DEFAULT:
        raise Usage("--enlighten does not go with system %s; say --set COMPONENT.enlighten=true" % options.system)
    if options.icount and options.accel == "kvm":
        raise Usage("--icount goes only with --accel tcg")
    system.check_name(options.system)
    options.script = images.readable(options.input, "--input") if options.input else b""
    check_pool_words(options)
    if options.seed is not None and not 0 < options.seed < 1 << 64:
        raise Usage("--seed %d is not between 1 and 2^64 - 1" % options.seed)
    if options.record and options.system != system.DEFAULT:
        raise Usage("--record does not go with system %s, whose description has no recorder" % options.system)
    for name in ("log", "stats", "record"):
        check_output(name, getattr(options, name))


def check_pool_words(options):
    if options.pool is None and (options.pool_guests is not None or options.module):
        raise Usage("--pool-guests and --module go with --pool")
    if options.pool is None:
        return
    if options.system != system.DEFAULT:
        raise Usage("--pool does not go with system %s, whose description says what is set aside" % options.system)
    options.pool = images.parse_size(options.pool, system.GUESTS_MEM_MAX, "--pool")
    if options.pool_guests is not None and not 0 < options.pool_guests <= system.GUESTS_MAX:
        raise Usage("--pool-guests %d is not between 1 and %d" % (options.pool_guests, system.GUESTS_MAX))
    for path in options.module or []:
        images.readable(path, "--module")


def kernel_log_name():
    return "build/log/kernel%s.log" % locks.slot()


def crash_name():
    """The beginning of crash reports' names; none of another slot begins so."""
    return "build/log/crash" + locks.slot().replace("-", "")


def check_output(name, path):
    """A file that is written in the end must not turn out to be impossible then."""
    if path is None:
        return
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise Usage("--%s %s: there is no such folder" % (name, path))
    if not path or os.path.isdir(path):
        raise Usage("--%s %s: a folder, not a file" % (name, path or "''"))
    if not os.access(path if os.path.exists(path) else os.path.dirname(path) or ".", os.W_OK):
        raise Usage("--%s %s: it may not be written" % (name, path))


def check_machine(options):
    if options.accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Lacking("--accel kvm: /dev/kvm is missing or not ours to use")
    options.qemu = options.qemu if machine.kind() == "bochs" else qemu.find(options.qemu)


def command(options):
    machine.choose(options)
    check_words(options)
    sizes = check_files_named(described_guests(options))    # before anything is installed
    system.check_pool(options, sizes)
    deps.ensure("bochs" if machine.kind() == "bochs" else "run", options, skip=("command:" + qemu.NAME,) if options.qemu else ())
    check_machine(options)
    guests = prepare_guests(options)
    build.make(ninja_targets(options))
    config = machine_config(options, guests)
    if options.dry_run:
        print(shlex.join(qemu.command_line(config, options.qemu, [3])))
        return 0
    return boot(options, config, guests)


def prepare_guests(options):
    """The guests that the options describe, checked; the default guest's files are downloaded if they are missing."""
    if options.system != system.DEFAULT:
        return system.named_guests(options)
    described = described_guests(options)
    check_files_named(described)
    guests = [guest_of(pairs) for pairs in described]
    for guest in guests:
        images.check(guest)
    return guests


def ninja_targets(options):
    wanted = system.targets(options.profile, options.system)
    known = {p.output for p in layout.programs()}
    missing = [t for t in wanted if t not in known]
    if missing:
        raise Failure("this tree cannot build " + " ".join(missing))
    return wanted


def machine_config(options, guests):
    return qemu.Config(
        kernel=layout.kernel_output(options.profile), modules=system.modules(options, guests), cmdline=system.cmdline(options),
        memory=system.machine_memory(guests, options), icount=options.icount, serials=("socket", kernel_log_name()), qemu=options.qemu,
        control=system.control_socket(), accel=options.accel,
        extra=system.recorder_device(options.record) if getattr(options, "record", None) else (),
        cpu="host,-la57" if options.accel == "kvm" else qemu.CPU, name="run" + locks.slot())


@contextlib.contextmanager
def raw_terminal(wanted):
    """Standard input in raw mode while the block runs, if it is a terminal; restored however the block ends."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def boot(options, config, guests):
    """Runs the machine to its end; returns the exit status."""
    log = open_log(options)
    pathlib.Path(layout.ROOT / kernel_log_name()).unlink(missing_ok=True)
    symbols.forget(crash_name())
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if log:
            stack.enter_context(log)
        stack.enter_context(control.announced(
            system.folder(), [g.name for g in guests] if options.system == system.DEFAULT else [], kernel_log_name(),
            **announced_images(options, guests)))
        booted = stack.enter_context(machine.start(config))
        session = Session(options, booted, [g.name for g in guests], log, [g.name for g in system.places(options)])
        with raw_terminal(session.terminal):
            session.run(began + options.seconds)
        status = booted.wait(5) if session.verdict is None else booted.exit_status
        tail = booted.tail() if session.verdict is None else ""
    result = conclude(options, session, status, tail)
    if options.stats:
        write_stats(options, guests, session, result, time.monotonic() - began)
    return result


def announced_images(options, guests):
    """What `ctl create` must know: boot modules by their files, and what the first guest has."""
    if options.system != system.DEFAULT:
        return {}
    files = {**system.guest_files(guests), **system.extra_modules(options)}
    return {"modules": {os.path.realpath(path): name for name, path in files.items()},
            "first": {"kernel": os.path.realpath(guests[0].kernel), "append": guests[0].append,
                      "initrd": os.path.realpath(guests[0].initrd) if guests[0].initrd else None}}


def open_log(options):
    try:
        return open(options.log, "wb", buffering=0) if options.log else None
    except OSError as error:
        raise Usage("--log %s: %s" % (options.log, error.strerror)) from error


class Session:
    """One run's traffic between the serial line and the outside. `verdict` says why it ended: matched, timeout, quit, or None
    when QEMU ended by itself."""

    def __init__(self, options, machine, names, log, places=()):
        self.machine = machine
        self.described = len(names)
        self.places = list(places)
        self.created = {}       # place: who is in it, as far as is known
        self.names = names = names + self.places
        self.log = log
        self.terminal = not options.headless and os.isatty(0)
        self.input_open = not options.headless
        self.lines = console.Lines(names) if options.headless else None
        self.shared = console.Shared(len(names))
        self.watchers = [console.Watcher(options.until) for _ in names] if options.until else None
        self.keys = console.Keys()
        self.script = console.Script(options.script, time.monotonic(), machine.patience)
        self.shown = 0          # the guest on the terminal
        self.outgoing = b""
        self.verdict = None
        self.file_lines = console.Lines(names)

    def tell(self, text):
        """A word of ours between the guest's; carriage returns because the terminal is raw."""
        say.note(text + ("\r" if self.terminal else ""))

    def run(self, deadline):
        if self.terminal:
            self.tell("Ctrl-A X quits, Ctrl-A H helps")
        while self.verdict is None:
            now = time.monotonic()
            if now >= deadline:
                self.verdict = "timeout"
            elif not self.turn(now, min(TICK, deadline - now)):
                break
        self.show(self.lines.finish() if self.lines else b"")
        self.keep(self.file_lines.finish())

    def turn(self, now, seconds):
        """Waits for something to happen and moves bytes; False when QEMU has closed the line."""
        line = self.machine.socket
        self.outgoing += self.shared.send(0, self.script.next(now)) if self.script.lines else b""
        sources = [line] + ([0] if self.input_open else [])
        ready, writable, _ = select.select(sources, [line] if self.outgoing else [], [], seconds)
        if 0 in ready:
            self.typed(os.read(0, 4096))
        try:
            if writable:
                self.outgoing = self.outgoing[line.send(self.outgoing):]
            data = line.recv(65536) if line in ready else None
        except BlockingIOError:
            data = None
        except ConnectionError:
            data = b""
        if data:
            self.received(data, time.monotonic())
        elif self.lines:
            self.show(self.lines.idle(time.monotonic()))
        return data != b""

    def look_who_is_there(self):
        """Created guests' names, by init's log."""
        self.created = created_guests((layout.ROOT / kernel_log_name()).read_text(errors="replace"))
        self.names[self.described:] = [self.created.get(place, place) for place in self.places]

    def received(self, data, now):
        self.machine.log.write(data)
        for guest, part in self.shared.receive(data):
            if guest >= self.described:
                self.look_who_is_there()
            if self.lines:
                self.show(self.lines.feed(guest, part, now))
            elif guest == self.shown:
                self.show(part)
            self.keep(self.file_lines.feed(guest, part, now))
            if guest == 0:
                self.script.heard(part, now)
            if self.watchers and self.watchers[guest].feed(part):
                self.verdict = "matched"
                return

    def typed(self, data):
        if not data:
            self.input_open = False     # end of input never ends a run
            return
        for what, keys in self.keys.feed(data) if self.terminal else [("type", data)]:
            if what == "type":
                self.outgoing += self.shared.send(self.shown, keys)
            elif what == "quit":
                self.verdict = "quit"
            elif what == "switch":
                self.switch()
                self.tell("guest " + self.names[self.shown])
            else:
                self.tell(console.HELP)

    def switch(self):
        """To the next guest; places without one are passed over."""
        if self.places:
            self.look_who_is_there()
        there = [True] * self.described + [place in self.created for place in self.places]
        self.shown = next(n % len(there) for n in range(self.shown + 1, self.shown + 1 + len(there)) if there[n % len(there)])

    def show(self, data):
        while data:
            data = data[os.write(1, data):]

    def keep(self, data):
        if self.log and data:
            self.log.write(data)


def kernel_log(options, names):
    """The kernel's and init's log, with the guests' names for those of their components."""
    path = layout.ROOT / kernel_log_name()
    text = path.read_text(errors="replace").replace("\r", "") if path.is_file() else ""
    return with_names(text, names) if options.system == system.DEFAULT else text


def created_guests(log):
    """{place: name of the guest in it} after what init's log says."""
    found = {}
    for name, place in CREATED.findall(log):
        found = {p: n for p, n in found.items() if n != name}
        if place:
            found[place] = name
    return found


def with_names(text, names):
    for number, name in enumerate(names):
        text = re.sub(r"^(guest|stat|audit|report) %s " % system.component(number), r"\1 %s " % name, text, flags=re.M)
    return text


def conclude(options, session, status, tail):
    """Says how the run ended; returns the exit status."""
    log = kernel_log(options, session.names)
    for name, reason in ENDED.findall(log):
        say.note("guest %s ended: %s" % (name, reason))
    for path in symbols.write(log, options.profile, crash_name()):
        say.note("a component died; its report: " + path)
    if session.verdict in ("matched", "quit"):
        return 0
    if session.verdict == "timeout":
        say.complain("timed out after %s seconds" % options.timeout)
        return 1
    value = qemu.debug_exit_value(status)
    if value is None:
        say.complain("QEMU ended with status %s; see build/log/run%s.err\n%s" % (status, locks.slot(), tail))
        return 1
    if value == system.END_GUEST:
        say.complain("a guest failed; see " + kernel_log_name())
        return 1
    if value != system.END_CLEAN:
        say.complain("the system failed (debug-exit value %#x); see %s" % (value, kernel_log_name()))
        return 1
    if options.until:
        say.complain("every guest ended before a console matched " + options.until)
        return 1
    return 0


def write_stats(options, guests, session, result, seconds):
    log = kernel_log(options, session.names)
    report = {g.name: {"memory_bytes": g.mem, "ended": None, "counts": {}} for g in guests}
    for name, reason in ENDED.findall(log):
        report.setdefault(name, {"counts": {}})["ended"] = reason
    kernel = {}
    for name, key, value in STATISTIC.findall(log):
        counts = kernel if name == "kernel" else report.setdefault(name, {"ended": None, "counts": {}})["counts"]
        counts[key] = int(value)
    whole = {"exit_status": result, "verdict": session.verdict or "ended", "seconds": round(seconds, 3),
             "profile": options.profile, "paging": options.paging, "kernel_log": kernel_log_name(), "guests": report,
             "kernel": kernel}
    try:
        with open(options.stats, "w") as file:
            json.dump(whole, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise Usage("--stats %s: %s" % (options.stats, error.strerror)) from error
