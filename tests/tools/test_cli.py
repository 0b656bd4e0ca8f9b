# SPDX-License-Identifier: BSD-2-Clause
"""The contract of the command line: exit statuses, one clear line an error, --version."""
import subprocess

import pytest
from umbra import cli, deps


@pytest.mark.parametrize("words", [["--bogus"], ["build", "--bogus"], ["bogus"], [], ["test", "no_such_test_anywhere"],
                                   ["build", "build/no/such/thing"], ["build", "--profile", "fast"],
                                   ["test", "-k", "((", ]])
def test_wrong_words_are_exit_2_and_say_so_in_one_line(tree, words):
    done = tree.run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("build.py: ")
    assert "Traceback" not in done.stderr


def test_missing_qemu_is_exit_3(tree):
    done = tree.run("test", "--qemu", "/nonexistent/qemu")
    assert done.returncode == 3
    assert done.stderr.strip().splitlines() == ["build.py: /nonexistent/qemu is missing; give another --qemu"]


def test_too_old_qemu_is_exit_3(tree):
    tree.write("old", "#!/bin/sh\necho QEMU emulator version 5.2.0\n")
    (tree.root / "old").chmod(0o755)
    done = tree.run("test", "--qemu", "./old")
    assert done.returncode == 3
    assert "is QEMU 5.2; at least 7.0 is needed" in done.stderr


def test_no_install_names_everything_missing_and_is_exit_3(tree):
    done = tree.run("build", "--no-install", PATH="/nonexistent")
    assert done.returncode == 3
    for word in ("C compiler", "ninja-build", "musl-tools"):
        assert word in done.stderr


def test_version_says_version_commit_and_profile(tree):
    done = tree.run("--version", "--profile", "release")
    assert (done.returncode, done.stdout) == (0, "umbra 0.1.0 (unknown, release)\n")


def test_every_command_has_help_with_an_example(tree):
    for name in cli.COMMANDS:
        done = tree.run(name, "--help")
        assert done.returncode == 0
        assert "example" in done.stdout, name


def test_options_may_stand_before_the_command():
    assert cli.parser().parse_args(["--no-install", "build"]).no_install
    assert cli.parser().parse_args(["build", "--no-install"]).no_install
    assert cli.parser().parse_args(["--profile", "release", "build"]).profile == "release"


def test_clean_removes_build_and_nothing_else(tree):
    before = sorted(str(p) for p in tree.root.rglob("*"))
    assert tree.run("build").returncode == 0
    assert (tree.root / "build").is_dir()
    assert tree.run("clean").returncode == 0
    after = sorted(str(p) for p in tree.root.rglob("*") if "build/" not in str(p.relative_to(tree.root)))
    assert [p for p in after if p != str(tree.root / "build")] == before


def test_a_failing_operation_of_the_machine_is_one_line(tree):
    tree.write("build", "a file where the folder should be\n")
    done = tree.run("build")
    assert (done.returncode, done.stderr) == (1, "build.py: %s/build: File exists\n" % tree.root)


@pytest.mark.parametrize("command", ["deps", "run", "test", "debug", "iso", "bench"])
def test_without_root_and_sudo_everything_missing_is_named_at_once_and_is_exit_3(tree, command):
    """In a system of this test's own making: nothing but apt-get, and nobody to run it."""
    tree.write("bin/apt-get", "#!/bin/sh\necho apt-get was called >&2; exit 1\n")
    (tree.root / "bin/apt-get").chmod(0o755)
    code = "import os, sys; os.geteuid = lambda: 1000; sys.path.insert(0, 'tools'); from umbra import cli; sys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run(["/usr/bin/python3", "-c", code, command], cwd=tree.root, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={"PATH": str(tree.root / "bin")})
    assert done.returncode == 3, done.stderr
    line, = done.stderr.splitlines()
    assert "neither root nor sudo: run as root: apt-get install " in line
    wanted = {p for need in deps.needs_of(command) if need.probe.startswith("command:") for p in need.packages}
    assert len(wanted) > 3 and wanted <= set(line.partition("apt-get install ")[2].split())
