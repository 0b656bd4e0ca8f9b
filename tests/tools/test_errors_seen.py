# SPDX-License-Identifier: BSD-2-Clause
"""The table of refusals that no test reached."""
from test_proc_harness import system

HEADER = "enum {\n    /* first, with = signs */\n    FRAME_MAP = 1, /* a, b */\n    FRAME_UNMAP,\n};\n"


def run(tree, text, table):
    tree.write("kernel/include/umbra/object.h", HEADER)
    tree.write("tests/errors.toml", table)
    system(tree, text)
    return tree.run("test")


def test_an_unreached_error_is_listed_and_fails_the_run(tree):
    done = run(tree, r"ok one\nok two\numbra: error-seen frame 2 RANGE\r\n1..2\n",
               '[frame]\nFRAME_MAP = ["NO_CAP"]\nFRAME_UNMAP = ["RANGE"]\n')
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[-3:] == ["errors that no test reached:".split(), ["frame", "FRAME_MAP", "NO_CAP"],
                          "2 passed, 1 failed, 0 skipped".split()]


def test_everything_reached_is_one_more_pass(tree):
    done = run(tree, r"ok one\nok two\nerror-seen frame 2 RANGE\n1..2\n", '[frame]\nFRAME_UNMAP = ["RANGE"]\n')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 passed, 0 failed, 0 skipped")


def test_an_error_that_the_list_lacks_fails_the_run(tree):
    done = run(tree, r"ok one\nok two\nerror-seen frame 2 RANGE\n1..2\n", "[frame]\nFRAME_UNMAP = []\n")
    assert done.returncode == 1
    assert "does not list:\nframe        FRAME_UNMAP              RANGE\n" in done.stdout


def test_a_part_of_the_tests_is_not_judged(tree):
    run(tree, r"ok one\nok two\n1..2\n", '[frame]\nFRAME_MAP = ["NO_CAP"]\n')
    assert tree.run("test", "procs").returncode == 0
