# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures for the tests of build.py itself: a copy of the tool in an empty tree, so that nothing here touches build/."""
import os
import shutil
import subprocess

import pytest
from umbra import layout


class Tree:
    """A scratch tree with build.py, tools/ and the test harness; run(...) executes its build.py."""

    def __init__(self, root):
        self.root = root

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(self, *words, timeout=120, **environment):
        return subprocess.run(["/usr/bin/python3", str(self.root / "build.py"), *words], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout, cwd=self.root,
                              env={**os.environ, **environment})


@pytest.fixture
def tree(tmp_path):
    shutil.copy(layout.ROOT / "build.py", tmp_path)
    shutil.copytree(layout.ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests/conftest.py", "tests/pytest.ini", "tests/host/check.c", "tests/host/check.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(layout.ROOT / name, tmp_path / name)
    return Tree(tmp_path)
