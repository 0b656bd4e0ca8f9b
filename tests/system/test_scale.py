# SPDX-License-Identifier: BSD-2-Clause
"""Many guests in one machine of 1 GB: each answers while all others are there, and memory that is short for a waiting VMM costs
nobody his guest. How many there can be is measured by `./build.py bench scale`."""
import argparse

import pytest
from umbra import bench_scale, system

OPTIONS = argparse.Namespace(profile="debug", paging="shadow", system=system.DEFAULT, record=None, set=[], seed=None, qemu=None)
NEEDED = system.targets("debug", system.DEFAULT)


@pytest.mark.needs(*NEEDED)
def test_many_guests_answer_each_with_a_vmm_that_waits():
    found = bench_scale.crowd(OPTIONS, 42, 4 << 20)
    assert found, "see build/log/bench-scale-kernel.log"
    assert found["waiting"] == 42
    assert len(found["vmm"]) == 1 and len(found["tables"]) == 1


@pytest.mark.needs(*NEEDED)
def test_where_memory_ends_guests_live_without_a_vmm_that_waits():
    found = bench_scale.crowd(OPTIONS, 35)
    assert found, "see build/log/bench-scale-kernel.log"
    assert 0 < found["waiting"] < 35
