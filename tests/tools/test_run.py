# SPDX-License-Identifier: BSD-2-Clause
"""`run` from end to end with a stand-in for the system: exit statuses, patterns, the terminal, bad input."""
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import echo_kernel

HEADLESS = ("run", "--kernel", "K", "--headless", "--quiet")


@pytest.fixture
def system(tree):
    echo_kernel.install(tree)
    return tree


def script(system, text):
    system.write("typed", text)
    return "--input", "typed"


def processes():
    """[(pid, parent's pid, command line, working folder)] of all that run."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.append((int(folder.name), parent, (folder / "cmdline").read_bytes().decode(errors="replace"),
                          os.readlink(folder / "cwd")))
        except OSError:
            pass    # it ended meanwhile
    return found


def no_qemu_left(system):
    return not any("qemu-system" in words and folder == str(system.root) for _, _, words, folder in processes())


def test_clean_end_is_0_with_prefixed_lines_log_and_stats(system):
    done = system.run(*HEADLESS[:-1], *script(system, "abc\nq"), "--timeout", "60", "--log", "L", "--stats", "S")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "linux|hello\nlinux|# abc\nlinux|# \n"
    assert (system.root / "L").read_text() == done.stdout
    assert "build.py: guest linux ended: poweroff" in done.stderr
    stats = json.loads((system.root / "S").read_text())
    assert stats["guests"]["linux"] == {"memory_bytes": 128 << 20, "ended": "poweroff", "counts": {"cpuid": 34}}
    assert (stats["exit_status"], stats["verdict"]) == (0, "ended")


def test_until_matches_an_incomplete_line_and_ends_with_0(system):
    done = system.run(*HEADLESS, "--until", "^# $", "--timeout", "60")
    assert (done.returncode, done.stdout) == (0, "linux|hello\nlinux|# \n")
    assert no_qemu_left(system)


def test_timeout_is_1_and_says_so(system):
    done = system.run(*HEADLESS, "--until", "^linux", "--timeout", "1.5")
    assert done.returncode == 1
    assert done.stderr == "build.py: timed out after 1.5 seconds\n"
    assert no_qemu_left(system)


def test_an_end_before_the_pattern_is_1(system):
    done = system.run(*HEADLESS, *script(system, "q"), "--until", "never", "--timeout", "60")
    assert done.returncode == 1
    assert "every guest ended before a console matched never" in done.stderr


@pytest.mark.parametrize("key,said", [("f", "a guest failed; see build/log/kernel.log"),
                                      ("t", "QEMU ended with status 0")])
def test_a_failed_system_is_1(system, key, said):
    done = system.run(*HEADLESS, *script(system, key), "--timeout", "60")
    assert done.returncode == 1
    assert said in done.stderr


def test_two_runs_of_one_tree_do_not_disturb_each_other(system):
    words = ["/usr/bin/python3", "build.py", *HEADLESS, *script(system, "q"), "--timeout", "60", "--stats"]
    runs = [subprocess.Popen([*words, "S%d" % n], cwd=system.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for n in range(2)]
    for run in runs:
        out, err = run.communicate(timeout=100)
        assert (run.returncode, out) == (0, "linux|hello\nlinux|# \n"), err
    stats = [json.loads((system.root / ("S%d" % n)).read_text()) for n in range(2)]
    assert {s["kernel_log"] for s in stats} == {"build/log/kernel.log", "build/log/kernel-1.log"}
    assert all(s["guests"]["linux"]["ended"] == "poweroff" for s in stats)


def test_a_reader_that_goes_away_ends_the_run(system):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(["/usr/bin/python3", "build.py", *HEADLESS, "--timeout", "60"], cwd=system.root, stdout=writer,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=100)
    os.close(writer)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert no_qemu_left(system)


def test_a_closed_standard_input_is_as_one_at_its_end(system):
    done = subprocess.run(["/usr/bin/python3", "build.py", "run", "--kernel", "K", "--quiet", "--until", "^# ", "--timeout", "60"],
                          cwd=system.root, preexec_fn=lambda: os.close(0), capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "hello\n# "), done.stderr


def test_end_of_input_does_not_end_a_run(system):
    done = subprocess.run(["/usr/bin/python3", "build.py", "run", "--kernel", "K", "--timeout", "2", "--quiet"],
                          cwd=system.root, input="xy", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "timed out" in done.stderr
    assert done.stdout == "hello\n# xy"


def test_dry_run_shows_the_command_and_boots_nothing(system):
    done = system.run("run", "--kernel", "K", "--dry-run", "--append", "a=1,2 b", "--mem", "96M", "--icount")
    assert done.returncode == 0
    assert "-cpu max,-la57" in done.stdout and "-icount shift=0,sleep=off" in done.stdout
    assert "-initrd build/run/kernel0 -append log=com2" in done.stdout
    assert not (system.root / "build/log/run.log").exists()


def test_several_guests_are_modules_one_after_the_other(system):
    (system.root / "K2").write_bytes(echo_kernel.bzimage())
    done = system.run("run", "--vm", "name=a,kernel=K,append=x,,y", "--vm", "name=b,kernel=K2,mem=64M", "--vm", "name=c,kernel=K",
                      "--seed", "7", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "-initrd build/run/kernel0,build/run/kernel1 -append 'log=com2 seed=7'" in done.stdout


def test_modules_of_a_multiboot_kernel_become_one_file(system):
    (system.root / "mb").write_bytes(echo_kernel.multiboot())
    (system.root / "a").write_bytes(b"first")
    (system.root / "b,c").write_bytes(b"second")
    done = system.run("run", "--kernel", "mb", "--initrd", "a one two,b,,c", "--append", "x", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "-initrd build/run/kernel0,build/run/initrd0 " in done.stdout
    packed = (system.root / "build/run/initrd0").read_bytes()
    assert packed == b"UMBRAMOD" + struct.pack("<2I8Q", 2, 0, 80, 5, 85, 9, 94, 6, 100, 3) + b"firsta one twosecondb,c"


@pytest.mark.parametrize("words,said", [
    (["--kernel", "gone"], "kernel gone: No such file or directory"),
    (["--kernel", "build.py"], "kernel build.py is not a Linux kernel image (bzImage)"),
    (["--kernel", "."], "kernel .: Is a directory"),
    (["--kernel", "elf"], "kernel elf is an ELF file"),
    (["--kernel", "mb64"], "kernel mb64 has a Multiboot header without addresses and is no 32-bit ELF file"),
    (["--kernel", "mb", "--initrd", "gone a word"], "module gone: No such file"),
    (["--kernel", "mb", "--initrd", "K a,gone"], "module gone: No such file"),
    (["--kernel", "mb", "--initrd", ",".join(["K"] * 33)], "33 modules; a kernel gets at most 32"),
    (["--kernel", "mb", "--mem", "16M"], "kernel mb needs at least 32M, memory is 16M"),
    (["--kernel", "mb", "--initrd", "big"], "its file of modules of 101M does not fit above the kernel, which ends at 32M of 128M"),
    (["--kernel", "mb", "--append", "x" * 2046], "command line is longer than the 2047 bytes"),
    (["--kernel", "old"], "kernel old has boot protocol 2.01; at least 2.02 is needed"),
    (["--kernel", "low"], "kernel low is a zImage"),
    (["--kernel", "short"], "kernel short is cut off"),
    (["--kernel", "K", "--initrd", "gone"], "initramfs gone: No such file"),
    (["--kernel", "K", "--initrd", "big"], "does not fit above the kernel, which ends at 48M of 128M"),
    (["--kernel", "K", "--mem", "32M"], "kernel K needs at least 48M, memory is 32M; give more with --mem"),
    (["--kernel", "K", "--mem", "lots"], "memory is 'lots'; say for example 128M"),
    (["--kernel", "K", "--mem", "1M"], "memory of 1M is not between 16M and 2048M"),
    (["--kernel", "K", "--mem", "2049M"], "memory of 2049M is not between 16M and 2048M"),
    (["--kernel", "K", "--append", "x" * 2048], "command line is longer than the 2047 bytes"),
    (["--kernel", "K", "--timeout", "soon"], "--timeout soon is not a number of seconds"),
    (["--kernel", "K", "--timeout", "-1"], "--timeout -1 is not a number of seconds"),
    (["--kernel", "K", "--until", "("], "--until ( is not a regular expression"),
    (["--kernel", "K", "--log", "no/such/folder"], "--log no/such/folder: there is no such folder"),
    (["--kernel", "K", "--input", "gone"], "--input gone: No such file"),
    (["--kernel", "K", "--icount", "--accel", "kvm"], "--icount goes only with --accel tcg"),
    (["--vm", "name=a,disk=x"], "'disk=x' is not one of name=, kernel="),
    (["--vm", "name=a,kernel=K", "--vm", "name=a,kernel=K"], "two guests have the same name"),
    (["--vm", "name=a/b,kernel=K"], "name 'a/b' is not 1 to 31 letters"),
    (["--vm", "kernel=K", "--mem", "64M"], "--mem does not go with --vm"),
    (["nowhere"], "no system nowhere"),
    (["nowhere", "else"], "unknown: else; see ./build.py run --help"),
    (["--kernel", "K", "--bogus"], "unknown: --bogus; see ./build.py run --help"),
    (["--kernel", ""], "kernel '': name a file"),
    (["--kernel", "K", "--initrd", "."], "initramfs .: Is a directory"),
    (["--kernel", "K", "--mem", "0"], "memory of 0 is not between"),
    (["--kernel", "K", "--mem", "1.5G"], "memory is '1.5G'; say for example 128M"),
    (["--kernel", "K", "--append", "a\nb"], "a command line is one line"),
    (["--kernel", "K", "--append", "a\udcffb"], "its command line is not UTF-8"),
    (["--kernel", "K", "--timeout", "nan"], "--timeout nan is not a number of seconds"),
    (["--kernel", "K", "--log", "."], "--log .: a folder, not a file"),
    (["--kernel", "K", "--stats", "."], "--stats .: a folder, not a file"),
    (["--kernel", "K", "--stats", "no/such"], "--stats no/such: there is no such folder"),
    (["--kernel", "K", "--input", "."], "--input .: Is a directory"),
    (["--kernel", "K", "--seed", "0"], "--seed 0 is not between 1 and 2^64 - 1"),
    (["--kernel", "K", "--seed", "x"], "argument --seed: invalid int value: 'x'; see build.py run --help"),
    (["tiny", "--paging", "nested"], "--paging nested does not go with system tiny"),
    (["--vm=kernel=K"] * 49, "49 guests; at most 48 fit one system"),
    (["--vm=kernel=K,mem=2040M"] * 3, "the guests have 6120M of memory together; at most 4080M fit one system"),
    (["--vm", ""], "'' is not one of name="),
    (["--vm", "name=a,kernel=K,mem=64M,mem=65M"], "mem is given twice"),
    (["--vm", "name=a,append=x,y,kernel=K"], "'y' is not one of name="),
    (["--vm", "name=a,,b,kernel=K"], "name 'a,b' is not 1 to 31 letters"),
])
def test_bad_input_is_exit_2_and_one_clear_line(system, words, said):
    (system.root / "elf").write_bytes(b"\x7fELF" + bytes(2000))
    (system.root / "old").write_bytes(echo_kernel.bzimage(protocol=0x201))
    (system.root / "low").write_bytes(echo_kernel.bzimage(flags=0))
    (system.root / "short").write_bytes(echo_kernel.bzimage(size=3000))
    (system.root / "mb").write_bytes(echo_kernel.multiboot())
    (system.root / "mb64").write_bytes(b"\x7fELF\x02" + bytes(59) + echo_kernel.multiboot(flags=3))
    with open(system.root / "big", "wb") as big:
        big.truncate(100 << 20)
    done = system.run("run", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (system.root / "build/log").exists()


class Terminal:
    """build.py run on a terminal of its own."""

    def __init__(self, system, *words):
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        self.process = subprocess.Popen(["/usr/bin/python3", "build.py", "run", "--kernel", "K", *words], cwd=system.root,
                                        stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True)

    def expect(self, text, seconds=30):
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 4096)
        self.seen = self.seen.partition(text)[2]

    def type(self, data):
        os.write(self.ours, data)

    def ends_with(self, status):
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 4096)
        assert self.process.wait(1) == status, self.seen
        assert termios.tcgetattr(self.theirs) == self.before
        os.close(self.ours)
        os.close(self.theirs)


def test_every_key_reaches_the_guest_but_ctrl_a(system):
    terminal = Terminal(system)
    terminal.expect(b"hello\r\n# ")
    terminal.type(b"\x03")
    terminal.expect(b"^C\r\n# ")
    terminal.type(b"\x1a\x04\xff\x01a")
    terminal.expect(b"\x1a\x04\xff\x01")
    terminal.type(b"\x01h")
    terminal.expect(b"Ctrl-A X quits, Ctrl-A C switches")
    terminal.type(b"\x01")
    terminal.type(b"x")
    terminal.ends_with(0)


def test_a_poweroff_ends_the_terminal_session(system):
    terminal = Terminal(system)
    terminal.expect(b"# ")
    terminal.type(b"q")
    terminal.ends_with(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_restores_the_terminal_and_leaves_nothing(system, number):
    terminal = Terminal(system)
    terminal.expect(b"# ")
    assert not no_qemu_left(system)
    terminal.process.send_signal(number)
    terminal.ends_with(130)
    assert no_qemu_left(system)


def test_a_crash_of_qemu_restores_the_terminal(system):
    terminal = Terminal(system)
    terminal.expect(b"# ")
    child, = [pid for pid, parent, *_ in processes() if parent == terminal.process.pid]
    os.kill(child, signal.SIGSEGV)
    terminal.ends_with(1)
    assert b"QEMU ended with status -11" in terminal.seen
