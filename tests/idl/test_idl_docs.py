# SPDX-License-Identifier: BSD-2-Clause
"""docs/idl.md: its example is a good system, and generated pages say what is there."""
import re

from idl_support import ROOT, build, generate


def test_the_example_of_the_documentation_compiles(tmp_path):
    text = re.search(r"```idl\n(.*?)```", (ROOT / "docs/idl.md").read_text(), re.S).group(1)
    (tmp_path / "example.idl").write_text(text)
    done = generate(tmp_path / "example.idl", tmp_path)
    assert done.returncode == 0, done.stderr
    for source in tmp_path.glob("*.c"):
        build("gcc", [source], tmp_path / "x.o", "-O2", "-c")
    assert "// What a store" not in (tmp_path / "example_types.h").read_text()
    assert "What a store keeps." in (tmp_path / "example_types.h").read_text()


def test_pages_name_every_procedure_and_connection(tmp_path):
    assert generate(ROOT / "systems/linux.idl", tmp_path).returncode == 0
    page = (tmp_path / "memory.md").read_text()
    assert all(f"## {name}" in page for name in ("map", "protect", "release", "info"))
    assert "| vmm0.memory | memmgr.memory | call memory |" in (tmp_path / "system.md").read_text()
    drawing = (tmp_path / "system.dot").read_text()
    assert 'vmm0 -> memmgr [label="memory", style=solid];' in drawing
    assert drawing.count("{") == drawing.count("}")
