# SPDX-License-Identifier: BSD-2-Clause
"""The take-grant closure: what each guest's component could ever obtain, from the records that init executes.

Connections say in which direction a call may carry capabilities (its interface's cap parameters); over such a call everything
that one side holds, or could obtain, may come to the other. Servers count as willing to pass on whatever their interfaces
let them; init holds everything. Nothing else makes a capability: the kernel derives from what a component has. A description in
which a guest's component could so come to another guest, or to the kernel object, is refused with the chain; and one in which anybody has
what no connection declares (ownership.py), so that this is looked for in what connections let through alone."""
from collections import deque
from dataclasses import dataclass
from typing import Any

from .cheader import constants
from .ownership import Ownership

C = constants()
INIT = C["DESC_SYSTEM"]
KERNEL = C["DESC_OWN_KERNEL"]
READ, WRITE, GRANT = C["RIGHT_READ"], C["RIGHT_WRITE"], C["RIGHT_GRANT"]
ONE_WAY = (C["OBJ_ENDPOINT"], C["OBJ_NOTIFICATION"])


@dataclass(frozen=True)
class Edge:
    """Capabilities may go from a component to another: `by` this connection (None: an undeclared right to grant)."""
    source: int
    target: int
    by: Any


class Closure:
    def __init__(self, system, description):
        self.records = description.records
        self.names = {i.index: i.name for i in system.components} | {INIT: "init"}
        self.positions = {i.index: i.decl.pos for i in system.components}
        self.connections = system.connections
        self.type = {r.fields["group"]: r.fields["type"] for r in self.records if r.op == "OBJECTS"}
        self.group_names = description.group_names
        self.guests = {r.fields["owner"]: r.fields for r in self.records if r.op == "GUEST"}
        self.receivers = {r.fields["group"]: r.component for r in self.records
                          if r.op == "CAP" and self.type.get(r.fields["group"]) == C["OBJ_ENDPOINT"]
                          and r.fields["rights"] & READ}
        self.edges = [e for r in self.records for e in self.edges_of(r)]

    def edges_of(self, r):
        """What a right to grant on an endpoint lets through, in the directions that its connection declares."""
        if r.op != "CAP" or not r.fields["rights"] & GRANT:
            return []
        server = self.receivers.get(r.fields["group"], INIT)
        c = next((c for c in self.connections if c.kind == "call" and c.source.index == r.component and
                  c.source_port.slot == r.fields["slot"]), None)
        if c and not any(c.target_port.of.passes_caps):
            c = None
        takes, gives = c.target_port.of.passes_caps if c else (True, True)
        return [Edge(r.component, server, c)] * takes + [Edge(server, r.component, c)] * gives

    def memory_of(self, guest):
        """Groups that are a guest's alone: its objects, and frames that no other component has."""
        g = self.guests[guest]
        own = {g["vm"], g["vcpu"], g["space"], g["shadow"]}
        mapped = {}
        for r in self.records:
            if r.op == "MAP":
                mapped.setdefault(r.fields["group"], set()).add(r.component)
        return own | {group for group, who in mapped.items() if who == {guest}}

    def holders(self, groups):
        """component -> a group of these that it holds a capability to; init made them all."""
        found = {r.component: r.fields["group"] for r in self.records
                 if r.op == "CAP" and r.fields["group"] in groups}
        return found | {INIT: found.get(INIT, min(groups))}

    def chain(self, sources, target):
        """The shortest list of edges from one of the sources to target, or None; empty: target is a source."""
        came, waiting = {s: None for s in sources}, deque(sources)
        while waiting:
            at = waiting.popleft()
            if at == target:
                edges = []
                while came[at]:
                    edges.insert(0, came[at])
                    at = came[at].source
                return edges
            for e in self.edges:
                if e.source == at and e.target not in came:
                    came[e.target] = e
                    waiting.append(e.target)
        return None

    def describe(self, edges):
        return ", then ".join(
            f"{self.names[e.source]} to {self.names[e.target]}" +
            (f" by {e.by.text('source')} -> {e.by.text('target')} ({e.by.decl.pos.file}:{e.by.decl.pos.line})" if e.by
             else " by a right to grant that no interface declares") for e in edges)

    def place(self, edges, target):
        last = edges[-1].by if edges else None
        return last.decl.pos if last else self.positions[target]

    def obtained(self, report):
        """E074, E080: what a guest's component could obtain of another guest, or the kernel object."""
        for b in self.guests:
            for a in (g for g in self.guests if g != b):
                holders = self.holders(self.memory_of(a))
                edges = self.chain([a], b)
                if edges is not None:
                    report.error(self.place(edges, b), "E074",
                                 f"capabilities of {self.names[a]} could reach {self.names[b]}: " + self.describe(edges),
                                 "interfaces that take capabilities from guests' components, or give them, not both")
                    return
                edges = self.chain(holders, b)
                if edges is not None:
                    first = edges[0].source if edges else b
                    report.error(self.place(edges, b), "E080",
                                 f"{self.names[b]} could obtain {self.group_names[holders[first]]}, which "
                                 f"{self.names[first]} holds: " + (self.describe(edges) or "the description gives it"),
                                 "no interface that gives capabilities between who holds a guest and another guest's "
                                 "component")
                    return
            self.kernel(b, report)

    def kernel(self, b, report):
        holders = {r.component for r in self.records if r.op == "CAP" and r.fields["group"] == KERNEL}
        edges = self.chain(sorted(holders), b)
        if edges is not None:
            report.error(self.place(edges, b), "E080",
                         f"{self.names[b]} could obtain the kernel object, which tells frames of all guests: " +
                         (self.describe(edges) or "'kernel log' of its component"),
                         "the kernel object with components that run no guest, and give no capabilities to one")

    def shared(self, report):
        """E073: what two guests' components both have, so that data could pass without a server between them."""
        has = {}
        for owner in self.guests:
            for group in self.memory_of(owner):
                has.setdefault(group, {})[owner] = True
        for r in self.records:
            if r.op in ("CAP", "MAP", "VIEW") and r.component in self.guests and r.fields["group"] in self.type:
                receives = r.op != "CAP" or self.type[r.fields["group"]] not in ONE_WAY or r.fields["rights"] & READ
                has.setdefault(r.fields["group"], {}).setdefault(r.component, False)
                has[r.fields["group"]][r.component] |= bool(receives)
        for group, who in has.items():
            if len(who) > 1 and any(who.values()):
                names = sorted(self.names[i] for i in who)
                report.error(self.positions[max(who)], "E073",
                             f"{' and '.join(names)} would both have {self.group_names[group]}, and run guests",
                             "a server between them")

    def text(self):
        """One line of figures, for who wants to know what was looked at."""
        held = sum(r.fields["count"] for r in self.records if r.op == "CAP")
        shared = sum(r.op in ("MAP", "VIEW") for r in self.records)
        return (f"{len(self.names)} components, {len(self.guests)} guests, {held} capabilities, {shared} mappings, "
                f"{len(self.edges)} ways for capabilities: no way to another guest")

    def run(self, report):
        self.shared(report)
        self.obtained(report)
        return self


def close(system, description, report):
    """Checks a compiled description; raises Failed when anything was reported. Returns the Closure, for audits."""
    Ownership(system, description).run(report)
    closure = Closure(system, description).run(report)
    report.stop_on_error()
    return closure
