# SPDX-License-Identifier: BSD-2-Clause
"""`run --enlighten`: guests that are told what they are take KVM's clock from their memory, and make no delays by ports."""
import re

from linux_guest import needs_verify, require_whole, verifying_guest
from test_restart import SMALL, dies, taken_over
from umbra import guest

PARTS = ["--scale", "0.3", "timers", "clocks", "storm", "memory"]
CLOCKSOURCE = "cat /sys/devices/system/clocksource/clocksource0/current_clocksource"
TYPED = "#\n#\ndmesg | grep -i kvm\n%s\ndate -u +%%Y-%%m-%%d\npoweroff -f\n" % CLOCKSOURCE


def boot(headless, *options):
    outcome = headless(*options, "--kernel", guest.kernel("cloud-amd64"), "--initrd", guest.initramfs(), "--append",
                       guest.APPEND + " quiet", typed=TYPED)
    assert outcome.status == 0, outcome.said
    return outcome.console, outcome.stats["guests"]["linux"]["counts"]


def test_linux_takes_kvms_clock_and_measures_no_timer(headless):
    plain, before = boot(headless)
    told, after = boot(headless, "--enlighten")
    assert not re.search(r"^\[.*kvm-clock", plain, re.M)
    assert re.search(r"Hypervisor detected: KVM", told) and re.search(r"kvm-clock: Using msrs 4b564d01 and 4b564d00", told), told
    assert re.search(r"^(kvm-clock|tsc)$", told, re.M) and re.search(r"^2026-01-01$", told, re.M), told
    others = [counts["exits_io"] - counts["exits_uart"] for counts in (before, after)]
    assert others[1] < others[0] / 4, (before, after)


@needs_verify
def test_clock_of_an_enlightened_guest_outlives_its_vmms(headless, quiet_run):
    options = ["--enlighten", *verifying_guest(*PARTS, **SMALL)]
    expected = quiet_run(headless, options)
    outcome = headless(*options, *dies("delivery", "store", "reply", at=2, every=499, stores=7), seconds=400)
    require_whole(outcome)
    assert outcome.serial == expected and expected
    assert len(taken_over(outcome)) >= 30, outcome.kernel_log[-2000:]
