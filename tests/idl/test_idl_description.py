# SPDX-License-Identifier: BSD-2-Clause
"""System descriptions: the C reader reads what the compiler means; what is granted is what is declared."""
import itertools
import json
import random
import re
import struct
import subprocess
import sys
import zlib

import pytest

from idl_support import ROOT, SANITIZE, build, generate
from umbra_idl.check import Checker, check
from umbra_idl.check_system import check_system
from umbra_idl.cheader import constants
from umbra_idl.closure import Closure, close
from umbra_idl.desc import HEADER, decode, encode, fields_of
from umbra_idl.describe import Record, describe
from umbra_idl.diagnostics import Failed, Report
from umbra_idl.parser import load

C = constants()
SYSTEMS = sorted((ROOT / "systems").glob("*.idl"))
SYSTEM = C["DESC_SYSTEM"]


def system_of(path):
    report = Report()
    checker = Checker(report)
    model = check(load(path, report), report, checker)
    return check_system(checker, model.assemblies[0])


@pytest.fixture(scope="module")
def printer(tmp_path_factory):
    out = tmp_path_factory.mktemp("desc") / "print"
    build("clang", [ROOT / "tests/idl/desc_print.c", ROOT / "lib/desc/desc.c"], out, *SANITIZE)
    return out


def lines_of(description):
    yield (f"{description.name} components={description.components} groups={description.groups} "
           f"memory={description.memory}")
    for r in description.records:
        words = [r.op, str(r.component)]
        for name, _ in fields_of(r.op):
            if name != "z":
                value = r.fields[name]
                words.append(f"{name}={value.hex() if isinstance(value, bytes) else value}")
        yield " ".join(words)


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_c_reader_reads_what_the_compiler_means(path, printer, tmp_path, run_program):
    description = describe(system_of(path))
    (tmp_path / "d").write_bytes(encode(description))
    assert run_program(printer, tmp_path / "d").splitlines() == list(lines_of(description))


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_decode_is_the_inverse_of_encode(path):
    description = describe(system_of(path))
    assert decode(encode(description)) == (description.name, description.records)


def test_changed_descriptions_are_refused_or_read_safely(printer, tmp_path):
    """Bytes of records and lengths changed at random, checksum mended: under sanitizers, never a crash."""
    rng = random.Random(7)
    good = encode(describe(system_of(ROOT / "systems/tiny.idl")))
    outcomes = {}
    for n in range(150):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            bad[rng.randrange(len(bad) if n % 3 else HEADER.size)] = rng.choice([0, 1, 0x7f, 0x80, 0xff,
                                                                                 rng.randrange(256)])
        if n % 5 == 0:
            bad = bad[:rng.randrange(len(bad))]
        if len(bad) >= HEADER.size and n % 7:
            struct.pack_into("<I", bad, 24, zlib.crc32(bad[HEADER.size:]))
        (tmp_path / "d").write_bytes(bad)
        done = subprocess.run([str(printer), str(tmp_path / "d")], capture_output=True, text=True,
                              errors="replace",
                              timeout=60)
        assert done.returncode in (0, 1), done.stderr
        why = re.match(r"refused: (.*) at", done.stdout)
        outcomes[why.group(1) if why else "ok"] = outcomes.get(why.group(1) if why else "ok", 0) + 1
    assert len(outcomes) > 4, outcomes


def holders(records):
    """group -> {(component, what it has)} from the binary's records alone."""
    held = {}
    for r in records:
        if r.op in ("CAP", "MAP", "VIEW"):
            held.setdefault(r.fields["group"], set()).add((r.component, r.op, r.fields["rights"]))
        if r.op == "NOTIFY":
            held.setdefault(r.fields["notification"], set()).add((r.component, r.op, 0))
    return {g: h for g, h in held.items() if g < C["DESC_OWN_CNODE"]}


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_whatever_two_components_share_is_a_declared_connection(path):
    """An audit of the binary, independent of the checker: no group is held by two components that are not
    connected, and none at all by two components that run guests."""
    system = system_of(path)
    _, records = decode(encode(describe(system)))
    allowed = {frozenset((c.source.index, c.target.index)) for c in system.connections}
    guests = {i.index for i in system.components if i.guest}
    init_endpoint = 0
    types = {r.fields["group"]: r.fields["type"] for r in records if r.op == "OBJECTS"}
    one_way = (C["OBJ_ENDPOINT"], C["OBJ_NOTIFICATION"])
    for group, who in holders(records).items():
        for a, b in itertools.combinations({component for component, _, _ in who}, 2):
            if group == init_endpoint:
                continue
            # What all clients of one server hold to send only leads to the server, not to each other.
            sends = types[group] in one_way and all(rights & C["RIGHT_READ"] == 0 and op == "CAP"
                                                    for c, op, rights in who if c in (a, b))
            assert frozenset((a, b)) in allowed or sends, (group, who)
            assert not {a, b} <= guests or sends, (group, who)


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_guest_components_hold_no_memory_of_others(path):
    """A guest's component has no capability to memory, guest space or kernel; its window is its own guest."""
    _, records = decode(encode(describe(system_of(path))))
    types = {r.fields["group"]: r.fields["type"] for r in records if r.op == "OBJECTS"}
    owners = {r.fields["owner"]: r.fields for r in records if r.op == "GUEST"}
    assert owners
    for r in records:
        if r.component not in owners:
            continue
        if r.op == "CAP":
            assert r.fields["group"] != C["DESC_OWN_KERNEL"]
            assert types.get(r.fields["group"]) not in [C["OBJ_" + t] for t in ("UNTYPED", "FRAME",
                                                                                "GUESTSPACE", "VM")]
        if r.op == "VIEW":
            own = owners[r.component]
            assert r.fields["group"] in (own["vm"], own["vcpu"], own["space"])


def stray_grants(system, description):
    """Every record that would give a guest's component an object, or a frame, that is another guest's alone."""
    guests = {r.fields["owner"]: r.fields for r in description.records if r.op == "GUEST"}
    mapped = [(r.component, r.fields["group"]) for r in description.records if r.op == "MAP"]
    for owner, g in guests.items():
        objects = [(g[key], "CAP") for key in ("vm", "vcpu", "space", "shadow")]
        objects += [(g["space"], "VIEW"), (g["vcpu"], "VIEW"), (g["vm"], "VIEW")]
        objects += [(group, op) for who, group in mapped if who == owner and
                    {w for w, at in mapped if at == group} == {owner} for op in ("CAP", "MAP")]
        for other in guests:
            for group, op in objects if other != owner else ():
                yield Record(op, other, {"slot": 900, "group": group, "first": 0, "count": 1, "rights": C["RIGHT_READ"],
                                         "badge": 0, "kind": 0, "address": 0})
    events = [r for r in description.records if r.op == "CAP" and r.component in guests and
              r.fields["slot"] == C["DESC_SLOT_NOTIFICATION"]]
    for r in events:
        for other in guests:
            if other != r.component:
                yield Record("CAP", other, r.fields | {"slot": 900, "rights": C["RIGHT_READ"]})
    for other in guests:
        yield Record("CAP", other, {"slot": C["DESC_SLOT_LOG"], "group": C["DESC_OWN_KERNEL"], "first": 0, "count": 1,
                                    "rights": C["RIGHT_WRITE"], "badge": 0})
        for r in description.records:
            if r.op == "CAP" and r.component == other and r.fields["badge"] and not r.fields["rights"] & C["RIGHT_GRANT"]:
                if r.fields["group"] in {x.fields["group"] for x in description.records if x.op == "OBJECTS" and
                                         x.fields["type"] == C["OBJ_ENDPOINT"]}:
                    yield Record("CAP", other, r.fields | {"rights": r.fields["rights"] | C["RIGHT_GRANT"]})


def two_guests():
    return next(s for s in map(system_of, SYSTEMS) if sum(bool(i.guest) for i in s.components) > 1)


def misplaced(description):
    """Every record once more as another component's; every binding, fault endpoint and badge as another's; rights of what is shared."""
    records, ids = description.records, [r.component for r in description.records if r.op == "COMPONENT"]
    types = {r.fields["group"]: r.fields["type"] for r in records if r.op == "OBJECTS"}
    of_type = lambda *names: [g for g, t in types.items() if t in [C["OBJ_" + n] for n in names]]
    ends = {"CAP": "slot", "MAP": "address", "VIEW": "address"}
    own = {(r.fields["owner"], r.fields[key]) for r in records if r.op == "GUEST" for key in ("vm", "vcpu", "space", "shadow")}
    for n, r in enumerate(records):
        f = r.fields
        if r.op in ends and f["group"] < C["DESC_OWN_CNODE"]:
            for other in ids:
                if other != r.component and (other, f["group"]) not in own:
                    yield f"{r.op} {f} of {r.component} for {other}", records + [Record(r.op, other, f)]
                    yield f"{r.op} {f} of {r.component} for {other} elsewhere", records + [Record(r.op, other, f | {ends[r.op]: 900 << 12})]
        changed = []
        if r.op in ("TIMER", "IRQ", "GUEST", "NOTIFY"):
            changed += [{"notification": g} for g in of_type("NOTIFICATION")]
        if r.op == "GUEST":
            changed += [{key: g} for key, t in (("vm", "VM"), ("vcpu", "VCPU"), ("space", "GUESTSPACE"), ("shadow", "SHADOW"))
                        for g in of_type(t)]
            changed += [{"owner": other} for other in ids] + [{"client": f["client"] + 1}]
        if r.op == "COMPONENT":
            changed += [{"fault": g} for g in of_type("ENDPOINT")]
            changed += [{"fault_badge": x.fields["fault_badge"]} for x in records if x.op == "COMPONENT"]
        if r.op == "CAP" and f["rights"] == C["RIGHT_WRITE"] and types.get(f["group"]) in (C["OBJ_ENDPOINT"], C["OBJ_NOTIFICATION"]):
            changed += [{"badge": x.fields["badge"]} for x in records if x.op == "CAP" and x.component != r.component and
                        x.fields["group"] == f["group"] and x.fields["rights"] & C["RIGHT_WRITE"]]
            changed += [{"badge": 0}, {"rights": 3}, {"rights": 1}, {"count": 2}]
        if r.op == "MAP" and sum(x.op == "MAP" and x.fields["group"] == f["group"] for x in records) > 1:
            changed += [{"rights": 4 - f["rights"]}, {"count": f["count"] + 1}, {"first": 1}]
        for c in changed:
            if f | c != f:
                yield f"{r.op} {f} of {r.component} with {c}", records[:n] + [Record(r.op, r.component, f | c)] + records[n + 1:]


def test_whatever_no_connection_declares_is_refused():
    """Of a good description, each record for another, and each binding changed, one by one."""
    system, tried = two_guests(), 0
    for what, records in misplaced(describe(system)):
        description, report = describe(system), Report()
        description.records = records
        with pytest.raises(Failed):
            close(system, description, report)
            pytest.fail(what)
        assert {d.code for d in report.items} <= {"E073", "E074", "E080"}
        tried += 1
    assert tried >= 300


def test_any_grant_of_a_guest_to_another_is_refused():
    """What the checker lets nobody write, added to the records one by one: the closure finds each by itself."""
    system, tried = two_guests(), 0
    for stray in stray_grants(system, describe(system)):
        description, report = describe(system), Report()
        description.records.append(stray)
        Closure(system, description).run(report)
        assert report.items and {d.code for d in report.items} <= {"E073", "E074", "E080"}, stray
        with pytest.raises(Failed):
            close(system, description, Report())
        tried += 1
    assert tried >= 20


def test_receiving_ends_are_held_by_their_owner_only():
    _, records = decode(encode(describe(system_of(ROOT / "systems/tiny.idl"))))
    receivers = {}
    for r in records:
        if r.op == "CAP" and r.fields["rights"] & C["RIGHT_READ"] and r.fields["group"] < C["DESC_OWN_CNODE"]:
            receivers.setdefault(r.fields["group"], set()).add(r.component)
    assert all(len(who) == 1 for who in receivers.values())
    made = {r.fields["group"]: r.fields["name"] for r in records if r.op == "OBJECTS"
            and r.fields["type"] in (C["OBJ_ENDPOINT"], C["OBJ_NOTIFICATION"])}
    index = {r.fields["name"]: r.component for r in records if r.op == "COMPONENT"}
    for group, name in made.items():
        owner = name.split(".")[0]
        assert receivers.get(group, set()) == ({index[owner]} if owner != "init" else set()), name


def test_who_comes_before_the_guests_leaves_them_half_of_the_processor():
    """Though it spins. init, which comes before all, has what the kernel gives it."""
    path, report = ROOT / "idl/interfaces/components.idl", Report()
    components = [c for c in check(load(path, report), report, Checker(report)).components.values() if c.module]
    guests = max(c.priority for c in components if c.guest)
    before = [c for c in components if c.priority > guests]
    assert {"memmgr", "console", "control", "recorder"} <= {c.name for c in before}
    assert [c.name for c in before if 2 * c.budget > c.period] == []


def test_badges_of_one_object_are_all_different():
    _, records = decode(encode(describe(system_of(ROOT / "systems/tiny.idl"))))
    seen = set()
    for r in records:
        if r.op == "CAP" and r.fields["badge"]:
            key = (r.fields["group"], r.fields["badge"])
            assert key not in seen
            seen.add(key)
    assert len(seen) > 8


def test_settings_of_the_command_line_replace_those_of_the_assembly(tmp_path):
    done = generate(ROOT / "systems/linux.idl", tmp_path, "--set", "vmm0.vm.memory=64M", "--set",
                    'vmm0.vm.command_line="quiet \\"x\\""')
    assert done.returncode == 0, done.stderr
    _, records = decode((tmp_path / "system.desc").read_bytes())
    assert [r.fields["pages"] for r in records if r.op == "GUEST"] == [64 * 256]
    assert [b'quiet "x"\0' in r.fields["config"] for r in records if r.op == "COMPONENT"] == [False, False, False,
                                                                                              True]
    summary = json.loads((tmp_path / "system.json").read_text())
    assert summary["components"]["vmm0"]["guest"]["memory_bytes"] == 64 << 20


@pytest.mark.parametrize("option,text", [
    (["--memory", "100M"], "E067"), (["--set", "vmm0.vm.memory=4G", "--memory", "8G"], "E068"),
                                         (["--set", "vmm0.nothing=1"], "E018"),
    (["--set", "vmm0=1"], "E001"), (["--set", "vmm0.vm.memory=%"], "E001")])
def test_bad_options_are_diagnostics_and_status_1(option, text, tmp_path):
    done = generate(ROOT / "systems/linux.idl", tmp_path, *option)
    assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda p: p.stem)
def test_all_generated_c_of_a_system_compiles(path, tmp_path):
    assert generate(path, tmp_path).returncode == 0
    for source in sorted(tmp_path.glob("*.c")):
        build("gcc", [source], tmp_path / "x.o", "-O2", "-c")
    for header in sorted(tmp_path.glob("*.h")):
        (tmp_path / "one.c").write_text(f'#include "{header.name}"\n#include "{header.name}"\nint unused_;\n')
        build("clang", [tmp_path / "one.c"], tmp_path / "x.o", "-c")


def test_guests_of_the_command_line_become_a_system(tmp_path):
    words = ["name=a,memory=64M,kernel=kernel0,initrd=initrd0,command_line=console=ttyS0,,115200 x=\"y\"",
             "name=b,memory=96M,kernel=kernel0,shadow_tables=300"]
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "guests", *words], cwd=ROOT / "idl",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (tmp_path / "g.idl").write_text(done.stdout)
    done = generate(tmp_path / "g.idl", tmp_path)
    assert done.returncode == 0, done.stderr
    name, records = decode((tmp_path / "system.desc").read_bytes())
    guests = [r.fields for r in records if r.op == "GUEST"]
    assert name == "guests" and [(g["name"], g["pages"]) for g in guests] == [("a", 64 * 256), ("b",
                                                                                                96 * 256)]
    assert any(b'console=ttyS0,115200 x="y"\0' in r.fields["config"] for r in records if r.op == "COMPONENT")
    pool = [r.fields for r in records if r.op == "OBJECTS" and r.fields["type"] == C["OBJ_UNTYPED"]]
    assert pool[0]["count"] << pool[0]["bits"] >= 160 << 20
    tables = [r.fields["count"] for r in records if r.op == "OBJECTS" and r.fields["type"] == C["OBJ_SHADOW"]]
    assert tables == [1024, 300]


def test_places_for_created_guests_have_all_but_images_and_memory_once(tmp_path):
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "guests", "name=a,memory=64M,kernel=k", "name=p0,memory=96M,spare=true",
                           "name=p1,memory=96M,spare=true", "--spare", "96M"], cwd=ROOT / "idl", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (tmp_path / "g.idl").write_text(done.stdout)
    done = generate(tmp_path / "g.idl", tmp_path)
    assert done.returncode == 0, done.stderr
    _, records = decode((tmp_path / "system.desc").read_bytes())
    components = [r.fields["name"] for r in records if r.op == "COMPONENT"]
    guests = {r.fields["name"]: r.fields for r in records if r.op == "GUEST"}
    assert [guests[n]["spare"] for n in ("a", "p0", "p1")] == [0, 1, 1]
    assert {g["manager"] for g in guests.values()} == {components.index("memmgr")}
    assert [guests[n]["client"] for n in ("a", "p0", "p1")] == [0, 1, 2]
    assert {g["spare_pages"] for g in guests.values()} == {96 * 256}
    pool = next(r.fields for r in records if r.op == "OBJECTS" and r.fields["type"] == C["OBJ_UNTYPED"])
    assert 160 << 20 <= pool["count"] << pool["bits"] <= 176 << 20
    kinds = {n: [(r.op, r.fields.get("slot"), r.fields.get("address"), r.fields.get("rights")) for r in records
                 if r.component == components.index(n) and r.op in ("CAP", "MAP", "VIEW")] for n in ("a", "p0")}
    assert kinds["a"] == kinds["p0"]    # the same capabilities in the same places
    images = {n: [(r.fields["which"], r.fields["name"]) for r in records if r.op == "MODULE" and r.component == components.index(n)]
              for n in ("a", "p0")}
    assert images == {"a": [(0, "k")], "p0": [(0, ""), (1, "")]}
    assert {r.component: r.fields["later"] for r in records if r.op == "START"}[components.index("p0")] == 1


@pytest.mark.parametrize("words", ["name=a", "memory=1M", "name=a,memory=1M,disk=x", "name=1,memory=1M",
                                   "name=a,name=b,memory=1M", ""])
def test_bad_guests_are_refused_with_status_2(words):
    done = subprocess.run([sys.executable, "-m", "umbra_idl", "guests", words], cwd=ROOT / "idl",
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "bad guest" in done.stderr
