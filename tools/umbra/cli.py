# SPDX-License-Identifier: BSD-2-Clause
"""Words in, exit status out: the parser of the command line and the one place where errors become output.

Each command is a module with arguments(parser) and command(options); the table below is all that a new one needs.
Exit status: 0 as asked, 1 failed or timed out, 2 wrong usage or input, 3 the machine lacks something, 130 interrupted.
"""
import argparse
import importlib
import os
import signal
import sys

from umbra import layout, say, version
from umbra.errors import Failure, Interrupted, Usage

COMMANDS = {
    "run": ("umbra.run", "boot a system and give a shell in its guest"),
    "ctl": ("umbra.ctl", "ask a running system, or tell it what to do with its guests"),
    "build": ("umbra.build", "build everything of a profile into build/"),
    "test": ("umbra.testcmd", "run the tests"),
    "verify": ("umbra.verify", "show each component's properties: proofs, model checks, closures"),
    "bench": ("umbra.bench", "measure, beside goals and peers"),
    "debug": ("umbra.debug", "run under gdb with all symbols"),
    "iso": ("umbra.iso", "make a bootable image for real machines and other emulators"),
    "lint": ("umbra.lint", "check formatting, include directions, licence lines, Python"),
    "deps": ("umbra.deps", "install what all commands need, or list it"),
    "clean": ("umbra.clean", "remove build/ and nothing else"),
}

PROFILE_OF = {"bench": "release", "iso": "release"}     # every other: debug


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line that says where to look."""

    def error(self, message):
        raise Usage("%s; see %s --help" % (message, self.prog))


def add_common(parser, top):
    """Options that every command takes, before or after its name (so no default overwrites what stood before)."""
    def default(value):
        return value if top else argparse.SUPPRESS
    parser.add_argument("--no-install", action="store_true", default=default(False), help="never install packages")
    parser.add_argument("--quiet", action="store_true", default=default(False), help="no progress")
    parser.add_argument("--profile", choices=layout.PROFILES, default=default(None),
                        help="default: debug (bench and iso: release)")
    parser.add_argument("--qemu", metavar="PATH", default=default(None), help="the QEMU to use")


def parser():
    top = Parser(prog="build.py", allow_abbrev=False, description="Umbra: build, run and test it.",
                 epilog="example: ./build.py test")
    top.add_argument("--version", action="store_true", help="show version, commit and profile")
    add_common(top, True)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        add_common(sub, False)
        importlib.import_module(module).arguments(sub)
    return top


def interrupt(number, _frame):
    raise Interrupted(signal.Signals(number).name)


def open_standard_files():
    """What is closed is as /dev/null: else the next file to be opened would be taken for the terminal."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # gets the lowest number that is free


def main(words):
    open_standard_files()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        options, unknown = parser().parse_known_args(words)
        if unknown:
            raise Usage("unknown: %s; see ./build.py %s--help" % (" ".join(unknown), options.command + " " if options.command else ""))
        say.be_quiet(options.quiet)
        options.profile = options.profile or PROFILE_OF.get(options.command, "debug")
        if options.version:
            print("umbra %s (%s, %s)" % (version.VERSION, version.commit(), options.profile))
            return 0
        if options.command is None:
            raise Usage("no command given; see ./build.py --help")
        return importlib.import_module(COMMANDS[options.command][0]).command(options)
    except Failure as failure:
        say.progress("")
        say.complain(str(failure))
        return failure.status
    except (Interrupted, KeyboardInterrupt):
        say.progress("")
        say.complain("interrupted")
        return Interrupted.status
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        say.progress("")
        say.complain("%s: %s" % (error.filename or "an operation failed", error.strerror or error))
        return 1
