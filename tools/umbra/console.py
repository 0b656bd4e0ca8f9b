# SPDX-License-Identifier: BSD-2-Clause
"""Bytes of guests' consoles: finding a pattern, prefixing lines, keys that are ours, typing a file. No I/O here.

Each class is fed bytes and the time, and answers with bytes; run.py moves them. With several guests the serial line is shared:
0xFF n makes guest n the one that the following bytes belong to, 0xFF 0xFF is a byte 0xFF (in both directions).
"""
import re

ESCAPE = b"\x01"        # Ctrl-A
HELP = ("Ctrl-A X quits, Ctrl-A C switches guest, Ctrl-A A sends Ctrl-A, Ctrl-A H shows this; every other key goes to the "
        "guest")


class Shared:
    """Splits a serial line among guests, and joins what is typed to them."""

    def __init__(self, count):
        self.count = count
        self.source = self.target = 0
        self.escaped = False

    def receive(self, data):
        """[(guest, bytes)] in order."""
        if self.count == 1:
            return [(0, data)] if data else []
        found = []
        for byte in data:
            if self.escaped:
                self.escaped = False
                if byte != 0xFF:
                    self.source = min(byte, self.count - 1)
                    continue
            elif byte == 0xFF:
                self.escaped = True
                continue
            if found and found[-1][0] == self.source:
                found[-1][1].append(byte)
            else:
                found.append((self.source, bytearray([byte])))
        return [(guest, bytes(part)) for guest, part in found]

    def send(self, guest, data):
        """The bytes that bring data to the guest."""
        if self.count == 1:
            return data
        select = b"" if guest == self.target else bytes([0xFF, guest])
        self.target = guest
        return select + data.replace(b"\xff", b"\xff\xff")


class Watcher:
    """Looks for a pattern in one console: in the bytes since the last newline, incomplete lines too, CR removed."""

    def __init__(self, regex):
        self.pattern = re.compile(regex)
        self.line = b""

    def feed(self, data):
        """True if the pattern now matches."""
        *whole, rest = (self.line + data.replace(b"\r", b"")).split(b"\n")
        self.line = rest
        return any(self.pattern.search(line.decode("utf-8", "replace")) for line in [*whole, rest])


class Lines:
    """Output of several consoles as whole lines, each with its guest's name; a prompt shows once it has stood a while. If another
    guest's line comes in between, what was shown is repeated with the rest: so every whole line is whole somewhere."""
    PATIENCE = 0.3      # seconds
    REPEATED = 1024     # bytes; more is continued without its beginning

    def __init__(self, names):
        self.names = names
        self.partial = [b""] * len(names)
        self.changed = [0.0] * len(names)
        self.begun = [b""] * len(names)     # what has been shown of an incomplete line
        self.open = None        # the guest whose incomplete line is the last thing shown

    def prefix(self, guest):
        if self.open == guest:
            return b""
        close = b"" if self.open is None else b"\n"
        begun = self.begun[guest] if len(self.begun[guest]) <= self.REPEATED else b""
        return close + self.names[guest].encode() + b"|" + begun

    def feed(self, guest, data, now):
        shown = b""
        *whole, rest = (self.partial[guest] + data.replace(b"\r", b"")).split(b"\n")
        for line in whole:
            shown += self.prefix(guest) + line + b"\n"
            self.open, self.begun[guest] = None, b""
        self.partial[guest] = rest
        self.changed[guest] = now
        return shown

    def idle(self, now, patience=PATIENCE):
        """What has stood incomplete for long enough."""
        shown = b""
        for guest, text in enumerate(self.partial):
            if text and now - self.changed[guest] >= patience:
                shown += self.prefix(guest) + text
                self.begun[guest] = (self.begun[guest] + text)[:self.REPEATED + 1]
                self.partial[guest], self.open = b"", guest
        return shown

    def finish(self):
        """Everything that is left, ending with a newline."""
        shown = self.idle(float("inf"))
        shown += b"" if self.open is None else b"\n"
        self.open = None
        return shown


class Keys:
    """Separates what is typed at the terminal into bytes for the guest and commands for us."""
    COMMANDS = {b"x": "quit", b"h": "help", b"c": "switch"}

    def __init__(self):
        self.pending = False

    def feed(self, data):
        """[("type", bytes) or (command, b"")] in order; an unknown key after Ctrl-A shows the help."""
        found = []
        for byte in (data[i:i + 1] for i in range(len(data))):
            if not self.pending and byte == ESCAPE:
                self.pending = True
                continue
            if self.pending and byte.lower() not in (b"a", ESCAPE):
                found.append((self.COMMANDS.get(byte.lower(), "help"), b""))
            else:
                key = ESCAPE if self.pending else byte
                if found and found[-1][0] == "type":
                    found[-1] = ("type", found[-1][1] + key)
                else:
                    found.append(("type", key))
            self.pending = False
        return found


class Script:
    """Types a file line by line, each when the guest waits: its console stands on an incomplete line (a prompt) and has been
    still; without a prompt after a longer while. So nothing is typed at a guest that is still booting."""
    STILL, NO_PROMPT, NO_OUTPUT = 0.5, 3.0, 30.0    # seconds

    def __init__(self, data, now, slowness=1):
        self.slowness = slowness    # of the machine
        self.lines = data.replace(b"\r\n", b"\n").splitlines(True)
        self.since = now
        self.prompt = False
        self.seen = False

    def heard(self, data, now):
        self.since = now
        self.seen = True
        self.prompt = not data.endswith((b"\n", b"\r"))

    def next(self, now):
        """The bytes to type now."""
        patience = self.STILL if self.prompt else self.NO_PROMPT if self.seen else self.NO_OUTPUT
        if not self.lines or now - self.since < patience * self.slowness:
            return b""
        self.since = now
        self.prompt = False
        return self.lines.pop(0)
