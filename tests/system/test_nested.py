# SPDX-License-Identifier: BSD-2-Clause
"""`run --paging nested`: the same guests, VMM and servers on tables of nested format, whose page faults, loads of CR3 and
INVLPG are nobody's but the guest's."""
import argparse
import re
import time

import pytest
from linux_guest import QUIET, needs_verify, require_verified, require_whole, verifying_guest
from modes_guest import IMAGE, NEEDED, comparable
from test_memory import section_of
from test_restart import PARTS, SMALL, dies, taken_over
from umbra import control, guest, images, layout, qemu, replay, system

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="nested", profile="debug", seed=None)
SECONDS = 120
pytestmark = pytest.mark.needs(*NEEDED)
NESTED = ["--paging", "nested"]


def machine_of(boot, tmp_path, one, settings=(), cmdline="", **words):
    """A booted machine with one guest, and where the kernel's log goes."""
    log = tmp_path / "kernel.log"
    options = argparse.Namespace(**{**vars(OPTIONS), "set": list(settings)})
    return boot(modules=system.modules(options, [one]), cmdline=system.CMDLINE + cmdline, memory=system.machine_memory([one]),
                serials=("socket", str(log)), **words), log


def modes(boot, tmp_path, *settings):
    """What the hand-written guest of every paging mode says, and the kernel's log."""
    machine, log = machine_of(boot, tmp_path, images.Guest("modes", layout.ROOT / IMAGE, None, "", 16 << 20), settings)
    machine.wait(SECONDS)
    text = log.read_text(errors="replace")
    assert machine.text().endswith("\nE\n") and "guest vmm0 ended: powered off" in text, machine.text()[-500:] + text
    return machine.text(), text


def test_debian_gives_a_shell_and_pages_without_exits(dialogue):
    outcome = dialogue([(b"\n/ # ", b"uname -r\n"), (b"\n/ # ", b"ps | wc -l\n"), (b"\n/ # ", b"poweroff -f\n")], *NESTED,
                       "--kernel", guest.kernel("cloud-amd64"), "--initrd", guest.initramfs(), "--append", QUIET)
    assert outcome.status == 0 and re.search(r"^6\.1\..*cloud-amd64\r?$", outcome.console, re.M), outcome.console + outcome.said
    counts = outcome.stats["guests"]["linux"]["counts"]
    assert outcome.stats["paging"] == "nested"
    assert counts["exits_npf"] > 100 and not {"exits_page", "exits_invlpg", "cr3_served"} & set(counts), counts
    assert counts["exits_cr"] < 200, counts     # CR0 and CR4 only


def test_the_processor_runs_the_guest_on_a_table_of_its_vmm(boot, tmp_path):
    one = images.Guest("g0", guest.kernel("cloud-amd64"), guest.initramfs(), QUIET, 128 << 20)
    machine, log = machine_of(boot, tmp_path, one, cmdline=" audit")
    machine.expect("^/ # ", SECONDS)
    machine.send("reboot -f\n")
    assert qemu.debug_exit_value(machine.wait(60)) == system.END_CLEAN
    text = log.read_text(errors="replace").replace("\r", "")
    on, root = re.search(r"^  nested paging (\d+) cr3=(\w+) ", section_of(text, "vcpu vmm0")[1], re.M).groups()
    assert on == "1" and int(root, 16) in {c.first for c in section_of(text, "slots vmm0")[0] if c.type == "shadow"}


@needs_verify
def test_verifying_workload_passes_on_nested_paging(headless):
    require_verified(headless(*NESTED, *verifying_guest("--scale", "0.3"), seconds=400))


def test_every_paging_mode_is_as_bare_to_the_letter(boot, tmp_path, bare):
    assert comparable(modes(boot, tmp_path)[0]) == comparable(bare)


def test_modes_on_nested_paging_outlive_vmms_that_die(boot, tmp_path, bare):
    text, log = modes(boot, tmp_path, "vmm0.inject=0x321", "vmm0.inject_at=1000", "vmm0.inject_every=997",
                      "vmm0.inject_stores=7")
    assert comparable(text) == comparable(bare)
    assert len(re.findall(r"^init: vmm0 has taken over at exit", log, re.M)) > 5


@needs_verify
def test_linux_on_nested_paging_writes_the_same_bytes_whoever_serves_it(headless, quiet_run):
    options = [*NESTED, *verifying_guest(*PARTS, **SMALL)]
    expected = quiet_run(headless, options)
    outcome = headless(*options, *dies("delivery", "store", "reply", at=2, every=199, stores=7), seconds=400)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    assert len(taken_over(outcome)) >= 20, outcome.kernel_log[-2000:]


@needs_verify
def test_nested_tables_are_audited_and_made_again_after_a_restart_and_a_start(boot, tmp_path):
    words = dict(zip(*[iter(verifying_guest("--scale", "4", "storm", "memory", "cow", **SMALL))] * 2))
    one = images.Guest("v", words["--kernel"], words["--initrd"], words["--append"], 128 << 20)
    path = tmp_path / control.SOCKET
    machine, _ = machine_of(boot, tmp_path, one, control=str(path))
    end = time.monotonic() + SECONDS * machine.patience
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    with control.open_channel(str(path), SECONDS * machine.patience) as channel:
        while channel.guests()[0]["exits"] < 4000:
            time.sleep(0.1)
        found = []
        for way in ("kill-vmm", "restart-vmm", None):
            found.append(channel.audit("vmm0"))
            if way:
                channel.ask(way, guest="vmm0")
            machine.receive(1)
        channel.ask("stop", guest="vmm0")
        channel.ask("start", guest="vmm0")   # on another vCPU, which must take the VM's paging
    assert [f for f in found if f["differences"]] == [] and len({f["incarnation"] for f in found}) == 3, found
    assert found[0]["entries"] > 5000 and found[0]["unsynced"] == 0, found
    machine.expect("^verify all ok", SECONDS)


@pytest.mark.needs(layout.REPLAY_OUTPUT)
def test_recording_on_nested_paging_replays_the_same(headless, tmp_path):
    path = tmp_path / "recording"
    outcome = headless(*NESTED, "--record", path, "--kernel", guest.kernel("cloud-amd64"), "--initrd", guest.initramfs(),
                       "--append", guest.APPEND, *dies("store", "reply", at=2, every=999, stores=7), typed=24 * "poweroff -f\n")
    assert outcome.status == 0, outcome.said
    done = replay.replay(path)
    assert done.returncode == 0 and re.search(r"^replay: \d+ exits .* of \d\d? VMMs in \d+ bytes: the same$", done.stdout, re.M), \
        done.stdout[-2000:]
