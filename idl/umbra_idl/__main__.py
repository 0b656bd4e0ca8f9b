# SPDX-License-Identifier: BSD-2-Clause
"""The command line: compile, check, errors. Exit status 0 fine, 1 diagnostics, 2 wrong usage."""
import argparse
import json
import pathlib
import sys

from . import ast, errors as error_table, gen_c, gen_component, gen_docs, guests
from .check import IDL_DIR, Checker, check
from .check_system import MEMORY_RESERVE, check_system
from .closure import close
from .desc import encode
from .describe import describe
from .diagnostics import CODES, Failed, Pos, Report
from .parser import load, parse_text


def write(folder, files):
    """Writes what changed only, so that builds stay incremental."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


def parse_settings(texts, report):
    """--set PATH=VALUE as in an assembly: `vmm0.vm.memory=64M`, `vmm0.vm.command_line="quiet"`."""
    settings = []
    for text in texts:
        path, equals, value = text.partition("=")
        names = tuple(path.split("."))
        pos = Pos(f"--set {path}", 1, 1)
        if not equals or len(names) not in (2, 3) or not all(n.isidentifier() for n in names):
            report.error(pos, "E001", f"unexpected '{text}'", "INSTANCE.NAME=VALUE")
            raise Failed()
        settings.append(ast.Setting(pos, names, parse_text(value, f"--set {path}", report, start="value")))
    return settings


def compile_files(args, report):
    """name -> content of all that is generated; raises Failed."""
    settings = parse_settings(args.set, report)
    checker = Checker(report)
    model = check(load(args.file, report), report, checker)
    files = gen_c.unit_files(model)
    for face in model.interfaces.values():
        files.update(gen_c.interface_files(model, face))
        files.update(gen_docs.interface_page(face))
    for component in model.components.values():
        files.update(gen_component.component_files(model, component))
    if len(model.assemblies) > 1 or (settings and not model.assemblies):
        pos = model.assemblies[1].pos if model.assemblies else settings[0].pos
        report.error(pos, "E075", f"{len(model.assemblies)} assemblies", "one")
        raise Failed()
    for decl in model.assemblies:
        system = check_system(checker, decl, settings, args.memory)
        description = describe(system)
        closure = close(system, description, report)
        if args.command == "closure":
            print(f"{system.name}: {closure.text()}")
        files.update(gen_docs.system_pages(system, description))
        files["system.desc"] = encode(description)
        files["system.json"] = summary(system, description)
    return files


def summary(system, description):
    """What the build tool needs to know: boot modules, memory, components."""
    components = {i.name: {"module": i.component.module, "type": i.component.name,
                           "guest": {"kernel": i.guest.kernel, "initrd": i.guest.initrd,
                                     "memory_bytes": i.guest.pages * 4096} if i.guest else None}
                  for i in system.components}
    return json.dumps({"name": system.name, "modules": description.modules,
                       "memory_bytes": system.needs + MEMORY_RESERVE, "components": components},
                      indent=1) + "\n"


def size_of(text):
    """An argument such as 512M."""
    try:
        units = {"K": 10, "M": 20, "G": 30}
        shift = units.get(text[-1:], 0)
        return int(text[:-1] if shift else text, 0) << shift
    except ValueError:
        message = f"'{text}' is no size; expected bytes, or a number with K, M or G"
        raise argparse.ArgumentTypeError(message) from None


def guest_of(text):
    try:
        return guests.parse(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"bad guest: {e}") from None


def arguments(argv):
    parser = argparse.ArgumentParser(prog="umbra_idl",
                                     description="The interface language of Umbra (docs/idl.md).")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("compile", "check a file and write all that is generated from it"),
                       ("check", "check a file"),
                       ("closure", "check a file, and say what was looked at for isolation")):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("file")
        sub.add_argument("--memory", type=size_of, metavar="BYTES", help="of the machine; 512M, 2G")
        sub.add_argument("--set", action="append", default=[], metavar="PATH=VALUE",
                         help="replaces a setting")
        if name == "compile":
            sub.add_argument("-o", dest="out", required=True, type=pathlib.Path, metavar="DIR")
    sub = commands.add_parser("guests", help="print an assembly for guests, to be compiled")
    sub.add_argument("guest", nargs="+", type=guest_of,
                     help="name=N,memory=SIZE[,kernel=MODULE][,initrd=MODULE]"
                     "[,command_line=TEXT][,shadow_tables=N][,paging=shadow|nested][,spare=true]; "
                     "a comma in a value is doubled")
    sub.add_argument("--spare", metavar="SIZE", help="memory for guests that are created in the spare ones (spare=true)")
    sub = commands.add_parser("errors",
                              help="print the C header of the error table, or the list of diagnostics")
    sub.add_argument("--diagnostics", action="store_true")
    return parser.parse_args(argv)


def print_errors(diagnostics):
    if diagnostics:
        for code, text in CODES.items():
            print(f"{code}  {text}")
    else:
        sys.stdout.write(error_table.header(error_table.load(IDL_DIR / "errors.toml")))


def main(argv=None):
    args = arguments(argv)
    if args.command == "errors":
        print_errors(args.diagnostics)
        return 0
    if args.command == "guests":
        sys.stdout.write(guests.assembly(args.guest, spare=args.spare))
        return 0
    report = Report()
    try:
        files = compile_files(args, report)
    except Failed:
        print("\n".join(report.lines()), file=sys.stderr)
        return 1
    if args.command == "compile":
        try:
            write(args.out, files)
        except OSError as e:
            print(f"umbra_idl: cannot write {e.filename}: {e.strerror}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
