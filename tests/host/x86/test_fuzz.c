/* SPDX-License-Identifier: BSD-2-Clause */
/* Random bytes through decoder and emulator in every mode: no crash, no read behind what was given (buffers
 * of exactly the right size under the address sanitizer), and what does not end in X86_DONE leaves the
 * registers as they were, wherever the bus gives up. X86_SEED and X86_COUNT change the run. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "machine.h"

static uint64_t state;
static struct machine machine;

static uint64_t next(void)
{
    state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void fill(uint8_t *bytes, unsigned n)
{
    static const uint8_t often[] = { 0x0f, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x41, 0xc4, 0x62, 0x2e, 0x64 };
    for (unsigned i = 0; i < n; i++)
        bytes[i] = next() % 4 == 0 ? often[next() % sizeof(often)] : (uint8_t)next();
}

TEST(fuzz_decoder_never_reads_behind_its_bytes)
{
    static const enum x86_mode modes[] = { X86_16, X86_32, X86_64 };
    state = number("X86_SEED", 1);
    uint64_t count = number("X86_COUNT", 100000);
    printf("# seed %lu count %lu\n", state, count);
    for (uint64_t i = 0; i < count; i++) {
        unsigned n = (unsigned)(next() % 18);
        uint8_t *bytes = malloc(n ? n : 1);
        struct x86_insn in;
        CHECK(bytes);
        fill(bytes, n);
        enum x86_decoded d = x86_decode(bytes, n, modes[i % 3], &in);
        if (d == X86_DECODED)
            CHECK(in.length >= 1 && in.length <= n && in.length <= X86_INSN_MAX && in.op < X86_OPS);
        if (d == X86_NEED_MORE)
            CHECK(in.length > n && in.length <= X86_INSN_MAX);
        free(bytes);
    }
}

static void randomize(uint64_t i)
{
    struct x86_cpu *cpu = &machine.cpu;
    machine_init(&machine, 0x10000);
    if (i % 3 == 1)
        machine_protected(&machine);
    if (i % 3 == 2)
        machine_real(&machine);
    cpu->rip = 0x100 + (i % 3 != 2 ? machine.base : 0);
    for (unsigned k = 0; k < GPRS; k++)
        cpu->gpr[k] = next() % 3 == 0 ? next() : 0x10800 + next() % 0x6000;
    cpu->rflags |= next() & (X86_FLAG_STATUS | X86_FLAG_DF | X86_FLAG_IF | X86_FLAG_TF);
    cpu->cpl = i % 3 != 2 && next() % 2 ? 3 : 0;
    cpu->shadow = next() & 1;
    machine.rights[2 + next() % 6] = (uint8_t)(next() % 3);
    machine.fail_at = next() % 3 ? (unsigned)(next() % 12) : 0;
    if (cpu->cpl && next() % 4 == 0)
        cpu->rflags |= X86_FLAG_VM;
}

/* A REP that goes on after some iterations changed what these may change. */
static bool made_progress(const struct x86_cpu *before)
{
    return machine.out.insn.rep && machine.out.insn.op >= X86_MOVS && machine.out.insn.op <= X86_OUTS &&
           before->gpr[RCX] != machine.cpu.gpr[RCX];
}

TEST(fuzz_emulator_is_all_or_nothing)
{
    state = number("X86_SEED", 1);
    uint64_t count = number("X86_COUNT", 60000), results[X86_RETRY + 1] = { 0 };
    printf("# seed %lu count %lu\n", state, count);
    for (uint64_t i = 0; i < count; i++) {
        uint8_t code[15];
        randomize(i);
        fill(code, sizeof(code));
        if (i % 8)
            code[0] = (uint8_t)next();
        struct x86_cpu before = machine.cpu;
        enum x86_result r = machine_run(&machine, code, sizeof(code));
        results[r]++;
        if (r == X86_DONE || made_progress(&before))
            continue;
        check_note("iteration %lu op %s result %u", i, x86_op_name((enum x86_op)machine.out.insn.op), r);
        CHECK_MEM_EQ(&machine.cpu, &before, sizeof(before));
        if (r == X86_FAULT)
            CHECK(machine.out.event & EVENT_VALID);
        if (r == X86_RETRY)
            CHECK(machine.fail_at);
    }
    for (unsigned r = X86_DONE; r <= X86_RETRY; r++)
        CHECK(results[r] > 0);
}
