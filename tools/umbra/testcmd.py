# SPDX-License-Identifier: BSD-2-Clause
"""The command `test`: chooses tests by name, lets pytest run them, prints the closing line.

Collection and running of C tests live in tests/conftest.py; here are selection and counting only. The closing line
`N passed, N failed, N skipped` is the last line of standard output, whatever happened before.
"""
import os
import pathlib
import re

from umbra import deps, fresh, layout, machine, qemu, replay, say, selftest, workers
from umbra.errors import Failure, Interrupted, Usage

INTERNAL = "pytest ended with status %d"
RESULTS = layout.BUILD / "log/bochs-results.txt"


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="a folder (host, procs, system, tools), a file (test_x or x), a function, or an item as --list shows it; or: replay FILE, a recording of `run --record FILE`")
    parser.add_argument("-k", metavar="EXPR", help="only tests whose names match, as in pytest")
    parser.add_argument("--list", action="store_true", help="list the chosen tests, run nothing")
    parser.add_argument("--long", action="store_true", help="also those that take minutes")
    parser.add_argument("-j", type=int, metavar="N", dest="jobs", help="so many files of tests at once; default: all processors for all tests, else 1")
    machine.add_option(parser)
    parser.add_argument("--self-test", action="store_true",
                        help="apply each mutant of tests/mutants (or those named) to a copy: its test must fail")
    parser.add_argument("--fresh", action="store_true", help="run the README's commands in an empty minimal Debian (as root); with NAMEs only these tests there")
    parser.epilog = "examples: ./build.py test\n          ./build.py test host -k retype"


def command(options):
    machine.choose(options)
    if options.fresh:
        return fresh.test(options)
    deps.ensure("test", options, skip=("command:" + qemu.NAME,) if options.qemu else ())
    if options.qemu:
        qemu.find(options.qemu)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["PYTHONPYCACHEPREFIX"] = str(layout.BUILD / "cache" / "pycache")
    os.environ.pop("PYTEST_ADDOPTS", None)
    folder = os.getcwd()
    os.chdir(layout.ROOT)
    if options.names[:1] == ["replay"] and len(options.names) > 1:
        return replay.command([os.path.join(folder, name) for name in options.names[1:]])
    if options.self_test:
        return selftest.command(options)
    return show_list(options) if options.list else run(options)


def pytest_words(options):
    words = ["-c", "tests/pytest.ini", "--rootdir", str(layout.ROOT), "-p", "no:cacheprovider", "-q", "--no-header",
             "--tb=short", "-rsE", "--color=" + ("auto" if say.fancy() else "no")]
    return words + (["-k", options.k] if options.k else []) + ["tests"]


def closing_line(passed, failed, skipped):
    return "%d passed, %d failed, %d skipped" % (passed, failed, skipped)


def run(options):
    import pytest
    selection, counter, count = Selection(options), Counter(), jobs(options)
    if count > 1:
        status = pytest.main(workers.words(count) + pytest_words(options), plugins=[workers.Workers(selection), counter])
    else:
        status = pytest.main(pytest_words(options), plugins=[selection, counter])
    if status == pytest.ExitCode.USAGE_ERROR:
        raise Usage("the tests were not run; see the message above")
    selection.check(counter.broken)
    if status == pytest.ExitCode.INTERNAL_ERROR:
        counter.failed += 1
        say.complain(INTERNAL % status)
    if machine.kind() == "bochs" and RESULTS.is_file():
        print("\n".join(last_results(RESULTS.read_text(), selection.meant)))
    print(closing_line(counter.passed, counter.failed, counter.skipped), flush=True)
    if status == pytest.ExitCode.INTERRUPTED and not counter.broken:
        raise Interrupted()
    return 1 if counter.failed else 0


def jobs(options):
    """On bochs one at a time: its tests are timed by the host's clock, and may come from many runs."""
    if machine.kind() == "bochs":
        return 1
    return options.jobs or (workers.available() if whole(options) else 1)


def whole(options):
    return not options.names and not options.k


def show_list(options):
    import pytest
    selection, counter = Selection(options), Counter()
    status = pytest.main(["--collect-only", "-p", "no:terminal"] + pytest_words(options)[:6] +
                         (["-k", options.k] if options.k else []) + ["tests"], plugins=[selection, counter])
    if status == pytest.ExitCode.USAGE_ERROR:
        raise Usage("-k %s is not an expression that pytest knows" % options.k)
    if counter.broken:
        raise Failure("a test file cannot be read:\n" + "\n".join(counter.broken))
    selection.check(())
    for item in selection.chosen:
        print(item.nodeid)
    return 0


def answers_to(nodeid):
    """All names by which a test may be called."""
    path, _, function = nodeid.partition("::")
    parts = pathlib.PurePath(path)
    names = {nodeid, path, parts.name, parts.stem, *parts.parent.parts, str(parts.parent), str(parts.with_suffix(""))}
    bare = function.split("[")[0]
    names |= {function, bare, parts.stem + "::" + function}
    return {n for name in names for n in (name, name.removeprefix("test_"), name.removeprefix("tests/")) if n}


def on_bochs(nodeid):
    """Is it a test of the system that can mean anything there?"""
    path = nodeid.partition("::")[0]
    return path.startswith(("tests/system/", "tests/procs/")) and not {path, nodeid.split("[")[0]} & set(machine.left_out())


def last_results(text, meant):
    """What is known of the tests that are meant for bochs, by each one's last run: one line, and a line for each red one."""
    last = {name: outcome for outcome, name in re.findall(r"^(\w+) (.*) \d+ s$", text, re.M)}
    red = [name for name in meant if last.get(name) == "failed"]
    green = sum(last.get(name) == "passed" for name in meant)
    return ["red: " + name for name in red] + ["bochs: %d of %d tests green, %d red, %d not run yet (the last run of each)" % (
        green, len(meant), len(red), len(meant) - green - len(red))]


class Selection:
    """pytest plugin: keeps what the names ask for, and long tests only with --long."""

    def __init__(self, options):
        self.options = options
        self.unknown = []
        self.chosen = []
        self.meant = []         # for bochs, whether they were asked for or not

    def pytest_configure(self, config):
        config.umbra_options = self.options

    def pytest_collection_modifyitems(self, config, items):
        keep = items[:]
        if self.options.names:
            answers = [(item, answers_to(item.nodeid)) for item in items]
            self.unknown += [n for n in self.options.names if not any(n in names for _, names in answers)]
            keep = [item for item, names in answers if not self.unknown and names & set(self.options.names)]
        if machine.kind() == "bochs":
            keep = [item for item in keep if on_bochs(item.nodeid)]
            self.meant = [item.nodeid for item in items if on_bochs(item.nodeid) and not item.get_closest_marker("long")]
        if not self.options.long:
            keep = [item for item in keep if not item.get_closest_marker("long")]
        drop = [item for item in items if item not in set(keep)]
        config.hook.pytest_deselected(items=drop)
        items[:] = keep

    def pytest_collection_finish(self, session):
        self.chosen = list(session.items)

    def check(self, broken):
        """Usage if what was asked for names no test; a file that could not be read may have held it."""
        if self.unknown and not broken:
            raise Usage("no test is called %s; see ./build.py test --list" % ", ".join(self.unknown))
        if not self.chosen and not broken:
            raise Usage("no test matches; see ./build.py test --list")


class Counter:
    """pytest plugin: one count a test item; a file that cannot be collected counts as failed."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.broken = []
        self.counted = set()

    def note(self, report):
        """One line a test, as it ends: a run on bochs takes hours, and may be made in parts."""
        if machine.kind() == "bochs":
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            with open(RESULTS, "a") as file:
                file.write("%s %s %.0f s\n" % (report.outcome, report.nodeid, report.duration))

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed += 1
            self.broken.append("%s: %s" % (report.nodeid, report.longreprtext))

    def pytest_runtest_logreport(self, report):
        if report.failed or report.when == "call" or report.skipped:
            self.note(report)
        if report.failed and report.nodeid not in self.counted:
            say.note("failed: " + report.nodeid)
            self.failed += 1
            self.counted.add(report.nodeid)
        elif report.skipped:
            self.skipped += 1
            self.counted.add(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self.counted:
            self.passed += 1
