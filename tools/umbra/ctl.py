# SPDX-License-Identifier: BSD-2-Clause
"""The command `ctl`: asks the system that runs from this tree, and tells it what to do with its guests."""
import json
import os

from umbra import control, images, say, symbols
from umbra.errors import Usage

LISTS = {"list": "guests, their state and their VMMs; servers", "stats": "exits, processor time and memory of each guest"}
ACTS = {"pause": "the guest stands still, its clocks too", "resume": "it goes on", "stop": "it ends",
        "start": "one that has ended or not begun begins from its images", "kill-vmm": "its VMM ends, the next takes over",
        "hang-vmm": "its VMM spins until it is found out (debug builds)", "restart-vmm": "a planned change of its VMM",
        "upgrade-vmm": "a planned change to another program: --image FILE"}
OTHERS = {"crash-report": "what is known of the deaths of its VMMs, or of a server",
          "audit": "its VMM compares its shadow tables with the guest's",
          "restart-server": "a planned change of a server: console, memmgr"}
LIVES = {"create": "a new guest in what `run --pool` set aside: --mem, --kernel, --initrd, --append, --cpu",
         "destroy": "a created guest ends, and all that it had comes back",
         "places": "what is set aside for created guests, and how much of it is left"}
KERNEL_FOUND = ("the kernel: %(kernel_entries)d entries of %(kernel_tables)d tables looked at, %(violations)d violations; since boot %(tlb_entries)d "
                "entries of guests judged by the TLB model, %(tlb_begun)d of them with a flush: %(tlb_owed)d owed, %(tlb_needless)d needless, the others of "
                "new roots; of %(tlb_sampled)d owed ones %(tlb_spared)d for what the root did not reach")
COMMANDS = {**LISTS, **ACTS, **LIVES, **OTHERS}
OF_CREATE = ("mem", "kernel", "initrd", "append", "cpu")


def arguments(parser):
    add = parser.add_argument
    add("what", choices=list(COMMANDS), metavar="COMMAND", help="see below")
    add("guest", nargs="?", metavar="GUEST", help="its name; may be left out where there is one guest")
    add("--image", metavar="FILE", help="of upgrade-vmm: an ELF file as build/debug/servers/vmm.elf")
    add("--mem", metavar="SIZE", help="of create: its memory; default: 64M")
    add("--kernel", metavar="F", help="of create: a file that this run has as a kernel or --module; default: the first guest's")
    add("--initrd", metavar="F", help="of create: the same for its initramfs")
    add("--append", metavar="S", help="of create: its command line, at most 255 characters")
    add("--cpu", metavar="N", type=int, help="of create: at most so many hundredths of the processor")
    add("--json", action="store_true", help="the answer as JSON")
    add("--socket", metavar="PATH", help="the system to ask; default: the newest that runs from this tree")
    add("--timeout", metavar="S", type=float, default=30, help="for an answer; default: 30")
    parser.epilog = "\n".join(["commands:"] + ["  %-14s %s" % pair for pair in COMMANDS.items()] +
                              ["", "example: ./build.py ctl pause linux"])


def chosen(channel, name, servers_too=False):
    """The component of the guest that is meant, or of the server."""
    guests, servers = channel.list()
    if servers_too and name in [s["name"] for s in servers]:
        return name
    if name is None:
        if len(guests) != 1:
            raise Usage("which guest? There are: " + " ".join(g["name"] for g in guests))
        return guests[0]["component"]
    if name not in [g["name"] for g in guests]:
        raise Usage("there is no guest %s; there are: %s" % (name, " ".join(g["name"] for g in guests)))
    return channel.component(name)


def table(rows):
    """Columns as wide as they must be."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def megabytes(n):
    return "%.1fM" % (n / (1 << 20))


def list_tables(guests, servers):
    rows = [("guest", "state", "vmm", "restarts", "program", "next", "ended")]
    rows += [(g["name"], g["state"], str(g["incarnation"]), str(g["restarts"]), g["program"] or "-", g["next"] or "-",
              g["ended"] or "-") for g in guests]
    others = [("server", "state", "restarts", "cpu", "memory", "next", "ended")]
    others += [(s["name"], s["state"], str(s["restarts"]), "%.3fs" % (s["cpu_us"] / 1e6), megabytes(s["bytes"]),
                "waits" if s["successor"] else "-", s["ended"] or "-") for s in servers]
    return table(rows) + "\n\n" + table(others)


def stats_table(guests):
    rows = [("guest", "exits", "cpu", "memory", "vmm")]
    return table(rows + [(g["name"], str(g["exits"]), "%.3fs" % (g["cpu_us"] / 1e6), megabytes(g["memory_bytes"]),
                          megabytes(g["vmm_bytes"])) for g in guests])


def read_image(options):
    if (options.what == "upgrade-vmm") != (options.image is not None):
        raise Usage("upgrade-vmm and --image FILE go together")
    if not options.image:
        return None
    image = control.program_only(images.readable(options.image, "--image"))
    if not 0 < len(image) <= control.IMAGE_MAX:
        raise Usage("--image %s is of %d bytes; 1 to %d are taken" % (options.image, len(image), control.IMAGE_MAX))
    return image


def upgrade(channel, component, image):
    channel.upload(component, image, lambda done, of: say.progress("sending the program: %d%%" % (100 * done // of)))
    say.progress("")
    channel.upgrade(component)
    return {"ok": True}


def print_report(options, text):
    if options.json:
        print(json.dumps({"report": text}))
    else:
        print("\n".join(symbols.readable(text.splitlines(), options.profile)) or "no death is known")


def lists(channel, options):
    guests, servers = channel.list()
    if options.json:
        print(json.dumps(guests, indent=1))
    else:
        print(list_tables(guests, servers) if options.what == "list" else stats_table(guests))


def crash_report(channel, options):
    print_report(options, channel.crash_report(chosen(channel, options.guest, servers_too=True)))


def audit(channel, options):
    found = channel.audit(chosen(channel, options.guest))
    if options.json:
        print(json.dumps(found))
    else:
        print("%d entries looked at, %d of them in tables out of sync and not compared; %d differences%s" % (
            found["entries"], found["unsynced"], found["differences"],
            ", the first: " + found["first"] if found["first"] else ""))
        if found["kernel_entries"]:
            print(KERNEL_FOUND % found)
    return 1 if found["differences"] or found["violations"] else 0


def restart_server(channel, options):
    servers = [s["name"] for s in channel.list()[1]]
    if options.guest not in servers:
        raise Usage("which server? There are: " + " ".join(servers))
    print_answer(options, channel.ask("restart-server", server=options.guest))


def module(channel, path, what):
    """The boot module that has this file."""
    known = channel.note.get("modules", {})
    found = known.get(os.path.realpath(path)) or (path if path in known.values() else None)
    if found is None:
        raise Usage("--%s %s is not among the images of the running system; give it to `run` with --module" % (what, path))
    return found


def create(channel, options):
    if options.guest is None:
        raise Usage("create needs a name for the guest")
    mem, first = images.parse_memory(options.mem or "64M"), channel.note.get("first", {})
    own = options.kernel is not None
    kernel, initrd = options.kernel or first.get("kernel"), options.initrd or (None if own else first.get("initrd"))
    if kernel is None:
        raise Usage("create needs --kernel here")
    append = options.append if options.append is not None else "" if own else first.get("append", "")
    channel.create(options.guest, mem, module(channel, kernel, "kernel"), module(channel, initrd, "initrd") if initrd else "",
                   append, options.cpu)
    print_answer(options, {"ok": True})


def destroy(channel, options):
    channel.destroy(chosen(channel, options.guest))
    print_answer(options, {"ok": True})


def places(channel, options):
    found = channel.ask("places")
    if options.json:
        print(json.dumps({key: value for key, value in found.items() if key not in ("id", "ok")}))
    else:
        print("%d places for created guests, %d of them free; %s of memory, %s of it left; a guest may have %s" % (
            found["places"], found["vacant"], megabytes(found["bytes"]), megabytes(found["left_bytes"]),
            megabytes(found["most_bytes"])))


def print_answer(options, answer):
    if options.json:
        print(json.dumps(answer))


def command(options):
    image = read_image(options)
    if options.what in LISTS and options.guest:
        raise Usage("%s shows all guests" % options.what)
    if options.what != "create" and any(getattr(options, word) is not None for word in OF_CREATE):
        raise Usage("--%s and the like go with create" % next(w for w in OF_CREATE if getattr(options, w) is not None))
    special = {"create": create, "destroy": destroy, "places": places, "crash-report": crash_report, "audit": audit, "restart-server": restart_server, **dict.fromkeys(LISTS, lists)}
    with control.open_channel(options.socket, options.timeout) as channel:
        if options.what in special:
            return special[options.what](channel, options) or 0
        component = chosen(channel, options.guest)
        print_answer(options, upgrade(channel, component, image) if image else channel.ask(options.what, guest=component))
    return 0
