# SPDX-License-Identifier: BSD-2-Clause
"""The checker, part three: an assembly. Connections, settings, hardware, memory, deadlock and isolation are
checked here, before anything boots. The result is a System, which describe.py turns into records."""
from dataclasses import dataclass, field
from typing import Any

from . import ast
from .cheader import constants
from .check_component import COMMAND_LINE, PAGE, Component, Port, attribute_value, number
from .expr import evaluate
from .types import Bool, String

C = constants()
# What the kernel, its frame table, init with its image and the boot modules' bookkeeping may take (chosen).
MEMORY_RESERVE = 24 << 20
MEMORY_DEFAULT = 1 << 30
GUEST_PAGES_MAX = 1 << 24
SHADOW_TABLES = (256, 8192)  # the default, a table for each 16 pages of guest memory, lies between
SCRUB_TABLES = 2  # of a manager's own guest space
VALUES = ("heap", "stack", "priority")
GUEST_KEYS = ("memory", "shadow_tables", "paging", "kernel", "initrd", "command_line", "autostart", "spare")


@dataclass(eq=False)
class Guest:
    pages: int = 0
    shadow_tables: int = 0
    paging: int = 0
    kernel: str = ""
    initrd: str = ""
    command_line: str = ""
    autostart: bool = True
    spare: bool = False  # a place for guests that are created at run time, of at most so many pages


@dataclass(eq=False)
class Instance:
    name: str
    index: int  # -1: builtin
    component: Component
    decl: Any
    heap: int = 0
    stack: int = 0
    priority: int = 0
    budget: int = 0
    period: int = 0
    attributes: dict = field(default_factory=dict)
    irqs: dict = field(default_factory=dict)
    ioports: dict = field(default_factory=dict)
    pieces: dict = field(default_factory=dict)
    spare_pages: int = 0  # of a manager: what its spare guests may have together
    guest: Guest | None = None
    ends: dict = field(default_factory=dict)     # (port name, index or None) -> Connection
    clients: dict = field(default_factory=dict)  # provided port name -> list of Connection

    @property
    def order(self):
        """A badge's and record's number of this instance."""
        return C["DESC_SYSTEM"] if self.index < 0 else self.index


@dataclass(eq=False)
class Connection:
    kind: str  # call, event, dataport
    source: Instance
    source_port: Port
    source_index: int | None
    target: Instance
    target_port: Port
    target_index: int | None
    decl: Any
    client: int = 0  # number among the clients of the target port

    def text(self, side):
        instance, port, index = ((self.source, self.source_port, self.source_index) if side == "source" else
                                 (self.target, self.target_port, self.target_index))
        return f"{instance.name}.{port.name}" + ("" if index is None else f"[{index}]")


@dataclass(eq=False)
class System:
    name: str
    decl: Any
    doc: str
    memory: int = MEMORY_DEFAULT
    needs: int = 0
    instances: dict = field(default_factory=dict)
    connections: list = field(default_factory=list)

    @property
    def components(self):
        return [i for i in self.instances.values() if i.index >= 0]


class SystemChecker:
    def __init__(self, ctx, decl, settings, memory):
        self.ctx, self.report, self.decl = ctx, ctx.report, decl
        self.scope = ctx.model.scope
        self.system = System(decl.name, decl, decl.doc)
        self.settings = [i for i in decl.items if isinstance(i, ast.Setting)] + settings
        self.memory = memory
        self.mentioned = set()  # ends in connections, wrong ones too: they are not reported again as missing

    # -- instances and settings ----------------------------------------------------------------------------

    def instances(self):
        seen = {}
        for item in (i for i in self.decl.items if isinstance(i, ast.Instance)):
            component = self.ctx.model.components.get(item.component)
            if component is None:
                self.report.error(item.pos, "E014", f"there is no component '{item.component}'",
                                  "one of " + ", ".join(self.ctx.model.components))
                continue
            if not self.ctx.unique(seen, item, "instance"):
                continue
            if len(item.name) > C["DESC_NAME_MAX"]:
                self.report.error(item.pos, "E051", f"a name of {len(item.name)} characters",
                                  f"at most {C['DESC_NAME_MAX']}")
            index = -1 if component.builtin else len(self.system.components)
            i = Instance(item.name, index, component, item, component.heap, component.stack,
                         component.priority, component.budget, component.period)
            i.guest = Guest() if component.guest else None
            self.system.instances[item.name] = i
        if len(self.system.components) > C["DESC_COMPONENTS_MAX"]:
            self.report.error(self.decl.pos, "E077", f"{len(self.system.components)} components",
                              f"at most {C['DESC_COMPONENTS_MAX']}")

    def find_instance(self, name, pos):
        found = self.system.instances.get(name)
        if found is None:
            self.report.error(pos, "E016", f"there is no instance '{name}'",
                              "one of " + (", ".join(self.system.instances) or "none declared"))
        return found

    def apply_settings(self):
        last = {}
        for s in self.settings:
            last[s.path] = s  # a later setting replaces an earlier one (command line)
        for s in last.values():
            i = self.find_instance(s.path[0], s.pos)
            if i is not None:
                self.setting(i, s)

    def setting(self, i, s):
        c, key = i.component, s.path[1]
        attribute = next((f for f in c.config if f.name == key and not f.derived), None)
        resource = c.resources.get(key)
        if len(s.path) == 2 and attribute:
            value = attribute_value(self.ctx, attribute.type, s.value, key)
            if value is not None:
                i.attributes[key] = value
        elif len(s.path) == 2 and resource and resource.kind in ("irq", "ioport", "untyped"):
            getattr(self, "set_" + resource.kind)(i, resource, s)
        elif len(s.path) == 2 and key in VALUES + ("budget", "period") and not c.builtin:
            high = {"heap": 1 << 40, "stack": 1 << 30, "priority": 255}.get(key, 10**9)
            value = self.integer(s.value, key, 0 if key in ("heap", "priority") else 1, high)
            if value is not None:
                setattr(i, key, -(-value // PAGE) * PAGE if key in ("heap", "stack") else value)
        elif len(s.path) == 3 and resource and resource.kind == "guest":
            self.set_guest(i, s)
        elif len(s.path) == 3 and resource and resource.kind == "manages" and s.path[2] == "spare":
            value = self.integer(s.value, "spare", PAGE, GUEST_PAGES_MAX * PAGE)
            i.spare_pages = -(-value // PAGE) if value else 0
        else:
            self.report.error(s.pos, "E018", f"'{'.'.join(s.path)}' cannot be set",
                              f"{i.name}. and one of " + ", ".join(self.settable(c)))

    @staticmethod
    def settable(c):
        names = [f.name for f in c.config if not f.derived]
        names += [r.name for r in c.resources.values() if r.kind in ("irq", "ioport", "untyped")]
        names += [f"{c.guest.name}.{k}" for k in GUEST_KEYS] if c.guest else []
        names += [f"{r.name}.spare" for r in c.of_kind("manages")]
        return names + list(VALUES) + ["budget", "period"]

    def integer(self, value, name, low, high):
        """A setting's number, or None after E071."""
        n = None
        if isinstance(value, (ast.Number, ast.Ref, ast.Unary, ast.Binary)):
            n = evaluate(value, self.scope, self.report)
            if n is None:
                return None
        if n is None or isinstance(n, bool) or not low <= n <= high:
            self.report.error(value.pos, "E071", f"'{name}' cannot have this value",
                              f"a number from {low} to {high}")
            return None
        return n

    def set_irq(self, i, r, s):
        line = evaluate(s.value.line, self.scope, self.report) if isinstance(s.value, ast.IrqValue) else -1
        if line is None or not 0 <= line <= 15:
            self.report.error(s.value.pos, "E070", f"'{r.name}' cannot have this value", "irq 0 to irq 15")
        else:
            i.irqs[r.name] = line

    def set_ioport(self, i, r, s):
        ports = (-1, -1)
        if isinstance(s.value, ast.IoportValue):
            ports = tuple(evaluate(e, self.scope, self.report) for e in (s.value.first, s.value.last))
        if None in ports or not 0 <= ports[0] <= ports[1] <= 0xffff:
            self.report.error(s.value.pos, "E070", f"'{r.name}' cannot have this value",
                              "ioport FIRST..LAST within 0..0xffff")
        else:
            i.ioports[r.name] = ports

    def set_untyped(self, i, r, s):
        value = self.integer(s.value, r.name, 1, r.count * r.bytes)
        if value is not None:
            i.pieces[r.name] = -(-value // r.bytes)

    def set_guest(self, i, s):
        key, g = s.path[2], i.guest
        if s.path[1] != i.component.guest.name or key not in GUEST_KEYS:
            self.report.error(s.pos, "E018", f"'{'.'.join(s.path)}' cannot be set",
                              f"{i.name}.{i.component.guest.name}. and one of " + ", ".join(GUEST_KEYS))
        elif key == "memory":
            value = self.integer(s.value, key, PAGE, GUEST_PAGES_MAX * PAGE)
            g.pages = -(-value // PAGE) if value else 1
        elif key == "shadow_tables":
            room = (1 << C["CNODE_BITS_MAX"]) - i.component.first_shadow
            g.shadow_tables = self.integer(s.value, key, 1, room) or 1
        elif key == "command_line":
            value = attribute_value(self.ctx, String(COMMAND_LINE), s.value, key)
            g.command_line = value or ""
        elif key == "autostart":
            value = attribute_value(self.ctx, Bool(), s.value, key)
            g.autostart = value is not False
        elif key == "spare":
            g.spare = attribute_value(self.ctx, Bool(), s.value, key) is True
        elif key == "paging":
            value = attribute_value(self.ctx, String(8), s.value, key)
            if value is not None and value not in ("shadow", "nested"):
                self.report.error(s.value.pos, "E071", f"paging '{value}'", '"shadow" or "nested"')
            g.paging = int(value == "nested")
        elif not isinstance(s.value, ast.ModuleValue) or not 1 <= len(s.value.name) <= C["DESC_NAME_MAX"]:
            self.report.error(s.value.pos, "E071", f"'{key}' cannot have this value",
                              f'module "NAME" of at most {C["DESC_NAME_MAX"]} characters')
        else:
            setattr(g, key, s.value.name)

    def complete_settings(self):
        for i in self.system.components:
            c, pos = i.component, i.decl.pos
            for f in c.config:
                if not f.derived and f.name not in i.attributes:
                    if f.decl.value is None:
                        self.report.error(pos, "E072", f"'{i.name}.{f.name}' has no value",
                                          f"a setting of type {f.type}")
                    i.attributes[f.name] = f.default
            for r in c.resources.values():
                wanted = {"irq": (i.irqs, "irq N"), "ioport": (i.ioports, "ioport FIRST..LAST")}.get(r.kind)
                if wanted and r.name not in wanted[0] and not self.was_set(i, r.name):
                    self.report.error(pos, "E070", f"'{i.name}.{r.name}' has no grant", wanted[1])
                if r.kind == "untyped" and r.name not in i.pieces and not self.was_set(i, r.name):
                    self.default_pool(i, r)
                if r.kind == "untyped" and r.name not in i.pieces and not self.was_set(i, r.name):
                    self.report.error(pos, "E072", f"'{i.name}.{r.name}' has no value", "an amount of memory")
            if i.guest and not i.guest.pages:
                self.report.error(pos, "E072", f"'{i.name}.{c.guest.name}.memory' has no value", "a size")
            if i.guest and not i.guest.shadow_tables:
                low, high = SHADOW_TABLES
                i.guest.shadow_tables = min(max(i.guest.pages // 16, low), high)
            if i.budget > i.period:
                self.report.error(pos, "E051", f"a budget of {i.budget} us in each {i.period} us",
                                  "a budget within the period")

    @staticmethod
    def managed_guests(i):
        """The guests whose memory instance i manages."""
        return [c.source.guest for r in i.component.of_kind("manages")
                for c in i.clients.get(r.port.name, []) if c.source.guest]

    def default_pool(self, i, r):
        """The untyped memory of a manager of guests that an assembly does not give: what its guests need."""
        need = self.managed_bytes(i)
        need += SCRUB_TABLES * PAGE if need else 0
        if need and len(i.component.of_kind("untyped")) == 1:
            i.pieces[r.name] = min(-(-need // r.bytes), r.count)

    def managed_bytes(self, i):
        """Guest memory and its paging structures: those of spare guests are there for each, their memory for all."""
        guests = self.managed_guests(i)
        return sum(guest_bytes(g) - (g.pages * PAGE if g.spare else 0) for g in guests) + i.spare_pages * PAGE

    def was_set(self, i, name):
        return any(s.path[:2] == (i.name, name) for s in self.settings)

    # -- connections ---------------------------------------------------------------------------------------

    def connect(self):
        for item in (i for i in self.decl.items if isinstance(i, ast.Connect)):
            for source in item.sources:
                self.connection(source, item.target)

    def end(self, e):
        """(instance, port, index) of a connection's end, or None after a diagnostic."""
        instance = self.find_instance(e.instance, e.pos)
        if instance is None:
            return None
        port = instance.component.ports.get(e.port)
        if port is None:
            self.report.error(e.pos, "E015", f"'{e.instance}' has no port '{e.port}'",
                              "one of " + (", ".join(instance.component.ports) or "none"))
            return None
        if (e.index is None) != (port.count is None):
            self.report.error(e.pos, "E064", f"'{port.name}' is {'no' if port.count is None else 'an'} array",
                              "no index" if port.count is None else f"an index of 0 to {port.count - 1}")
            return None
        index = None if e.index is None else evaluate(e.index, self.scope, self.report)
        if e.index is not None and (index is None or not 0 <= index < port.count):
            self.report.error(e.pos, "E064", f"index {index} of '{port.name}'", f"0 to {port.count - 1}")
            return None
        return instance, port, index

    def connection(self, source, target):
        self.mentioned |= {(e.instance, e.port) for e in (source, target)}
        a, b = self.end(source), self.end(target)
        if a is None or b is None:
            return
        kinds = {("uses", "provides"): "call", ("emits", "consumes"): "event",
                 ("dataport", "dataport"): "dataport"}
        kind = kinds.get((a[1].kind, b[1].kind))
        if kind is None or a[1].of is not b[1].of:
            self.report.error(source.pos, "E060", f"'{a[1].kind} {a[1].of.name}' is connected to "
                              f"'{b[1].kind} {b[1].of.name}'",
                              "uses -> provides, emits -> consumes or dataport -> dataport, of the same type")
            return
        if a[0] is b[0]:
            self.report.error(source.pos, "E065", f"'{a[0].name}' is connected to itself", "another instance")
            return
        c = Connection(kind, *a, *b, source)
        ends = [(a, c)] if kind == "call" else [(a, c), (b, c)]
        taken = [end for end, _ in ends if (end[1].name, end[2]) in end[0].ends]
        if taken:
            other = taken[0][0].ends[(taken[0][1].name, taken[0][2])]
            self.report.error(source.pos, "E061",
                              f"'{taken[0][0].name}.{taken[0][1].name}' is connected already at "
                              f"{other.decl.pos}", "one connection; a uses has one provider")
            return
        for end, _ in ends:
            end[0].ends[(end[1].name, end[2])] = c
        if kind == "call":
            clients = b[0].clients.setdefault(b[1].name, [])
            c.client = len(clients)
            clients.append(c)
        self.system.connections.append(c)

    def unconnected(self):
        for i in self.system.components:
            for p in i.component.ports.values():
                needed = p.kind != "provides" and p.count is None
                if needed and (p.name, None) not in i.ends and (i.name, p.name) not in self.mentioned:
                    self.report.error(i.decl.pos, "E062", f"'{i.name}.{p.name}' is not connected",
                                      f"a connection of {p.kind} {p.of.name}")

    # -- rules about the whole -----------------------------------------------------------------------------

    def rights(self):
        for c in self.system.connections:
            if c.kind != "dataport":
                continue
            a, b = c.source_port.rights, c.target_port.rights
            if not (("write" in a and "read" in b) or ("write" in b and "read" in a)):
                self.report.error(c.decl.pos, "E063",
                                  f"{c.text('source')} has '{a}', {c.text('target')} has '{b}'",
                                  "one side that writes what the other reads")

    def cycles(self):
        """Calls among instances must not form a cycle: each would wait for the next."""
        calls = {}
        for c in self.system.connections:
            if c.kind == "call":
                calls.setdefault(c.source.name, []).append(c)
        done = set()
        for start in self.system.instances:
            path, stack = [], [(start, iter(calls.get(start, ())))]
            on_path = {start}
            while stack:
                name, following = stack[-1]
                c = next(following, None)
                if c is None:
                    stack.pop()
                    on_path.discard(name)
                    done.add(name)
                    if path:
                        path.pop()
                elif c.target.name in on_path:
                    names = [name for name, _ in stack]
                    loop = names[names.index(c.target.name):] + [c.target.name]
                    self.report.error(c.decl.pos, "E066", "calls form a cycle: " + " -> ".join(loop),
                                      "servers that never wait, even through others, for themselves")
                elif c.target.name not in done:
                    path.append(c)
                    on_path.add(c.target.name)
                    stack.append((c.target.name, iter(calls.get(c.target.name, ()))))

    def priorities(self):
        for c in self.system.connections:
            if c.kind == "call" and c.target.index >= 0 and c.target.priority < c.source.priority:
                self.report.error(c.decl.pos, "E078",
                                  f"{c.target.name} has priority {c.target.priority}, its client "
                                  f"{c.source.name} has {c.source.priority}",
                                  "a server at or above its clients")

    def hardware(self):
        lines, ranges = {}, []
        for i in self.system.components:
            for name, line in i.irqs.items():
                if line in lines:
                    self.report.error(i.decl.pos, "E069", f"irq {line} is granted to {lines[line]} and "
                                      f"{i.name}.{name}", "one owner for each line")
                lines.setdefault(line, f"{i.name}.{name}")
            for name, (first, last) in i.ioports.items():
                for f, l, owner in ranges:
                    if first <= l and f <= last:
                        self.report.error(i.decl.pos, "E069",
                                          f"ports {max(f, first):#x}..{min(l, last):#x} are granted "
                                          f"to {owner} and {i.name}.{name}", "one owner for each port")
                ranges.append((first, last, f"{i.name}.{name}"))

    def pools(self):
        for i in self.system.components:
            for r in i.component.of_kind("manages"):
                clients = i.clients.get(r.port.name, [])
                room = min(r.count, C["DESC_QUOTAS"])
                if len(clients) > room:
                    self.report.error(i.decl.pos, "E079", f"'{i.name}.{r.name}' has {room} elements, "
                                      f"'{r.port.name}' has {len(clients)} clients", "at least as many")
                need = self.managed_bytes(i)
                have = sum(i.pieces.get(u.name, 0) * u.bytes for u in i.component.of_kind("untyped"))
                if need > have and not any(s.code in ("E071", "E072") for s in self.report.items):
                    self.report.error(i.decl.pos, "E068",
                                      f"the guests of '{i.name}' need {need >> 10}K with their "
                                      f"paging structures, its untyped memory is {have >> 10}K",
                                      "more untyped memory, or smaller guests")

    def spares(self):
        """A place for created guests can be filled, and what is set aside for them can be used."""
        for i in self.system.components:
            managed = [c.source for r in i.component.of_kind("manages") for c in i.clients.get(r.port.name, [])
                       if c.source.guest and c.source.guest.spare]
            most = max((p.guest.pages for p in managed), default=0)
            if most > i.spare_pages or (i.spare_pages and not managed):
                self.report.error(i.decl.pos, "E068",
                                  f"{len(managed)} spare guests of at most {most * PAGE >> 10}K, '{i.name}' has "
                                  f"{i.spare_pages * PAGE >> 10}K set aside for them",
                                  "as much as the largest of them, and none without one")
            for p in managed:
                if p.guest.kernel or p.guest.initrd or p.guest.command_line:
                    self.report.error(p.decl.pos, "E071", f"'{p.name}' is spare and has images or a command line",
                                      "neither: they come when a guest is created")
        lost = [p for p in self.system.components if p.guest and p.guest.spare and not any(
            c.source is p and c.target.component.of_kind("manages") for c in self.system.connections)]
        for p in lost:
            self.report.error(p.decl.pos, "E062", f"nobody manages the memory of the spare guest '{p.name}'",
                              "a connection to a component that manages it")

    def isolation(self):
        for c in self.system.connections:
            if c.source.guest and c.target.guest:
                self.report.error(c.decl.pos, "E073",
                                  f"{c.text('source')} and {c.text('target')} would share a "
                                  f"{c.kind}, and both run guests", "a server between them")

    def modules(self):
        used = {}
        for i in self.system.components:
            wanted = [(i.component.module, "a component's image")]
            if i.guest:
                wanted += [(m, "a guest's image") for m in (i.guest.kernel, i.guest.initrd) if m]
            for name, purpose in wanted:
                if used.setdefault(name, purpose) != purpose:
                    self.report.error(i.decl.pos, "E076", f"module '{name}' is {used[name]} and {purpose}",
                                      "two modules")
        limit = C["BOOT_MODULES_MAX"] - 2
        if len(used) > limit:
            self.report.error(self.decl.pos, "E077",
                              f"{len(used)} boot modules besides init and the description",
                              f"at most {limit}")

    def check_memory(self):
        item = [i for i in self.decl.items if isinstance(i, ast.Machine)]
        if len(item) > 1:
            self.report.error(item[1].pos, "E010", "the machine's memory is given twice", "one")
        if item:
            self.system.memory = number(self.ctx, item[0].memory, self.scope, 1 << 24, 1 << 40,
                                        "memory") or 1 << 40
        if self.memory is not None:
            self.system.memory = self.memory
        parts = sorted(((memory_of(i), i.name) for i in self.system.components), reverse=True)
        ports = sum(c.source_port.of.pages * PAGE for c in self.system.connections if c.kind == "dataport")
        self.system.needs = sum(n for n, _ in parts) + ports
        total = self.system.needs + MEMORY_RESERVE
        if total > self.system.memory:
            largest = ", ".join(f"{name} {size(n)}" for n, name in parts[:3])
            pos = item[0].pos if item else self.decl.pos
            self.report.error(pos, "E067", f"the system needs {size(total)} (kernel and init "
                              f"{size(MEMORY_RESERVE)}, {largest}), "
                              f"the machine has {size(self.system.memory)}",
                              "a larger machine, fewer or smaller guests")

    def run(self):
        self.instances()
        self.apply_settings()
        self.connect()
        self.complete_settings()
        self.unconnected()
        for rule in (self.rights, self.cycles, self.priorities, self.hardware, self.pools, self.spares, self.isolation,
                     self.modules, self.check_memory):
            rule()
        return self.system


def size(n):
    return f"{n / (1 << 20):.1f}M"


def guest_bytes(g):
    """Guest memory and the paging structures of its GuestSpace: a table for each 2 MB and what lies above."""
    tables = -(-g.pages // 512) + -(-g.pages // 512 // 512) + 2
    return (g.pages + tables) * PAGE


def memory_of(i):
    """Bytes that init needs to build an instance: image, stack, heap, kernel objects, page tables, segments,
    untyped memory that it is given, shadow tables. Guest memory lies in its manager's untyped memory."""
    c = i.component
    slots = c.first_shadow + (i.guest.shadow_tables if i.guest else 0)
    plain = c.image + i.stack + i.heap + sum(r.bytes for r in c.of_kind("segment"))
    tables = (plain // (2 << 20) + 24) * PAGE
    cnode = (1 << max(5, (slots - 1).bit_length())) << C["BITS_SLOT"]
    total = plain + tables + cnode + 8 * PAGE
    total += sum(i.pieces.get(r.name, 0) * r.bytes for r in c.of_kind("untyped"))
    if i.guest:
        total += i.guest.shadow_tables * PAGE + 8 * PAGE
    return total


def check_system(ctx, decl, settings=(), memory=None):
    """The System of an assembly; raises Failed when anything was reported. settings: of the command line."""
    system = SystemChecker(ctx, decl, list(settings), memory).run()
    ctx.report.stop_on_error()
    return system

