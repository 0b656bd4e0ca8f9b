# SPDX-License-Identifier: BSD-2-Clause
"""A bootable system: which boot modules go with which guests, and what the kernel is told. The one place that knows.

Boot modules, in order: init (the root task), the compiled system description, run.cfg (what the user asked for), every other
server, then kernel and initramfs of each guest. The kernel's log goes to the second serial port, guests own the first.
"""
from umbra import layout
from umbra.errors import Usage
from umbra.images import MB

DEFAULT = "linux"
RUN = layout.BUILD / "run"
EXIT_CLEAN = 0x10           # written to debug-exit when every guest ended by poweroff or reset
CMDLINE = "log=com2"
MACHINE_MIN = 1024 * MB
OVERHEAD = 192 * MB         # chosen: kernel, servers and their modules


def names():
    return sorted({p.stem for p in (layout.ROOT / "systems").glob("*") if p.suffix in (".idl", ".toml")})


def check_name(name):
    if name != DEFAULT and name not in names():
        raise Usage("no system %s; systems/ has: %s" % (name, " ".join(names()) or "none"))


def description(profile, name):
    """The compiled description's file, or None where the tree has no such system."""
    return "build/%s/systems/%s.bin" % (profile, name) if name in names() else None


def targets(profile, name):
    """What must be built before this system boots."""
    wanted = [layout.kernel_output(profile)] + [p.output for p in layout.servers(profile)]
    return wanted + [d for d in [description(profile, name)] if d]


def configuration(options, guests):
    """The text of run.cfg: `key=value` lines; a `guest=` line begins what belongs to one guest."""
    lines = ["paging=" + options.paging]
    for number, guest in enumerate(guests):
        lines += ["guest=" + guest.name, "mem=%d" % guest.mem, "kernel=guest%d.kernel" % number]
        lines += ["initrd=guest%d.initrd" % number] if guest.initrd else []
        lines += ["append=" + guest.append]
    return "\n".join(lines) + "\n"


def link(name, target):
    """build/run/NAME -> target: module names stay short and free of odd characters, whatever the user's path is."""
    path = RUN / name
    path.unlink(missing_ok=True)
    path.symlink_to(target.resolve())
    return layout.relative(path)


def modules(options, guests):
    """The boot modules as (path, arguments). Writes build/run/."""
    RUN.mkdir(parents=True, exist_ok=True)
    programs = [p.output for p in layout.servers(options.profile)]
    init = [p for p in programs if p.endswith("/init.elf")]
    found = init + [d for d in [description(options.profile, options.system)] if d]
    (RUN / "run.cfg").write_text(configuration(options, guests))
    found += [layout.relative(RUN / "run.cfg")] + [p for p in programs if p not in init]
    for number, guest in enumerate(guests):
        found.append(link("guest%d.kernel" % number, guest.kernel))
        if guest.initrd:
            found.append(link("guest%d.initrd" % number, guest.initrd))
    return [(path, "") for path in found]


def machine_memory(guests):
    """The emulated machine's memory in QEMU's words: guests, twice their images, and overhead."""
    images = sum(p.stat().st_size for g in guests for p in (g.kernel, g.initrd) if p)
    need = sum(g.mem for g in guests) * 108 // 100 + 2 * images + OVERHEAD
    return "%dM" % (max(MACHINE_MIN, -(-need // (256 * MB)) * 256 * MB) // MB)
