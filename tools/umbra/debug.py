# SPDX-License-Identifier: BSD-2-Clause
"""The command `debug`: the system stopped before its first instruction, in gdb with the kernel's symbols.

In gdb, `server NAME` adds the symbols of a server (all are linked at one address: one at a time is meant), `kernel` goes back
to the kernel's. The guests' consoles go to build/log/debug.log, the kernel's log to build/log/kernel.log.
"""
import os
import subprocess

from umbra import build, deps, layout, locks, qemu, run, say, system
from umbra.errors import Failure

COMMANDS = """set confirm off
set pagination off
set architecture i386:x86-64
file {kernel}
target remote {socket}
define server
  dont-repeat
  symbol-file build/{profile}/servers/$arg0.elf
end
document server
server NAME: the symbols of build/{profile}/servers/NAME.elf instead of the kernel's
end
define kernel
  dont-repeat
  symbol-file {kernel}
end
document kernel
kernel: the symbols of the kernel again
end
"""


def arguments(parser):
    run.arguments(parser)
    parser.add_argument("--gdb", action="append", metavar="COMMAND", default=[], help="a gdb command to run at the start")
    parser.epilog = "example: ./build.py debug --gdb 'hbreak kernel_boot' --gdb continue"


def console_log():
    return "build/log/debug%s.log" % locks.slot()


def socket_path():
    return system.folder() / "gdb.sock"


def script_path():
    return system.folder() / "gdb.cmd"


def script(options):
    return COMMANDS.format(kernel=layout.kernel_output(options.profile), socket=layout.relative(socket_path()),
                           profile=options.profile)


def command(options):
    run.check_words(options)
    deps.ensure("debug", options, skip=("command:" + qemu.NAME,) if options.qemu else ())
    run.check_machine(options)
    guests = run.prepare_guests(options)
    build.make(run.ninja_targets(options))
    socket_path().unlink(missing_ok=True)
    config = run.machine_config(options, guests)
    config.name = "debug" + locks.slot()
    config.serials = (console_log(), run.kernel_log_name())
    config.extra += ("-S", "-gdb", "unix:%s,server=on,wait=off" % qemu.doubled(layout.relative(socket_path())))
    script_path().write_text(script(options))
    if options.dry_run:
        print(" ".join(qemu.command_line(config, options.qemu, [])))
        return 0
    with qemu.Machine(config) as machine:
        return gdb(machine, options)


def gdb(machine, options):
    """Runs gdb in the foreground until the person leaves it."""
    while not socket_path().exists():
        if machine.wait(0.05) is not None:
            raise Failure("QEMU ended\n" + machine.tail())
    say.note("consoles are in %s, the kernel's log in %s" % (console_log(), run.kernel_log_name()))
    words = ["gdb", "-q", "-nx", "-x", os.path.relpath(script_path(), layout.ROOT)]
    for one in options.gdb:
        words += ["-ex", one]
    if not os.isatty(0):
        words += ["-batch"]
    return 0 if subprocess.run(words, cwd=layout.ROOT).returncode == 0 else 1
