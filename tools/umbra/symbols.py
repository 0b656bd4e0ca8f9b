# SPDX-License-Identifier: BSD-2-Clause
"""Crash reports of a kernel log (servers/init/report_text.c), with the addresses of code as function and line.

init writes them as lines `report NAME N: TEXT`, the last one `report NAME N end`. A report that was cut short, as by the end
of the machine, counts as well.
"""
import bisect
import re
import struct
import subprocess

from umbra import layout

LINE = re.compile(r"^report (\S+) (\d+)(?:: (.*)| end)$", re.M)
PROGRAM = re.compile(r"^component \S+, program (\w+),")
CODE = re.compile(r"^(?:at|called from) (0x[0-9a-f]+)$")


def reports(log):
    """{(name, number): [line, ...]} of a kernel log."""
    found = {}
    for name, number, text in LINE.findall(log):
        found.setdefault((name, int(number)), []).extend([text] if text else [])
    return found


def functions(elf):
    """[(address, name)] of an ELF file's code, sorted."""
    listed = subprocess.run(["nm", "-n", "--defined-only", elf], capture_output=True, text=True).stdout
    return [(int(address, 16), name) for address, name in re.findall(r"^([0-9a-f]+) [tTwW] (\S+)$", listed, re.M)]


def function_at(known, address):
    """`name+0x12`, or "" below all functions."""
    place = bisect.bisect_right(known, (address, "\x7f")) - 1
    return "%s+%#x" % (known[place][1], address - known[place][0]) if place >= 0 else ""


def source_lines(elf, addresses):
    """{address: `function file:line, in function file:line`}: the innermost first where functions were inlined."""
    said = subprocess.run(["addr2line", "-a", "-f", "-i", "-e", elf, *map(hex, addresses)], capture_output=True,
                          text=True).stdout
    found = {}
    for block in re.split(r"^(?=0x)", said, flags=re.M):
        address, *rest = block.splitlines() or ["0"]
        places = ["%s %s" % (function, re.sub(r" \(discriminator.*", "", line)) for function, line in
                  zip(rest[::2], rest[1::2]) if "?" not in line]
        found[int(address, 16)] = ", in ".join(places).replace("%s/" % layout.ROOT, "").replace(" ./", " ")
    return found


def code(elf):
    """[(address, bytes)] of what an ELF file loads as code."""
    data = elf.read_bytes()
    offset, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    found = []
    for n in range(count):
        kind, flags, start, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + n * size)
        found += [(address, data[start:start + length])] if kind == 1 and flags & 1 else []
    return found


def callee(pieces, returns_to):
    """Where the call before an address leads, or None: it is an indirect one."""
    for address, data in pieces:
        end = returns_to - address
        if 5 <= end <= len(data) and data[end - 5] == 0xe8:
            return (returns_to + struct.unpack_from("<i", data, end - 4)[0]) & (1 << 64) - 1
    return None


def left_over(places, known, pieces):
    """The lines whose call leads to another function than the line above that is none of them: probably left on the stack by
    a call that had returned. (A function that ends by jumping to another one looks like that, too.)"""
    base = lambda address: re.split(r"[.+]", function_at(known, address))[0]
    found, inner = set(), None
    for line, address in places.items():
        leads = callee(pieces, address + 1) if line.startswith("called") else None
        if leads is not None and inner is not None and base(leads) != inner:
            found.add(line)
        else:
            inner = base(address)
    return found


def meant(line):
    """The address that a line means, or None: of a return address the call before it."""
    found = CODE.match(line)
    return int(found[1], 16) - line.startswith("called") if found else None


def readable(lines, profile):
    """A report's lines with their addresses resolved, as far as its program is one of this tree."""
    program = next((m[1] for m in map(PROGRAM.match, lines) if m), "")
    elf = layout.ROOT / layout.server_output(profile, program)
    places = {line: meant(line) for line in lines if meant(line) is not None}
    if not places or not elf.is_file():
        return lines
    known, sources = functions(str(elf)), source_lines(str(elf), places.values())
    old = left_over(places, known, code(elf))
    said = {line: "%s  %s  %s" % (" ?" if line in old else "", function_at(known, at), sources.get(at, ""))
            for line, at in places.items()}
    return [(line + said.get(line, "")).rstrip() for line in lines]


def forget(prefix):
    """Removes the files of an earlier run."""
    for path in (layout.ROOT / prefix).parent.glob((layout.ROOT / prefix).name + "-*.txt"):
        path.unlink(missing_ok=True)


def write(log, profile, prefix):
    """Writes PREFIX-NAME-N.txt for each report of a kernel log; returns the paths."""
    paths = []
    for (name, number), lines in reports(log).items():
        path = "%s-%s-%d.txt" % (prefix, re.sub(r"[^\w.-]", "_", name), number)
        (layout.ROOT / path).write_text("\n".join(readable(lines, profile)) + "\n")
        paths.append(path)
    return paths
