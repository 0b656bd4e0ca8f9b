# SPDX-License-Identifier: BSD-2-Clause
"""The capabilities that there are, by the kernel's own tables, are those that the description names: of every component, with rights, badges,
bindings and mappings, after the start and whenever a component came or went. Dumps: servers/init/graph.c; comparison: tools/umbra/graph.py."""
import argparse
import copy
import dataclasses
import itertools

import pytest
from test_create import Places
from test_ctl import NEEDED, OPTIONS, TICKER
from umbra import control, graph, images, layout, machine, qemu, system

pytestmark = pytest.mark.needs(*NEEDED)
MB = 1 << 20


@dataclasses.dataclass
class Found:
    """What one run showed: the dumps, and how many there were at each event."""
    dumps: list
    description: bytes
    events: dict


def program(name):
    path = layout.ROOT / layout.server_output("debug", name)
    return path if path.is_file() else None


def settle(run, guest):
    """Its VMM's successor waits: nothing is built any more."""
    run.until(lambda: run.called(guest)["successor"], "successor of " + guest)
    run.until(lambda: run.log().endswith("\n") and run.log().count("graph begin") == run.log().count("graph end"), "end of a dump")


@pytest.fixture(scope="module")
def found(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("graph")
    guests = [images.Guest("g%d" % n, layout.ROOT / TICKER, None, "", 4 * MB) for n in range(2)]
    log, path = folder / "kernel.log", folder / control.SOCKET
    options = argparse.Namespace(**{**vars(OPTIONS), "set": [], "pool": 8 * MB, "pool_guests": 1, "module": []})
    config = qemu.Config(kernel=layout.kernel_output("debug"), name="graph", modules=system.modules(options, guests),
                         cmdline=system.CMDLINE + " graph", memory=system.machine_memory(guests, options),
                         serials=("socket", str(log)), control=str(path))
    description = (system.folder() / "system/system.desc").read_bytes()
    with machine.start(config) as booted:
        run, events = Places(booted, 3, path, log), {}

        def event(name, *guests_):
            for guest in guests_:
                settle(run, guest)
            run.until(lambda: len(graph.dumps(run.log())) > max(events.values(), default=0), "dump after " + name)
            events[name] = len(graph.dumps(run.log()))
        run.more(2)
        run.more(2, 1)
        run.connect()
        event("started", "vmm0", "vmm1")
        for command in ("kill-vmm", "restart-vmm"):
            run.ask(command)
            run.until(lambda: run.guest()["restarts"] == len(events), command)
            event(command, "vmm0", "vmm1")
        for name in ("console", "memmgr"):
            run.channel.ask("restart-server", server=name)
            run.more(3)
            event(name, "vmm0", "vmm1")
        run.create("new", mem=4 * MB)
        run.begun(2)
        event("created", "vmm0", "vmm1", "new")
        run.destroy("new", 2)
        event("destroyed", "vmm0", "vmm1")
        run.create("other", mem=8 * MB)
        run.begun(2)
        event("created again", "vmm0", "vmm1", "other")
        return Found(graph.dumps(run.log()), description, events)


def check(found, dumps):
    for number, dump in dumps:
        assert graph.differences(found.description, dump, program) == [], "dump %d of %s" % (number, found.events)


def test_the_capabilities_of_a_started_system_are_those_of_its_description(found):
    first = found.events["started"]
    assert first >= 1
    check(found, list(enumerate(found.dumps))[:first])
    last = found.dumps[first - 1]
    assert {p.name for p in last.processes} >= {"vmm0", "vmm1", "memmgr", "console", "control"}
    assert sum(p.name == "vmm0" for p in last.processes) == 2     # one serves, one waits
    assert len(last.caps) > 500 and sum(map(len, last.leaves.values())) > 2 * 1000


def test_they_are_so_after_restarts_and_when_guests_come_and_go(found):
    first = found.events["started"]
    assert sorted(set(found.events.values())) == list(found.events.values())       # a dump after each
    check(found, list(enumerate(found.dumps))[first:])
    assert any(p.name == "other" for p in found.dumps[-1].processes)
    assert {p.name for p in found.dumps[found.events["destroyed"] - 1].processes} == {p.name for p in found.dumps[0].processes}


def with_caps(dump, gone, more):
    """The same dump without some capabilities and with others."""
    other, slots = copy.copy(dump), {(c.holder, c.slot) for c in gone}
    other.caps = [c for c in dump.caps if (c.holder, c.slot) not in slots] + list(more)
    other.at = {c.slot: c for c in other.caps if c.holder != graph.C["OBJ_IRQ"]}
    return other


def changed(dump, old, new):
    """The same dump with one capability or entry replaced, gone (new None) or more (old None)."""
    if isinstance(old or new, graph.Cap):
        other = with_caps(dump, [old] if old else [], [new] if new else [])
    else:
        other = copy.copy(dump)
        space, leaf = new if new else old
        other.leaves = {**dump.leaves, space: [e for e in dump.leaves[space] if not old or e is not old[1]] + ([leaf] if new else [])}
    return other


def described_slots(found, p):
    """The first and the last slot of each record of p's capabilities, and the first that none has."""
    rows = [(r.fields["slot"], r.fields["count"]) for r in graph.desc.decode(found.description)[1] if r.op == "CAP" and r.component == p.index]
    taken = {first + i for first, count in rows for i in range(count)}
    return sorted({i for first, count in rows for i in (first, first + count - 1)} | {min(set(range(1, len(taken) + 2)) - taken)})


def capability_changes(dump, p, slots):
    """(slot, dump) of every change to these slots of p's CNode: a right more, another object, another badge, one more, none."""
    cnode = dump.cptr(p.cnode)
    place = lambda i: cnode.obj + i * graph.SLOT_BYTES
    for i in slots:
        c = dump.at.get(place(i))
        if c is None:
            vcpu = next(c for c in dump.caps if c.type == "vcpu")
            yield i, changed(dump, None, vcpu._replace(slot=place(i), flags=0, parent=vcpu.slot))
            continue
        yield i, changed(dump, c, c._replace(rights=c.rights ^ 4))
        other = next(o for o in dump.caps if o.type == "tcb" and o.obj != c.obj)
        yield i, changed(dump, c, c._replace(type=other.type, obj=other.obj))
        same = next((o for o in dump.caps if o.type == c.type and o.obj != c.obj), None)
        if same and c.type not in graph.MOVED:      # which it was is seen when it has another name, too
            yield i, changed(dump, c, c._replace(obj=same.obj, parent=same.parent))
        if c.type in ("endpoint", "notification"):
            yield i, changed(dump, c, c._replace(d0=c.d0 ^ 1))
            yield i, changed(dump, c, c._replace(flags=c.flags ^ graph.BADGED))
        yield i, changed(dump, c, None)


def test_a_slot_that_is_otherwise_is_found_and_named(found):
    """On the host, so that nothing is taken for equal unseen: slots of each process, also those that wait, changed in every way."""
    dump, tried = found.dumps[found.events["started"] - 1], 0
    for p in dump.processes:
        for slot, other in capability_changes(dump, p, described_slots(found, p)):
            said = graph.differences(found.description, other, program)
            assert any(text.startswith("%s slot %d: " % (p.name, slot)) for text in said), (p.name, p.which, slot, said)
            tried += 1
    assert tried > 300


def test_an_entry_that_is_otherwise_is_found_and_named(found):
    dump = found.dumps[found.events["started"] - 1]
    for p in (p for p in dump.processes if p.name in ("vmm1", "console") and p.now):
        space = dump.cptr(p.vspace).obj
        own = {leaf.entry & graph.PTE_ADDRESS for leaf in dump.leaves[space]}
        foreign = next(c for c in dump.caps if c.type == "frame" and c.flags & graph.ORIGINAL and c.bits == 12 and c.obj not in own)
        for leaf in dump.leaves[space][:4] + dump.leaves[space][-60::6]:
            for new in (leaf._replace(entry=leaf.entry ^ graph.PTE_W), None,
                        leaf._replace(entry=leaf.entry & ~graph.PTE_ADDRESS | foreign.obj)):
                said = graph.differences(found.description, changed(dump, (space, leaf), new and (space, new)), program)
                assert any(text.startswith(p.name + " address ") for text in said), (leaf, new, said)
        more = graph.Leaf(0x500000000000, 1, foreign.obj | 0x8000000000000067)
        said = graph.differences(found.description, changed(dump, None, (space, more)), program)
        assert any(text.startswith("%s address %x: " % (p.name, more.address)) for text in said), said


def test_guest_memory_that_another_guest_has_is_found(found):
    dump = found.dumps[found.events["started"] - 1]
    spaces = sorted(c.obj for c in dump.caps if c.type == "guestspace" and c.flags & graph.ORIGINAL and dump.leaves.get(c.obj))
    first, second = (dump.leaves[s] for s in spaces[:2])
    for mine, other in ((first[0], second[0]), (first[-1], second[-1]), (first[0], second[-1])):
        bytes_ = graph.PAGE << 9 * (mine.level - 1)
        for within in {0, bytes_ - graph.PAGE}:
            frame = (mine.entry & graph.PTE_ADDRESS) + within
            new = graph.Leaf(other.address, 1, other.entry & ~graph.PTE_ADDRESS | frame)
            said = graph.differences(found.description, changed(dump, (spaces[1], other), (spaces[1], new)), program)
            assert any("frame %x is " % frame in text or "frame %x is " % (frame - within) in text for text in said), said


def test_a_binding_or_a_cnode_that_is_otherwise_is_found(found):
    dump = found.dumps[found.events["started"] - 1]
    for c in [c for c in dump.caps if c.holder]:
        others = [o for o in dump.caps if o.type == c.type and o.obj != c.obj and o.flags & graph.ORIGINAL]
        other = others and next((o for o in others if not o.parent), others[0])     # of scheduling contexts it may be on several: init's
        if other:
            assert graph.differences(found.description, changed(dump, c, c._replace(obj=other.obj)), program), c
    hidden = next(c for c in dump.caps if c.type == "cnode" and c.flags & graph.ORIGINAL)
    assert graph.differences(found.description, changed(dump, None, hidden._replace(slot=dump.root.obj + 16000 * 64, obj=1 << 40)), program)


class Shown:
    """The dump of the started system, and what it has by the names that init has for it."""

    def __init__(self, found):
        self.dump, self.description = found.dumps[found.events["started"] - 1], found.description
        self.groups = {r.fields["name"]: r.fields["group"] for r in graph.desc.decode(found.description)[1] if r.op == "OBJECTS"}
        self.index = {r.fields["name"]: r.component for r in graph.desc.decode(found.description)[1] if r.op == "COMPONENT"}

    def process(self, name):
        return next(p for p in self.dump.processes if p.name == name and p.now)

    def of(self, name, what):
        return self.dump.cptr(getattr(self.process(name), what))

    def group(self, name):
        return self.dump.cptr(self.dump.groups[self.groups[name]][0])

    def frame(self, p, address):
        """The capability that maps this address of a process."""
        space = self.dump.cptr(p.vspace)
        return next(c for c in self.dump.caps if c.type == "frame" and c.d0 == address and c.d1 == space.meta << 28 | space.obj // graph.PAGE)

    def renamed(self, dump, names):
        """names: process -> what init says of it instead."""
        other = copy.copy(dump)
        other.processes = [p._replace(**names.get(p, {})) for p in dump.processes]
        return other

    def finds(self, dump, *texts):
        said = graph.differences(self.description, dump, program)
        return any(all(text in line for text in texts) for line in said) if texts else said == []


def stray(dump, kind, bound=(), meta=0):
    """The same dump with one object more in init's CNode, and what it is bound to."""
    like = next(c for c in dump.caps if c.type == kind and c.flags & graph.ORIGINAL)
    mine = like._replace(slot=dump.root.obj + 16000 * graph.SLOT_BYTES, obj=1 << 40, meta=meta)
    rights, holder = graph.WRITE if kind == "timer" else graph.ALL, graph.C["OBJ_" + kind.upper()]
    return with_caps(dump, [], [mine] + [c._replace(slot=mine.obj + (1 + i) * graph.SLOT_BYTES, parent=c.slot, flags=0, rights=c.rights & rights,
                                                    holder=holder) for i, c in enumerate(bound)])


def test_an_object_without_a_name_that_binds_something_is_found(found):
    shown = Shown(found)
    dump, of, group = shown.dump, shown.of, shown.group
    thread, *own = (dump.cptr(slot) for slot in graph.OWN.values())
    signal = next(c for c in dump.caps if c.holder and c.type == "notification" and thread.obj <= c.slot < thread.obj + graph.size(thread))
    for kind, bound in (("tcb", (of("vmm0", "cnode"), of("vmm1", "vspace"))), ("tcb", own), ("tcb", ())):
        assert shown.finds(stray(dump, kind, bound), "tcb 10000000000 in slot", "a thread that nobody is described to have")
    for kind, bound in (("vm", "vmm0.vm.guestspace"), ("vcpu", "vmm0.vm.vm"), ("vcpu", "vmm1.events")):
        assert shown.finds(stray(dump, kind, [group(bound)]), "(%s) is bound in slot 10000000040" % bound)
    assert shown.finds(stray(dump, "timer", [group("vmm1.events")]), "timer 10000000000 in slot", "(vmm1.events)")
    assert shown.finds(stray(dump, "shadow", meta=group("vmm0.vm.vm").obj), "shadow 10000000000 in slot", "bound to VM")
    signals = [c for c in dump.caps if c.holder and (c.type, c.obj) == ("notification", signal.obj)]      # the thread's and the timers'
    other = with_caps(dump, signals, [c._replace(obj=group("vmm1.events").obj, parent=group("vmm1.events").slot) for c in signals])
    assert shown.finds(other, "init's thread: bound is notification", "(vmm1.events)")
    for kind, bound in (("vm", ()), ("vcpu", ()), ("timer", ()), ("timer", [signal]), ("shadow", ())):
        assert shown.finds(stray(dump, kind, bound)), (kind, bound)


def mapped_as(dump, old, new):
    """The same dump, but what maps the frame of `old` maps that of `new`: by copies of this capability in the same slots."""
    gone = [c for c in dump.caps if (c.type, c.obj) == ("frame", old.obj) and (c.d1 or not c.flags & graph.ORIGINAL)]
    other = with_caps(dump, gone, [c._replace(obj=new.obj, flags=new.flags & ~graph.ORIGINAL, parent=new.slot) for c in gone])
    other.leaves = {space: [leaf._replace(entry=leaf.entry - old.obj + new.obj) if leaf.entry & graph.PTE_ADDRESS == old.obj else leaf
                            for leaf in leaves] for space, leaves in dump.leaves.items()}
    return other


def test_two_names_of_one_object_are_found(found):
    """As if init had given one what is another's, and had the names to fit."""
    shown = Shown(found)
    dump, of = shown.dump, shown.of
    first, second = shown.process("vmm0"), shown.process("vmm1")
    assert shown.finds(mapped_as(dump, of("vmm1", "info"), of("vmm0", "info")), "vmm0's information page and vmm1's information page are one")
    assert shown.finds(mapped_as(dump, of("vmm1", "info"), dump.cptr(graph.OWN["frame"])), "init's own frame and vmm1's information page are one")
    assert shown.finds(shown.renamed(dump, {second: {"slots": first.slots}}), "vmm0's capabilities in init and vmm1's capabilities in init are one")
    assert shown.finds(shown.renamed(dump, {second: {"sched": first.sched}}), "vmm0's own time and vmm1's own time are one object")
    for field, what in (("sched", "time"), ("builder", "time to build")):
        i, k = (dump.components[shown.index[name]] for name in ("vmm0", "vmm1"))
        theirs, own = (dump.cptr(getattr(c, field)) for c in (i, k))
        bound = [c for c in dump.caps if c.holder and (c.type, c.obj) == ("sched", own.obj)]
        other = with_caps(dump, bound, [c._replace(obj=theirs.obj, parent=theirs.slot) for c in bound])
        other.components = {**dump.components, k.index: k._replace(**{field: getattr(i, field)})}
        assert shown.finds(other, "vmm0's %s and vmm1's %s are one object" % (what, what))
    i, k = list(dump.modules)[-2:]
    other = mapped_as(dump, *(dump.cptr(dump.modules[m][0]) for m in (k, i)))
    other.modules = {**dump.modules, k: (*dump.modules[i][:2], dump.modules[k][2])}
    assert shown.finds(other, "boot module %d[0] and boot module %d[0] are one object" % (i, k))


def test_memory_of_one_process_that_another_has_is_found(found):
    shown = Shown(found)
    dump, quota = shown.dump, lambda p: shown.dump.cptr(p.quota)
    within = lambda r, p: graph.inside(r, quota(p).obj, graph.size(quota(p)))
    root, first, second = next((r, p, q) for r in dump.caps if r.type == "untyped" and not r.parent
                               for p, q in itertools.permutations((p for p in dump.processes if within(r, p)), 2)
                               if p.name != q.name and quota(q).obj != r.obj)
    whole = {"quota": (root.slot - dump.root.obj) // graph.SLOT_BYTES}      # what both their memories are made of
    top = graph.C["BOOT_STACK_TOP"] - graph.PAGE
    assert shown.finds(shown.renamed(dump, {first: whole}), "%s's memory" % second.name, "overlap")
    both = shown.renamed(dump, {first: whole, second: whole})
    assert shown.finds(both, "%s's memory" % first.name, "%s's memory" % second.name, "are one object")
    shared = mapped_as(both, shown.frame(second, top), shown.frame(first, top))
    assert shown.finds(shared, "%s address %x: stack" % (first.name, top), "%s address %x: stack" % (second.name, top), "is frame")
    console = shown.process("console")
    for taken in (shown.frame(console, top), shown.frame(console, graph.C["DESC_HEAP"])):      # handed out as a dataport that vmm0 may have
        other = mapped_as(dump, shown.group("vmm0.input"), taken)
        slots = dump.cptr(console.slots)
        other.groups = {**dump.groups, shown.groups["vmm0.input"]: (console.slots | ((taken.slot - slots.obj) // graph.SLOT_BYTES + 1) << 16, 0, 1)}
        assert shown.finds(other, "console address %x: " % taken.d0, "vmm0.input", "is frame %x" % taken.obj)
    vmm, heap = shown.process("vmm0"), shown.frame(shown.process("vmm0"), graph.C["DESC_HEAP"])
    assert heap.flags & graph.LARGE_FRAME
    for twice in (shown.frame(vmm, top - graph.PAGE), heap, heap._replace(obj=heap.obj + graph.PAGE)):
        assert shown.finds(mapped_as(dump, shown.frame(vmm, top), twice), "vmm0 address %x: stack" % top, "is frame")
    upgraded = shown.renamed(dump, {vmm: {"other_image": 1}})
    assert shown.finds(upgraded)
    one, other = (shown.frame(vmm, leaf.address) for leaf in dump.leaves[dump.cptr(vmm.vspace).obj][:2])
    assert shown.finds(mapped_as(upgraded, one, other), "vmm0 address %x: image" % one.d0, "vmm0 address %x: image" % other.d0, "is frame")
