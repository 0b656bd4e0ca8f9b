# SPDX-License-Identifier: BSD-2-Clause
"""Every lint check holds for the tree, and the rules about includes catch what they are for."""
import pytest
from umbra import lint


@pytest.mark.parametrize("name", lint.CHECKS)
def test_lint(name):
    findings = lint.CHECKS[name]()
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


@pytest.mark.parametrize("includer,target,allowed", [
    ("servers/vmm/main.c", "lib/ring/ring.h", True),
    ("servers/vmm/main.c", "kernel/include/umbra/syscall.h", True),
    ("servers/vmm/main.c", "kernel/obj/tcb.h", False),
    ("servers/vmm/main.c", "servers/init/init.h", False),
    ("lib/sys/call.c", "servers/vmm/vmm.h", False),
    ("lib/sys/call.c", "kernel/include/umbra/syscall.h", True),
    ("kernel/obj/tcb.c", "lib/sys/call.h", False),
    ("kernel/obj/tcb.c", "kernel/arch/arch.h", True),
    ("kernel/obj/tcb.c", "kernel/arch/x86_64/svm.h", False),
    ("kernel/arch/x86_64/svm.c", "kernel/arch/x86_64/svm.h", True),
    ("servers/vmm/shadow/fill.c", "servers/vmm/shadow/shadow.h", True),
    ("servers/vmm/shadow/fill.c", "servers/vmm/vmm.h", False),
    ("servers/vmm/shadow/fill.c", "servers/vmm/x86/decode.h", False),
    ("servers/vmm/x86/decode.c", "lib/sys/call.h", False),
    ("servers/vmm/dev/uart.c", "kernel/include/umbra/types.h", True),
    ("tests/host/test_x.c", "servers/vmm/shadow/shadow.h", True),
])
def test_direction_of_includes(includer, target, allowed):
    assert (lint.forbidden(includer, target) is None) == allowed
