# SPDX-License-Identifier: BSD-2-Clause
"""`verify --fuzz TARGET`: coverage-guided fuzzing of whatever reads hostile data, and the replay of what it has found out.

A target is tests/fuzz/NAME.c and a line of TARGETS. Its corpus is tests/fuzz/corpus/NAME, text: an input a line, in base64, shortest
first; `pin ` stands before findings, which are never dropped. A run goes on from the corpus, drops from it what covers nothing new
(-merge=1), and adds its row to docs/fuzzing.md. `Kept` is the replay: what a property asks for.
"""
import base64
import collections
import contextlib
import dataclasses
import datetime
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess

from umbra import build, deps, layout, say, version
from umbra.errors import Failure, Usage

SOURCES, CORPUS, PAGE = "tests/fuzz", "tests/fuzz/corpus", "docs/fuzzing.md"
WORK = layout.BUILD / "fuzz"
CORPUS_BYTES_MAX = 256 << 10        # of one target; all together are held below 5 MB by tests/fuzz/test_fuzz.py
SECONDS = 900                       # of a replay; a hang, as in replay.c and FLAGS
CLANG = ("clang", "-std=gnu11", "-O1", "-g", "-w", "-fno-omit-frame-pointer", "-fsanitize=fuzzer,address,undefined",
         "-fno-sanitize-recover=all")
FLAGS = ("-print_final_stats=1", "-timeout=60", "-report_slow_units=60", "-rss_limit_mb=2048", "-detect_leaks=0")
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
NO_BUILD = "the target does not build"
FUZZED = "fuzzed"
INTERFACES = "idl"                                      # compiler and descriptions, of which headers are made
GENERATED_FROM = [INTERFACES, layout.FUZZ_INTERFACE, "tests/idl/idl_harness.py", "tests/fuzz/support"]    # and what makes sources of them

Outcome = collections.namedtuple("Outcome", "holds figure why")


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    component: str      # of verify's COMPONENTS
    reads: str          # what is fed
    bytes_max: int = 1024

    @property
    def source(self):
        return "%s/%s.c" % (SOURCES, self.name.replace("-", "_"))

    @property
    def shown_as(self):
        return "%s.fuzz-%s" % (self.component, self.name)

    @property
    def corpus(self):
        return layout.ROOT / CORPUS / self.name

    @property
    def work(self):
        return WORK / self.name


TARGETS = (
    Target("decoder", "vmm", "instruction bytes, in each mode", 40),
    Target("emulator", "vmm", "one instruction, registers, rights of pages, a bus that gives up", 64),
    Target("boot-image", "vmm", "kernel images and module files of every format", 2048),
    Target("idl-dispatch", "idl", "raw and changed messages to every interface"),
    Target("management", "system", "a line of the management channel, an init that answers anything", 2048),
    Target("lapic", "vmm", "accesses, messages, time"),
    Target("uart", "vmm", "accesses, both ends of the line, time"),
    Target("bus", "vmm", "all ports, memory, lines, time"),
    Target("pic", "vmm", "accesses, lines, acknowledgements"),
    Target("pit", "vmm", "accesses, time"),
    Target("cmos", "vmm", "accesses, time"),
    Target("ioapic", "vmm", "accesses, lines, time"),
    Target("fwcfg", "vmm", "accesses"),
    Target("console", "system", "rings of hostile guests, typed bytes, deaths of the console"),
    Target("description", "init", "system descriptions with a right checksum", 4096),
    Target("image", "init", "programs as an upgrade brings them"),
    Target("report", "init", "what a program that died has left: its trace, exit, stack, code"),
    Target("recording", "vmm", "recordings", 4096),
    Target("policy", "vmm", "writes to control registers and MSRs, hosts' CPUID"),
    Target("core", "vmm", "exits of guests in any mode, and deaths of the VMM at each", 512),
    Target("shadow", "vmm", "what a guest does to its page tables and its processor", 128),
    Target("kernel", "kernel", "system calls of hostile processes, faults, interrupts, exits, time", 4096),
)


def by_name(name):
    for target in TARGETS:
        if target.name == name:
            return target
    raise Usage("no fuzz target is called %s; see ./build.py verify --fuzz list" % name)


# --- the corpus ---

def read_corpus(path):
    """(inputs, those of them that are never dropped), in the file's order."""
    inputs, pinned = [], []
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line and not line.startswith("#"):
            inputs.append(base64.b64decode(line.removeprefix("pin "), validate=True))
            pinned += inputs[-1:] if line.startswith("pin ") else []
    return inputs, pinned


def remarks(path):
    """A remark stands before the pinned input that it is about, and stays with it."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return {line: before for before, line in zip(lines, lines[1:]) if before.startswith("#") and line.startswith("pin ")}


def write_corpus(path, inputs, pinned):
    """Pinned ones first, then the others by length, as many as there is room for. Returns how many there was no room for."""
    told, lines, used, dropped = remarks(path), [], 0, 0
    for data in dict.fromkeys(pinned):
        line = "pin " + base64.b64encode(data).decode()
        lines += [told[line]] if line in told else []
        lines.append(line)
    for data in sorted(set(inputs) - set(pinned), key=lambda d: (len(d), d)):
        line = base64.b64encode(data).decode()
        used += len(line) + 1
        if used > CORPUS_BYTES_MAX:
            dropped += 1
        else:
            lines.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return dropped


def spread(inputs, folder):
    """One file an input, as libFuzzer has them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, data in enumerate(inputs):
        (folder / ("%06d" % number)).write_bytes(data)


def collect(folder):
    return {path.read_bytes() for path in folder.iterdir() if path.is_file()} - {b""}


# --- building and running ---

def personality():
    """The sanitizers want the address-space layout of older kernels: no randomization."""
    import ctypes
    ctypes.CDLL(None).personality(0x40000)


def make(target):
    """The target with libFuzzer; its replay is made, too, and with it whatever is generated."""
    build.make([layout.fuzz_output(target.source)])
    program = target.work / target.name
    program.parent.mkdir(parents=True, exist_ok=True)
    includes = layout.HOST_FLAGS[layout.HOST_FLAGS.index("-fno-sanitize-recover=all") + 1:]
    say.progress("building %s" % target.name)
    done = subprocess.run([*CLANG, *includes, *layout.fuzz_sources(target.source), "-o", str(program)], cwd=layout.ROOT, capture_output=True,
                          text=True)
    say.progress("")
    if done.returncode:
        raise Failure("%s: %s\n%s" % (target.name, NO_BUILD, done.stderr))
    return program


def processor_seconds(pid):
    """User and system time of a process that runs."""
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def execute(words, log, seconds=float("inf")):
    """Runs libFuzzer, until it has used that much processor time; (exit status, what it wrote, which goes to the log, too)."""
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file, subprocess.Popen(words, cwd=layout.ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                                  env=environment, preexec_fn=personality) as fuzzer:
        try:
            while fuzzer.poll() is None:
                left = seconds - processor_seconds(fuzzer.pid)
                if left <= 0:
                    fuzzer.send_signal(signal.SIGUSR1)      # libFuzzer ends in order, with status 0, when the input at hand is done
                with contextlib.suppress(subprocess.TimeoutExpired):
                    fuzzer.wait(max(0.1, min(left, 60)))    # one thread uses no more of the processor than of the clock
        finally:
            fuzzer.kill()
    return fuzzer.returncode, log.read_text(errors="replace")


def figures(text):
    """(executions, edges, features) as the last lines of a run have them."""
    executed = re.findall(r"^stat::number_of_executed_units: *(\d+)", text, re.M) or re.findall(r"^#(\d+)\s", text, re.M)
    covered = re.findall(r"\bcov: (\d+) ft: (\d+)", text)
    return int(executed[-1]) if executed else 0, *map(int, covered[-1] if covered else (0, 0))


def merge(target, program):
    """What of the run's corpus covers something, with the shortest inputs for it."""
    folder = target.work / "merged"
    spread([], folder)
    status, text = execute([str(program), "-merge=1", "-max_len=%d" % target.bytes_max, *FLAGS, str(folder), str(target.work / "corpus")],
                           target.work / "merge.log")
    if status:
        raise Failure("%s: the corpus could not be minimised\n%s" % (target.name, text[-2000:]))
    return collect(folder)


def commit():
    """Of the code: the corpora and the pages, which runs change, do not make it another one."""
    words = ["git", "-C", str(layout.ROOT), "status", "--porcelain", "--", ".", ":!" + CORPUS, ":!docs"]
    changed = subprocess.run(words, capture_output=True, text=True)
    return version.commit().removesuffix("-dirty") + ("-dirty" if changed.returncode or changed.stdout else "")


def row(target, minutes, text, new, findings):
    executions, edges, features = figures(text)
    return "| %s | %s | `%s` | %.1f | %d | %d | %d | %d | %d |" % (
        datetime.date.today().isoformat(), commit(), target.name, minutes, executions, edges, features, new, findings)


def tell(line):
    """Adds a row to the table of runs, which is the last thing in its page."""
    page = layout.ROOT / PAGE
    if page.is_file():
        page.write_text(page.read_text().rstrip("\n") + "\n" + line + "\n")


def runs_of(name):
    """(commit, minutes) of all runs that docs/fuzzing.md tells of."""
    page = layout.ROOT / PAGE
    rows = re.findall(r"^\| \d{4}-\d\d-\d\d \| ([^ |]+) \| `%s` \| ([\d.]+) \|" % re.escape(name), page.read_text() if page.is_file() else "",
                      re.M)
    return [(commit, float(minutes)) for commit, minutes in rows]


def minutes_so_far(name):
    return sum(minutes for _, minutes in runs_of(name))


def included(paths):
    """What these files include by quotes, and what that includes: headers of other folders, a source with its insides in the open. Of a
    header that the tree does not have all that it is made of."""
    folders = [d for flag, d in zip(layout.HOST_FLAGS, layout.HOST_FLAGS[1:]) if flag == "-I"]
    found, todo = set(), list(paths)
    while todo:
        path = todo.pop()
        found.add(path)
        for name in INCLUDE.findall((layout.ROOT / path).read_text()):
            there = (os.path.normpath(os.path.join(folder, name)) for folder in (os.path.dirname(path), *folders))
            file = next((p for p in there if (layout.ROOT / p).is_file() and not p.startswith("build/")), None)
            if file is None:
                found.add(INTERFACES)
            elif file not in found:
                todo.append(file)
    return sorted(found - set(paths))


def code_of(target):
    """What a change of makes another program of it, as git names it: sources, headers beside them and what they include, interfaces, the
    kernel's."""
    sources = [path for path in layout.fuzz_sources(target.source) if not path.startswith("build/")]
    folders = {os.path.dirname(path) for path in sources}
    generated = GENERATED_FROM if len(sources) < len(layout.fuzz_sources(target.source)) else []
    return sources + [":(glob)%s/*.h" % folder for folder in sorted(folders)] + included(sources) + generated + ["kernel/include"]


def unchanged(commit, paths):
    """Since that commit; of one that git does not know, or of changes that were never committed, nothing is."""
    words = ["git", "-C", str(layout.ROOT), "diff", "--quiet", commit, "--", *paths]
    return subprocess.run(words, capture_output=True).returncode == 0


def minutes_on_this_code(target):
    runs, paths = runs_of(target.name), code_of(target)
    same = {commit for commit in dict(runs) if unchanged(commit, paths)}
    return sum(minutes for commit, minutes in runs if commit in same)


def fuzz(target, minutes, seed):
    """One run. Returns the number of findings: libFuzzer ends at the first one."""
    program = make(target)
    kept, pinned = read_corpus(target.corpus)
    spread(kept, target.work / "corpus")
    spread([], target.work / "found")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    say.note("%s: %d inputs kept, %.1f minutes of processor time from now on" % (target.name, len(kept), minutes))
    status, text = execute([str(program), "-max_len=%d" % target.bytes_max, "-seed=%d" % seed, "-artifact_prefix=%s/" % (target.work / "found"),
                            *FLAGS, str(target.work / "corpus")], target.work / "run.log", max(1, 60 * minutes))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime) / 60
    found = collect(target.work / "found")
    if status and not found:
        raise Failure("%s ended with status %d\n%s" % (target.name, status, text[-2000:]))
    inputs = merge(target, program) if not found else collect(target.work / "corpus")
    dropped = write_corpus(target.corpus, inputs, pinned + sorted(found))
    line = row(target, spent, text, len(inputs - set(kept)), len(found))
    tell(line)
    for data in sorted(found):
        say.complain("%s: a finding, pinned in %s: %s\n%s" % (target.name, os.path.relpath(target.corpus, layout.ROOT), base64.b64encode(data).decode(),
                                                             text[-4000:]))
    if dropped:
        say.note("%d inputs, the longest ones, have no room in %s" % (dropped, os.path.relpath(target.corpus, layout.ROOT)))
    print(line)
    return len(found)


def command(options):
    if options.fuzz == "list":
        for target in TARGETS:
            print("%-14s %-28s %6.1f minutes %7.1f on this code  %s" % (
                target.name, target.shown_as, minutes_so_far(target.name), minutes_on_this_code(target), target.reads))
        return 0
    target = by_name(options.fuzz)
    deps.ensure("fuzz", options)
    return 1 if fuzz(target, options.minutes, options.seed) else 0


@dataclasses.dataclass(frozen=True)
class Kept:
    """The kept corpus of a target has no finding (any more)."""
    target: Target

    def check(self):
        try:
            build.make([layout.fuzz_output(self.target.source)])
        except Failure as failure:
            return Outcome(False, NO_BUILD, str(failure))
        done = replay(self.target)
        inputs = re.search(r"^(\d+) inputs$", done.stdout, re.M)
        figure = "%.0f minutes in %s, %.0f with this code, %s inputs of them kept" % (
            minutes_so_far(self.target.name), PAGE, minutes_on_this_code(self.target), inputs[1] if inputs else "no")
        if done.returncode or not inputs or inputs[1] == "0":
            return Outcome(False, "a finding" if done.returncode else "no corpus", done.stdout + done.stderr)
        return Outcome(True, figure, "")


def replay(target):
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}
    return subprocess.run([str(layout.ROOT / layout.fuzz_output(target.source)), str(target.corpus)], cwd=layout.ROOT, env=environment,
                          capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=SECONDS, preexec_fn=personality)
