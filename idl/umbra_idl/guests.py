# SPDX-License-Identifier: BSD-2-Clause
"""The text of an assembly for any number of guests, each with its component: what `run --vm ..` boots.

The words of a guest are name, memory, kernel, initrd, command_line (modules by name), record (=yes: a recorder takes
its VMM's recording to the host); a comma inside a value is doubled, as in QEMU. The text is an ordinary *.idl file: the
checker, not this, says what is wrong with the values."""
import pathlib
import re

WORDS = ("name", "memory", "kernel", "initrd", "command_line", "shadow_tables", "paging", "autostart", "record", "spare")
RECORD_PORT = 0x3e0      # chosen: nothing of a PC is there, and no firmware looks
COMPONENTS = pathlib.Path(__file__).resolve().parent.parent / "interfaces/components.idl"


def parse(text):
    """A dict of one guest's words; ValueError says what is wrong."""
    guest = {}
    for part in re.split(r"(?<!,),(?!,)", text.replace(",,", "\0")):
        word, equals, value = part.replace("\0", ",").partition("=")
        if not equals or word not in WORDS or word in guest:
            raise ValueError(f"'{part}'; expected each once, as WORD=VALUE: " + ", ".join(WORDS))
        guest[word] = value
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", guest.get("name", "")):
        raise ValueError(f"name '{guest.get('name', '')}'; expected a letter, then letters, digits and _")
    if "memory" not in guest:
        raise ValueError("no memory; expected memory=SIZE")
    return guest


def quote(text):
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


def _guest(i, g):
    n = g["name"]
    lines = [f"    connect {n}.supervisor -> init.supervisor;",
             f"    connect {n}.memory -> memmgr.memory;",
             f"    connect {n}.output -> console.output[{i}];",
             f"    connect {n}.input -> console.input[{i}];",
             f"    connect {n}.written -> console.written[{i}];",
             f"    connect console.typed[{i}] -> {n}.typed;",
             f"    {n}.vm.memory = {g['memory']};"]
    lines += [f"    {n}.vm.{w} = module {quote(g[w])};" for w in ("kernel", "initrd") if w in g]
    lines += [f"    {n}.vm.{w} = {quote(g[w])};" for w in ("command_line", "paging") if w in g]
    return lines + [f"    {n}.vm.{w} = {g[w]};" for w in ("shadow_tables", "autostart", "spare") if w in g]


def _recorder(name):
    return ["    component recorder recorder;", "    connect recorder.supervisor -> init.supervisor;",
            f"    connect {name}.record[0] -> recorder.record;", f"    connect {name}.recorded[0] -> recorder.recorded;",
            f"    recorder.host_port = ioport {RECORD_PORT:#x}..{RECORD_PORT:#x};"]


def assembly(guests, name="guests", components=COMPONENTS, spare=None):
    """The *.idl text for a list of guests as parse() gives them; spare: memory for those that are created."""
    lines = ["// SPDX-License-Identifier: BSD-2-Clause", "// Made by `umbra_idl guests`.",
             f"import {quote(str(components))};", "", f"assembly {name} {{", "    component init init;",
             "    component memmgr memmgr;", "    component console console;",
             "    component control control;"]
    lines += [f"    component vmm {g['name']};" for g in guests]
    lines += ["    connect memmgr.supervisor, console.supervisor, control.supervisor -> init.supervisor;",
              "    connect control.management -> init.management;",
              "    console.serial_irq = irq 4;", "    console.serial_ports = ioport 0x3f8..0x3ff;",
              "    control.serial_irq = irq 5;", "    control.serial_ports = ioport 0x3e8..0x3ef;",
              f"    console.prefix = {'true' if len(guests) > 1 else 'false'};"]
    if spare:
        lines.append(f"    memmgr.spaces.spare = {spare};")
    for i, g in enumerate(guests):
        lines += _guest(i, g)
    for g in [g for g in guests if "record" in g][:1]:
        lines += _recorder(g["name"])
    return "\n".join(lines + ["}", ""])
