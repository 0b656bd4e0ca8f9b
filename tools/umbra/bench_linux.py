# SPDX-License-Identifier: BSD-2-Clause
"""Figures of an unmodified Debian kernel's boot: bare in the emulator, and as a guest of Umbra.

Bare is the unpacked kernel (PVH entry) from its first instruction to the first instruction of init. Umbra boots the packaged
bzImage, so its boot is compared with the bare boot of that same image, and the difference is set in relation to bare:
ratio = 1 + (ours - bare bzImage) / bare. The firmware's ticks before a kernel's first instruction are measured with a
stand-in for the kernel (tests/guests/bare_*.S). The guest counts its own ticks from 0 at its first instruction.
"""
import lzma
import struct

from umbra import build, guest, images, layout, qemu, run, system
from umbra.bench import Figure
from umbra.errors import Failure

FLAVOUR = "amd64"
MEMORY = 128 * images.MB
APPEND = "console=ttyS0 quiet rdinit=/mark"
MARK = r"^MARK init (\d+)\n"      # with its newline: an incomplete line also ends
MARK_PROGRAM = "build/workloads/mark"
STAND_INS = {"pvh": "build/release/guests/bare_pvh.bin", "bzimage": "build/release/guests/bare_bzimage.bin"}
SECONDS = 600
XZ = b"\xfd7zXZ\0"


def sources(known):
    if not layout.find("servers/init/*.c"):
        return []
    return [("linux.boot", {name for name in known if name.startswith("linux.boot_")}, lambda _what, options: boot(options))]


def vmlinux(image):
    """The unpacked kernel of a bzImage (boot protocol 2.08: payload_offset, payload_length)."""
    data = image.read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    begin = ((data[0x1f1] or 4) + 1) * 512 + offset
    payload = data[begin:begin + length]
    if not payload.startswith(XZ):
        raise Failure("%s is not compressed with xz" % image)
    path = image.with_name("vmlinux" + image.name.removeprefix("vmlinuz"))
    if not path.is_file():
        guest.write_whole(path, lzma.LZMADecompressor().decompress(payload))
    return path


def initramfs():
    program = (layout.ROOT / MARK_PROGRAM).read_bytes()
    path = guest.GUEST / "mark.cpio"
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("mark", 0o100755, program)]))
    return path


def bare(options, kernel, regex, name):
    """The first match of regex on the console of a kernel run directly."""
    config = qemu.Config(kernel, cmdline=APPEND, memory="%dM" % (MEMORY // images.MB), icount=True, qemu=options.qemu,
                         name="bench-bare-" + name, extra=("-initrd", str(initramfs())))
    with qemu.Machine(config) as machine:
        return machine.expect(regex, SECONDS)


def bare_ticks(options, kernel, kind):
    """Ticks from the kernel's first instruction to init."""
    first = int(bare(options, STAND_INS[kind], r"^[0-9a-f]{16}$", "entry-" + kind)[0], 16)
    return int(bare(options, kernel, MARK, kind)[1]) - first


def as_guest(options, kernel):
    """(ticks from the guest's first instruction to init, its counters) under Umbra."""
    options.paging, options.system, options.accel, options.icount = "shadow", system.DEFAULT, "tcg", True
    build.make(run.ninja_targets(options))
    config = run.machine_config(options, [images.Guest("linux", kernel, initramfs(), APPEND, MEMORY)])
    config.name, config.serials = "bench-linux", ("socket", "build/log/bench-linux-kernel.log")
    with qemu.Machine(config) as machine:
        mark = int(machine.expect(MARK, SECONDS)[1])
        machine.wait(60)
    log = (layout.ROOT / config.serials[1]).read_text(errors="replace").replace("\r", "")
    counts = run.STATISTIC.findall(run.with_names(log, ["linux"]))
    return mark, {key: int(value) for name, key, value in counts if name == "linux"}


def boot(options):
    build.make([MARK_PROGRAM, *STAND_INS.values()])
    kernel = guest.kernel(FLAVOUR)
    unpacked = bare_ticks(options, vmlinux(kernel), "pvh")
    packed = bare_ticks(options, kernel, "bzimage")
    ours, counts = as_guest(options, kernel)
    facts = "bare=%d bare_bzimage=%d ours=%d kernel=%s" % (
        unpacked, packed, ours, guest.kernel_version(FLAVOUR).replace(" ", "_"))
    figures = [Figure("linux.boot_ratio", round(1 + (ours - packed) / unpacked, 3), "ratio", facts)]
    if "exits_total" in counts and "exits_uart" in counts:
        uart = counts["exits_uart"]
        figures += [Figure("linux.boot_exits_uart", uart, "exits"),
                    Figure("linux.boot_exits_rest", counts["exits_total"] - uart, "exits")]
    return figures
