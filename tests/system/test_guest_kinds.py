# SPDX-License-Identifier: BSD-2-Clause
"""Kernels of every kind that `qemu -kernel` takes, through `./build.py run` only: hand-written ones that say what they were
told, and Debian's Linux by each of its entries.
"""
import lzma
import re
import struct

import pytest
from linux_guest import QUIET
from umbra import guest, layout

SMALL_SECONDS = 60
MEMORY = 24 << 20
MAP = ["00000000 0009fc00 00000001", "0009fc00 00000400 00000002", "000f0000 00010000 00000002",
       "00100000 01700000 00000001"]


def image(name):
    return layout.ROOT / layout.module_output("debug", "guests/" + name)


def lines(outcome):
    return [line.rstrip() for line in outcome.console.replace("\r", "").splitlines()]


@pytest.mark.needs("build/debug/guests/multiboot_info.bin")
def test_multiboot_kernel_is_told_memory_modules_and_firmware_configuration(headless, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two,2"
    one.write_bytes(b"first")
    two.write_bytes(b"second" * 1000)
    kernel = image("multiboot_info")
    modules = "%s a word,%s" % (one, str(two).replace(",", ",,"))
    outcome = headless("--kernel", kernel, "--append", "x=1 y", "--initrd", modules, "--mem", "24M", seconds=SMALL_SECONDS)
    assert lines(outcome) == ["0000027f 00005c00", *MAP, "%s x=1 y" % kernel, "%s a word=first" % one,
                              "%s=%s" % (two, "second" * 1000), "01800000 00000001 QEMU",
                              "12345678 9abcdef0 ffffffff"], outcome.said
    assert outcome.ended() == "failed: debug exit with value 5", outcome.kernel_log
    assert outcome.stats["guests"]["linux"]["counts"]["exit_value"] == 5
    assert outcome.status == 1 and "guest linux ended: failed: debug exit with value 5" in outcome.said


@pytest.mark.needs("build/debug/guests/pvh_info.bin")
def test_pvh_kernel_is_told_memory_command_line_and_module(headless, tmp_path):
    module = tmp_path / "module"
    module.write_bytes(b"a, b")
    outcome = headless("--kernel", image("pvh_info"), "--append", "x=1 y", "--initrd", module, "--mem", "24M",
                       seconds=SMALL_SECONDS)
    assert lines(outcome) == ["00000001 00000001", *MAP, "x=1 y", "a, b"], outcome.said
    assert outcome.ended() == "exited: debug exit with value 0", outcome.kernel_log
    assert outcome.stats["guests"]["linux"]["counts"]["exit_value"] == 0
    assert outcome.status == 0, outcome.said


@pytest.mark.needs("build/debug/guests/setup_info.bin")
def test_setup_code_in_real_mode_asks_the_bios(headless, tmp_path):
    module = tmp_path / "module"
    module.write_bytes(b"abcd")
    outcome = headless("--kernel", image("setup_info"), "--append", "tsc_early_khz=1", "--initrd", module, "--mem", "24M",
                       typed="k\n", seconds=SMALL_SECONDS)
    assert lines(outcome) == [*MAP, "00003c00 00000080 00005c00 0000027f", "0000006b t", "abcd"], outcome.said
    assert outcome.stats["guests"]["linux"]["counts"]["exit_value"] == 7, outcome.kernel_log


@pytest.mark.needs("build/debug/umbra.elf", "build/debug/procs/test_cnode.elf")
def test_this_kernel_is_a_multiboot_guest_itself(headless):
    """A 64-bit ELF file with address fields, its root task a module; on a processor without virtualization."""
    outcome = headless("--kernel", "build/debug/umbra.elf", "--initrd", "build/debug/procs/test_cnode.elf", "--mem", "512M",
                       seconds=2 * SMALL_SECONDS)
    said = lines(outcome)
    assert "umbra: this processor has no SVM: no VMs" in said
    count = len(layout.tests_in("tests/procs/test_cnode.c"))
    assert "1..%d" % count in said and len([line for line in said if line.startswith("ok ")]) == count, said
    assert outcome.stats["guests"]["linux"]["counts"]["exit_value"] == 0 and outcome.status == 0, outcome.said


def unpacked(kernel):
    """The ELF file inside a bzImage whose payload is an xz stream."""
    data = kernel.read_bytes()
    offset, size = struct.unpack_from("<II", data, 0x248)
    begin = (data[0x1f1] + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(data[begin:begin + size])


def entered(data, xloadflags):
    """A bzImage that claims other entries."""
    changed = bytearray(data)
    struct.pack_into("<H", changed, 0x236, xloadflags)
    return bytes(changed)


@pytest.mark.parametrize("how", ["pvh", "32-bit", "16-bit"])
def test_linux_boots_by_its_other_entries(headless, tmp_path, how):
    """The 64-bit one is what all other tests use."""
    packaged = guest.kernel("amd64" if how == "pvh" else "cloud-amd64")     # the small one's payload is not packed by xz
    kernel = tmp_path / "kernel"
    kernel.write_bytes({"pvh": lambda: unpacked(packaged), "32-bit": lambda: entered(packaged.read_bytes(), 2),
                        "16-bit": lambda: entered(packaged.read_bytes(), 0)}[how]())
    script = b"#!/bin/sh\ncat /proc/cmdline\npoweroff -f\n"
    initrd = guest.initramfs("entries.cpio", [("etc/start", 0o100755, script)])
    outcome = headless("--kernel", kernel, "--initrd", initrd, "--append", QUIET)
    assert re.search(r"^tsc_early_khz=\d+ %s$" % QUIET, outcome.console, re.M), outcome.console[-3000:] + outcome.kernel_log[-2000:]
    assert outcome.status == 0, outcome.said
