# SPDX-License-Identifier: BSD-2-Clause
"""Models in Promela (tests/verify/*.pml): spin makes a checker of each, gcc builds it, and it looks at every state for one claim.

A model ties its steps to the sources by lines `C: file function` in comments: the file must define the function, or macro; with `: a ; b ; c`
behind it these texts stand in it in this order. Searches are exhaustive: one that is cut short, by depth, memory or time, fails.

So does one that leaves a statement out, a guard that never holds among them: what is claimed of what stands behind it would be claimed of
nothing. A line of a model that has such ones says how many and why: /* 2 unreached: why */. An inline's line has those of every place it is
used in; what a size rules out is left to #if.
"""
import collections
import dataclasses
import functools
import re
import subprocess

from umbra import layout

FOLDER = "tests/verify"
WORK = layout.BUILD / "verify"
DEPTH = 10000000
MEGABYTES = 4096
SECONDS = 600
NAMED = re.compile(r"\bC: ([\w./]+\.[ch]) (\w+)(?:: ([^\n]*?))?\s*(?:\*/|$)", re.M)
LTL = re.compile(r"^ltl (\w+)\s*\{(.*?)\}", re.M | re.S)
LIVENESS = ("-DNFAIR=3",), ("-a",)      # flags of the compiler, of the checker
FAIR = re.compile(r"^ltl (\w+)\s*\{[^}]*\} /\* weakly fair", re.M)
SAFETY = ("-DSAFETY", "-DNOFAIR"), ()
ALONE = ("-DNOCLAIM", "-DSAFETY", "-DNOFAIR")   # of the compiler: the model without any claim
NO_BUILD, CUT_SHORT, NO_CLAIM = "the model does not build", "the search was cut short", "the checker knows no claim"
BROKEN, UNREACHED = "there is a way to break it", "statements are not reached"
ALL = "all_of_them"
MENTIONED = re.compile(r"\bC: [\w./]+\.[ch]\b")
CHANGED = "the sources have changed"
NO_VERDICT = (NO_BUILD, CUT_SHORT, NO_CLAIM, CHANGED, UNREACHED)    # the last one of a fault, too: it is to break the claim
STATES = re.compile(r"^\s*(\d+) states, stored", re.M)
DECLARED = re.compile(r"/\* (\d+) unreached: [^*]*\w[^*]* \*/")
# The checker's text (pan.c, pan.m, pan.t):
GUARD = re.compile(r"^(\t\treached\[\d+\]\[\d+\] = 1;\n)(\t\tif \(!\(.*\n\t\t\tcontinue;\n)", re.M)
REACHED = re.compile(r"\breached(\[(\d+)\]\[(\d+)\]) = 1;")
IF_ELSE = "if (trpt->o_pm&1) continue;"
STATEMENT = re.compile(r'^(?:/\*->\*/)?\s*trans\[(\d+)\]\[(\d+)\]\s*= settr\((\d+),\d+,\d+,(\d+),\d+,"(.*)", ?\d+, ?\d+, ?\d+\);', re.M)
SKIP, IS_ELSE = "1", "2"    # of STATEMENT's fourth; 1: or goto
CHOICE = re.compile(r"blocking sel in d_step \(nr\.\d+, near line (\d+)\)")
NEVER = re.compile(r"^never (\d+): (.*)$", re.M)

Outcome = collections.namedtuple("Outcome", "holds figure why")


def source(file):
    return layout.ROOT / FOLDER / (file + ".pml")


def claims():
    """(model, name) of every claim of every model."""
    return [(path.stem, name) for path in sorted((layout.ROOT / FOLDER).glob("*.pml")) for name, _ in LTL.findall(path.read_text())]


def is_liveness(file, ltl):
    """Whether a claim says that something happens at last: only then cycles are looked for."""
    return "<>" in dict(LTL.findall(source(file).read_text())).get(ltl, "")


def body(text, function):
    """The text of a function's definition, or of a macro's; or None. Functions begin and end in the first column
    (.clang-format)."""
    found = re.search(r"^#define %s\b(?:[^\n]*\\\n)*[^\n]*$" % function, text, re.M) or re.search(r"^[\w][\w \t*()]*?\b%s\([^;{]*\)\s*\n\{\n.*?^\}" % function, text, re.M | re.S)
    return found and found[0]


def in_order(text, words):
    """The first of the words that does not stand behind the one before it, or None."""
    at = 0
    for word in words:
        at = text.find(word, at)
        if at < 0:
            return word
        at += len(word)
    return None


def lost(file):
    """What a model stands for and the sources do not have, one line each."""
    text = source(file).read_text()
    named, mentioned = NAMED.findall(text), MENTIONED.findall(text)
    lines = ["%s.pml: of %d places 'C: file function' %d can be read" % (file, len(mentioned), len(named))] if len(named) < len(mentioned) else []
    for path, function, words in named:
        where = layout.ROOT / path
        text = body(where.read_text(), function) if where.is_file() else None
        if text is None:
            lines.append("%s.pml: %s has no function %s" % (file, path, function))
            continue
        word = in_order(text, [w.strip() for w in words.split(";")] if words else [])
        if word:
            lines.append("%s.pml: in %s of %s, '%s' does not stand where the model has it" % (file, function, path, word))
    return lines


def run(words, folder, seconds=SECONDS):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds)


def place(file, sizes):
    return WORK / "-".join([file, *("%s%d" % s for s in sizes)])


PLAN = collections.defaultdict(list)    # (file, sizes) -> names of claims that are asked for and say that something never happens


def plan(wanted):
    """Tells which claims will be asked for: those of one model are looked at in one search, and one by one only if that fails."""
    PLAN.clear()
    for claim in wanted:
        if not is_liveness(claim.file, claim.ltl):
            PLAN[claim.file, claim.sizes].append(claim.ltl)


def with_all(file, names):
    """The model's text with one more claim, all_of_them: that all these hold."""
    text = source(file).read_text()
    formulas = dict(LTL.findall(text))
    return text + "ltl %s { %s }\n" % (ALL, " && ".join("(%s)" % formulas[n] for n in names))


def mark(folder, name):
    """Has the checker say at its end which statements of the model it never did, as NEVER reads it; why not, or None.

    What pan itself calls unreached leaves out most guards, and has marked the others before it asks whether they hold.
    """
    moves, checker = GUARD.sub(r"\2\1", (folder / "pan.m").read_text()), (folder / "pan.c").read_text()
    hidden = CHOICE.findall(moves)
    if hidden:
        return "near line %s: a d_step with a choice does not tell which way it went\n" % ", ".join(sorted(set(hidden), key=int))
    statements = []
    for process, state, move, kind, text in STATEMENT.findall((folder / "pan.t").read_text()):
        files, lines = (re.search(r"^%s%s \[\] = \{(.*?)\};" % (what, process), checker, re.M | re.S) for what in ("S_F_MAP src_file", "short src_ln"))
        if '"%s"' % name in files[1] and kind != SKIP and text != "-end-":
            mark = "was_else[%s]" % move if kind == IS_ELSE else "was_done[%s][%s]" % (process, state)
            statements.append((mark, int(lines[1].split(",")[int(state)]), re.sub(r"^D_STEP\d+$", "d_step", text)))
    if not statements or IF_ELSE not in moves:
        return "the checker does not look as expected\n"
    (folder / "pan.m").write_text(REACHED.sub(r"reached\1 = was_done\1 = 1;", moves).replace(IF_ELSE, IF_ELSE + " was_else[t->t_id] = 1;"))
    rooms = [max(map(int, numbers)) + 1 for numbers in list(zip(*REACHED.findall(moves)))[1:]]
    (folder / "marks.h").write_text("#include <stdio.h>\nstatic char was_done[%d][%d], was_else[1 << 16];\n" % tuple(rooms) +
                                    "__attribute__((destructor)) static void tell(void)\n{\n" +
                                    "".join("    if (!%s)\n        puts(\"never %d: %s\");\n" % s for s in statements) + "}\n")
    return None


def unreached(file, report):
    """The statements that a search did not reach and the model does not declare, or the other way round, one line each."""
    never, lines = collections.defaultdict(list), []
    for line, statement in NEVER.findall(report):
        never[int(line)].append(statement)
    for number, text in enumerate(source(file).read_text().splitlines(), 1):
        said = sum(map(int, DECLARED.findall(text)))
        if len(never[number]) > said:
            lines += ["%s.pml:%d: %s is never done" % (file, number, statement) for statement in never[number]]
        if len(never[number]) != said and said:
            lines.append("%s.pml:%d: says %d unreached, %d are" % (file, number, said, len(never[number])))
    return lines


@functools.cache
def build(file, sizes, flags, names):
    """The checker of a model with these sizes; (path, None) or (None, why not)."""
    folder = place(file, sizes)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / (file + ".pml")
    model.write_text(with_all(file, names) if names else source(file).read_text())
    done = run(["spin", *("-D%s=%d" % s for s in sizes), "-a", model.name], folder)
    if done.returncode or "rror" in done.stdout + done.stderr:
        return None, done.stdout + done.stderr
    why = mark(folder, model.name)
    if why:
        return None, why
    done = run(["gcc", "-O1", "-w", "-include", "marks.h", "-DCOLLAPSE", *flags, "-DMEMLIM=%d" % MEGABYTES, "-o", flags[0][2:], "pan.c"], folder)
    return (folder / flags[0][2:], None) if done.returncode == 0 else (None, done.stderr)


@functools.cache
def search(file, sizes, ltl, names=()):
    """(why a claim is not shown, or None; the report)."""
    flags, words = LIVENESS if is_liveness(file, ltl) else SAFETY
    checker, why = build(file, sizes, flags, names)
    if why:
        return NO_BUILD, why
    fair = ltl in FAIR.findall(source(file).read_text())
    done = run([str(checker), *words, *(("-f",) if fair else ()), "-m%d" % DEPTH, "-N", ltl], checker.parent)
    why, whole = judge(done.stdout, ltl), done.stdout
    if words and why is None:   # it went no further than to what shall happen; under fairness spin does not see that everybody waits for ever
        checker, why = build(file, sizes, ALONE, names)
        if why:
            return NO_BUILD, why
        whole = run([str(checker), "-m%d" % DEPTH], checker.parent).stdout
        why = judge(whole)
    lines = unreached(file, whole) if why is None else []
    return (UNREACHED, "\n".join(lines)) if lines else (why, done.stdout)


def judge(text, ltl=None):
    """Why a checker's report does not show the claim, or that somebody can go on or has ended; or None."""
    if ltl and not re.search(r"never claim\s+\+ \(%s\)" % ltl, text):
        return "%s %s" % (NO_CLAIM, ltl)
    found = re.search(r"errors: (\d+)", text)
    if found and found[1] != "0":
        return BROKEN
    return CUT_SHORT if not found or "Search not completed" in text or "max search depth too small" in text else None


@dataclasses.dataclass(frozen=True)
class Claim:
    file: str
    ltl: str
    sizes: tuple

    def check(self):
        gone = lost(self.file)
        if gone:
            return Outcome(False, CHANGED, "\n".join(gone))
        together = tuple(PLAN[self.file, self.sizes])
        why, report = "", ""
        if self.ltl in together and len(together) > 1:
            why, report = search(self.file, self.sizes, ALL, together)
        if why is not None:
            why, report = search(self.file, self.sizes, self.ltl)
        states = STATES.search(report)
        figure = "%s states" % format(int(states[1]), ",") if states else "no figure"
        return Outcome(why is None, figure if why is None else why, self.trail(report) if why == BROKEN else report if why else "")

    def trail(self, report):
        """The steps that lead there, as spin tells them."""
        folder = place(self.file, self.sizes)
        trails = sorted(folder.glob("*.trail"))
        if not trails:
            return report
        told = run(["spin", *("-D%s=%d" % s for s in self.sizes), "-t", "-p", "-g", "-k", trails[0].name, self.file + ".pml"], folder)
        for trail in trails:
            trail.unlink()
        return "\n".join(told.stdout.splitlines()[-120:])
