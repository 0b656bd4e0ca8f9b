# SPDX-License-Identifier: BSD-2-Clause
"""The command `clean`: removes build/ and nothing else."""
import shutil

from umbra import layout


def arguments(parser):
    parser.epilog = "example: ./build.py clean"


def command(_options):
    if layout.BUILD.is_symlink():
        layout.BUILD.unlink()
    elif layout.BUILD.exists():
        shutil.rmtree(layout.BUILD)
    return 0
