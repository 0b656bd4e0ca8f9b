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

from umbra import build, control, deps, layout, machine, qemu, run, system
from umbra.errors import Failure

DEFAULT = "build/umbra.iso"
SERIAL = """serial --unit=0 --speed=115200
terminal_input --append serial
terminal_output --append serial
"""
HEAD = """set timeout=0
menuentry Umbra {
"""


def arguments(parser):
    run.arguments(parser)
    parser.add_argument("--output", metavar="FILE", help="default: " + DEFAULT)
    parser.epilog = "example: ./build.py iso --mem 256M"


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


def menu(kernel, cmdline, modules, terminal=SERIAL):
    """The text of grub.cfg; the file of module number n is /boot/m/n."""
    lines = ["  multiboot2 /boot/%s %s" % (pathlib.Path(kernel).name, cmdline)]
    for number, (path, words) in enumerate(modules):
        # A word a time: GRUB hands a string with spaces over in quotation marks.
        lines.append("  module2 /boot/m/%d %s" % (number, " ".join(map(quoted, (path + " " + words).split()))))
    return terminal + HEAD + "\n".join(lines) + "\n}\n"


def command(options):
    machine.choose(options)
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


def write_image(target, kernel, modules, cmdline=system.CMDLINE, slim=False):
    """Collects the files in a folder of their own and lets grub-mkrescue make the image, whole or not at all. slim: GRUB leaves the
    serial line alone, and programs come without what only debuggers read."""
    layout.BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="iso-", dir=layout.BUILD) as folder:
        boot = pathlib.Path(folder, "root", "boot")
        (boot / "m").mkdir(parents=True)
        (boot / "grub").mkdir()
        shutil.copyfile(layout.ROOT / kernel, boot / pathlib.Path(kernel).name)
        for number, (path, _) in enumerate(modules):
            data = (layout.ROOT / path).read_bytes()
            (boot / "m" / str(number)).write_bytes(control.program_only(data) if slim else data)
        (boot / "grub" / "grub.cfg").write_text(menu(kernel, cmdline, modules, "" if slim else SERIAL))
        image = pathlib.Path(folder, "umbra.iso")
        words = ["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", str(image), str(boot.parent)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise Failure("%s failed: %s" % (shlex.join(words), done.stderr.strip().splitlines()[-1:]))
        shutil.move(image, target)


def boot_words(image):
    """QEMU's words that boot the image as a CD instead of -kernel; for tests."""
    return ("-cdrom", qemu.doubled(image), "-boot", "d")
