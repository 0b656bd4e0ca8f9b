# SPDX-License-Identifier: BSD-2-Clause
"""The command `iso`: build/umbra.iso, bootable by GRUB on real machines and in other emulators.

The same modules in the same order as under QEMU; each is named twice in grub.cfg because GRUB hands over only the words behind
the file name, and what a module's string says must not depend on the boot loader.
"""
import pathlib
import shlex
import shutil
import subprocess
import tempfile

from umbra import build, deps, layout, qemu, run, system
from umbra.errors import Failure

DEFAULT = "build/umbra.iso"
HEAD = """serial --unit=0 --speed=115200
terminal_input --append serial
terminal_output --append serial
set timeout=0
menuentry Umbra {
"""


def arguments(parser):
    run.arguments(parser)
    parser.add_argument("--output", metavar="FILE", help="default: " + DEFAULT)
    parser.epilog = "example: ./build.py iso --mem 256M"


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


def menu(kernel, cmdline, modules):
    """The text of grub.cfg; the file of module number n is /boot/m/n."""
    lines = ["  multiboot2 /boot/%s %s" % (pathlib.Path(kernel).name, cmdline)]
    for number, (path, words) in enumerate(modules):
        lines.append("  module2 /boot/m/%d %s" % (number, quoted((path + " " + words).strip())))
    return HEAD + "\n".join(lines) + "\n}\n"


def command(options):
    run.check_words(options)
    deps.ensure("iso", options)
    guests = run.prepare_guests(options)
    build.make(run.ninja_targets(options))
    modules = system.modules(options, guests)
    target = pathlib.Path(options.output or layout.ROOT / DEFAULT).absolute()
    if options.dry_run:
        print(menu(layout.kernel_output(options.profile), system.CMDLINE, modules), end="")
        return 0
    write_image(target, layout.kernel_output(options.profile), modules)
    print(target)
    return 0


def write_image(target, kernel, modules, cmdline=system.CMDLINE):
    """Collects the files in a folder of their own and lets grub-mkrescue make the image, whole or not at all."""
    layout.BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="iso-", dir=layout.BUILD) as folder:
        boot = pathlib.Path(folder, "root", "boot")
        (boot / "m").mkdir(parents=True)
        (boot / "grub").mkdir()
        shutil.copyfile(layout.ROOT / kernel, boot / pathlib.Path(kernel).name)
        for number, (path, _) in enumerate(modules):
            shutil.copyfile(layout.ROOT / path, boot / "m" / str(number))
        (boot / "grub" / "grub.cfg").write_text(menu(kernel, cmdline, modules))
        image = pathlib.Path(folder, "umbra.iso")
        words = ["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", str(image), str(boot.parent)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise Failure("%s failed: %s" % (shlex.join(words), done.stderr.strip().splitlines()[-1:]))
        shutil.move(image, target)


def boot_words(image):
    """QEMU's words that boot the image as a CD instead of -kernel; for tests."""
    return ("-cdrom", qemu.doubled(image), "-boot", "d")
