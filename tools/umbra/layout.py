# SPDX-License-Identifier: BSD-2-Clause
"""The folder conventions: which sources make which program, with which flags. The one table of the build.

Pure: reads source trees, writes nothing. ninjafile.py turns the Programs into rules, the test runner asks the same
functions which programs a test needs. A missing folder means no programs of that kind.
"""
import dataclasses
import pathlib
import re

from umbra.errors import Usage

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
PROFILES = ("debug", "release")

WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror")
FREESTANDING = ("-std=gnu11", "-O2", "-g", "-ffreestanding", "-fno-pic", "-fno-pie", "-fno-stack-protector",
                "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-fno-strict-aliasing",
                "-ffunction-sections", "-Wa,--noexecstack")
LINK = ("-static", "-no-pie", "-nostdlib", "--build-id=none", "-z", "noexecstack", "--no-warn-rwx-segments",
        "--fatal-warnings", "-z", "max-page-size=4096", "--gc-sections")

KERNEL_FLAGS = FREESTANDING + ("-mcmodel=kernel", "-mno-red-zone", "-mgeneral-regs-only",
                               "-fno-align-jumps", "-fno-align-loops", "-fno-align-labels",
                               "-I", "kernel/include", "-I", "kernel")
# The kernel is compiled for size but for what runs at every message, signal, exit and mapping.
KERNEL_FAST = ("kernel/fastpath.c", "kernel/fastsignal.c", "kernel/fastexit.c", "kernel/obj/shadow.c", "kernel/obj/root.c",
               "kernel/obj/vspace.c", "kernel/obj/cnode.c", "kernel/arch/x86_64/svm.c", "kernel/arch/x86_64/svm_exit.c",
               "kernel/obj/cap.c")
KERNEL_SMALL = ("-Oz", "-fno-align-functions")
KERNEL_SCRIPT = "kernel/arch/x86_64/kernel.ld"
VERSIONED = ("kernel/boot/banner.c", "servers/vmm/program.c")      # told version and commit
PROC_FLAGS = FREESTANDING + ("-mcmodel=small", "-I", "kernel/include", "-I", "lib", "-I", "tests/procs", "-I", ".")
PROC_SCRIPT = "lib/sys/user.ld"
PROC_BASE = "0x400000"
GUEST_FLAGS = ("-m64", "-Wa,--noexecstack", "-I", "tests/guests", "-I", "kernel/include")
SERVER_FLAGS = ("-std=gnu11", "-O2", "-g", "-fno-pie", "-fno-stack-protector", "-fcf-protection=none",
                "-fno-strict-aliasing", "-ffunction-sections", "-fdata-sections", "-I", "kernel/include", "-I", "lib",
                "-I", ".", "-I", "build/gen")
SERVER_LINK = ("-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--gc-sections", "-Wl,--fatal-warnings",
               "-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack")
GENERAL_REGISTERS = ("servers/vmm", "servers/tinyvmm")     # the guest's FPU state stays in the registers while these run
GENERATED = "build/gen"     # stubs, dispatch and headers of all interfaces and components
INTERFACES = "idl/interfaces/components.idl"
HOST_FLAGS = ("-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
              "-fno-sanitize-recover=all", "-DUMBRA_DEBUG=1", "-DUMBRA_HOST=1", "-idirafter", GENERATED,
              "-I", "kernel/include", "-I", "lib", "-I", ".", "-I", "tests/host", "-I", "kernel")
WORKLOAD_FLAGS = ("-std=gnu11", "-O2", "-g", "-fno-pie", "-D_GNU_SOURCE", "-I", "tests/workloads")
HOST_SUPPORT = ("tests/host/check.c",)
FUZZ_SUPPORT = ("tests/fuzz/support/checks.c",)
FUZZ_REPLAY = ("tests/fuzz/support/replay.c", "servers/control/base64.c")
FUZZ_GENERATED = GENERATED + "/fuzz"    # stubs of tests/idl/every_type.idl, and what tests/fuzz/idl_faces.py makes
FUZZ_FACES = FUZZ_GENERATED + "/faces.c"
FUZZ_INTERFACE = "tests/idl/every_type.idl"
REPLAY = "tests/replay/replay.c"        # runs recordings (docs/replay.md)
REPLAY_OUTPUT = "build/host/replay/replay"
RECORDING = "servers/vmm/recording/"    # what makes the VMM one that records, by wrapping these functions
WRAPPED = ("vmm_init", "vmm_resume", "vmm_start", "vmm_begin", "vmm_handle", "vmm_commit", "machine_take", "machine_give",
           "supervisor_ended", "gmem_cas32", "gmem_cas64", "gmem_walk_long",
           *("gmem_%s%s" % (what, size) for what in ("read", "write") for size in ("8", "16", "32", "64", "_bytes")))

TEST_NAME = re.compile(r"^[ \t]*TEST\(\s*(\w+)\s*\)", re.M)
DIRECTIVES = ("LIBC", "USES", "MODULES", "ORG", "TIMEOUT", "MEMORY", "CMDLINE", "ICOUNT", "LONG")


@dataclasses.dataclass(frozen=True)
class Program:
    """One linked file. Paths are relative to the root, as text."""
    output: str
    kind: str           # kernel, proc, guest, server, host, workload: selects the rules
    profile: str        # debug, release; host tests and workloads belong to none: ""
    objects: str        # folder of the object files
    sources: tuple
    flags: tuple        # of the compiler
    link: tuple         # of the linker
    scripts: tuple = () # linker scripts it depends on


def relative(path):
    return str(pathlib.Path(path).relative_to(ROOT))


def directive(path, name):
    """The words of every line `// NAME: words` (or `/* NAME: words */`) of a source file, in order."""
    assert name in DIRECTIVES
    words = []
    for line in re.findall(r"^(?://|/\*|\#)\s*%s:(.*)$" % name, (ROOT / path).read_text(errors="replace"), re.M):
        words += line.replace("*/", "").split()
    return words


def directive_text(path, name):
    return " ".join(directive(path, name))


def tests_in(path):
    """The names of the TEST(name) functions of a C file, in order."""
    return TEST_NAME.findall((ROOT / path).read_text(errors="replace"))


def find(*patterns):
    """Sorted relative paths of the files that match any of the patterns; a missing folder gives none."""
    found = {relative(p) for pattern in patterns for p in ROOT.glob(pattern) if p.is_file()}
    return tuple(sorted(found))


def used_sources(path):
    """Sources named by the USES lines of a file; a pattern that matches nothing is an error that names it."""
    sources = ()
    for pattern in directive(path, "USES"):
        matched = (pattern,) if pattern.startswith(GENERATED + "/") else find(pattern)
        if not matched:
            raise Usage("%s: USES names %s, which matches no file" % (path, pattern))
        sources += matched
    return sources


def unique(*groups):
    return tuple(dict.fromkeys(item for group in groups for item in group))


def debug_define(profile):
    return "-DUMBRA_DEBUG=%d" % (profile == "debug")


def kernel(profile):
    sources = find("kernel/**/*.c", "kernel/**/*.S")
    if not sources:
        return []
    return [Program(kernel_output(profile), "kernel", profile, "build/%s/obj/kernel" % profile, sources,
                    KERNEL_FLAGS + WARNINGS + (debug_define(profile),), LINK + ("-T", KERNEL_SCRIPT),
                    (KERNEL_SCRIPT,))]


def kernel_output(profile):
    return "build/%s/umbra.elf" % profile


def procs(profile):
    """Freestanding root tasks for tests: one program a file of tests/procs."""
    common = find("tests/procs/support/*.c", "tests/procs/support/*.S", "lib/sys/*.c", "lib/sys/*.S")
    scripted = (ROOT / PROC_SCRIPT).is_file()
    hosted = [path for path in find("tests/procs/*.c") if directive(path, "LIBC")]
    link = LINK + (("-T", PROC_SCRIPT) if scripted else ("-Ttext-segment=" + PROC_BASE,))
    return [Program(proc_output(profile, path), "proc", profile, "build/%s/obj/procs" % profile,
                    unique((path,), used_sources(path), common),
                    PROC_FLAGS + WARNINGS + (debug_define(profile),), link, (PROC_SCRIPT,) if scripted else ())
            for path in find("tests/procs/*.c") if path not in hosted] + \
        [Program(proc_output(profile, path), "server", profile, "build/%s/obj/servers" % profile,
                 unique((path,), used_sources(path), find("tests/procs/libc/*.c"), libraries()),
                 SERVER_FLAGS + WARNINGS + (debug_define(profile),), server_link()) for path in hosted]


def proc_output(profile, path):
    return "build/%s/procs/%s.elf" % (profile, pathlib.Path(path).stem)


def guests(profile):
    """Flat images of hand-written guests, linked at the address of their ORG line (0 without one)."""
    programs = []
    for path in find("tests/guests/*.S"):
        origin = (directive(path, "ORG") or ["0"])[0]
        if not re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", origin):
            raise Usage("%s: ORG is %s, not a number" % (path, origin))
        programs.append(Program("build/%s/guests/%s.bin" % (profile, pathlib.Path(path).stem), "guest", profile,
                                "build/%s/obj/guests" % profile, (path,), GUEST_FLAGS,
                                ("-N", "-e", "0", "-Ttext=%s" % hex(int(origin, 0)), "--oformat", "binary")))
    return programs


def generated():
    """(headers, sources) that the interface compiler makes of idl/interfaces, by the declarations in there."""
    headers, sources = [], []
    for path in find("idl/interfaces/*.idl"):
        text = (ROOT / path).read_text()
        headers += [pathlib.Path(path).stem + "_types.h"] if re.search(r"^(enum|struct|flags|const)\b", text, re.M) else []
        for name in re.findall(r"^interface (\w+)", text, re.M):
            headers += [name + ".h", name + "_server.h"]
            sources += [name + "_client.c", name + "_server.c"]
        for name, body in re.findall(r"^component (\w+)[^{]*\{(.*?)^\}", text, re.M | re.S):
            headers.append(name + "_component.h")
            sources += [name + "_component.c"] if re.search(r"^\s*provides ", body, re.M) else []
    place = lambda names: tuple("%s/%s" % (GENERATED, n) for n in names)
    return place(headers), place(sources)


def server_link():
    return SERVER_LINK + (("-Wl,-e,umbra_start",) if find("lib/libc/start.S") else ())


def libraries():
    """What every program with musl is linked with; the linker drops what it does not use."""
    return find("lib/libc/*.c", "lib/libc/*.S", "lib/component/*.c", "lib/desc/*.c", "lib/serial/*.c") + generated()[1]


def servers(profile):
    """Static programs against the distribution's musl: one a folder of servers/."""
    programs = []
    for folder in sorted(p for p in (ROOT / "servers").glob("*") if p.is_dir()):
        name = folder.name
        if not (folder / "main.c").is_file():
            continue
        own = find("servers/%s/**/*.c" % name, "servers/%s/**/*.S" % name)
        extra = tuple(path for path in own if path.startswith(RECORDING))
        own = tuple(path for path in own if path not in extra)
        if extra:
            programs.append(Program(server_output(profile, "vmm_recording"), "server", profile,
                                    "build/%s/obj/servers" % profile, unique(own, extra, libraries()),
                                    SERVER_FLAGS + WARNINGS + (debug_define(profile),),
                                    server_link() + tuple("-Wl,--wrap=" + name for name in WRAPPED)))
        if own:
            programs.append(Program(server_output(profile, name), "server", profile, "build/%s/obj/servers" % profile,
                                    unique(own, libraries()), SERVER_FLAGS + WARNINGS + (debug_define(profile),),
                                    server_link()))
    return programs


def server_output(profile, name):
    return "build/%s/servers/%s.elf" % (profile, name)


def description_output(name):
    """The folder of what the interface compiler makes of systems/NAME.idl; system.desc in it is the boot module."""
    return "build/systems/%s" % name


def host_tests():
    return [Program(host_output(path), "host", "", "build/host/obj",
                    unique((path,), used_sources(path), HOST_SUPPORT), HOST_FLAGS + WARNINGS,
                    ("-fsanitize=address,undefined",))
            for path in find("tests/host/**/test_*.c")]


def host_tools():
    """Programs for the host that are no tests of themselves."""
    return [Program(REPLAY_OUTPUT, "host", "", "build/host/obj", unique((path,), used_sources(path)),
                    HOST_FLAGS + WARNINGS, ("-fsanitize=address,undefined",)) for path in find(REPLAY)]


def fuzz_sources(path):
    """Of a fuzz target without what feeds it: libFuzzer, or the replay of a corpus."""
    return unique((path,), used_sources(path), FUZZ_SUPPORT)


def fuzz_replays():
    """Each target of tests/fuzz as a program that runs the inputs of a corpus (tools/umbra/fuzz.py has the other form)."""
    return [Program(fuzz_output(path), "host", "", "build/host/obj", unique(fuzz_sources(path), FUZZ_REPLAY), HOST_FLAGS + WARNINGS,
                    ("-fsanitize=address,undefined",))
            for path in find("tests/fuzz/*.c")]


def fuzz_output(path):
    return "build/host/fuzz/" + pathlib.Path(path).stem


def host_output(path):
    return "build/host/" + str(pathlib.Path(path).relative_to("tests/host").with_suffix(""))


def workloads():
    """Static Linux programs that tests and benchmarks run inside a guest."""
    return [Program("build/workloads/" + pathlib.Path(path).stem, "workload", "", "build/workloads/obj", (path,),
                    WORKLOAD_FLAGS + WARNINGS, ("-static", "-no-pie"))
            for path in find("tests/workloads/*.c")]


def programs():
    """Every program of the tree, in both profiles."""
    found = []
    for profile in PROFILES:
        found += kernel(profile) + procs(profile) + guests(profile) + servers(profile)
    return found + host_tests() + host_tools() + fuzz_replays() + workloads()


def module_output(profile, name):
    """The file of a boot module as MODULES lines name it: guests/x, procs/x, servers/x, or a path in the tree."""
    folder = name.split("/")[0]
    suffix = {"guests": ".bin", "procs": ".elf", "servers": ".elf"}.get(folder)
    return name if suffix is None else "build/%s/%s%s" % (profile, name, suffix)
