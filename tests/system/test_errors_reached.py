# SPDX-License-Identifier: BSD-2-Clause
"""Every refusal that the kernel can return is returned to some test.

tests/procs/expected_errors.txt lists them from the sources; each kernel test ends with `error-seen` lines for those it saw.
Listed and not seen: no test reaches it. Seen and not listed: the list is behind the kernel. Logs that are older than their
program or the kernel are made anew.
"""
import pathlib
import re

import pytest
from umbra import layout, qemu

KERNEL = layout.kernel_output("debug")
TESTS = layout.find("tests/procs/test_*.c")
LIST = layout.ROOT / "tests/procs/expected_errors.txt"
SEEN = re.compile(r"^error-seen (\w+) (\d+) (\w+)\s*$", re.M)
NO_SVM = "max,-la57,-svm"


def listed(text):
    return {(words[0], int(words[1]), error) for words in map(str.split, text.splitlines())
            if words and not words[0].startswith("#") for error in words[2:]}


def seen(text):
    return {(thing, int(method), error) for thing, method, error in SEEN.findall(text.replace("\r", ""))}


def log_of(source):
    """The log of the test's last boot, None if that is not of the present programs."""
    path = qemu.LOG / ("proc-%s.log" % pathlib.Path(source).stem)
    newest = max((layout.ROOT / p).stat().st_mtime for p in (KERNEL, layout.proc_output("debug", source)))
    if not path.is_file() or path.stat().st_mtime < newest:
        return None
    text = path.read_text(errors="replace")
    return text if re.search(r"^1\.\.\d+", text, re.M) else None


def run(boot, source, **words):
    modules = [(layout.proc_output("debug", source), "")]
    modules += [(layout.module_output("debug", m), "") for m in layout.directive(source, "MODULES")]
    memory = (layout.directive(source, "MEMORY") or ["1G"])[0]
    machine = boot(kernel=KERNEL, modules=modules, cmdline=layout.directive_text(source, "CMDLINE"), memory=memory, **words)
    machine.expect(r"^1\.\.\d+$", int((layout.directive(source, "TIMEOUT") or [60])[0]))
    machine.wait(10)
    return machine.text()


def table(title, triples):
    return [title] + ["  %-12s %2d %s" % t for t in sorted(triples)] if triples else []


@pytest.mark.needs(KERNEL, layout.proc_output("debug", "tests/procs/no_svm.c"),
                   *(layout.proc_output("debug", t) for t in TESTS))
def test_every_refusal_is_reached(boot):
    text = run(boot, "tests/procs/no_svm.c", cpu=NO_SVM)
    assert "ok without_svm_there_are_no_vms" in text
    reached = seen(text)
    for source in TESTS:
        reached |= seen(log_of(source) or run(boot, source))
    known = listed(LIST.read_text())
    lines = table("not reached by any test:", known - reached) + table("not listed:", reached - known)
    assert not lines, "\n" + "\n".join(lines)
