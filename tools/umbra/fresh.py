# SPDX-License-Identifier: BSD-2-Clause
"""`test --fresh`: the README's commands in an empty minimal Debian, as a stranger would type them;
`verify --fresh`: `verify` there.

The system is a folder under build/ made by debootstrap from the machine's own package source, with git and python3; the tree
is cloned into it (committed state). Of the machine it sees where packages come from, the network and the devices, nothing else:
no program, no package list, no variable. It has processes of its own, so that nothing in it outlives the command.

`run` is typed at on a terminal: once from nothing, and once built, when the time to its shell is taken.
"""
import dataclasses
import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import termios
import time

from umbra import deps, layout, say
from umbra.errors import Failure, Lacking

SUITE = "bookworm"
FRESH = layout.BUILD / "fresh"
PREINSTALLED = ("git", "python3")
HOST_FILES = ("etc/resolv.conf", "etc/hosts")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
README_BLOCK = re.compile(r"^```\n(.*?)^```", re.M | re.S)
PROMPT = rb"/ # "
SECONDS = 3600          # a hang: packages, the build and all tests
SHELL_SECONDS = 60      # what a built system may take from the command to its shell
KEY_SECONDS = 30
# The shell's own words end with the command's status, or with this when an emulator has outlived it.
LEFT_OVER = 99
GUARD = "%s; status=$?; for p in /proc/[0-9]*/comm; do read -r name < $p; case $name in qemu*) status={};; esac; " \
    "done 2>/dev/null; exit $status".format(LEFT_OVER)


@dataclasses.dataclass
class Result:
    what: str
    passed: bool
    note: str = ""


def sources():
    """The machine's own sources of the suite, as (address, release, component)."""
    answer = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
                             "Created-By: Packages"], capture_output=True, text=True)
    found = [tuple(words[:3]) for words in map(str.split, answer.stdout.splitlines())
             if len(words) == 3 or words[3:] == ["Debian"]]
    found = [one for one in dict.fromkeys(found) if one[1].split("-")[0] == SUITE]
    if SUITE not in [release for _, release, _ in found]:
        raise Lacking("no package source of Debian %s is configured here" % SUITE)
    return found


def readme_commands():
    """The commands of the README's first block, comments removed."""
    block = README_BLOCK.search((layout.ROOT / "README.md").read_text())
    lines = [line.split("#")[0].strip() for line in block[1].splitlines()] if block else []
    commands = [line for line in lines if line]
    if not commands:
        raise Failure("README.md shows no commands")
    return commands


def kill(child):
    """Ends what call() or a Typist started; the process namespace takes the rest with it."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def call(words, seconds=SECONDS, **options):
    """Runs to the end, output passed on; ends what it started however this ends."""
    child = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL, **options)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise Failure("%s: no end within %d s" % (words[-1], seconds)) from error
    finally:
        kill(child)


def install_system():
    """An empty minimal system in FRESH/root."""
    root = FRESH / "root"
    if root.exists():
        shutil.rmtree(root)
    FRESH.mkdir(parents=True, exist_ok=True)
    known = sources()
    mirror = next(uri for uri, release, _ in known if release == SUITE)
    include = PREINSTALLED + (("ca-certificates",) if any(uri.startswith("https") for uri, *_ in known) else ())
    say.note("installing a minimal Debian %s into %s" % (SUITE, layout.relative(root)))
    with open(FRESH / "debootstrap.log", "w") as log:
        status = call(["debootstrap", "--variant=minbase", "--include=" + ",".join(include), SUITE, str(root), mirror],
                      stdout=log, stderr=subprocess.STDOUT)
    if status:
        raise Failure("debootstrap failed; see build/fresh/debootstrap.log")
    take_configuration(root, known)
    return root


def take_configuration(root, known):
    """Where packages come from and how they are fetched, the name service; and, as in any new image, no package lists."""
    for name in HOST_FILES:
        if pathlib.Path("/", name).is_file():
            shutil.copyfile("/" + name, root / name)
    (root / "etc/apt/sources.list").write_text("".join("deb %s %s %s\n" % one for one in known))
    settings = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True).stdout
    (root / "etc/apt/apt.conf.d/90fetching").write_text(
        "".join(line + "\n" for line in settings.splitlines() if not re.match("Acquire::(IndexTargets|cdrom)", line)))
    for path in (root / "var/lib/apt/lists").glob("*_dists_*"):
        path.unlink()


def clone(root):
    target = root / "root" / "umbra"
    done = subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(layout.ROOT), str(target)], capture_output=True, text=True)
    if done.returncode:
        raise Failure("this tree cannot be cloned: " + (done.stderr.strip().splitlines() or ["git says nothing"])[-1])
    return "/root/umbra"


def inside(root, folder, command):
    """Words that run a shell command in the fresh system, with processes and mounts of its own; and their environment."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm",
                   **{k: v for k, v in os.environ.items() if k in PROXIES}}
    script = "mount -t proc proc /proc && cd %s || exit; %s" % (folder, GUARD % command)
    bind = "mount --rbind /dev %s/dev && exec chroot %s /bin/sh -c \"$0\"" % ((shlex.quote(str(root)),) * 2)
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", bind, script], environment


class Typist:
    """A command on a terminal of its own, watched and typed at. `seen` is what it showed since the last match."""

    def __init__(self, words, environment, log):
        self.ours, theirs = pty.openpty()
        self.terminal = theirs
        self.before = termios.tcgetattr(theirs)
        self.began = time.monotonic()
        self.seen = b""
        self.log = log
        self.child = subprocess.Popen(words, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill(self.child)
        os.close(self.ours)
        os.close(self.terminal)

    def look(self):
        """Takes what is shown within a moment."""
        if select.select([self.ours], [], [], 0.1)[0]:
            data = os.read(self.ours, 65536)
            self.log.write(data)
            self.seen += data

    def expect(self, regex, seconds):
        """Waits until it shows this, carriage returns removed; the seconds since its start."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(regex, self.seen.replace(b"\r", b""), re.M)
            if found:
                self.seen = self.seen.replace(b"\r", b"")[found.end():]
                return time.monotonic() - self.began
            if time.monotonic() > deadline or self.child.poll() is not None:
                shown = self.seen.decode("utf-8", "replace").splitlines()[-15:]
                how = "no end" if self.child.poll() is None else "it ended with status %s" % self.child.poll()
                raise Failure("no %r (%s) after:\n%s" % (regex.decode(), how, "\n".join(shown)))
            self.look()

    def type(self, data):
        os.write(self.ours, data)

    def ends(self, seconds):
        """Waits for the end; Failure unless it is status 0 with no emulator left and the terminal as it was."""
        deadline = time.monotonic() + seconds
        while self.child.poll() is None and time.monotonic() < deadline:
            self.look()
        status = self.child.poll()
        if status:
            raise Failure("an emulator is left" if status == LEFT_OVER else "status %s" % status)
        if status is None:
            raise Failure("no end within %d s" % seconds)
        if termios.tcgetattr(self.terminal) != self.before:
            raise Failure("the terminal is not as it was")


def shell_takes_commands(typist):
    typist.type(b"echo $((6 * 7)) $(uname -s)\n")
    typist.expect(rb"^42 Linux$", KEY_SECONDS)


def ctrl_c_reaches_the_guest(typist):
    typist.type(b"sh -c 'echo be''gun; sleep 1000'\n")
    typist.expect(rb"^begun$", KEY_SECONDS)
    typist.type(b"\x03")
    typist.expect(PROMPT, KEY_SECONDS)
    shell_takes_commands(typist)


def poweroff_ends_it(typist):
    typist.type(b"poweroff -f\n")
    typist.ends(KEY_SECONDS)


def ctrl_a_x_ends_it(typist):
    typist.type(b"\x01x")
    typist.ends(KEY_SECONDS)


def typed_at(start, limit, steps, name):
    """Results of a `run` on a terminal: its shell within `limit` seconds, then each step on the same run."""
    results = []
    with open(FRESH / (name + ".log"), "wb", buffering=0) as log, Typist(*start, log) as typist:
        what = "a shell " + name.replace("-", " ")
        try:
            results.append(Result(what, True, "%.1f s" % typist.expect(PROMPT, limit)))
            for step in steps:
                what = step.__name__.replace("_", " ")
                step(typist)
                results.append(Result(what, True))
        except Failure as failure:
            results.append(Result(what, False, str(failure)))
    return results


def try_run(start):
    """The command `run`: from nothing, then once built."""
    first = typed_at(start, SECONDS, (shell_takes_commands, ctrl_c_reaches_the_guest, poweroff_ends_it), "from-nothing")
    if not all(r.passed for r in first):
        return first
    return first + typed_at(start, SHELL_SECONDS, (shell_takes_commands, ctrl_a_x_ends_it), "once-built")


def try_command(line, root, folder):
    """Results of one line of the README."""
    say.note("fresh system: " + line)
    words, environment = inside(root, folder, line)
    if line.split()[1] == "run":
        found = try_run((words, environment))
        return [Result("%s: %s" % (line, r.what), r.passed, r.note) for r in found]
    began = time.monotonic()
    status = call(words, env=environment)
    note = "%.0f s" % (time.monotonic() - began) if status == 0 else "an emulator is left" if status == LEFT_OVER else \
        "status %d" % status
    return [Result(line, status == 0, note)]


def try_commands(lines, options):
    if os.geteuid() != 0:
        raise Lacking("--fresh makes a file system and needs root: sudo ./build.py ..")
    deps.ensure("fresh", options)
    if subprocess.run(["git", "-C", str(layout.ROOT), "status", "--porcelain"], capture_output=True).stdout:
        say.note("only what is committed is tested")
    root = install_system()
    folder = clone(root)
    results = [result for line in lines for result in try_command(line, root, folder)]
    for one in results:
        print("%-4s  %s%s" % ("ok" if one.passed else "FAIL", one.what, ": " + one.note if one.note else ""))
    failed = sum(not one.passed for one in results)
    print("%d passed, %d failed, 0 skipped" % (len(results) - failed, failed))
    return 1 if failed else 0


def test(options):
    lines = readme_commands()
    if options.names:       # a part of the tests instead of all
        lines = [line + (" " + shlex.join(options.names) if line.split()[1] == "test" else "") for line in lines]
    return try_commands(lines, options)


def verify(options):
    return try_commands([shlex.join(["./build.py", "verify", *options.names, *["--short"] * options.short])], options)
