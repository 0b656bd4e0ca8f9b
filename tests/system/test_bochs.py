# SPDX-License-Identifier: BSD-2-Clause
"""The same image on bochs: another, stricter model of SVM, with next RIP, 32768 ASIDs and real-machine firmware.

Debian's bochs is built with its debugger: it waits for `c` and ends with the machine or with its standard input.
"""
import argparse
import os
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


@pytest.mark.needs(*NEEDED)
def test_a_system_with_two_guests_boots_and_ends_on_bochs(tmp_path):
    deps.ensure("test", OPTIONS)
    iso.write_image(tmp_path / "boot.iso", layout.kernel_output("release"), system.modules(OPTIONS, []))
    (tmp_path / "settings").write_text(SETTINGS.format(folder=tmp_path))
    bochs = subprocess.Popen(["bochs", "-q", "-f", str(tmp_path / "settings")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
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
    log = (tmp_path / "log").read_text(errors="replace")
    assert "shutdown requested" in said, said[-2000:] + log
    for line in ("init: system tiny", "guest vmm0 ended: done: the guest halts", "guest vmm1 ended: done: the guest halts"):
        assert line in log
    console = (tmp_path / "console").read_bytes()
    assert console.endswith(b"A\xff\x01LMNO"), console
