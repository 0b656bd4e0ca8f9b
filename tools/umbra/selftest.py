# SPDX-License-Identifier: BSD-2-Clause
"""`test --self-test`: proves that the tests bite. Each tests/mutants/*.patch breaks the tree in one way and names the test that
must then fail.

A patch opens with `# test: NAME` (as `test` takes it) and `# why: what the fault would do`. It is applied in a scratch copy
under build/, never here. Not caught is also: a patch that no longer applies, a mutant that does not build, a test that already
fails without it.
"""
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from umbra import layout, locks, say
from umbra.errors import Failure, Usage

MUTANTS = "tests/mutants"
SCRATCH = layout.BUILD / "mutants" / "tree"
COPIED = ("kernel", "servers", "lib", "idl", "systems", "tests", "tools", "build.py", ".clang-format", "LICENSE", "README.md",
          "docs", ".ci", ".gitignore")
SHARED = ("guest", "cache")     # downloads: linked, never written by a test
SECONDS = 900
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")


@dataclasses.dataclass
class Mutant:
    path: pathlib.Path
    test: str
    why: str
    result: str = ""
    seconds: float = 0


def read_mutant(path):
    head = dict(re.findall(r"^# (test|why): *(.*\S)", path.read_text(), re.M))
    for word in ("test", "why"):
        if word not in head:
            raise Usage("%s has no line '# %s: ...'" % (layout.relative(path), word))
    return Mutant(path, head["test"], head["why"])


def mutants(names):
    found = [read_mutant(p) for p in sorted((layout.ROOT / MUTANTS).glob("*.patch"))]
    if not names:
        return found
    unknown = set(names) - {m.path.stem for m in found}
    if unknown:
        raise Usage("no mutant is called %s; see %s/" % (" ".join(sorted(unknown)), MUTANTS))
    return [m for m in found if m.path.stem in names]


def copy_changed(source, target):
    """Copies files that differ and removes what is gone, so that the scratch build stays incremental."""
    if source.is_file():
        if not target.is_file() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
        return
    if not source.is_dir():
        return
    target.mkdir(parents=True, exist_ok=True)
    names = {p.name for p in source.iterdir() if p.name not in ("__pycache__", "build")}
    for old in target.iterdir():
        if old.name not in names:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for name in names:
        copy_changed(source / name, target / name)


def prepare(scratch=SCRATCH):
    """Brings the scratch tree to the state of this one; nobody else's faults come into it till this process ends."""
    locks.alone_in(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        copy_changed(layout.ROOT / name, scratch / name)
    (scratch / "build").mkdir(exist_ok=True)
    for name in SHARED:
        link = scratch / "build" / name
        if (layout.BUILD / name).is_dir() and not link.exists():
            link.symlink_to(layout.BUILD / name)


def apply(mutant, scratch=SCRATCH):
    """True if the patch applies; a line of context is enough, so that it survives changes around it. Git looks for no repository
    above the scratch tree."""
    done = subprocess.run(["git", "apply", "-p1", "-C1", str(mutant.path)], cwd=scratch, capture_output=True, text=True,
                          env={**os.environ, "GIT_CEILING_DIRECTORIES": str(scratch.parent)})
    return done.returncode == 0


def run_tests(names, options):
    """(passed, failed, everything printed) of the scratch tree's own test command."""
    words = [sys.executable, str(SCRATCH / "build.py"), "test", "--quiet", "--no-install", "--long", *names]
    words += ["--qemu", options.qemu] if options.qemu else []
    try:
        done = subprocess.run(words, cwd=SCRATCH, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return 0, 1, "no end within %d s" % SECONDS
    closing = CLOSING.match((done.stdout.splitlines() or [""])[-1])
    if closing is None:
        return 0, 0, done.stdout + done.stderr
    return int(closing[1]), int(closing[2]), done.stdout + done.stderr


def judge(passed, failed, text):
    """What a run of the named test with the mutant in place says."""
    if "not built: " in text:
        return "does not build"
    if passed + failed == 0:
        return "its test did not run"
    return "caught" if failed else "SURVIVED"


def try_mutant(mutant, options):
    began = time.monotonic()
    prepare()
    if not apply(mutant):
        mutant.result = "does not apply"
    else:
        passed, failed, text = run_tests([mutant.test], options)
        mutant.result = judge(passed, failed, text)
        log = layout.BUILD / "log" / ("mutant-%s.log" % mutant.path.stem)
        log.parent.mkdir(exist_ok=True)
        log.write_text(text)
    mutant.seconds = time.monotonic() - began


def row(mutant, width):
    return "%-*s  %-14s %5.1f s  %s: %s" % (width, mutant.path.stem, mutant.result, mutant.seconds, mutant.test, mutant.why)


def command(options):
    """Each row is printed as soon as it is known: a whole run takes long."""
    chosen = mutants(options.names)
    if not chosen:
        raise Usage("%s/ holds no mutant" % MUTANTS)
    began = time.monotonic()
    prepare()
    say.note("without mutants first")
    passed, failed, text = run_tests(sorted({m.test for m in chosen}), options)
    if failed or not passed:
        print(text, file=sys.stderr)
        raise Failure("the named tests do not pass without mutants")
    say.note("they pass: %.0f s" % (time.monotonic() - began))
    width = max(len(m.path.stem) for m in chosen)
    for number, mutant in enumerate(chosen, 1):
        say.progress("%d/%d %s, %.0f s so far" % (number, len(chosen), mutant.path.stem, time.monotonic() - began))
        try_mutant(mutant, options)
        say.progress("")
        print(row(mutant, width), flush=True)
    prepare()
    missed = sum(m.result != "caught" for m in chosen)
    say.note("%d mutants in %.0f s" % (len(chosen), time.monotonic() - began))
    print("%d passed, %d failed, 0 skipped" % (len(chosen) - missed, missed))
    return 1 if missed else 0
