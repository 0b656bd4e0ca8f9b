# SPDX-License-Identifier: BSD-2-Clause
"""The command `lint`: formatting, direction of includes, licence lines, Python. Each check is also a test.

A check takes no argument and returns findings, `path:line: what is wrong` each; an empty list is a pass. A new check is a
function and a line in CHECKS.
"""
import os
import pathlib
import re
import subprocess
import sys

from umbra import deps, layout
from umbra.errors import Failure

FOLDERS = ("kernel", "servers", "lib", "idl", "systems", "tests", "tools", ".ci")
TOP_FILES = ("build.py",)
LICENSED = (".c", ".h", ".S", ".py", ".ld", ".sh", ".idl", ".toml", ".pml")
SPDX = "SPDX-License-Identifier: BSD-2-Clause"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.M)
VMM_LIBRARIES = ("servers/vmm/shadow", "servers/vmm/x86", "servers/vmm/dev")


def files(*suffixes):
    """Relative paths of the tree's own files with these suffixes."""
    found = [name for name in TOP_FILES if (layout.ROOT / name).is_file()]
    for folder in FOLDERS:
        for where, folders, names in os.walk(layout.ROOT / folder):
            folders[:] = sorted(f for f in folders if f not in ("__pycache__", "build"))
            found += [layout.relative(pathlib.Path(where, name)) for name in sorted(names)]
    return [name for name in found if name.endswith(suffixes)]


def read(path):
    return (layout.ROOT / path).read_text(errors="replace")


def run_on(paths, words):
    if not paths:
        return []
    done = subprocess.run(words + paths, cwd=layout.ROOT, capture_output=True, text=True)
    text = (done.stdout + done.stderr).strip()
    return (text.splitlines() or ["%s: exit status %d" % (words[0], done.returncode)]) if done.returncode else []


def check_format():
    findings = run_on(files(".c", ".h"), ["clang-format-14", "--dry-run", "-Werror", "--ferror-limit=3"])
    return [line for line in findings if ": error:" in line] or findings


def check_spdx():
    paths = files(*LICENSED) + [p for p in (".ci/run",) if (layout.ROOT / p).is_file()]
    return ["%s:1: no line '%s' at the top" % (path, SPDX) for path in paths
            if SPDX not in "\n".join(read(path).splitlines()[:2])]


def check_pyflakes():
    return run_on(files(".py"), [sys.executable, "-m", "pyflakes"])


def check_compiles():
    findings = []
    for path in files(".py"):
        try:
            compile(read(path), path, "exec")
        except SyntaxError as error:
            findings.append("%s:%s: %s" % (path, error.lineno, error.msg))
    return findings


def resolve(includer, name):
    """The tree's file that an #include "name" means, or None (a generated or a missing one)."""
    folders = [os.path.dirname(includer), "kernel/include", "kernel", "lib", ""]
    if includer.startswith("servers/"):
        folders.append("/".join(includer.split("/")[:2]))
    for folder in folders:
        path = os.path.normpath(os.path.join(folder, name))
        if (layout.ROOT / path).is_file():
            return path
    return None


def within(path, *folders):
    return any(path.startswith(folder + "/") for folder in folders)


def forbidden(includer, target):
    """Why this include goes the wrong way, or None. Pure, so that the rules can be tested on names alone."""
    abi = within(target, "kernel/include")
    for library in VMM_LIBRARIES:
        if within(includer, library):
            allowed = abi or within(target, library) or (within(target, "lib") and not within(target, "lib/sys"))
            return None if allowed else "%s may include only itself, lib (not lib/sys) and the ABI" % library
    if within(includer, "kernel"):
        if not within(target, "kernel"):
            return "the kernel includes nothing of servers, lib or tests"
        inner = within(target, "kernel/arch") and target.count("/") > 2
        return "outside kernel/arch only arch/*.h itself may be included" if inner and not within(
            includer, "kernel/arch") else None
    if within(includer, "lib"):
        return None if abi or within(target, "lib") else "lib includes only lib and the ABI"
    if within(includer, "servers"):
        own = "/".join(includer.split("/")[:2])
        return None if abi or within(target, "lib", own) else "a server includes only itself, lib and the ABI"
    return None


def check_includes():
    findings = []
    for path in files(".c", ".h", ".S"):
        text = read(path)
        for match in INCLUDE.finditer(text):
            target = resolve(path, match[1])
            why = forbidden(path, target) if target else None
            if why:
                findings.append('%s:%d: #include "%s": %s' % (path, text.count("\n", 0, match.start()) + 1, match[1], why))
    return findings


CHECKS = {"format": check_format, "includes": check_includes, "spdx": check_spdx, "pyflakes": check_pyflakes,
          "compiles": check_compiles}


def arguments(parser):
    parser.epilog = "example: ./build.py lint"


def command(options):
    deps.ensure("lint", options)
    findings = [finding for check in CHECKS.values() for finding in check()]
    for finding in findings:
        print(finding)
    if findings:
        raise Failure("lint: %d findings" % len(findings))
    return 0
