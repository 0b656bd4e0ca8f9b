# SPDX-License-Identifier: BSD-2-Clause
"""The command `verify`: what holds, what does not, what has gone, and what a search that is cut short proves."""
import argparse
import re
import subprocess
import sys

import pytest
from umbra import cli, contracts, deps, layout, models, proofs, seeded, testcmd, verify

TOY = """// C: lib/toy.c count: n + 1 ; return
byte n;
ltl small { [] (n < %d) }
ltl positive { [] (n >= 0) }
ltl reached { <> (n == 3) }
active proctype counter() { do :: n < 3 -> n++ :: n == 3 -> break od }
"""
SOURCE = "static int\ncount(int n);\n\nint count(int n)\n{\n    n = n + 1;\n    return n;\n}\n"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes tests/verify/toy.pml with a bound, and lib/toy.c; gives a function that checks a claim."""
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    monkeypatch.setattr(models, "WORK", tmp_path / "work")
    (tmp_path / "lib").mkdir()
    (tmp_path / "tests/verify").mkdir(parents=True)

    def make(bound=4, source=SOURCE, text=TOY):
        models.PLAN.clear()
        models.build.cache_clear()
        models.search.cache_clear()
        (tmp_path / "lib/toy.c").write_text(source)
        (tmp_path / "tests/verify/toy.pml").write_text(text.replace("%d", str(bound)))
        return lambda ltl: models.Claim("toy", ltl, ()).check()
    return make


def test_a_claim_that_holds_says_how_many_states(toy):
    check = toy()
    for ltl in ("small", "positive", "reached"):
        outcome = check(ltl)
        assert outcome.holds and re.fullmatch(r"\d+ states", outcome.figure), outcome


def test_a_claim_that_does_not_hold_shows_the_way(toy):
    outcome = toy(3)("small")
    assert not outcome.holds and outcome.figure == "there is a way to break it"
    assert "n = 3" in outcome.why or "(n+1)" in outcome.why


def test_of_claims_that_are_looked_at_together_only_the_broken_one_fails(toy):
    check = toy(3)
    models.plan([models.Claim("toy", ltl, ()) for ltl in ("small", "positive", "reached")])
    assert [check(ltl).holds for ltl in ("small", "positive", "reached")] == [False, True, True]


def test_something_that_need_not_happen_fails(toy):
    check = toy(text=TOY.replace(":: n == 3 -> break", ":: n == 2 -> skip"))
    assert not check("reached").holds


def test_a_claim_that_has_gone_fails(toy):
    outcome = toy()("large")
    assert not outcome.holds and models.NO_CLAIM in outcome.figure


def test_a_search_that_is_cut_short_proves_nothing(toy, monkeypatch):
    monkeypatch.setattr(models, "DEPTH", 3)
    outcome = toy()("small")
    assert not outcome.holds and outcome.figure == models.CUT_SHORT


def test_a_model_that_spin_refuses_fails(toy):
    outcome = toy(text=TOY + "nonsense\n")("small")
    assert not outcome.holds and outcome.figure == models.NO_BUILD


def with_more(option="", behind=""):
    """The toy with one more option in its loop, in line 7, and more behind that, from line 9 on."""
    return TOY.replace(":: n == 3 -> break od", "\n%s\n:: n == 3 -> break od;\n%s\nout: skip" % (option, behind))


def never(outcome):
    assert not outcome.holds and outcome.figure == models.UNREACHED, outcome
    return [line.removeprefix("toy.pml:").removesuffix(" is never done") for line in outcome.why.splitlines()]


def test_statements_that_are_never_done_fail_and_are_named(toy):
    """Also where nothing stands behind a guard, of which pan says nothing."""
    text = with_more(":: n == 9 -> n = 0\n:: n == 8 -> skip\n:: n == 7 -> goto out\n:: n == 6 -> d_step { n = 1; n = 0 }\n"
                     ":: n == 5 -> atomic { n = 1; n = 0 }\n:: n < 0 -> break")
    assert never(toy(text=text)("small")) == ["7: ((n==9))", "7: n = 0", "8: ((n==8))", "9: ((n==7))", "10: ((n==6))", "10: d_step", "11: ((n==5))",
                                              "11: n = 1", "11: n = 0", "12: ((n<0))"]


def test_so_they_are_behind_what_shall_happen(toy):
    text = with_more(behind="if :: n == 3 -> skip :: else -> skip fi;\nif :: n == 3 -> skip :: else -> n = 2 fi;\n"
                            "if :: n == 3 -> n = 2; goto out :: n == 9 fi;\nn = 1; n = 0;")
    assert never(toy(text=text)("reached")) == ["9: else", "10: else", "10: n = 2", "11: ((n==9))", "12: n = 1", "12: n = 0"]


def test_so_they_are_behind_a_goto(toy):
    assert never(toy(text=with_more(behind="goto out; n = 2; n = 1;"))("small")) == ["9: n = 2", "9: n = 1"]


def test_what_is_done_once_what_shall_happen_has_happened_counts(toy):
    assert toy(text=with_more(behind="n = 2; if :: n == 2 -> n = 1 fi;"))("reached").holds


def test_that_everybody_waits_for_ever_is_seen_under_fairness(toy):
    text = TOY.replace("(n == 3) }", "(n == 2) } /* weakly fair */").replace(":: n == 3 -> break", ":: n == 3 -> n == 2; break")
    outcome = toy(text=text)("reached")
    assert not outcome.holds and outcome.figure == models.BROKEN


@pytest.mark.parametrize("said, holds", [("/* 2 unreached: for a test */", True), ("/* 1 unreached: for a test */", False),
                                         ("/* 3 unreached: for a test */", False), ("/* 2 unreached: */", False), ("/* unreached: for a test */", False)])
def test_what_is_not_reached_may_be_said_in_its_line_with_how_much_and_why(toy, said, holds):
    assert toy(text=with_more(":: n == 9 -> n = 0 " + said))("small").holds == holds


def test_what_is_said_to_be_unreached_and_is_reached_fails(toy):
    assert never(toy(text=with_more(":: n == 0 -> n = 1 /* 2 unreached: for a test */"))("small")) == ["7: says 2 unreached, 0 are"]


def test_of_an_inline_each_use_is_looked_at(toy):
    text = with_more(behind="more(3); more(9);").replace("active", "inline more(x) { if :: n == x -> skip :: n != x -> skip fi }\nactive")
    assert never(toy(text=text)("small")) == ["6: ((n!=3))", "6: ((n==9))"]


def test_a_choice_where_nothing_tells_which_way_it_went_is_refused(toy):
    outcome = toy(text=with_more(behind="skip; d_step { if :: n == 9 -> n = 0 :: else -> n = 3 fi }"))("small")
    assert not outcome.holds and outcome.figure == models.NO_BUILD and "near line 9" in outcome.why


@pytest.mark.parametrize("guard", [None, "root_set == epoch ->\n            if", "takes > 0 && runs_on != c && space != NONE ->", ":: cached[TLB(c, a)] != NONE ->"])
def test_a_guard_of_the_model_of_epochs_that_can_never_hold_is_found(tmp_path, monkeypatch, guard):
    """Every claim holds then: what they are about does not happen."""
    text = models.source("epoch").read_text()
    if guard:
        assert text.count(guard) == 1
        text = text.replace(guard, guard.replace(":: ", ":: false && ") if guard[0] == ":" else "false && " + guard)
    monkeypatch.setattr(models, "WORK", tmp_path)
    monkeypatch.setattr(models, "source", lambda file: tmp_path / (file + ".pml"))
    models.source("epoch").write_text(text)
    models.build.cache_clear()
    models.search.cache_clear()
    why, report = models.search("epoch", (("ASIDS", 1), ("DOWNGRADES", 0), ("ROOTS", 1)), models.ALL, ("frames", "tables"))
    assert why == (models.UNREACHED if guard else None)
    if guard:
        place = "epoch.pml:%d: " % (text[:text.index("false &&")].count("\n") + 1)
        assert any(line.startswith(place) and "is never done" in line for line in report.splitlines()), report


@pytest.mark.parametrize("source,why", [(SOURCE.replace("count", "sum"), "has no function count"),
                                        (SOURCE.replace("int count(int n)\n{", "int count(int n);"), "has no function count"),
                                        ("int count(int n)\n{\n    return n;\n    n + 1;\n}\n", "'return' does not stand where")])
def test_code_that_the_model_no_longer_stands_for_fails(toy, source, why):
    outcome = toy(source=source)("small")
    assert not outcome.holds and why in outcome.why


def test_a_place_that_cannot_be_read_is_not_passed_over(toy):
    check = toy(text=TOY + "/* (C: lib/toy.c count) */\n")
    assert "of 2 places 'C: file function' 1 can be read" in check("small").why


def test_a_constant_that_the_model_has_too_is_compared(toy):
    text = TOY + "/* C: lib/toy.c MOST: 3u */\n"
    assert toy(text=text, source=SOURCE + "#define MOST 3u\n")("small").holds
    assert not toy(text=text, source=SOURCE + "#define MOST 4u\n")("small").holds


def test_every_step_of_the_models_names_code_that_is_there():
    found = {file: models.NAMED.findall(models.source(file).read_text()) for file in {file for file, _ in models.claims()}}
    assert {"exit", "output", "input", "epoch"} <= set(found) and all(len(names) > 5 for names in found.values())
    assert [line for file in found for line in models.lost(file)] == []


def test_the_table_the_models_and_the_document_have_the_same_properties():
    assert verify.missing() == []
    assert {p.component for p in verify.PROPERTIES} == set(verify.COMPONENTS)


def test_a_property_that_disappears_is_missed(monkeypatch):
    monkeypatch.setattr(verify, "PROPERTIES", tuple(p for p in verify.PROPERTIES if p.name != "init.third-death"))
    gone = verify.missing()
    assert len(gone) == 2 and "init.third-death: docs/assurance.md tells of it" in gone[0] and "exit.pml claims third" in gone[1]


WP = """[kernel] Parsing kernel/toy.h (with preprocessing)
[kernel:asm:clobber] kernel/x.h:29: Warning: 
  Clobber list contains "memory" argument. Assuming no side effects beyond those mentioned in operands.
[wp] Running WP plugin...
[wp] [CVC4 1.8] Goal typed_f_ensures : Valid (30ms)
[wp] [Passed] Smoke-test typed_f_wp_smoke_default_requires
[wp] Proved goals:   %s
  Qed:            11  (2ms-7ms-39ms)
"""
BROKEN = (WP % "6 / 7").replace("[wp] Proved", "[wp] [Failed] Goal typed_f_ensures\n[wp] Proved")
DEAD = (WP % "7 / 7").replace("[wp] Proved", "[wp] kernel/toy.h:2: Warning: Failed smoke-test\n[wp] Proved")
LATE = (WP % "7 / 7").replace("[wp] Proved", "[wp] [Timeout] Goal typed_f_ensures\n[wp] Proved")
FROM = WP % "7 / 7" + "[wp:pedantic-assigns] kernel/x.h:9: Warning: \n  No \\from specification for assigned pointer '*p'.\n"
OTHER = WP % "7 / 7" + "[wp:hypothesis] kernel/x.h:9: Warning: \n  Memory model hypotheses for function 'f'.\n"
UNKNOWN = WP % "7 / 7" + "[wp:pedantic-assigns] kernel/x.h:9: Warning: \n  No 'assigns' specification for function 'g'.\n"


@pytest.mark.parametrize("text,holds,figure", [(WP % "7 / 7", True, "7 goals"), (BROKEN, False, "6 of 7 goals"),
                                               (WP % "6 / 6", False, "6 of 6 goals, expected 7"), (DEAD, False, "7 of 7 goals"),
                                               (LATE, False, "7 of 7 goals"), (UNKNOWN, False, "7 of 7 goals"),
                                               (FROM, True, "7 goals"), (OTHER, False, "7 of 7 goals"),
                                               ("[kernel] Frama-C aborted: invalid user input.\n", False, proofs.NOT_SEEN)])
def test_a_proof_is_all_goals_that_are_expected_and_no_doubt(text, holds, figure):
    outcome = proofs.judge(text, 7)
    assert (outcome.holds, outcome.figure) == (holds, figure)
    assert holds or outcome.why


@pytest.mark.parametrize("text", ["/*@ axiomatic A { axiom a: 1 == 2; } */", "//@ admit x > 0;", "/*@ lemma l: 1 == 2; */"])
def test_a_contract_that_has_something_believed_proves_nothing(toy, monkeypatch, text):
    toy()
    monkeypatch.setattr(proofs.Proof, "run", lambda self: WP % "7 / 7")
    place = layout.ROOT / "kernel/obj"
    place.mkdir(parents=True)
    (place / "toy.c").write_text('#include "toy.h"\n')
    (place / "toy.h").write_text("/* an axiom */\n/*@ assigns \\nothing; */\n")
    proof = proofs.Proof("kernel/obj/toy.h", ("f",), 7)
    monkeypatch.setattr(proofs, "WORK", layout.ROOT / "work")
    assert proof.check().holds
    (place / "toy.h").write_text(text)
    assert not proof.check().holds
    (place / "toy.h").write_text("")
    (place / "toy.c").write_text("")
    assert "is no part of any program" in proof.check().figure


def test_what_is_proved_is_there_and_has_a_contract():
    for by in (p.by for p in verify.PROPERTIES if p.method == verify.PROVED):
        text = (layout.ROOT / by.file).read_text()
        assert by.goals > 0 and proofs.compiled(by.file) and not contracts.admitted(text)
        for function in by.functions:
            assert re.search(r"\*/\n[^\n;]*\b%s\(" % function, text) and models.body(text, function), function


def test_every_contract_is_proved_by_a_property():
    """What a caller's proof takes from another function's contract is shown somewhere, too."""
    proved = [p.by for p in verify.PROPERTIES if p.method == verify.PROVED]
    for file in layout.find("kernel/**/*.[ch]", "servers/**/*.[ch]", "lib/**/*.[ch]"):
        text = (layout.ROOT / file).read_text()
        assert set(contracts.contracts(text)) == {f for by in proved if by.file == file for f in by.functions}, file


def test_what_proofs_believe_is_counted_over_the_tree(toy):
    toy()
    folder = layout.ROOT / "kernel/obj"
    folder.mkdir(parents=True)
    (folder / "toy.h").write_text("/*@ requires n > 0;\n    ensures more: \\result == n + 1; */\nstatic inline int f(int n)\n{\n    return n + 1;\n}\n"
                                  "\nstatic int g(int n)\n{\n    return n;\n}\n")
    proof = proofs.Proof("kernel/obj/toy.h", ("f",), 7)
    assert contracts.assumed([proof]) == contracts.Assumed(0, [], 1, 1, 2)
    assert proof.clauses() == [("f", "more")]
    (folder / "other.c").write_text("/*@ assigns \\nothing; */\nvoid h(void)\n{\n}\n//@ admit 1 == 2;\n")
    assert contracts.assumed([proof]) == contracts.Assumed(1, ["kernel/obj/other.c h"], 1, 1, 2)
    assert contracts.assumed([]).believed == ["kernel/obj/other.c h", "kernel/obj/toy.h f"]


def test_docs_say_what_is_assumed_in_the_words_of_the_command(monkeypatch):
    assert verify.missing() == []
    monkeypatch.setattr(verify, "PROPERTIES", [p for p in verify.PROPERTIES if p.name != "kernel.asids"])
    assert [line for line in verify.missing() if "does not say what is assumed: 0 axioms, lemmas and admitted goals; 2 contracts" in line]


def test_a_clause_that_no_fault_breaks_is_told():
    proof = [p for p in verify.PROPERTIES if p.name == "kernel.lookup"][0].by
    reports = ["[wp] [%s] Goal typed_%s_ensures_%s\n" % (word, f, c) for word, (f, c) in zip(("Timeout", "Failed", "Unknown"), proof.clauses())]
    assert len(reports) == 3 and seeded.unbroken_clauses(["kernel.lookup", "kernel.whole"], {"kernel.lookup": reports}) == []
    lines = seeded.unbroken_clauses(["kernel.lookup"], {"kernel.lookup": reports[1:] + ["[wp] [Qed] Goal typed_quick_slot_ensures_within : Valid\n"]})
    assert lines == ["no fault of kernel.lookup breaks within of quick_slot"]


def test_no_proof_is_part_of_the_tests():
    assert not [p.name for p in verify.chosen((), True) if p.method == verify.PROVED]


def test_frama_c_is_installed_by_the_proofs_alone():
    """1.5 GB: neither `deps` nor anything that a new machine's first commands need."""
    provers = set(deps.needs_of("proofs"))
    assert provers and all(need.packages for need in provers)
    assert [command for command in deps.GROUPS if command != "proofs" and provers & set(deps.needs_of(command))] == []


def test_a_proof_without_frama_c_is_exit_3_and_names_it(monkeypatch, capsys):
    real = deps.present
    monkeypatch.setattr(deps, "present", lambda need: need not in deps.needs_of("proofs") and real(need))
    assert cli.main(["verify", "--no-install", "kernel.slot-bounds"]) == 3
    said = capsys.readouterr().err
    assert "Frama-C" in said and "frama-c-base" in said and "--no-install" in said


def test_a_proof_is_of_the_files_of_its_own_tree(toy, monkeypatch):
    """Frama-C takes names as relative to PWD: a copy's run from another tree once looked at that one's files."""
    toy()
    monkeypatch.setattr(proofs, "WORK", layout.ROOT / "work")
    monkeypatch.setenv("PWD", "/elsewhere")
    seen = []
    monkeypatch.setattr(proofs.subprocess, "run",
                        lambda words, **options: seen.append(options) or subprocess.CompletedProcess(words, 0, "", ""))
    proofs.Proof("kernel/obj/toy.h", ("f",), 7).run()
    assert seen[-1]["cwd"] == layout.ROOT and seen[-1]["env"]["PWD"] == str(layout.ROOT)


@pytest.mark.parametrize("text,left", [(WP % "6 / 7", ["old"]), (WP % "7 / 7", ["new", "old"]), (WP % "8 / 8", ["new", "old"])])
def test_what_a_prover_could_not_show_is_asked_again_and_the_rest_is_kept(toy, monkeypatch, text, left):
    toy()
    monkeypatch.setattr(proofs, "WORK", layout.ROOT / "work")
    monkeypatch.setattr(proofs, "compiled", lambda file: True)
    (layout.ROOT / "toy.h").write_text("")
    proof = proofs.Proof("toy.h", ("f",), 7)
    proof.cache.mkdir(parents=True)
    (proof.cache / "old").write_text("")
    monkeypatch.setattr(proofs.Proof, "run", lambda self: (self.cache / "new").write_text("") or text)
    proof.check()
    assert sorted(p.name for p in proof.cache.iterdir()) == left
    (proof.cache / "new").write_text("")
    proof.check()
    assert sorted(p.name for p in proof.cache.iterdir()) == (left if "new" in left else [])


def test_words_that_name_nothing_are_exit_2(tree):
    done = tree.run("verify", "bogus")
    assert done.returncode == 2 and "nothing is called bogus" in done.stderr


def test_a_property_that_fails_is_exit_1(tree):
    done = tree.run("verify", "--no-install", "system.isolation")
    assert done.returncode == 1 and "system.isolation  closure        FAILS" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 hold, 1 fail, ")


@pytest.mark.parametrize("text,verdict", [("kernel.a  model-checked  FAILS     0.1 s  x; there is a way to break it\n", "caught"),
                                          ("kernel.a  model-checked  holds     0.1 s  x; 7 states\n", "SURVIVED"),
                                          ("kernel.a  model-checked  FAILS     0.1 s  x; the search was cut short\n", "proves nothing"),
                                          ("kernel.a  proved         FAILS     0.1 s  x; %s\n" % proofs.NOT_SEEN, "proves nothing"),
                                          ("kernel.a  proved         FAILS     0.1 s  x; 6 of 6 goals, expected 7\n", "SURVIVED"),
                                          ("kernel.a  proved         FAILS     0.1 s  x; 6 of 7 goals\n", "caught"),
                                          ("kernel.a  model-checked  FAILS     0.1 s  x; %s\n" % models.CHANGED, "proves nothing"),
                                          ("kernel.a  model-checked  FAILS     0.1 s  x; %s\n" % models.UNREACHED, "proves nothing"),
                          ("kernel.a  all inputs     FAILS     0.1 s  x; 0 of 1 tests pass\n", "caught"),
                          ("kernel.a  all inputs     FAILS     0.1 s  x; %s\n" % verify.NOT_RUN, "proves nothing"),
                          ("kernel.a  all inputs     FAILS     0.1 s  x; %s within 900 s\n" % verify.NOT_RUN, "proves nothing"),
                          ("kernel.ab  model-checked  FAILS     0.1 s  x; y\n", "its property did not run")])
def test_the_self_test_calls_caught_what_is_caught(text, verdict):
    done = subprocess.CompletedProcess((), 1, text, "")
    assert seeded.judge(done, ["kernel.a"]) == verdict
    assert seeded.judge(done, ["kernel.a"], of_sources=True) == ("caught" if models.CHANGED in text else verdict)


def test_a_fault_of_the_sources_is_told_from_one_of_a_model():
    assert seeded.is_of_sources((layout.ROOT / seeded.FOLDER / "exit-fourth-death.patch").read_text())
    assert not seeded.is_of_sources((layout.ROOT / seeded.FOLDER / "exit-not-rolled-back.patch").read_text())


@pytest.mark.parametrize("said,holds,figure", [("2 passed, 0 failed, 0 skipped\n", True, "2 tests"),
                                               ("3 passed, 0 failed, 0 skipped\n", False, "3 tests, expected 2"),
                                               ("1 passed, 0 failed, 0 skipped\n", False, "1 tests, expected 2"),
                                               ("1 passed, 1 failed, 0 skipped\n", False, "1 of 2 tests pass"),
                                               ("2 passed, 0 failed, 1 skipped\n", False, "2 of 3 tests pass"),
                                               ("not built: build/x\n0 passed, 2 failed, 0 skipped\n", False, verify.NOT_RUN),
                                               ("build.py: no test is called y\n", False, verify.NOT_RUN)])
def test_a_property_of_tests_holds_if_all_of_them_are_there_and_pass(monkeypatch, said, holds, figure):
    monkeypatch.setattr(verify.subprocess, "run", lambda *_words, **_more: subprocess.CompletedProcess((), 0, said, ""))
    outcome = verify.Tests(("test_x.c",), 2).check()
    assert (outcome.holds, outcome.figure) == (holds, figure)


def test_each_property_of_tests_knows_how_many_they_are():
    done = subprocess.run([sys.executable, str(layout.ROOT / "build.py"), "test", "--list", "--no-install"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, cwd=layout.ROOT, timeout=300)
    answers = [testcmd.answers_to(item) for item in done.stdout.splitlines()]
    for p in verify.PROPERTIES:
        if isinstance(p.by, verify.Tests):
            assert sum(bool(names & set(p.by.names)) for names in answers) == p.by.wanted, p.name


def test_every_property_that_is_proved_or_model_checked_has_a_fault_that_breaks_it():
    assert seeded.unbroken(seeded.faults(())) == []


@pytest.mark.parametrize("name, groups", [("kernel.redelivered", ["verify"]), ("kernel.events", ["verify", "proofs"]), ("kernel.deadlines", ["verify", "test"])])
def test_what_a_property_needs_is_made_sure_of_first(monkeypatch, name, groups):
    asked = []
    monkeypatch.setattr(verify.deps, "ensure", lambda group, options: asked.append(group))
    monkeypatch.setattr(verify, "run_one", lambda p, width: asked.append(p.name) or True)
    monkeypatch.setattr(verify, "missing", lambda: [])
    assert verify.command(argparse.Namespace(names=[name], short=False, fuzz=None, self_test=False, fresh=False)) == 0
    assert asked == [*groups, name]


def test_every_property_holds():
    """The short form; what it leaves out is tested here by itself, or takes minutes."""
    done = subprocess.run([sys.executable, str(layout.ROOT / "build.py"), "verify", "--short", "--quiet", "--no-install"], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=900, cwd=layout.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
