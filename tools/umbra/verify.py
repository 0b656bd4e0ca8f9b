# SPDX-License-Identifier: BSD-2-Clause
"""The command `verify`: each component's properties, one row each: how it is shown, over what, and whether it holds.

PROPERTIES is the list; a new one is a line in it and a row of docs/assurance.md, which has the same names: one that is missing on
either side fails the run, as does a claim of a model that no line asks for, and a function that a model stands for and the tree
no longer has. How each method works: models.py (spin), proofs.py (Frama-C), the other classes below.
"""
import collections
import dataclasses
import os
import re
import subprocess
import sys
import time

from umbra import contracts, deps, fresh, fuzz, layout, models, proofs, say, seeded
from umbra.errors import Usage

COMPONENTS = ("kernel", "vmm", "memmgr", "idl", "init", "system")
ASSURANCE = "docs/assurance.md"
SECONDS = 900       # a hang
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
PROVED, MODELLED, CLOSED, ALL_INPUTS = "proved", "model-checked", "closure", "all inputs"
COMPARED = "compared"
NOT_RUN = "no verdict"      # what should have been run was not, or came to no end

Outcome = collections.namedtuple("Outcome", "holds figure why")


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests of the tree, by name; all must be there and pass. A name may stand for several: then `count` says for how many in all."""
    names: tuple
    count: int = 0

    @property
    def wanted(self):
        return self.count or len(self.names)

    def check(self):
        words = [sys.executable, str(layout.ROOT / "build.py"), "test", "--quiet", "--no-install", *self.names]
        done = subprocess.run(words, cwd=layout.ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        closing = CLOSING.match((done.stdout.splitlines() or [""])[-1])
        if not closing or "not built: " in done.stdout:
            return Outcome(False, NOT_RUN, done.stdout + done.stderr)
        passed, failed, skipped = map(int, closing.groups())
        if failed or skipped:
            return Outcome(False, "%d of %d tests pass" % (passed, passed + failed + skipped), done.stdout + done.stderr)
        return Outcome(passed == self.wanted, "%d tests" % passed + (", expected %d" % self.wanted if passed != self.wanted else ""), "")


@dataclasses.dataclass(frozen=True)
class Closure:
    """The take-grant closure over compiled descriptions (idl/umbra_idl/closure.py, ownership.py), and over one of the most guests."""
    guests: int

    def check(self):
        texts = [(name, "") for name in layout.find("systems/*.idl")]
        texts.append(("%d guests" % self.guests, self.many()))
        for name, text in texts:
            done = self.compiler("closure", "/dev/stdin" if text else str(layout.ROOT / name), "--memory", "8G", text=text)
            if "Traceback" in done.stderr:
                return Outcome(False, NOT_RUN, done.stderr)
            if done.returncode or "no way to another guest" not in done.stdout:
                return Outcome(False, name, done.stderr)
        return Outcome(True, "%d systems" % len(texts), "") if len(texts) > 1 else Outcome(False, "no system", "")

    @staticmethod
    def compiler(*words, text=""):
        return subprocess.run([sys.executable, "-m", "umbra_idl", *words], cwd=layout.ROOT / "idl", capture_output=True, text=True,
                              input=text, timeout=SECONDS)

    def many(self):
        words = ["name=vm%d,memory=64M,kernel=k" % n for n in range(self.guests)]
        return self.compiler("guests", *words).stdout


@dataclasses.dataclass(frozen=True)
class Property:
    name: str       # component.word, as in docs/assurance.md
    method: str
    scope: str
    by: object      # has check() -> Outcome
    short: bool = True      # part of `test`

    @property
    def component(self):
        return self.name.partition(".")[0]


def model(name, claim, scope, short=True, **sizes):
    """A claim (ltl) of tests/verify/FILE.pml."""
    file, _, ltl = claim.partition(" ")
    return Property(name, MODELLED, scope, models.Claim(file, ltl, tuple(sorted(sizes.items()))), short)


def fuzzed(target):
    """The corpus that fuzzing left behind, run again; how long it was fuzzed is in docs/fuzzing.md. `test` does it in any case."""
    return Property(target.shown_as, fuzz.FUZZED, target.reads, fuzz.Kept(target), short=False)


def proof(name, file, functions, goals, *options):
    """Contracts of functions of one file, proved by that many goals. Not part of `test`: it need not have Frama-C."""
    return Property(name, PROVED, "all inputs of " + functions.replace(" ", ", "),
                    proofs.Proof(file, tuple(functions.split()), goals, options), short=False)


def inputs(name, scope, *tests):
    """Tests that go through every input that the scope says. `test` runs them in any case."""
    return Property(name, ALL_INPUTS, scope, Tests(tests), short=False)


EXIT = "2 exits, 3 deaths between any two stores"
TWICE = "1 exit, 3 deaths, 2 stores to one place"
FRAMES = "1 processor, 2 takings, no downgrade, 2 roots, 2 ASIDs"
DOWN = "1 processor, 1 taking, 1 downgrade, 2 roots, 2 ASIDs"
TWO = "2 processors, 1 taking, 1 downgrade, 1 root, 1 ASID; a rule without code yet"
PAIR = dict(CPUS=2, ASIDS=1, ROOTS=1)
THREE = "3 processors, 1 taking, 1 root, 1 ASID; a rule without code yet"
TRIPLE = dict(CPUS=3, ASIDS=1, ROOTS=1, DOWNGRADES=0)
OUTPUT = "3 bytes, 1 death of each side anywhere but in a console's beginning"
MORE_OUTPUT = "4 bytes, one an exit, 2 deaths of each side anywhere but in a console's beginning"
INPUT = "4 bytes, 2 deaths of each side anywhere but in a console's beginning"
POOL = "servers/memmgr/pool.c"
PROPERTIES = (
    model("kernel.redelivered", "exit redelivered", EXIT),
    model("kernel.one-answer", "exit one_answer", EXIT),
    model("kernel.frames", "epoch frames", FRAMES, TAKES=2, DOWNGRADES=0),
    model("kernel.tables", "epoch tables", FRAMES, TAKES=2, DOWNGRADES=0),
    model("kernel.downgraded", "epoch downgraded", DOWN),
    model("kernel.frames-2", "epoch frames", TWO, **PAIR),
    model("kernel.tables-2", "epoch tables", TWO, **PAIR),
    model("kernel.frames-3", "epoch frames", THREE, short=False, **TRIPLE),
    model("kernel.tables-3", "epoch tables", THREE, short=False, **TRIPLE),
    proof("kernel.retype-fit", "kernel/obj/retype_fit.h", "retype_fit", 25, proofs.NO_WRAP),
    proof("kernel.slot-bounds", "kernel/obj/slots.h", "slot_within slots_within slot_at", 33, proofs.NO_WRAP),
    proof("kernel.lookup", "kernel/lookup.h", "quick_slot", 12),
    proof("kernel.message-bounds", "kernel/message.h", "tag_fits copy_buffer_words", 21),
    proof("kernel.derive-check", "kernel/obj/derive.h", "cap_derive_check", 43),
    proof("kernel.derive-rights", "kernel/obj/derive.h", "derived", 31),
    proof("kernel.derive-links", "kernel/obj/links.h", "link_below link_new link_out", 71),
    proof("kernel.events", "kernel/obj/event.h", "vcpu_check_event", 15),
    proof("kernel.asids", "kernel/arch/x86_64/asid.h", "asid_take asid_is_current", 42, proofs.NO_WRAP),
    proof("kernel.calibration", "kernel/arch/x86_64/calibrate.h", "calibration_add", 56),
    inputs("kernel.leaf", "each set of flags of a guest space's entry, each set of rights, each bit of an address, each place in a large page",
           "a_leaf_is_the_frame_of_the_guest_space_with_no_right_more", "a_fill_of_any_entry_by_either_way_gives_what_the_guest_space_has",
           "a_run_of_fills_is_each_of_its_leaves"),
    inputs("kernel.links", "each level and format of two tables; each operation on a table of another VM",
           "a_link_leads_one_level_down_within_a_format_and_nowhere_else", "a_table_of_another_vm_is_not_used"),
    inputs("kernel.downgrades", "each set of flags of an entry before and after; each set of rights; each use of a table",
           "an_entry_that_is_replaced_is_a_downgrade_if_and_only_if_something_goes",
           "a_fill_of_any_entry_by_either_way_gives_what_the_guest_space_has", "a_downgrade_of_any_entry_keeps_no_more_than_was_said",
           "a_linked_table_stays_and_a_used_one_that_is_set_up_is_a_downgrade"),
    inputs("kernel.epochs", "each operation on a table of 3 epochs; each change of each kind of entry; each use of a table; a range, a page "
           "table of guest memory or a VM that goes, a harvest, a list that is refused in its middle",
           "a_table_of_another_epoch_is_only_set_up_anew", "nothing_is_linked_or_set_that_is_of_another_epoch",
           "whatever_is_taken_from_a_guest_ends_the_epoch", "a_list_that_is_refused_in_its_middle_ends_the_epoch",
           "the_end_of_a_page_table_of_guest_memory_ends_the_epoch", "a_vm_that_leaves_its_guest_space_ends_the_epoch",
           "a_harvest_ends_the_epoch",
           "the_end_of_a_table_that_may_be_in_use_ends_the_epoch", "the_end_of_a_range_ends_the_epoch_of_who_has_a_frame_of_it"),
    inputs("kernel.run-queue", "each state of 3 threads at 2 priorities, one with a budget, late timers; each operation in each",
           "every_state_of_a_small_run_queue_is_whole"),
    inputs("kernel.deadlines", "each heap of 5 deadlines at 5 times, each operation on it", "every_heap_of_a_few_deadlines_stays_one"),
    inputs("kernel.tree", "each derivation tree of an Untyped, and Endpoints in 4 slots; each operation in each, delete and revoke of an Endpoint also broken off at each step",
           "every_small_derivation_tree_is_what_was_done"),
    inputs("kernel.rights", "each set of rights of each type, as a method's object, an argument, a way; each flag of a copy",
           "an_argument_needs_its_type_and_each_of_its_rights", "no_method_is_for_who_may_not_write",
           "nothing_is_moved_out_of_a_cnode_that_is_only_read", "a_badge_that_was_given_is_marked_and_kept"),
    inputs("kernel.message-rights", "each set of rights, each kind of message, answer, signal and fault, by both paths",
           "a_message_needs_the_right_to_write_and_capabilities_that_to_grant",
           "an_answer_brings_capabilities_to_who_called_with_the_right_to_grant",
           "who_receives_needs_the_right_to_read_and_who_signals_that_to_write", "who_answers_needs_the_right_to_write",
           "a_fault_is_told_by_a_capability_with_the_right_to_write"),
    inputs("kernel.ports", "each access and each narrower range at and around each range of up to 8 ports, at 3 places",
           "a_port_capability_reaches_its_ports_only"),
    inputs("kernel.read-bits", "each bit of an entry", "what_is_read_back_of_a_shadow_table_has_no_address"),
    Property("kernel.short-paths", "tested", "24 histories of 6000 steps of messages, 3000 answers to exits of a guest, each done in both ways",
             Tests(("short_paths_do_what_the_complete_path_does", "random_answers_by_both_paths_leave_the_same",
                    "random_entries_by_both_paths_leave_the_same")), short=False),
    Property("kernel.whole", "tested", "histories of seed 1 and of a fresh seed, up to 36000 and 6000 steps",
             Tests(("hostile_processes_leave_everything_consistent", "hostile_processes_of_a_fresh_seed_leave_everything_consistent")), short=False),
    Property("kernel.epoch-steps", COMPARED, "three programs that attack shadow tables, whole; 12 deaths of a VMM while its guest begins", Tests((
        "test_epochs.py", "test_the_steps_of_the_replay_are_the_models"), 5), short=False),
    model("vmm.once", "exit once", EXIT),
    model("vmm.undone", "exit undone", EXIT),
    model("vmm.undone-twice", "exit undone", TWICE, EXITS=1, MORE=2),
    model("vmm.sound", "exit sound", EXIT),
    model("vmm.served", "exit served", EXIT + "; liveness"),
    Property("vmm.events", ALL_INPUTS, "each of 8 interrupted events with 4 exceptions and all flags",
             Tests(("irq_choice_keeps_its_rules_for_every_input",)), short=False),
    inputs("vmm.walk", "each flag of the last entry, and P, RW, US, A, G, NX of one above it, in each paging mode and kind of access", "walk_of_every_entry_in_every_mode"),
    Property("vmm.native", "tested", "random instructions, done by the emulator and by this processor",
             Tests(("native_random_instructions_agree_with_the_processor",)), short=False),
    Property("vmm.lengths", "tested", "random instructions of every opcode in 16-, 32- and 64-bit code, and objdump", Tests(("test_length.py",), 3),
             short=False),
    Property("vmm.registers", "tested", "each register of each device, by the tables of its test", Tests((
        "test_lapic.c", "test_ioapic.c", "test_pic.c", "test_pit.c", "test_cmos.c", "test_uart.c", "test_fwcfg.c", "test_bus.c"), 136), short=False),
    Property("memmgr.pool", "tested", "each of 32751 frames, 5 seeds", Tests(("pool_gives_every_frame_once",)), short=False),
    proof("memmgr.begins", POOL, "pool_init frame_is_dirty client_init client_shape", 115),
    proof("memmgr.lent-once", POOL, "mix permute next_number is_in hand_out pool_take", 167),
    proof("memmgr.zeroed", POOL, "move frame_zeroed frame_given pool_back frame_returned pool_learned distrust pool_leave", 196),
    proof("memmgr.quota", POOL, "inside pool_left client_may_map client_has_all client_take client_drop", 154),
    Property("idl.isolation-refused", ALL_INPUTS, "each record for another component, each binding and badge changed, of tiny.idl", Tests((
        "test_any_grant_of_a_guest_to_another_is_refused", "test_whatever_no_connection_declares_is_refused")), short=False),
    Property("idl.round-trip", "tested", "random values, requests and answers, for every interface and every type", Tests((
        "test_random_values_arrive_unchanged_both_ways", "test_changed_requests_never_reach_the_implementation_with_a_wrong_value",
        "test_changed_answers_never_crash_the_client", "test_random_words_are_answered_bad_message")), short=False),
    Property("idl.generated", "tested", "systems/*.idl and one of every type", Tests((
        "test_all_generated_c_of_a_system_compiles", "test_c_reader_reads_what_the_compiler_means"), 4), short=False),
    model("init.third-death", "exit third", EXIT),
    model("system.output-once", "output in_order", OUTPUT),
    model("system.output-once-more", "output in_order", MORE_OUTPUT, short=False, BYTES=4, AT_ONCE=1, VMM_DEATHS=2, CONSOLE_DEATHS=2),
    model("system.output-answered", "output answered_only", OUTPUT),
    model("system.output-ring", "output ring_whole", OUTPUT),
    model("system.output-shown", "output all_shown", OUTPUT + "; liveness"),
    model("system.output-told", "room goes_on", "5 bytes, a guest without clocks, nobody dies; liveness, weakly fair"),
    model("system.output-told-heirs", "room goes_on", "4 bytes, a guest without clocks, 1 death of each side while it handles something; liveness, weakly fair",
          short=False, BYTES=4, VMM_DEATHS=1, CONSOLE_DEATHS=1),
    model("system.input-once", "input in_order", INPUT),
    model("system.input-counted", "input counted", INPUT + "; liveness"),
    Property("system.isolation", CLOSED, "systems/*.idl and 16 guests", Closure(16)),
    Property("system.capabilities", COMPARED, "2 guests, 1 place; start, restarts, a guest created and destroyed", Tests((
        "test_the_capabilities_of_a_started_system_are_those_of_its_description",
        "test_they_are_so_after_restarts_and_when_guests_come_and_go")), short=False),
    Property("system.attacks", "tested", "the shapes of ten published escapes, by a hostile VMM beside a neighbour", Tests(("test_attacks.c",), 10),
             short=False),
    *(fuzzed(target) for target in fuzz.TARGETS),
    Property("vmm.steps", COMPARED, "the exits before 12 or more of 20 deaths while Linux boots", Tests((
        "test_exits_of_a_run_with_deaths_are_steps_of_the_models", "test_the_automaton_has_the_steps_of_the_models_and_of_the_vmm")),
             short=False),
    Property("system.console-steps", COMPARED, "the last lines before 16 deaths of consoles, with 12 or more of VMMs, while Linux boots", Tests((
        "test_lines_of_a_run_with_deaths_of_both_sides_are_steps_of_the_model",
        "test_the_automaton_of_lines_has_the_steps_of_the_model_and_of_the_console")), short=False),
    Property("system.input-steps", COMPARED, "the last bytes typed before 15 deaths of consoles, with 12 or more of VMMs, at a shell", Tests((
        "test_bytes_typed_in_a_run_with_deaths_of_both_sides_are_steps_of_the_model",
        "test_the_automaton_of_input_has_the_steps_of_the_model_and_of_the_console")), short=False),
)


def told():
    path = layout.ROOT / ASSURANCE
    return path.read_text() if path.is_file() else ""


ROW = re.compile(r"^\| (`[a-z]+\.[\w-]+`(?:, `[a-z]+\.[\w-]+`)*) \| (.*?) \|", re.M)


def documented():
    """The names that docs/assurance.md has rows of, each with the row's second cell: the method, but for what is fuzzed."""
    return [(name, cell) for row, cell in ROW.findall(told()) for name in re.findall("`(.*?)`", row)]


def assumed():
    return contracts.line([p.by for p in PROPERTIES if p.method == PROVED])


def missing():
    """What has disappeared, or was never told, one line each."""
    names, cells = [p.name for p in PROPERTIES], dict(documented())
    rows = [name for name, _ in documented()]
    lines = ["%s: %s tells of it, tools/umbra/verify.py has it no more" % (n, ASSURANCE) for n in rows if n not in names]
    lines += ["%s: %s does not tell of it" % (n, ASSURANCE) for n in names if n not in rows]
    lines += ["%s: %s calls it %s, which is %s" % (p.name, ASSURANCE, cells[p.name], p.method) for p in PROPERTIES
              if p.name in cells and p.method != fuzz.FUZZED and cells[p.name] != p.method]
    asked = {(p.by.file, p.by.ltl) for p in PROPERTIES if isinstance(p.by, models.Claim)}
    if assumed() not in told():
        lines.append("%s does not say what is assumed: %s" % (ASSURANCE, assumed()))
    return lines + ["%s.pml claims %s, which no property asks for" % c for c in models.claims() if c not in asked]


def chosen(names, short):
    unknown = [n for n in names if n not in COMPONENTS and n not in [p.name for p in PROPERTIES]]
    if unknown:
        raise Usage("nothing is called %s; components are %s, properties as the table shows" % (", ".join(unknown), ", ".join(COMPONENTS)))
    return [p for p in PROPERTIES if (not names or p.component in names or p.name in names) and (p.short or not short)]


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="a component (%s) or a property" % ", ".join(COMPONENTS))
    parser.add_argument("--short", action="store_true", help="without what `test` does in any case")
    parser.add_argument("--fresh", action="store_true", help="in an empty minimal Debian (as root)")
    parser.add_argument("--self-test", action="store_true",
                        help="apply each fault of tests/verify/seeded (or those named) to a copy: its property must fail")
    parser.add_argument("--fuzz", metavar="TARGET", help="fuzz TARGET (or: list) from its kept corpus on; docs/fuzzing.md")
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="of --fuzz, of processor time; default: 10")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --fuzz; 0, the default: another one each time")
    parser.epilog = "examples: ./build.py verify\n          ./build.py verify kernel\n          ./build.py verify --fuzz decoder --minutes 60"


def run_one(p, width):
    began = time.monotonic()
    say.progress(p.name)
    try:
        outcome = p.by.check()
    except subprocess.TimeoutExpired as late:
        outcome = Outcome(False, NOT_RUN + " within %d s" % late.timeout, "")
    except OSError as error:
        outcome = Outcome(False, "%s: %s" % (error.filename, error.strerror), "")
    say.progress("")
    print("%-*s  %-13s  %-6s  %5.1f s  %s; %s" % (width, p.name, p.method, "holds" if outcome.holds else "FAILS",
                                                  time.monotonic() - began, p.scope, outcome.figure), flush=True)
    if outcome.why:
        print(outcome.why.rstrip(), file=sys.stderr, flush=True)
    return outcome.holds


def command(options):
    if options.fuzz:
        return fuzz.command(options)
    if options.self_test:
        return seeded.command(options)
    wanted = chosen(options.names, options.short)
    if options.fresh:
        return fresh.verify(options)
    deps.ensure("verify", options)
    if any(p.method == PROVED for p in wanted):
        deps.ensure("proofs", options)
    if any(isinstance(p.by, Tests) for p in wanted):
        deps.ensure("test", options)        # whatever tests they are: `test` itself would install nothing
    os.environ["PYTHONPYCACHEPREFIX"] = str(layout.BUILD / "cache" / "pycache")
    width = max(len(p.name) for p in wanted)
    models.plan([p.by for p in wanted if isinstance(p.by, models.Claim)])
    failed = sum(not run_one(p, width) for p in wanted)
    gone = missing()
    for line in gone:
        say.complain(line)
    if any(p.method == PROVED for p in wanted):
        print("assumed by proofs: " + assumed(), flush=True)
    print("%d hold, %d fail%s" % (len(wanted) - failed, failed, ", %d missing" % len(gone) if gone else ""), flush=True)
    return 1 if failed or gone else 0
