# SPDX-License-Identifier: BSD-2-Clause
"""Linux guests that tests boot: the one that verifies the machine below it (tests/workloads/verify); what became of them."""
import dataclasses
import re

import pytest
from umbra import guest, layout

SECONDS = 200       # a boot takes 20 to 40; more is a hang
QUIET = guest.APPEND + " quiet"     # no line of the kernel falls into what is typed and answered
VERIFY = "build/workloads/verify"
needs_verify = pytest.mark.needs(VERIFY)


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


def verifying_guest(*arguments, flavour="amd64", append=""):
    """The options of a guest whose first process is the verifying workload with these arguments."""
    program = (layout.ROOT / VERIFY).read_bytes()
    path = guest.GUEST / "verify.cpio"
    guest.write_whole(path, guest.cpio([("dev", 0o040755, b""), ("dev/console", 0o020600, b"", (5, 1)),
                                        ("verify", 0o100755, program)]))
    line = "console=ttyS0 quiet rdinit=/verify %s -- %s" % (append, " ".join(arguments))
    return ["--kernel", guest.kernel(flavour), "--initrd", path, "--append", line]


def verdicts(console):
    """The lines of the workload, in order."""
    return re.findall(r"^(verify \w+ (?:ok|FAIL|absent).*)$", console, re.M)


def require_whole(outcome):
    lines = verdicts(outcome.console)
    assert lines and re.match(r"verify all ok", lines[-1]), outcome.console[-3000:] + outcome.kernel_log[-3000:]
