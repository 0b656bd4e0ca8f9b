# SPDX-License-Identifier: BSD-2-Clause
"""`test --fresh`: the README's commands in an empty minimal Debian, as a stranger would type them.

The system is a folder under build/ made by debootstrap from the machine's own package source, with git and python3; the tree
is cloned into it (committed state). It sees the machine's package configuration and network, and nothing else of the machine:
its own process namespace, so that nothing in it outlives the command.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess

from umbra import deps, layout, say
from umbra.errors import Failure, Lacking

SUITE = "bookworm"
FRESH = layout.BUILD / "fresh"
PREINSTALLED = "git,python3,ca-certificates"
HOST_FILES = ("etc/resolv.conf", "etc/hosts")
APT_FOLDERS = ("etc/apt/apt.conf.d", "etc/apt/sources.list.d")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
README_BLOCK = re.compile(r"^```\n(.*?)^```", re.M | re.S)
RUN_WORDS = "--headless --timeout 400 --until '^/ # '"
SECONDS = 3600


def mirror():
    """The machine's own source of the suite."""
    answer = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
                            capture_output=True, text=True)
    for line in answer.stdout.splitlines():
        uri, _, name = line.partition(" ")
        if name == SUITE:
            return uri
    raise Lacking("no package source of Debian %s is configured here" % SUITE)


def readme_commands():
    """The commands of the README's first block, comments removed."""
    block = README_BLOCK.search((layout.ROOT / "README.md").read_text())
    lines = [line.split("#")[0].strip() for line in block[1].splitlines()] if block else []
    commands = [line for line in lines if line]
    if not commands:
        raise Failure("README.md shows no commands")
    return commands


def adapted(command):
    """`run` needs a person; here its console is watched for the shell's prompt instead."""
    return command + " " + RUN_WORDS if command.split()[1:] == ["run"] else command


def call(words, seconds=SECONDS, **options):
    """Runs to the end, output passed on; ends what it started however this ends."""
    child = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL, **options)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise Failure("%s: no end within %d s" % (words[-1], seconds)) from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def install_system():
    """An empty minimal system in FRESH/root."""
    root = FRESH / "root"
    if root.exists():
        shutil.rmtree(root)
    FRESH.mkdir(parents=True, exist_ok=True)
    say.note("installing a minimal Debian %s into %s" % (SUITE, layout.relative(root)))
    status = call(["debootstrap", "--variant=minbase", "--include=" + PREINSTALLED, SUITE, str(root), mirror()],
                  stdout=open(FRESH / "debootstrap.log", "w"), stderr=subprocess.STDOUT)
    if status:
        raise Failure("debootstrap failed; see build/fresh/debootstrap.log")
    take_configuration(root)
    return root


def take_configuration(root):
    """The machine's package sources, their settings and its name service; keys that the sources name come along."""
    for name in HOST_FILES + ("etc/apt/sources.list",):
        if pathlib.Path("/", name).is_file():
            shutil.copyfile("/" + name, root / name)
    for name in APT_FOLDERS:
        for file in pathlib.Path("/", name).glob("*"):
            if "debian" in file.read_text(errors="replace") or name.endswith("conf.d"):
                shutil.copyfile(file, root / name / file.name)


def clone(root):
    target = root / "root" / "umbra"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(layout.ROOT), str(target)], check=True)
    return "/root/umbra"


def inside(root, folder, command):
    """Exit status of a shell command in the fresh system, with processes, mounts and time-outs of its own."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
                   **{k: v for k, v in os.environ.items() if k in PROXIES}}
    script = "mount -t proc proc /proc && cd %s && %s" % (folder, command)
    bind = "mount --rbind /dev %s/dev && exec chroot %s /bin/sh -c \"$0\"" % (root, root)
    return call(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", bind, script], env=environment)


def command(options):
    if os.geteuid() != 0:
        raise Lacking("test --fresh makes a file system and needs root: sudo ./build.py test --fresh")
    deps.ensure("fresh", options)
    if subprocess.run(["git", "-C", str(layout.ROOT), "status", "--porcelain"], capture_output=True).stdout:
        say.note("only what is committed is tested")
    root = install_system()
    folder = clone(root)
    results = []
    for line in readme_commands():
        say.note("fresh system: " + adapted(line))
        results.append((adapted(line), inside(root, folder, adapted(line))))
    for line, status in results:
        print("%-14s %s" % ("ok" if status == 0 else "FAIL status %d" % status, line))
    failed = sum(status != 0 for _, status in results)
    print("%d passed, %d failed, 0 skipped" % (len(results) - failed, failed))
    return 1 if failed else 0
