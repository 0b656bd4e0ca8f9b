# SPDX-License-Identifier: BSD-2-Clause
"""What the machine must give, and how it is brought there: distribution packages only.

A need is tested by what it gives (an import, a command, a file), never by a package's name; so a machine that has it from
elsewhere is left alone. Nothing is installed without a line that says what, nor with --no-install.
"""
import dataclasses
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys

from umbra import say
from umbra.errors import Lacking


@dataclasses.dataclass(frozen=True)
class Need:
    what: str       # for people
    probe: str      # "import:x", "command:x", "file:/x", "gccfile:x" or "clangfile:x" (a file that this compiler finds)
    packages: tuple # Debian packages that give it


def _n(what, probe, *packages):
    return Need(what, probe, packages)


NEEDS = {
    "build": (_n("C compiler", "command:gcc", "gcc"), _n("linker", "command:ld", "binutils"),
              _n("C library headers", "file:/usr/include/stdio.h", "libc6-dev"),
              _n("ninja", "command:ninja", "ninja-build"), _n("musl", "command:musl-gcc", "musl-tools"),
              _n("parser library lark", "import:lark", "python3-lark"),
              _n("template library jinja2", "import:jinja2", "python3-jinja2")),
    "qemu": (_n("QEMU for x86-64", "command:qemu-system-x86_64", "qemu-system-x86"),),
    "lint": (_n("clang-format 14", "command:clang-format-14", "clang-format-14"),
             _n("pyflakes", "import:pyflakes", "python3-pyflakes")),
    "test": (_n("pytest", "import:pytest", "python3-pytest"), _n("pytest-xdist", "import:xdist", "python3-pytest-xdist"),
             _n("clang", "command:clang", "clang"),
             _n("address sanitizer of clang", "clangfile:libclang_rt.asan-x86_64.a", "libclang-rt-14-dev")),
    "sanitizers": (_n("address sanitizer", "gccfile:libasan.so", "libgcc-12-dev"),),
    "bochs": (_n("bochs", "command:bochs", "bochs"), _n("bochs's display", "file:/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_sdl2_gui.so", "bochs-sdl"),
              _n("firmware for bochs", "file:/usr/share/bochs/BIOS-bochs-latest", "bochsbios"),
              _n("VGA firmware for bochs", "file:/usr/share/bochs/VGABIOS-lgpl-latest", "vgabios")),
    "debug": (_n("gdb", "command:gdb", "gdb"),),
    "iso": (_n("grub-mkrescue", "command:grub-mkrescue", "grub-common"),
            _n("GRUB for the BIOS", "file:/usr/lib/grub/i386-pc/moddep.lst", "grub-pc-bin"),
            _n("xorriso", "command:xorriso", "xorriso"), _n("mtools", "command:mformat", "mtools")),
    "verify": (_n("model checker spin", "command:spin", "spin"),),
    "fuzz": (_n("clang", "command:clang", "clang"), _n("libFuzzer", "clangfile:libclang_rt.fuzzer-x86_64.a", "libclang-rt-14-dev"),
             _n("address sanitizer of clang", "clangfile:libclang_rt.asan-x86_64.a", "libclang-rt-14-dev")),
    "proofs": (_n("Frama-C", "command:frama-c", "frama-c-base"), _n("Why3", "command:why3", "why3"),
               _n("prover CVC4", "command:cvc4", "cvc4"), _n("prover Z3", "command:z3", "z3")),    # 1.5 GB: only `verify` installs them
    "fresh": (_n("debootstrap", "command:debootstrap", "debootstrap"),),
    "plot": (_n("matplotlib", "import:matplotlib", "python3-matplotlib"),),
}
GROUPS = {"build": ("build",), "lint": ("lint",), "test": ("build", "qemu", "lint", "test", "sanitizers", "iso", "debug", "bochs", "verify"),
          "verify": ("build", "verify", "sanitizers"), "fuzz": ("build", "sanitizers", "fuzz"), "proofs": ("proofs",), "run": ("build", "qemu"),
          "debug": ("build", "qemu", "debug"), "bochs": ("build", "iso", "bochs"), "iso": ("build", "iso"), "fresh": ("fresh",),
          "bench": ("build", "qemu"), "plot": ("plot",), "deps": tuple(name for name in NEEDS if name != "proofs")}


def present(need):
    kind, _, name = need.probe.partition(":")
    if kind == "import":
        importlib.invalidate_caches()
        return importlib.util.find_spec(name) is not None
    if kind == "command":
        return shutil.which(name) is not None
    if kind == "file":
        return os.path.exists(name)
    compiler = kind.removesuffix("file")
    assert compiler in ("gcc", "clang")
    if shutil.which(compiler) is None:
        return False
    answer = subprocess.run([compiler, "-print-file-name=" + name], capture_output=True, text=True)
    return os.path.isabs(answer.stdout.strip())


def needs_of(command):
    return [need for group in GROUPS[command] for need in NEEDS[group]]


def ensure(command, options, skip=()):
    """Makes sure that everything the command needs is there, installing what is not; or raises Lacking."""
    missing = [n for n in needs_of(command) if n.probe not in skip and not present(n)]
    if not missing:
        return
    packages = sorted({p for n in missing for p in n.packages})
    explain = "%s: missing %s (Debian: %s)" % (command, ", ".join(n.what for n in missing), " ".join(packages))
    if options.no_install:
        raise Lacking(explain + "; --no-install forbids installing")
    prefix = privilege(explain)
    say.note("installing " + " ".join(packages))
    install(packages, prefix)
    still = [n.what for n in missing if not present(n)]
    if still:
        raise Lacking("after installing %s still missing: %s" % (" ".join(packages), ", ".join(still)))


def privilege(explain):
    """The words before apt-get: none for root, else sudo; Lacking where neither can work."""
    if shutil.which("apt-get") is None:
        raise Lacking(explain + "; there is no apt-get here: install them by hand")
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise Lacking(explain + "; neither root nor sudo: run as root: apt-get install " + explain.split("Debian: ")[1][:-1])
    return ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]


def apt(words, prefix):
    command = prefix + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=900", "-q"] + words
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def have_candidates(packages):
    for package in packages:
        answer = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True,
                                env={**os.environ, "LC_ALL": "C"})
        if "Candidate:" not in answer.stdout or "Candidate: (none)" in answer.stdout:
            return False
    return True


def install(packages, prefix):
    """apt-get install; the package lists are refreshed only if a candidate is missing or has gone stale."""
    fresh = False
    if not have_candidates(packages):
        apt(["update"], prefix)
        fresh = True
    words = ["-y", "--no-install-recommends", "install"] + list(packages)
    done = apt(words, prefix)
    if done.returncode and not fresh:
        apt(["update"], prefix)
        done = apt(words, prefix)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.startswith("E:")] or done.stdout.splitlines()[-1:]
        raise Lacking("apt-get could not install %s: %s" % (" ".join(packages), " ".join(lines)))


def arguments(parser):
    parser.add_argument("--list", action="store_true", help="only show what is needed and what is there")
    parser.epilog = "example: ./build.py deps --list"


def command(options):
    if not options.list:
        ensure("deps", options)
        return 0
    print("%-26s %-8s %s" % ("need", "here", "Debian packages"))
    for need in dict.fromkeys(n for group in NEEDS.values() for n in group):
        print("%-26s %-8s %s" % (need.what, "yes" if present(need) else "no", " ".join(need.packages)))
    return 0
