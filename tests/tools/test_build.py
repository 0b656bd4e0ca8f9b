# SPDX-License-Identifier: BSD-2-Clause
"""The build: incremental, headers and flags rebuild, warnings are errors, the commit rebuilds one file only."""
import re
import shutil
import subprocess

from umbra import layout, ninjafile

SCRIPT = "ENTRY(_start) SECTIONS { . = 0x100000; .text : { *(.text*) } /DISCARD/ : { *(.note*) } }\n"
START = "void _start(void);\nint tail(void);\nvoid _start(void)\n{\n}\n"


def small_kernel(tree):
    tree.write("kernel/arch/x86_64/kernel.ld", SCRIPT)
    tree.write("kernel/boot/start.c", '#include "k.h"\n' + START)
    tree.write("kernel/boot/banner.c", "const char *banner(void);\nconst char *banner(void)\n"
                                       "{\n    return UMBRA_VERSION UMBRA_COMMIT;\n}\n")
    tree.write("kernel/include/k.h", "#define K 1\n")


def objects(tree):
    return {p.name: p.stat().st_mtime_ns for p in (tree.root / "build/debug/obj").rglob("*.o")}


def test_build_is_incremental_and_headers_rebuild(tree):
    small_kernel(tree)
    assert tree.run("build").returncode == 0
    first = objects(tree)
    assert set(first) == {"start.c.o", "banner.c.o"}
    assert tree.run("build").returncode == 0
    assert objects(tree) == first
    tree.write("kernel/include/k.h", "#define K 2\n")
    assert tree.run("build").returncode == 0
    second = objects(tree)
    assert second["start.c.o"] != first["start.c.o"] and second["banner.c.o"] == first["banner.c.o"]


def test_a_commit_rebuilds_the_banner_only(tree):
    small_kernel(tree)
    assert tree.run("build").returncode == 0
    first = objects(tree)
    for words in (["init", "-q"], ["add", "build.py"],
                  ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tree.root), *words], check=True)
    assert tree.run("build").returncode == 0
    second = objects(tree)
    assert second["start.c.o"] == first["start.c.o"] and second["banner.c.o"] != first["banner.c.o"]


def test_a_warning_is_an_error_and_exit_1(tree):
    small_kernel(tree)
    tree.write("kernel/boot/warn.c", "int warn(int a);\nint warn(int a)\n{\n    int unused;\n    return a;\n}\n")
    done = tree.run("build")
    assert done.returncode == 1
    assert "unused" in done.stderr and done.stderr.strip().endswith("build.py: the build failed")


def test_flags_are_part_of_the_build(tree):
    small_kernel(tree)
    assert tree.run("build").returncode == 0
    first = objects(tree)
    path = tree.root / "tools/umbra/layout.py"
    path.write_text(path.read_text().replace('"-O2"', '"-O1"'))
    assert tree.run("build").returncode == 0
    assert objects(tree)["start.c.o"] != first["start.c.o"]


def test_shared_objects_are_written_once():
    def program(name):
        return layout.Program("build/host/" + name, "host", "", "build/host/obj", (name + ".c", "shared.c"), (), ())
    text = ninjafile.statements([program("a"), program("b")], "x")
    assert len(re.findall(r"^build build/host/obj/shared\.c\.o:", text, re.M)) == 1


def test_guest_image_is_flat_at_its_origin(tree):
    tree.write("tests/guests/boot.S", "// ORG: 0x7c00\n.code16\n.globl start\nstart: mov $start, %ax\nhlt\n")
    assert tree.run("build").returncode == 0
    assert (tree.root / "build/debug/guests/boot.bin").read_bytes() == bytes.fromhex("b8007cf4")


def test_server_links_against_musl(tree):
    tree.write("servers/hello/main.c", '#include <stdio.h>\nint main(void)\n{\n    puts("hello");\n    return 0;\n}\n')
    assert tree.run("build").returncode == 0
    program = tree.root / "build/debug/servers/hello.elf"
    assert subprocess.run([str(program)], capture_output=True, text=True).stdout == "hello\n"
    if shutil.which("readelf"):
        assert "INTERP" not in subprocess.run(["readelf", "-lW", str(program)], capture_output=True, text=True).stdout
