# SPDX-License-Identifier: BSD-2-Clause
"""What a guest is given, checked before anything is built or booted: kernel image, initramfs, memory, command line.

Facts are of the Linux/x86 boot protocol (Documentation/x86/boot.rst). Every refusal is one line that says what to do.
"""
import dataclasses
import pathlib
import re
import struct

from umbra.errors import Usage

MB = 1 << 20
PAGE = 4096
MEM_MIN = 16 * MB
MEM_MAX = 2048 * MB         # chosen: below the host machine's hole for devices; docs/limits.md
PROTOCOL_MIN = 0x020c
UNITS = {"": MB, "K": 1 << 10, "M": MB, "G": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Header:
    protocol: int
    start: int              # where the kernel runs, bytes
    init_bytes: int         # memory that it needs from there on
    initrd_end: int         # first address an initramfs may not use
    append_bytes: int       # longest command line


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    kernel: pathlib.Path
    initrd: pathlib.Path    # or None
    append: str
    mem: int                # bytes


def parse_memory(text):
    """Bytes, from QEMU's words: 128M, 1G, or a bare number of megabytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text, re.I)
    if match is None:
        raise Usage("memory is %r; say for example 128M" % text)
    size = int(match[1]) * UNITS[match[2].upper()]
    if size % PAGE:
        raise Usage("memory of %s is not a multiple of 4K" % text)
    if not MEM_MIN <= size <= MEM_MAX:
        raise Usage("memory of %s is not between %dM and %dM" % (text, MEM_MIN // MB, MEM_MAX // MB))
    return size


def check_append(name, text):
    """A command line is one line of text; what it may hold is checked here, how long it may be in check_fit()."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Usage("guest %s: its command line is not UTF-8" % name) from error
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        raise Usage("guest %s: a command line is one line, without control characters" % name)


def readable(path, what):
    """The bytes of a file that the user named."""
    if not str(path):
        raise Usage("%s '': name a file" % what)
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise Usage("%s %s: %s" % (what, path, error.strerror)) from error


def parse_header(data, path):
    """The Header of a bzImage."""
    if data[:4] == b"\x7fELF":
        raise Usage("kernel %s is an ELF file (a vmlinux?); a bzImage is needed, such as /boot/vmlinuz-*" % path)
    if len(data) < 0x270 or data[0x1fe:0x200] != b"\x55\xaa" or data[0x202:0x206] != b"HdrS":
        raise Usage("kernel %s is not a Linux kernel image (bzImage)" % path)
    protocol, = struct.unpack_from("<H", data, 0x206)
    if protocol < PROTOCOL_MIN:
        raise Usage("kernel %s has boot protocol %d.%02d; at least %d.%02d is needed" % (
            path, protocol >> 8, protocol & 255, PROTOCOL_MIN >> 8, PROTOCOL_MIN & 255))
    if not data[0x211] & 1:
        raise Usage("kernel %s is a zImage, loaded low; a bzImage is needed" % path)
    sectors = data[0x1f1] or 4
    paragraphs, = struct.unpack_from("<I", data, 0x1f4)
    if len(data) + 16 <= (sectors + 1) * 512 + paragraphs * 16:     # the last paragraph may be short
        raise Usage("kernel %s is cut off: %d bytes, its header says %d" % (
            path, len(data), (sectors + 1) * 512 + paragraphs * 16))
    limit, = struct.unpack_from("<I", data, 0x22c)
    append, = struct.unpack_from("<I", data, 0x238)
    start, init = struct.unpack_from("<QI", data, 0x258)
    return Header(protocol, start, init, limit + 1, append)


def megabytes(size):
    return "%dM" % -(-size // MB)


def check_fit(guest, header, initrd_bytes):
    """Usage if the kernel and the initramfs (placed at the top) do not fit the guest's memory."""
    kernel_end = header.start + header.init_bytes
    if kernel_end > guest.mem:
        raise Usage("guest %s: kernel %s needs at least %s, memory is %s; give more with --mem" % (
            guest.name, guest.kernel, megabytes(kernel_end), megabytes(guest.mem)))
    top = min(guest.mem, header.initrd_end)
    if kernel_end + -(-initrd_bytes // PAGE) * PAGE > top:
        raise Usage("guest %s: initramfs %s of %s does not fit above the kernel, which ends at %s of %s; give more with --mem"
                    % (guest.name, guest.initrd, megabytes(initrd_bytes), megabytes(kernel_end), megabytes(guest.mem)))
    if len(guest.append.encode()) > header.append_bytes:
        raise Usage("guest %s: its command line is longer than the %d bytes that the kernel takes" % (
            guest.name, header.append_bytes))


def check(guest):
    """All that can be known of a guest before it runs."""
    header = parse_header(readable(guest.kernel, "kernel"), guest.kernel)
    check_fit(guest, header, len(readable(guest.initrd, "initramfs")) if guest.initrd else 0)
