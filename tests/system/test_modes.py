# SPDX-License-Identifier: BSD-2-Clause
"""A hand-written guest in every paging mode (tests/guests/modes.S), as guest and bare: it must see the same.

Bare, QEMU and bochs start it from a ROM of 64 KiB whose reset vector copies it to where a boot sector lies. Where their
processors differ, it is named here: bochs is the stricter one, and has nothing to be excused of in the matrix.
"""
import argparse
import re

import pytest
from modes_guest import IMAGE, NEEDED, SECONDS, unspoken
from umbra import images, layout, system

pytestmark = pytest.mark.needs(*NEEDED)

# Pointers of PAE paging are loaded with CR3 (APM vol. 2, 5.3.4); TCG reads them at every walk and finds reserved bits there.
LATCHED = "latched .@@.0d."
LATCHED_BARE = "latched @@..80."


def without_exceptions(line):
    """Reserved bits give error codes without P in TCG: 8 for 9 and so on (H is 48h, I is 49h, ..). It sets A in the entry
    of a 1 GB page before it looks at the rights."""
    line = re.sub(r"[HJLNXZ\\^](?=!?[0-3])", lambda m: chr(ord(m[0]) | 1), line)
    return re.sub(r"([@-_]!?)1", r"\g<1>0", line) if "lo/G" in line else line


@pytest.fixture
def run(boot, tmp_path):
    """run("vmm0.x=1", ..) gives what the guest says, and the kernel's log."""
    def start(*settings):
        options = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None, set=settings)
        guests = [images.Guest("modes", layout.ROOT / IMAGE, None, "", 16 << 20)]
        path = tmp_path / "kernel.log"
        machine = boot(modules=system.modules(options, guests), cmdline=system.CMDLINE,
                       memory=system.machine_memory(guests), serials=("socket", str(path)))
        machine.wait(SECONDS)
        text, log = machine.text(), path.read_text(errors="replace")
        assert text.endswith("\nE\n") and "guest vmm0 ended: powered off" in log, text[-500:] + log
        return text, log
    return start


@pytest.fixture
def guest(run, said):
    if "guest" not in said:
        said["guest"], _ = run()
    return said["guest"]


def exact(text, *words):
    return [line for line in text.splitlines() if line.split(" ")[0] in words]


def lines(text, *words):
    return [without_exceptions(line) for line in exact(text, *words)]


def same(bare, guest, count, *words):
    ours, theirs = lines(guest, *words), lines(bare, *words)
    assert len(theirs) == count
    assert ours == theirs


def test_real_mode_exceptions_have_frames_of_three_words(guest):
    assert guest.splitlines()[0] == "u+g+d+i+"


@pytest.mark.parametrize("form", ["32/4", "32/L", "pa/4", "pa/L", "lo/4", "lo/L", "lo/G"])
def test_rights_error_codes_accessed_and_dirty(bare, guest, form):
    ours, theirs = ([line for line in lines(text, "matrix") if line.split(" ")[1] == form] for text in (guest, bare))
    leaves = 3 * 9 + 1 if form in ("32/4", "pa/4", "lo/4", "lo/L") else 9
    assert len(theirs) == leaves * (8 if form[0] == "3" else 16)
    assert ours == theirs


def test_v86_mode_faults_and_ports(bare, guest):
    same(bare, guest, 2 * 2 * 17, "v86")


def test_addresses_of_64_bits(bare, guest):
    same(bare, guest, 13, "wide")


def test_modes_in_many_orders(bare, guest):
    same(bare, guest, 1, "walk")


def test_interrupts_arrive_in_every_mode(bare, guest):
    same(bare, guest, 5, "tick")
    assert lines(guest, "tick")[1] == "tick 1 20 20 201"


def test_pae_pointers_are_those_of_the_last_load(bare, guest):
    assert lines(guest, "latched") == [LATCHED]
    assert lines(bare, "latched") == [LATCHED_BARE], "TCG has changed: compare the two, then"


def test_bochs_sees_the_same_rights_and_walk_to_the_letter(bochs, guest):
    ours, theirs = (exact(text, "matrix", "walk", "latched", "tick") for text in (guest, bochs))
    assert len(theirs) == 1928 + 2 + 5
    assert ours == theirs


def test_bochs_sees_the_same_in_v86_mode(bochs, guest):
    """TCG's frames lack RF."""
    def plain(text):
        return [re.sub(r"(?<=[0-9a-f]{4}00)[23](?=[0-9]\b)", "", unspoken(line)) for line in exact(text, "v86")]
    assert len(plain(bochs)) == 68
    assert plain(guest) == plain(bochs)


def test_bochs_sees_the_same_wide_addresses(bochs, guest):
    """By way of the stack an address that is not canonical is #SS; TCG makes #GP of it."""
    ours, theirs = exact(guest, "wide"), exact(bochs, "wide")
    assert [line for line in theirs if " 0c00 " in line] == [line.replace("0d00", "0c00") for line in ours[2:4]]
    assert ours == [line.replace(" 0c00 ", " 0d00 ") for line in theirs]


def test_modes_outlive_vmms_that_die(run, guest):
    text, log = run("vmm0.inject=0x321", "vmm0.inject_at=1000", "vmm0.inject_every=997", "vmm0.inject_stores=7")
    assert text == guest
    assert len(re.findall(r"^init: vmm0 has taken over at exit", log, re.M)) > 50
