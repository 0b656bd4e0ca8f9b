/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulator: system instructions, privileges, interrupt shadow, what is left to the caller. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include <string.h>

#include "check.h"
#include "machine.h"

#define BASE 0x10000ull
#define DATA (BASE + PAGE_BYTES)

static struct machine m;

static unsigned vector(void)
{
    return EVENT_VECTOR(m.out.event);
}

TEST(mov_cr_reads_and_writes)
{
    machine_init(&m, BASE);
    m.cpu.cr2 = 0x1234567890;
    CHECK_EQ(RUN(&m, 0x41, 0x0f, 0x20, 0xd0), X86_DONE); /* mov %cr2, %r8 */
    CHECK_EQ(m.cpu.gpr[R8], 0x1234567890);
    m.cpu.gpr[R8] = 0x80050033;
    CHECK_EQ(RUN(&m, 0x41, 0x0f, 0x22, 0xc0), X86_DONE); /* mov %r8, %cr0 */
    CHECK_EQ(m.cr, 0);
    CHECK_EQ(m.cr_value, 0x80050033);
    CHECK_EQ(m.cpu.rip, BASE + 8);
    m.cpu.gpr[RAX] = ~0ull;
    uint64_t rip = m.cpu.rip;
    CHECK_EQ(RUN(&m, 0x0f, 0x22, 0xe0), X86_FAULT); /* the bus refuses */
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_EQ(m.cpu.rip, rip);
}

TEST(clts_and_lmsw_are_writes_of_cr0)
{
    machine_init(&m, BASE);
    m.cpu.cr0 |= X86_CR0_TS;
    uint64_t cr0 = m.cpu.cr0;
    CHECK_EQ(RUN(&m, 0x0f, 0x06), X86_DONE);
    CHECK_EQ(m.cr_value, cr0 & ~X86_CR0_TS);
    m.cpu.gpr[RAX] = 0xfff0 | X86_CR0_MP; /* cannot clear PE */
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xf0), X86_DONE);
    CHECK_EQ(m.cr_value, X86_CR0_PG | X86_CR0_PE | X86_CR0_MP);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xe3), X86_DONE); /* smsw %ebx */
    CHECK_EQ(m.cpu.gpr[RBX], m.cpu.cr0);
}

TEST(lmsw_enters_protected_mode)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.gpr[RAX] = X86_CR0_PE;
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xf0), X86_DONE);
    CHECK_EQ(m.cr_value, X86_CR0_PE);
}

TEST(msr_access_goes_through_the_bus)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RCX] = 0xffffffffc0000080; /* ECX counts */
    m.cpu.gpr[RDX] = 0x1111111100000002;
    m.cpu.gpr[RAX] = 0x2222222200000003;
    CHECK_EQ(RUN(&m, 0x0f, 0x30), X86_DONE);
    CHECK_EQ(m.msr, 0xc0000080);
    CHECK_EQ(m.msr_value, 0x200000003);
    CHECK_EQ(RUN(&m, 0x0f, 0x32), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RAX], 3);
    CHECK_EQ(m.cpu.gpr[RDX], 2);
    m.cpu.gpr[RCX] = ~0u;
    CHECK_EQ(RUN(&m, 0x0f, 0x32), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
}

TEST(privileged_instructions_at_cpl_3_are_gp)
{
    static const uint8_t code[][3] = {
        { 0xf4 },             /* hlt */
        { 0x0f, 0x06 },       /* clts */
        { 0x0f, 0x08 },       /* invd */
        { 0x0f, 0x09 },       /* wbinvd */
        { 0x0f, 0x30 },       /* wrmsr */
        { 0x0f, 0x32 },       /* rdmsr */
        { 0x0f, 0x20, 0xc0 }, /* mov %cr0, %rax */
        { 0x0f, 0x22, 0xd8 }, /* mov %rax, %cr3 */
        { 0x0f, 0x21, 0xf8 }, /* mov %dr7, %rax */
        { 0x0f, 0x01, 0x38 }, /* invlpg */
        { 0x0f, 0x01, 0x10 }, /* lgdt */
        { 0x0f, 0x01, 0xf0 }, /* lmsw */
        { 0x0f, 0x01, 0xf8 }, /* swapgs */
        { 0xfa },             /* cli */
        { 0x0f, 0x33 },       /* rdpmc */
    };
    for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
        machine_init(&m, BASE);
        m.cpu.cpl = 3;
        check_note("row %u", i);
        CHECK_EQ(machine_run(&m, code[i], 3), X86_FAULT);
        CHECK_EQ(m.out.event, EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
    }
}

TEST(specials_are_handed_over_with_their_length)
{
    static const struct {
        uint8_t code[3], length, op;
    } row[] = {
        { { 0x0f, 0xa2 }, 2, X86_CPUID },        { { 0x0f, 0x31 }, 2, X86_RDTSC },
        { { 0x0f, 0x01, 0xf9 }, 3, X86_RDTSCP }, { { 0x0f, 0x09 }, 2, X86_WBINVD },
        { { 0x0f, 0x08 }, 2, X86_INVD },         { { 0xf3, 0x90 }, 2, X86_PAUSE },
        { { 0x0f, 0x01, 0xd8 }, 3, X86_SVM },    { { 0x0f, 0x01, 0xf8 }, 3, X86_SWAPGS },
        { { 0x0f, 0x05 }, 2, X86_SYSCALL },      { { 0x0f, 0x01, 0xc8 }, 3, X86_MONITOR },
        { { 0x0f, 0x01, 0xd1 }, 3, X86_XSETBV },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        machine_init(&m, BASE);
        m.cpu.cr4 = X86_CR4_OSXSAVE;
        struct x86_cpu before = m.cpu;
        check_note("row %u", i);
        CHECK_EQ(machine_run(&m, row[i].code, 3), X86_SPECIAL);
        CHECK_EQ(m.out.insn.op, row[i].op);
        CHECK_EQ(m.out.insn.length, row[i].length);
        CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
    }
    CHECK_EQ(RUN(&m, 0xf4), X86_HALT);
}

TEST(rdtsc_obeys_tsd_and_xsetbv_osxsave)
{
    machine_init(&m, BASE);
    m.cpu.cpl = 3;
    CHECK_EQ(RUN(&m, 0x0f, 0x31), X86_SPECIAL);
    m.cpu.cr4 = X86_CR4_TSD;
    CHECK_EQ(RUN(&m, 0x0f, 0x31), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xd1), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_UD);
}

TEST(retire_ends_shadow_and_resume_flag)
{
    machine_init(&m, BASE);
    m.cpu.shadow = 1;
    m.cpu.rflags |= X86_FLAG_RF;
    CHECK(!x86_retire(&m.cpu, 2));
    CHECK_EQ(m.cpu.rip, BASE + 2);
    CHECK_EQ(m.cpu.shadow, 0);
    CHECK(!(m.cpu.rflags & X86_FLAG_RF));
    m.cpu.rflags |= X86_FLAG_TF;
    CHECK(x86_retire(&m.cpu, 2));
    machine_protected(&m);
    m.cpu.rip = 0xffffffff;
    x86_retire(&m.cpu, 2);
    CHECK_EQ(m.cpu.rip, 1);
}

TEST(sti_shadows_one_instruction_only_when_it_sets_if)
{
    machine_init(&m, BASE);
    CHECK_EQ(RUN(&m, 0xfb, 0x90), X86_DONE);
    CHECK_EQ(m.cpu.shadow, 1);
    CHECK(m.cpu.rflags & X86_FLAG_IF);
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK_EQ(m.cpu.shadow, 0);
    CHECK_EQ(RUN(&m, 0xfb), X86_DONE);
    CHECK_EQ(m.cpu.shadow, 0);
}

TEST(mov_ss_shadows_interrupts_and_the_single_step_trap)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.rflags |= X86_FLAG_TF;
    m.cpu.gpr[RAX] = 0x1234;
    CHECK_EQ(RUN(&m, 0x8e, 0xd0, 0x90), X86_DONE);
    CHECK_EQ(m.cpu.seg[SEG_SS].base, 0x12340);
    CHECK_EQ(m.cpu.shadow, 1);
    CHECK(!m.out.step_trap);
    CHECK_EQ(machine_step(&m), X86_DONE);
    CHECK_EQ(m.cpu.shadow, 0);
    CHECK(m.out.step_trap);
}

TEST(cli_and_popf_obey_iopl)
{
    machine_init(&m, BASE);
    m.cpu.cpl = 3;
    m.cpu.rflags |= X86_FLAG_IF | X86_FLAG_IOPL;
    CHECK_EQ(RUN(&m, 0xfa), X86_DONE);
    CHECK(!(m.cpu.rflags & X86_FLAG_IF));
    m.cpu.rflags = X86_FLAG_FIXED | X86_FLAG_IF;
    machine_put(&m, m.cpu.gpr[RSP], 8, X86_FLAG_CF | X86_FLAG_IOPL | X86_FLAG_VM);
    CHECK_EQ(RUN(&m, 0x9d), X86_DONE);
    CHECK_EQ(m.cpu.rflags, X86_FLAG_FIXED | X86_FLAG_IF | X86_FLAG_CF);
    m.cpu.cpl = 0;
    machine_put(&m, m.cpu.gpr[RSP], 8, X86_FLAG_IOPL | X86_FLAG_RF | X86_FLAG_NT);
    CHECK_EQ(RUN(&m, 0x9d), X86_DONE);
    CHECK_EQ(m.cpu.rflags, X86_FLAG_FIXED | X86_FLAG_IOPL | X86_FLAG_NT);
}

TEST(pushf_hides_vm_and_rf)
{
    machine_init(&m, BASE);
    m.cpu.rflags |= X86_FLAG_RF | X86_FLAG_ID;
    CHECK_EQ(RUN(&m, 0x9c), X86_DONE);
    CHECK_EQ(machine_get(&m, m.cpu.gpr[RSP], 8), X86_FLAG_FIXED | X86_FLAG_ID);
}

TEST(debug_registers)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RAX] = 0xffffffff;
    CHECK_EQ(RUN(&m, 0x0f, 0x23, 0xf0), X86_DONE); /* DR6 */
    CHECK_EQ(m.cpu.dr6, 0xffffefff);
    m.cpu.gpr[RAX] = 0;
    CHECK_EQ(RUN(&m, 0x0f, 0x23, 0xe8), X86_DONE); /* DR5 is DR7 */
    CHECK_EQ(m.cpu.dr7, 0x400);
    m.cpu.cr4 = X86_CR4_DE;
    CHECK_EQ(RUN(&m, 0x0f, 0x23, 0xe8), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_UD);
    m.cpu.gpr[RAX] = 1ull << 32;
    CHECK_EQ(RUN(&m, 0x0f, 0x23, 0xf8), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_EQ(RUN(&m, 0x0f, 0x23, 0xd8), X86_DONE);
    CHECK_EQ(m.cpu.dr[3], 1ull << 32);
    m.cpu.dr7 |= X86_DR7_GD;
    CHECK_EQ(RUN(&m, 0x0f, 0x21, 0xd8), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_DB);
    CHECK_EQ(m.out.dr6, X86_DR6_BD);
}

TEST(invlpg_gives_its_linear_address)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA + 5;
    m.cpu.seg[SEG_GS].base = 0x1000;
    CHECK_EQ(RUN(&m, 0x65, 0x0f, 0x01, 0x3f), X86_DONE);
    CHECK_EQ(m.invlpg, DATA + 0x1005);
    m.cpu.gpr[RDI] = 1ull << 50;
    m.invlpg = 0;
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x3f), X86_DONE); /* not canonical: nothing */
    CHECK_EQ(m.invlpg, 0);
}

TEST(descriptor_tables_store_and_load)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.seg[SEG_GDTR] = (struct umbra_segment){ .base = 0xffff800012345678, .limit = 0x7f };
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x07), X86_DONE); /* sgdt */
    CHECK_EQ(machine_get(&m, DATA, 2), 0x7f);
    CHECK_EQ(machine_get(&m, DATA + 2, 8), 0xffff800012345678);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x1f), X86_DONE); /* lidt */
    CHECK_EQ(m.cpu.seg[SEG_IDTR].base, 0xffff800012345678);
    CHECK_EQ(m.cpu.seg[SEG_IDTR].limit, 0x7f);
    machine_put(&m, DATA + 2, 8, 1ull << 47);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x17), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
    machine_real(&m);
    m.cpu.seg[SEG_DS].base = BASE;
    m.cpu.gpr[RDI] = 0x1000;
    machine_put(&m, DATA + 2, 4, 0xff123456);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x15), X86_DONE); /* 16-bit operand: 24 bits */
    CHECK_EQ(m.cpu.seg[SEG_GDTR].base, 0x123456);
    m.cpu.rip = 0;
    CHECK_EQ(RUN(&m, 0x66, 0x0f, 0x01, 0x15), X86_DONE);
    CHECK_EQ(m.cpu.seg[SEG_GDTR].base, 0xff123456);
}

TEST(umip_hides_tables_from_user_code)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RDI] = DATA;
    m.cpu.cpl = 3;
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x07), X86_DONE);
    m.cpu.cr4 = X86_CR4_UMIP;
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0x07), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_EQ(RUN(&m, 0x0f, 0x00, 0xc0), X86_FAULT); /* sldt */
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xe0), X86_FAULT); /* smsw */
}

TEST(clac_and_stac)
{
    machine_init(&m, BASE);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xcb), X86_DONE);
    CHECK(m.cpu.rflags & X86_FLAG_AC);
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xca), X86_DONE);
    CHECK(!(m.cpu.rflags & X86_FLAG_AC));
    m.cpu.cpl = 3;
    CHECK_EQ(RUN(&m, 0x0f, 0x01, 0xca), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_UD);
}
