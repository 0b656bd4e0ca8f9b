# SPDX-License-Identifier: BSD-2-Clause
"""The description of what `run` boots: made for the guests that the user asks for."""
import argparse
import pathlib
import re

import pytest
from umbra import images, layout, run, system
from umbra.errors import Usage

OPTIONS = argparse.Namespace(system=system.DEFAULT, paging="shadow", profile="debug", seed=None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("K", "K2", "I"):
        (tmp_path / name).write_bytes(b"x" * 100)
    ours = layout.BUILD / "test-run"
    ours.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(system, "folder", lambda: ours)
    return tmp_path


def guest(folder, name="a", mem=128 << 20, append="", initrd=True, kernel="K"):
    return images.Guest(name, folder / kernel, folder / "I" if initrd else None, append, mem)


def test_each_guest_has_a_component_and_modules_in_order(folder):
    summary = system.describe(OPTIONS, [guest(folder), guest(folder, "b", 64 << 20, initrd=False, kernel="K2")])
    assert summary["modules"] == ["memmgr", "console", "control", "vmm", "kernel0", "initrd0", "kernel1"]
    guests = {name: c["guest"] for name, c in summary["components"].items() if c["guest"]}
    assert [g["memory_bytes"] for g in guests.values()] == [128 << 20, 64 << 20]
    assert list(guests) == ["vmm0", "vmm1"]


def test_guests_with_the_same_files_share_modules(folder):
    guests = [guest(folder), guest(folder, "b"), guest(folder, "c", kernel="K2")]
    assert system.describe(OPTIONS, guests)["modules"] == ["memmgr", "console", "control", "vmm", "kernel0", "initrd0", "kernel2"]


def test_too_many_files_of_guests_are_one_clear_line(folder):
    guests = [images.Guest("g%d" % n, folder / ("K%d" % n), folder / ("I%d" % n), "", 16 << 20) for n in range(10)]
    for path in [g.kernel for g in guests] + [g.initrd for g in guests]:
        path.write_bytes(b"x")
    with pytest.raises(Usage, match="20 different kernels and initramfs; at most 18 fit one system"):
        system.describe(OPTIONS, guests)


@pytest.mark.parametrize("append", ["a=1,2 b", 'say="hello world"', "back\\slash", "tab\there", ""])
def test_a_command_line_arrives_byte_for_byte(folder, append):
    system.describe(OPTIONS, [guest(folder, append=append)])
    assert append.encode() + b"\0" in (system.folder() / "system/system.desc").read_bytes()


@pytest.mark.parametrize("mem", [16 << 20, 512 << 20, 2048 << 20])
def test_the_machine_is_large_enough_for_its_guests(folder, mem):
    assert system.describe(OPTIONS, [guest(folder, mem=mem)])["memory_bytes"] <= system.memory_bytes([guest(folder, mem=mem)])


def test_too_many_guests_is_one_clear_line(folder):
    with pytest.raises(Usage) as caught:
        system.describe(OPTIONS, [guest(folder, str(n), 16 << 20) for n in range(system.GUESTS_MAX + 1)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sizes", [[80 << 20] * system.GUESTS_MAX, [2040 << 20] * 2])
def test_as_many_guests_and_as_much_memory_as_is_promised_can_be_described(folder, sizes):
    system.check_guests(sizes)
    guests = [guest(folder, "g%d" % n, size) for n, size in enumerate(sizes)]
    assert system.describe(OPTIONS, guests)["memory_bytes"] <= system.memory_bytes(guests)


@pytest.mark.parametrize("pool, count", [(16 << 20, 1), (256 << 20, 3), (3 << 30, 2), (1 << 30, 7), (256 << 20, 31)])
def test_places_for_created_guests_fit_the_machine(folder, pool, count):
    options = argparse.Namespace(**vars(OPTIONS), pool=pool, pool_guests=count, module=[folder / "K2"])
    summary = system.describe(options, [guest(folder)])
    assert summary["memory_bytes"] <= system.memory_bytes([guest(folder)], options)
    most = [c["guest"]["memory_bytes"] for name, c in summary["components"].items() if name.startswith("place")]
    assert most == [min(pool, images.MEM_MAX)] * count and "module0" not in summary["modules"]


def test_more_places_or_memory_than_fit_are_one_clear_line():
    for pool, count, sizes in ((16 << 20, system.GUESTS_MAX - 1, [16 << 20] * 2), (system.GUESTS_MEM_MAX, 1, [16 << 20]),
                               (1 << 30, 8, [128 << 20]), (512 << 20, 16, [128 << 20]), (256 << 20, 32, [128 << 20])):
        with pytest.raises(Usage):
            system.check_pool(argparse.Namespace(pool=pool, pool_guests=count, module=None), sizes)


def test_room_for_page_tables_is_what_memmgr_has():
    header = (system.layout.ROOT / "servers/memmgr/memmgr.h").read_text()
    assert system.TABLES_ROOM == 1 << int(re.search(r"#define PIECE_BITS +(\d+)", header)[1]) - 12


def test_created_guests_are_called_by_their_names():
    log = "guest a created in place0\r\nx\nguest b created in place1\nguest a destroyed\nguest c created in place0\n"
    assert run.created_guests(log) == {"place1": "b", "place0": "c"}


def test_every_module_of_a_named_system_has_a_file():
    assert "tiny" in system.names()
    assert pathlib.Path(system.layout.ROOT / "systems/tiny.idl").is_file()
