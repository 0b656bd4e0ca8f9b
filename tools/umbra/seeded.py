# SPDX-License-Identifier: BSD-2-Clause
"""`verify --self-test`: tests/verify/seeded/*.patch each put one fault into a model, a checker or a source, and name the properties that
must then fail. As with mutants (selftest.py): a patch that does not apply, or a property that fails without it, fails the run;
so does a property that no patch breaks, and a clause of a contract that none of its property's patches breaks.
"""
import collections
import re
import subprocess
import sys
import time

from umbra import deps, fuzz, layout, models, proofs, say, selftest
from umbra.errors import Failure, Usage

FOLDER = "tests/verify/seeded"
SCRATCH = layout.BUILD / "verify" / "tree"
SECONDS = 900


def read(path):
    head = dict(re.findall(r"^# (property|why): *(.*\S)", path.read_text(), re.M))
    for word in ("property", "why"):
        if word not in head:
            raise Usage("%s has no line '# %s: ...'" % (layout.relative(path), word))
    return selftest.Mutant(path, head["property"], head["why"])


def faults(names):
    found = [read(p) for p in sorted((layout.ROOT / FOLDER).glob("*.patch"))]
    unknown = set(names) - {m.path.stem for m in found} - {name for m in found for name in m.test.split()}
    if unknown:
        raise Usage("no fault is called %s; see %s/" % (" ".join(sorted(unknown)), FOLDER))
    return [m for m in found if not names or {m.path.stem, *m.test.split()} & set(names)]


def verify(names, seconds=SECONDS):
    words = [sys.executable, str(SCRATCH / "build.py"), "verify", "--quiet", "--no-install", *names]
    try:
        return subprocess.run(words, cwd=SCRATCH, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def is_of_sources(text):
    """Whether a fault changes more than models: that a model then does not stand for the sources any more is what is to be noticed."""
    return any(not file.startswith("tests/verify/") for file in re.findall(r"^\+\+\+ b/(\S+)", text, re.M))


def judge(done, names, of_sources=False):
    """What a run with the fault in place says; only its own properties' rows count, and all of them."""
    results = {judge_one(done, name, of_sources) for name in names}
    return results.pop() if len(results) == 1 else "SURVIVED"


def judge_one(done, name, of_sources):
    from umbra import verify as table
    row = re.search(r"^%s +\S.*?  (holds|FAILS) .*$" % re.escape(name), done.stdout if done else "", re.M)
    if row is None:
        return "its property did not run"
    if of_sources and models.CHANGED in row[0]:
        return "caught"
    if any(text in row[0] for text in (*models.NO_VERDICT, fuzz.NO_BUILD, proofs.NOT_SEEN, table.NOT_RUN)):
        return "proves nothing"
    if proofs.OTHER_NUMBER in row[0]:   # all that is left to prove is proved: the contract did not notice
        return "SURVIVED"
    return "SURVIVED" if row[1] == "holds" else "caught"


def unbroken(found):
    """Properties that ought to have a fault and have none."""
    from umbra import verify as table
    told = {name for m in found for name in m.test.split()}
    methods = (table.PROVED, table.MODELLED, table.CLOSED, table.COMPARED, table.ALL_INPUTS, fuzz.FUZZED)
    return [p.name for p in table.PROPERTIES if p.method in methods and p.name not in told]


def proofs_of(names):
    from umbra import verify as table
    return [p for p in table.PROPERTIES if p.method == table.PROVED and p.name in names]


def unbroken_clauses(names, reports):
    """Clauses of these properties' contracts that hold in all reports of runs with their faults (name -> texts), one line each."""
    return ["no fault of %s breaks %s of %s" % (p.name, clause, function) for p in proofs_of(names) for function, clause in p.by.clauses()
            if not any(proofs.is_broken(text, function, clause) for text in reports[p.name])]


def try_fault(m, reports):
    """Sets the fault's result, and adds what the run said to the reports of its properties."""
    began = time.monotonic()
    selftest.prepare(SCRATCH)
    m.result = "does not apply"
    if selftest.apply(m, SCRATCH):
        done = verify(m.test.split())
        m.result = judge(done, m.test.split(), is_of_sources(m.path.read_text()))
        for name in m.test.split():
            reports[name].append(done.stderr if done else "")
    m.seconds = time.monotonic() - began


def command(options):
    chosen = faults(options.names)
    if not chosen:
        raise Usage("%s/ holds no fault" % FOLDER)
    deps.ensure("verify", options)
    if proofs_of({name for m in chosen for name in m.test.split()}):
        deps.ensure("proofs", options)
    began = time.monotonic()
    selftest.prepare(SCRATCH)
    say.note("without faults first")
    named = sorted({name for m in chosen for name in m.test.split()})
    done = verify(named, SECONDS * len(named))
    if done is None or done.returncode:
        raise Failure("the properties do not hold without faults\n" + (done.stdout + done.stderr if done else ""))
    say.note("%d properties hold: %.0f s" % (len(named), time.monotonic() - began))
    width, reports = max(len(m.path.stem) for m in chosen), collections.defaultdict(list)
    for m in chosen:
        say.progress(m.path.stem)
        try_fault(m, reports)
        say.progress("")
        print(selftest.row(m, width), flush=True)
    selftest.prepare(SCRATCH)
    missed = [m for m in chosen if m.result != "caught"]
    alone = [] if options.names else ["no fault of %s/ breaks %s" % (FOLDER, name) for name in unbroken(chosen)]
    alone += unbroken_clauses([n for n in named if not options.names or n in options.names], reports)
    for line in alone:
        say.complain(line)
    say.note("%d faults in %.0f s" % (len(chosen), time.monotonic() - began))
    print("%d caught, %d not" % (len(chosen) - len(missed), len(missed)))
    return 1 if missed or alone else 0
