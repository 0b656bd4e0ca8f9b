# SPDX-License-Identifier: BSD-2-Clause
"""Compares what the kernel says that there is, every capability and every entry of an address space, with a compiled description.

A system that was booted with the word `graph` (servers/init/graph.c, docs/kernel-api.md, KERNEL_GRAPH) logs dumps: dumps() reads them,
differences() gives a line for each capability, right, mapping or binding that is more than, or other than, described. What init holds for
itself is not looked at, for it holds everything; but nothing without a name may bind what is another's. Only names are init's word: they are
places in its own CSpace; no two of them may be of one object, and no two memories overlap."""
import collections
import itertools
import re
import struct
import sys

from umbra import layout

sys.path.insert(0, str(layout.ROOT / "idl"))
from umbra_idl import desc  # noqa: E402
from umbra_idl.cheader import constants  # noqa: E402

C = constants()
PAGE, LARGE, SLOT_BYTES = 4096, 2 << 20, 64
READ, WRITE, EXEC, ALL = C["RIGHT_READ"], C["RIGHT_WRITE"], C["RIGHT_EXEC"], C["RIGHT_ALL"]
ORIGINAL, BADGED, ZOMBIE, LARGE_FRAME = 1, 4, 8, 16     # kernel/cap.h
PTE_W, PTE_U, PTE_WINDOW, PTE_NX, PTE_ADDRESS = 2, 4, 1 << 9, 1 << 63, 0x000ffffffffff000   # kernel/arch/pte.h, kernel/space.h
OTHER = 1 << 32             # INIT_BADGE_OTHER in servers/init/init.h
VIEWS = ("window", "exit", "reply", "public")           # enum view_kind and DESC_VIEW_*
VIEW_AT = {"window": 0x1000, "exit": 0x2000, "reply": 0x3000, "public": 0x1000}     # of the page in its object (kernel/objects.h)
MOVED = ("untyped", "reply")        # given away, not copied: with all rights
OWN = {"tcb": C["SLOT_TCB"], "cnode": C["SLOT_CNODE"], "vspace": C["SLOT_VSPACE"], "frame": C["SLOT_IPC_BUFFER"], "sched": C["SLOT_SCHED"]}
NO_MEMORY = {"irq", "irqcontrol", "ioport", "schedcontrol", "kernel", "view", "null"}
TYPES = ("null", "untyped", "cnode", "tcb", "sched", "endpoint", "reply", "notification", "timer", "frame", "range", "vspace",
         "pagetable", "guestspace", "vm", "vcpu", "shadow", "view", "irq", "irqcontrol", "ioport", "schedcontrol", "kernel")
assert all(C["OBJ_" + name.upper()] == number for number, name in enumerate(TYPES))

Cap = collections.namedtuple("Cap", "slot parent type obj rights flags bits holder kind d0 d1 meta")
Process = collections.namedtuple("Process", "name index which now cnode tcb vspace sched quota slots info other_image")
Component = collections.namedtuple("Component", "index sched builder ended used kernel initrd")
Leaf = collections.namedtuple("Leaf", "address level entry")


class Dump:
    """The lines between `graph begin` and `graph end`."""

    def __init__(self, text):
        self.caps, self.leaves, self.groups, self.modules, self.processes, self.components = [], {}, {}, {}, [], {}
        self.first, self.last = [], []
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "graph":
                getattr(self, "read_" + words[1])(words[2:])
        self.fill_rows()
        self.at = {c.slot: c for c in self.caps if not (c.holder == C["OBJ_IRQ"])}
        self.root = next(c for c in self.caps if c.type == "cnode" and c.slot == c.obj + C["SLOT_CNODE"] * SLOT_BYTES and not c.parent)

    def read_cap(self, w):
        numbers = [int(x, 16) for x in (w[0], w[1], *w[3:6])] + [int(x) for x in w[6:9]] + [int(x, 16) for x in w[9:12]]
        self.caps.append(Cap(*numbers[:2], w[2], *numbers[2:]))

    def read_from(self, w):
        self.read_cap(w)
        self.first.append(self.caps[-1])

    def read_to(self, w):
        self.read_cap(w)
        self.last.append(self.caps[-1])

    def fill_rows(self):
        """What lies between the first and the last of each row, which the kernel did not show one by one."""
        first, last = sorted(self.first), sorted(self.last)
        if len(first) != len(last):
            raise ValueError("%d rows of capabilities begin, %d end" % (len(first), len(last)))
        for a, b in zip(first, last):
            n = (b.slot - a.slot) // SLOT_BYTES
            step = lambda x, y: (y - x) // n if n > 0 and (y - x) % n == 0 else None
            steps = [step(x, y) for x, y in ((a.slot, b.slot), (a.parent, b.parent), (a.obj, b.obj), (a.d0, b.d0))]
            if None in steps or a._replace(slot=b.slot, parent=b.parent, obj=b.obj, d0=b.d0) != b:
                raise ValueError("a row of capabilities that is none: %s to %s" % (a, b))
            self.caps += [a._replace(slot=a.slot + i * steps[0], parent=a.parent + i * steps[1], obj=a.obj + i * steps[2],
                                     d0=a.d0 + i * steps[3]) for i in range(1, n)]

    def read_map(self, w):
        space, address, level = int(w[0], 16), int(w[1], 16), int(w[2])
        step = PAGE << 9 * (level - 1)
        leaves = self.leaves.setdefault(space, [])
        for word in w[3:]:
            entry, _, count = word.partition("*")
            for i in range(int(count or 1)):
                leaves.append(Leaf(address, level, int(entry, 16) + i * step))
                address += step

    def read_group(self, w):
        self.groups[int(w[0])] = (int(w[1], 16), int(w[2]), int(w[3]))

    def read_module(self, w):
        self.modules[int(w[0])] = (int(w[1], 16), int(w[2]), " ".join(w[3:]))

    def read_component(self, w):
        self.components[int(w[0])] = Component(int(w[0]), int(w[1], 16), int(w[2], 16), *map(int, w[3:]))

    def read_process(self, w):
        self.processes.append(Process(w[0], *map(int, w[1:4]), *(int(x, 16) for x in w[4:11]), int(w[11])))

    def cptr(self, p):
        """The capability at an address of init's CSpace, None: an empty slot."""
        slot = self.root.obj + (p & 0xffff) * SLOT_BYTES
        if p >> 16:
            inner = self.at.get(slot)
            slot = inner.obj + ((p >> 16) - 1) * SLOT_BYTES if inner and inner.type == "cnode" else 0
        return self.at.get(slot) if p else None


def dumps(log):
    """All whole dumps of a kernel's log, in order."""
    return [Dump(text) for text in re.findall(r"^graph begin\n((?:(?!graph (?:begin|again)).*\n)*?)graph end$", log.replace("\r", ""), re.M)]


def size(c):
    return 0 if c.type in NO_MEMORY else 1 << (c.bits + (6 if c.type == "cnode" else 0))


def inside(c, obj, bytes_):
    return c.obj <= obj and obj + bytes_ <= c.obj + size(c)


def rights_of(entry):
    return READ | (WRITE if entry & PTE_W else 0) | (0 if entry & PTE_NX else EXEC)


def image_pages(path):
    """Page -> rights, of a static ELF file as servers/init/image.c loads it."""
    data, pages = path.read_bytes(), {}
    offset, = struct.unpack_from("<Q", data, 32)
    each, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, flags, _, address, _, _, memory, _ = struct.unpack_from("<IIQQQQQQ", data, offset + i * each)
        if kind != 1:
            continue
        rights = (READ if flags & 4 else 0) | (WRITE if flags & 2 else 0) | (EXEC if flags & 1 else 0)
        for page in range(address // PAGE * PAGE, address + memory, PAGE):
            pages[page] = pages.get(page, 0) | rights
    return pages


class Checker:
    def __init__(self, records, dump, program):
        self.records, self.dump, self.program, self.found = records, dump, program, []
        of = lambda op: [r for r in records if r.op == op]
        self.described = {r.component: r.fields for r in of("COMPONENT")}
        self.objects = {r.fields["group"]: r.fields for r in of("OBJECTS")}
        self.irqs, self.ports = ({r.fields["group"]: r.fields for r in of(op)} for op in ("IRQ", "IOPORT"))
        self.guests = {r.fields["owner"]: r.fields for r in of("GUEST")}
        self.by_holder = collections.defaultdict(list)
        for c in dump.caps:
            if c.holder:
                self.by_holder[c.holder].append(c)
        self.names = {}         # (type, object) -> what the description calls it
        self.memory = {}        # object of an untyped that has a name -> capability
        self.mapped = []        # (begin, end, where and what, is it the process's own?) of what processes have mapped
        self.moved = {}         # (group, number) -> capability, of objects that were given away
        self.cnodes = {dump.root.obj: ("init", dump.root)}
        self.explained = set()  # slots of capabilities that the description asks for

    def differ(self, text, *words):
        self.found.append(text % words)

    # -- names -----------------------------------------------------------------------------------------------

    def group_name(self, group, number=0):
        own = {C["DESC_OWN_CNODE"]: "its CNode", C["DESC_OWN_TCB"]: "its thread", C["DESC_OWN_KERNEL"]: "the kernel object"}
        fields = self.objects.get(group) or self.irqs.get(group) or self.ports.get(group)
        return own.get(group) or (fields["name"] + ("[%d]" % number if fields.get("count", 1) > 1 else ""))

    def member(self, group, number):
        """Number `number` of a group as init made it; None: it was given away."""
        cptr, sub, _ = self.dump.groups[group]
        return self.dump.cptr(cptr | (number + 2) << 16 if sub else cptr)

    def name_objects(self):
        for group, fields in self.objects.items():
            kind = TYPES[fields["type"]]
            cptr, sub, count = self.dump.groups[group]
            if count != fields["count"]:
                self.differ("group %s has %d objects, described %d", fields["name"], count, fields["count"])
            if sub:
                self.know_cnode("init", self.dump.cptr(cptr))
            for n in range(fields["count"]):
                c = self.member(group, n)
                if c:
                    self.name(c, self.group_name(group, n))
                if (c is None and kind not in MOVED) or (c and (c.type != kind or not c.flags & ORIGINAL)):
                    self.differ("init: %s is %s", self.group_name(group, n), c.type if c else "not there")
                elif c and kind in ("untyped", "frame") and c.bits != fields["bits"]:
                    self.differ("init: %s has 2^%d bytes, described 2^%d", self.group_name(group, n), c.bits, fields["bits"])
        for group, fields in self.irqs.items():
            c = self.member(group, 0)
            self.name(c, fields["name"])
            if (c.type, c.obj) != ("irq", fields["line"]):
                self.differ("init: %s is %s %d, described line %d", fields["name"], c.type, c.obj, fields["line"])
        for group, fields in self.ports.items():
            c = self.member(group, 0)
            self.name(c, fields["name"])
            if (c.type, c.obj, c.d0) != ("ioport", fields["first"], fields["last"]):
                self.differ("init: %s is %s %x..%x, described %x..%x", fields["name"], c.type, c.obj, c.d0, fields["first"], fields["last"])

    def name_rest(self):
        """init's own objects, boot modules, and what each component and process has."""
        for kind, slot in OWN.items():
            self.name(self.dump.cptr(slot), "init's own " + kind)
        for number, (cptr, frames, _) in self.dump.modules.items():
            for i in range(frames):
                self.name(self.dump.cptr(cptr + i), "boot module %d[%d]" % (number, i))
        for c in self.dump.components.values():
            for cptr, what in ((c.sched, "time"), (c.builder, "time to build")):
                if cptr:
                    self.name(self.dump.cptr(cptr), "%s's %s" % (self.described[c.index]["name"], what))
        for p in self.dump.processes:
            for cptr, what in ((p.tcb, "thread"), (p.cnode, "CNode"), (p.vspace, "address space"), (p.sched, "own time"),
                               (p.quota, "memory"), (p.slots, "capabilities in init"), (p.info, "information page")):
                self.name(self.dump.cptr(cptr), "%s's %s%s" % (p.name, what, " (2)" if p.which else ""))

    def name(self, c, text):
        if c is None:
            self.differ("init: %s is not there", text)
            return
        key = (c.type, c.obj)
        if c.type == "untyped":
            self.memory[c.obj] = c
        if self.names.setdefault(key, text) != text:
            self.differ("%s and %s are one object, %s %x", self.names[key], text, *key)

    def called(self, c):
        if c.type == "view":
            return "a view (%s) of object %x" % (VIEWS[c.kind], c.obj)
        owner = next((n for (t, obj), n in self.names.items() if t == c.type and obj == c.obj), None)
        if not owner and c.type in ("frame", "range", "untyped", "pagetable"):
            owner = next(("memory of " + p.name for p in self.dump.processes
                          if self.dump.cptr(p.quota) and inside(self.dump.cptr(p.quota), c.obj, size(c))), None)
        return "%s %x%s" % (c.type, c.obj, " (%s)" % owner if owner else "")

    def know_cnode(self, who, c):
        if c and c.type == "cnode":
            self.cnodes[c.obj] = (who, c)

    # -- capabilities ----------------------------------------------------------------------------------------

    def wanted(self, p, r, i):
        """(type, object, rights, data, original) of capability i of a CAP record; object None: any of that type."""
        f, group = r.fields, r.fields["group"]
        if group >= C["DESC_OWN_CNODE"]:
            source = self.dump.cptr({C["DESC_OWN_CNODE"]: p.cnode, C["DESC_OWN_TCB"]: p.tcb,
                                     C["DESC_OWN_KERNEL"]: C["SLOT_KERNEL"]}[group])
            return source.type, source.obj, f["rights"], 0, False
        kind = TYPES[self.objects[group]["type"]] if group in self.objects else "irq" if group in self.irqs else "ioport"
        if kind in MOVED:
            return kind, None, ALL, None, True
        badge = f["badge"]
        if group == self.described[p.index]["fault"] and p.which:
            badge |= OTHER
        source = self.member(group, f["first"] + i)
        data = self.ports[group]["last"] if kind == "ioport" else badge if kind in ("endpoint", "notification") else 0
        return kind, source.obj if source else -1, f["rights"], data, False

    def check_slot(self, p, index, c, want, name):
        where = "%s slot %d: " % (p.name, index)
        kind, obj, rights, data, original = want
        if c is None:
            self.differ(where + "is empty, described %s", name)
            return
        self.explained.add(c.slot)
        if c.type != kind or (obj is not None and c.obj != obj):
            self.differ(where + "%s, described %s", self.called(c), name)
            return
        if c.rights != rights:
            self.differ(where + "%s with rights %x, described %x", name, c.rights, rights)
        if data is not None and c.d0 != data:
            self.differ(where + "%s with badge or bound %x, described %x", name, c.d0, data)
        given = kind in ("endpoint", "notification") and bool(data)
        if bool(c.flags & ORIGINAL) != original or bool(c.flags & BADGED) != given or c.flags & ZOMBIE:
            self.differ(where + "%s with flags %x", name, c.flags)

    def check_cnode(self, p):
        cnode, d = self.dump.cptr(p.cnode), self.described[p.index]
        if cnode.bits != d["cnode_bits"]:
            self.differ("%s: its CNode has 2^%d slots, described 2^%d", p.name, cnode.bits, d["cnode_bits"])
        self.know_cnode(p.name, cnode)
        self.know_cnode("init", self.dump.cptr(p.slots))
        own, pieces = False, []
        for r in self.records:
            if r.op != "CAP" or r.component != p.index:
                continue
            own |= r.fields["group"] == C["DESC_OWN_CNODE"]
            for i in range(r.fields["count"]):
                index, group = r.fields["slot"] + i, r.fields["group"]
                c, want = self.dump.at.get(cnode.obj + index * SLOT_BYTES), self.wanted(p, r, i)
                self.check_slot(p, index, c, want, self.group_name(group, r.fields["first"] + i))
                if c and want[0] in MOVED and c.type == want[0]:
                    self.give(p, c, group, r.fields["first"] + i)
                    pieces += [c] if c.type == "untyped" else []
        for index in range(1 << cnode.bits):
            c = self.dump.at.get(cnode.obj + index * SLOT_BYTES)
            if c is None or c.slot in self.explained:
                continue
            made = own and c.type in ("range", "pagetable") and any(inside(u, c.obj, size(c)) for u in pieces)
            if made:
                self.explained.add(c.slot)
                self.names.setdefault((c.type, c.obj), "made by " + p.name)
            else:
                self.differ("%s slot %d: %s with rights %x, described nothing", p.name, index, self.called(c), c.rights)

    def give(self, p, c, group, number):
        name = self.group_name(group, number)
        if c.type == "untyped" and c.bits != self.objects[group]["bits"]:
            self.differ("%s: %s has 2^%d bytes, described 2^%d", p.name, name, c.bits, self.objects[group]["bits"])
        self.name(c, name)
        self.moved[group, number] = c

    # -- bindings --------------------------------------------------------------------------------------------

    def slots_in(self, holder, c):
        """The capabilities in slots of an object, by type."""
        found = {}
        for s in self.by_holder[C["OBJ_" + holder.upper()]]:
            if c.obj <= s.slot < c.obj + size(c):
                found[s.type] = s
                self.explained.add(s.slot)
        return found

    def check_bound(self, who, found, wanted):
        """wanted: type -> (objects that it may be, None: need not be there; badge, None: any; rights)."""
        for kind in sorted({*found, *wanted}):
            s, (objects, badge, rights) = found.get(kind), wanted.get(kind, ((), 0, 0))
            if s is None:
                if None not in objects:
                    self.differ("%s: no %s is bound", who, kind)
            elif s.obj not in objects:
                self.differ("%s: bound is %s, described %s", who, self.called(s),
                            " or ".join(self.names.get((kind, o), "%s %x" % (kind, o)) for o in objects if o is not None) or "nothing")
            else:
                if kind in ("endpoint", "notification") and s.d0 != badge and badge is not None:
                    self.differ("%s: %s is bound with badge %x, described %x", who, self.called(s), s.d0, badge)
                if s.rights & ~rights:
                    self.differ("%s: %s is bound with rights %x, described %x", who, self.called(s), s.rights, rights)

    def check_thread(self, p):
        d, tcb = self.described[p.index], self.dump.cptr(p.tcb)
        of = lambda *cptrs: tuple(c.obj for c in map(self.dump.cptr, cptrs) if c)
        notify = next((r.fields["notification"] for r in self.records if r.op == "NOTIFY" and r.component == p.index), None)
        ipc = [leaf.entry & PTE_ADDRESS for leaf in self.space_of(p) if leaf.address == C["BOOT_IPC_ADDRESS"]]
        wanted = {"cnode": (of(p.cnode), 0, ALL), "vspace": (of(p.vspace), 0, ALL), "frame": (tuple(ipc), 0, ALL),
                  "endpoint": ((self.member(d["fault"], 0).obj,), d["fault_badge"] | (OTHER if p.which else 0), WRITE),
                  "sched": (of(p.sched, self.dump.components[p.index].sched, self.dump.components[p.index].builder), 0, ALL)}
        if notify is not None:      # an incarnation that waits gets it later, one that is gone had it
            wanted["notification"] = ((self.member(notify, 0).obj, None) if not p.now else (self.member(notify, 0).obj,), 0, ALL)
        self.check_bound("%s's thread" % p.name, self.slots_in("tcb", tcb), wanted)

    def check_guest(self, g):
        obj = lambda group: self.member(group, 0)
        self.check_bound(g["name"] + ".vm", self.slots_in("vm", obj(g["vm"])), {"guestspace": ((obj(g["space"]).obj,), 0, ALL)})
        self.check_bound(g["name"] + ".vcpu", self.slots_in("vcpu", obj(g["vcpu"])),
                         {"vm": ((obj(g["vm"]).obj,), 0, ALL), "notification": ((obj(g["notification"]).obj,), 0, ALL)})
        for n in range(self.objects[g["shadow"]]["count"]):
            table = self.member(g["shadow"], n)
            if table and table.meta != obj(g["vm"]).obj:
                self.differ("%s: bound to VM %x, described %s", self.group_name(g["shadow"], n), table.meta, self.group_name(g["vm"]))

    def check_sources(self):
        """Timers and interrupt lines signal what is described."""
        for r in self.records:
            if r.op == "TIMER":
                f = r.fields
                self.check_bound(self.group_name(f["timer"]), self.slots_in("timer", self.member(f["timer"], 0)),
                                 {"notification": ((self.member(f["notification"], 0).obj,), f["badge"], WRITE)})
        lines = {f["line"]: f for f in self.irqs.values()}
        for s in self.by_holder[C["OBJ_IRQ"]]:
            f = lines.get(s.slot)
            if f is None:
                self.differ("interrupt line %d: bound to %s, described nothing", s.slot, self.called(s))
            else:
                self.check_bound("interrupt line %d" % s.slot, {s.type: s},
                                 {"notification": ((self.member(f["notification"], 0).obj,), f["badge"], WRITE)})

    def check_init(self):
        """init's thread has what is init's, its timers signal that thread; nothing else without a name is a thread or bound (check_rest)."""
        bound = self.slots_in("tcb", self.dump.cptr(OWN["tcb"]))
        wanted = {kind: ((self.dump.cptr(slot).obj,), 0, ALL) for kind, slot in OWN.items() if kind != "tcb"}
        signal = bound.get("notification")
        if signal and ("notification", signal.obj) not in self.names:   # it made that later, for itself
            wanted["notification"] = ((signal.obj,), 0, ALL)
        self.check_bound("init's thread", bound, wanted)
        mine = {"notification": ((None, *wanted.get("notification", ((),))[0]), None, WRITE)}
        for c in self.dump.caps:
            if c.type not in ("tcb", "timer", "shadow") or not c.flags & ORIGINAL or (c.type, c.obj) in self.names:
                continue
            where = "%s in slot %x" % (self.called(c), c.slot)
            if c.type == "tcb":
                self.differ(where + ": a thread that nobody is described to have")
            elif c.type == "timer":
                self.check_bound(where, self.slots_in("timer", c), mine)
            elif c.type == "shadow" and c.meta:
                self.differ(where + ": bound to VM %x, described nothing", c.meta)

    # -- address spaces --------------------------------------------------------------------------------------

    def space_of(self, p):
        return self.dump.leaves.get(self.dump.cptr(p.vspace).obj, [])

    def described_pages(self, p):
        """address -> (bytes, object or None: the process's own memory, rights, name)."""
        pages, d = {}, self.described[p.index]

        def put(address, bytes_, obj, rights, name):
            pages[address] = (bytes_, obj, rights, name)

        def own(address, bytes_, rights, name):
            for a in range(address, address + bytes_, PAGE):
                put(a, PAGE, None, rights, name)
        path = None if p.other_image else self.program(d["module"])
        if not path and not p.other_image:
            self.differ("%s: its program, %s, is not there", p.name, d["module"])
        for page, rights in (image_pages(path) if path else {}).items():
            put(page, PAGE, None, rights, "image")
        up = lambda n: -(-n // PAGE) * PAGE
        own(C["DESC_HEAP"], up(d["heap_bytes"]), READ | WRITE, "heap")
        own(C["BOOT_STACK_TOP"] - up(d["stack_bytes"]), up(d["stack_bytes"]), READ | WRITE, "stack")
        own(C["BOOT_IPC_ADDRESS"], PAGE, READ | WRITE, "IPC buffer")
        put(C["BOOT_INFO_ADDRESS"], PAGE, self.dump.cptr(p.info).obj, READ, "information page")
        for r in (r for r in self.records if r.component == p.index):
            f = r.fields
            if r.op == "MAP":
                step = 1 << self.objects[f["group"]]["bits"]
                for i in range(f["count"]):
                    put(f["address"] + i * step, step, self.member(f["group"], f["first"] + i).obj, f["rights"],
                        self.group_name(f["group"], f["first"] + i))
            elif r.op == "VIEW":
                kind = VIEWS[f["kind"]]
                put(f["address"], 1 << 39 if kind == "window" else PAGE, self.member(f["group"], 0).obj + VIEW_AT[kind],
                    f["rights"], "%s of %s" % (kind, self.group_name(f["group"])))
            elif r.op == "MODULE":
                cptr, frames, name = self.module_of(p, f)
                for i in range(frames):
                    put(f["address"] + i * LARGE, LARGE, self.dump.cptr(cptr + i).obj, READ, name)
        return pages, path is None

    def module_of(self, p, f):
        if f["name"]:
            base = lambda text: re.sub(r"\..*", "", text.split("/")[-1])
            return next(m for m in self.dump.modules.values() if f["name"] in (base(m[2].split()[0]), base(m[2].split()[-1])))
        c = self.dump.components[p.index]
        number = (c.kernel, c.initrd)[f["which"]]
        return self.dump.modules[number] if number else (0, 0, "")

    def check_space(self, p):
        pages, any_image = self.described_pages(p)
        quota, seen = self.dump.cptr(p.quota), set()
        for leaf in self.space_of(p):
            bytes_, rights, obj = PAGE << 9 * (leaf.level - 1), rights_of(leaf.entry), leaf.entry & PTE_ADDRESS
            at = next((a for a in (leaf.address, leaf.address & ~(LARGE - 1)) if a in pages), None)
            where = "%s address %x: " % (p.name, leaf.address)
            window = bool(leaf.entry & PTE_WINDOW) and leaf.level == 4
            if not leaf.entry & PTE_U:
                self.differ(where + "not for user mode")
            own = pages[at][1] is None if at is not None else any_image and leaf.address < C["DESC_HEAP"]
            what = pages[at][3] if at is not None else "image" if own else "not described"
            self.mapped.append((obj, obj + (PAGE if window else bytes_), where + what, own))
            if at is None and own and inside(quota, obj, bytes_) and rights & (WRITE | EXEC) != WRITE | EXEC:
                continue
            if at is None:
                self.differ(where + "%x with rights %x, described nothing", obj, rights)
                continue
            size_, wanted, allowed, name = pages[at]
            if wanted is None:      # its own: a large frame covers many such pages
                inner = range(leaf.address, leaf.address + bytes_, PAGE)
                if any(pages.get(a, (0, 0, 0, ""))[1:3] != (None, rights) for a in inner):
                    self.differ(where + "%s with rights %x, described %x", name, rights, allowed)
                if not inside(quota, obj, bytes_):
                    self.differ(where + "%s is %x, which is none of its own memory", name, obj)
                seen.update(inner)
                continue
            seen.add(at)
            if obj != wanted or bytes_ != size_ or window != (size_ == 1 << 39):
                self.differ(where + "%x, described %x (%s)", obj, wanted, name)
            elif rights & ~allowed & ~(EXEC if window else 0) or rights & WRITE != allowed & WRITE:
                self.differ(where + "%s with rights %x, described %x", name, rights, allowed)
        for a in sorted(set(pages) - seen):
            self.differ("%s address %x: nothing, described %s", p.name, a, pages[a][3])
            break

    def check_own_memory(self):
        """Memories do not overlap, and what is a process's own is mapped nowhere else: only what a record says has more places."""
        last = (0, "")      # end of what was seen, and what it is
        for begin, end, name in sorted((c.obj, c.obj + size(c), self.names["untyped", c.obj]) for c in self.memory.values()):
            if begin < last[0]:
                self.differ("%s and %s overlap", last[1], name)
            last = max(last, (end, name))
        # a record may give the same frame to several; what is somebody's own may meet neither that nor another's own
        last = {True: (0, ""), False: (0, "")}
        for begin, end, place, own in sorted(self.mapped):
            for others, (other_end, other) in last.items():
                if begin < other_end and (own or others):
                    self.differ("%s is frame %x, which is %s, too", place, begin, other)
            last[own] = max(last[own], (end, place))

    def check_memory(self):
        """Guests' memory: of ranges that their manager made, each frame once, within the quota."""
        taken = []
        ranges = [c for c in self.dump.caps if c.type == "range"]
        blocks = {b: c for c in ranges for b in range(c.obj // LARGE, -(-(c.obj + size(c)) // LARGE))} if ranges else {}
        for g in self.guests.values():
            space = self.member(g["space"], 0)
            manager = self.cnode_of(g["manager"])
            leaves = self.dump.leaves.get(space.obj, [])
            for leaf in leaves:
                obj, gfn, bytes_ = leaf.entry & PTE_ADDRESS, leaf.address // PAGE, PAGE << 9 * (leaf.level - 1)
                owner = blocks.get(obj // LARGE)
                if not (owner and inside(owner, obj, bytes_)):
                    owner = next((c for c in ranges if inside(c, obj, bytes_)), None)
                if owner is None or not manager or not manager.obj <= owner.slot < manager.obj + size(manager):
                    self.differ("%s gfn %x: frame %x is of no range of its manager", g["name"], gfn, obj)
                taken.append((obj, obj + bytes_, gfn, g["name"]))
                if gfn + bytes_ // PAGE > g["pages"]:
                    self.differ("%s gfn %x: it may have %x pages", g["name"], gfn, g["pages"])
        for (_, end, _, other), (obj, _, gfn, name) in itertools.pairwise(sorted(taken)):
            if obj < end:
                self.differ("%s gfn %x: frame %x is %s's, too", name, gfn, obj, other)

    def cnode_of(self, index):
        return next((self.dump.cptr(p.cnode) for p in self.dump.processes if p.index == index and p.now), None)

    # -- the whole -------------------------------------------------------------------------------------------

    def check_entries(self):
        """Each entry is there by one capability that says so, and the other way round."""
        spaces = {c.obj: c for c in self.dump.caps if c.type in ("vspace", "guestspace") and c.flags & ORIGINAL}
        mapped = collections.defaultdict(list)
        for c in self.dump.caps:
            if c.type in ("frame", "view", "pagetable") and c.d1:
                space = spaces.get((c.d1 & 0xfffffff) * PAGE)
                if space is None or space.meta != c.d1 >> 28:
                    self.differ("%s says that it is mapped in a space that is not there", self.called(c))
                elif c.type != "pagetable":
                    mapped[space.obj, c.d0].append(c)
        shown = {(space, leaf.address): leaf for space, leaves in self.dump.leaves.items() for leaf in leaves}
        root = next(c for c in self.dump.caps if c.type == "vspace" and c.slot == self.dump.root.obj + C["SLOT_VSPACE"] * SLOT_BYTES)
        for (space, address), caps in mapped.items():
            leaf = shown.get((space, address))
            for c in caps:
                if leaf is None or leaf.entry & PTE_ADDRESS != c.obj or len(caps) > 1:
                    self.differ("%s is mapped at %x of space %x by its capability, not by the table", self.called(c), address, space)
                elif leaf.entry & PTE_W and not c.rights & WRITE:
                    self.differ("%s is writable at %x of space %x, its capability has rights %x", self.called(c), address, space, c.rights)
        for (space, address), leaf in shown.items():
            if spaces.get(space, root).type == "vspace" and space != root.obj and not mapped[space, address]:
                self.differ("address %x of space %x: %x without a capability", address, space, leaf.entry & PTE_ADDRESS)
        for obj, c in spaces.items():
            if c.type == "vspace" and obj not in self.dump.leaves:
                self.differ("%s in slot %x was not shown", self.called(c), c.slot)

    def check_rest(self):
        """Every other capability is init's and in no slot of an object, and no CNode is nobody's."""
        ends = sorted((obj, obj + size(c), who) for obj, (who, c) in self.cnodes.items())
        for c in self.dump.caps:
            if c.type == "cnode" and c.flags & ORIGINAL and c.obj not in self.cnodes:
                self.differ("%s in slot %x: a CNode that nobody is described to have", self.called(c), c.slot)
            if c.holder or c.slot in self.explained:
                continue
            who = next((w for a, b, w in ends if a <= c.slot < b), None)
            if who != "init":
                self.differ("%s in slot %x of %s: described nothing", self.called(c), c.slot, who or "no CNode")
        for s in (s for slots in self.by_holder.values() for s in slots):
            if s.holder != C["OBJ_IRQ"] and s.slot not in self.explained:
                self.differ("%s is bound in slot %x, described nothing", self.called(s), s.slot)

    def check_objects(self):
        """No two objects share memory, and nobody but init has what is derived with more than its parent."""
        spans = sorted((c.obj, c.obj + size(c), c) for c in self.dump.caps if c.flags & ORIGINAL and c.type != "untyped" and size(c))
        for (_, end, a), (begin, _, b) in zip(spans, spans[1:]):
            if begin < end:
                self.differ("%s and %s share memory", self.called(a), self.called(b))
        for c in self.dump.caps:
            parent = self.dump.at.get(c.parent)
            if parent and c.type == parent.type != "untyped" and c.rights & ~parent.rights:
                self.differ("%s in slot %x has rights %x, what it is derived from %x", self.called(c), c.slot, c.rights, parent.rights)

    def run(self):
        self.name_objects()
        self.name_rest()
        for p in self.dump.processes:
            self.check_cnode(p)
            self.check_thread(p)
            self.check_space(p)
        for g in self.guests.values():
            self.check_guest(g)
        self.check_sources()
        self.check_init()
        self.check_own_memory()
        self.check_memory()
        self.check_entries()
        self.check_objects()
        self.check_rest()
        return self.found


def differences(description, dump, program):
    """One line for each difference. description: the bytes of system.desc; program: module name -> path of its ELF file, or None."""
    return Checker(desc.decode(description)[1], dump, program).run()
