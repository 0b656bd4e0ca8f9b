# SPDX-License-Identifier: BSD-2-Clause
"""The replay of a kernel's steps with shadow tables: it takes what the model allows and nothing else. VM 2000 in guest space 3000 of epoch 7, on
vCPU 1000; tables 4000 (level 4) to 7000 (level 1)."""
import pytest
from umbra import epochs, layout

WRITABLE, PLAIN = 0x9067, 0x9065
SET_UP = "begun 4000 2000 3000 0 4 7\nbegun 5000 2000 3000 0 3 7\nbegun 6000 2000 3000 0 2 7\nbegun 7000 2000 3000 0 1 7\n"
LINK = "change 4000 0 0 5027\nchange 5000 0 0 6027\nchange 6000 0 0 7027\n"
FILL = "change 7000 3 0 %x\n" % WRITABLE
LESS = "change 7000 3 %x %x\n" % (WRITABLE, PLAIN)


def enter(asid, epoch=7, root=0x4000, control=0, root_epoch=None, saw=0, vm=0x2000, vcpu=0x1000, form=2):
    return "enter %x %x 3000 %x %x %x %x %x %x 0 %x 0 0 0\n" % (vcpu, vm, epoch, epoch if root_epoch is None else root_epoch, form, asid,
                                                                control, saw, root)


BUMP = "bump 3000 7\ntaken 3000\nflush\n"
BEGUN = SET_UP + LINK + FILL
AGAIN = SET_UP.replace(" 7\n", " 9\n")

GOOD = {
    "a guest runs on under its ASID": BEGUN + enter(1) + enter(1),
    "less, and a new ASID": BEGUN + enter(1) + LESS + enter(2),
    "less, and all ASIDs are new": BEGUN + enter(1) + LESS + enter(1, control=1),
    "more is no loss": BEGUN + "change 7000 4 0 8065\n" + enter(1) + "change 7000 4 8065 8067\n" + enter(1),
    "what the processor set": BEGUN + enter(1) + "change 7000 3 %x 0\n" % (WRITABLE & ~0x40) + enter(2),
    "a new epoch": BEGUN + enter(1) + "taken 3000\n" + BUMP + AGAIN + LINK + enter(2, epoch=9),
    "a table in use ends with its epoch": BEGUN + enter(1) + BUMP + "ended 5000 7\n",
    "a table that nobody used ends": SET_UP + "ended 5000 7\n" + enter(1),
    "the VM has left": BEGUN + enter(1) + "leave 2000\nended 5000 7\n",
    "another guest space in the place": BEGUN + enter(1) + "leave 2000\ntaken 3000\n" + AGAIN + LINK + enter(2, epoch=9),
    "set up anew when nothing leads to it": BEGUN + "change 6000 0 7027 0\nbegun 7000 2000 3000 0 1 7\nchange 6000 0 0 7027\n" + enter(1),
    "a PAE root gets one entry more": "begun 4000 2000 3000 1 2 7\nbegun 5000 2000 3000 1 2 7\n" + enter(1, form=1) +
                                      enter(1, form=1).replace("4000 0 0 0", "4000 5000 0 0"),
}
BAD = {
    "less, under the same ASID": BEGUN + enter(1) + LESS + enter(1),
    "another entry, under the same ASID": BEGUN + enter(1) + "change 7000 3 %x 8067\n" % WRITABLE + enter(1),
    "cleared, under the same ASID": BEGUN + enter(1) + "cleared 7000\n" + enter(1),
    "a link went, under the same ASID": BEGUN + enter(1) + "change 5000 0 6027 0\n" + enter(1),
    "used, set up anew, under the same ASID": BEGUN + enter(1) + "change 6000 0 7027 0\n" + enter(2) + "begun 7000 2000 3000 0 1 7\n" + enter(2),
    "another root's ASID": BEGUN + "begun 8000 2000 3000 0 4 7\n" + enter(1) + enter(1, root=0x8000),
    "another vCPU's ASID": BEGUN + enter(1) + enter(1, vcpu=0xa000),
    "the host's ASID": BEGUN + enter(0),
    "it owes a flush": BEGUN + enter(1, saw=3),
    "memory was taken in the epoch": BEGUN + enter(1) + "taken 3000\n" + enter(1),
    "a root of another epoch": BEGUN + BUMP + enter(1, epoch=9, root_epoch=7),
    "a root whose table is of another epoch": BEGUN + BUMP + enter(1, epoch=9),
    "no windows are flushed": BEGUN + "bump 3000 7\n" + enter(1, epoch=9),
    "an epoch ends that is over": BEGUN + BUMP + "bump 3000 7\n",
    "an epoch begins by no step": BEGUN + enter(1, epoch=9),
    "memory was taken, and an epoch begins by no step": BEGUN + enter(1) + "taken 3000\n" + AGAIN + LINK + enter(2, epoch=9),
    "the same for one of two VMs that left": BEGUN + "begun 8000 b000 3000 0 4 7\nleave b000\ntaken 3000\n" + AGAIN + LINK + enter(2, epoch=9),
    "two guest spaces of one epoch": BEGUN + "begun 8000 b000 c000 0 4 7\n",
    "an entry in a table of another epoch": BEGUN + BUMP + FILL,
    "an entry in no table": "change 7000 3 0 9067\n",
    "an entry changed by no step": BEGUN + "change 7000 3 8067 0\n",
    "a link two levels down": SET_UP + "change 4000 0 0 6027\n",
    "a link to another VM's table": SET_UP + "begun 8000 b000 3000 0 3 7\nchange 4000 0 0 8027\n",
    "a link to a table of another epoch": SET_UP + BUMP + AGAIN.splitlines()[0] + "\nchange 4000 0 0 5027\n",
    "a linked table is set up anew": BEGUN + "begun 7000 2000 3000 0 1 7\n",
    "a table in use ends within its epoch": BEGUN + "ended 5000 7\n",
    "a root ends within its epoch": BEGUN + enter(1) + "ended 4000 7\n",
    "a root of the wrong level": BEGUN + enter(1, root=0x5000),
    "a root of another VM": BEGUN + enter(1, vm=0xb000),
    "a PAE root gets another entry": "begun 4000 2000 3000 1 2 7\nbegun 5000 2000 3000 1 2 7\n" + enter(1, form=1) + enter(1, form=1, root=0x5000),
}


def breaches(text):
    return epochs.Replay().run(epochs.parse(text)).breaches


@pytest.mark.parametrize("name", GOOD)
def test_steps_that_the_model_allows_are_taken(name):
    assert breaches(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_steps_that_the_model_does_not_allow_are_found(name):
    assert len(breaches(BAD[name])) >= 1


def test_the_steps_of_the_replay_are_the_models():
    assert epochs.strangers(epochs.table_of()) == []


def test_a_step_that_the_model_has_no_more_is_a_stranger():
    table = epochs.table_of()
    table["flush"] = "epoch.pml", ["inline bump(c)", "window[c] = ELSEWHERE"]
    assert epochs.strangers(table) == ["epoch.pml: 'window[c] = ELSEWHERE' does not stand where flush has it"]
    del table["fill"]
    assert any("no step fill" in line for line in epochs.strangers(table))


def test_places_that_the_trace_stands_at_are_there():
    text = (layout.ROOT / "tests/verify/epoch_trace.py").read_text()
    sources = "".join((layout.ROOT / path).read_text() for path in layout.find("kernel/**/*.c"))
    names = [word.split('"')[1] for word in text.split("for function, tell in ")[1].split("):")[0].split("(") if '"' in word]
    assert len(names) == 9 and all("void %s(" % n in sources for n in names)
