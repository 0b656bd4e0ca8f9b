# SPDX-License-Identifier: BSD-2-Clause
"""The pure parts of the console: patterns, prefixes, keys, typing, sharing a line."""
import pytest
from umbra import console


@pytest.mark.parametrize("regex,parts,matches", [
    ("login: $", [b"x login", b": "], True),
    ("^# ", [b"a\r\n", b"# "], True),
    ("a.*b", [b"a\n", b"b\n"], False),
    ("^end$", [b"start\nend\nmore"], True),
    ("\u00e9", [b"\xc3", b"\xa9"], True),
    ("^ab$", [b"a\rb"], True),
    ("x", [b"\xff\xfe"], False),
])
def test_pattern_sees_the_present_line(regex, parts, matches):
    watcher = console.Watcher(regex)
    assert any([watcher.feed(part) for part in parts]) == matches


def test_lines_of_two_guests_do_not_mix():
    lines = console.Lines(["a", "b"])
    assert lines.feed(0, b"one\r\ntw", 0) == b"a|one\n"
    assert lines.feed(1, b"B1\n", 0.1) == b"b|B1\n"
    assert lines.idle(0.2) == b""
    assert lines.idle(0.4) == b"a|tw"
    assert lines.feed(0, b"o", 0.5) == b""
    assert lines.feed(1, b"B2\n", 0.6) == b"\nb|B2\n"
    assert lines.finish() == b"a|two\n"


def test_a_line_that_another_guest_interrupts_is_whole_in_the_end():
    lines = console.Lines(["a", "b"])
    lines.feed(0, b"verify sto", 0)
    assert lines.idle(1) == b"a|verify sto"
    assert lines.feed(1, b"B\n", 1) == b"\nb|B\n"
    assert lines.feed(0, b"rm ok\nnext\n", 2) == b"a|verify storm ok\na|next\n"
    lines.feed(0, b"x" * 2000, 3)
    assert lines.idle(4) == b"a|" + b"x" * 2000
    lines.feed(1, b"B\n", 4)
    assert lines.feed(0, b"y\n", 5) == b"a|y\n"


def test_a_shown_prompt_is_continued_without_a_second_prefix():
    lines = console.Lines(["a"])
    lines.feed(0, b"# ", 0)
    assert lines.idle(1) == b"a|# "
    assert lines.feed(0, b"ls\n", 2) == b"ls\n"
    assert lines.finish() == b""


@pytest.mark.parametrize("parts,found", [
    ([b"ls\r"], [("type", b"ls\r")]),
    ([b"\x01x"], [("quit", b"")]),
    ([b"a\x01", b"Xb"], [("type", b"a"), ("quit", b""), ("type", b"b")]),
    ([b"\x01a\x01\x01"], [("type", b"\x01\x01")]),
    ([b"\x01c\x01H\x01?"], [("switch", b""), ("help", b""), ("help", b"")]),
    ([bytes(range(2, 256))], [("type", bytes(range(2, 256)))]),
])
def test_keys(parts, found):
    keys = console.Keys()
    assert [event for part in parts for event in keys.feed(part)] == found


def test_script_waits_for_a_prompt():
    script = console.Script(b"one\ntwo", 0)
    assert script.next(10) == b""
    script.heard(b"booting\n", 11)
    assert script.next(12) == b""
    script.heard(b"# ", 13)
    assert script.next(13.2) == b""
    assert script.next(13.6) == b"one\n"
    assert script.next(14.2) == b""
    assert script.next(17) == b"two"
    assert script.next(100) == b""


def test_shared_line_round_trip():
    typed, line = console.Shared(3), console.Shared(3)
    wire = typed.send(0, b"a") + typed.send(2, b"b\xff") + typed.send(2, b"c") + typed.send(0, b"d")
    assert line.receive(wire) == [(0, b"a"), (2, b"b\xffc"), (0, b"d")]


def test_a_line_of_one_guest_is_not_touched():
    line = console.Shared(1)
    assert line.receive(b"\xff\x01x") == [(0, b"\xff\x01x")]
    assert line.send(0, b"\xff") == b"\xff"
