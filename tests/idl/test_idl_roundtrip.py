# SPDX-License-Identifier: BSD-2-Clause
"""Client stub -> loopback -> dispatch -> implementation and back, under sanitizers, for every type there is.

Random valid values arrive unchanged; changed and random messages never get a value past the checks."""
import re

import pytest

from idl_support import ROOT, SANITIZE, build, generate
import idl_harness
from umbra_idl.check import check
from umbra_idl.diagnostics import Report
from umbra_idl.parser import load

HERE = ROOT / "tests/idl"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The built program for the interface with every type."""
    folder = tmp_path_factory.mktemp("every")
    done = generate(HERE / "every_type.idl", folder)
    assert done.returncode == 0, done.stderr
    report = Report()
    face = check(load(HERE / "every_type.idl", report), report).interfaces["every"]
    (folder / "harness.c").write_text(idl_harness.program(face))
    out = folder / "program"
    build("clang", [folder / "harness.c", folder / "every_client.c", folder / "every_server.c"], out,
          *SANITIZE)
    return out


def counts(text):
    return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", text)}


def test_random_values_arrive_unchanged_both_ways(program, run_program):
    c = counts(run_program(program, "round", 1, 3000))
    assert c["bad"] == 0
    # All procedures but those with contracts (3 of 13) always succeed.
    assert c["accepted"] >= 3000 * 10 and c["impl"] >= c["accepted"]


def test_changed_requests_never_reach_the_implementation_with_a_wrong_value(program, run_program):
    c = counts(run_program(program, "request", 2, 3000))
    assert c["bad"] > 3000 and c["impl"] > 3000


def test_changed_answers_never_crash_the_client(program, run_program):
    assert counts(run_program(program, "answer", 3, 3000))["impl"] > 0


def test_random_words_are_answered_bad_message(program, run_program):
    c = counts(run_program(program, "noise", 4, 300000))
    assert c["impl"] >= c["accepted"] > 0


CASES = r"""
#include "every_server.h"
#include <stdio.h>
#include <stdlib.h>
#define EXPECT(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); exit(1); } } while (0)
static err_t answer = ERR_OK, negative_answer = ERR_OK, transport[2];
static uint64_t last_value;
static bool silent;
static unsigned calls, sent;
err_t umbra_transport_call(cptr_t ep, struct umbra_message *m)
{
    (void)ep;
    err_t e = sent < 2 ? transport[sent] : ERR_OK;
    sent++;
    if (e == ERR_OK)
        every_dispatch(m, 0);
    return e;
}
err_t every_contract_impl(void *self, uint64_t badge, uint64_t first, uint64_t count, const uint8_t *data,
                          uint32_t data_len, bool strict, uint64_t *last)
{
    (void)self, (void)badge, (void)first, (void)count, (void)data, (void)data_len, (void)strict;
    calls++;
    *last = last_value;
    return answer;
}
err_t every_negative_impl(void *self, uint64_t badge, uint32_t a, uint32_t b)
{
    (void)self, (void)badge, (void)a, (void)b;
    calls++;
    return negative_answer;
}
err_t every_large_impl(void *self, uint64_t badge, uint64_t a, uint64_t b, uint8_t *c)
{
    (void)self, (void)badge, (void)a, (void)b;
    calls++;
    if (!silent)
        *c = 1;
    return answer;
}
static err_t contract(uint64_t first, uint64_t count, uint32_t len, bool strict)
{
    static const uint8_t data[9];
    uint64_t last;
    sent = 0;
    return every_contract(1, first, count, data, len, strict, &last);
}
int main(void)
{
    uint8_t c;
    last_value = 5;
    EXPECT(contract(5, 1, 0, false) == ERR_OK && calls == 1 && sent == 1);
    /* requires: exact integers, a sum does not wrap; the second clause counts too; nothing is sent. */
    EXPECT(contract(0xffffffffffffffffull, 2, 0, false) == ERR_CONTRACT && sent == 0);
    EXPECT(contract(39, 2, 0, false) == ERR_CONTRACT && sent == 0);
    EXPECT(contract(5, 0, 0, false) == ERR_CONTRACT && sent == 0);
    EXPECT(contract(5, 1, 5, false) == ERR_CONTRACT && contract(5, 1, 5, true) == ERR_OK);
    EXPECT(contract(5, 1, 9, true) == ERR_RANGE && sent == 0);
    /* ensures: checked by the server, so the client never sees the value. */
    last_value = 6;
    EXPECT(contract(5, 1, 0, false) == ERR_CONTRACT && sent == 1);
    last_value = 4;
    EXPECT(contract(5, 1, 0, false) == ERR_CONTRACT);
    /* errors: declared ones pass, own ones too, others become CONTRACT */
    last_value = 5;
    answer = EVERY_ERR_FULL;
    EXPECT(contract(5, 1, 0, false) == EVERY_ERR_FULL);
    answer = ERR_RANGE;
    EXPECT(contract(5, 1, 0, false) == ERR_RANGE);
    answer = ERR_NO_MEMORY;
    EXPECT(contract(5, 1, 0, false) == ERR_CONTRACT);
    answer = ERR_OK;
    /* idempotent: sent once more after the server went away; other errors and procedures are not. */
    transport[0] = ERR_CANCELLED;
    EXPECT(contract(5, 1, 0, false) == ERR_OK && sent == 2);
    sent = 0;
    EXPECT(every_negative(1, 0, 0) == ERR_CANCELLED && sent == 1);
    transport[1] = ERR_CANCELLED;
    EXPECT(contract(5, 1, 0, false) == ERR_CANCELLED && sent == 2);
    transport[0] = ERR_NO_CAP;
    EXPECT(contract(5, 1, 0, false) == ERR_NO_CAP && sent == 1);
    transport[0] = transport[1] = ERR_OK;
    /* unused bits are zero: a value has one form */
    struct umbra_message m = { .tag = TAG(EVERY_CONTRACT_LABEL, 3), .w = { 5, 1, 0 } };
    calls = 0;
    every_dispatch(&m, 0);
    EXPECT(TAG_LABEL(m.tag) == ERR_OK && calls == 1);
    m = (struct umbra_message){ .tag = TAG(EVERY_CONTRACT_LABEL, 3), .w = { 5, 1, BIT(24) } };
    every_dispatch(&m, 0);
    EXPECT(m.tag == TAG(ERR_BAD_MESSAGE, 0) && calls == 1);
    m = (struct umbra_message){ .tag = TAG(EVERY_CONTRACT_LABEL, 4), .w = { 5, 1, 1, 0x7f } };
    every_dispatch(&m, 0);
    EXPECT(TAG_LABEL(m.tag) == ERR_OK && calls == 2);
    m = (struct umbra_message){ .tag = TAG(EVERY_CONTRACT_LABEL, 4), .w = { 5, 1, 1, 0x100 } };
    every_dispatch(&m, 0);
    EXPECT(m.tag == TAG(ERR_BAD_MESSAGE, 0) && calls == 2);
    /* a signal is no message; another version or procedure is none of this interface */
    m = (struct umbra_message){ .tag = TAG(EVERY_CONTRACT_LABEL, 3) | TAG_SIGNAL, .w = { 5, 1, 0 } };
    every_dispatch(&m, 0);
    EXPECT(m.tag == TAG(ERR_BAD_MESSAGE, 0));
    m = (struct umbra_message){ .tag = TAG(EVERY_CONTRACT_LABEL + 0x100, 3), .w = { 5, 1, 0 } };
    every_dispatch(&m, 0);
    EXPECT(m.tag == TAG(ERR_BAD_MESSAGE, 0) && calls == 2);
    /* negative numbers and products beyond 64 bits */
    EXPECT(every_negative(1, 3, 5) == ERR_OK && every_negative(1, 12, 2) == ERR_CONTRACT);
    EXPECT(every_negative(1, 0, 0xffffffff) == ERR_OK);
    negative_answer = EVERY_ERR_FULL; /* no errors: not even one of the interface's */
    EXPECT(every_negative(1, 0, 0) == ERR_CONTRACT);
    EXPECT(every_large(1, 0xffffffffffffffffull, 0xffffffffffffffffull, &c) == ERR_CONTRACT);
    EXPECT(every_large(1, 1, 0, &c) == ERR_OK && every_large(1, 3, 9, &c) == ERR_CONTRACT);
    /* an output that the implementation forgets is 0, not what lay on its stack */
    silent = true;
    m = (struct umbra_message){ .tag = TAG(EVERY_LARGE_LABEL, 2), .w = { 1, 0 } };
    every_dispatch(&m, 0);
    EXPECT(m.tag == TAG(ERR_OK, 1) && m.w[0] == 0);
    puts("ok");
    return 0;
}
"""


def test_contracts_errors_and_resending_on_the_interface_with_every_type(tmp_path, run_program):
    """Only three implementations are needed here, so the others are cut out of the interface."""
    text = (HERE / "every_type.idl").read_text()
    kept = re.sub(r"(?ms)^    (// Nothing at all\.\n    )?procedure (?!negative|large).*?;\n", "", text)
    (tmp_path / "every_type.idl").write_text(kept)
    assert generate(tmp_path / "every_type.idl", tmp_path).returncode == 0
    (tmp_path / "cases.c").write_text(CASES)
    sources = [tmp_path / f for f in ("cases.c", "every_client.c", "every_server.c")]
    # What nobody sets is then not 0 by chance.
    build("clang", sources, tmp_path / "cases", *SANITIZE, "-ftrivial-auto-var-init=pattern")
    assert run_program(tmp_path / "cases") == "ok\n"


def test_each_value_has_exactly_one_form(tmp_path, run_program):
    """A request of another length is refused, and no bit of it goes unnoticed."""
    (tmp_path / "forms.idl").write_text("interface forms version 1 { procedure put(in bool flag, in bytes<20> s, "
                                        "in u16[<=5] a, in string<9> t); }")
    assert generate(tmp_path / "forms.idl", tmp_path).returncode == 0
    build("clang", [HERE / "forms.c", tmp_path / "forms_client.c", tmp_path / "forms_server.c"], tmp_path / "forms",
          *SANITIZE)
    run_program(tmp_path / "forms")


@pytest.mark.parametrize("compiler,level", [("gcc", "-O2"), ("gcc", "-O0"), ("clang", "-O2")])
def test_generated_c_compiles_without_warnings(compiler, level, tmp_path):
    assert generate(HERE / "every_type.idl", tmp_path).returncode == 0
    for source in tmp_path.glob("*.c"):
        build(compiler, [source], tmp_path / "x.o", level, "-c")


def test_small_calls_stay_in_registers(tmp_path):
    """Four words hold what four words can hold: u64 u32 u16 u16 u8.. need no more than their bytes."""
    (tmp_path / "s.idl").write_text("interface s version 1 { procedure p(in u8 a, in u64 b, in u16 c, "
                                    "in u32 d, in bool e, in u64 f, in u64 g); }")
    assert generate(tmp_path / "s.idl", tmp_path).returncode == 0
    assert "TAG(S_P_LABEL, 4)" in (tmp_path / "s_client.c").read_text()


def test_output_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        assert generate(HERE / "every_type.idl", tmp_path / name).returncode == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
