# SPDX-License-Identifier: BSD-2-Clause
"""A model of what instruction counts leave out: crossings cost far more cycles than they have instructions.

cycles = instructions * PER_INSTRUCTION + each crossing * what it costs. The costs are of published measurements on AMD
processors (docs/evaluation.md, "On a processor"), not of ours: they say how much of a figure hangs on them.
"""
import re

PER_INSTRUCTION = 1.0
CYCLES = {"exits": 1350, "syscalls": 100, "cr3": 200, "fpu": 150}
RANGE = range(0, 4001, 100)     # cycles an exit, in the drawing
LOOP = {"linux.forkexec_ratio": "Umbra, shadow paging", "linux.nested_ratio": "Umbra, nested paging"}


def facts_of(text):
    """`exits=2 bare=17` -> numbers by name."""
    return {name: float(value) for name, value in re.findall(r"(\w+)=(-?[\d.]+(?:e-?\d+)?)(?=\s|$)", text)}


def cycles(instructions, crossings, exit_cycles=CYCLES["exits"]):
    costs = dict(CYCLES, exits=exit_cycles)
    return instructions * PER_INSTRUCTION + sum(costs[name] * crossings.get(name, 0) for name in costs)


def estimate(figure, fact):
    """(estimated value, its unit), or None: the figure is no count of instructions, or its crossings are of more than it counts."""
    facts = facts_of(figure.crossings)
    if not CYCLES.keys() & facts.keys() or fact.get("prepared"):
        return None
    if figure.unit == "instructions":
        return cycles(figure.value, facts), "cycles"
    if figure.name in LOOP:
        return cycles(facts["ours"], facts) / cycles(facts["bare"], {}), "ratio"
    return None


def curves(figures, known):
    """[(label, ratio to bare for each of RANGE)] of the loop that several systems were measured with."""
    found = []
    for figure in figures:
        if figure.name in LOOP:
            facts = facts_of(figure.crossings)
            found.append((LOOP[figure.name], [cycles(facts["ours"], facts, c) / facts["bare"] for c in RANGE]))
    for label, ratio, bare, exits in known.get("linux.forkexec_ratio", {}).get("loops", ()):
        found.append((label, [cycles(ratio * bare, {"exits": exits}, c) / bare for c in RANGE]))
    return found


def draw(pyplot, path, figures, known):
    drawing, axes = pyplot.subplots(figsize=(8, 4.5))
    for label, values in curves(figures, known):
        axes.plot(list(RANGE), values, label=label)
    axes.axvline(CYCLES["exits"], color="black", linewidth=1, linestyle=":")
    axes.set_xlabel("cycles that an exit costs, besides its instructions")
    axes.set_ylabel("200 x /bin/true, bare = 1")
    axes.set_ylim(bottom=1)
    axes.legend()
    drawing.tight_layout()
    drawing.savefig(path)
