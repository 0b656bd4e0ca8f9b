# SPDX-License-Identifier: BSD-2-Clause
"""C header (and receive dispatch) of each component. What it says holds for every instance."""
from .cheader import constants
from .check_component import field_layout
from .gen_c import render, types_used
from .gen_stubs import c_type
from .types import Array, String

C = constants()


def slots_of(c):
    """(NAME, slot, what it is) of all slots that an instance may be granted."""
    out = []
    if c.free_slots:
        out.append(("CNODE", C["DESC_SLOT_CNODE"], "the component's own CNode"))
    out.append(("TCB", C["DESC_SLOT_TCB"], "the component's thread"))
    if c.server:
        out.append(("ENDPOINT", C["DESC_SLOT_ENDPOINT"], "receive requests here"))
        out.append(("REPLY", C["DESC_SLOT_REPLY"], "the right to answer"))
    if c.waits or c.guest:
        out.append(("NOTIFICATION", C["DESC_SLOT_NOTIFICATION"],
                    "its own events; bound to the thread or vCPU"))
    if c.log:
        out.append(("LOG", C["DESC_SLOT_LOG"], "the kernel's log"))
    if c.guest:
        out.append(("VCPU", C["DESC_SLOT_VCPU"], "the guest's exits"))
    if c.receives_caps:
        out.append(("RECEIVE", C["DESC_SLOT_RECEIVE"],
                    f"{C['MSG_CAPS_MAX']} slots for received capabilities"))
    words = {"uses": "interface", "emits": "event", "timer": "timer", "irq": "interrupt line",
             "ioport": "I/O ports", "untyped": "untyped memory", "manages": "guest spaces"}
    for kind, what in words.items():
        for x in c.of_kind(kind):
            of = f" {x.of.name}" if kind in ("uses", "emits") else ""
            size = f", {x.count} slots" if (x.count or 1) > 1 else ""
            out.append((x.name.upper(), x.slot, f"{what}{of}{size}"))
            if kind == "manages":
                out.append((x.name.upper() + "_SCRUB", x.slot + x.count, "a guest space that is no guest's"))
    if c.free_slots:
        out.append(("FREE", c.first_free, f"{c.free_slots} slots for the component's own use"))
    if c.guest:
        out.append(("SHADOW", c.first_shadow, "shadow tables, as many as the configuration says"))
    return out


def bits_of(c):
    out = []
    for kind in ("consumes", "timer", "irq"):
        for x in c.of_kind(kind):
            count = x.count if kind == "consumes" else None
            out.append((x.name.upper(), x.bit, count, f"{kind} {x.of.name}" if kind == "consumes" else kind))
    return out


def config_field(f):
    if isinstance(f.type, String):
        return f"char {f.name}[{f.type.n + 1}]"
    if isinstance(f.type, Array):
        return f"{c_type(f.type.elem)} {f.name}[{f.type.n}]"
    return f"{c_type(f.type)} {f.name}"


def component_files(model, c):
    provides = c.of_kind("provides")
    layouts = [p.of.layout for p in c.of_kind("dataport") if p.of.layout]
    used = types_used([f.type for f in c.config] + layouts)
    wanted = {p.of.file for p in c.of_kind("dataport")}
    includes = [f"{u.stem}_types.h" for u in model.units
                if u.has_header and (u.file in wanted or any(t in u.types for t in used))]
    end = max([f.offset + field_layout(f.type)[0] for f in c.config], default=0)
    values = dict(c=c, NAME=c.name.upper(), includes=includes, slots=[] if c.builtin else slots_of(c),
                  bits=bits_of(c), dataports=c.of_kind("dataport"), segments=c.of_kind("segment"),
                  observed=c.of_kind("observes"), managed=c.of_kind("manages"), provides=provides, config_field=config_field,
                  pad=c.config_bytes - end)
    out = {f"{c.name}_component.h": render("component.h.j2", **values)}
    if provides:
        out[f"{c.name}_component.c"] = render("component.c.j2", **values)
    return out
