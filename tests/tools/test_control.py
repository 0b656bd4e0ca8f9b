# SPDX-License-Identifier: BSD-2-Clause
"""The client of the management channel against a system that is played."""
import json
import re
import socket
import struct
import threading

import pytest
from umbra import control, layout
from umbra.errors import Failure


def test_limits_are_those_of_the_system():
    idl = (layout.ROOT / "idl/interfaces/management.idl").read_text()
    header = (layout.ROOT / "servers/control/command.h").read_text()
    assert re.search(r"UPGRADE_IMAGE_MAX = 2M;", idl) and control.IMAGE_MAX == 2 << 20
    assert int(re.search(r"UPGRADE_PIECE_MAX = (\d+);", idl)[1]) == control.PIECE
    assert int(re.search(r"LINE_MAX +(\d+)u", header)[1]) == control.LINE_MAX


@pytest.fixture
def played(tmp_path):
    """played(answer) listens; answer(request) gives the bytes to send. Returns the socket's path."""
    ends = []

    def start(answer, path=tmp_path / control.SOCKET):
        listener = socket.socket(socket.AF_UNIX)
        ends.append(listener)
        listener.bind(str(path))
        listener.listen()

        def serve():
            end, _ = listener.accept()
            ends.append(end)
            for line in end.makefile("rb"):
                if line.strip():
                    end.sendall(answer(json.loads(line)))
        threading.Thread(target=serve, daemon=True).start()
        return str(path)
    yield start
    for end in ends:
        end.close()


def reply(request, **fields):
    return json.dumps({"id": request["id"], "ok": True, **fields}).encode() + b"\n"


def test_answers_to_others_and_their_ends_are_passed_over(played):
    path = played(lambda r: b'e":"x"}\n{"id":3,"ok":true}\n7\n' + reply(r, guests=[]))
    with control.open_channel(path, 5) as channel:
        assert channel.guests() == []


def test_a_refusal_is_its_reason(played):
    path = played(lambda r: json.dumps({"id": r["id"], "ok": False, "error": "no"}).encode() + b"\n")
    with control.open_channel(path, 5) as channel, pytest.raises(control.Refused, match="^no$"):
        channel.ask("pause", guest="vmm0")


def test_no_answer_is_a_failure(played):
    with control.open_channel(played(lambda r: b""), 0.2) as channel, pytest.raises(Failure, match="no answer within 0.2 s"):
        channel.ask("list")


def test_guests_have_the_names_that_their_user_gave(played, tmp_path):
    (tmp_path / control.NOTE).write_text(json.dumps({"guests": ["web", "db"], "log": None}))
    with control.open_channel(played(lambda r: reply(r, guests=[{"name": "vmm0"}, {"name": "vmm1"}])), 5) as channel:
        assert [g["name"] for g in channel.guests()] == ["web", "db"]
        assert channel.component("db") == "vmm1" and channel.component("vmm1") == "vmm1"


def test_no_system_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="no system listens"):
        control.open_channel(str(tmp_path / "nothing"), 1)


@pytest.mark.needs("build/debug/servers/vmm.elf")
def test_a_program_loses_only_what_debuggers_read():
    data = (layout.ROOT / "build/debug/servers/vmm.elf").read_bytes()
    short = control.program_only(data)
    assert len(short) < len(data) / 3
    place, size, count = struct.unpack_from("<Q14xHH", short, 32)
    for n in range(count):
        kind, _, offset, _, _, filesz = struct.unpack_from("<IIQQQQ", short, place + n * size)
        if kind == 1:
            assert offset + filesz <= len(short)
            head = 64 if offset == 0 else 0         # where the sections' place stood
            assert short[offset + head:offset + filesz] == data[offset + head:offset + filesz]
    for nothing in (b"", b"#!/bin/sh", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(100)):
        assert control.program_only(nothing)[:6] == nothing[:6]
