# SPDX-License-Identifier: BSD-2-Clause
"""A System to the records that init executes: straight-line, shared objects first, then one component after
the other, servers before their clients. The order and content depend on the description alone."""
from dataclasses import dataclass, field

from .cheader import constants
from .check_component import PAGE, field_layout
from .types import Array, Bool, String

C = constants()
READ, WRITE, GRANT = C["RIGHT_READ"], C["RIGHT_WRITE"], C["RIGHT_GRANT"]


@dataclass
class Record:
    """op is the name behind DESC_OP_; fields as in lib/desc/desc.h."""
    op: str
    component: int
    fields: dict


@dataclass
class Description:
    name: str
    records: list = field(default_factory=list)
    components: int = 0
    groups: int = 0
    memory: int = 0
    modules: list = field(default_factory=list)  # boot modules by name, in order of need
    group_names: list = field(default_factory=list)


class Describer:
    def __init__(self, system):
        self.s = system
        self.out = Description(system.name)
        self.notification, self.endpoint, self.reply = {}, {}, {}
        self.guest, self.dataport, self.resource = {}, {}, {}

    def emit(self, op, component=None, **fields):
        self.out.records.append(Record(op, C["DESC_SYSTEM"] if component is None else component, fields))

    def group(self, name):
        self.out.group_names.append(name[:C["DESC_NAME_MAX"]])
        self.out.groups += 1
        return self.out.groups - 1

    def objects(self, name, kind, count=1, bits=0):
        g = self.group(name)
        self.emit("OBJECTS", group=g, type=C["OBJ_" + kind], bits=bits, count=count,
                  name=self.out.group_names[g])
        return g

    # -- objects of the system -----------------------------------------------------------------------------

    def shared_objects(self):
        self.init_endpoint = self.objects("init", "ENDPOINT")
        for i in self.s.components:
            c = i.component
            if c.server:
                self.endpoint[i.name] = self.objects(i.name, "ENDPOINT")
                self.reply[i.name] = self.objects(f"{i.name}.reply", "REPLY")
            if c.waits or i.guest:
                self.notification[i.name] = self.objects(f"{i.name}.events", "NOTIFICATION")
        for c in self.s.connections:
            if c.kind == "dataport":
                self.dataport[c] = self.objects(c.text("source"), "FRAME", c.source_port.of.pages,
                                                C["FRAME_4K"])
        for i in self.s.components:
            self.own_objects(i)

    def own_objects(self, i):
        for r in i.component.resources.values():
            key, name = (i.name, r.name), f"{i.name}.{r.name}"
            badge = 1 << r.bit
            if r.kind == "timer":
                self.resource[key] = self.objects(name, "TIMER")
                self.emit("TIMER", timer=self.resource[key], notification=self.notification[i.name],
                          badge=badge)
            elif r.kind == "irq":
                self.resource[key] = self.group(name)
                self.emit("IRQ", group=self.resource[key], line=i.irqs[r.name], name=name,
                          notification=self.notification[i.name], badge=badge)
            elif r.kind == "ioport":
                self.resource[key] = self.group(name)
                first, last = i.ioports[r.name]
                self.emit("IOPORT", group=self.resource[key], first=first, last=last, name=name)
            elif r.kind == "untyped":
                self.resource[key] = self.objects(name, "UNTYPED", i.pieces[r.name], r.bytes.bit_length() - 1)
            elif r.kind == "manages":
                self.resource[key] = self.objects(f"{name}.scrub", "GUESTSPACE")
            elif r.kind == "segment":
                self.resource[key] = self.objects(name, "FRAME", r.bytes // PAGE, C["FRAME_4K"])
            elif r.kind == "guest":
                self.guest_objects(i, name)

    def guest_objects(self, i, name):
        g = {"vm": self.objects(f"{name}.vm", "VM", 1, i.guest.paging)}
        for kind in ("vcpu", "guestspace"):
            g[kind] = self.objects(f"{name}.{kind}", kind.upper())
        g["shadow"] = self.objects(f"{name}.shadow", "SHADOW", i.guest.shadow_tables)
        self.guest[i.name] = g
        self.emit("GUEST", vm=g["vm"], vcpu=g["vcpu"], space=g["guestspace"], shadow=g["shadow"],
                  notification=self.notification[i.name], paging=i.guest.paging, owner=i.index, name=i.name,
                  pages=i.guest.pages, **self.managed(i), spare=int(i.guest.spare))

    def managed(self, i):
        """Who hands out the memory of i's guest, as which client, and where the configuration says how much."""
        of = next((c for o in self.s.components for r in o.component.of_kind("manages")
                   for c in o.clients.get(r.port.name, []) if c.source is i), None)
        where = {f.derived: f for f in i.component.config}
        line = where["guest line"]
        return dict(manager=of.target.index if of else C["DESC_NONE"], client=of.client if of else 0,
                    config_pages=where["guest pages"].offset, config_line=line.offset, config_line_bytes=line.type.n + 1,
                    spare_pages=of.target.spare_pages if of else 0)

    # -- one component -------------------------------------------------------------------------------------

    def component(self, i):
        c = i.component
        slots = c.first_shadow + (i.guest.shadow_tables if i.guest else 0)
        self.emit("COMPONENT", i.index, name=i.name, module=c.module, identity=c.identity,
                  priority=i.priority,
                  kind=C["DESC_SERVER" if c.server else "DESC_CONTROL"],
                  cnode_bits=max(5, (slots - 1).bit_length()), heap_bytes=i.heap, stack_bytes=i.stack,
                  image_bytes=c.image, budget_us=i.budget, period_us=i.period, fault=self.init_endpoint,
                  config=config_bytes(i), fault_badge=C["DESC_BADGE_FAULT"] | i.index)
        self.module(c.module)
        self.fixed_caps(i)
        self.port_caps(i)
        self.resource_caps(i)
        self.mappings(i)
        if i.name in self.notification and not i.guest:
            self.emit("NOTIFY", i.index, notification=self.notification[i.name])

    def module(self, name):
        if name not in self.out.modules:
            self.out.modules.append(name)

    def cap(self, i, slot, group, rights, badge=0, count=1, first=0):
        self.emit("CAP", i.index, slot=slot, group=group, first=first, count=count, rights=rights,
                  badge=badge)

    def fixed_caps(self, i):
        c = i.component
        if c.free_slots:
            self.cap(i, C["DESC_SLOT_CNODE"], C["DESC_OWN_CNODE"], READ | WRITE)
        self.cap(i, C["DESC_SLOT_TCB"], C["DESC_OWN_TCB"], WRITE)
        if i.name in self.endpoint:
            self.cap(i, C["DESC_SLOT_ENDPOINT"], self.endpoint[i.name], READ)
            self.cap(i, C["DESC_SLOT_REPLY"], self.reply[i.name], READ | WRITE)
        if i.name in self.notification:
            self.cap(i, C["DESC_SLOT_NOTIFICATION"], self.notification[i.name], READ)
        if c.log:
            self.cap(i, C["DESC_SLOT_LOG"], C["DESC_OWN_KERNEL"], WRITE)
        if i.guest:
            g = self.guest[i.name]
            self.cap(i, C["DESC_SLOT_VCPU"], g["vcpu"], READ | WRITE)
            self.cap(i, c.first_shadow, g["shadow"], WRITE, count=i.guest.shadow_tables)

    def port_caps(self, i):
        for (name, index), c in i.ends.items():
            port = i.component.ports[name]
            if c.source is not i or c.source_port is not port:
                continue
            if c.kind == "call":
                target = self.endpoint.get(c.target.name, self.init_endpoint)
                caps = any(c.target_port.of.passes_caps)
                self.cap(i, port.slot, target, WRITE | (GRANT if caps else 0), call_badge(c))
            elif c.kind == "event":
                self.cap(i, port.slot + (index or 0), self.notification[c.target.name], WRITE, event_badge(c))

    def resource_caps(self, i):
        for r in i.component.resources.values():
            group = self.resource.get((i.name, r.name))
            if r.kind in ("timer", "irq", "ioport"):
                self.cap(i, r.slot, group, WRITE)
            elif r.kind == "untyped":
                self.cap(i, r.slot, group, WRITE, count=i.pieces[r.name])
            elif r.kind == "manages":
                self.cap(i, r.slot + r.count, group, READ | WRITE)
                for c in i.clients.get(r.port.name, []):
                    if c.source.guest:
                        self.cap(i, r.slot + c.client, self.guest[c.source.name]["guestspace"], READ | WRITE)

    def mappings(self, i):
        c = i.component
        for (name, index), connection in i.ends.items():
            port = c.ports[name]
            if connection.kind == "dataport":
                rights = READ | (WRITE if "write" in port.rights else 0)
                self.map(i, self.dataport[connection], port.of.pages, rights,
                         port.address + (index or 0) * port.stride)
        for r in c.of_kind("segment"):
            self.map(i, self.resource[(i.name, r.name)], r.bytes // PAGE, READ | WRITE, r.address)
        for r in c.of_kind("manages"):
            self.view(i, "WINDOW", self.resource[(i.name, r.name)], READ | WRITE, r.address)
        for r in c.of_kind("observes"):
            self.observed(i, r)
        if i.guest:
            self.guest_views(i)

    def map(self, i, group, count, rights, address):
        self.emit("MAP", i.index, group=group, first=0, count=count, rights=rights, address=address)

    def view(self, i, kind, group, rights, address):
        self.emit("VIEW", i.index, kind=C["DESC_VIEW_" + kind], group=group, rights=rights, address=address)

    def observed(self, i, r):
        """Public pages of the guests at the other ends of a dataport (array)."""
        for index in range(r.port.size):
            connection = i.ends.get((r.port.name, index if r.port.count else None))
            if connection is None:
                continue
            other = other_end(i, connection)
            if other.guest:
                self.view(i, "PUBLIC", self.guest[other.name]["vm"], READ,
                          r.address + index * C["DESC_OBSERVED_STEP"])

    def guest_views(self, i):
        g = self.guest[i.name]
        self.view(i, "WINDOW", g["guestspace"], READ | WRITE, C["DESC_WINDOW"])
        self.view(i, "EXIT", g["vcpu"], READ, C["DESC_EXIT"])
        self.view(i, "REPLY", g["vcpu"], READ | WRITE, C["DESC_REPLY"])
        for which, name in enumerate((i.guest.kernel, i.guest.initrd)):
            if name or i.guest.spare:
                if name:
                    self.module(name)
                self.emit("MODULE", i.index, which=which, name=name,
                          address=C["DESC_MODULE"] + which * C["DESC_MODULE_STEP"])

    def run(self):
        self.shared_objects()
        for i in self.s.components:
            self.component(i)
        for i in start_order(self.s):
            self.emit("START", i.index, later=int(bool(i.guest) and (i.guest.spare or not i.guest.autostart)))
        for c in self.s.connections:
            # A dataport or event of the builtin component does not exist, so the source is a component.
            self.emit("CONNECTION", c.source.index, to=c.target.order, from_port=port_text(c, "source"),
                      kind=("call", "event", "dataport").index(c.kind), to_port=port_text(c, "target"),
                      badge={"call": call_badge, "event": event_badge}.get(c.kind, lambda _: 0)(c))
        self.out.components = len(self.s.components)
        self.out.memory = self.s.needs
        return self.out


def other_end(i, connection):
    return connection.target if connection.source is i else connection.source


def port_text(c, side):
    return c.text(side).split(".", 1)[1][:C["DESC_NAME_MAX"]]


def call_badge(c):
    """The low 16 bits number the client, the next the provided interface; on init's endpoint the component
    follows, so that its supervisor need not keep a table."""
    who = c.source.index if c.target.index < 0 else c.client
    return (c.target_port.number + 1) << 16 | who


def event_badge(c):
    return 1 << (c.target_port.bit + (c.target_index or 0))


def start_order(system):
    """Servers before those that call them; otherwise as written. There are no cycles (E066)."""
    order, waiting = [], list(system.components)
    while waiting:
        ready = next(i for i in waiting if not any(
            c.kind == "call" and c.source is i and c.target in waiting for c in system.connections))
        order.append(ready)
        waiting.remove(ready)
    return order


def config_value(i, f):
    """The value of a configuration field of an instance."""
    if not f.derived:
        return i.attributes[f.name]
    what, _, name = f.derived.partition(" ")
    if what == "mask":
        return sum(1 << index for port, index in i.ends if port == name)
    if what == "observed":
        port = i.component.resources[name].port
        return sum(1 << (index or 0) for (p, index), c in i.ends.items()
                   if p == port.name and other_end(i, c).guest)
    if what == "clients":
        return len(i.clients.get(name, []))
    if what == "pieces":
        return i.pieces[name]
    if what == "quotas":
        r = i.component.resources[name]
        pages = {c.client: c.source.guest.pages for c in i.clients.get(r.port.name, []) if c.source.guest}
        return [pages.get(n, 0) for n in range(r.count)]
    g = i.guest
    return {"pages": g.pages, "shadow": g.shadow_tables, "paging": g.paging, "line": g.command_line}[name]


def config_bytes(i):
    out = bytearray(i.component.config_bytes)
    for f in i.component.config:
        value = config_value(i, f)
        if isinstance(f.type, String):
            data = value.encode()
        elif isinstance(f.type, Array):
            data = b"".join(v.to_bytes(f.type.elem.bytes, "little") for v in value)
        else:
            data = int(value).to_bytes(1 if isinstance(f.type, Bool) else f.type.bytes, "little")
        assert len(data) <= field_layout(f.type)[0]
        out[f.offset:f.offset + len(data)] = data
    return bytes(out)


def describe(system):
    """The Description of a checked System."""
    return Describer(system).run()

