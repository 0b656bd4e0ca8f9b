/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM stopped at any instruction while it handles an exit: who takes over leaves state, guest memory and
 * answer as if nothing had been (I7, I8). The VMM runs in a child that is single-stepped and killed; what
 * outlives it is shared memory, as on the target. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c tests/host/support/gmem_host.c
#include "servers/vmm/core/vmm.h"
#undef CHECK
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <tests/host/support/gmem_host.h>
#include <unistd.h>

#define MEMORY_PAGES 32u
#define TABLES       64u
#define START_TSC    1000000ull
#define CODE         0x10000ull
#define STORE        CODE
#define EXCHANGE     (CODE + 0x20)
#define PT           0x4000ull

/* What outlives a VMM. */
struct lasting {
    struct vmm_segment segment;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    uint8_t memory[MEMORY_PAGES * PAGE_BYTES];
};

static struct lasting *now_, *before, *after, *copy;
static struct gmem *host;
static cptr_t caps[TABLES];
static struct cpuid_host cpuid;
static struct vmm vmm;
static struct vmm_setup setup;
static bool nesting; /* the guests are on nested paging */

static struct lasting *shared(void)
{
    void *p = mmap(NULL, sizeof(struct lasting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void incarnate(void)
{
    static struct shadow_tuning tuning;

    tuning = shadow_default_tuning();
    tuning.unsync_born = 0; /* so that writes to tables are emulated */
    static void *shadow_memory;

    if (!shadow_memory)
        shadow_memory = aligned_alloc(64, (shadow_bytes(TABLES, MEMORY_PAGES) + 63) & ~63ul);
    setup = (struct vmm_setup){ .segment = &now_->segment,
                                .exit = &now_->exit,
                                .reply = &now_->reply,
                                .window = now_->memory,
                                .memory_bytes = sizeof(now_->memory),
                                .tables = caps,
                                .table_count = TABLES,
                                .shadow_memory = shadow_memory,
                                .nested = nesting,
                                .tuning = &tuning,
                                .cpuid = &cpuid,
                                .tsc_hz = 1000000000,
                                .seconds = 1767225600 };
    CHECK(vmm_init(&vmm, &setup));
    vmm.mem.context = host->context;
}

static void put64(uint64_t at, uint64_t value)
{
    memcpy(now_->memory + at, &value, 8);
}

/* A guest in long mode with 2 MB mapped 1:1 by one table, in ring 0 at CODE. */
static void begin(void)
{
    static const uint8_t store[] = { 0x48, 0x89, 0x07 }, exchange[] = { 0x48, 0x87, 0x07 }; /* [rdi], rax */
    struct boot_cpu cpu;

    now_ = shared();
    before = calloc(1, sizeof(*before));
    after = calloc(1, sizeof(*after));
    copy = calloc(1, sizeof(*copy));
    host = gmem_host_new(MEMORY_PAGES);
    free(host->base);
    host->base = now_->memory;
    for (unsigned i = 0; i < TABLES; i++)
        caps[i] = 100 + i;
    incarnate();
    now_->exit = (struct umbra_exit_page){ .kind = EXIT_START, .seq = 1, .epoch = 7, .tsc = START_TSC };
    CHECK_EQ(vmm_resume(&vmm, &setup, START_TSC), VMM_NEW);
    put64(0x1000, 0x2007);
    put64(0x2000, 0x3007);
    put64(0x3000, PT + 7);
    for (uint64_t i = 0; i < 512; i++)
        put64(PT + 8 * i, (i << 12) + 7);
    memcpy(now_->memory + STORE, store, sizeof(store));
    memcpy(now_->memory + EXCHANGE, exchange, sizeof(exchange));
    boot_cpu_long(&cpu, CODE);
    cpu.cr3 = 0x1000;
    vmm_start(&vmm, &cpu);
    memcpy(now_->exit.seg, cpu.seg, sizeof(cpu.seg));
    now_->exit.rflags = cpu.rflags;
    now_->exit.rip = cpu.rip;
}

/* --- exits --- */

static void next_exit(enum exit_kind kind, uint64_t info0, uint64_t info1)
{
    struct umbra_exit_page *x = &now_->exit;

    x->kind = kind;
    x->seq++;
    x->tsc += 1000 + x->seq * 77;
    x->info[0] = info0;
    x->info[1] = info1;
}

static void io_exit(bool in, uint16_t port, uint32_t rax)
{
    now_->exit.gpr[RAX] = rax;
    next_exit(EXIT_IO, (uint64_t)port << 16 | 1 << 4 | in, CODE + 1);
}

/* The instruction at rip writes rax to the table entry that maps page i; the table must be known by an access
 * before. */
/* With RF set the exchange is emulated: it would be left to the guest, depending on what the tables hold. */
static void table_exit(uint64_t rip, unsigned i, uint64_t rax)
{
    now_->exit.rip = rip;
    now_->exit.rflags &= ~(uint64_t)X86_FLAG_RF;
    now_->exit.rflags |= rip == EXCHANGE ? X86_FLAG_RF : 0;
    now_->exit.gpr[RDI] = PT + 8 * i;
    now_->exit.gpr[RAX] = rax;
    next_exit(EXIT_PAGE, PT + 8 * i, 3);
}

static void handle(void)
{
    vmm_begin(&vmm);
    if (vmm_handle(&vmm) != VMM_RUNS)
        abort();
    vmm_commit(&vmm);
}

/* --- stopping --- */

/* A child that handles the pending exit, stopped before its first instruction. */
static pid_t child_begins(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        handle();
        _exit(0);
    }
    waitpid(child, &status, 0);
    CHECK(WIFSTOPPED(status));
    return child;
}

/* It goes on for n instructions. False: it is done. */
static bool child_steps(pid_t child, unsigned n)
{
    int status = 0;

    for (unsigned i = 0; i < n; i++) {
        ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
        waitpid(child, &status, 0);
        if (!WIFSTOPPED(status))
            return false;
    }
    return true;
}

static void check_same(unsigned n)
{
    check_note("stopped after %u instructions of exit %llu, kind %u", n, (unsigned long long)now_->exit.seq,
               now_->exit.kind);
    CHECK_MEM_EQ(&now_->segment.state, &after->segment.state, VMM_STATE_WORDS * 8);
    CHECK_MEM_EQ(now_->memory, after->memory, sizeof(now_->memory));
    CHECK_MEM_EQ(now_->reply.gpr, after->reply.gpr, sizeof(now_->reply.gpr));
    CHECK_EQ(now_->reply.rip, after->reply.rip);
    CHECK_EQ(now_->reply.event, after->reply.event);
}

/* What the child has left up to now, in another place, is taken over. A new incarnation may first have to
 * show the guest its memory again: then the guest makes the same exit once more. */
static void take_over(unsigned n)
{
    incarnate();
    CHECK(vmm_resume(&vmm, &setup, now_->exit.tsc) == VMM_CONTINUES);
    handle();
    for (unsigned again = 0; again < 3 && now_->exit.kind == EXIT_PAGE && !(now_->reply.groups & STATE_RIP);
         again++) {
        now_->exit.seq++;
        handle();
    }
    check_same(n);
}

/* The pending exit, undisturbed and stopped after every step-th instruction. Ends as undisturbed. */
static unsigned try_exit(unsigned step)
{
    struct lasting *shared_one = now_;
    unsigned n = 0;

    *before = *now_;
    pid_t child = child_begins();
    handle();
    *after = *now_;
    *now_ = *before;
    now_ = copy;
    do {
        *copy = *shared_one;
        take_over(n);
        n += step;
    } while (child_steps(child, step));
    now_ = shared_one;
    *now_ = *after; /* whoever comes goes on from there */
    incarnate();
    next_exit(EXIT_EVENT, 0, 0);
    CHECK(vmm_resume(&vmm, &setup, now_->exit.tsc) == VMM_CONTINUES);
    handle();
    return n / step;
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
        incarnate();
        CHECK(vmm_resume(&vmm, &setup, now_->exit.tsc) == VMM_CONTINUES);
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
    incarnate();
    CHECK(vmm_resume(&vmm, &setup, now_->exit.tsc) == VMM_CONTINUES);
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

/* --- guest memory that was written before the death --- */

static uint64_t get64(uint64_t at)
{
    uint64_t value;

    memcpy(&value, now_->memory + at, 8);
    return value;
}

/* As emulation does: first written down, then written. */
static void write_guest(uint64_t at, uint64_t value)
{
    CHECK(undo_guest(&vmm.undo, (gpa_t){ at }, get64(at), value, 8));
    put64(at, value);
}

TEST(writes_to_the_same_place_are_taken_back_to_the_first)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    for (uint64_t i = 2; i < 5; i++)
        write_guest(0x5000, i);
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(get64(0x5000), 1);
}

/* The second VMM does the exit in another way, and dies, too: what the first one had written down is not
 * taken for the second one's. */
TEST(writes_of_two_vmms_at_one_exit_are_taken_back_to_the_first)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    write_guest(0x5000, 3);
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(get64(0x5000), 1);
    vmm_begin(&vmm);
    write_guest(0x5000, 3);
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(get64(0x5000), 1);
}

/* A device or another processor of the guest wrote there after the VMM that died: that is not undone. */
TEST(what_another_wrote_since_stays)
{
    begin();
    put64(0x5000, 1);
    put64(0x5008, 10);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    write_guest(0x5008, 20);
    put64(0x5000, 7);
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(get64(0x5000), 7);
    CHECK_EQ(get64(0x5008), 10);
}

TEST(writes_of_an_answered_exit_stay)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x21, 0x55);
    vmm_begin(&vmm);
    write_guest(0x5000, 2);
    vmm_commit(&vmm);
    io_exit(false, 0x21, 0x56);
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(get64(0x5000), 2);
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
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
    CHECK_EQ(now_->segment.state.cr3, 0x6000); /* taken back .. */
    handle();
    CHECK_EQ(now_->segment.state.cr3, 0x7000); /* .. and the exit says it again */
    put64(0x7000, 0x2007);
    CHECK(shadow_holds(vmm.shadow, (gva_t){ CODE }, &at));
    nesting = false;
}

/* --- the clock that a guest reads in its memory --- */

#define CLOCK_AT 0x5000ull
#define WALL_AT  0x5840ull

static void wrmsr_exit(uint32_t msr, uint64_t value)
{
    static const uint8_t wrmsr[] = { 0x0f, 0x30 };

    memcpy(now_->memory + CODE, wrmsr, sizeof(wrmsr));
    now_->exit.rip = CODE;
    now_->exit.gpr[RCX] = msr;
    now_->exit.gpr[RAX] = (uint32_t)value;
    now_->exit.gpr[RDX] = value >> 32;
    next_exit(EXIT_MSR, 1, 0);
}

/* As a guest computes it (Linux, arch/x86/include/asm/pvclock.h), from the bytes of the page. */
static uint64_t clock_says(uint64_t tsc)
{
    const uint8_t *p = now_->memory + CLOCK_AT;
    int8_t shift = (int8_t)p[28];
    uint64_t delta = tsc - get64(CLOCK_AT + 8);
    uint32_t multiplier;

    memcpy(&multiplier, p + 24, 4);
    delta = shift < 0 ? delta >> -shift : delta << shift;
    return get64(CLOCK_AT + 16) + (uint64_t)((unsigned __int128)delta * multiplier >> 32);
}

static uint32_t version_at(uint64_t at)
{
    uint32_t version;

    memcpy(&version, now_->memory + at, 4);
    return version;
}

TEST(clock_page_is_written_once_whoever_dies_and_again_when_the_tsc_is_set)
{
    cpuid.enlighten = 1;
    begin();
    memset(now_->memory + CLOCK_AT, 0x55, 64);
    wrmsr_exit(0x4b564d01, CLOCK_AT | 1);
    vmm_begin(&vmm);
    CHECK_EQ(vmm_handle(&vmm), VMM_RUNS);
    uint64_t tsc = vmm.now + now_->segment.state.tsc_offset, page[4];
    memcpy(page, now_->memory + CLOCK_AT, sizeof(page));
    CHECK_EQ(clock_says(tsc), tsc); /* a nanosecond a tick, since the guest began */
    CHECK_EQ(clock_says(tsc + 123456789), tsc + 123456789);
    CHECK_EQ(version_at(CLOCK_AT) & 1, 0);
    CHECK_EQ(now_->memory[CLOCK_AT + 29], 1);
    incarnate(); /* it died */
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 5000), VMM_CONTINUES);
    CHECK_EQ(get64(CLOCK_AT + 8), 0x5555555555555555);
    handle();
    CHECK_MEM_EQ(now_->memory + CLOCK_AT, page, sizeof(page));
    uint32_t version = version_at(CLOCK_AT);
    now_->exit.tsc += 5000; /* as long as nobody served it */
    wrmsr_exit(0x10, 77);   /* the guest sets its TSC: time goes on */
    handle();
    uint64_t set = vmm.now + now_->segment.state.tsc_offset;
    CHECK_EQ(set, 77);
    CHECK_LT(tsc, clock_says(set));
    CHECK_LT(clock_says(set), tsc + 10000);
    CHECK(version_at(CLOCK_AT) != version && !(version_at(CLOCK_AT) & 1));
    wrmsr_exit(0x4b564d01, 0);
    handle();
    memcpy(page, now_->memory + CLOCK_AT, sizeof(page));
    wrmsr_exit(0x10, 78);
    handle();
    CHECK_MEM_EQ(now_->memory + CLOCK_AT, page, sizeof(page)); /* not any more */
    cpuid.enlighten = 0;
}

TEST(clock_pages_lie_in_memory_or_the_write_is_refused)
{
    uint32_t seconds;

    cpuid.enlighten = 1;
    begin();
    wrmsr_exit(0x4b564d00, WALL_AT);
    handle();
    memcpy(&seconds, now_->memory + WALL_AT + 4, 4);
    CHECK_EQ(seconds, 1767225600);
    CHECK_EQ(version_at(WALL_AT) & 1, 0);
    for (unsigned i = 0; i < 2; i++) {
        wrmsr_exit(0x4b564d00 + i, MEMORY_PAGES * PAGE_BYTES + i);
        handle();
        CHECK_EQ(now_->reply.event, EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
    }
    cpuid.enlighten = 0;
    wrmsr_exit(0x4b564d00, WALL_AT);
    handle();
    CHECK_EQ(now_->reply.event, EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
}

/* --- what was written by nobody --- */

TEST(a_changed_bit_anywhere_in_the_state_is_found)
{
    begin();
    io_exit(false, 0x21, 0x55);
    handle();
    io_exit(false, 0x21, 0x56);
    *before = *now_;
    for (unsigned i = 0; i < VMM_STATE_WORDS * 64; i += 7) {
        *now_ = *before;
        ((uint8_t *)&now_->segment.state)[i / 8] ^= 1 << i % 8;
        incarnate();
        check_note("bit %u", i);
        enum vmm_resume r = vmm_resume(&vmm, &setup, now_->exit.tsc);
        CHECK(r == VMM_CORRUPT || r == VMM_STRANGE);
    }
}

TEST(a_state_of_another_version_is_told_from_a_damaged_one)
{
    begin();
    io_exit(false, 0x21, 0x55);
    now_->segment.state.version++;
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_STRANGE);
}

TEST(a_damaged_record_is_found)
{
    begin();
    io_exit(false, 0x43, 0x34);
    vmm_begin(&vmm);
    vmm_handle(&vmm);
    CHECK_LT(0, vmm.undo.words);
    *before = *now_;
    for (unsigned k = 0; k < vmm.undo.words; k++) {
        *now_ = *before;
        now_->segment.undo.word[k].old ^= 1;
        incarnate();
        CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CORRUPT);
    }
}

/* A guest that begins again makes exits of the same numbers. */
TEST(records_of_the_guest_before_take_nothing_back)
{
    begin();
    put64(0x5000, 1);
    io_exit(false, 0x43, 0x34);
    vmm_begin(&vmm);
    vmm_handle(&vmm);
    write_guest(0x5000, 2);
    CHECK_LT(0, vmm.undo.words);
    undo_reset(&vmm.undo, now_->exit.seq - 1);
    CHECK_EQ(undo_recover(&vmm.undo, &vmm.mem, now_->exit.seq), UNDO_CLEAN);
    CHECK_EQ(get64(0x5000), 2);
}

/* --- clocks --- */

TEST(ticks_without_a_vmm_are_hidden_from_the_guest)
{
    begin();
    io_exit(true, 0x40, 0);
    uint64_t guest_tsc = now_->exit.tsc - vmm.state->hidden + vmm.state->tsc_offset;
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 123456), VMM_CONTINUES);
    handle();
    CHECK_EQ(vmm.state->hidden, 123456);
    CHECK(now_->reply.groups & STATE_TSC);
    CHECK_EQ(now_->exit.tsc + 123456 + now_->reply.tsc_offset, guest_tsc);
    CHECK_EQ(vmm_wake(&vmm), vmm.deadline == DEV_NEVER ? DEV_NEVER : vmm.deadline + 123456);
}

/* No exit was pending when the guest was stopped: the one that comes is later than the end of its time. */
TEST(ticks_after_a_stop_are_hidden_although_the_exit_came_later)
{
    begin();
    io_exit(true, 0x40, 0);
    handle();
    uint64_t stopped = now_->exit.tsc + 1000, offset = vmm.state->tsc_offset;
    io_exit(true, 0x40, 0);
    now_->exit.tsc = stopped + 5000000;
    incarnate();
    setup.stopped_at = stopped;
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 700), VMM_CONTINUES);
    setup.stopped_at = 0;
    handle();
    CHECK_EQ(vmm.now, stopped);
    CHECK_EQ(vmm.state->hidden, 5000700);
    CHECK_EQ(now_->reply.tsc_offset, offset - 5000700);
}

TEST(a_state_that_is_not_this_programs_cannot_be_read)
{
    begin();
    CHECK(vmm_can_read(&vmm));
    io_exit(true, 0x40, 0);
    incarnate();
    CHECK(vmm_can_read(&vmm));
    vmm.state->version++;
    CHECK(!vmm_can_read(&vmm));
    vmm.state->version--;
    vmm.state->magic ^= 1; /* as where another layout has something else */
    CHECK(!vmm_can_read(&vmm));
    now_->exit.seq = 1; /* a guest that begins: whatever stands there goes */
    CHECK(vmm_can_read(&vmm));
}
