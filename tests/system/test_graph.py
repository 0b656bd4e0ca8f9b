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


def changed(dump, old, new):
    """The same dump with one capability or entry replaced, gone (new None) or more (old None)."""
    other = copy.copy(dump)
    if isinstance(old or new, graph.Cap):
        other.caps = [c for c in dump.caps if c is not old] + ([new] if new else [])
        other.at = {c.slot: c for c in other.caps if c.holder != graph.C["OBJ_IRQ"]}
    else:
        space, leaf = new if new else old
        other.leaves = {**dump.leaves, space: [e for e in dump.leaves[space] if not old or e is not old[1]] + ([leaf] if new else [])}
    return other


def capability_changes(dump, p):
    """(what must be named, dump) of every change to a slot of p's CNode: a right more, another object, another badge, one more, none."""
    cnode = dump.cptr(p.cnode)
    place = lambda i: cnode.obj + i * graph.SLOT_BYTES
    for i in range(1, 1 << cnode.bits):
        c = dump.at.get(place(i))
        if c is None:
            vcpu = next(c for c in dump.caps if c.type == "vcpu")
            yield i, changed(dump, None, vcpu._replace(slot=place(i), flags=0, parent=vcpu.slot))
            continue
        if c.type in ("pagetable", "range"):    # made by itself, of its own memory
            continue
        if c.type not in graph.MOVED:
            yield i, changed(dump, c, c._replace(rights=c.rights ^ 4))
            other = next(o for o in dump.caps if o.type == "tcb" and o.obj != c.obj)
            yield i, changed(dump, c, c._replace(type=other.type, obj=other.obj))
            same = next((o for o in dump.caps if o.type == c.type and o.obj != c.obj), None)
            if same:
                yield i, changed(dump, c, c._replace(obj=same.obj, parent=same.parent))
        if c.type in ("endpoint", "notification"):
            yield i, changed(dump, c, c._replace(d0=c.d0 ^ 1))
            yield i, changed(dump, c, c._replace(flags=c.flags ^ graph.BADGED))
        yield i, changed(dump, c, None)


def test_a_slot_that_is_otherwise_is_found_and_named(found):
    """On the host, so that nothing is taken for equal unseen: slots of each component, changed in every way."""
    dump, tried = found.dumps[found.events["started"] - 1], 0
    for p in dump.processes:
        if p.name == "memmgr" or (p.name.startswith("vmm") and not p.now):
            continue
        for slot, other in itertools.islice(capability_changes(dump, p), 0, 60, 3):
            said = graph.differences(found.description, other, program)
            assert any(text.startswith("%s slot %d: " % (p.name, slot)) for text in said), (p.name, slot, said)
            tried += 1
    assert tried > 60


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
    tcbs = {dump.cptr(p.tcb).obj for p in dump.processes}
    for c in [c for c in dump.caps if c.holder]:
        if c.holder == graph.C["OBJ_TCB"] and not any(t <= c.slot < t + 2048 for t in tcbs):
            continue    # init's own thread
        if c.holder == graph.C["OBJ_TIMER"] and not any(c.d0 == r.fields["badge"] for r in graph.desc.decode(found.description)[1] if r.op == "TIMER"):
            continue    # init's own timers
        others = [o for o in dump.caps if o.type == c.type and o.obj != c.obj and o.flags & graph.ORIGINAL]
        other = others and next((o for o in others if not o.parent), others[0])     # of scheduling contexts it may be on several: init's
        if other:
            assert graph.differences(found.description, changed(dump, c, c._replace(obj=other.obj)), program), c
    hidden = next(c for c in dump.caps if c.type == "cnode" and c.flags & graph.ORIGINAL)
    assert graph.differences(found.description, changed(dump, None, hidden._replace(slot=dump.root.obj + 16000 * 64, obj=1 << 40)), program)
