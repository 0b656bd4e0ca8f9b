# SPDX-License-Identifier: BSD-2-Clause
"""bochs as the machine (tools/umbra/bochs.py, machine.py): its configuration, and the lists of tests that go with it."""
import pytest
from umbra import bochs, layout, machine, qemu, testcmd


@pytest.fixture
def on_bochs(monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "bochs")


def test_configuration_names_memory_processor_and_ports():
    config = qemu.Config("k", memory="5G", cpu="EPYC", serials=("socket", "/tmp/log"), control="c")
    lines = bochs.text_of(config, "/f", "/f/i", ["127.0.0.1:1", "127.0.0.1:2"]).splitlines()
    assert [line for line in lines if line.startswith(("memory", "com", "cpu", "ata0-master"))] == [
        "memory: guest=5120, host=2048", "cpu: model=ryzen, count=1, ips=%d" % bochs.IPS,
        "ata0-master: type=cdrom, path=/f/i, status=inserted", "com1: enabled=1, mode=socket-client, dev=127.0.0.1:1",
        "com2: enabled=1, mode=file, dev=/tmp/log", "com4: enabled=1, mode=socket-client, dev=127.0.0.1:2"]


def test_the_kernels_log_comes_by_a_port_without_an_interrupt_line():
    config = qemu.Config("k", cmdline="log=com2 seed=3", serials=("socket", "/tmp/log"), control="c")
    lines = bochs.text_of(config, "/f", "/f/i", ["127.0.0.1:1", "127.0.0.1:2"]).splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith(("com", "port_e9"))] == ["com1", "com4", "port_e9_hack"]
    assert not bochs.logs_by_port(qemu.Config("k", serials=("socket",))) and not bochs.logs_by_port(qemu.Config(None))


def test_qemu_stays_the_machine_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv(machine.VARIABLE, raising=False)
    assert (machine.kind(), machine.patience(), machine.settings(), machine.stopping()) == ("qemu", 1, (), {})


def test_both_lists_name_tests_that_are_there(on_bochs):
    for name in machine.left_out():
        path, _, function = name.partition("::")
        assert not function or "def %s(" % function in (layout.ROOT / path).read_text(), name
        assert (layout.ROOT / path).is_file(), name
    for name, why in machine.stopping().items():
        path, _, test = name.partition("::")
        assert test in layout.tests_in(path) and why, name


def test_of_the_system_all_is_meant_that_is_not_listed(on_bochs):
    assert testcmd.on_bochs("tests/procs/test_vm.c::x") and testcmd.on_bochs("tests/system/test_iso.py::x")
    assert not testcmd.on_bochs("tests/host/test_x.c::x") and not testcmd.on_bochs("tests/system/test_nmi.py::test_x[1]")


def test_the_last_run_of_each_test_counts():
    text = "failed a::x 3 s\npassed a::y[1-2 words] 0 s\npassed a::x 1 s\nfailed a::z 0 s\npassed b::gone 0 s\n"
    assert testcmd.last_results(text, ["a::x", "a::y[1-2 words]", "a::z", "a::n"]) == [
        "red: a::z", "bochs: 2 of 4 tests green, 1 red, 1 not run yet (the last run of each)"]
