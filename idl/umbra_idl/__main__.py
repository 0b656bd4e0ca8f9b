# SPDX-License-Identifier: BSD-2-Clause
"""The command line: compile, check, errors. Exit status 0 fine, 1 diagnostics, 2 wrong usage."""
import argparse
import pathlib
import sys

from . import errors as error_table, gen_c
from .check import IDL_DIR, check
from .diagnostics import Failed, Report
from .parser import load


def write(folder, files):
    """Writes what changed only, so that builds stay incremental."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


def compile_files(path, report):
    model = check(load(path, report), report)
    files = gen_c.unit_files(model)
    for face in model.interfaces.values():
        files.update(gen_c.interface_files(model, face))
    return files


def main(argv=None):
    parser = argparse.ArgumentParser(prog="umbra_idl", description="The interface language of Umbra (docs/idl.md).")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("compile", "check a file and write all that is generated from it"),
                       ("check", "check a file")):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("file")
        if name == "compile":
            sub.add_argument("-o", dest="out", required=True, type=pathlib.Path, metavar="DIR")
    commands.add_parser("errors", help="print the C header of the error table")
    args = parser.parse_args(argv)
    if args.command == "errors":
        sys.stdout.write(error_table.header(error_table.load(IDL_DIR / "errors.toml")))
        return 0
    report = Report()
    try:
        files = compile_files(args.file, report)
    except Failed:
        print("\n".join(report.lines()), file=sys.stderr)
        return 1
    if args.command == "compile":
        write(args.out, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
