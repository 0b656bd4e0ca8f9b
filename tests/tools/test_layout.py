# SPDX-License-Identifier: BSD-2-Clause
"""The folder conventions: which sources make which program."""
import pytest
from umbra import layout
from umbra.errors import Usage


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "ROOT", tmp_path)

    def write(path, text=""):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return write


def test_an_empty_tree_has_no_programs(root):
    assert layout.programs() == []


def test_kernel_is_all_of_its_folder_in_both_profiles(root):
    root("kernel/boot/start.S")
    root("kernel/obj/tcb.c")
    debug, release = layout.programs()
    assert debug.output == "build/debug/umbra.elf"
    assert debug.sources == ("kernel/boot/start.S", "kernel/obj/tcb.c")
    assert "-DUMBRA_DEBUG=1" in debug.flags and "-DUMBRA_DEBUG=0" in release.flags


def test_proc_takes_support_library_and_used_sources(root):
    root("tests/procs/test_a.c", "// USES: servers/vmm/shadow/*.c lib/x.c\n// MODULES: guests/g servers/s\n")
    for path in ("tests/procs/support/start.S", "lib/sys/call.c", "servers/vmm/shadow/fill.c", "lib/x.c"):
        root(path)
    proc = layout.procs("debug")[0]
    assert proc.output == "build/debug/procs/test_a.elf"
    assert proc.sources == ("tests/procs/test_a.c", "servers/vmm/shadow/fill.c", "lib/x.c", "lib/sys/call.c",
                            "tests/procs/support/start.S")
    assert "-Ttext-segment=0x400000" in proc.link
    modules = [layout.module_output("debug", m) for m in layout.directive("tests/procs/test_a.c", "MODULES")]
    assert modules == ["build/debug/guests/g.bin", "build/debug/servers/s.elf"]


def test_proc_uses_the_linker_script_if_there_is_one(root):
    root("tests/procs/test_a.c")
    root("lib/sys/user.ld")
    assert layout.procs("debug")[0].scripts == ("lib/sys/user.ld",)


def test_guest_is_linked_at_its_origin(root):
    root("tests/guests/boot.S", "// ORG: 0x7c00\n.code16\n")
    assert "-Ttext=0x7c00" in layout.guests("debug")[0].link


def test_bad_origin_is_named(root):
    root("tests/guests/boot.S", "// ORG: high\n")
    with pytest.raises(Usage, match="boot.S: ORG is high"):
        layout.guests("debug")


def test_uses_without_a_file_is_named(root):
    root("tests/host/test_a.c", "// USES: lib/gone.c\n")
    with pytest.raises(Usage, match="test_a.c: USES names lib/gone.c"):
        layout.host_tests()


def test_server_is_a_folder(root):
    root("servers/vmm/main.c")
    root("servers/vmm/shadow/fill.c")
    root("servers/README.md")
    assert [p.output for p in layout.servers("debug")] == ["build/debug/servers/vmm.elf"]
    assert layout.servers("debug")[0].sources == ("servers/vmm/main.c", "servers/vmm/shadow/fill.c")


def test_host_test_in_a_subfolder_keeps_its_folder(root):
    root("tests/host/vmm/test_a.c")
    assert layout.host_tests()[0].output == "build/host/vmm/test_a"


def test_tests_are_read_from_the_text(root):
    root("tests/host/test_a.c", "TEST(one)\n{\n}\n// TEST(not_this)\nTEST( two )\n{\n}\n")
    assert layout.tests_in("tests/host/test_a.c") == ["one", "two"]
