# SPDX-License-Identifier: BSD-2-Clause
"""Inside gdb, on a debug kernel: a line for each step that tests/verify/epoch.steps knows, as tools/umbra/epochs.py reads them.

The kernel tells its TLB model (kernel/softtlb.h) of each before it does it; these calls, and two functions of guest memory and entry,
are where the machine is stopped. What a line says beyond that is read from the kernel's own objects. Set before: $trace_path, and
$trace_steps, after which the machine is ended; 0: it ends by itself.
"""
import struct

import gdb

PHYS_BASE = 0xffff800000000000
BASE = 1 << 64
PAGE = 4096
out = open(gdb.parse_and_eval("$trace_path").string(), "w")
to_come = int(gdb.parse_and_eval("$trace_steps")) or -1
last = None


def number(expression):
    return int(gdb.parse_and_eval(expression))


def offset(kind, path):
    return number("(unsigned long)&((struct %s *)0)->%s" % (kind, path))


EPOCH = offset("guestspace", "epoch")
VCPU = {name: offset("vcpu", name) for name in ("vm", "force_flush", "root.table", "root.epoch", "root.tlb.downgrades", "root.format")}
VM = {name: offset("vm", name) for name in ("space", "downgrades")}
META_BYTES = number("sizeof(struct frame_meta)")
META_SHADOW, META_VM = number("META_SHADOW"), number("META_VM")


def register(name):
    return int(gdb.selected_frame().read_register(name)) % BASE


def words(address, count=1):
    return struct.unpack("<%dQ" % count, gdb.selected_inferior().read_memory(address % BASE, 8 * count).tobytes())


def word(address):
    return words(address)[0]


def meta_of(hpa):
    return words(number("(unsigned long)frame_meta") + hpa // PAGE * META_BYTES, 2)


def frame(owner):
    return (owner >> 4 & 0xfffffff) * PAGE


def space_of(vm):
    space = word(PHYS_BASE + vm + VM["space"])
    return (space - PHYS_BASE) % BASE if space else 0


def begun():
    table = register("rdi") - PHYS_BASE
    owner, stamp = meta_of(table)
    vm = frame(owner)
    return "begun", table, vm, space_of(vm), owner >> 36 & 3, owner >> 32 & 15, stamp


def change():
    entry = register("rdi") - PHYS_BASE
    return "change", entry // PAGE * PAGE, entry % PAGE // 8, word(PHYS_BASE + entry), register("rsi")


def cleared():
    return "cleared", register("rdi") - PHYS_BASE


def ended():
    table = register("rdi")
    owner, stamp = meta_of(table)
    return ("ended", table, stamp) if owner & 15 == META_SHADOW else None


def left():
    """The compiler may have put softtlb_taken() into it."""
    vm = register("rdi") - PHYS_BASE
    return ("leave", vm) if meta_of(vm)[0] & 15 == META_VM else None


def taken():
    return "taken", register("rdi") - PHYS_BASE


def bump():
    space = register("rdi")
    return "bump", space - PHYS_BASE, word(space + EPOCH)


def flush():
    return "flush",


def enter():
    vcpu = register("rdi")
    vm = word(vcpu + VCPU["vm"])
    space = word(vm + VM["space"])
    return ("enter", vcpu - PHYS_BASE, vm - PHYS_BASE, space - PHYS_BASE, word(space + EPOCH), word(vcpu + VCPU["root.epoch"]),
            word(vcpu + VCPU["root.format"]), register("rsi") & 0xffffffff, register("rdx") & 0xffffffff,
            word(vcpu + VCPU["root.tlb.downgrades"]), word(vm + VM["downgrades"]), *words(vcpu + VCPU["root.table"], 4))


class Place(gdb.Breakpoint):
    def __init__(self, function, tell):
        super().__init__("*" + hex(number("(unsigned long)&" + function)), internal=True)
        self.tell = tell

    def stop(self):
        """True once there are steps enough. QEMU stops twice at one place, seldom, where an interrupt comes between: nothing has
        changed then."""
        global to_come, last
        line = self.tell()
        if line and not (line == last and line[0] == "change"):
            out.write(" ".join([line[0], *("%x" % x for x in line[1:])]) + "\n")
            to_come -= 1
        last = line
        return to_come == 0


for function, tell in (("softtlb_begun", begun), ("softtlb_change", change), ("softtlb_cleared", cleared), ("softtlb_ended", ended),
                       ("softtlb_left", left), ("softtlb_taken", taken), ("guestspace_bump", bump), ("arch_flush_space", flush), ("softtlb_enter", enter)):
    Place(function, tell)
try:
    gdb.execute("continue")
    gdb.execute("monitor quit")
except gdb.error:      # the machine ended
    pass
out.close()
