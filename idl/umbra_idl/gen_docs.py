# SPDX-License-Identifier: BSD-2-Clause
"""Reference pages of interfaces and systems, and the drawing of who can talk to whom (graphviz)."""
from .check_system import MEMORY_RESERVE, memory_of, size
from .gen_c import render


def words(w):
    least = w.head_words + sum(0 if b.variable else b.max_words for b in w.blocks)
    text = f"{least} words" if least == w.max_words else f"{least} to {w.max_words} words"
    return text + (f", {len(w.caps)} capabilities" if w.caps else "")


def interface_page(face):
    return {f"{face.name}.md": render("interface.md.j2", face=face, words=words)}


def _rights(c):
    if c.kind != "dataport":
        return ""
    return f", {c.source.name} {c.source_port.rights}, {c.target.name} {c.target_port.rights}"


def drawing(system):
    """Arrows: solid a call, dashed an event, dotted without head shared memory."""
    lines = [f"digraph {system.name} {{", "    rankdir=LR;", "    node [shape=box, fontname=sans];",
             "    edge [fontname=sans, fontsize=10];"]
    for i in system.instances.values():
        shape = ", style=rounded" if i.guest else ", peripheries=2" if i.component.builtin else ""
        lines.append(f'    {i.name} [label="{i.name}\\n{i.component.name}"{shape}];')
    style = {"call": "solid", "event": "dashed", "dataport": "dotted, dir=none"}
    for c in system.connections:
        what = f'label="{c.source_port.of.name}", style={style[c.kind]}'
        lines.append(f"    {c.source.name} -> {c.target.name} [{what}];")
    return "\n".join(lines + ["}", ""])


def system_pages(system, description):
    page = render("system.md.j2", s=system, d=description, size=size, memory_of=memory_of, rights=_rights,
                  reserve=MEMORY_RESERVE)
    return {"system.md": page, "system.dot": drawing(system)}
