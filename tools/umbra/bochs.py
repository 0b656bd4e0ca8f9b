# SPDX-License-Identifier: BSD-2-Clause
"""bochs in QEMU's place: an image of the kernel and its modules, booted by GRUB on another, stricter model of SVM.

A Machine here takes the same Config and is used like a qemu.Machine. Serial ports come by TCP of this host's loopback, which loses
no byte; the management channel is COM4. Whoever polls COM2 takes COM4's interrupts away, so the kernel's log comes by port 0xe9 and
bochs's standard output instead. Time is counted in instructions, IPS a second, so
--icount changes nothing. Debian's bochs is built with its debugger: it waits for `c`, ends with the machine or with its standard
input, and is much slower than QEMU: time limits are multiplied.
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading

from umbra import iso, layout, machine, qemu
from umbra.errors import Failure

NAME = "bochs"
IPS = 50_000_000            # chosen: about what it reaches, so that its seconds are like the host's
HOST_MB_MAX = 2048          # of bochs 2.7
START_SECONDS = 300         # with 5 GB it thinks for ten seconds of a processor
LOG_WORD, LOG_PORT_WORD = "log=com2", "log=e9"
CPUS = {qemu.CPU: "ryzen", "EPYC": "ryzen", "qemu64,+svm": "turion64_tyler"}
EXIT_PORT = re.compile(rb"unmapped: 8-bit write to 00f4 = ([0-9a-f]{2})")
SETTINGS = """config_interface: textconfig
display_library: sdl2
memory: guest={megabytes}, host={host}
cpu: model={cpu}, count=1, ips={ips}
clock: sync=none, time0=1704067200
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1
ata0-master: type=cdrom, path={image}, status=inserted
boot: cdrom
{ports}
panic: action=fatal, cpu0=report
error: action=report, cpu0=ignore
debug: action=ignore, unmapped=report
port_e9_hack: enabled=1
log: {folder}/said
"""


def megabytes(text):
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def listening():
    """A listening socket and its address in bochs's words."""
    end = socket.create_server(("127.0.0.1", 0))
    return end, "127.0.0.1:%d" % end.getsockname()[1]


def logs_by_port(config):
    """Comes the kernel's log by port 0xe9? What an ISO has on its command line is its own."""
    return bool(config.kernel) and LOG_WORD in config.cmdline and len(config.serials) == 2


def text_of(config, folder, image, addresses):
    """The configuration; addresses are those of the "socket" serial ports, in order, and of the management channel."""
    left, ports = list(addresses), []
    for number, port in enumerate(config.serials[:1 if logs_by_port(config) else None], 1):
        ports.append("com%d: enabled=1, " % number + ("mode=socket-client, dev=" + left.pop(0) if port == "socket" else
                                                      "mode=file, dev=%s" % port))
    if config.control:
        ports.append("com4: enabled=1, mode=socket-client, dev=" + left.pop(0))
    size = megabytes(config.memory)
    return SETTINGS.format(megabytes=size, host=min(size, HOST_MB_MAX), cpu=CPUS[config.cpu], ips=IPS, image=image, folder=folder,
                           ports="\n".join(ports))


class Machine(qemu.Machine):
    what = "bochs"
    patience = machine.PATIENCE["bochs"]

    def __enter__(self):
        config = self.config
        if config.cpu not in CPUS or config.accel != "tcg" or [w for w in config.extra if w.startswith("-") and w not in ("-cdrom", "-boot")]:
            raise Failure("bochs has nothing like %s" % " ".join([config.cpu, config.accel, *config.extra]))
        qemu.LOG.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bochs-", dir=layout.BUILD))
        try:
            return self.begin()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def begin(self):
        config = self.config
        image = config.extra[1].replace(",,", ",") if config.kernel is None else self.folder / "boot.iso"
        if config.kernel:
            words = config.cmdline.replace(LOG_WORD, LOG_PORT_WORD) if logs_by_port(config) else config.cmdline
            iso.write_image(image, config.kernel, config.modules, words, slim=True)
        ends = [listening() for port in config.serials if port == "socket"]
        channel = listening() if config.control else None
        text = text_of(config, self.folder, image, [address for _, address in ends + ([channel] if channel else [])])
        (self.folder / "settings").write_text(text)
        (qemu.LOG / (config.name + ".cmd")).write_text(text)
        self.log, self.errors = open(self.log_path, "wb", buffering=0), open(qemu.LOG / (config.name + ".err"), "w+")
        said = open(layout.ROOT / config.serials[1], "wb") if logs_by_port(config) else self.errors     # behind the debugger's greeting
        self.process = subprocess.Popen(
            [NAME, "-q", "-f", str(self.folder / "settings")], stdin=subprocess.PIPE, stdout=said, stderr=self.errors,
            cwd=layout.ROOT, env={**os.environ, "SDL_VIDEODRIVER": "dummy"}, start_new_session=True, preexec_fn=qemu.die_with_parent)
        if said is not self.errors:
            said.close()
        self.sockets = [self.accepted(end) for end, _ in ends]
        if channel:
            self.relay = Relay(self.accepted(channel[0]), layout.ROOT / config.control)
        self.process.stdin.write(b"c\n")
        self.process.stdin.close()      # the next prompt, after a reset of the machine, is the end
        if self.sockets:
            self.socket = self.sockets[0]
            self.socket.setblocking(False)
        return self

    def accepted(self, listener):
        with listener:
            listener.settimeout(START_SECONDS)
            try:
                end, _ = listener.accept()
            except TimeoutError as error:
                raise Failure("bochs does not start; see build/log/%s.err" % self.config.name) from error
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return end

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for end in self.sockets:
            end.close()
        if self.config.control:
            self.relay.end()
        shutil.copyfile(self.folder / "said", qemu.LOG / (self.config.name + ".bochs"))
        shutil.rmtree(self.folder)
        self.log.close()
        self.errors.close()

    def expect(self, regex, timeout):
        return super().expect(regex, timeout * self.patience)

    def wait(self, timeout):
        return self.translated(super().wait(timeout * self.patience))

    @property
    def exit_status(self):
        return self.translated(self.process.poll())

    def translated(self, status):
        """The exit status that QEMU would have: by the value that went to the port that ends it."""
        path = self.folder / "said"
        said = (path if path.exists() else qemu.LOG / (self.config.name + ".bochs")).read_bytes()
        found = EXIT_PORT.findall(said)
        if status is None or not found or b"Shutdown port: shutdown requested" not in said:
            return status
        return int(found[-1], 16) << 1 | 1


class Relay:
    """A socket file for one client at a time, connected with a serial port; what comes while there is none is lost, as in QEMU."""

    def __init__(self, port, path):
        self.port, self.client = port, None
        path.unlink(missing_ok=True)    # of a run before, as QEMU does
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)      # a path may be longer than an address of a socket
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("/proc/self/fd/%d/%s" % (folder, path.name))
        os.close(folder)
        self.listener.listen(4)
        for work in (self.take_clients, self.take_answers):
            threading.Thread(target=work, daemon=True).start()

    def take_clients(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.client = client
            try:
                while data := client.recv(4096):
                    self.port.sendall(data)
            except OSError:
                pass
            self.client = None
            client.close()

    def take_answers(self):
        try:
            while data := self.port.recv(65536):
                client = self.client
                try:
                    if client:
                        client.sendall(data)
                except OSError:
                    pass
        except OSError:
            pass
        if self.client:
            self.client.shutdown(socket.SHUT_RDWR)

    def end(self):
        for end in (self.port, self.listener):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
