# SPDX-License-Identifier: BSD-2-Clause
"""What a guest is given, checked before anything is built or booted: kernel image, initramfs or modules, memory, command
line. Every refusal is one line that says what to do.
"""
import dataclasses
import pathlib
import re

from umbra import kernels
from umbra.errors import Usage

MB = 1 << 20
PAGE = 4096
MEM_MIN = 16 * MB
MEM_MAX = 2048 * MB         # chosen: below the host machine's hole for devices; docs/limits.md
MODULES_MAX = 32            # servers/vmm/boot/modules.h
UNITS = {"": MB, "K": 1 << 10, "M": MB, "G": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    kernel: pathlib.Path
    initrd: pathlib.Path    # or None; a Multiboot kernel's packed modules
    append: str
    mem: int                # bytes


def parse_memory(text):
    """Bytes, from QEMU's words: 128M, 1G, or a bare number of megabytes."""
    return parse_size(text, MEM_MAX, "memory")


def parse_size(text, most, what):
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text, re.I)
    if match is None:
        raise Usage("%s is %r; say for example 128M" % (what, text))
    size = int(match[1]) * UNITS[match[2].upper()]
    if size % PAGE:
        raise Usage("%s of %s is not a multiple of 4K" % (what, text))
    if not MEM_MIN <= size <= most:
        raise Usage("%s of %s is not between %dM and %dM" % (what, text, MEM_MIN // MB, most // MB))
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


def split_modules(text):
    """[(file, string)] of the modules that --initrd names for a Multiboot kernel, as QEMU's -initrd: `a one,b two`; a module's
    string is all of its part, and a doubled comma is a comma."""
    parts = [part.replace("\0", ",") for part in re.split(",", text.replace(",,", "\0"))]
    return [(part.split(" ")[0], part) for part in parts]


def read_modules(text):
    """[(content, string)] of the same, each file read."""
    named = split_modules(text)
    if len(named) > MODULES_MAX:
        raise Usage("%d modules; a kernel gets at most %d" % (len(named), MODULES_MAX))
    return [(readable(path, "module"), string.encode(errors="surrogateescape")) for path, string in named]


def is_multiboot(kernel):
    return kernels.parse_header(readable(kernel, "kernel"), kernel).kind == "Multiboot"


def megabytes(size):
    return "%dM" % -(-size // MB)


def check_fit(guest, header, initrd_bytes):
    """Usage if the kernel and the initramfs (placed at the top) or modules (behind the kernel) do not fit the guest's memory."""
    if header.end > guest.mem:
        raise Usage("guest %s: kernel %s needs at least %s, memory is %s; give more with --mem" % (
            guest.name, guest.kernel, megabytes(header.end), megabytes(guest.mem)))
    if header.end + -(-initrd_bytes // PAGE) * PAGE > min(guest.mem, header.initrd_end):
        raise Usage("guest %s: %s does not fit above the kernel, which ends at %s of %s; give more with --mem" % (
            guest.name, "its file of modules of %s" % megabytes(initrd_bytes) if header.kind == "Multiboot" else
            "initramfs %s of %s" % (guest.initrd, megabytes(initrd_bytes)), megabytes(header.end), megabytes(guest.mem)))
    if len(guest.append.encode()) > header.append_bytes:
        raise Usage("guest %s: its command line is longer than the %d bytes that the kernel takes" % (
            guest.name, header.append_bytes))


def check(guest):
    """All that can be known of a guest before it runs."""
    header = kernels.parse_header(readable(guest.kernel, "kernel"), guest.kernel)
    check_fit(guest, header, len(readable(guest.initrd, "initramfs")) if guest.initrd else 0)
