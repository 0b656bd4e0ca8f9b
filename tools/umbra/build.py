# SPDX-License-Identifier: BSD-2-Clause
"""The command `build`, and the one place that runs ninja."""
import os
import subprocess
import sys

from umbra import deps, layout, locks, ninjafile, say
from umbra.errors import Failure, Usage

ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


def arguments(parser):
    parser.add_argument("targets", nargs="*", metavar="TARGET",
                        help="files under build/ to make; default: everything of the profile")
    parser.epilog = "example: ./build.py build --profile release"


def command(options):
    deps.ensure("build", options)
    path, programs = ninjafile.write()
    known = {p.output for p in programs} | set(layout.PROFILES) | {"host", "workload"}
    for target in options.targets:
        if target not in known:
            raise Usage("nothing to build is named %s; known are: %s" % (target, " ".join(sorted(known))))
    make(options.targets or [options.profile], path)
    return 0


def ninja(words, path, **options):
    with locks.building():
        return subprocess.run(["ninja", "-f", os.path.relpath(path, layout.ROOT)] + words, cwd=layout.ROOT,
                              env={**os.environ, **ENVIRONMENT}, **options)


def make(targets, path=None):
    """Builds the targets; ninja's output shows on standard error: its progress on a terminal, else errors only."""
    if not targets:
        return
    if path is None:
        path, _ = ninjafile.write()
    if say.fancy():
        done = ninja(list(targets), path, stdout=sys.stderr)
    else:
        done = ninja(["--quiet", *targets], path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout if done.returncode else "", end="", file=sys.stderr)
    if done.returncode:
        raise Failure("the build failed")


def make_all_possible(targets):
    """Builds what can be built; returns (set of targets that are not up to date, compiler output)."""
    path, _ = ninjafile.write()
    targets = sorted(set(targets))
    if not targets:
        return set(), ""
    done = ninja(["-k", "0", "--quiet"] + targets, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        return set(), done.stdout
    stale = set()
    for target in targets:
        trial = ninja(["-n", target], path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if "no work to do" not in trial.stdout:
            stale.add(target)
    return stale, done.stdout
