# SPDX-License-Identifier: BSD-2-Clause
"""The version and the commit that --version and each boot's banner show.

The commit is asked of git and is `unknown` in a tree without it; a tree with changes says so.
"""
import subprocess

from umbra.layout import ROOT

VERSION = "0.1.0"


def commit():
    try:
        answer = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
                                capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
