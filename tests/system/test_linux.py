# SPDX-License-Identifier: BSD-2-Clause
"""An unmodified Debian Linux as a guest, through `./build.py run` only: what a person types and sees.

Each test is one boot and asks it for as much as one boot can show. What a wrong option or file does without a boot is in
tests/tools/test_run.py; here are only files that are wrong in a way that the guest itself has to find out.
"""
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest
from linux_guest import QUIET, SECONDS, VERIFY, needs_verify, require_verified, verdicts, verifying_guest
from umbra import guest, layout, machine

PART_SECONDS = 60   # the small kernel and one part of the workload: 8 to 15
FIRST = "#\n#\n"     # lines that may be lost: a guest that is silent for long while it boots is taken to be waiting for input


WORKER = b"PYTEST_XDIST_WORKER="


def of_another_worker(environment):
    """Is it the environment of something that tests of another file run, beside this one?"""
    return WORKER in environment and WORKER + os.environ.get("PYTEST_XDIST_WORKER", "").encode() + b"\0" not in environment


def qemu_left():
    """QEMUs that run from this tree and have outlived the command that started them."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
            if "qemu-system" not in words.split("\0")[0] or os.readlink(folder / "cwd") != str(layout.ROOT):
                continue
            if of_another_worker((folder / "environ").read_bytes()):
                continue
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if not re.search(rb"build\.py\0", pathlib.Path("/proc", parent, "cmdline").read_bytes()):
                found.append(words)
        except OSError:
            pass    # it ended meanwhile
    return found


@pytest.mark.parametrize("flavour", guest.FLAVOURS)
def test_shell_takes_commands_and_ctrl_c_and_powers_off(headless, flavour):
    typed = FIRST + "uname -r\necho $((6 * 7)) | tee /tmp/x\nsleep 1000\n\x03\necho ended=$?\ncat /tmp/x\npoweroff -f\n"
    outcome = headless("--kernel", guest.kernel(flavour), "--initrd", guest.initramfs(), "--append", QUIET,
                       typed=typed)
    assert re.search(r"^/ # .*uname -r\n6\.1\..*%s$" % flavour, outcome.console, re.M), outcome.console
    assert re.search(r"^42\n", outcome.console, re.M)
    assert re.search(r"^ended=130$", outcome.console, re.M), outcome.console    # `^C` is shown if sleep had begun
    assert len(re.findall(r"^42$", outcome.console, re.M)) == 2
    assert outcome.status == 0, outcome.said
    assert re.search(r"guest linux ended: halted for ever", outcome.said), outcome.said
    assert outcome.ended().startswith("halted for ever")
    counts = outcome.stats["guests"]["linux"]["counts"]
    kinds = sum(n for key, n in counts.items() if key.startswith("exits_") and key != "exits_uart")
    assert counts["exits"] > 1000 and counts["exits"] - kinds in (0, 1), counts    # the first is no guest's doing
    assert 100 < counts["exits_uart"] < counts["exits_io"], counts
    assert not qemu_left()


def test_until_ends_at_the_prompt_without_words_of_ours(words):
    """The command of the README, with the default guest, ended by the first prompt; its log has whole prefixed lines."""
    log = layout.BUILD / "log" / "test-until.log"
    done = subprocess.run([*words, "--headless", "--quiet", "--until", "^/ # ", "--timeout", str(SECONDS * machine.patience()), "--log", str(log)],
                          cwd=layout.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("linux|") for line in lines) and lines[-1].startswith("linux|/ # ")
    assert any(re.match(r"linux\|\[ +0\.000000\] Linux version 6\.1\.", line) for line in lines)
    assert "memmgr" not in done.stdout and "vmm0" not in done.stdout     # the system's log is not the guest's console
    assert log.read_text(errors="replace") == done.stdout
    assert not qemu_left()


def test_release_build_gives_a_shell_too():
    done = subprocess.run(["./build.py", "run", "--profile", "release", "--headless", "--quiet", "--until", "^/ # ", "--append", QUIET,
                           "--timeout", str(SECONDS * machine.patience())], cwd=layout.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace")
    assert done.returncode == 0, done.stderr


class Terminal:
    """build.py run on a terminal of its own."""

    def __init__(self, command):
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        self.process = subprocess.Popen(command, cwd=layout.ROOT, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs,
                                        start_new_session=True)

    def read(self):
        if select.select([self.ours], [], [], 0.1)[0]:
            self.seen += os.read(self.ours, 4096)

    def expect(self, regex, seconds=30):
        deadline = time.monotonic() + seconds * machine.patience()
        while not (found := re.search(regex, self.seen, re.M)):
            assert time.monotonic() < deadline and self.process.poll() is None, self.seen[-2000:]
            self.read()
        self.seen = self.seen[found.end():]

    def type(self, data):
        os.write(self.ours, data)

    def end(self, seconds=30):
        """The exit status."""
        deadline = time.monotonic() + seconds * machine.patience()
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        return self.process.poll()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(words):
    shown = Terminal([*words, "--quiet", "--append", QUIET])
    yield shown
    shown.close()


def test_terminal_sends_every_key_to_the_guest_but_ctrl_a(terminal):
    terminal.expect(rb"^/ # ", SECONDS)
    terminal.type(b"sh -c 'echo one; exec sleep 1000'\r")     # what it prints shows that the shell has let go of the terminal
    terminal.expect(rb"^one\r\n")
    terminal.type(b"\x03")
    terminal.expect(rb"^(\^C)?\r\n(\^C)?/ # ")     # late, or no `^C`, if the shell, woken by it, was first to write, or to turn the echo off
    terminal.type(b"sh -c 'echo two; exec sleep 1000'\r")
    terminal.expect(rb"^two\r\n")
    terminal.type(b"\x1a")      # Ctrl-Z: job control reaches the guest's shell, not ours
    terminal.expect(rb"Stopped +sh -c")
    terminal.type(b"kill %1\r")
    terminal.expect(rb"/ # ")
    terminal.type(b"sh -c 'echo three; exec cat'\r")
    terminal.expect(rb"^three\r\n")
    terminal.type(b"abc\r")
    terminal.expect(rb"abc\r\nabc\r\n")
    terminal.type(b"\x04")          # Ctrl-D ends cat
    terminal.expect(rb"/ # ")
    terminal.type(b"\x01x")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    assert not qemu_left()


def test_panic_with_reboot_ends_the_run_as_a_reset(headless, tmp_path):
    """An initramfs of garbage: the kernel itself must find out, panics, and resets the machine."""
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(range(1, 256)) * 4000)
    outcome = headless("--kernel", guest.kernel(), "--initrd", garbage, "--append", "console=ttyS0 panic=-1")
    assert re.search(r"Initramfs unpacking failed", outcome.console), outcome.console[-3000:]
    assert re.search(r"Kernel panic - not syncing: VFS: Unable to mount root fs", outcome.console)
    assert outcome.status == 0, outcome.said
    assert outcome.ended().startswith("reset") and "guest linux ended: reset" in outcome.said


def test_kernel_whose_code_is_garbage_ends_that_guest_and_says_why(headless, tmp_path):
    """A valid header before nonsense: nothing checks that before it runs."""
    data = bytearray(guest.kernel().read_bytes())
    begin = (data[0x1f1] + 1) * 512
    data[begin:begin + 0x10000] = b"\x0f\x0b" * 0x8000      # ud2
    kernel = tmp_path / "broken"
    kernel.write_bytes(data)
    outcome = headless("--kernel", kernel, "--append", "console=ttyS0", seconds=60)
    assert outcome.status == 1, outcome.said
    assert outcome.ended().startswith("triple fault")
    assert re.search(r"^vmm0: rip [0-9a-f]{16}", outcome.kernel_log, re.M)     # with its registers
    assert not qemu_left()


@needs_verify
@pytest.mark.parametrize("memory,least,most,touched", [("80M", 25, 80, 8), ("256M", 195, 256, 120), ("512M", 435, 512, 270)])
def test_memory_is_as_large_as_asked_for_and_all_of_it_works(headless, memory, least, most, touched):
    program = (layout.ROOT / VERIFY).read_bytes()
    initrd = guest.initramfs("verify-shell.cpio", [("bin/verify", 0o100755, program)])
    typed = FIRST + "grep MemTotal /proc/meminfo\nverify --memory %d memory\npoweroff -f\n" % touched
    outcome = headless("--kernel", guest.kernel("cloud-amd64"), "--initrd", initrd, "--append", QUIET,
                       "--mem", memory, typed=typed)
    total = int(re.search(r"^MemTotal: +(\d+) kB$", outcome.console, re.M)[1]) // 1024
    assert least <= total <= most
    assert "verify memory ok" in outcome.console, outcome.console[-2000:]
    assert outcome.stats["guests"]["linux"]["memory_bytes"] == most << 20
    assert outcome.status == 0, outcome.said


@needs_verify
@pytest.mark.parametrize("flavour", ["amd64"] + [pytest.param(name, marks=pytest.mark.long) for name in guest.FLAVOURS[1:]])
def test_verifying_workload_passes(headless, flavour):
    outcome = headless(*verifying_guest(flavour=flavour), seconds=400)
    require_verified(outcome)
    listed = subprocess.run([str(layout.ROOT / VERIFY), "--list"], capture_output=True, text=True).stdout.split()
    assert [line.split()[1] for line in verdicts(outcome.console)[:-1]] == listed


# Each has mutants that must make it fail (tests/mutants/guest-*.patch); without them the whole workload covers it.
PARTS = ("bits", "cow", "faults", "fpu", "maps", "retry", "step", "timers", "uaccess")


@needs_verify
@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_workload_passes(headless, part):
    """A guest that panics resets, so that a broken one does not take the whole time."""
    require_verified(headless(*verifying_guest(part, flavour="cloud-amd64", append="panic=-1 oops=panic"), seconds=PART_SECONDS))


@needs_verify
def test_workload_gives_the_same_result_whatever_the_order_of_memory(headless):
    """The seed of memory's order changes which frames a guest gets, and nothing that it can see."""
    parts = ["storm", "memory", "cow", "maps", "code"]
    consoles = []
    for seed in (3, 4):
        outcome = headless(*verifying_guest("--scale", "0.3", *parts), "--seed", seed)
        require_verified(outcome)
        assert re.search(r"memmgr: .* seed %d$" % seed, outcome.kernel_log, re.M), outcome.kernel_log
        consoles.append(verdicts(outcome.console))
    assert consoles[0] == consoles[1] and len(consoles[0]) == len(parts) + 1


def require_two_verify(words, seconds, arguments, **kernel):
    """Two guests verify the same at the same time, each as isolated as if it were alone."""
    options = verifying_guest(*arguments, **kernel)
    path, initrd, append = options[1], options[3], options[5].replace(",", ",,")
    guests = ["--vm=name=%s,kernel=%s,initrd=%s,append=%s,mem=96M" % (name, path, initrd, append) for name in ("a", "b")]
    done = subprocess.run([*words, "--headless", "--timeout", str(seconds * machine.patience()), *guests], cwd=layout.ROOT, capture_output=True,
                          text=True, errors="replace", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    parts = [word for word in arguments if word.isalpha()]
    for name in ("a", "b"):
        assert len(re.findall(r"^%s\|verify \w+ ok$" % name, done.stdout, re.M)) == len(parts) + 1, done.stdout[-3000:]


@needs_verify
def test_two_guests_verify_side_by_side(words):
    require_two_verify(words, SECONDS, ["--scale", "0.3", "storm", "memory", "cow", "code", "fpu", "timers"])


@needs_verify
@pytest.mark.long
def test_two_guests_keep_their_vector_registers(words):
    """Long enough that the guests take turns while registers are in use."""
    require_two_verify(words, 2 * PART_SECONDS, ["--scale", "4", "fpu"], flavour="cloud-amd64",
                       append="panic=-1 oops=panic")


@pytest.mark.needs("build/workloads/mark")
def test_same_run_under_icount_is_the_same_to_the_instruction(headless):
    """Repeatable virtual time: two boots to init make the same exits."""
    program = (layout.ROOT / "build/workloads/mark").read_bytes()
    path = guest.GUEST / "mark.cpio"
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("mark", 0o100755, program)]))
    outcomes = [headless("--kernel", guest.kernel(), "--initrd", path, "--append", "console=ttyS0 quiet rdinit=/mark", "--icount",
                         seconds=400) for _ in range(2)]
    marks = [re.search(r"^MARK init (\d+)$", outcome.console, re.M)[1] for outcome in outcomes]
    assert marks[0] == marks[1]
    assert outcomes[0].stats["guests"]["linux"]["counts"] == outcomes[1].stats["guests"]["linux"]["counts"]
