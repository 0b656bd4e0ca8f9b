/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM stopped at any instruction while it handles an exit: who takes over leaves state, guest memory and
 * answer as if nothing had been (I7, I8). The VMM runs in a child that is single-stepped and killed; what
 * outlives it is shared memory, as on the target. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c tests/host/support/gmem_host.c
// USES: tests/host/core/lasting.c tests/host/core/stopped.c
#include "stopped.h"

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The instruction at rip writes rax to the table entry that maps page i; the table must be known by an access
 * before. With RF set the exchange is emulated: it would be left to the guest, depending on what the tables
 * hold. */
static void table_exit(uint64_t rip, unsigned i, uint64_t rax)
{
    now_->exit.rip = rip;
    now_->exit.rflags &= ~(uint64_t)X86_FLAG_RF;
    now_->exit.rflags |= rip == EXCHANGE ? X86_FLAG_RF : 0;
    now_->exit.gpr[RDI] = PT + 8 * i;
    now_->exit.gpr[RAX] = rax;
    next_exit(EXIT_PAGE, PT + 8 * i, 3);
}

TEST(port_writes_stopped_anywhere_happen_once)
{
    begin();
    static const uint16_t port[] = { 0x20, 0x21, 0x43, 0x40, 0x40, 0x3f8, 0x3f8, 0x70, 0x61, 0x1234 };
    unsigned tries = 0;
    for (unsigned i = 0; i < sizeof(port) / sizeof(port[0]); i++) {
        io_exit(false, port[i], 0x11 + i);
        tries += try_exit(7);
    }
    CHECK_LT(200, tries);
}

TEST(port_reads_with_side_effects_stopped_anywhere_happen_once)
{
    begin();
    static const uint16_t port[] = { 0x40, 0x40, 0x60, 0x3fd, 0x71, 0x1234, 0x3f8 };
    uint8_t typed[] = "ab";
    vmm_begin(&vmm);
    machine_give(&vmm.state->machine, &vmm.undo.dev, vmm.now, typed, 2);
    vmm_commit(&vmm);
    for (unsigned i = 0; i < sizeof(port) / sizeof(port[0]); i++) {
        io_exit(true, port[i], 0);
        try_exit(7);
    }
}

TEST(an_emulated_table_write_stopped_anywhere_happens_once)
{
    begin();
    static const struct {
        uint64_t rip, entry;
    } row[] = { { STORE, 0x30007 }, { STORE, 0 }, { EXCHANGE, 0x31007 }, { EXCHANGE, 0 } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        next_exit(EXIT_PAGE, CODE, 16); /* a fetch: the table gets its shadow */
        handle();
        table_exit(row[i].rip, 20, row[i].entry);
        try_exit(23);
        CHECK_EQ(now_->memory[PT + 160], row[i].entry & 0xff);
    }
}

/* All is done but the answer: done once more, the exchange must see what stood there first. */
TEST(rule_12_an_exchange_with_an_entry_is_undone_before_it_is_done_again)
{
    begin();
    next_exit(EXIT_PAGE, CODE, 16);
    handle();
    table_exit(EXCHANGE, 20, 0x30007);
    uint64_t entry, old;
    memcpy(&old, now_->memory + PT + 160, 8);
    for (unsigned deaths = 0; deaths < 3; deaths++) {
        vmm_begin(&vmm);
        CHECK_EQ(vmm_handle(&vmm), VMM_RUNS);
        another_continues();
        memcpy(&entry, now_->memory + PT + 160, 8);
        CHECK_EQ(entry, old);
    }
    handle();
    if (now_->exit.kind == EXIT_PAGE && !(now_->reply.groups & STATE_RIP)) { /* its tables are new */
        now_->exit.seq++;
        handle();
    }
    memcpy(&entry, now_->memory + PT + 160, 8);
    CHECK_EQ(entry, 0x30007);
    CHECK_EQ(now_->reply.gpr[RAX], old);
}

/* The child is itself a successor: it begins with what another left in the middle. */
TEST(a_stop_of_the_successor_is_survived_too)
{
    begin();
    io_exit(false, 0x43, 0x34);
    *before = *now_;
    vmm_begin(&vmm);
    vmm_handle(&vmm);
    CHECK_LT(1, vmm.undo.words);
    *copy = *now_; /* all changed, nothing committed */
    *now_ = *before;
    handle();
    *after = *now_;
    struct lasting *shared_one = now_;
    *now_ = *copy;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        incarnate();
        raise(SIGSTOP);
        vmm_resume(&vmm, &setup, now_->exit.tsc);
        handle();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    unsigned n = 0;
    now_ = copy;
    do {
        *copy = *shared_one;
        take_over(n++);
    } while (child_steps(child, 37));
    CHECK_LT(100, n);
}
