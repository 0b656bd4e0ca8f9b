# SPDX-License-Identifier: BSD-2-Clause
"""The hand-written guest of every paging mode (tests/guests/modes.S), and how it starts without an operating system."""
import re

from umbra import layout, machine

IMAGE = layout.module_output("debug", "guests/modes")
NEEDED = [layout.kernel_output("debug"), IMAGE] + [layout.server_output("debug", n)
                                                   for n in ("init", "memmgr", "console", "control", "vmm")]

PORT = 4            # offset of the port that the guest speaks on
START = 0x7c00
SECONDS = 120

# What lines begin with that are the same bare and with nested paging. Not "latched": PAE's pointers are then read at each walk,
# as TCG always does (APM vol. 2, 15.25.10).
WORDS = ("matrix", "v86", "wide", "walk", "tick")


def unspoken(line):
    """Without what V86 code says itself: it goes to the serial port, which nobody hears of bare bochs."""
    return re.sub(r" (v|s3s)(?= )", "", line).replace("  ", " ")


def comparable(text):
    """Of a guest with nested paging, or bare: all of it on QEMU; bare bochs says things of its own in between."""
    if machine.kind() != "bochs":
        return text
    lines = [unspoken(line) for line in text.splitlines() if line.split(" ")[0] in WORDS]
    assert len(lines) == 1928 + 2 * 2 * 17 + 13 + 1 + 5
    return lines


def rom(image):
    """64 KiB for -bios: the image, and at the reset vector what copies it to START and jumps there."""
    size = len(image)
    copy = b"\xfa\xfc\x0e\x1f\x31\xc0\x8e\xc0\x31\xf6\xbf" + START.to_bytes(2, "little") + b"\xb9" \
        + size.to_bytes(2, "little") + b"\xf3\xa4\xea" + START.to_bytes(2, "little") + b"\0\0"
    body = image.ljust(0xff00, b"\0") + copy
    return body.ljust(0xfff0, b"\0") + b"\xea\x00\xff\x00\xf0" + bytes(11)


BOCHS = """config_interface: textconfig
display_library: sdl2
megs: 32
cpu: model=ryzen, count=1, ips=50000000
romimage: file={folder}/rom
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
port_e9_hack: enabled=1
com1: enabled=0
panic: action=fatal
error: action=report
log: {folder}/bochs.log
"""
