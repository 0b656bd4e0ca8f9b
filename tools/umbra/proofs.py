# SPDX-License-Identifier: BSD-2-Clause
"""Proofs of functions by Frama-C's WP: contracts are ACSL comments in the files that kernel and servers are made of.

For all inputs that a contract admits its clauses hold and nothing undefined happens (-wp-rte), nor an unsigned wrap where the
property says so. A smoke test asks of each contract whether it contradicts itself. WP's exit status says nothing: a proof is the
number of goals that the property expects, all of them proved, and no warning of WP's.
"""
import collections
import dataclasses
import os
import re
import subprocess

from umbra import contracts, layout

WORK = layout.BUILD / "verify" / "proofs"
PROVERS = "cvc4,z3"
SECONDS = 1500      # a hang; the provers' own limit is below
PROVER_SECONDS = 20
SMOKE_SECONDS = 2
NO_WRAP = "-warn-unsigned-overflow"
ALIGNED = "'-D_Alignas(x)=__attribute__((aligned(x)))'"     # the same in words that Frama-C knows
CLOSING = re.compile(r"^\[wp\] Proved goals: +(\d+) / (\d+)$", re.M)
DOUBTS = re.compile(r"^\[wp(?!:pedantic-assigns\])(?::[\w-]+)*\][^\n]*Warning:|No 'assigns' specification|User Error|syntax error|aborted", re.M)
FAILED = re.compile(r"^\[wp\] \[(?!Qed|CVC4|Z3|Passed|Cache)\w+\] [^\n]*", re.M)
# `pedantic-assigns` also wants to know what an assigned pointer is made `\from`: nothing here is proved by that, nor would it be proved.
CHANGED = "a contract or the code has changed: read it, then set the number"
NOT_SEEN = "WP did not come to an end"
OTHER_NUMBER = ", expected "

Outcome = collections.namedtuple("Outcome", "holds figure why")


def includes(file):
    flags = layout.KERNEL_FLAGS if file.startswith("kernel/") else layout.SERVER_FLAGS
    return ["-I" + folder for flag, folder in zip(flags, flags[1:]) if flag == "-I"]


def compiled(file):
    """Whether the kernel or a server is made of it: a source, or a header that a source includes by its name."""
    sources = layout.find(file.partition("/")[0] + "/**/*.c")
    if file.endswith(".c"):
        return file in sources
    name = re.escape(os.path.basename(file))
    return any(re.search(r'^#include "([\w/]+/)?%s"' % name, (layout.ROOT / s).read_text(), re.M) for s in sources)


def is_broken(text, function, clause):
    """Whether a clause is among the goals that a report, or what `verify` says of it, has as not proved."""
    return any(re.search(r"Goal typed\w*_%s_ensures_%s(_part\d+)?\b" % (function, clause), line) for line in FAILED.findall(text))


def judge(text, goals):
    """(whether the report is a proof by that number of goals; the figure; why not)."""
    closing = CLOSING.findall(text)
    if len(closing) != 1:
        return Outcome(False, NOT_SEEN, text)
    proved, of = map(int, closing[0])
    figure = "%d of %d goals" % (proved, of)
    if DOUBTS.search(text) or FAILED.search(text) or proved < of:
        return Outcome(False, figure, "\n".join(FAILED.findall(text)) or text)
    if of != goals:
        return Outcome(False, figure + OTHER_NUMBER + "%d" % goals, CHANGED)
    return Outcome(True, "%d goals" % of, "")


@dataclasses.dataclass(frozen=True)
class Proof:
    file: str
    functions: tuple
    goals: int
    options: tuple = ()

    def check(self):
        path = layout.ROOT / self.file
        if not path.is_file() or not compiled(self.file):
            return Outcome(False, "%s is no part of any program" % self.file, "")
        words = sorted(set(contracts.admitted(path.read_text())))
        if words:
            return Outcome(False, "%s has %s in a contract" % (self.file, ", ".join(words)), "")
        known = self.answers()
        outcome = judge(self.run(), self.goals)
        if not outcome.holds and outcome.why != CHANGED:    # a prover that lost its time to a busy machine is asked again
            for answer in self.answers() - known or known:
                answer.unlink()
        return outcome

    def clauses(self):
        return contracts.clauses((layout.ROOT / self.file).read_text(), self.functions)

    def answers(self):
        return set(self.cache.iterdir()) if self.cache.is_dir() else set()

    @property
    def cache(self):
        return WORK / "cache" / os.path.basename(self.file)

    def run(self):
        """WP's report. Why3's configuration is a file of the build, as the person's own may know no provers. Frama-C takes a file's name
        as relative to PWD, whatever its working directory is."""
        home = WORK / "home"
        self.cache.mkdir(parents=True, exist_ok=True)
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(home), "LC_ALL": "C", "PWD": str(layout.ROOT)}
        if not (home / ".why3.conf").is_file():
            subprocess.run(["why3", "config", "detect"], env=environment, capture_output=True, timeout=SECONDS)
        words = ["frama-c", "-c11", "-machdep", "gcc_x86_64", "-cpp-extra-args=" + " ".join([*includes(self.file), ALIGNED]),
                 "-wp", "-wp-rte", "-wp-smoke-tests", "-wp-smoke-timeout", str(SMOKE_SECONDS), *self.options,
                 "-wp-prover", PROVERS, "-wp-timeout", str(PROVER_SECONDS), "-wp-par", "2",
                 "-wp-cache", "update", "-wp-cache-dir", str(self.cache), "-wp-fct", ",".join(self.functions), self.file]
        done = subprocess.run(words, cwd=layout.ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        return done.stdout + done.stderr
