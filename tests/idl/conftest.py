# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the tests of the interface language; helpers are in idl_support.py."""
import subprocess

import pytest


@pytest.fixture
def run_program():
    """Runs a built program; its standard output, if it ended with 0."""
    def run(path, *arguments):
        done = subprocess.run([str(path), *map(str, arguments)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
        return done.stdout
    return run
