# SPDX-License-Identifier: BSD-2-Clause
"""Figures of an unmodified Debian kernel: bare in the emulator, and as a guest of Umbra; same kernel, initramfs and memory.

Boot: bare is the unpacked kernel (PVH entry) from its first instruction to the first instruction of init. Umbra boots the
packaged bzImage, so its boot is compared with the bare boot of that same image, and the difference is set in relation to bare:
ratio = 1 + (ours - bare bzImage) / bare. The firmware's ticks before a kernel's first instruction are measured with a
stand-in for the kernel (tests/guests/bare_*.S). The guest counts its own ticks from 0 at its first instruction. Exits and
other crossings are those of a second boot whose init resets the machine at once: nothing of what comes after init is in them.

The rest: tests/workloads/bench_guest.c measures itself by the guest's own counter. What a row costs in crossings is the
difference between a run with it and one without any measurement, over all units that it did; its preparation (such as the
fork before cow_page, or both turns of mprotect_page) is in them, though not in its ticks.
"""
import lzma
import pathlib
import re
import struct

from umbra import bench, build, guest, images, layout, qemu, run, say, system
from umbra.bench import Figure
from umbra.errors import Failure

FLAVOUR = "amd64"
MEMORY = 128 * images.MB
MARK = r"^MARK init (\d+)\n"      # with its newline: an incomplete line also ends
PROGRAMS = ("build/workloads/mark", "build/workloads/bench_guest")
LOOP = "forkexec"
NESTED = "linux.nested_ratio"      # the loop in a guest with nested paging
LEFT = "shadow.memory_percent"      # of the loop's guest when it ends
ROWS = (LOOP, "fork_wait", "first_touch", "first_touch_read", "mprotect_page", "cow_page", "fork_32mb", "pipe_pingpong")
STAND_INS = {"pvh": "build/release/guests/bare_pvh.bin", "bzimage": "build/release/guests/bare_bzimage.bin"}
SECONDS = 300       # a boot with a row takes 20 to 60; more is a hang
XZ = b"\xfd7zXZ\0"


def sources(known):
    if not layout.find("servers/init/*.c"):
        return []
    linux = {name for name in known if name.startswith("linux.") and not known[name].get("missing")}
    boots = {name for name in linux if name.startswith("linux.boot_")}
    return [("linux.boot", boots, lambda _what, options: boot(options)),
            ("linux", linux - boots | {LEFT} & set(known), lambda _what, options: programs(options))]


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
    """Two programs and nothing else: either is the first process."""
    path = guest.GUEST / "bench.cpio"
    entries = [("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)), ("bin", 0o040755, b"")]
    entries += [(pathlib.Path(p).name, 0o100755, (layout.ROOT / p).read_bytes()) for p in PROGRAMS]
    shell = guest.busybox().read_bytes()
    entries += [("bin/busybox", 0o100755, shell), ("bin/sh", 0o120777, b"busybox"), ("bin/true", 0o120777, b"busybox")]
    guest.write_whole(path, guest.cpio(entries))
    return path


def append(program, words=""):
    return "console=ttyS0 quiet rdinit=/%s%s" % (program, " -- " + words if words else "")


def bare(options, kernel, regex, name, words=""):
    """What a kernel run directly prints up to the first match of regex, as the match."""
    config = qemu.Config(kernel, cmdline=words, memory="%dM" % (MEMORY // images.MB), icount=True, qemu=options.qemu,
                         name="bench-bare-" + name, extra=("-initrd", str(initramfs())))
    with qemu.Machine(config) as machine:
        return machine.expect(regex, SECONDS)


def bare_ticks(options, kernel, kind):
    """Ticks from the kernel's first instruction to init."""
    first = int(bare(options, STAND_INS[kind], r"^[0-9a-f]{16}$", "entry-" + kind)[0], 16)
    return int(bare(options, kernel, MARK, kind, append("mark"))[1]) - first


def as_guest(options, kernel, words, name, paging="shadow", enlighten=False):
    """(what the guest printed, {its counter: value}, {the kernel's counter: value}) of a guest that ends by itself."""
    options.paging, options.system, options.accel, options.icount, options.enlighten = paging, system.DEFAULT, "tcg", True, enlighten
    build.make(run.ninja_targets(options))
    config = run.machine_config(options, [images.Guest("linux", kernel, initramfs(), words, MEMORY)])
    config.name, config.serials = "bench-" + name, ("socket", "build/log/bench-%s-kernel.log" % name)
    with qemu.Machine(config) as machine:
        status = machine.wait(SECONDS)
        text, tail = machine.text(), machine.tail()
    if qemu.debug_exit_value(status) != system.END_CLEAN:
        raise Failure("the guest did not end well (status %s)\n%s" % (status, tail))
    log = (layout.ROOT / config.serials[1]).read_text(errors="replace").replace("\r", "")
    counts = {"linux": {}, "kernel": {}}
    for of, key, value in run.STATISTIC.findall(run.with_names(log, ["linux"])):
        counts[of][key] = int(value)
    if "exits" not in counts["linux"]:
        raise Failure("the system printed no counters; see " + config.serials[1])
    return text, counts["linux"], counts["kernel"]


def crossings(kernel, form="%d"):
    """The words for the kernel's counters."""
    return " ".join("%s=%s" % (word, form % kernel[key]) for word, key in (
        ("exits", "exits"), ("syscalls", "syscalls"), ("cr3", "cr3_loads"), ("fpu", "fpu_switches")))


def marked(text):
    found = re.search(MARK, text, re.M)
    if found is None:
        raise Failure("init did not print its mark:\n" + text[-500:])
    return int(found[1])


def version():
    return "kernel=" + guest.kernel_version(FLAVOUR).replace(" ", "_")


def boot(options):
    build.make([*PROGRAMS, *STAND_INS.values()])
    kernel = guest.kernel(FLAVOUR)
    unpacked = bare_ticks(options, vmlinux(kernel), "pvh")
    packed = bare_ticks(options, kernel, "bzimage")
    ours = marked(as_guest(options, kernel, append("mark"), "boot")[0])
    _, counts, crossed = as_guest(options, kernel, append("mark", "silent"), "boot-silent")
    _, told, told_crossed = as_guest(options, kernel, append("mark", "silent"), "boot-told", enlighten=True)
    facts = "%s bare=%d bare_bzimage=%d ours=%d %s" % (crossings(crossed), unpacked, packed, ours, version())
    uart = counts.get("exits_uart", 0)
    return [Figure("linux.boot_ratio", round(1 + (ours - packed) / unpacked, 3), "ratio", facts),
            Figure("linux.boot_exits_uart", uart, "exits"),
            rest("linux.boot_exits_rest", counts),
            rest("linux.boot_exits_enlightened", told, crossings(told_crossed))]


def rest(name, counts, *more):
    """All exits but those of the serial ports."""
    uart = counts.get("exits_uart", 0)
    kinds = ("%s=%d" % (key.removeprefix("exits_"), n) for key, n in sorted(counts.items())
             if key.startswith("exits_") and key not in ("exits_uart", "exits_io"))
    return Figure(name, counts["exits"] - uart, "exits", " ".join(("other_io=%d" % (counts.get("exits_io", 0) - uart), *kinds, *more)))


def measured(text):
    """{row: (ticks a unit, units done in all)} that bench_guest printed."""
    if re.search(r"^BENCHG failed", text, re.M):
        raise Failure("the program in the guest failed:\n" + text[-500:])
    found = re.findall(r"^BENCHG (\w+) (\d+) (\d+)$", text, re.M)
    return {name: (int(ticks), int(units)) for name, ticks, units in found}


def bare_row(options, kernel, row):
    """Ticks of a row in a boot of its own, as the guest's: what ran before would change how memory lies."""
    match = bare(options, vmlinux(kernel), r"\A(?:.*\n)*?BENCHG (?:end|failed).*\n", row, append("bench_guest", row))
    return measured(match[0])[row][0]


def each(counts, without, units):
    """What a unit of a row adds to each counter."""
    return {key: (n - without.get(key, 0)) / units for key, n in counts.items()}


def programs(options):
    """A boot for each row, bare and as a guest, so that its crossings are known."""
    build.make(list(PROGRAMS))
    kernel = guest.kernel(FLAVOUR)
    wanted = [row for row in ROWS if not options.names or bench.answers("linux." + row, options.names) or
              row == LOOP and any(word.startswith("linux." + LOOP) or bench.answers(LEFT, [word]) for word in options.names)]
    figures = []
    if not options.names or bench.answers(NESTED, options.names):
        try:
            figures.append(nested(options, kernel))
        except Failure as failure:
            say.complain("%s: %s" % (NESTED, failure))
    if not wanted:
        return figures
    _, *without = as_guest(options, kernel, append("bench_guest", "none"), "none")
    for row in wanted:
        try:
            alone = bare_row(options, kernel, row)
            text, *counts = as_guest(options, kernel, append("bench_guest", row), row)
            ticks, units = measured(text)[row]
        except Failure as failure:      # the other rows are still worth having
            say.complain("linux.%s: %s" % (row, failure))
            continue
        left = counts[0]
        vmm, crossed = (each(now, before, units) for now, before in zip(counts, without))
        facts = "bare=%d ours/bare=%.3f" % (alone, ticks / alone)
        figures += [*forkexec(ticks, alone, vmm, crossed), memory(left)] if row == LOOP else \
            [Figure("linux." + row, ticks, "instructions", crossings(crossed, "%.2f") + " " + facts)]
    return figures


def nested(options, kernel):
    """What the same system needs where the processor does what shadow paging is for."""
    _, *without = as_guest(options, kernel, append("bench_guest", "none"), "nested-none", "nested")
    text, *counts = as_guest(options, kernel, append("bench_guest", LOOP), "nested", "nested")
    alone, (ticks, units) = bare_row(options, kernel, LOOP), measured(text)[LOOP]
    vmm, crossed = (each(now, before, units) for now, before in zip(counts, without))
    return Figure(NESTED, round(ticks / alone, 3), "ratio", "%s bare=%d ours=%d %s %s" % (
        crossings(crossed), alone, ticks, exit_kinds(vmm), version()))


def exit_kinds(vmm):
    return " ".join("%s=%d" % (key.removeprefix("exits_"), n) for key, n in sorted(vmm.items()) if key.startswith("exits_"))


def memory(counts):
    """Tables that are in use when the guest ends, as part of its memory; what the VMM keeps of them in its own is said."""
    pages = MEMORY // 4096
    return Figure(LEFT, round(100 * counts["shadow_in_use"] / pages, 2), "%", "tables=%d pool=%d state_percent=%.2f" % (
        counts["shadow_in_use"], counts["shadow_pool"], 100 * counts["shadow_state_bytes"] / MEMORY))


def forkexec(ticks, alone, vmm, crossed):
    parts = {"guest_faults": vmm["faults_to_guest"], "cr3": vmm["shadow_cr3"], "invlpg": vmm.get("exits_invlpg", 0),
             "cpuid": vmm["exits_cpuid"]}
    floor = sum(parts.values()) + parts["guest_faults"]
    return [Figure("linux.forkexec_ratio", round(ticks / alone, 3), "ratio",
                   "%s bare=%d ours=%d %s" % (crossings(crossed), alone, ticks, version())),
            Figure("linux.forkexec_exits", round(vmm["exits"]), "exits", exit_kinds(vmm)),
            Figure("linux.forkexec_over_floor", round(vmm["exits"] / floor, 3), "ratio",
                   " ".join("%s=%d" % part for part in parts.items()))]
