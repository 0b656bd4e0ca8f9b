#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The one command of Umbra: see ./build.py --help.

Only an entry: it makes sure that the distribution's Python runs (its packages are where dependencies come from) and
hands over to tools/umbra/cli.py. Nothing else belongs here.
"""
import os
import sys

ROOT = os.path.dirname(os.path.realpath(__file__))
SYSTEM_PYTHON = "/usr/bin/python3"


def use_system_python():
    """Replaces this process by the distribution's Python unless it is that one already."""
    same = os.path.realpath(sys.executable) == os.path.realpath(SYSTEM_PYTHON) and sys.prefix == "/usr"
    if same or os.environ.get("UMBRA_REEXECUTED"):
        return
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        sys.stderr.write("build.py: %s is missing; install the package python3\n" % SYSTEM_PYTHON)
        sys.exit(3)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    environment["UMBRA_REEXECUTED"] = "1"
    os.execve(SYSTEM_PYTHON, [SYSTEM_PYTHON, os.path.join(ROOT, "build.py")] + sys.argv[1:], environment)


if __name__ == "__main__":
    use_system_python()
    os.environ.pop("UMBRA_REEXECUTED", None)
    sys.pycache_prefix = os.path.join(ROOT, "build", "cache", "pycache")
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    from umbra import cli

    sys.exit(cli.main(sys.argv[1:]))
