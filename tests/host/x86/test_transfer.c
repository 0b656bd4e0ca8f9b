/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulator: stack, near and far transfers, segment registers, in real and protected mode. */
// USES: servers/vmm/x86/*.c tests/host/x86/machine.c
#include <string.h>

#include "check.h"
#include "machine.h"

#define BASE 0x10000ull
#define DATA (BASE + PAGE_BYTES)
#define GDT  (BASE + 2 * PAGE_BYTES)

static struct machine m;

static unsigned vector(void)
{
    return EVENT_VECTOR(m.out.event);
}

TEST(short_branches_64_bit)
{
    static const struct {
        uint8_t code[2];
        uint64_t rcx, flags;
        bool taken;
        uint64_t rcx_after;
    } row[] = {
        { { 0xeb, 0x10 }, 0, 0, true, 0 },
        { { 0xe2, 0x10 }, 2, 0, true, 1 },
        { { 0xe2, 0x10 }, 1, 0, false, 0 },
        { { 0xe2, 0x10 }, 0, 0, true, ~0ull },
        { { 0xe1, 0x10 }, 2, X86_FLAG_ZF, true, 1 },
        { { 0xe1, 0x10 }, 2, 0, false, 1 },
        { { 0xe0, 0x10 }, 2, X86_FLAG_ZF, false, 1 },
        { { 0xe0, 0x10 }, 2, 0, true, 1 },
        { { 0xe3, 0x10 }, 0, 0, true, 0 },
        { { 0xe3, 0x10 }, 1ull << 32, 0, false, 1ull << 32 },
        { { 0x74, 0x10 }, 0, X86_FLAG_ZF, true, 0 },
        { { 0x74, 0x10 }, 0, 0, false, 0 },
        { { 0x7f, 0x10 }, 0, X86_FLAG_SF | X86_FLAG_OF, true, 0 },
        { { 0x7f, 0x10 }, 0, X86_FLAG_SF, false, 0 },
        { { 0x72, 0x10 }, 0, X86_FLAG_CF, true, 0 },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        machine_init(&m, BASE);
        m.cpu.gpr[RCX] = row[i].rcx;
        m.cpu.rflags |= row[i].flags;
        check_note("row %u", i);
        CHECK_EQ(machine_run(&m, row[i].code, 2), X86_DONE);
        CHECK_EQ(m.cpu.rip, BASE + 2 + (row[i].taken ? 0x10 : 0));
        CHECK_EQ(m.cpu.gpr[RCX], row[i].rcx_after);
    }
}

TEST(branch_target_is_checked_before_the_push)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RAX] = 1ull << 47;
    struct x86_cpu before = m.cpu;
    CHECK_EQ(RUN(&m, 0xff, 0xd0), X86_FAULT); /* call *%rax */
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
    CHECK_EQ(m.writes, 0);
    machine_protected(&m);
    m.cpu.seg[SEG_CS].limit = (uint32_t)BASE + 0xff;
    CHECK_EQ(RUN(&m, 0xe9, 0x00, 0x01, 0, 0), X86_FAULT);
    CHECK_EQ(RUN(&m, 0x66, 0xe9, 0x10, 0x00), X86_DONE); /* IP is cut to 16 bits */
    CHECK_EQ(m.cpu.rip, (BASE + 0x14) & 0xffff);
}

TEST(real_mode_call_and_return)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_SS].base = BASE;
    m.cpu.gpr[RSP] = 0xaaaa2000;
    CHECK_EQ(RUN(&m, 0xe8, 0x10, 0x00), X86_DONE);
    CHECK_EQ(m.cpu.rip, 0x13);
    CHECK_EQ(m.cpu.gpr[RSP], 0xaaaa1ffe);
    CHECK_EQ(machine_get(&m, BASE + 0x1ffe, 2), 3);
    CHECK_EQ(RUN(&m, 0xc2, 0x04, 0x00), X86_DONE);
    CHECK_EQ(m.cpu.rip, 3);
    CHECK_EQ(m.cpu.gpr[RSP], 0xaaaa2004);
}

TEST(pusha_and_popa_wrap_and_check_first)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_SS].base = BASE;
    for (unsigned i = 0; i < 8; i++)
        m.cpu.gpr[i] = 0x100 + i;
    m.cpu.gpr[RSP] = 0x1008; /* half on page 1, half on page 0 */
    CHECK_EQ(RUN(&m, 0x60), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RSP], 0xff8);
    CHECK_EQ(machine_get(&m, BASE + 0x1006, 2), 0x100);
    CHECK_EQ(machine_get(&m, BASE + 0xffe, 2), 0x1008);
    m.cpu.gpr[RBX] = 0;
    CHECK_EQ(RUN(&m, 0x61), X86_DONE);
    CHECK_EQ(m.cpu.gpr[RSP], 0x1008);
    CHECK_EQ(m.cpu.gpr[RBX], 0x103);
    m.rights[0] = PAGE_READONLY;
    unsigned writes = m.writes;
    CHECK_EQ(RUN(&m, 0x60), X86_FAULT);
    CHECK_EQ(m.writes, writes);
    CHECK_EQ(m.cpu.gpr[RSP], 0x1008);
}

TEST(enter_copies_frame_pointers_that_it_pushed_itself)
{
    uint64_t rsp = DATA + 0x100, frame = rsp - 8;
    machine_init(&m, BASE);
    m.cpu.gpr[RSP] = rsp;
    m.cpu.gpr[RBP] = rsp - 1; /* a byte above the first push, which is the first to be copied in part */
    CHECK_EQ(RUN(&m, 0xc8, 0x20, 0x00, 0x03), X86_DONE);
    CHECK_EQ(machine_get(&m, rsp - 8, 8), rsp - 1);
    CHECK_EQ(machine_get(&m, rsp - 16, 8), (rsp - 1) << 8 | 0xcc);
    CHECK_EQ(machine_get(&m, rsp - 24, 8), (rsp - 1) << 16 | 0xcccc);
    CHECK_EQ(machine_get(&m, rsp - 32, 8), frame);
    CHECK_EQ(m.cpu.gpr[RBP], frame);
    CHECK_EQ(m.cpu.gpr[RSP], rsp - 32 - 0x20);
}

TEST(enter_pushes_nothing_if_a_frame_pointer_cannot_be_read)
{
    machine_init(&m, BASE);
    m.cpu.gpr[RBP] = GDT + 8; /* the first is there, the second is on the page before */
    m.rights[1] = PAGE_ABSENT;
    CHECK_EQ(RUN(&m, 0xc8, 0x20, 0x00, 0x03), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_PF);
    CHECK_EQ(m.out.cr2, GDT - 8);
    CHECK_EQ(m.writes, 0);
}

TEST(pop_to_memory_uses_rsp_behind_the_pop)
{
    machine_init(&m, BASE);
    uint64_t rsp = m.cpu.gpr[RSP];
    machine_put(&m, rsp, 8, 0x1122);
    CHECK_EQ(RUN(&m, 0x8f, 0x44, 0x24, 0x10), X86_DONE); /* pop 16(%rsp) */
    CHECK_EQ(machine_get(&m, rsp + 24, 8), 0x1122);
    CHECK_EQ(m.cpu.gpr[RSP], rsp + 8);
}

TEST(real_mode_far_jump_and_return)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_SS].base = BASE;
    m.cpu.gpr[RSP] = 0x2000;
    CHECK_EQ(RUN(&m, 0x9a, 0x34, 0x12, 0x00, 0x11), X86_DONE); /* lcall 0x1100:0x1234 */
    CHECK_EQ(m.cpu.seg[SEG_CS].selector, 0x1100);
    CHECK_EQ(m.cpu.seg[SEG_CS].base, 0x11000);
    CHECK_EQ(m.cpu.rip, 0x1234);
    CHECK_EQ(machine_get(&m, BASE + 0x1ffc, 4), BASE >> 4 << 16 | 5);
    CHECK_EQ(RUN(&m, 0xcb), X86_DONE);
    CHECK_EQ(m.cpu.seg[SEG_CS].base, BASE);
    CHECK_EQ(m.cpu.rip, 5);
    CHECK_EQ(m.cpu.gpr[RSP], 0x2000);
    m.cpu.gpr[RSP] = 0x8002; /* the second push reaches an absent page: CS stays */
    m.rights[7] = PAGE_ABSENT;
    struct x86_cpu before = m.cpu;
    CHECK_EQ(RUN(&m, 0x9a, 0x34, 0x12, 0x00, 0x11), X86_FAULT);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
}

TEST(real_mode_interrupt_and_return)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_SS].base = BASE;
    m.cpu.seg[SEG_IDTR] = (struct umbra_segment){ .base = DATA, .limit = 0x3ff };
    m.cpu.gpr[RSP] = 0x3000;
    m.cpu.rflags |= X86_FLAG_IF | X86_FLAG_CF;
    machine_put(&m, DATA + 4 * 0x10, 4, 0x11000020);
    CHECK_EQ(RUN(&m, 0xcd, 0x10), X86_DONE);
    CHECK_EQ(m.cpu.seg[SEG_CS].base, 0x11000);
    CHECK_EQ(m.cpu.rip, 0x20);
    CHECK_EQ(m.cpu.rflags, X86_FLAG_FIXED | X86_FLAG_CF);
    CHECK_EQ(machine_get(&m, BASE + 0x2ffe, 2), X86_FLAG_FIXED | X86_FLAG_IF | X86_FLAG_CF);
    CHECK_EQ(RUN(&m, 0xcf), X86_DONE);
    CHECK_EQ(m.cpu.rip, 2);
    CHECK(m.cpu.rflags & X86_FLAG_IF);
    CHECK_EQ(m.cpu.gpr[RSP], 0x3000);
    m.cpu.seg[SEG_IDTR].limit = 0x42;
    CHECK_EQ(RUN(&m, 0xcd, 0x10), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
}

/* A flat 32-bit machine with a GDT: 8 code, 16 data, 24 read-only data not accessed, 32 absent, 40 DPL 3, 48
 * conforming, 56 call gate. */
static void with_gdt(void)
{
    static const uint64_t gdt[] = { 0,
                                    0x00cf9b000000ffff,
                                    0x00cf93000000ffff,
                                    0x00cf90000000ffff,
                                    0x00cf13000000ffff,
                                    0x00cff3000000ffff,
                                    0x00cf9f000000ffff,
                                    0x00008c0000080000 };
    machine_init(&m, BASE);
    machine_protected(&m);
    m.cpu.seg[SEG_CS].selector = 8;
    m.cpu.seg[SEG_GDTR] = (struct umbra_segment){ .base = GDT, .limit = sizeof(gdt) - 1 };
    memcpy(&m.memory[GDT - BASE], gdt, sizeof(gdt));
}

TEST(protected_mode_data_segment_loads)
{
    static const struct {
        uint16_t selector;
        uint8_t cpl, vector; /* 0: loads */
        uint16_t code;
    } row[] = {
        { 0x10, 0, 0, 0 },
        { 0x13, 0, X86_VECTOR_GP, 0x10 }, /* RPL above DPL */
        { 0x18, 0, 0, 0 },
        { 0x20, 0, X86_VECTOR_NP, 0x20 },
        { 0x2b, 3, 0, 0 },
        { 0x10, 3, X86_VECTOR_GP, 0x10 },
        { 0x08, 0, 0, 0 },                /* readable code */
        { 0x33, 3, 0, 0 },                /* conforming */
        { 0x38, 0, X86_VECTOR_GP, 0x38 }, /* a gate */
        { 0x40, 0, X86_VECTOR_GP, 0x40 }, /* behind the table */
        { 0x14, 0, X86_VECTOR_GP, 0x14 }, /* no LDT */
        { 0x03, 0, 0, 0 },                /* null */
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        with_gdt();
        m.cpu.cpl = row[i].cpl;
        m.cpu.gpr[RAX] = row[i].selector;
        check_note("row %u", i);
        CHECK_EQ(RUN(&m, 0x8e, 0xe8), row[i].vector ? X86_FAULT : X86_DONE); /* mov %eax, %gs */
        if (row[i].vector)
            CHECK_EQ(m.out.event, EVENT_MAKE(row[i].vector, EVENT_EXCEPTION) | EVENT_HAS_ERROR |
                                      (uint64_t)row[i].code << 32);
        else
            CHECK_EQ(m.cpu.seg[SEG_GS].selector, row[i].selector);
    }
}

TEST(segment_load_sets_the_accessed_bit_as_the_processor)
{
    with_gdt();
    m.cpu.gpr[RAX] = 0x18;
    CHECK_EQ(RUN(&m, 0x8e, 0xd8), X86_DONE);
    CHECK_EQ(m.memory[GDT - BASE + 0x18 + 5], 0x91);
    CHECK_EQ(m.cpu.seg[SEG_DS].attributes, 0xc91);
    CHECK_EQ(m.cpu.seg[SEG_DS].limit, 0xffffffff);
    CHECK_EQ(m.last_access, X86_ACCESS_WRITE | X86_ACCESS_SYSTEM);
    with_gdt();
    m.rights[2] = PAGE_READONLY;
    m.cpu.gpr[RAX] = 0x18;
    struct x86_cpu before = m.cpu;
    CHECK_EQ(RUN(&m, 0x8e, 0xd8), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_PF);
    CHECK_MEM_EQ(&m.cpu, &before, sizeof(before));
}

TEST(stack_segment_loads_are_stricter)
{
    static const struct {
        uint16_t selector;
        uint8_t vector;
    } row[] = { { 0x10, 0 },
                { 0x18, X86_VECTOR_GP },
                { 0x08, X86_VECTOR_GP },
                { 0x20, X86_VECTOR_SS },
                { 0x00, X86_VECTOR_GP },
                { 0x2b, X86_VECTOR_GP } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        with_gdt();
        m.cpu.gpr[RAX] = row[i].selector;
        check_note("row %u", i);
        CHECK_EQ(RUN(&m, 0x8e, 0xd0), row[i].vector ? X86_FAULT : X86_DONE);
        if (row[i].vector)
            CHECK_EQ(vector(), row[i].vector);
    }
    with_gdt();
    CHECK_EQ(RUN(&m, 0x8e, 0xc8), X86_FAULT); /* MOV to CS */
    CHECK_EQ(vector(), X86_VECTOR_UD);
}

TEST(protected_mode_far_jumps)
{
    static const struct {
        uint16_t selector;
        enum x86_result result;
        uint8_t vector;
    } row[] = { { 0x08, X86_DONE, 0 },
                { 0x30, X86_DONE, 0 },
                { 0x10, X86_FAULT, X86_VECTOR_GP },
                { 0x00, X86_FAULT, X86_VECTOR_GP },
                { 0x0b, X86_FAULT, X86_VECTOR_GP },
                { 0x38, X86_UNKNOWN, 0 } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        with_gdt();
        check_note("row %u", i);
        CHECK_EQ(RUN(&m, 0xea, 0x00, 0x10, 0x01, 0x00, (uint8_t)row[i].selector, 0x00), row[i].result);
        if (row[i].result == X86_FAULT)
            CHECK_EQ(vector(), row[i].vector);
        if (row[i].result != X86_DONE)
            continue;
        CHECK_EQ(m.cpu.rip, 0x11000);
        CHECK_EQ(m.cpu.seg[SEG_CS].selector, row[i].selector);
    }
}

TEST(far_return_to_another_level_is_not_emulated)
{
    with_gdt();
    machine_put(&m, m.cpu.gpr[RSP], 8, 0x0000000800011000);
    CHECK_EQ(RUN(&m, 0xcb), X86_DONE);
    CHECK_EQ(m.cpu.rip, 0x11000);
    with_gdt();
    machine_put(&m, m.cpu.gpr[RSP], 8, 0x0000002b00011000);
    CHECK_EQ(RUN(&m, 0xcb), X86_UNKNOWN);
    m.cpu.cpl = 3;
    machine_put(&m, m.cpu.gpr[RSP], 8, 0x0000003000011000); /* conforming, but RPL 0 */
    CHECK_EQ(RUN(&m, 0xcb), X86_FAULT);
    CHECK_EQ(vector(), X86_VECTOR_GP);
    CHECK_EQ(RUN(&m, 0xcf), X86_UNKNOWN); /* IRET */
    CHECK_EQ(RUN(&m, 0xcd, 0x80), X86_UNKNOWN);
}

TEST(leaving_real_mode_the_linux_way)
{
    with_gdt();
    machine_real(&m); /* then PE is set, CS still the real one */
    m.cpu.seg[SEG_GDTR] = (struct umbra_segment){ .base = GDT, .limit = 0x3f };
    m.cpu.cr0 = X86_CR0_PE;
    CHECK_EQ(RUN(&m, 0x66, 0xea, 0x00, 0x10, 0x01, 0x00, 0x08, 0x00), X86_DONE); /* ljmpl 8, 0x11000 */
    CHECK_EQ(m.cpu.rip, 0x11000);
    CHECK_EQ(x86_mode(&m.cpu), X86_32);
}

TEST(load_far_pointer)
{
    machine_init(&m, BASE);
    machine_real(&m);
    m.cpu.seg[SEG_DS].base = BASE;
    m.cpu.gpr[RDI] = 0x1000;
    machine_put(&m, DATA, 4, 0x12345678);
    CHECK_EQ(RUN(&m, 0xc4, 0x1d), X86_DONE); /* les (%di), %bx */
    CHECK_EQ(m.cpu.gpr[RBX], 0x5678);
    CHECK_EQ(m.cpu.seg[SEG_ES].base, 0x12340);
    CHECK_EQ(RUN(&m, 0x0f, 0xb4, 0x1d), X86_DONE); /* lfs */
    CHECK_EQ(m.cpu.seg[SEG_FS].selector, 0x1234);
}
