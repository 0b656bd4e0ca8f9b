# SPDX-License-Identifier: BSD-2-Clause
"""The same image on bochs: another, stricter model of SVM, with next RIP, 32768 ASIDs and real-machine firmware.

Debian's bochs is built with its debugger: it waits for `c` and ends with the machine or with its standard input.
"""
import argparse
import os
import re
import subprocess

import pytest
from umbra import deps, iso, layout, system

OPTIONS = argparse.Namespace(system="tiny", paging="shadow", profile="release", seed=None, no_install=False)
SERVERS = ("init", "memmgr", "console", "tinyvmm")
NEEDED = [layout.kernel_output("release")] + [layout.server_output("release", n) for n in SERVERS] + \
    [layout.module_output("release", "guests/" + n) for n in ("real_ten", "long_touch")]
SECONDS = 120       # takes 3 to 10
SETTINGS = """config_interface: textconfig
display_library: sdl2
megs: 1024
cpu: model=ryzen, count=1, ips=50000000
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1
ata0-master: type=cdrom, path={folder}/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={folder}/console
com2: enabled=1, mode=file, dev={folder}/log
panic: action=fatal
error: action=report
log: {folder}/bochs.log
"""


# Root tasks of tests/procs all of whose tests pass on bochs as well; docs/platform.md says why others do not.
PROGRAMS = ("test_step", "test_cr3", "test_inject")


def run(folder, kernel, modules, cmdline=system.CMDLINE):
    """Boots an image of these on bochs until it ends: what bochs said, COM1 and COM2."""
    deps.ensure("test", OPTIONS)
    iso.write_image(folder / "boot.iso", kernel, modules, cmdline)
    (folder / "settings").write_text(SETTINGS.format(folder=folder))
    bochs = subprocess.Popen(["bochs", "-q", "-f", str(folder / "settings")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env={**os.environ, "SDL_VIDEODRIVER": "dummy"})
    try:
        bochs.stdin.write(b"c\n")
        bochs.stdin.flush()
        bochs.wait(SECONDS)
    finally:
        if bochs.poll() is None:
            bochs.kill()
            bochs.wait()
    said = bochs.stdout.read().decode(errors="replace")
    console, log = [(folder / name).read_bytes() if (folder / name).exists() else b"" for name in ("console", "log")]
    assert "shutdown requested" in said, said[-2000:] + console.decode(errors="replace")[-2000:] + log.decode(errors="replace")
    return console, log.decode(errors="replace")


@pytest.mark.needs(*NEEDED)
def test_a_system_with_two_guests_boots_and_ends_on_bochs(tmp_path):
    console, log = run(tmp_path, layout.kernel_output("release"), system.modules(OPTIONS, []))
    for line in ("init: system tiny", "guest vmm0 ended: done: the guest halts", "guest vmm1 ended: done: the guest halts"):
        assert line in log
    assert console.endswith(b"A\xff\x01LMNO"), console


@pytest.mark.needs(layout.kernel_output("debug"), *(layout.proc_output("debug", "tests/procs/%s.c" % p) for p in PROGRAMS))
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_kernel_tests_passes_on_bochs(tmp_path, program):
    source = "tests/procs/%s.c" % program
    console, _ = run(tmp_path, layout.kernel_output("debug"), [(layout.proc_output("debug", source), "")], "")
    text = console.decode(errors="replace")
    passed = re.findall(r"^ok (\w+)", text, re.M)
    assert sorted(passed) == sorted(layout.tests_in(source)), text[-3000:]
