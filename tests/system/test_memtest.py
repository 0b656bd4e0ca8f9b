# SPDX-License-Identifier: BSD-2-Clause
"""Debian's memtest86+, both images, as guests: they replace themselves in memory, change their page tables, and find every wrong bit.

It draws on text memory and repeats that on the serial port about once a second, so that a short test may not be seen; it runs them in
order. A line never ends there.
"""
import re

import pytest
from umbra import guest

TESTS = r"#(\d+) +\["
SECONDS = 200       # tests 0 to 9 take 10 to 50


def require_no_error(outcome, most):
    assert outcome.status == 0, outcome.said + outcome.console[-2000:]
    seen = [int(n) for n in re.findall(TESTS, outcome.console)]
    while seen and seen[-1] < most:     # the next pass has begun when the screen is drawn again
        seen.pop()
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == most and len(set(seen)) > 1, seen
    counts = re.findall(r"Pass: +(\d+) +Errors: (\d+)", outcome.console)
    assert counts and {errors for _, errors in counts} == {"0"}, counts


@pytest.mark.parametrize("kind", guest.TESTERS)
def test_memory_tester_finds_no_error_in_tests_0_to_9(headless, kind):
    outcome = headless("--kernel", guest.memory_tester(kind), "--append", "console=ttyS0,115200 nopause", "--mem", "24M",
                       "--until", r"#10 +\[", seconds=SECONDS)
    require_no_error(outcome, 10)


@pytest.mark.long
@pytest.mark.parametrize("kind", guest.TESTERS)
def test_memory_tester_finds_no_error_in_a_whole_pass(headless, kind):
    """With the bit fade test, which waits."""
    outcome = headless("--kernel", guest.memory_tester(kind), "--append", "console=ttyS0,115200 nopause", "--mem", "24M",
                       "--until", r"Pass: +1 .*Errors: \d+ ", seconds=3 * SECONDS)
    require_no_error(outcome, 10)
