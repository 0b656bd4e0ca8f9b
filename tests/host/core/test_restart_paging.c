/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest's control registers loaded outlives the VMM that saw it, though neither memory nor an exit
 * has it any more: pointers of PAE paging, loads of CR3 that the kernel served, CR3 of a nested guest. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c tests/host/support/gmem_host.c
// USES: tests/host/core/lasting.c tests/host/core/stopped.c
#include "stopped.h"

#include <string.h>

/* --- PAE paging: pointers that memory does not hold any more --- */

#define PDPT    0x1000ull
#define CR3_OP  (CODE + 0x40) /* mov cr3, eax */
#define SECOND  0x40000000ull
#define FAULTED (EVENT_VALID | EVENT_HAS_ERROR | EVENT_EXCEPTION << 8 | 14)

/* 2 MB mapped 1:1, and once more at 1 GB. */
static void begin_pae(void)
{
    static const uint8_t load[] = { 0x0f, 0x22, 0xd8 };
    struct boot_cpu cpu;

    begin();
    memset(&now_->segment, 0, sizeof(now_->segment));
    memcpy(now_->memory + CR3_OP, load, sizeof(load));
    put64(0x2000, PT + 7);
    put64(PDPT, 0x2001);
    put64(PDPT + 8, 0x2001);
    now_->exit.kind = EXIT_START;
    now_->exit.seq = 1;
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, START_TSC), VMM_NEW);
    boot_cpu_protected(&cpu, CODE);
    cpu.cr0 |= 1u << 31;
    cpu.cr3 = PDPT;
    cpu.cr4 = 1 << 5;
    vmm_start(&vmm, &cpu);
    memcpy(now_->exit.seg, cpu.seg, sizeof(cpu.seg));
    now_->exit.rflags = cpu.rflags;
    now_->exit.rip = CR3_OP;
}

/* Whether a read at 1 GB is the guest's own page fault, for the present VMM and for one that takes over. */
static bool second_faults(void)
{
    next_exit(EXIT_PAGE, SECOND + CODE, 0);
    *before = *now_;
    handle();
    bool faults = now_->reply.event == FAULTED;
    *now_ = *before;
    another_continues();
    handle();
    CHECK_EQ(now_->reply.event == FAULTED, faults);
    return faults;
}

TEST(pae_pointers_outlive_the_vmm_that_loaded_them)
{
    begin_pae();
    CHECK_EQ(now_->segment.state.pdpte[1], 0x2001);
    CHECK(!second_faults());
    put64(PDPT + 8, 0);
    CHECK(!second_faults());
    now_->exit.gpr[RAX] = PDPT;
    next_exit(EXIT_CR, 0x13, 0);
    CHECK_LT(10, try_exit(23));
    CHECK_EQ(now_->segment.state.pdpte[1], 0);
    CHECK(second_faults());
    put64(PDPT + 8, 0x2001);
    CHECK(second_faults());
    put64(PDPT + 8, 0x2003); /* a reserved bit: #GP, and what was loaded stays */
    now_->exit.gpr[RAX] = PDPT;
    next_exit(EXIT_CR, 0x13, 0);
    handle();
    CHECK_EQ(EVENT_VECTOR(now_->reply.event), 13);
    CHECK_EQ(now_->segment.state.pdpte[0], 0x2001);
    CHECK_EQ(now_->segment.state.pdpte[1], 0);
}

/* Loads of CR3 that the kernel served while the guest ran stand in the exit page only: who takes over goes on
 * from there, wherever its predecessor stopped. */
TEST(loads_served_by_the_kernel_are_known_to_who_takes_over)
{
    static const uint8_t load[] = { 0x0f, 0x22, 0xd8 };

    begin();
    put64(0x6000, 0x2007);
    memcpy(now_->memory + CODE, load, sizeof(load));
    next_exit(EXIT_PAGE, CODE, 16);
    handle();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t cr3 = i % 2 ? 0x1000 : 0x6000;
        next_exit(EXIT_CR, 19, 0);
        now_->exit.gpr[RAX] = cr3; /* the VMM's own load: the root comes on the list */
        handle();
        CHECK_EQ(vmm.state->cr3, cr3);
        io_exit(false, 0x43, 0x34);
        now_->exit.cr3_loads = 2 * i + 1;
        now_->exit.cr3 = 0x7000 - cr3;
        try_exit(7);
        CHECK_EQ(vmm.state->cr3, 0x7000 - cr3);
        now_->exit.cr3_loads = 0;
        next_exit(EXIT_PAGE, CODE, 16); /* of a new epoch's tables */
        handle();
    }
}

/* --- nested paging: the guest loads CR3 by itself --- */

static void nested_exit(uint64_t cr3)
{
    now_->exit.valid = STATE_CONTROL;
    now_->exit.cr3 = cr3;
    now_->exit.rip = CODE;
    now_->exit.gpr[RDI] = 0x5000;
    next_exit(EXIT_NPF, 0x5000, 6);
}

TEST(cr3_that_a_nested_guest_loaded_is_known_and_outlives_its_vmm)
{
    gpa_t at;

    nesting = true;
    begin();
    CHECK_EQ(now_->reply.cr3, 0x1000);
    CHECK_EQ(now_->reply.want, STATE_SEGMENTS | STATE_CONTROL);
    put64(0x6000, 0x2007);
    nested_exit(0x6000);
    handle();
    CHECK_EQ(now_->segment.state.cr3, 0x6000);
    CHECK(shadow_holds(vmm.shadow, (gva_t){ CODE + 5 }, &at));
    CHECK_EQ(at.v, CODE + 5);
    put64(0x7000, 0);
    nested_exit(0x7000);
    vmm_begin(&vmm); /* and dies */
    CHECK_EQ(now_->segment.state.cr3, 0x7000);
    CHECK(!shadow_holds(vmm.shadow, (gva_t){ CODE }, &at));
    another_continues();
    CHECK_EQ(now_->segment.state.cr3, 0x6000); /* taken back .. */
    handle();
    CHECK_EQ(now_->segment.state.cr3, 0x7000); /* .. and the exit says it again */
    put64(0x7000, 0x2007);
    CHECK(shadow_holds(vmm.shadow, (gva_t){ CODE }, &at));
    nesting = false;
}
