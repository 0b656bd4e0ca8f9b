/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulator: fetch, segments, page faults, atomicity of memory operands. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include <string.h>

#include "check.h"
#include "machine.h"

#define BASE 0x10000ull
#define DATA (BASE + PAGE_BYTES)
#define FAULT_EVENT(vector, code)                                                                            \
    (EVENT_MAKE(vector, EVENT_EXCEPTION) | EVENT_HAS_ERROR | (uint64_t)(code) << 32)

static struct machine m;

TEST(fetch_takes_the_next_page_only_if_the_instruction_goes_on_there)
{
    machine_init(&m, BASE);
    m.rights[1] = PAGE_ABSENT;
    m.cpu.rip = DATA - 1;
    CHECK_EQ(RUN(&m, 0x90), X86_DONE);
    CHECK_EQ(m.cpu.rip, DATA);
    m.cpu.rip = DATA - 1;
    machine_put(&m, DATA - 1, 1, 0x0f);
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_PF, X86_ACCESS_FETCH));
    CHECK_EQ(m.out.cr2, DATA);
    m.rights[1] = PAGE_READONLY;
    machine_put(&m, DATA, 1, 0x0b);
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_UD, EVENT_EXCEPTION));
}

TEST(fetch_beyond_the_code_segment_is_gp)
{
    machine_init(&m, BASE);
    machine_protected(&m);
    m.cpu.seg[SEG_CS].limit = (uint32_t)(BASE + 2);
    CHECK_EQ(RUN(&m, 0x66, 0x89, 0xc8), X86_DONE);
    CHECK_EQ(m.cpu.rip, BASE + 3);
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
    m.cpu.rip = BASE;
    CHECK_EQ(RUN(&m, 0xb8, 1, 0, 0, 0), X86_FAULT); /* begins inside */
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
}

TEST(fetch_at_an_address_that_is_not_canonical_is_gp)
{
    machine_init(&m, BASE);
    m.cpu.rip = 1ull << 47;
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
}

TEST(instruction_longer_than_15_bytes_is_gp)
{
    machine_init(&m, BASE);
    CHECK_EQ(RUN(&m, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e,
                 0x90),
             X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
}

TEST(unknown_instruction_is_reported_with_its_bytes)
{
    machine_init(&m, BASE);
    struct x86_cpu before = m.cpu;
    CHECK_EQ(RUN(&m, 0x0f, 0xae, 0x00), X86_UNKNOWN); /* FXSAVE */
    CHECK_EQ(m.out.nbytes, 15);
    CHECK_EQ(m.out.bytes[1], 0xae);
    CHECK_EQ(m.out.insn.length, 3);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
}

TEST(write_to_a_readonly_page_faults_and_changes_nothing)
{
    machine_init(&m, BASE);
    m.rights[1] = PAGE_READONLY;
    m.cpu.gpr[RDI] = DATA;
    struct x86_cpu before = m.cpu;
    CHECK_EQ(RUN(&m, 0x48, 0x01, 0x07), X86_FAULT); /* add %rax, (%rdi) */
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_PF, X86_ACCESS_WRITE | 1));
    CHECK_EQ(m.out.cr2, DATA);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
    CHECK_EQ(m.writes, 0);
    CHECK_EQ(m.calls, 1); /* already the read asks for the right to write */
}

TEST(access_of_user_code_is_a_user_access)
{
    machine_init(&m, BASE);
    m.cpu.cpl = 3;
    m.cpu.gpr[RDI] = DATA;
    CHECK_EQ(RUN(&m, 0x48, 0x8b, 0x07), X86_DONE);
    CHECK_EQ(m.last_access, X86_ACCESS_USER);
    CHECK_EQ(RUN(&m, 0x48, 0x89, 0x07), X86_DONE);
    CHECK_EQ(m.last_access, X86_ACCESS_USER | X86_ACCESS_WRITE);
}

TEST(memory_operand_that_is_not_canonical_is_gp_or_ss)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RBP] = m.cpu.gpr[RDI] = (1ull << 47) - 4; /* crosses the hole */
    CHECK_EQ(RUN(&m, 0x48, 0x8b, 0x07), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
    CHECK_EQ(RUN(&m, 0x48, 0x8b, 0x45, 0x00), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_SS, 0));
}

TEST(fs_base_counts_in_64_bit_code_and_ds_base_does_not)
{
    machine_init(&m, BASE);
    m.cpu.seg[SEG_FS].base = PAGE_BYTES;
    m.cpu.seg[SEG_DS].base = 2 * PAGE_BYTES;
    m.cpu.gpr[RDI] = BASE;
    machine_put(&m, DATA, 8, 0x1122334455667788);
    CHECK_EQ(RUN(&m, 0x64, 0x48, 0x8b, 0x07), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RAX], 0x1122334455667788);
    m.cpu.gpr[RDI] = DATA;
    CHECK_EQ(RUN(&m, 0x48, 0x8b, 0x1f), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RBX], 0x1122334455667788);
}

/* In 32-bit code: attributes, limit, offset of a 4-byte access, write, what comes of it. */
TEST(segment_rules_of_protected_mode)
{
    static const struct {
        uint16_t attributes;
        uint32_t limit;
        uint32_t offset;
        bool write;
        enum x86_result result;
    } row[] = {
        { 0x0c93, 0x3, 0x0, true, X86_DONE },
        { 0x0c93, 0x2, 0x0, false, X86_FAULT },
        { 0x0c93, ~0u, 0x1000, true, X86_DONE },
        { 0x0c91, ~0u, 0x1000, true, X86_FAULT }, /* read-only */
        { 0x0c91, ~0u, 0x1000, false, X86_DONE },
        { 0x0c13, ~0u, 0x1000, false, X86_FAULT }, /* not present */
        { 0x0c99, ~0u, 0x1000, false, X86_FAULT },
        { 0x0c9b, ~0u, 0x1000, false, X86_DONE }, /* code */
        { 0x0c9b, ~0u, 0x1000, true, X86_FAULT },
        { 0x0c97, 0xfff, 0xfff, false, X86_FAULT }, /* expand down */
        { 0x0c97, 0xfff, 0x1000, true, X86_DONE },
        { 0x0097, 0xfff, 0xfffd, false, X86_FAULT },
        { 0x0097, 0xfff, 0xfffc, false, X86_DONE },
        { 0x0c93, ~0u, 0xfffffffd, false, X86_FAULT }, /* wraps */
        { 0, 0, 0, false, X86_FAULT },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        machine_init(&m, BASE);
        machine_protected(&m);
        m.cpu.seg[SEG_DS].attributes = row[i].attributes;
        m.cpu.seg[SEG_DS].limit = row[i].limit;
        m.cpu.seg[SEG_DS].base = DATA - row[i].offset;
        m.cpu.gpr[RDI] = row[i].offset;
        check_note("row %u", i);
        CHECK_EQ(RUN(&m, row[i].write ? 0x89 : 0x8b, 0x07), row[i].result);
        if (row[i].result == X86_FAULT)
            CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
    }
}

TEST(real_mode_checks_the_limit_only_and_has_no_error_codes)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_DS].base = BASE;
    m.cpu.seg[SEG_DS].attributes = 0;
    m.cpu.gpr[RDI] = 0xabcd1000; /* the upper half does not count */
    CHECK_EQ(RUN(&m, 0x89, 0x05), X86_DONE);
    m.cpu.gpr[RDI] = 0xffff;
    CHECK_EQ(RUN(&m, 0x89, 0x05), X86_FAULT);
    CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION));
    m.cpu.gpr[RBP] = 0xffff;
    CHECK_EQ(RUN(&m, 0x89, 0x46, 0x00), X86_FAULT);
    CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_SS, EVENT_EXCEPTION));
}

TEST(locked_operation_tries_again_when_another_processor_was_faster)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RAX] = 5;
    m.contended = 3; /* adds 1 each */
    machine_put(&m, DATA, 8, 10);
    CHECK_EQ(RUN(&m, 0xf0, 0x48, 0x01, 0x07), X86_DONE);
    CHECK_EQ(machine_get(&m, DATA, 8), 18);
    m.contended = 1000;
    struct x86_cpu before = m.cpu;
    before.rip = m.cpu.rip;
    CHECK_EQ(RUN(&m, 0xf0, 0x48, 0x01, 0x07), X86_RETRY);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
}

TEST(xchg_with_memory_is_always_atomic)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RAX] = 5;
    m.contended = 1;
    machine_put(&m, DATA, 8, 10);
    CHECK_EQ(RUN(&m, 0x48, 0x87, 0x07), X86_DONE);
    CHECK_EQ(machine_get(&m, DATA, 8), 5);
    CHECK_EQ(m.cpu.gpr[RAX], 11);
}

TEST(cmpxchg_that_differs_still_needs_the_right_to_write)
{
    machine_init(&m, BASE);
    m.rights[1] = PAGE_READONLY;
    m.cpu.gpr[RDI] = DATA;
    CHECK_EQ(RUN(&m, 0x48, 0x0f, 0xb1, 0x0f), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_PF, X86_ACCESS_WRITE | 1));
}

TEST(cmpxchg16b_wants_alignment)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA + 8;
    CHECK_EQ(RUN(&m, 0xf0, 0x48, 0x0f, 0xc7, 0x0f), X86_FAULT);
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
    m.cpu.gpr[RDI] = DATA;
    m.cpu.gpr[RAX] = m.cpu.gpr[RDX] = 0xcccccccccccccccc;
    m.cpu.gpr[RBX] = 1;
    m.cpu.gpr[RCX] = 2;
    CHECK_EQ(RUN(&m, 0xf0, 0x48, 0x0f, 0xc7, 0x0f), X86_DONE);
    CHECK_EQ(machine_get(&m, DATA, 8), 1);
    CHECK_EQ(machine_get(&m, DATA + 8, 8), 2);
    CHECK(m.cpu.rflags & X86_FLAG_ZF);
}

TEST(sse_moves_are_handed_over_with_their_address)
{
    machine_init(&m, BASE);
    m.cpu.cr4 = X86_CR4_OSFXSR;
    m.cpu.gpr[RDI] = DATA;
    CHECK_EQ(RUN(&m, 0x44, 0x0f, 0x29, 0x0f), X86_SPECIAL); /* movaps %xmm9, (%rdi) */
    CHECK_EQ(m.out.insn.op, X86_SSE_STORE);
    CHECK_EQ(m.out.insn.operand[1].reg, 9);
    CHECK_EQ(m.out.linear, DATA);
    CHECK_EQ(m.cpu.rip, BASE);
    m.cpu.gpr[RDI] = DATA + 1;
    CHECK_EQ(RUN(&m, 0x66, 0x0f, 0x6f, 0x07), X86_FAULT); /* movdqa */
    CHECK_EQ(m.out.event, FAULT_EVENT(X86_VECTOR_GP, 0));
    CHECK_EQ(RUN(&m, 0xf3, 0x0f, 0x6f, 0x07), X86_SPECIAL); /* movdqu */
    CHECK_EQ(m.out.insn.op, X86_SSE_LOAD);
    m.cpu.cr0 |= X86_CR0_TS;
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_NM, EVENT_EXCEPTION));
    m.cpu.cr4 = 0;
    CHECK_EQ(machine_step(&m), X86_FAULT);
    CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_UD, EVENT_EXCEPTION));
}
