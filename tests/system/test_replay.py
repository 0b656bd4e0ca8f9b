# SPDX-License-Identifier: BSD-2-Clause
"""Recordings of VMMs (`run --record`) that the core of this tree runs again on the host (`test replay`)."""
import pathlib
import random
import re
import subprocess

import pytest
from test_restart import dies
from umbra import guest, layout, ninjafile, replay

DIES_AT = 3000          # early in Linux's boot
TYPED = 24 * "poweroff -f\n"     # the first that finds a shell; while a slow guest boots some are typed in vain
NEEDED = [layout.REPLAY_OUTPUT]
pytestmark = pytest.mark.needs(*NEEDED)
SUMMARY = re.compile(r"^replay: (\d+) exits and (\d+) accesses to guest memory of (\d+) VMMs? in (\d+) bytes: the same$", re.M)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A file for the recording that several tests use."""
    return tmp_path_factory.mktemp("replay") / "crash"


@pytest.fixture
def crash(kept, headless):
    """A recording of a guest every VMM of which dies at one exit."""
    if not kept.is_file():
        outcome = headless("--record", kept, *dies("delivery", at=DIES_AT, every=0))
        assert "every VMM dies at exit %d" % DIES_AT in outcome.kernel_log, outcome.said
    return kept


def changed_core(folder, path, old, new):
    """The program that replays, with one place of one of its sources changed."""
    program = layout.host_tools()[0]
    text = (layout.ROOT / path).read_text()
    assert text.count(old) == 1, "%s no longer has one %r" % (path, old)
    source, made = folder / "changed.c", folder / "changed.o"
    source.write_text(text.replace(old, new))
    subprocess.run(["gcc", *program.flags, "-iquote", pathlib.Path(path).parent, "-c", source, "-o", made], cwd=layout.ROOT, check=True)
    objects = [made if s == path else ninjafile.object_of(program, s) for s in program.sources]
    subprocess.run(["gcc", "-o", folder / "changed", *objects, *program.link], cwd=layout.ROOT, check=True)
    return folder / "changed"


def test_linux_over_dying_vmms_replays_the_same(headless, tmp_path):
    path = tmp_path / "recording"
    outcome = headless("--record", path, "--kernel", guest.kernel("cloud-amd64"), "--initrd", guest.initramfs(), "--append",
                       guest.APPEND, *dies("store", "reply", "delivery", at=2, every=397, stores=7),
                       typed=TYPED)
    assert outcome.status == 0, outcome.said
    done = replay.replay(path)
    exits, accesses, vmms, size = map(int, SUMMARY.search(done.stdout).groups())
    taken_over = outcome.kernel_log.count("has taken over at exit")
    assert done.returncode == 0 and vmms == 1 + taken_over and taken_over >= 10, done.stdout[-2000:]
    assert exits > 20000 and accesses > exits and size < 150 * exits, done.stdout
    assert "within a record" not in done.stdout     # all of it was written


def test_crash_is_reproduced_up_to_the_death(crash):
    done = replay.replay(crash)
    deaths = re.findall(r"^replay: the recorded VMM died or was stopped in exit (\d+) \((\w+), ", done.stdout, re.M)
    assert [int(n) for n, _ in deaths] == 3 * [DIES_AT] and done.returncode == 0, done.stdout
    assert SUMMARY.search(done.stdout)[1] == str(DIES_AT - 1) and SUMMARY.search(done.stdout)[3] == "3"


@pytest.mark.parametrize("path, old, new, verdict", [
    ("servers/vmm/shadow/shadow.c", ".prefetch = 32", ".prefetch = 16",
     r"exit \d+ \(page, rip \w+\): recorded: read_bytes of \d+ bytes at \w+; the core: read_bytes of \d+ bytes at \w+"),
    ("servers/vmm/core/quick.c", "    reply->rip = next;\n    return true;", "    reply->rip = next + (x->seq > 2000);\n    return true;",
     r"exit 2\d\d\d \(io, rip \w+\): answer, word \d+ \(rip\): recorded: \w+; the core: \w+"),
    ("servers/vmm/dev/pit.c", "DEV_SET(ctx, c->next, decode_count(c, value));", "DEV_SET(ctx, c->next, decode_count(c, value) + 1);",
     r"exit \d+ \((io, rip \w+\): answer, word \d+ \(general register\)|\w+, rip \w+\): the sum over the state): recorded: \w+; the core: \w+"),
    ], ids=("tuning", "answer", "device"))
def test_first_difference_of_a_changed_core_is_told(crash, tmp_path, path, old, new, verdict):
    done = replay.replay(crash, changed_core(tmp_path, path, old, new))
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 1 and re.fullmatch("replay: " + verdict, last), done.stdout


def test_core_that_dies_names_the_exit(crash, tmp_path):
    done = replay.replay(crash, changed_core(tmp_path, "servers/vmm/core/exits.c", "v->ops.count = v->ops.last = 0;",
                                             "v->ops.count = v->ops.last = v->exit->seq == 1500 ? *(uint32_t *)8 : 0;"))
    assert done.returncode == 99 and "replay: the core of this tree dies in exit 1500 (" in done.stderr, done.stderr


def test_what_is_no_recording_is_one_line(tmp_path):
    cases = {b"": "byte 0: the file is empty", b"MZ and more": "byte 1: no record begins with this byte",
             b"\1and more": "byte \\d+: this is no recording",
             b"\1\xffUMBRECRD\1": "the file ends within its first record"}
    for content, line in cases.items():
        (tmp_path / "file").write_bytes(content)
        done = replay.replay(tmp_path / "file")
        assert (done.returncode, done.stderr) == (2, "") and re.fullmatch("replay: .*%s\n" % line, done.stdout), done.stdout
    done = subprocess.run(["/usr/bin/python3", "build.py", "test", "--no-install", "replay", tmp_path / "file"],
                          cwd=layout.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "replay: byte 11: the file ends within its first record\n"), done.stderr


def test_changed_recording_has_a_verdict(crash, tmp_path):
    """The reader's bounds are the host test's matter; here the core gets exits and memory that no guest made."""
    chance, whole = random.Random(1), crash.read_bytes()[:100000]
    for number in range(60):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 2, 5))):
            changed[chance.randrange(len(whole) if number % 2 else 400)] = chance.randrange(256)
        (tmp_path / "file").write_bytes(changed)
        done = replay.replay(tmp_path / "file")
        assert done.returncode in (0, 1, 2) and done.stderr == "" and done.stdout.splitlines()[-1].startswith("replay: ")


def test_record_goes_with_the_default_system_only(words, tmp_path):
    done = subprocess.run([*words, "tiny", "--record", tmp_path / "file"], cwd=layout.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and re.fullmatch("build.py: --record does not go with system tiny.*\n", done.stderr)
