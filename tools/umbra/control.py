# SPDX-License-Identifier: BSD-2-Clause
"""The client's side of the management channel (docs/management.md): requests and answers, one JSON object a line.

A running system's socket lies beside its other files under build/; control.json there says what its user calls the guests.
"""
import base64
import contextlib
import json
import os
import secrets
import socket
import struct
import time
import zlib

from umbra import layout
from umbra.errors import Failure

SOCKET, NOTE = "control.sock", "control.json"
LINE_MAX = 1024             # of a request: servers/control/command.h
IMAGE_MAX = 2 << 20         # UPGRADE_IMAGE_MAX, UPGRADE_PIECE_MAX in idl/interfaces/management.idl
PIECE = 448
AHEAD = 16                  # pieces that are sent before an answer is waited for


def program_only(data):
    """An ELF file without what only debuggers read: cut behind what is loaded, sections forgotten."""
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        return data
    place, size, count = struct.unpack_from("<Q14xHH", data, 32)
    if size != 56 or place + size * count > len(data):
        return data
    headers = [struct.unpack_from("<IIQQQQ", data, place + n * size) for n in range(count)]
    end = max([64, place + size * count] + [offset + filesz for kind, _, offset, _, _, filesz in headers if kind == 1])
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    return bytes(head)


class Refused(Failure):
    """The system answered with an error."""


@contextlib.contextmanager
def announced(folder, guests, log, **more):
    """While the block runs, a system that boots from this folder can be found."""
    note = folder / NOTE
    (folder / SOCKET).unlink(missing_ok=True)
    note.write_text(json.dumps({"guests": guests, "log": log, **more}) + "\n")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        (folder / SOCKET).unlink(missing_ok=True)


def running():
    """Sockets of systems that run from this tree, the newest first."""
    found = [p.parent / SOCKET for p in layout.BUILD.glob("run*/" + NOTE) if (p.parent / SOCKET).exists()]
    return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)


def connected(path):
    """A connected socket, or None. A path may be longer than an address of a socket: the folder is opened instead."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            end.connect("/proc/self/fd/%d/%s" % (folder, os.path.basename(path)))
        finally:
            os.close(folder)
    except OSError:
        end.close()
        return None
    return end


def open_channel(path=None, timeout=30):
    """A Channel to the system at this socket, or to the newest one that runs."""
    for place in [path] if path else running():
        end = connected(str(place))
        if end:
            return Channel(end, os.path.dirname(str(place)), timeout)
    raise Failure("no system listens at %s" % path if path else "no system runs from this tree; start one with ./build.py run")


class Channel:
    """Requests are numbered, so that answers to whoever spoke before are not taken for ours."""

    def __init__(self, end, folder, timeout):
        self.end = end
        self.timeout = timeout
        self.received = b""
        self.number = secrets.randbits(48) << 12
        note = os.path.join(folder, NOTE)
        self.note = json.load(open(note)) if os.path.isfile(note) else {"guests": [], "log": None}
        self.send(b"\n")        # ends what a predecessor may have begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end.close()

    def send(self, data):
        self.end.settimeout(self.timeout)
        try:
            self.end.sendall(data)
        except OSError as error:
            raise Failure("the system does not take requests: %s" % error) from error

    def request(self, command, **fields):
        """Sends a request; returns its number, for answer()."""
        self.number += 1
        line = json.dumps({"id": self.number, "command": command, **fields})
        if len(line) > LINE_MAX:
            raise Failure("a request of %d bytes; at most %d are taken" % (len(line), LINE_MAX))
        self.send(line.encode() + b"\n")
        return self.number

    def line(self, deadline):
        while b"\n" not in self.received:
            left = deadline - time.monotonic()
            try:
                self.end.settimeout(max(left, 0.001))
                data = self.end.recv(65536)
            except TimeoutError as error:
                raise Failure("no answer within %g s" % self.timeout) from error
            except OSError as error:
                raise Failure("the system is gone: %s" % error) from error
            if not data:
                raise Failure("the system is gone")
            self.received += data
        text, self.received = self.received.split(b"\n", 1)
        return text

    def answer(self, number):
        """The answer to request `number`; Refused if it is an error."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                found = json.loads(self.line(deadline))
            except ValueError:
                continue        # the end of an answer to somebody else
            if isinstance(found, dict) and found.get("id") == number:
                break
        if not found.get("ok"):
            raise Refused(found.get("error", "refused without a reason"))
        return found

    def ask(self, command, **fields):
        return self.answer(self.request(command, **fields))

    def crash_report(self, component):
        """What is kept of the deaths of a guest's VMMs, or of a server."""
        text, place = "", 0
        while True:
            piece = self.ask("crash-report", guest=component, offset=place)
            if not piece["bytes"]:
                return text
            text += piece["text"]
            place += piece["bytes"]

    def audit(self, component):
        """What a guest's VMM finds when it compares its shadow tables with the guest's."""
        self.ask("audit", guest=component)
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            found = self.ask("audited", guest=component)
            if found.pop("finished"):
                return {key: value for key, value in found.items() if key not in ("id", "ok")}
            time.sleep(0.05)
        raise Failure("no audit within %g s" % self.timeout)

    # -- guests that come and go ---------------------------------------------------------------------------------

    def create(self, name, mem, kernel, initrd="", append="", percent=None):
        """A guest of this name that has its images in boot modules, given by their names."""
        if name in self.note["guests"]:
            raise Refused("the name is taken")
        share = {} if percent is None else {"percent": percent}
        self.ask("create", guest=name, bytes=mem, kernel=kernel, initrd=initrd, line=append, **share)

    def destroy(self, component):
        """Returns when everything that the guest had is back."""
        self.ask("destroy", guest=component)
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if component not in [g["component"] for g in self.guests()]:
                return
            time.sleep(0.02)
        raise Failure("not all that %s had is back within %g s" % (component, self.timeout))

    # -- another program for a VMM -------------------------------------------------------------------------------

    def upload(self, component, image, progress=lambda done, of: None):
        """Sends an ELF file."""
        self.ask("upload", guest=component, bytes=len(image), crc=zlib.crc32(image))
        waiting = []
        for offset in range(0, len(image), PIECE):
            data = base64.b64encode(image[offset:offset + PIECE]).decode()
            waiting.append(self.request("piece", offset=offset, data=data))
            if len(waiting) == AHEAD:
                self.answer(waiting.pop(0))
            progress(offset, len(image))
        for number in waiting:
            self.answer(number)

    def upgrade(self, component):
        """To the file that was sent; returns when the guest goes on with it. Refused says why it does not."""
        self.ask("upgrade", guest=component)
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            state = self.ask("upgraded", guest=component)
            if state["phase"] == "refused":
                raise Refused("the new VMM was refused: " + state["text"])
            if state["phase"] == "done":
                return
            time.sleep(0.1)
        raise Failure("the new VMM is not ready within %g s; the old one goes on" % self.timeout)

    # -- names ---------------------------------------------------------------------------------------------------

    def component(self, name):
        """What the system calls the guest that its user calls `name`."""
        names = self.note["guests"]
        return "vmm%d" % names.index(name) if name in names else name

    def name(self, component):
        names = self.note["guests"]
        return next((n for i, n in enumerate(names) if component == "vmm%d" % i), component)

    def list(self):
        """(guests, by the names that their user gave them; servers)."""
        answer = self.ask("list")
        for guest in answer["guests"]:
            guest["component"], guest["name"] = guest["name"], self.name(guest["name"])
        return answer["guests"], answer.get("servers", [])

    def guests(self):
        return self.list()[0]
