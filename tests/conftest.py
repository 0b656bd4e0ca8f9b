# SPDX-License-Identifier: BSD-2-Clause
"""Turns C tests into pytest items, builds what the chosen items need, runs each program once and shares its results.

tests/host/**/test_*.c are host programs (tests/host/check.h), tests/procs/test_*.c root tasks that one boot of QEMU runs.
Both print `ok NAME` or `FAIL NAME: why`; names are read from the source text, so listing needs neither build nor boot.
A test whose line is missing has failed, and so has a plan line `1..N` that does not fit the source text.
"""
import argparse
import ctypes
import os
import pathlib
import re
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

from umbra import build, layout, machine, qemu, testcmd, workers  # noqa: E402
from umbra.errors import Failure  # noqa: E402

RESULT = re.compile(r"^(ok|FAIL) (\w+)(?:: ?(.*))?$", re.M)
PLAN = re.compile(r"^1\.\.(\d+)\s*$", re.M)
BOOT_SECONDS = 60
HOST_SECONDS = 300
ADDR_NO_RANDOMIZE = 0x40000     # personality(2)
DEFAULTS = argparse.Namespace(profile="debug", qemu=None)


class TestFailed(Exception):
    """Text for a person; shown without a Python traceback."""


class CItem(pytest.Item):
    def runtest(self):
        stale = self.session.stash[STALE]
        missing = [t for t in self.parent.targets if t in stale]
        if missing:
            raise TestFailed("not built: %s\n%s" % (", ".join(missing), self.session.stash[BUILD_OUTPUT]))
        results = self.parent.results(self.session)
        verdict, why = results.get(self.name, ("FAIL", results.missing))
        if verdict != "ok":
            raise TestFailed("%s: %s\n%s" % (self.name, why, results.details(self.name)))
        if results.plan_error and self is self.parent.last(self.session):
            raise TestFailed(results.plan_error + "\n" + results.details(None))

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value) if excinfo.errisinstance((TestFailed, Failure)) else super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, self.name


class Results(dict):
    """Test name -> (verdict, why) of one program run. `details` gives what else a person wants to see of a test."""

    def __init__(self, text, expected, details, missing):
        super().__init__({name: (verdict, why) for verdict, name, why in RESULT.findall(text)})
        self.details = details
        self.missing = missing
        plan = PLAN.findall(text)
        self.plan_error = None
        if not plan:
            self.plan_error = "no plan line 1..N: " + missing
        elif int(plan[-1]) != expected:
            self.plan_error = "the program ran %s tests, its source names %d" % (plan[-1], expected)


class CFile(pytest.File):
    """One test program. `targets` are the files it needs; run() gives its Results."""
    targets = ()

    def collect(self):
        self.cached = None
        self.relative = layout.relative(self.path)
        names = layout.tests_in(self.relative)
        self.prepare(getattr(self.config, "umbra_options", DEFAULTS))
        for name in names:
            item = CItem.from_parent(self, name=name)
            if layout.directive(self.relative, "LONG"):
                item.add_marker(pytest.mark.long)
            yield item

    def chosen(self, session):
        return [item for item in session.items if item.parent is self]

    def last(self, session):
        return self.chosen(session)[-1]

    def results(self, session):
        if self.cached is None:
            self.cached = self.run([item.name for item in self.chosen(session)])
        return self.cached


def sanitizer_setup():
    """The address sanitizer of gcc 12 wants the address-space layout of older kernels: no randomization."""
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


class HostFile(CFile):
    def prepare(self, _options):
        self.targets = (layout.host_output(self.relative),)

    def run(self, names):
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:abort_on_error=0",
                       "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}
        try:
            done = subprocess.run([str(layout.ROOT / self.targets[0])] + names, cwd=layout.ROOT, env=environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=HOST_SECONDS, preexec_fn=sanitizer_setup)
            out, err, end = done.stdout, done.stderr, "the program ended with status %d" % done.returncode
        except subprocess.TimeoutExpired as late:
            out, err, end = late.stdout or b"", late.stderr or b"", "no answer within %d s" % HOST_SECONDS
        parts = re.split(r"^=== (\w+)\n", err.decode(errors="replace"), flags=re.M)
        reports = dict(zip(parts[1::2], parts[2::2]))
        return Results(out.decode(errors="replace"), len(names), lambda name: reports.get(name, "")[:4000], end)


class ProcFile(CFile):
    def prepare(self, options):
        self.options = options
        self.modules = [layout.module_output(options.profile, m) for m in layout.directive(self.relative, "MODULES")]
        self.targets = (layout.kernel_output(options.profile), layout.proc_output(options.profile, self.relative),
                        *(m for m in self.modules if m.startswith("build/")))

    def left_out(self):
        """The program is told which of its tests would stop this machine: they fail, and the others are run."""
        numbers = [n for n, name in enumerate(layout.tests_in(self.relative), 1)
                   if "%s::%s" % (self.relative, name) in machine.stopping()]
        return ["without=" + ",".join(map(str, numbers))] if numbers else []

    def run(self, _names):
        seconds = int((layout.directive(self.relative, "TIMEOUT") or [BOOT_SECONDS])[0])
        config = qemu.Config(
            kernel=layout.kernel_output(self.options.profile), qemu=self.options.qemu, name="proc-" + self.path.stem,
            modules=[(layout.proc_output(self.options.profile, self.relative), "")] + [(m, "") for m in self.modules],
            cmdline=" ".join([layout.directive_text(self.relative, "CMDLINE"), *self.left_out()]).strip(),
            memory=(layout.directive(self.relative, "MEMORY") or ["1G"])[0],
            icount=bool(layout.directive(self.relative, "ICOUNT")))
        with machine.start(config) as booted:
            status = booted.wait(seconds)
            if status is None:
                end = "no end within %d s (a hang?)" % (seconds * booted.patience)
            else:
                end = "%s ended with status %d (debug-exit value %s)" % (booted.what, status, qemu.debug_exit_value(status))
            tail = booted.tail()
        results = Results(booted.text(), len(layout.tests_in(self.relative)), lambda _name: tail, end)
        if status is None and results.plan_error is None:
            results.plan_error = end
        return results


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        workers.join(config, testcmd.Selection)


def pytest_collect_file(file_path, parent):
    if file_path.suffix != ".c" or not file_path.name.startswith("test_"):
        return None
    parts = file_path.relative_to(layout.ROOT).parts
    if parts[:2] == ("tests", "host"):
        return HostFile.from_parent(parent, path=file_path)
    if parts[:2] == ("tests", "procs") and len(parts) == 3:
        return ProcFile.from_parent(parent, path=file_path)
    return None


STALE = pytest.StashKey()
BUILD_OUTPUT = pytest.StashKey()


def targets_of(item):
    if isinstance(item, CItem):
        return item.parent.targets
    return [target for mark in item.iter_markers("needs") for target in mark.args]


def pytest_collection_finish(session):
    """Builds what the chosen tests need: what does not build fails only the tests that need it."""
    session.stash[STALE], session.stash[BUILD_OUTPUT] = set(), ""
    if session.config.option.collectonly:
        return
    known = {p.output for p in layout.programs()}
    wanted = {target for item in session.items for target in targets_of(item)}
    stale, output = build.make_all_possible(wanted & known)
    session.stash[STALE] = stale | (wanted - known)
    session.stash[BUILD_OUTPUT] = output


@pytest.fixture(autouse=True)
def built(request):
    missing = [t for t in targets_of(request.node) if t in request.session.stash[STALE]]
    if missing:
        pytest.fail("not built: %s\n%s" % (", ".join(missing), request.session.stash[BUILD_OUTPUT]), pytrace=False)


def check_needs(request, files):
    """A test that boots what no mark of it names would pass or fail by what other tests have had built."""
    booted = {os.path.relpath(os.path.realpath(layout.ROOT / file), layout.ROOT) for file in files if file}
    unnamed = booted & {p.output for p in layout.programs()} - set(targets_of(request.node))
    assert not unnamed, "the test has no mark needs(...) of " + ", ".join(sorted(unnamed))


@pytest.fixture
def boot(request):
    """boot(modules=[(path, arguments)], cmdline="", ...) starts the machine with the kernel and gives a qemu.Machine:
    .expect(regex, timeout), .send(text), .wait(timeout), .exit_status, .output. It is gone when the test ends."""
    options = getattr(request.config, "umbra_options", DEFAULTS)
    running = []

    def start(**words):
        name = "%s-%s" % (request.node.path.stem, re.sub(r"\W+", "_", request.node.name))
        words.setdefault("kernel", layout.kernel_output(options.profile))
        check_needs(request, [words["kernel"], *(module for module, _ in words.get("modules", ()))])
        booted = machine.start(qemu.Config(name=name, qemu=options.qemu, **words)).__enter__()
        running.append(booted)
        return booted

    yield start
    for booted in running:
        booted.__exit__()
