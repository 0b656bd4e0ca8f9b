# SPDX-License-Identifier: BSD-2-Clause
"""Whether what a debug kernel really did with shadow tables, epochs and ASIDs is what the model of them lets it (tests/verify/epoch.pml).

tests/verify/epoch_trace.py writes a line for each step; here they are run again by the model's rules, from the steps alone: tables are what
was written into them, not what the kernel says that they are. tests/verify/epoch.steps says where each step stands in the model.
Addresses, epochs and ASIDs are numbers; a table, VM or guest space is its address.
"""
import collections
import dataclasses

from umbra import layout, models

STEPS = "tests/verify/epoch.steps"
STEP_NAMES = ("set up", "link", "fill", "downgrade", "clear", "table ends", "taken", "epoch", "flush", "new ASID", "same ASID")
PRESENT, WRITABLE, USER, DIRTY, LARGE, NO_EXECUTE = 1, 2, 4, 1 << 6, 1 << 7, 1 << 63
ADDRESS = 0x000ffffffffff000
ACCESSED_DIRTY = 0x60       # the processor sets them by itself
PAE_FORMAT, PAE_TOP, TOP = 1, 2, 4
EMPTY_ALL = 1               # TLB_CONTROL


@dataclasses.dataclass
class Table:
    vm: int
    space: int
    format: int
    level: int
    epoch: int
    used: bool = False
    entries: dict = dataclasses.field(default_factory=dict)
    links: int = 0


@dataclasses.dataclass
class Space:
    epoch: int = 0          # the last that was seen; 0: none yet
    over: bool = False      # another one has begun, which is not seen yet
    taken: bool = False     # memory was, and no epoch has begun since
    vms: set = dataclasses.field(default_factory=set)


def table_of():
    """step -> (model, texts)"""
    rows = [line.split("|") for line in (layout.ROOT / STEPS).read_text().splitlines() if line and not line.startswith("#")]
    return {name.strip(): (model.strip(), [t.strip() for t in texts.split(" ;; ")]) for name, model, texts in rows}


def strangers(steps):
    """What the table has and the model or this module has not, or the other way round, one line each."""
    lines = ["epochs.py knows no step %s" % s for s in sorted(set(steps) - set(STEP_NAMES))]
    lines += ["%s has no step %s" % (STEPS, s) for s in sorted(set(STEP_NAMES) - set(steps))]
    for name, (model, texts) in steps.items():
        word = models.in_order(models.source(model[:-len(".pml")]).read_text(), texts)
        lines += ["%s: '%s' does not stand where %s has it" % (model, word, name)] if word else []
    return lines


def parse(text):
    return [(name, *(int(x, 16) for x in rest)) for name, *rest in map(str.split, text.splitlines())]


def loses(old, new):
    return bool(old & PRESENT and ((old ^ new) & (ADDRESS | LARGE) or old & ~new & (PRESENT | WRITABLE | USER | DIRTY) or
                                   new & ~old & NO_EXECUTE))


class Replay:
    """breaches: what no run of the model has, one line each. seen: how often there was each step."""

    def __init__(self):
        self.tables, self.spaces, self.asids = {}, collections.defaultdict(Space), {}
        self.losses, self.left = collections.Counter(), set()
        self.owner = {}         # epoch -> guest space
        self.beginning = None   # the guest space whose epoch begins: its windows are to be flushed next
        self.seen, self.breaches, self.line = collections.Counter(), [], 0

    def run(self, events):
        for self.line, (name, *values) in enumerate(events, 1):
            if self.beginning is not None and name not in ("flush", "taken"):
                self.wrong("an epoch begins and windows are not flushed")
            getattr(self, name)(*values)
        return self

    def wrong(self, text):
        self.breaches.append("step %d: %s" % (self.line, text))

    def is_epoch(self, space, epoch):
        """What the kernel says is its epoch now. A newer one that nobody began is of another guest space in its place: whose memory went,
        and that no VM has any more."""
        s = self.spaces[space]
        if epoch > s.epoch and (s.over or not s.epoch or s.taken and s.vms <= self.left):
            s = self.spaces[space] = Space(epoch, vms=s.vms if s.over else set())
            if self.owner.setdefault(epoch, space) != space:
                self.wrong("epoch %d is another guest space's" % epoch)
        if s.over or s.epoch != epoch:
            self.wrong("epoch %d, where %d %s" % (epoch, s.epoch, "is over" if s.over else "is the last that began"))

    def belongs(self, vm, space):
        self.left.discard(vm)
        self.spaces[space].vms.add(vm)

    # --- tables ---

    def lose(self, vm, step):
        self.losses[vm] += 1
        self.seen[step] += 1

    def begun(self, table, vm, space, form, level, stamp):
        self.is_epoch(space, stamp)
        self.belongs(vm, space)
        old = self.tables.get(table)
        if old and old.epoch == stamp and old.vm == vm:
            if old.links:
                self.wrong("a table that is linked is set up anew")
            self.empty(old)
            self.lose(vm, "clear") if old.used else None
        self.tables[table] = Table(vm, space, form, level, stamp)
        self.seen["set up"] += 1

    def current(self, table, what):
        t = self.tables.get(table)
        if t is None:
            self.wrong("%s in a table that was never set up" % what)
        elif self.spaces[t.space].over or t.epoch != self.spaces[t.space].epoch:
            self.wrong("%s in a table of another epoch" % what)
            t = None
        return t

    def is_link(self, t, entry):
        return entry & PRESENT and t.level > 1 and not entry & LARGE

    def change(self, table, index, old, new):
        t = self.current(table, "an entry")
        if t is None:
            return
        if (t.entries.get(index, 0) ^ old) & ~ACCESSED_DIRTY:
            self.wrong("entry %d was changed by no step" % index)
        if self.is_link(t, old):
            self.linked(old & ADDRESS, -1)
        if loses(old, new):
            self.lose(t.vm, "downgrade")
        if self.is_link(t, new):
            self.link(t, new & ADDRESS)
        elif new & PRESENT and not old & PRESENT:
            self.seen["fill"] += 1
        t.entries[index] = new

    def linked(self, child, count):
        if child in self.tables:
            self.tables[child].links += count

    def link(self, parent, child):
        c = self.current(child, "a link to what is")
        if c is None:
            return
        if (c.vm, c.format, c.level) != (parent.vm, parent.format, parent.level - 1):
            self.wrong("a link to a table of another VM, format or level")
        c.used = True
        c.links += 1
        self.seen["link"] += 1

    def empty(self, t):
        for entry in t.entries.values():
            if self.is_link(t, entry):
                self.linked(entry & ADDRESS, -1)
        t.entries = {}

    def cleared(self, table):
        t = self.current(table, "clearing is")
        if t is None:
            return
        if any(entry & PRESENT for entry in t.entries.values()):
            self.lose(t.vm, "clear")
        self.empty(t)

    def ended(self, table, _stamp):
        t = self.tables.pop(table, None)
        if t is None:
            return
        s = self.spaces[t.space]
        if t.used and t.epoch == s.epoch and not s.over and t.vm not in self.left:
            self.wrong("a table in use ends, and its epoch does not")
        self.seen["table ends"] += 1

    # --- guest memory ---

    def taken(self, space):
        if space != self.beginning:
            self.spaces[space].taken = True
            self.seen["taken"] += 1

    def bump(self, space, epoch):
        self.is_epoch(space, epoch)
        self.spaces[space] = Space(epoch, over=True, vms=self.spaces[space].vms)
        self.beginning = space
        self.seen["epoch"] += 1

    def flush(self):
        if self.beginning is not None:
            self.seen["flush"] += 1
        self.beginning = None

    def leave(self, vm):
        """It has no guest space any more; no step of the model."""
        self.left.add(vm)
        self.seen["leave"] += 1

    # --- the guest is entered ---

    def enter(self, vcpu, vm, space, epoch, root_epoch, form, asid, control, saw, downgrades, *root):
        self.is_epoch(space, epoch)
        self.belongs(vm, space)
        if self.spaces[space].taken:
            self.wrong("a guest is entered, and the epoch goes on in which memory was taken")
        if root_epoch != epoch:
            self.wrong("a guest is entered on a root of epoch %d in %d" % (root_epoch, epoch))
        if saw != downgrades:
            self.wrong("a guest is entered that owes a flush")
        for table in filter(None, root):
            self.root(vm, table)
        self.tagged((vcpu, vm, epoch, form), root, asid, control)

    def root(self, vm, table):
        t = self.current(table, "a root is")
        if t is None:
            return
        if t.vm != vm or t.level != (PAE_TOP if t.format == PAE_FORMAT else TOP):
            self.wrong("a root of another VM or level")
        t.used = True

    def tagged(self, owner, root, asid, control):
        if control == EMPTY_ALL:
            self.asids = {}
        if asid == 0:
            self.wrong("a guest is entered with the host's ASID")
        losses = self.losses[owner[1]]
        known = self.asids.get(asid)
        if known is None:
            self.seen["new ASID"] += 1
        else:
            self.seen["same ASID"] += 1
            if known[0] != owner or any(o not in (0, n) for o, n in zip(known[1], root)):
                self.wrong("ASID %d is another root's" % asid)
            elif known[2] != losses:
                self.wrong("ASID %d is used again, and something was taken from the tables since" % asid)
        self.asids[asid] = owner, root, losses
