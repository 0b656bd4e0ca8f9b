/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: one instruction through the emulator, on any registers, rights of pages, and with a bus that
 * gives up at any of its calls.
 *
 * Oracles: what does not end in X86_DONE leaves registers as they were (a REP: as its last whole iteration),
 * and memory, too, unless the bus sent back one of several pushes that it had promised to take; the same step
 * gives the same answer; an instruction that was sent back does, done again, what it would have done at once
 * (unless it reads where it had pushed; see sees_its_pushes); RIP goes on by the length where nothing jumps.
 */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include "support/fuzz.h"

#include "check.h"
#include "tests/host/x86/machine.h"

#include <string.h>

#define BASE 0x10000ull

static struct machine start, once, twice, whole;

static uint64_t register_value(struct fuzz_input *in)
{
    uint8_t b = fuzz_byte(in);
    if (b < 0x80) /* somewhere in memory */
        return BASE + b * (sizeof(start.memory) / 0x80);
    return b < 0xf0 ? BASE + PAGE_BYTES * (b % MACHINE_PAGES) - 8 + (b >> 4) : fuzz_value(in);
}

/* No two places near each other hold the same. */
static void fill_memory(struct machine *m)
{
    for (unsigned i = 0; i < sizeof(m->memory); i++)
        m->memory[i] = (uint8_t)((i * 0x9e3779b1u) >> 24);
}

static void make_start(struct fuzz_input *in)
{
    uint8_t mode = fuzz_byte(in), bits = fuzz_byte(in), rights = fuzz_byte(in), fail = fuzz_byte(in);
    struct x86_cpu *cpu = &start.cpu;

    machine_init(&start, BASE);
    fill_memory(&start);
    if (mode % 3 == 1)
        machine_protected(&start);
    if (mode % 3 == 2)
        machine_real(&start);
    cpu->rip = 0x100 + (mode % 3 != 2 ? BASE : 0);
    cpu->cpl = mode % 3 != 2 && mode & 0x40 ? 3 : 0;
    cpu->rflags |= (bits & 1 ? X86_FLAG_CF : 0) | (bits & 2 ? X86_FLAG_ZF : 0) |
                   (bits & 4 ? X86_FLAG_AF : 0) | (bits & 8 ? X86_FLAG_SF | X86_FLAG_PF : 0) |
                   (bits & 16 ? X86_FLAG_OF : 0) | (bits & 32 ? X86_FLAG_DF : 0) |
                   (bits & 64 ? X86_FLAG_IF : 0) | (bits & 128 ? X86_FLAG_TF : 0) |
                   (cpu->cpl && mode & 0x80 ? X86_FLAG_VM : 0);
    cpu->shadow = rights >> 7;
    start.rights[2 + (rights & 3)] = rights >> 2 & 3 ? PAGE_READONLY : PAGE_ABSENT;
    start.rights[MACHINE_PAGES - 1] = rights & 0x10 ? PAGE_ABSENT : PAGE_WRITABLE;
    start.fail_at = fail & 0x80 ? fail & 63 : 0;
    start.contended = fail & 0x40 ? 1 : 0;
    if (rights & 0x20)
        cpu->seg[SEG_GS].base = fuzz_value(in);
    if (rights & 0x40)
        cpu->cr4 = fuzz_value(in);
    for (unsigned k = 0; k < GPRS; k++)
        cpu->gpr[k] = register_value(in);
}

static enum x86_result step(struct machine *m, const uint8_t *code, unsigned n)
{
    return n ? machine_run(m, code, n) : machine_step(m);
}

static bool may_jump(uint8_t op)
{
    return (op >= X86_CALL && op <= X86_ICEBP) || op == X86_OTHER;
}

/* A REP that goes on after some iterations. */
static bool made_progress(const struct machine *before, const struct machine *m)
{
    return m->out.insn.rep && m->out.insn.op >= X86_MOVS && m->out.insn.op <= X86_OUTS &&
           before->cpu.gpr[RCX] != m->cpu.gpr[RCX];
}

static void check_undone(const struct machine *before, const struct machine *m, enum x86_result r)
{
    CHECK_MEM_EQ(&m->cpu, &before->cpu, sizeof(m->cpu));
    if (r == X86_FAULT)
        CHECK(m->out.event & EVENT_VALID);
    if (r ==
        X86_RETRY) /* at a call that was to succeed: several pushes may be done in part, until done again */
        CHECK(before->fail_at);
    else
        CHECK_MEM_EQ(m->memory, before->memory, sizeof(m->memory));
}

static void check_done(const struct machine *before, const struct machine *m)
{
    uint64_t ones = x86_mode(&before->cpu) == X86_64   ? ~0ull
                    : x86_mode(&before->cpu) == X86_32 ? ~0u
                                                       : 0xffff;
    const struct x86_insn *in = &m->out.insn;

    CHECK(in->length >= 1 && in->length <= X86_INSN_MAX);
    if (!may_jump(in->op) && !(in->rep && in->op >= X86_MOVS && in->op <= X86_OUTS) && in->op != X86_MOV_CR &&
        in->op != X86_LMSW)
        CHECK_EQ((m->cpu.rip - before->cpu.rip) & ones, in->length);
}

static uint8_t *code_of(struct machine *m)
{
    return &m->memory[m->cpu.rip + (x86_mode(&m->cpu) == X86_64 ? 0 : m->cpu.seg[SEG_CS].base) - BASE];
}

/* ENTER copies frame pointers from where a later push of it goes. */
static bool copies_pushes_to_come(const struct x86_cpu *cpu, const struct x86_insn *in)
{
    bool big = (cpu->seg[SEG_SS].attributes & X86_SEG_DB) && !(cpu->rflags & X86_FLAG_VM);
    uint64_t ones = in->mode == X86_64 ? ~0ull : big ? ~0u : 0xffff;
    uint64_t below = (cpu->gpr[RSP] - cpu->gpr[RBP]) & ones;

    return in->op == X86_ENTER && below && below < ((in->imm2 & 31) + 1u) * in->opsize;
}

/* Sent back after a push, it reads the second time what it pushed the first time: as a processor does if such
 * a push faults (tried: AMD EPYC). Here probes come before, so that only a bus that takes back what it
 * promised brings it about. */
static bool sees_its_pushes(struct machine *before, struct machine *m)
{
    return memcmp(m->memory, before->memory, sizeof(m->memory)) != 0 &&
           (copies_pushes_to_come(&before->cpu, &m->out.insn) ||
            memcmp(code_of(m), code_of(before), m->out.insn.length) != 0);
}

/* The same instruction again, on a bus that does not give up, is as if it had been so at once. */
static void check_again(const uint8_t *code, unsigned n)
{
    memcpy(&whole, &start, sizeof(start));
    whole.fail_at = once.fail_at = 0;
    whole.contended = once.contended;
    enum x86_result r = step(&whole, code, n);
    CHECK_EQ(machine_step(&once), r);
    CHECK_MEM_EQ(&once.cpu, &whole.cpu, sizeof(whole.cpu));
    CHECK_MEM_EQ(once.memory, whole.memory, sizeof(whole.memory));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input in = { bytes, bytes + size };

    make_start(&in);
    unsigned n = fuzz_left(&in) < X86_INSN_MAX ? (unsigned)fuzz_left(&in) : X86_INSN_MAX;
    memcpy(code_of(&start), in.at, n); /* so that putting it there again changes nothing */
    memcpy(&once, &start, sizeof(start));
    memcpy(&twice, &start, sizeof(start));
    enum x86_result r = step(&once, in.at, n);
    CHECK_EQ(step(&twice, in.at, n), r);
    CHECK_MEM_EQ(&once.cpu, &twice.cpu, sizeof(once.cpu));
    CHECK_MEM_EQ(once.memory, twice.memory, sizeof(once.memory));
    check_note("op %s result %u", x86_op_name((enum x86_op)once.out.insn.op), r);
    if (r == X86_DONE)
        check_done(&start, &once);
    else if (!made_progress(&start, &once))
        check_undone(&start, &once, r);
    if (r == X86_RETRY && !made_progress(&start, &once) && !sees_its_pushes(&start, &once))
        check_again(in.at, n);
    return 0;
}
