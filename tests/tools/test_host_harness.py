# SPDX-License-Identifier: BSD-2-Clause
"""The test command and tests/host/check.h: every test gives one result, whatever it does; the closing line is last."""
import re

PROGRAM = """
#include "check.h"
#include <stdlib.h>
TEST(passes) { CHECK_EQ(2 + 2, 4); CHECK_NE(1, 2); CHECK_LT(1, 2); CHECK_STR_EQ("a", "a"); CHECK_MEM_EQ("ab", "ab", 2); CHECK(1); }
TEST(fails) { check_note("row %d", 7); CHECK_EQ(2 + 2, 5); }
TEST(crashes) { abort(); }
TEST(overflows) { volatile int big = 0x7fffffff; big = big + 1; }
TEST(overruns) { char *p = malloc(4); volatile int i = 4; p[i] = 1; free(p); }
TEST(also_passes) { }
"""


def closing(done):
    return done.stdout.splitlines()[-1]


def test_each_test_is_counted_and_the_closing_line_is_last(tree):
    tree.write("tests/host/test_x.c", PROGRAM)
    done = tree.run("test", "host")
    assert done.returncode == 1
    assert closing(done) == "2 passed, 4 failed, 0 skipped"
    assert "2 + 2 == 5: left is 0x4 (4), right is 0x5 (5) [row 7]" in done.stdout
    assert "killed by signal 6" in done.stdout
    assert "signed integer overflow" in done.stdout
    assert "insufficient space" in done.stdout


def test_selection_by_name_and_expression(tree):
    tree.write("tests/host/test_x.c", PROGRAM)
    for words in (["passes"], ["x", "-k", "test_x and passes and not also"], ["tests/host/test_x.c::passes"]):
        done = tree.run("test", *words)
        assert (done.returncode, closing(done)) == (0, "1 passed, 0 failed, 0 skipped"), done.stdout


def test_list_needs_no_build(tree):
    tree.write("tests/host/test_x.c", "#error never built\n" + PROGRAM)
    done = tree.run("test", "--list", "host")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "tests/host/test_x.c::passes"
    assert len(done.stdout.splitlines()) == 6


def test_what_does_not_build_fails_only_its_own_tests(tree):
    tree.write("tests/host/test_x.c", "#error never built\n" + PROGRAM)
    tree.write("tests/host/test_y.c", '#include "check.h"\nTEST(fine) { }\n')
    done = tree.run("test", "host")
    assert closing(done) == "1 passed, 6 failed, 0 skipped"
    assert "never built" in done.stdout


def test_a_stale_program_does_not_answer_for_a_broken_source(tree):
    tree.write("tests/host/test_y.c", '#include "check.h"\nTEST(fine) { }\n')
    assert closing(tree.run("test", "host")) == "1 passed, 0 failed, 0 skipped"
    tree.write("tests/host/test_y.c", '#include "check.h"\nTEST(fine) { broken }\n')
    assert closing(tree.run("test", "host")) == "0 passed, 1 failed, 0 skipped"


def test_a_long_test_runs_only_when_asked(tree):
    tree.write("tests/host/test_y.c", '#include "check.h"\n// LONG: minutes\nTEST(fine) { }\n')
    tree.write("tests/host/test_z.c", '#include "check.h"\nTEST(quick) { }\n')
    assert closing(tree.run("test", "host")) == "1 passed, 0 failed, 0 skipped"
    assert closing(tree.run("test", "host", "--long")) == "2 passed, 0 failed, 0 skipped"


def test_a_broken_python_test_counts_as_failed(tree):
    tree.write("tests/tools/test_broken.py", "import does_not_exist\n")
    done = tree.run("test")
    assert done.returncode == 1
    assert re.fullmatch(r"\d+ passed, 1 failed, 0 skipped", closing(done))
