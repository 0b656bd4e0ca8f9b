# SPDX-License-Identifier: BSD-2-Clause
"""Whether what VMMs and consoles really did is what the models let them: reports of deaths (servers/init/report_text.c) show of each of the
last exits, and of a console's last lines and of the last bytes typed, its steps; the automata of tests/verify/exit.steps, console.steps and
input.steps, written beside the models and compared with them, judge them. A line is held against the exit that made its entry, too, where
reports have both, and a byte against what its guest had taken when its VMM died."""
import collections
import functools
import re

from umbra import layout, models

EXITS, LINES, INPUT = "tests/verify/exit.steps", "tests/verify/console.steps", "tests/verify/input.steps"
LETTERS = {EXITS: ("lib/vmm_env/trace.h", "TRACE_STEP_LETTERS"), LINES: ("lib/console_env/trace.h", "LINE_STEP_LETTERS"),
           INPUT: ("lib/console_env/trace.h", "INPUT_STEP_LETTERS")}
RING = 16           # steps that an entry has room for
LINE = re.compile(r"^report (\S+) (\d+): (?:exit (\d+) (\w+), (not answered|answered): rip 0x(\w+)|trace (\d+) (\w+) +rip 0x(\w+) .*?"
                  r"(?: steps ([A-Z.]+))?(?: entries (\d+))?, -?\d+ ticks before$|(incarnation|component) )", re.M)
SHOWN = re.compile(r"^report (\S+) (\d+): line (\d+): guest (\d+), entry (\d+) of exit (\d+), answered (\d+), (\d+) bytes, steps ([A-Z.]*)$", re.M)
TAKEN = re.compile(r"^report (\S+) (\d+): input taken (\d+)$", re.M)
TYPED = re.compile(r"^report (\S+) (\d+): typed (\d+): 0x(\w+) to (nobody|guest \d+) behind (\d+), count (\d+), released (\d+), "
                   r"answered (\d+), steps ([A-Z.]*)$", re.M)
ROOM = re.compile(r"^const CONSOLE_INPUT_BYTES = (\d+);$", re.M)       # idl/interfaces/console.idl

Step = collections.namedtuple("Step", "letter name model texts following")
Exit = collections.namedtuple("Exit", "seq kind rip steps produced")
Line = collections.namedtuple("Line", "number guest position seq answered length steps")
Death = collections.namedtuple("Death", "guest number seq kind rip answered exits")
Byte = collections.namedtuple("Byte", "number byte guest position count released answered steps")      # guest None: nobody's
Taken = collections.namedtuple("Taken", "guest upto bytes exact")       # of its input, by exits up to this one, at most so many bytes


def automaton(file=EXITS):
    """letter -> Step."""
    rows = [line.split("|") for line in (layout.ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    return {letter.strip(): Step(letter.strip(), name.strip(), model.strip(), [t.strip() for t in re.split(r" ; |;;", texts) if t.strip()],
                                 following.split()) for letter, name, model, texts, following in rows}


def strangers(steps, file=EXITS):
    """What the automaton has and the models or the program have not, or the other way round, one line each."""
    lines = []
    for s in steps.values():
        text = models.source(s.model[:-len(".pml")]).read_text()
        text = text[text.index("active proctype"):]
        word = models.in_order(text, s.texts)
        if word:
            lines.append("%s: '%s' does not stand where %s has it" % (s.model, word, s.name))
        lines += ["%s may be followed by %s, which is no step" % (s.name, f) for f in s.following if f not in steps and f != "answered"]
    header, macro = LETTERS[file]
    letters = re.search(r'%s "\.(\w+)"' % macro, (layout.ROOT / header).read_text())[1]
    return lines + ["step %s is in one of %s and %s" % (c, file, header) for c in sorted(set(letters) ^ set(steps))]


def deaths(log):
    """The deaths at exits that a kernel log tells of, in order."""
    found = {}
    for m in LINE.finditer(log.replace("\r", "")):
        key = m[1], int(m[2])
        if m[3]:
            found[key] = Death(*key, int(m[3]), m[4], m[6], m[5] == "answered", [])
        elif m[7] and key in found:
            found[key].exits.append(Exit(int(m[7]), m[8], m[9], m[10] or "", m[11] and int(m[11])))
    return list(found.values())


@functools.cache
def deaths_max():
    return int(re.search(r"^#define DEATHS_MAX +(\d+)u", (layout.ROOT / "servers/init/restart.c").read_text(), re.M)[1])


def judge(steps, history, answered, kind):
    """What is wrong with the steps that one exit saw, or None."""
    whole = len(history) < RING
    parts = re.split("(?=R)", history)
    if whole and parts and parts[0] == "" and history:
        parts = parts[1:]
    if history.count("R") >= deaths_max():
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


# --- the console's side ---

def shown(log):
    """What each report of a console's death says of its last lines, in order."""
    found = collections.defaultdict(list)
    for m in SHOWN.finditer(log.replace("\r", "")):
        found[m[1], int(m[2])].append(Line(*map(int, m.groups()[2:8]), m[9]))
    return list(found.values())


def judge_line(steps, history, last):
    """What is wrong with the steps of one line, or None; the last one of a report may be anywhere."""
    for a, b in zip(history, history[1:]):
        if a not in steps or b not in steps[a].following:
            return "%s after %s" % (b, a)
    if len(history) < RING and history[:1] != "T":
        return "it begins with '%s'" % history[:1]
    return None if last or history in ("T",) or history[-1:] == "U" else "the next one follows '%s'" % history


def judge_order(line, before):
    """What is wrong with a line behind the one of the same guest before it, or None."""
    if line.position != before.position + ("L" in before.steps):
        return "entry %d behind %d, '%s'" % (line.position, before.position, before.steps)
    return "exit %d behind %d" % (line.seq, before.seq) if line.seq and line.seq < before.seq else None


def entries_made(found):
    """(guest, exit) -> the positions that it filled in the ring; of answered exits, which are not withdrawn any more."""
    made = {}
    for d in found:
        for a, b in zip(d.exits, d.exits[1:]):
            if a.seq + 1 == b.seq and b.steps.endswith("C") and (b.seq < d.seq or d.answered) and None not in (a.produced, b.produced):
                made[int(d.guest.removeprefix("vmm")), b.seq] = range(a.produced, b.produced)
    return made


def line_breaches(steps, reports, found):
    """What of these reports no run of the model has, one line each; found: the deaths of VMMs."""
    lines, known, made = [], {}, entries_made(found)
    owner = {(guest, p): seq for (guest, seq), positions in made.items() for p in positions}
    for report in reports:
        before = {}
        for n, x in enumerate(report):
            why = [judge_line(steps, x.steps, x is report[-1]), judge_order(x, before[x.guest]) if x.guest in before else None]
            old = known.get(x.number, x)
            more = x.steps[len(old.steps):]
            why.append("lines are missing before it" if x.number != report[0].number + n else None)
            why.append("it is shown before exit %d is answered" % x.seq if x.seq > x.answered else None)
            if old[:-1] != x[:-1] or len(x.steps) < RING and (not x.steps.startswith(old.steps) or more[:1] not in tuple("GRU") + ("",)):
                why.append("'%s' became '%s'" % (old.steps, x.steps))
            if x.seq and (owner.get((x.guest, x.position), x.seq) != x.seq or x.position not in made.get((x.guest, x.seq), [x.position])):
                why.append("exit %d did not make entry %d" % (x.seq, x.position))
            lines += ["line %d: %s" % (x.number, w) for w in why if w]
            before[x.guest] = known[x.number] = x
    return lines


# --- what is typed ---

def typed(log):
    """What each report of a console's death says of the last bytes that were typed, in order."""
    found = collections.defaultdict(list)
    for m in TYPED.finditer(log.replace("\r", "")):
        guest = None if m[5] == "nobody" else int(m[5].removeprefix("guest "))
        found[m[1], int(m[2])].append(Byte(int(m[3]), int(m[4], 16), guest, *map(int, m.groups()[5:9]), m[10]))
    return list(found.values())


def taken(log):
    """What each report of a VMM's death says of its guest's input, in order. Only an exit for an event takes any."""
    bytes_taken = {(m[1], int(m[2])): int(m[3]) for m in TAKEN.finditer(log.replace("\r", ""))}
    return [Taken(int(d.guest.removeprefix("vmm")), d.seq - (not d.answered), bytes_taken[d.guest, d.number], d.answered or d.kind != "event")
            for d in deaths(log) if (d.guest, d.number) in bytes_taken]


def judge_byte(steps, x, last):
    """What is wrong with the steps of one byte, or None; the last one of a report may be anywhere."""
    for a, b in zip(x.steps, x.steps[1:]):
        following = steps[a].following if a in steps else ()
        if b not in following and not (x.guest is None and a in "DR" and b == "E"):     # a mark of the line goes nowhere
            return "%s after %s" % (b, a)
    if len(x.steps) < RING and x.steps[:1] not in ("V", "K", "F"):
        return "it begins with '%s'" % x.steps[:1]
    if not last and x.steps[-1:] != "N":
        return "the next one follows '%s'" % x.steps
    if x.guest is None:
        return "it is nobody's, '%s'" % x.steps if set(x.steps) & set("GL") else None
    room = int(ROOM.search((layout.ROOT / "idl/interfaces/console.idl").read_text())[1])
    if x.released > x.position or x.position - x.released > room:
        return "%d of %d bytes are released" % (x.released, x.position)
    full = x.position - x.released == room
    if ("G" if full else "L") in x.steps or not full and x.count != x.position + 1:
        return "'%s' where %d bytes wait, count %d" % (x.steps, x.position - x.released, x.count)
    return None


def judge_after(x, before):
    """What is wrong with a byte behind the one of the same guest before it, or None."""
    if x.position != before.position + ("G" in before.steps):
        return "it is behind %d bytes, the one before was behind %d, '%s'" % (x.position, before.position, before.steps)
    if x.released < before.released or x.answered < before.answered:
        return "what was released, or answered, is less than before"
    return None


def input_breaches(steps, reports, found):
    """What of these reports no run of the model has, one line each; found: what VMMs had taken when they died."""
    lines, known = [], {}
    for report in reports:
        before = {}
        for n, x in enumerate(report):
            old = known.get(x.number, x)
            more = x.steps[len(old.steps):]
            why = [judge_byte(steps, x, x is report[-1])]
            why.append("bytes are missing before it" if x.number != report[0].number + n else None)
            if old.byte != x.byte or set("DR") & set(old.steps) and old[:-1] != x[:-1] or \
               len(x.steps) < RING and (not x.steps.startswith(old.steps) or more[:1] not in ("F", "R", "")):
                why.append("'%s' became '%s'" % (old.steps, x.steps))
            if set("DR") & set(x.steps) and x.guest is not None:
                why.append(judge_after(x, before[x.guest]) if x.guest in before else None)
                why += ["%d bytes were released, exits up to %d had taken %d" % (x.released, t.upto, t.bytes)
                        for t in found if t.guest == x.guest and x.answered <= t.upto and x.released > t.bytes]
                why += ["exits up to %d had taken %d bytes, of %d" % (t.upto, t.bytes, x.position)
                        for t in found if t.guest == x.guest and x.answered > t.upto and x.position < t.bytes]
                before[x.guest] = x
            lines += ["byte %d: %s" % (x.number, w) for w in why if w]
            known[x.number] = x
    exact = sorted((t for t in found if t.exact), key=lambda t: t.guest)        # in order for each guest
    return lines + ["exits up to %d had taken %d bytes, those up to %d only %d" % (a.upto, a.bytes, b.upto, b.bytes)
                    for a, b in zip(exact, exact[1:]) if a.guest == b.guest and b.bytes < a.bytes]
