# SPDX-License-Identifier: BSD-2-Clause
"""Whose each object of a description is, from the records that init executes: one component's, one connection's, or init's.

A record that gives a component something says whose it is by itself: what stands at a connection's end, with the rights and the badge of that
end, is the other side's (an endpoint, a notification) or the connection's (the frames of a dataport); guest spaces with their manager and
public pages with their observer are the guest's; all else is the component's own. Records that disagree give somebody what no connection
declares. Nobody may send as another client, either: a server knows its clients by their badges alone."""
from .cheader import constants
from .describe import call_badge, event_badge, other_end

C = constants()
INIT = C["DESC_SYSTEM"]
READ, WRITE, GRANT = C["RIGHT_READ"], C["RIGHT_WRITE"], C["RIGHT_GRANT"]
OWN = (C["DESC_OWN_CNODE"], C["DESC_OWN_TCB"], C["DESC_OWN_KERNEL"])    # the kernel object: the closure's part


class Ownership:
    def __init__(self, system, description):
        self.records, self.system = description.records, system
        self.names = {i.index: i.name for i in system.components} | {INIT: "init"}
        self.group_names = description.group_names
        self.type = {r.fields["group"]: r.fields["type"] for r in self.records if r.op == "OBJECTS"}
        made = {r.fields["group"] for r in self.records if r.op in ("OBJECTS", "IRQ", "IOPORT")}
        self.owners = {group: set() for group in made}
        self.guests = {r.fields["owner"]: r.fields for r in self.records if r.op == "GUEST"}
        self.calls, self.shared, self.observed, self.managed = {}, {}, {}, {}
        for i in system.components:
            self.ends_of(i)

    def ends_of(self, i):
        """What stands at the ends of i's connections: by slot, by address."""
        for (name, index), c in i.ends.items():
            port = i.component.ports[name]
            if c.kind == "dataport":
                rights = READ | (WRITE if "write" in port.rights else 0)
                self.shared[i.index, port.address + (index or 0) * port.stride] = (c, port.of.pages, rights)
            elif c.source is i and c.source_port is port:
                self.calls[i.index, port.slot + (index or 0)] = c
        for r in i.component.of_kind("observes"):
            for (name, index), c in i.ends.items():
                if name == r.port.name and other_end(i, c).guest:
                    self.observed[i.index, r.address + (index or 0) * C["DESC_OBSERVED_STEP"]] = other_end(i, c).index
        for r in i.component.of_kind("manages"):
            for c in i.clients.get(r.port.name, []):
                self.managed[i.index, r.slot + c.client] = c

    def owner_by(self, r):
        """Whose a record of a capability, a mapping or a view says that its group is: a component, init or a connection."""
        f, at = r.fields, (r.component, r.fields.get("slot") if r.op == "CAP" else r.fields["address"])
        if r.op == "MAP" and at in self.shared:
            c, pages, rights = self.shared[at]
            return c if (f["first"], f["count"], f["rights"]) == (0, pages, rights) else r.component
        if r.op == "VIEW" and f["kind"] == C["DESC_VIEW_PUBLIC"] and f["rights"] == READ:
            return self.observed.get(at, r.component)
        if r.op == "CAP" and at in self.calls:
            return self.called(self.calls[at], f) if f["count"] == 1 else r.component
        if r.op == "CAP" and at in self.managed and f["count"] == 1:
            c = self.managed[at]
            g = self.guests.get(c.source.index)
            return c.source.index if g and (g["manager"], g["client"]) == (r.component, c.client) else r.component
        return r.component

    def called(self, c, f):
        """The receiver at the end of a connection, if these are the rights to send that it declares, as its client."""
        wanted = {"call": C["OBJ_ENDPOINT"], "event": C["OBJ_NOTIFICATION"]}[c.kind]
        grant = GRANT if c.kind == "call" and any(c.target_port.of.passes_caps) else 0
        badge = call_badge(c) if c.kind == "call" else event_badge(c)
        declared = (self.type.get(f["group"]), f["rights"], f["badge"]) == (wanted, WRITE | grant, badge)
        return c.target.order if declared else c.source.index

    def disagreements(self):
        """(a component, what is wrong), one after the other."""
        for r in self.records:
            if r.op in ("CAP", "MAP", "VIEW") and r.fields["group"] not in OWN:
                if r.fields["group"] not in self.owners:
                    yield r.component, f"would have group {r.fields['group']:#x}, which nobody makes"
                else:
                    self.owners[r.fields["group"]].add(self.owner_by(r))
            elif r.op == "COMPONENT":
                self.owners[r.fields["fault"]].add(INIT)
        for owner, g in self.guests.items():
            for kind in ("vm", "vcpu", "space", "shadow"):
                self.owners[g[kind]].add(owner)
        for group, who in self.owners.items():
            if len(who) > 1:
                yield self.somebody(who), f"{self.all(who)} would both have {self.group_names[group]}, and no connection declares it"
        yield from self.signals()
        yield from self.doubles()

    def signals(self):
        """Bindings: what signals a notification belongs to whose notification it is."""
        for r in self.records:
            f = r.fields
            if r.op in ("TIMER", "IRQ"):
                whose = self.owners.get(f["timer" if r.op == "TIMER" else "group"], set())
            elif r.op in ("NOTIFY", "GUEST"):
                whose = {r.component if r.op == "NOTIFY" else f["owner"]}
            else:
                continue
            heard = self.owners.get(f["notification"], set())
            if whose != heard:
                yield self.somebody(whose | heard), f"{r.op} of {self.all(whose)} would signal what is of {self.all(heard)}"

    def doubles(self):
        """Two who send with the same badge, or signal with the same bit, are one to who receives."""
        senders = {}
        for r in self.records:
            for to, badge in self.sends(r):
                other = senders.setdefault((to, badge), r.component)
                if other != r.component:
                    yield r.component, f"{self.all({other, r.component})} would be one to who receives {self.group_names[to]}"

    def sends(self, r):
        """(group, badge) of an endpoint, (group, bit) of a notification, for all that a record lets be sent."""
        f = r.fields
        if r.op == "COMPONENT":
            return [(f["fault"], f["fault_badge"])]
        if r.op == "CAP" and f["rights"] & WRITE and self.type.get(f["group"]) == C["OBJ_ENDPOINT"]:
            return [(f["group"], f["badge"])]
        if r.op == "CAP" and f["rights"] & WRITE and self.type.get(f["group"]) == C["OBJ_NOTIFICATION"]:
            return [(f["group"], bit) for bit in range(64) if f["badge"] >> bit & 1]
        return []

    def all(self, owners):
        return " and ".join(sorted(self.names[o] if isinstance(o, int) else o.text("source") for o in owners)) or "nobody"

    @staticmethod
    def somebody(who):
        return max((o for o in who if isinstance(o, int) and o != INIT), default=INIT)

    def run(self, report):
        """E073: what more than one has, or could tell another, without a connection."""
        positions = {i.index: i.decl.pos for i in self.system.components}
        for component, text in self.disagreements():
            report.error(positions.get(component, self.system.decl.pos), "E073", text, "a connection between them")
