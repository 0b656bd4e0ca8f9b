# SPDX-License-Identifier: BSD-2-Clause
"""Instruction lengths of the decoder against objdump, for random instructions of every opcode in 16-, 32- and
64-bit code. Only what objdump itself does not call bad is compared; every candidate has an exactly sized
buffer under the address sanitizer. X86_SEED and X86_COUNT (candidates a mode) change the run."""
import os
import random
import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SLOT = 32
MODES = {16: (2, "i8086"), 32: (4, "i386"), 64: (8, "i386:x86-64")}
LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*(?:\t(.*))?$")
# Prefixes that stand alone in objdump's output: it gave up on the instruction.
ALONE = re.compile(r"^(rex\S*|data16|addr16|addr32|data32|lock|repz|repnz|[cdefgs]s|\s)*$")

# What the decoder refuses and objdump shows: LOCK where it is not allowed, registers that do not exist,
# instructions of other makers or of extensions that no guest is offered.
REFUSED = re.compile(r"\block\b|%cr(1|[5-7]|9|1\d)\b|%db([89]|1\d)|%tr|%\?|getsec|,%cs$|"
                     r"vm(call|launch|resume|xoff|func)|xend|xtest|rstorssp|setssbsy|saveprevssp|encl|xstore|"
                     r"xcrypt|xsha|montmul|invlpgb|tlbsync|msrlist|"
                     r"serialize|xsusldtrk|xresldtrk|pconfig|wrmsrns|"
                     r"[us]ti?ui|clui|senduipi|pbndkb|seam|tdcall")


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    path = tmp_path_factory.mktemp("x86") / "length_tool"
    names = ("decode", "decode_memory", "decode_operand", "tables", "tables_0f")
    sources = [TOP / "tests/host/x86/length_tool.c"] + [TOP / f"servers/vmm/x86/{name}.c" for name in names]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["clang", "-std=gnu11", "-O1", "-g", *sanitize, f"-I{TOP}/kernel/include", f"-I{TOP}",
                    *map(str, sources), "-o", str(path)], check=True)
    return path


def candidate(rng, bits):
    count = rng.choice([0, 0, 0, 1, 1, 2])
    prefixes = bytes(rng.choices([0x66, 0x67, 0x2E, 0x64, 0x65, 0xF2, 0xF3, 0xF0], k=count))
    rex = bytes([0x40 | rng.randrange(16)]) if bits == 64 and rng.random() < 0.4 else b""
    opcode = rng.choice([b"", b"", b"\x0f", b"\x0f", b"\x0f\x38", b"\x0f\x3a"]) + bytes([rng.randrange(256)])
    return prefixes + rex + opcode + rng.randbytes(15)


def decode_all(tool, mode, codes):
    text = "".join(f"{mode} {code.hex()}\n" for code in codes)
    done = subprocess.run([str(tool)], input=text, capture_output=True, text=True, check=True)
    fields = [line.split() for line in done.stdout.splitlines()]
    return [(status, int(length), name) for status, length, name in fields]


def objdump_all(path, machine, codes):
    """The first line of each slot: (length, text)."""
    path.write_bytes(b"".join(code.ljust(SLOT, b"\x90") for code in codes))
    text = subprocess.run(["objdump", "-D", "-z", "-w", "-b", "binary", "-m", machine, str(path)],
                          capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and int(match[1], 16) % SLOT == 0:
            found[int(match[1], 16) // SLOT] = (len(match[2].split()), (match[3] or "").strip())
    return found


def judge(ours, theirs, code):
    """None if they agree or objdump does not know; else a description."""
    status, length, name = ours
    their_length, text = theirs
    if name == "OTHER" and code[length - 1] == 0x9B:  # FWAIT: objdump joins it with the next
        return None
    if "(bad)" in text or ALONE.match(text) or "bad" in text:
        return None
    if status == "invalid" and not REFUSED.search(text):
        return f"{code.hex()}: refused, objdump: {text}"
    if status == "ok" and length != their_length:
        return f"{code.hex()}: {name} length {length}, objdump {their_length}: {text}"
    return None


@pytest.mark.parametrize("bits", MODES)
def test_length_random_instructions_agree_with_objdump(tool, tmp_path, bits):
    seed, count = int(os.environ.get("X86_SEED", "1")), int(os.environ.get("X86_COUNT", "10000"))
    print(f"seed {seed} count {count}")
    rng = random.Random(seed + bits)
    mode, machine = MODES[bits]
    codes = [candidate(rng, bits)[:15] for _ in range(count)]
    ours = decode_all(tool, mode, codes)
    theirs = objdump_all(tmp_path / "code.bin", machine, codes)
    compared = [(o, theirs[i], c) for i, (o, c) in enumerate(zip(ours, codes)) if i in theirs]
    wrong = [w for w in (judge(*c) for c in compared) if w]
    agreed = sum(1 for o, t, _ in compared if o[0] == "ok" and o[1] == t[0])
    assert not wrong, f"seed {seed}: {len(wrong)} wrong\n" + "\n".join(wrong[:40])
    assert agreed > count // 2, f"only {agreed} of {count} compared"
