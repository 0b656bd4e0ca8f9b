# SPDX-License-Identifier: BSD-2-Clause
"""The default guest: a Debian kernel exactly as packaged, and an initramfs with busybox around a shell. And what tests run besides:
32-bit kernels with their busybox and C library, memory testers.

Packages are downloaded to build/cache and only what is needed is unpacked to build/guest; nothing is installed. Every file
appears under its name by a rename when it is whole, so what an interruption left behind is never taken for it.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

from umbra import layout, say
from umbra.errors import Failure, Lacking

GUEST = layout.BUILD / "guest"
CACHE = layout.BUILD / "cache" / "packages"
FLAVOURS = ("amd64", "cloud-amd64", "rt-amd64")
FLAVOURS_32 = ("686-pae", "686")    # of architecture i386: tables of three levels and of two
TESTERS = ("x64", "ia32")
APPEND = "console=ttyS0"

INIT = """#!/bin/sh
# The first process of the guest: mounts what programs expect, gives a shell, powers off when it ends.
export PATH=/bin HOME=/ TERM=${TERM:-linux} USER=root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts 2>/dev/null
[ -x /etc/start ] && /etc/start
stty -F /dev/console rows 24 columns 80 2>/dev/null   # or the shell asks the terminal by an escape sequence
setsid cttyhack sh
sync
poweroff -f
"""


def quiet(words, **options):
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, **options)


class Apt:
    """apt with the host's package lists, or with private ones under build/ when those know nothing of a package, or when it is of
    another architecture.

    Private lists need no privilege and leave the host's configuration alone."""

    def __init__(self, architecture=None):
        self.architecture = architecture    # None: the host's
        self.options = []
        self.trouble = ""

    def use_private_lists(self):
        folder = layout.BUILD / "cache" / ("apt-%s" % self.architecture if self.architecture else "apt")
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.options = ["-o", "Dir::State=%s" % (folder / "state"), "-o", "Dir::Cache=%s" % (folder / "cache"),
                        "-o", "Dir::State::status=" + ("/dev/null" if self.architecture else "/var/lib/dpkg/status"),
                        "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
        if self.architecture:
            self.options += ["-o", "APT::Architecture=" + self.architecture, "-o", "APT::Architectures=" + self.architecture]
        say.note("refreshing a private list of packages" + (" for " + self.architecture if self.architecture else ""))
        done = quiet(["apt-get", *self.options, "-q", "update"])
        self.trouble = ": " + last_error(done) if done.returncode else ""     # one list of several may be there all the same

    def record(self, package):
        """The fields of a package's candidate, or None."""
        done = quiet(["apt-cache", *self.options, "show", "--no-all-versions", package])
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", done.stdout, re.M))
        return fields if "Filename" in fields else None

    def find(self, package):
        if shutil.which("apt-get") is None:
            raise Lacking("the default guest comes from Debian packages, and there is no apt-get here; "
                          "give --kernel and --initrd")
        fields = None if self.architecture and not self.options else self.record(package)
        if fields is None and not self.options:
            self.use_private_lists()
            fields = self.record(package)
        if fields is None:
            raise Lacking("no Debian package %s in reach%s; give --kernel and --initrd" % (package, self.trouble))
        return fields

    def download(self, package):
        """The path of the downloaded package file, checked against the hash that the lists give."""
        fields = self.find(package)
        suffix = "_" + self.architecture if self.architecture else ""
        target = CACHE / ("%s_%s%s.deb" % (package, fields["Version"].replace(":", "%3a"), suffix))
        if target.is_file() and sha256(target) == fields["SHA256"]:
            return target, fields
        CACHE.mkdir(parents=True, exist_ok=True)
        say.note("downloading %s %s (%.0f MB)" % (package, fields["Version"], int(fields["Size"]) / 1e6))
        with tempfile.TemporaryDirectory(prefix="part-", dir=CACHE) as part:
            done = quiet(["apt-get", *self.options, "-q", "download", "%s=%s" % (package, fields["Version"])], cwd=part)
            found = list(pathlib.Path(part).glob("*.deb"))
            if done.returncode and not self.options:
                self.use_private_lists()    # the host's lists were stale
                return self.download(package)
            if done.returncode or len(found) != 1 or sha256(found[0]) != fields["SHA256"]:
                raise Failure("cannot download %s: %s" % (package, last_error(done)))
            found[0].replace(target)
        return target, fields


def last_error(done):
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("E:")]
    return lines[-1] if lines else "exit status %d" % done.returncode


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def members(package_file, wanted):
    """The regular files of a package whose path fits the pattern, as {path: bytes}."""
    found = {}
    reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package_file)], stdout=subprocess.PIPE)
    try:
        with tarfile.open(fileobj=reader.stdout, mode="r|") as archive:
            for entry in archive:
                if entry.isfile() and re.fullmatch(wanted, entry.name):
                    found[entry.name] = archive.extractfile(entry).read()
    finally:
        reader.stdout.close()
        reader.wait()
    return found


def write_whole(path, data):
    """The file appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("%s.part%d" % (path.name, os.getpid()))
    part.write_bytes(data)
    part.replace(path)


def kernel(flavour="amd64"):
    """The path of the packaged kernel image, byte for byte, downloading it the first time."""
    assert flavour in FLAVOURS + FLAVOURS_32
    folder = GUEST / flavour
    described = folder / "package.json"
    if described.is_file():
        known = json.loads(described.read_text())
        image = folder / known["image"]
        if image.is_file() and sha256(image) == known["sha256"]:
            return image
    apt = Apt("i386" if flavour in FLAVOURS_32 else None)
    depends = apt.find("linux-image-" + flavour).get("Depends", "")
    package = re.search(r"linux-image-[0-9][^ ,]*", depends)
    if package is None:
        raise Failure("linux-image-%s depends on no kernel: %s" % (flavour, depends))
    file, fields = apt.download(package[0])
    images = members(file, r"\./boot/vmlinuz-.*")
    if len(images) != 1:
        raise Failure("%s holds %d kernel images" % (file.name, len(images)))
    (name, data), = images.items()
    image = folder / os.path.basename(name)
    write_whole(image, data)
    write_whole(described, json.dumps({"image": image.name, "sha256": sha256(image), "package": package[0],
                                       "version": fields["Version"]}, indent=1).encode())
    return image


def kernel_version(flavour="amd64"):
    """Package and version behind a kernel image, for reports."""
    known = json.loads((GUEST / flavour / "package.json").read_text())
    return "%s %s" % (known["package"], known["version"])


def busybox(architecture=None):
    """The path of the static busybox, downloading it the first time."""
    program = GUEST / ("busybox-" + architecture if architecture else "busybox")
    if program.is_file():
        return program
    file, _ = Apt(architecture).download("busybox-static")
    found = members(file, r"\./(usr/)?bin/busybox")
    if len(found) != 1:
        raise Failure("%s holds no busybox" % file.name)
    write_whole(program, *found.values())
    program.chmod(0o755)
    return program


def c_library_32():
    """The folder of a 32-bit C library to link with statically: musl, and the compiler's own part, unpacked from their packages."""
    folder = GUEST / "i386"
    if not (folder / "usr/lib/libgcc.a").is_file():
        apt = Apt("i386")
        for package, wanted in (("musl-dev", r"\./usr/(include|lib)/i386-linux-musl/.*"),
                                ("libgcc-12-dev", r"\./usr/lib/gcc/i686-linux-gnu/12/libgcc(_eh)?\.a")):
            file, _ = apt.download(package)
            for name, data in sorted(members(file, wanted).items()):
                inside = name.removeprefix("./").replace("lib/gcc/i686-linux-gnu/12/", "lib/")
                write_whole(folder / inside, data)
    return folder


def memory_tester(kind):
    """The path of an image of Debian's memtest86+, downloading it the first time."""
    assert kind in TESTERS
    image = GUEST / "memtest" / ("memtest86+%s.bin" % kind)
    if not image.is_file():
        file, _ = Apt().download("memtest86+")
        for name, data in members(file, r"\./boot/memtest86\+.*\.bin").items():
            write_whole(image.with_name(os.path.basename(name)), data)
    if not image.is_file():
        raise Failure("the package memtest86+ holds no %s" % image.name)
    return image


def cpio_entry(number, name, mode, data=b"", device=(0, 0)):
    """One entry in `newc` format (cpio(5)): everything that could differ from day to day is zero."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
    entry = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    entry += b"\0" * (-len(entry) % 4) + data
    return entry + b"\0" * (-len(entry) % 4)


def cpio(entries):
    """An archive of (name, mode, data) or (name, mode, data, (major, minor)) entries."""
    parts = [cpio_entry(number, *entry) for number, entry in enumerate(entries, 1)]
    archive = b"".join(parts) + cpio_entry(0, "TRAILER!!!", 0)
    return archive + b"\0" * (-len(archive) % 512)


def applets(program):
    listed = quiet([str(program), "--list"])
    if listed.returncode:
        raise Failure("%s does not run here: %s" % (program, listed.stderr.strip()))
    return sorted(set(listed.stdout.split()) - {"busybox"})


def initramfs_bytes(program, extra=(), names=None):
    """The default initramfs; `extra` are further entries, for example a workload as etc/start; `names` of busybox's commands are
    asked of the program itself if they are not given."""
    folders = ["bin", "dev", "etc", "proc", "root", "sys", "tmp"]
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [("dev/console", 0o020600, b"", (5, 1)), ("dev/null", 0o020666, b"", (1, 3))]
    entries += [("init", 0o100755, INIT.encode()), ("bin/busybox", 0o100755, program.read_bytes())]
    entries += [("bin/" + name, 0o120777, b"busybox") for name in names or applets(program)]
    return cpio(entries + list(extra))


def initramfs(name="initramfs.cpio", extra=()):
    """The path of an initramfs with the shell; rewritten only if its bytes differ."""
    path = GUEST / name
    data = initramfs_bytes(busybox(), extra)
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)
    return path
