# SPDX-License-Identifier: BSD-2-Clause
"""Contracts (ACSL comments before functions): their clauses, and what proofs from them leave to belief, counted over the tree."""
import collections
import re

from umbra import layout

FOLDERS = ("kernel", "servers", "lib")
ANNOTATION = re.compile(r"/\*@(.*?)\*/|//@([^\n]*)", re.S)
ADMITTED = re.compile(r"\b(admit|axiom|axiomatic|lemma)\b")
CONTRACT = re.compile(r"/\*@((?:(?!\*/).)*?)\*/\s*\n[\w][\w \t*]*?\b(\w+)\(", re.S)    # directly before the function
FUNCTION = re.compile(r"^[a-z][\w \t*()]*?\b(\w+)\([^;{}#]*\)\s*\n\{", re.M)
CLAUSE = re.compile(r"\bensures (\w+):(?!:)")
REQUIRES = re.compile(r"\brequires\b")


def contracts(text):
    """function -> the text of its contract. A function's may stand twice, for two builds: both count as one."""
    return {function: contract for contract, function in CONTRACT.findall(text)}


def clauses(text, functions):
    """(function, clause) of what these functions promise, as far as it has a name."""
    return [(f, c) for f, contract in contracts(text).items() if f in functions for c in CLAUSE.findall(contract)]


def admitted(text):
    """Words in a file's annotations that have something believed instead of proved."""
    return [word for found in ANNOTATION.findall(text) for word in ADMITTED.findall("".join(found))]


Assumed = collections.namedtuple("Assumed", "admitted believed requires without functions")


def assumed(proofs):
    """Over all sources, and of these proofs: what is believed, and how much has no contract."""
    proved = collections.defaultdict(set)
    for proof in proofs:
        proved[proof.file] |= set(proof.functions)
    words, believed, requires, without, functions = 0, [], 0, 0, 0
    for file in sorted(f for folder in FOLDERS for end in "ch" for f in layout.find("%s/**/*.%s" % (folder, end))):
        text = (layout.ROOT / file).read_text()
        words += len(admitted(text))
        of = contracts(text)
        believed += ["%s %s" % (file, f) for f in of if f not in proved[file]]
        requires += sum(len(REQUIRES.findall(contract)) for f, contract in of.items() if f in proved[file])
        if proved[file]:
            names = set(FUNCTION.findall(text))
            functions += len(names)
            without += len(names - set(of))
    return Assumed(words, believed, requires, without, functions)


def line(proofs):
    """What `verify` says of it, and docs/assurance.md in the same words."""
    a = assumed(proofs)
    return ("%d axioms, lemmas and admitted goals; %d contracts that nothing proves; %d clauses that callers keep; "
            "%d of %d functions in files with contracts have none" % (a.admitted, len(a.believed), a.requires, a.without, a.functions))
