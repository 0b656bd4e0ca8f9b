# SPDX-License-Identifier: BSD-2-Clause
"""The checker, part two: components. What a component has is fixed by its type alone: slots, event bits,
addresses and the layout of its configuration are equal for all instances, since they run the same image."""
import zlib
from dataclasses import dataclass, field
from typing import Any

from . import ast
from .cheader import constants
from .expr import evaluate
from .types import Array, Bool, EnumType, Int, String, is_scalar

C = constants()
PAGE = 4096
GUARD = PAGE
ARRAY_MAX = 64
EVENT_BITS = C["DESC_EVENTS"]
SLOTS_MAX = 1 << C["CNODE_BITS_MAX"]
IMAGE_DEFAULT = 1 << 20
COMMAND_LINE = 2047  # characters; Linux takes no more on x86 (boot protocol: cmdline_size)
SINGLE = ("kind", "module", "heap", "stack", "image", "priority", "budget", "cnode", "guest", "log")
NEEDED = ("kind", "module", "heap", "stack", "priority", "budget")
PORTS = ("provides", "uses", "emits", "consumes", "dataport")


@dataclass(eq=False)
class Port:
    """A place for connections. slot, bit, address: where a component finds it, as its kind has."""
    kind: str
    name: str
    of: Any
    count: int | None  # None: no array
    decl: Any
    rights: str = ""
    number: int = 0  # of the provided interface
    slot: int = 0
    bit: int = 0
    address: int = 0

    @property
    def size(self):
        return self.count or 1

    @property
    def stride(self):
        """Bytes from one element of a dataport array to the next: a guard page lies between."""
        return self.of.pages * PAGE + GUARD


@dataclass(eq=False)
class Resource:
    """Hardware, memory or guest of a component; what it means depends on the kind."""
    kind: str
    name: str
    decl: Any
    count: int = 1
    bytes: int = 0
    port: Any = None
    slot: int = 0
    bit: int = 0
    address: int = 0


@dataclass(eq=False)
class ConfigField:
    name: str
    type: Any
    offset: int
    doc: str
    decl: Any = None
    default: Any = None
    derived: str = ""  # filled by the compiler from the assembly


@dataclass(eq=False)
class Component:
    name: str
    file: str
    decl: Any
    builtin: bool
    doc: str
    server: bool = False
    module: str = ""
    heap: int = 0
    stack: int = 0
    image: int = IMAGE_DEFAULT
    priority: int = 0
    budget: int = 0
    period: int = 0
    free_slots: int = 0
    log: bool = False
    ports: dict = field(default_factory=dict)
    resources: dict = field(default_factory=dict)
    config: list = field(default_factory=list)
    config_bytes: int = 0
    receives_caps: bool = False
    first_free: int = 0
    first_shadow: int = 0
    event_bits: int = 0
    identity: int = 0

    def of_kind(self, kind):
        return [x for x in (*self.ports.values(), *self.resources.values()) if x.kind == kind]

    @property
    def guest(self):
        found = self.of_kind("guest")
        return found[0] if found else None

    @property
    def waits(self):
        return self.event_bits > 0 or bool(self.of_kind("manages"))  # init says that quotas have changed


def number(ctx, e, scope, low, high, what):
    """A constant in low..high, or None after E051."""
    value = evaluate(e, scope, ctx.report)
    if value is None:
        return None
    if isinstance(value, bool) or not low <= value <= high:
        ctx.report.error(e.pos, "E051", f"{what} of {value}", f"{low} to {high}")
        return None
    return value


def round_page(n):
    return -(-n // PAGE) * PAGE


def component(ctx, decl, file):
    """Checks one component declaration and adds its model."""
    if not ctx.unique(ctx.model.scope.components, decl, "component"):
        return
    c = Component(decl.name, file, decl, decl.builtin, decl.doc)
    ctx.model.components[decl.name] = c
    found = {}
    for s in decl.items:
        found.setdefault(s.kind, []).append(s)
    for kind, items in found.items():
        if kind in SINGLE and len(items) > 1:
            ctx.report.error(items[1].pos, "E052", f"component '{c.name}' has '{kind}' twice", "one")
    if decl.builtin:
        for s in decl.items:
            if s.kind not in ("provides", "kind"):
                ctx.report.error(s.pos, "E055", f"builtin component '{c.name}' has '{s.kind}'",
                                 "provided interfaces only")
    missing = [] if decl.builtin else [k for k in NEEDED if k not in found]
    if missing:
        ctx.report.error(decl.pos, "E052", f"component '{c.name}' lacks {', '.join(missing)}",
                         "one statement of each")
    names = {}
    for s in decl.items:
        _statement(ctx, c, s, names)
    _whole(ctx, c)
    _place(ctx, c)
    _configure(ctx, c)
    c.identity = zlib.crc32(_signature(c).encode())


def _statement(ctx, c, s, names):
    scope, kind = ctx.model.scope, s.kind
    if kind == "kind":
        c.server = s.name == "server"
    elif kind == "module":
        c.module = s.value
        if not 1 <= len(s.value) <= C["DESC_NAME_MAX"]:
            ctx.report.error(s.pos, "E051", f"a module name of {len(s.value)} characters",
                             f"1 to {C['DESC_NAME_MAX']}")
    elif kind in ("heap", "stack", "image"):
        low, high = (0 if kind == "heap" else 1), (1 << 40 if kind == "heap" else 1 << 30)
        setattr(c, kind, round_page(number(ctx, s.value, scope, low, high, "a " + kind) or 0))
    elif kind == "priority":
        c.priority = number(ctx, s.value, scope, 0, 255, "a priority") or 0
    elif kind == "budget":
        c.budget = number(ctx, s.value[0], scope, 1, 10**9, "a budget in microseconds") or 1
        c.period = number(ctx, s.value[1], scope, 1, 10**9, "a period in microseconds") or c.budget
        if c.budget > c.period:
            ctx.report.error(s.pos, "E051", f"a budget of {c.budget} us in each {c.period} us",
                             "a budget within the period")
    elif kind == "cnode":
        c.free_slots = number(ctx, s.value, scope, 1, SLOTS_MAX // 2, "a number of free slots") or 0
    elif kind == "log":
        c.log = True
    else:
        _named(ctx, c, s, names)


def _named(ctx, c, s, names):
    """Statements that give the component something with a name."""
    decl = ast.Decl(s.pos, s.name)
    if not ctx.unique(names, decl, "member"):
        return
    if len(s.name) > C["DESC_NAME_MAX"]:
        ctx.report.error(s.pos, "E051", f"a name of {len(s.name)} characters",
                         f"at most {C['DESC_NAME_MAX']}")
    if s.kind in PORTS:
        _port(ctx, c, s)
    elif s.kind == "attribute":
        _attribute(ctx, c, s)
    else:
        _resource(ctx, c, s)


def _port(ctx, c, s):
    what = {"provides": "interface", "uses": "interface", "emits": "event", "consumes": "event",
            "dataport": "dataport"}[s.kind]
    table = getattr(ctx.model, what + "s")
    of = table.get(s.of)
    if of is None:
        ctx.report.error(s.pos, "E014", f"there is no {what} '{s.of}'",
                         "one of " + ", ".join(table) if table else f"a declared {what}")
        return
    count = None if s.count is None else number(ctx, s.count, ctx.model.scope, 1, ARRAY_MAX, "an array")
    port = Port(s.kind, s.name, of, count, s, rights=s.value if s.kind == "dataport" else "")
    port.number = len(c.of_kind("provides"))
    c.ports[s.name] = port


def _attribute(ctx, c, s):
    t = ctx.resolve(s.type, ctx.model.scope)
    if t is None:
        return
    if not (is_scalar(t) or isinstance(t, String)):
        ctx.report.error(s.pos, "E026", f"attribute '{s.name}' of type {t}",
                         "an integer, bool, enum, flags or string")
        return
    f = ConfigField(s.name, t, 0, s.doc, s)
    if s.value is not None:
        f.default = attribute_value(ctx, t, s.value, s.name)
    c.config.append(f)


def attribute_value(ctx, t, value, name):
    """The Python value of a setting for type t, or None after E071."""
    def bad(expected):
        ctx.report.error(value.pos, "E071", f"'{name}' cannot have this value", expected)

    if isinstance(t, String):
        if not isinstance(value, ast.Text):
            return bad("a string")
        data = value.value.encode()
        fits = len(data) <= t.n and 0 not in data
        return value.value if fits else bad(f"at most {t.n} bytes, none of them 0")
    if isinstance(value, (ast.Text, ast.IrqValue, ast.IoportValue, ast.ModuleValue)):
        return bad(str(t))
    n = evaluate(value, ctx.model.scope, ctx.report)
    if n is None:
        return None
    if isinstance(n, bool) != isinstance(t, Bool):
        return bad("true or false" if isinstance(t, Bool) else "a number")
    if isinstance(t, EnumType):
        fits = n >= 0 and (n & ~t.max == 0 if t.flags else n in [v for _, v, _ in t.items])
        return n if fits else bad(f"a value of {t}")
    return n if isinstance(t, Bool) or 0 <= n <= t.max else bad(f"0 to {t.max}")


def _resource(ctx, c, s):
    scope = ctx.model.scope
    r = Resource(s.kind, s.name, s)
    if s.kind == "untyped":
        r.count = number(ctx, s.count, scope, 1, 4096, "a number of pieces") or 1
        r.bytes = number(ctx, s.value, scope, 1 << 12, 1 << 38, "a piece") or 4096
        if r.bytes & (r.bytes - 1):
            ctx.report.error(s.pos, "E051", f"pieces of {r.bytes} bytes", "a power of two")
    elif s.kind == "segment":
        r.bytes = round_page(number(ctx, s.value, scope, 1, 1 << 28, "a segment") or PAGE)
    elif s.kind in ("manages", "observes"):
        wanted = "provides" if s.kind == "manages" else "dataport"
        r.port = c.ports.get(s.of)
        r.count = number(ctx, s.count, scope, 1, ARRAY_MAX, "an array") or 1
        if r.port is None or r.port.kind != wanted:
            ctx.report.error(s.pos, "E056", f"'{s.of}' is not a port above this line that {s.kind} can mean",
                             "a provided interface" if wanted == "provides" else "a dataport")
            return
        if s.kind == "observes" and r.count < r.port.size:
            ctx.report.error(s.pos, "E079", f"'{s.name}' has {r.count} elements, '{s.of}' has {r.port.size}",
                             "at least as many")
    c.resources[s.name] = r


def _whole(ctx, c):
    """What holds for a component as a whole."""
    provides = c.of_kind("provides")
    if len(c.of_kind("guest")) and provides:
        ctx.report.error(c.decl.pos, "E050", f"component '{c.name}' runs a guest and provides "
                         f"'{provides[0].name}'",
                         "no provided interface: nobody may wait on a guest's component")
    elif not c.builtin and c.server != bool(provides) and "kind" in [s.kind for s in c.decl.items]:
        ctx.report.error(c.decl.pos, "E057",
                         f"component '{c.name}' is a {'server' if c.server else 'control'} "
                         f"component and provides {'nothing' if not provides else provides[0].name}",
                         "'server' with provided interfaces, or 'control' without")
    takes = [p for p in c.of_kind("provides") if p.of.passes_caps[0]]
    gets = [p for p in c.of_kind("uses") if p.of.passes_caps[1]]
    c.receives_caps = bool(takes or gets)


def _place(ctx, c):
    """Gives slots, event bits and addresses, in order of declaration within each kind."""
    slot = C["DESC_SLOT_FIRST"]
    for kind in ("uses", "emits", "timer", "irq", "ioport", "untyped", "manages"):
        for x in c.of_kind(kind):
            x.slot = slot
            slot += x.size if isinstance(x, Port) else x.count + (kind == "manages")
    c.first_free, c.first_shadow = slot, slot + c.free_slots
    if c.first_shadow > SLOTS_MAX:
        ctx.report.error(c.decl.pos, "E054", f"component '{c.name}' needs {c.first_shadow} slots",
                         f"at most {SLOTS_MAX}")
    bit = 0
    for kind in ("consumes", "timer", "irq"):
        for x in c.of_kind(kind):
            x.bit = bit
            bit += x.size if isinstance(x, Port) else 1
    c.event_bits = bit
    if bit > EVENT_BITS:
        ctx.report.error(c.decl.pos, "E053", f"component '{c.name}' waits on {bit} event bits",
                         f"at most {EVENT_BITS}")
    at = C["DESC_DATAPORT"]
    for x in c.of_kind("dataport"):
        x.address = at
        at += x.size * x.stride
    at = C["DESC_SEGMENT"]
    for x in c.of_kind("segment"):
        x.address = at
        at += x.bytes + GUARD
    at = C["DESC_WINDOW"]
    for x in c.of_kind("manages"):
        x.address = at
        at += C["DESC_WINDOW_STEP"]
    at = C["DESC_OBSERVED"]
    for x in c.of_kind("observes"):
        x.address = at
        at += x.count * C["DESC_OBSERVED_STEP"]


def _derived(c):
    """Configuration that the compiler fills in from the assembly."""
    out = []
    for p in c.ports.values():
        if p.count is not None:
            out.append((f"{p.name}_connected", Int(64), f"bit i: {p.name}[i] is connected", f"mask {p.name}"))
        if p.kind == "provides":
            out.append((f"{p.name}_clients", Int(32), f"clients of {p.name}", f"clients {p.name}"))
    for r in c.resources.values():
        if r.kind == "untyped":
            out.append((f"{r.name}_pieces", Int(32), f"pieces of {r.bytes} bytes there are",
                        f"pieces {r.name}"))
        elif r.kind == "manages":
            out.append((f"{r.name}_pages", Array(Int(32), r.count, False),
                        f"4 KiB pages of guest memory that client i of {r.port.name} may have",
                        f"quotas {r.name}"))
        elif r.kind == "observes":
            out.append((f"{r.name}_observed", Int(64), "bit i: the public page of guest i is there",
                        f"observed {r.name}"))
        elif r.kind == "guest":
            out += [(f"{r.name}_pages", Int(32), "4 KiB pages of guest memory", "guest pages"),
                    (f"{r.name}_shadow_tables", Int(32), "from CAP_SHADOW on", "guest shadow"),
                    (f"{r.name}_paging", Int(32), "0 shadow, 1 nested (DESC_PAGING_*)", "guest paging"),
                    (f"{r.name}_command_line", String(COMMAND_LINE), "for the guest's kernel", "guest line")]
    return out


def field_layout(t):
    """(bytes, alignment) of a configuration field in C."""
    if isinstance(t, String):
        return t.n + 1, 1
    if isinstance(t, Array):
        size, align = field_layout(t.elem)
        return size * t.n, align
    return t.bytes, t.bytes


def _configure(ctx, c):
    c.config += [ConfigField(name, t, 0, doc, derived=how) for name, t, doc, how in _derived(c)]
    names = {}
    for f in c.config:
        if f.name in names:
            ctx.report.error((f.decl or names[f.name].decl or c.decl).pos, "E010",
                             f"configuration '{f.name}' is there twice", "another name")
        names[f.name] = f
    at = 0
    c.config.sort(key=lambda f: -field_layout(f.type)[1])
    for f in c.config:
        f.offset = at
        at += field_layout(f.type)[0]
    c.config_bytes = -(-at // 8) * 8
    if c.config_bytes > C["COMPONENT_CONFIG_MAX"]:
        ctx.report.error(c.decl.pos, "E051", f"configuration of {c.config_bytes} bytes",
                         f"at most {C['COMPONENT_CONFIG_MAX']}")


def _signature(c):
    """All that the image was compiled for: what differs between two signatures may not be mixed."""
    parts = [c.name, str(c.first_free), str(c.first_shadow)]
    for p in c.ports.values():
        of = p.of
        if p.kind in ("provides", "uses"):
            types = [str(q.type) for procedure in of.procedures for q in procedure.params]
            what = f"{of.identity:x}.{of.version}.{','.join(types)}"
        else:
            what = of.name + str(getattr(of, "pages", ""))
        parts.append(f"{p.kind} {p.name} {what} {p.count} {p.rights} {p.slot} {p.bit} {p.address}")
    parts += [f"{r.kind} {r.name} {r.count} {r.bytes} {r.slot} {r.bit} {r.address}"
              for r in c.resources.values()]
    parts += [f"{f.name} {f.type} {f.offset}" for f in c.config]
    return "\n".join(parts)
