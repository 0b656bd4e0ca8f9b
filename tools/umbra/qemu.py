# SPDX-License-Identifier: BSD-2-Clause
"""QEMU as a child process that never outlives us: its command line, its serial ports, its end.

command_line() is pure. A Machine is a context manager: however its block ends (also by a signal, even SIGKILL of this
process) QEMU is gone. Serial ports are "socket" (read and written here) or a path (QEMU writes the file).
"""
import ctypes
import dataclasses
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time

from umbra import layout
from umbra.errors import Failure, Lacking

NAME = "qemu-system-x86_64"
OLDEST = (7, 0)
BASE = ("-machine", "q35", "-nodefaults", "-vga", "none", "-display", "none", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
CPU = "max,-la57"
EPOCH = "2024-01-01T00:00:00"   # under icount clock and random numbers are fixed: the host's would make runs differ
LOG = layout.BUILD / "log"
TAIL_LINES = 40
PR_SET_PDEATHSIG = 1    # prctl(2)


@dataclasses.dataclass
class Config:
    kernel: str
    modules: list = dataclasses.field(default_factory=list)     # (path, arguments) each
    cmdline: str = ""
    memory: str = "1G"
    cpu: str = CPU
    accel: str = "tcg"
    icount: bool = False
    serials: tuple = ("socket",)
    control: str = None         # the path of the socket for the management channel's serial port; None: there is none
    extra: tuple = ()
    qemu: str = None
    name: str = "qemu"          # of the files in build/log


def find(path=None):
    """The QEMU to use, checked for age; Lacking where there is none."""
    found = shutil.which(path or NAME)
    found = found and os.path.abspath(found)
    if found is None:
        raise Lacking("%s is %s; %s" % (path or NAME, "no program" if path and os.path.exists(path) else "missing",
                                            "give another --qemu" if path else "install qemu-system-x86"))
    try:
        text = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Lacking("%s does not run: %s" % (found, error)) from error
    version = re.search(r"QEMU emulator version (\d+)\.(\d+)", text)
    if version is None:
        raise Lacking("%s --version does not name a QEMU" % found)
    if (int(version[1]), int(version[2])) < OLDEST:
        raise Lacking("%s is QEMU %s.%s; at least %d.%d is needed" % (found, version[1], version[2], *OLDEST))
    return found


def doubled(text):
    """A value inside a comma-separated QEMU option."""
    return str(text).replace(",", ",,")


def initrd(modules):
    """The -initrd value: `path arguments` each, separated by single commas."""
    return ",".join(doubled(path) + (" " + doubled(words) if words else "") for path, words in modules)


def command_line(config, qemu, descriptors):
    """The words that start QEMU; descriptors are the socket numbers for the "socket" serial ports, in order."""
    words = [qemu, "-accel", config.accel, "-cpu", config.cpu, "-m", config.memory, *BASE]
    if config.icount:
        words += ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm,base=" + EPOCH, "-seed", "1"]
    free = list(descriptors)
    for number, port in enumerate(config.serials):
        back = "socket,id=serial%d,fd=%d" % (number, free.pop(0)) if port == "socket" else \
            "file,id=serial%d,path=%s" % (number, doubled(port))
        words += ["-chardev", back, "-serial", "chardev:serial%d" % number]
    if config.control:
        words += ["-chardev", "socket,id=control,server=on,wait=off,path=" + doubled(config.control),
                  "-device", "isa-serial,index=2,iobase=0x3e8,irq=5,chardev=control"]
    words += list(config.extra)
    if config.kernel:       # None: what `extra` boots, such as a CD
        words += ["-kernel", str(config.kernel)]
    if config.modules:
        words += ["-initrd", initrd(config.modules)]
    if config.cmdline:
        words += ["-append", config.cmdline]
    return words


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Machine:
    """A running QEMU. `output` is all that came from the first socket serial port."""
    what = "QEMU"
    patience = 1    # what time limits are multiplied with

    def __init__(self, config):
        self.config = config
        self.output = b""
        self.position = 0       # end of the last match of expect()
        self.process = None
        self.socket = None
        self.log_path = LOG / (config.name + ".log")

    def __enter__(self):
        LOG.mkdir(parents=True, exist_ok=True)
        qemu = find(self.config.qemu)
        pairs = [socket.socketpair() for port in self.config.serials if port == "socket"]
        theirs = [pair[1].fileno() for pair in pairs]
        words = command_line(self.config, qemu, theirs)
        (LOG / (self.config.name + ".cmd")).write_text(shlex.join(words) + "\n")
        self.log = open(self.log_path, "wb", buffering=0)
        self.errors = open(LOG / (self.config.name + ".err"), "w+")
        try:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors,
                                            cwd=layout.ROOT, pass_fds=theirs, start_new_session=True, preexec_fn=die_with_parent)
        finally:
            for _, their in pairs:
                their.close()
        if pairs:
            self.socket = pairs[0][0]
            self.socket.setblocking(False)
        self.sockets = [pair[0] for pair in pairs]
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for end in self.sockets:
            end.close()
        self.log.close()
        self.errors.close()

    def receive(self, seconds):
        """Waits up to so long for output; False at the end of it."""
        if self.socket is None:
            return False
        ready, _, _ = select.select([self.socket], [], [], max(0, seconds))
        if not ready:
            return True
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.output += data
        self.log.write(data)
        return bool(data)

    def send(self, text):
        """Types text (str or bytes) at the first serial port, reading meanwhile, so that neither side blocks."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            _, writable, _ = select.select([], [self.socket], [], 0.05)
            if writable:
                data = data[self.socket.send(data):]
            elif not self.receive(0):
                raise Failure(self.what + " ended while it was typed at")

    def expect(self, regex, timeout):
        """The first match after the last one's end, in bytes with CR removed as text; Failure on timeout or end."""
        deadline = time.monotonic() + timeout
        pattern = re.compile(regex, re.M)
        while True:
            text = self.text()
            match = pattern.search(text, self.position)
            if match:
                self.position = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure("no %r within %s s\n%s" % (regex, timeout, self.tail()))
            if not self.receive(left):
                raise Failure("%s ended (status %s) before %r\n%s" % (self.what, self.wait(5), regex, self.tail()))

    def text(self):
        return self.output.decode("utf-8", "replace").replace("\r", "")

    def wait(self, timeout):
        """Reads until QEMU ends by itself; its exit status, or None if it still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.receive(deadline - time.monotonic()):
            if time.monotonic() >= deadline:
                return self.process.poll()
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    @property
    def exit_status(self):
        return self.process.poll()

    def tail(self):
        """The last lines of the serial port and of QEMU's own complaints, for a person."""
        self.errors.flush()
        complaints = pathlib.Path(self.errors.name).read_text(errors="replace")
        lines = self.text().splitlines()[-TAIL_LINES:]
        serial = ["--- last lines of %s:" % layout.relative(self.log_path)] + lines if lines else []
        return "\n".join(serial + (["--- QEMU says:", complaints.strip()] if complaints.strip() else []))


def debug_exit_value(status):
    """The value written to the debug-exit port, from QEMU's exit status; None if it did not end that way."""
    return status >> 1 if status is not None and status > 0 and status & 1 else None
