# SPDX-License-Identifier: BSD-2-Clause
"""`test -j N`: files of tests at once, with the same choice, the same counts and the same end as one after the other."""
import os
import signal
import subprocess
import time

import pytest

MEETING = """
import pathlib, time
HERE = pathlib.Path(__file__)
def test_%(me)s():
    HERE.with_name("%(me)s-is-here").touch()
    for _ in range(300):
        if HERE.with_name("%(other)s-is-here").exists():
            return
        time.sleep(0.1)
    assert False
def test_%(me)s_more():
    pass
"""
SLEEPER = """
import os, pathlib, time
def test_%(me)s():
    pathlib.Path(__file__).with_name("%(me)s-pid").write_text(str(os.getpid()))
    time.sleep(300)
"""


def both(tree, text):
    for me, other in (("a", "b"), ("b", "a")):
        tree.write("tests/tools/test_%s.py" % me, text % {"me": me, "other": other})


def closing(done):
    return done.stdout.splitlines()[-1]


def test_two_files_run_at_once_and_each_test_is_counted_once(tree):
    both(tree, MEETING)
    done = tree.run("test", "-j", "2")
    assert (done.returncode, closing(done)) == (0, "4 passed, 0 failed, 0 skipped"), done.stdout
    done = tree.run("test", "-j", "2", "a", "-k", "more")
    assert (done.returncode, closing(done)) == (0, "1 passed, 0 failed, 0 skipped"), done.stdout


def test_names_that_name_nothing_are_wrong_usage(tree):
    both(tree, MEETING)
    for words, complaint in ((["a", "nothing"], "no test is called nothing"), (["a", "-k", "nothing"], "no test matches")):
        done = tree.run("test", "-j", "2", *words)
        assert done.returncode == 2 and complaint in done.stderr, done.stdout + done.stderr


def test_a_process_that_dies_fails_the_test_it_was_at(tree):
    tree.write("tests/tools/test_a.py", "import os\ndef test_a(): os._exit(0)\n")
    tree.write("tests/tools/test_b.py", "def test_b(): pass\n")
    done = tree.run("test", "-j", "2")
    assert (done.returncode, closing(done)) == (1, "1 passed, 1 failed, 0 skipped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_command(tree, number):
    both(tree, SLEEPER)
    command = subprocess.Popen(["/usr/bin/python3", "build.py", "test", "-j", "2"], cwd=tree.root, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    files = [tree.root / "tests/tools" / (me + "-pid") for me in "ab"]
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files):
        assert command.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    command.send_signal(number)
    status = command.wait(30)
    assert number == signal.SIGKILL or status == 130, command.stderr.read()
    deadline = time.monotonic() + 30
    while any(os.path.exists("/proc/%s/fd/0" % file.read_text()) for file in files):
        assert time.monotonic() < deadline, "a process goes on"
        time.sleep(0.1)
