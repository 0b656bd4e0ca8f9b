# SPDX-License-Identifier: BSD-2-Clause
"""A bootable system: which boot modules go with which guests, and what the kernel is told. The one place that knows.

Boot modules, in order: init (the root task), the compiled description, then what the description names: servers, and
kernel and initramfs of each guest. The default system has as many guests as the user asks for: its description is made
for them. The kernel's log goes to the second serial port, guests own the first.
"""
import json
import os
import pathlib
import subprocess

from umbra import control, images, layout, locks, machine
from umbra.errors import Failure, Usage
from umbra.images import MB

DEFAULT = "linux"
END_CLEAN, END_GUEST, END_SYSTEM = 0x10, 0x11, 0x12     # servers/init/init.h
CMDLINE = "log=com2"
MACHINE_MIN = 1024 * MB
GUESTS_MAX = 48             # CONSOLE_GUESTS in idl/interfaces/console.idl
GUEST_FILES_MAX = 18        # BOOT_MODULES_MAX without init, the description and the four servers
GUESTS_MEM_MAX = 4080 * MB  # memmgr's four pieces of 1 GiB without the guests' paging structures
TABLES_ROOM = 4096          # page tables of guests and places: the first piece of memmgr's pool
SCRUB_TABLES = 2            # of its own space for zeroing
OVERHEAD = 192 * MB         # chosen: kernel, servers and their modules
HEAP_BASE = 1 * MB          # chosen: of a guest's component, besides what the shadow MMU needs: a table of capabilities, a recorder
HEAP_TABLE, HEAP_PAGE = 4352, 32    # bytes for a shadow table and for a page of guest memory (shadow_bytes())
POOL_GUESTS = 2             # chosen: places for created guests where a pool is asked for
MANAGER_HEAP = 4            # megabytes; chosen: of memmgr, besides eight bytes for each page of guest memory
TABLES = (256, 8192)        # as idl/umbra_idl/check_system.py


def folder():
    """Where the files of this process's system lie."""
    return layout.BUILD / ("run" + locks.slot())


def names():
    return sorted(p.stem for p in (layout.ROOT / "systems").glob("*.idl"))


def check_name(name):
    if name != DEFAULT and name not in names():
        raise Usage("no system %s; systems/ has: %s" % (name, " ".join(names()) or "none"))


def component(number):
    """The name of the component that runs guest `number` of the default system."""
    return "vmm%d" % number


def check_guests(sizes):
    """Usage if guests of these sizes do not fit the default system."""
    if len(sizes) > GUESTS_MAX:
        raise Usage("%d guests; at most %d fit one system" % (len(sizes), GUESTS_MAX))
    if sum(sizes) > GUESTS_MEM_MAX:
        raise Usage("the guests have %dM of memory together; at most %dM fit one system: give less with mem=" % (
            sum(sizes) // MB, GUESTS_MEM_MAX // MB))


def targets(profile, _name):
    """What must be built before a system boots."""
    return [layout.kernel_output(profile)] + [p.output for p in layout.servers(profile)] + \
        [p.output for p in layout.guests(profile)]


def cmdline(options):
    seed = getattr(options, "seed", None)
    return CMDLINE + (" seed=%d" % seed if seed else "")


def doubled(text):
    return text.replace(",", ",,")


def guest_files(guests):
    """The guests' images as {module name: file}; guests with the same file share a module."""
    found = {}
    for number, guest in enumerate(guests):
        for kind in ("kernel", "initrd"):
            path = getattr(guest, kind)
            if path and path not in found.values():
                found["%s%d" % (kind, number)] = path
    return found


def place(number):
    """The name of the component of a place for guests that are created at run time."""
    return "place%d" % number


def places(options):
    """The places for created guests, as guests of the largest size that each takes."""
    pool, count = getattr(options, "pool", None), getattr(options, "pool_guests", None) or POOL_GUESTS
    most = min(pool or 0, images.MEM_MAX)
    return [images.Guest(place(n), None, None, "", most) for n in range(count)] if pool else []


def extra_modules(options):
    """Images that no guest has when the system boots: {module name: file}."""
    return {"module%d" % n: pathlib.Path(path) for n, path in enumerate(getattr(options, "module", None) or [])}


def tables_of(bytes_):
    """As tables_of() in servers/memmgr/main.c: page tables of a guest's memory, one of each level more than that needs."""
    leaves = -(-bytes_ // (2 * MB))
    return leaves + leaves // 512 + 2


def check_pool(options, sizes):
    """Usage if what is set aside for created guests is too much."""
    found = places(options)
    if len(sizes) + len(found) > GUESTS_MAX:
        raise Usage("%d guests and %d places for created ones; at most %d fit one system" % (
            len(sizes), len(found), GUESTS_MAX))
    if sum(sizes) + (options.pool or 0) > GUESTS_MEM_MAX:
        raise Usage("the guests and --pool have more than %dM of memory together" % (GUESTS_MEM_MAX // MB))
    if found and sum(map(tables_of, sizes + [place.mem for place in found])) + SCRUB_TABLES > TABLES_ROOM:
        raise Usage("%d places for guests of up to %dM want more page tables than there is room for; fewer --pool-guests, or a smaller --pool"
                    % (len(found), found[0].mem // MB))


def guest_words(number, guest, paging, files, record=False):
    names = {path: name for name, path in files.items()}
    words = ["name=" + component(number), "memory=%dK" % (guest.mem >> 10), "kernel=" + names[guest.kernel]]
    words += ["initrd=" + names[guest.initrd]] if guest.initrd else []
    words += ["record=yes"] if record and number == 0 else []
    return ",".join(words + ["command_line=" + doubled(guest.append), "paging=" + paging])


def heap_bytes(guest):
    pages = guest.mem // 4096
    tables = min(max(pages // 16, TABLES[0]), TABLES[1])
    return -(-(HEAP_BASE + tables * HEAP_TABLE + pages * HEAP_PAGE) // (2 * MB)) * 2 * MB


def compiler(*words):
    """Runs the interface compiler; returns what it prints, or raises Usage with its first diagnostic."""
    done = subprocess.run(["/usr/bin/python3", "-m", "umbra_idl", *words], cwd=layout.ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": "idl", "PYTHONDONTWRITEBYTECODE": "1"})
    if done.returncode:
        raise Usage((done.stderr.strip().splitlines() or ["the interface compiler failed"])[0])
    return done.stdout


def describe(options, guests, memory=None):
    """Compiles the system's description into folder()/system; returns its summary (system.json). memory: of
    the machine, if not what the guests need."""
    source, settings = "systems/%s.idl" % options.system, []
    if options.system == DEFAULT:
        source = layout.relative(folder() / "system.idl")
        files = guest_files(guests)
        record = bool(getattr(options, "record", None))
        most = GUEST_FILES_MAX - record     # the recorder is a module, too
        free = places(options)
        if len(files) + len(extra_modules(options)) > most:
            raise Usage("%d different kernels and initramfs; at most %d fit one system" % (len(files), most))
        text = compiler("guests", *(guest_words(n, g, options.paging, files, record) for n, g in enumerate(guests)),
                        *("name=%s,memory=%dK,spare=true" % (g.name, g.mem >> 10) for g in free),
                        *(("--spare", "%dK" % (options.pool >> 10)) if free else ()))
        (layout.ROOT / source).write_text(text)
        for n, guest in enumerate(guests):
            settings += ["--set", "%s.heap=%dM" % (component(n), heap_bytes(guest) // MB)]
            if getattr(options, "enlighten", False):
                settings += ["--set", component(n) + ".enlighten=true"]
        for g in free:
            settings += ["--set", "%s.heap=%dM" % (g.name, heap_bytes(g) // MB)]
        settings += ["--set", "memmgr.heap=%dM" % (MANAGER_HEAP + sum(g.mem for g in guests + free) // 4096 * 8 // MB)]
        settings += ["--memory", str(memory or memory_bytes(guests, options))]
    if "component control " in (layout.ROOT / source).read_text():
        settings += [word for text in machine.settings() for word in ("--set", text)]
    for text in getattr(options, "set", []):
        settings += ["--set", text]
    compiler("compile", source, "-o", layout.relative(folder() / "system"), *settings)
    return json.loads((folder() / "system/system.json").read_text())


def named_guests(options):
    """The guests of a description from systems/; their images are its own."""
    if not (layout.ROOT / "idl").is_dir():
        raise Failure("this tree has no idl/ to compile systems/%s.idl" % options.system)
    components = describe(options, [])["components"].items()
    return [images.Guest(name, None, None, "", c["guest"]["memory_bytes"]) for name, c in components if c["guest"]]


def link(name, target):
    """folder()/NAME -> target: module names stay short and free of odd characters, whatever the user's path is."""
    path = folder() / name
    path.unlink(missing_ok=True)
    path.symlink_to(target.resolve())
    return layout.relative(path)


def module_file(profile, name, given):
    """The file of a boot module that a description names: a server, a guest image of the tree, or the user's."""
    if name in given:
        return link(name, given[name])
    for path in (layout.server_output(profile, name), layout.module_output(profile, "guests/" + name)):
        if (layout.ROOT / path).is_file():
            return path
    raise Failure("the description names boot module %s, which is neither a server nor a guest of this tree" % name)


def modules(options, guests, memory=None):
    """The boot modules as (path, arguments). Writes folder()."""
    given = guest_files(guests)
    if not (layout.ROOT / "servers/init/main.c").is_file():     # a kernel alone
        return [(link(name, path), "") for name, path in given.items()]
    wanted = describe(options, guests, memory)["modules"]
    found = [layout.server_output(options.profile, "init"), layout.relative(folder() / "system/system.desc")]
    if getattr(options, "record", None):    # the other build of the same module
        given["vmm"] = layout.ROOT / layout.server_output(options.profile, "vmm_recording")
    more = [link(name, path) for name, path in extra_modules(options).items()]
    return [(path, "") for path in found + [module_file(options.profile, name, given) for name in wanted] + more]


def control_socket():
    """Where the management channel of the system that modules() described is to be; None: it has none."""
    summary = folder() / "system/system.json"
    has = summary.is_file() and "control" in json.loads(summary.read_text())["components"]
    return layout.relative(folder() / control.SOCKET) if has else None


def recorder_device(path):
    """QEMU's words for the port that the recorder writes (RECORD_PORT in idl/umbra_idl/guests.py)."""
    return ("-chardev", "file,id=record,path=" + doubled(os.path.abspath(path)),
            "-device", "isa-debugcon,iobase=0x3e0,chardev=record")


def pool_bytes(options):
    """What is set aside for created guests: their memory once, what serves them for each place."""
    free = places(options)
    extra = sum(p.stat().st_size for p in extra_modules(options).values())
    return 2 * extra + (options.pool * 5 // 4 if free else 0) + sum(g.mem // 4 + 2 * heap_bytes(g) + 4 * MB for g in free)


def memory_bytes(guests, options=None):
    """The emulated machine's memory: guests with what stands behind them, twice their images, and overhead."""
    files = sum(pathlib.Path(p).stat().st_size for g in guests for p in (g.kernel, g.initrd) if p)
    need = sum(g.mem * 5 // 4 + 2 * heap_bytes(g) for g in guests) + 2 * files + OVERHEAD
    need += pool_bytes(options) if options else 0
    return max(MACHINE_MIN, -(-need // (256 * MB)) * 256 * MB)


def machine_memory(guests, options=None):
    """The same in QEMU's words."""
    return "%dM" % (memory_bytes(guests, options) // MB)
