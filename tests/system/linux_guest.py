# SPDX-License-Identifier: BSD-2-Clause
"""Linux guests that tests boot: the one that verifies the machine below it (tests/workloads/verify); what became of them."""
import dataclasses
import re
import subprocess

import pytest
from umbra import guest, layout, machine

SECONDS = 200       # a boot takes 20 to 40; more is a hang
QUIET = guest.APPEND + " quiet"     # no line of the kernel falls into what is typed and answered
VERIFY = "build/workloads/verify"
needs_verify = pytest.mark.needs(VERIFY)
FLAGS_32 = ("-m32", "-march=i686", "-msse2", "-mfpmath=sse", "-fno-stack-protector", "-nostdinc", "-Werror", "-Wno-pointer-to-int-cast",
            "-Wno-int-to-pointer-cast")    # addresses are numbers of 64 bits there, too

# QEMU 7.2's VMRUN loads a guest's DR7 without arming the breakpoints that it names; bochs 2.7 saves a DR6 that does not say why an
# intercepted #DB came (docs/platform.md).
EMULATOR_LACKS = {"qemu": [r"verify debug absent hardware breakpoints do not fire"],
                  "bochs": [r"verify step FAIL single step: code 1 trap 1", r"verify debug FAIL hardware breakpoint: rip 0x\w+ dr6 0xf+0ff0"]}


@dataclasses.dataclass
class Outcome:
    status: int
    console: str        # of the guest, without prefixes
    said: str           # by build.py, on standard error
    stats: dict
    kernel_log: str
    serial: bytes = b""     # of the machine: of a guest that is alone all that it wrote, nothing stripped

    def ended(self, name="linux"):
        return self.stats["guests"][name]["ended"]


def verify_32():
    """The workload as a 32-bit program, built with a C library of its own."""
    folder, output = guest.c_library_32() / "usr", layout.BUILD / "workloads/verify32"
    source = layout.ROOT / "tests/workloads/verify.c"
    newest = max(p.stat().st_mtime for p in [source, *source.parent.glob("verify/*.h")])
    if output.is_file() and output.stat().st_mtime > newest:
        return output
    headers = subprocess.run(["gcc", "-print-file-name=include"], capture_output=True, text=True, check=True).stdout.strip()
    library = folder / "lib/i386-linux-musl"
    output.parent.mkdir(parents=True, exist_ok=True)
    part, flags = output.with_suffix(".o"), [f for f in layout.WORKLOAD_FLAGS if not f.startswith("-I")]
    commands = (["gcc", *flags, *FLAGS_32, "-isystem", folder / "include/i386-linux-musl", "-isystem", headers, "-I", source.parent, "-c",
                 source, "-o", part],
                ["gcc", "-m32", "-static", "-no-pie", "-nostdlib", library / "crt1.o", library / "crti.o", part, library / "libc.a",
                 folder / "lib/libgcc.a", folder / "lib/libgcc_eh.a", library / "crtn.o", "-o", output])
    for command in commands:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=layout.ROOT)
        assert done.returncode == 0, done.stderr
    return output


def verifying_guest(*arguments, flavour="amd64", append="", program=None):
    """The options of a guest whose first process is the verifying workload with these arguments."""
    data = (program or layout.ROOT / VERIFY).read_bytes()
    path = guest.GUEST / ("%s.cpio" % (program.name if program else "verify"))
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("verify", 0o100755, data)]))
    line = "console=ttyS0 quiet rdinit=/verify %s -- %s" % (append, " ".join(arguments))
    return ["--kernel", guest.kernel(flavour), "--initrd", path, "--append", line]


def verdicts(console):
    """The lines of the workload, in order."""
    return re.findall(r"^(verify \w+ (?:ok|FAIL|absent).*)$", console, re.M)


def require_verified(outcome):
    said = verdicts(outcome.console)
    lines = [line for line in said if not any(re.fullmatch(lack, line) for lack in EMULATOR_LACKS[machine.kind()])]
    failed = sum(" FAIL " in line for line in said) - sum(" FAIL " in line for line in lines)
    whole = "verify all FAIL %d" % failed if failed else r"verify all ok( but 1 absent)?"
    assert lines and re.fullmatch(whole, lines[-1]), outcome.console[-3000:] + outcome.kernel_log[-3000:]
    assert not [line for line in lines[:-1] if not line.endswith(" ok")]
    assert outcome.status == 0, outcome.said


def require_whole(outcome):
    lines = verdicts(outcome.console)
    assert lines and re.match(r"verify all ok", lines[-1]), outcome.console[-3000:] + outcome.kernel_log[-3000:]
