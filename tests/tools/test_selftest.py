# SPDX-License-Identifier: BSD-2-Clause
"""The mutant runner: catches, and does not call caught what is not."""
import subprocess

from umbra import locks

SOURCE = "int twice(int a);\nint twice(int a)\n{\n    return a + a;\n}\n"
TEST = '// USES: lib/twice.c\n#include "check.h"\nint twice(int a);\nTEST(doubles)\n{\n    CHECK_EQ(twice(2), 4);\n}\n'
PATCH = """# test: doubles
# why: %s
--- a/lib/twice.c
+++ b/lib/twice.c
@@ -1,5 +1,5 @@
 int twice(int a);
 int twice(int a)
 {
-    return a %s a;
+    return %s;
 }
"""


def install(tree, mutants):
    tree.write("lib/twice.c", SOURCE)
    tree.write("tests/host/test_twice.c", TEST)
    for name, (old, new) in mutants.items():
        tree.write("tests/mutants/%s.patch" % name, PATCH % (name, old, new))


def rows(done):
    return {line.split("  ")[0].strip(): line for line in done.stdout.splitlines()[:-1]}


def test_each_kind_of_mutant_is_judged(tree):
    install(tree, {"zero": ("+", "a - a"), "same": ("+", "2 * a"), "broken": ("+", "a +"), "stale": ("*", "a - a")})
    done = tree.run("test", "--self-test")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "1 passed, 3 failed, 0 skipped"
    for name, result in {"zero": "caught", "same": "SURVIVED", "broken": "does not build", "stale": "does not apply"}.items():
        assert result in rows(done)[name]
    assert (tree.root / "lib/twice.c").read_text() == SOURCE
    assert (tree.root / "build/mutants/tree/lib/twice.c").read_text() == SOURCE


def test_named_mutants_only(tree):
    install(tree, {"zero": ("+", "a - a"), "same": ("+", "2 * a")})
    done = tree.run("test", "--self-test", "zero")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 passed, 0 failed, 0 skipped")
    assert tree.run("test", "--self-test", "nothing").returncode == 2


def test_a_test_that_fails_anyway_proves_nothing(tree):
    install(tree, {"zero": ("+", "a - a")})
    tree.write("lib/twice.c", SOURCE.replace("a + a", "a * 3"))
    done = tree.run("test", "--self-test")
    assert done.returncode == 1
    assert "do not pass without mutants" in done.stderr


def test_a_mutant_without_a_test_is_named(tree):
    tree.write("tests/mutants/x.patch", "# why: y\n")
    done = tree.run("test", "--self-test")
    assert done.returncode == 2 and "tests/mutants/x.patch has no line '# test: ...'" in done.stderr


def test_two_in_one_tree_work_one_after_the_other(tree):
    """They share the copy that the faults come into."""
    install(tree, {"zero": ("+", "a - a")})
    with locks.lock_file(tree.root / "build/mutants/tree.lock") as lock:
        assert locks.try_lock(lock)
        second = subprocess.Popen(["/usr/bin/python3", "build.py", "test", "--self-test", "zero"], cwd=tree.root, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "waiting for another command" in second.stderr.readline()
    assert second.communicate(timeout=60)[0].splitlines()[-1] == "1 passed, 0 failed, 0 skipped"
