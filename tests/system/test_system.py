# SPDX-License-Identifier: BSD-2-Clause
"""The system from a description, with guests of a few bytes: what init builds, grants, reports, and who survives whom."""
import re
import sys
import zlib

import pytest
from umbra import console, layout, qemu, system

sys.path.insert(0, str(layout.ROOT / "idl"))
from umbra_idl.desc import HEADER   # noqa: E402

KERNEL = layout.kernel_output("debug")
SERVERS = {name: layout.server_output("debug", name) for name in ("init", "memmgr", "console", "tinyvmm")}
GUESTS = {name: layout.module_output("debug", "guests/" + name) for name in ("real_ten", "long_touch")}
pytestmark = pytest.mark.needs(KERNEL, *SERVERS.values(), *GUESTS.values())
MODULES = ("memmgr", "console", "tinyvmm", "real_ten", "long_touch")


@pytest.fixture
def tiny(boot, tmp_path):
    """tiny("vmm0.x=1", cmdline="", ...) boots systems/tiny.idl to its end; the result has .log, .consoles and .value."""
    class Result:
        pass

    def compile(*settings, source="systems/tiny.idl"):
        words = [w for s in settings for w in ("--set", s)]
        system.compiler("compile", source, "-o", str(tmp_path), *words)
        return tmp_path / "system.desc"

    def run(*settings, cmdline="", leave_out=(), description=None, seconds=30, memory="512M", replace=(), icount=False):
        files = {**SERVERS, **GUESTS, **dict(replace)}
        path = description or compile(*settings)
        modules = [(SERVERS["init"], ""), (str(path), "")]
        modules += [(files[name], name) for name in MODULES if name not in leave_out]
        log = tmp_path / "kernel.log"
        machine = boot(kernel=KERNEL, modules=modules, cmdline="log=com2 " + cmdline, memory=memory, icount=icount,
                       serials=("socket", str(log)))
        status = machine.wait(seconds)
        result = Result()
        result.log = log.read_text(errors="replace").replace("\r", "")
        assert status is not None, "no end\n" + result.log
        result.value = qemu.debug_exit_value(status)
        result.consoles = {0: b"", 1: b""}
        for guest, data in console.Shared(2).receive(machine.output):
            result.consoles[guest] += data
        return result

    run.compile = compile
    return run


def ended(log):
    return dict(re.findall(r"^guest (\S+) ended: (.*)$", log, re.M))


def test_two_guests_run_from_a_description(tiny):
    result = tiny()
    assert result.value == system.END_CLEAN
    assert ended(result.log) == {"vmm0": "done: the guest halts", "vmm1": "done: the guest halts"}
    assert result.consoles == {0: b"A", 1: b"LMNO"}


def audits(log):
    return {m[1]: {k: int(v, 16 if k == "order" else 10) for k, v in zip(m[2].split()[::2], m[2].split()[1::2])}
            for m in re.finditer(r"^audit (\S+) (pages .*)$", log, re.M)}


def test_guest_memory_is_scattered_by_the_seed_and_results_are_not(tiny):
    orders = []
    for seed in (1, 2, 2): # in virtual time: which of the two asks first is the clock's affair
        result = tiny("vmm0.vm.memory=16M", cmdline="audit seed=%d" % seed, icount=True)
        assert "memmgr: " in result.log and "seed %d\n" % seed in result.log
        assert result.consoles == {0: b"A", 1: b"LMNO"} and result.value == system.END_CLEAN
        found = audits(result.log)
        assert found["vmm0"]["mapped"] == 4096 and found["vmm1"]["mapped"] == 1024
        for one in found.values():
            assert one["apart"] > 0.9 * one["pairs"]
            assert one["most-frequent-difference"] < 0.05 * one["pairs"]
        orders.append([one["order"] for one in found.values()])
    assert orders[0] != orders[1] and orders[1] == orders[2]


def test_a_crashed_component_is_reported_and_the_other_guest_lives_on(tiny):
    result = tiny("vmm0.trespass=1")
    assert result.value == system.END_GUEST
    assert ended(result.log)["vmm1"] == "done: the guest halts"
    assert re.match(r"crashed: page fault at 0x\w+, address 0x7fff10000000, error code 0x7", ended(result.log)["vmm0"])
    assert re.search(r"^report vmm0 1: rip 0000000000\w+ rsp 00007ffeffff\w+ ", result.log, re.M)
    assert result.consoles[1] == b"LMNO"


def test_calls_on_every_slot_change_nothing(tiny):
    result = tiny("vmm0.trespass=2")
    assert result.value == system.END_CLEAN
    assert result.consoles == {0: b"A", 1: b"LMNO"}


def failure(result):
    """The one line in which init says why it gives up."""
    assert result.value == system.END_SYSTEM
    lines = re.findall(r"^init: .* failed: .*$", result.log, re.M)
    assert len(lines) == 1, result.log
    return lines[0]


@pytest.mark.parametrize("name,step", [("memmgr", "component of memmgr"), ("real_ten", "component of vmm0")])
def test_a_missing_boot_module_is_named(tiny, name, step):
    assert failure(tiny(leave_out=(name,))) == 'init: %s failed: there is no boot module "%s"' % (step, name)


def test_a_changed_description_is_refused(tiny, tmp_path):
    data = bytearray(tiny.compile().read_bytes())
    data[-1] ^= 1
    bad = tmp_path / "bad.desc"
    bad.write_bytes(data)
    assert "(%s): bad checksum at record 0" % bad in failure(tiny(description=bad))


def test_a_description_with_a_wrong_count_of_records_is_refused(tiny, tmp_path):
    data = bytearray(tiny.compile().read_bytes())
    data[28:32] = (int.from_bytes(data[28:32], "little") - 1).to_bytes(4, "little")
    data[24:28] = zlib.crc32(data[HEADER.size:]).to_bytes(4, "little")
    bad = tmp_path / "bad.desc"
    bad.write_bytes(data)
    assert "bad size at record" in failure(tiny(description=bad))


def test_a_module_that_is_no_program_is_named(tiny):
    line = failure(tiny(replace={"console": GUESTS["real_ten"]}.items()))
    assert line == 'init: component of console failed: boot module "console": it is no ELF file'


def test_a_machine_with_too_little_memory_is_one_line(tiny):
    line = failure(tiny("vmm0.vm.memory=64M", memory="64M"))
    assert "too little memory" in line


def test_a_component_of_another_description_says_so(tiny, tmp_path):
    """Its information page does not fit what it was built for, so it ends by itself."""
    text = (layout.ROOT / "idl/interfaces/components.idl").read_text()
    for name in layout.find("idl/interfaces/*.idl"):
        (tmp_path / name.split("/")[-1]).write_text((layout.ROOT / name).read_text())
    (tmp_path / "components.idl").write_text(text.replace("attribute u32 trespass = 0;",
                                                          "attribute u32 trespass = 0; attribute u32 more = 0;"))
    (tmp_path / "t.idl").write_text((layout.ROOT / "systems/tiny.idl").read_text().replace(
        "../idl/interfaces/components.idl", "components.idl"))
    result = tiny(description=tiny.compile(source=str(tmp_path / "t.idl")))
    assert result.value == system.END_GUEST
    assert ended(result.log)["vmm0"] == "bad image: this program was built for another system description"
