# SPDX-License-Identifier: BSD-2-Clause
"""Whether what VMMs really did with exits is what the models let them: reports of deaths (servers/init/report_text.c) show of each of the
last exits its steps; the automaton of tests/verify/exit.steps, written beside the models and compared with them, judges them."""
import collections
import re

from umbra import layout, models

FILE = "tests/verify/exit.steps"
RING = 16           # steps that an entry has room for
DEATHS_MAX = 3      # servers/init/restart.c, tests/verify/exit.pml
LINE = re.compile(r"^report (\S+) (\d+): (?:exit (\d+) (\w+), (not answered|answered): rip 0x(\w+)|trace (\d+) (\w+) +rip 0x(\w+) .*?"
                  r"(?: steps ([A-Z.]+))?, -?\d+ ticks before$|(incarnation|component) )", re.M)

Step = collections.namedtuple("Step", "letter name model texts following")
Exit = collections.namedtuple("Exit", "seq kind rip steps")
Death = collections.namedtuple("Death", "guest number seq kind rip answered exits")


def automaton():
    """letter -> Step."""
    rows = [line.split("|") for line in (layout.ROOT / FILE).read_text().splitlines() if line and not line.startswith("#")]
    return {letter.strip(): Step(letter.strip(), name.strip(), model.strip(), [t.strip() for t in re.split(r" ; |;;", texts) if t.strip()],
                                 following.split()) for letter, name, model, texts, following in rows}


def strangers(steps):
    """What the automaton has and the models or the VMM have not, or the other way round, one line each."""
    lines = []
    for s in steps.values():
        text = models.source(s.model[:-len(".pml")]).read_text()
        text = text[text.index("active proctype"):]
        word = models.in_order(text, s.texts)
        if word:
            lines.append("%s: '%s' does not stand where %s has it" % (s.model, word, s.name))
        lines += ["%s may be followed by %s, which is no step" % (s.name, f) for f in s.following if f not in steps and f != "answered"]
    letters = re.search(r'TRACE_STEP_LETTERS "\.(\w+)"', (layout.ROOT / "lib/vmm_env/trace.h").read_text())[1]
    return lines + ["step %s is in one of %s and lib/vmm_env/trace.h" % (c, FILE) for c in sorted(set(letters) ^ set(steps))]


def deaths(log):
    """The deaths at exits that a kernel log tells of, in order."""
    found = {}
    for m in LINE.finditer(log.replace("\r", "")):
        key = m[1], int(m[2])
        if m[3]:
            found[key] = Death(*key, int(m[3]), m[4], m[6], m[5] == "answered", [])
        elif m[7] and key in found:
            found[key].exits.append(Exit(int(m[7]), m[8], m[9], m[10] or ""))
    return list(found.values())


def judge(steps, history, answered, kind):
    """What is wrong with the steps that one exit saw, or None."""
    whole = len(history) < RING
    parts = re.split("(?=R)", history)
    if whole and parts and parts[0] == "" and history:
        parts = parts[1:]
    if history.count("R") >= DEATHS_MAX:
        return "recovered %d times" % history.count("R")
    for number, part in enumerate(parts):
        for a, b in zip(part, part[1:]):
            if a not in steps or b not in steps[a].following:
                return "%s after %s" % (b, a)
        begins = "R" if number else "RB"      # R: the first died before it did anything
        if part and (number or whole) and part[0] not in begins:
            return "it begins with %s" % part[0]
    if answered and kind == "start":        # vmm_start(): the guest begins, nothing is committed
        return None if history[-1:] in ("B", "C") else "answered after '%s'" % history
    if answered and (not history or "answered" not in steps[history[-1]].following):
        return "answered after '%s'" % history
    return None


def breaches(steps, found):
    """What of these deaths no run of the models has, one line each."""
    lines, before = [], {}
    for d in found:
        where = "%s, death %d, exit " % (d.guest, d.number)
        numbers = [e.seq for e in d.exits]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))) if numbers else False:
            lines.append(where + "%d: exits are missing before it" % d.seq)
        if numbers and numbers[-1] not in (d.seq, d.seq - 1):
            lines.append(where + "%d: the last that was begun is %d" % (d.seq, numbers[-1]))
        for e in d.exits:
            why = judge(steps, e.steps, e.seq < d.seq or d.answered, e.kind)
            lines += [where + "%d: %s" % (e.seq, why)] if why else []
        last = before.get(d.guest)
        again = last and next((e for e in d.exits if e.seq == last.seq), None)
        if again and not last.answered:      # I7: it was received again, as it was
            old = next((e.steps for e in last.exits if e.seq == last.seq), "")
            if (again.kind, again.rip) != (last.kind, last.rip):
                lines.append(where + "%d: %s at %s was delivered again as %s at %s" % (last.seq, last.kind, last.rip, again.kind, again.rip))
            if len(again.steps) < RING and not (again.steps.startswith(old) and again.steps[len(old):len(old) + 1] in ("R", "")):
                lines.append(where + "%d: '%s' became '%s'" % (last.seq, old, again.steps))
            if d.seq > last.seq and "R" not in again.steps[len(old):]:
                lines.append(where + "%d: nobody recovered it" % last.seq)
        if last and d.seq < last.seq:
            lines.append(where + "%d: it comes behind exit %d" % (d.seq, last.seq))
        before[d.guest] = d
    return lines
