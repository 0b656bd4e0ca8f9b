# SPDX-License-Identifier: BSD-2-Clause
"""The command `bench`: figures in instructions of virtual time, beside goals and peers.

A measuring root task is a tests/procs/bench_*.c; it prints `BENCH name value unit key=value...` lines, keys being the crossings
inside the figure. Nothing here judges: a missed goal is shown, a figure that could not be measured is a failure.
"""
import json
import pathlib
import re
import subprocess

from umbra import build, crossings, deps, layout, qemu, say
from umbra.errors import Failure, Usage

FACTS = pathlib.Path(__file__).with_name("bench.toml")
LINE = re.compile(r"^BENCH (\S+) (-?[\d.]+(?:e-?\d+)?) (\S+)(.*)$", re.M)
SECONDS = 300
DEFAULT_UNIT = "instructions"


def facts():
    """Name -> what is known of it."""
    import tomllib
    groups = tomllib.loads(FACTS.read_text())
    return {"%s.%s" % (group, name): row for group, rows in groups.items() for name, row in rows.items()}


class Figure:
    """One measured value with the crossings inside it."""

    def __init__(self, name, value, unit, crossings=""):
        self.name, self.value, self.unit, self.crossings = name, value, unit, crossings.strip()


def parse(text):
    return [Figure(name, float(value), unit, rest) for name, value, unit, rest in LINE.findall(text)]


def measured_by(path, known):
    """The figures that a root task's source names."""
    text = (layout.ROOT / path).read_text(errors="replace")
    return {name for name in known if re.search(r"\b%s\b" % re.escape(name), text)}


def run_task(path, options):
    """Boots one measuring root task; its figures."""
    modules = [layout.proc_output(options.profile, path)]
    modules += [layout.module_output(options.profile, m) for m in layout.directive(path, "MODULES")]
    build.make([layout.kernel_output(options.profile)] + [m for m in modules if m.startswith("build/")])
    config = qemu.Config(kernel=layout.kernel_output(options.profile), modules=[(m, "") for m in modules], icount=True,
                         memory=(layout.directive(path, "MEMORY") or ["1G"])[0], qemu=options.qemu,
                         cmdline=layout.directive_text(path, "CMDLINE"), name=pathlib.Path(path).stem)
    with qemu.Machine(config) as machine:
        status = machine.wait(SECONDS)
        text, tail = machine.text(), machine.tail()
    if qemu.debug_exit_value(status) is None:
        raise Failure("%s did not end (status %s)\n%s" % (path, status, tail))
    return parse(text)


def source_lines(text):
    """Lines of C or assembly that are neither blank nor comment."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    return sum(bool(re.sub(r"//.*", "", line).strip()) for line in text.splitlines())


def sizes(options):
    kernel = layout.kernel_output(options.profile)
    build.make([kernel])
    lines = sum(source_lines((layout.ROOT / p).read_text()) for p in layout.find("kernel/**/*.[chS]"))
    table = subprocess.run(["size", "-A", "-d", kernel], cwd=layout.ROOT, capture_output=True, text=True, check=True).stdout
    text = sum(int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", table, re.M) if re.match(r"\.(text|boot)", name))
    return [Figure("size.kernel_sloc", lines, "lines"), Figure("size.kernel_text_bytes", text, "bytes")]


def sources(known):
    """[(what measures, names it measures, function)]; bench_linux adds the guests' boots."""
    from umbra import bench_linux, bench_restart, bench_scale
    found = [(path, measured_by(path, known), run_task) for path in layout.find("tests/procs/bench_*.c")]
    if layout.find("kernel/**/*.c"):
        found.append(("size", {"size.kernel_sloc", "size.kernel_text_bytes"}, lambda _path, options: sizes(options)))
    return found + bench_linux.sources(known) + bench_restart.sources(known) + bench_scale.sources(known)


def answers(name, wanted):
    """True if a word of the command line means this figure: its name or a group before a dot."""
    return any(name == word or name.startswith(word + ".") for word in wanted)


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="a figure (ipc.signal) or a group of them (ipc)")
    parser.add_argument("--json", metavar="FILE", help="write name -> number, with units under \"units\"")
    parser.add_argument("--plot", metavar="DIR", help="draw ours against the peers'")
    parser.add_argument("--cycles", action="store_true", help="also what crossings would make of it on a processor, by a model")
    parser.add_argument("--profile-row", action="store_true", help="show where the instructions of one such figure go")
    parser.add_argument("--list", action="store_true", help="show what can be measured")
    parser.epilog = "example: ./build.py bench ipc --json ipc.json\nwithout --profile the release profile is measured"


def check_outputs(options):
    """Minutes of measuring must not end at a file that cannot be written."""
    from umbra import run
    run.check_output("json", options.json)
    try:
        if options.plot:
            pathlib.Path(options.plot).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Usage("--plot %s: %s" % (options.plot, error.strerror)) from error


def command(options):
    known = facts()
    chosen = [(path, names, run) for path, names, run in sources(known)
              if not options.names or any(answers(n, options.names) for n in names)]
    available = {name for _, names, _ in sources(known) for name in names}
    for word in options.names:
        if not any(answers(name, [word]) for name in available):
            raise Usage("nothing measures %s; see ./build.py bench --list" % word)
    if options.list:
        for name in sorted(available):
            print("%-26s %s" % (name, known[name]["what"]))
        return 0
    check_outputs(options)
    if options.profile_row:
        return profile_row(chosen, options)
    if options.plot:
        deps.ensure("plot", options)
    deps.ensure("bench", options, skip=("command:" + qemu.NAME,) if options.qemu else ())
    figures, missing = measure(chosen, options)
    print_table(figures, known, options.cycles)
    if options.json:
        write_json(options.json, figures)
    if options.plot:
        plot(options.plot, figures, known)
    if not options.names and set(known) - available:
        say.note("no benchmark yet: " + " ".join(sorted(set(known) - available)))
    if missing:
        raise Failure("not measured: " + " ".join(sorted(missing)))
    return 0


def profile_row(chosen, options):
    from umbra import profile
    if len(chosen) != 1 or len(options.names) != 1 or options.names[0] not in chosen[0][1]:
        raise Usage("--profile-row wants one figure, such as shadow.fill_one")
    deps.ensure("bench", options, skip=("command:" + qemu.NAME,) if options.qemu else ())
    profile.show(chosen[0][0], options.names[0], options)
    return 0


def measure(chosen, options):
    """(figures in order, names that should have been measured and were not)."""
    figures, missing = [], set()
    for number, (path, names, run) in enumerate(chosen, 1):
        say.progress("%d/%d %s" % (number, len(chosen), path))
        try:
            found = run(path, options)
        except Failure as failure:
            say.complain(str(failure))
            found = []
        figures += [f for f in found if not options.names or answers(f.name, options.names)]
        expected = {n for n in names if not options.names or answers(n, options.names)}
        missing |= expected - {f.name for f in found}
    say.progress("")
    return figures, missing


def number(value):
    if value == int(value):
        return str(int(value))
    return "%.3g" % value if abs(value) < 100 else "%.1f" % value


def met(goal, value):
    """Whether the value meets a goal such as `<= 350`; None without one."""
    match = re.fullmatch(r"([<>])= ([\d.e]+)", goal or "")
    return None if not match else value <= float(match[2]) if match[1] == "<" else value >= float(match[2])


def row(figure, fact):
    goal, peers = fact.get("goal", ""), fact.get("peer", {})
    name, value = next(iter(peers.items()), ("", None))
    verdict = {True: "met", False: "missed", None: ""}[met(goal, figure.value)]
    return (figure.name, number(figure.value), figure.unit, goal, verdict,
            "%s %s" % (name, number(value)) if peers else "",
            "%.2f" % (figure.value / value) if peers else "", figure.crossings)


def modelled(figure, fact):
    found = crossings.estimate(figure, fact)
    return "%s %s" % (number(found[0]), found[1]) if found else ""


def print_table(figures, known, cycles=False):
    rows = [("name", "ours", "unit", "goal", "", "peer", "ours/peer", "crossings")]
    rows += [row(f, known.get(f.name, {})) for f in figures]
    if cycles:
        rows = [r[:-1] + (m,) + r[-1:] for r, m in zip(rows, ["by the model"] + [modelled(f, known.get(f.name, {})) for f in figures])]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print("  ".join(cell.rjust(w) if i == 1 else cell.ljust(w) for i, (cell, w) in enumerate(zip(r, widths))).rstrip())


def write_json(path, figures):
    data = {f.name: int(f.value) if f.value == int(f.value) else f.value for f in figures}
    data["units"] = {f.name: f.unit for f in figures}
    try:
        pathlib.Path(path).write_text(json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise Usage("--json %s: %s" % (path, error.strerror)) from error


def plot(folder, figures, known):
    """bench.svg: a bar a figure, ours as part of the peer's; crossings.svg: the model, where its loop was measured."""
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    rows = [(f.name, f.value / next(iter(known[f.name]["peer"].values()))) for f in figures
            if known.get(f.name, {}).get("peer")]
    if not rows:
        raise Failure("nothing to draw: no measured figure has a peer")
    drawing, axes = pyplot.subplots(figsize=(8, 1 + 0.3 * len(rows)))
    axes.barh([name for name, _ in rows], [ratio for _, ratio in rows])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("Umbra / peer (less is better)")
    axes.invert_yaxis()
    drawing.tight_layout()
    drawing.savefig(pathlib.Path(folder) / "bench.svg")
    say.note("drew %s" % (pathlib.Path(folder) / "bench.svg"))
    if any(f.name in crossings.LOOP for f in figures):
        crossings.draw(pyplot, pathlib.Path(folder) / "crossings.svg", figures, known)
        say.note("drew %s" % (pathlib.Path(folder) / "crossings.svg"))
