/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest and what outlives its VMM; see lasting.h. */
#include "lasting.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tests/host/support/gmem_host.h>

#define TABLES 64u

struct lasting *now_, *before, *after, *copy;
struct cpuid_host cpuid;
struct vmm vmm;
struct vmm_setup setup;
bool nesting;

static struct gmem *host;
static cptr_t caps[TABLES];

static struct lasting *shared(void)
{
    void *p = mmap(NULL, sizeof(struct lasting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

void incarnate(void)
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

void another_continues(void)
{
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc), VMM_CONTINUES);
}

void put64(uint64_t at, uint64_t value)
{
    memcpy(now_->memory + at, &value, 8);
}

uint64_t get64(uint64_t at)
{
    uint64_t value;

    memcpy(&value, now_->memory + at, 8);
    return value;
}

void begin(void)
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

void next_exit(enum exit_kind kind, uint64_t info0, uint64_t info1)
{
    struct umbra_exit_page *x = &now_->exit;

    x->kind = kind;
    x->seq++;
    x->tsc += 1000 + x->seq * 77;
    x->info[0] = info0;
    x->info[1] = info1;
}

void io_exit(bool in, uint16_t port, uint32_t rax)
{
    now_->exit.gpr[RAX] = rax;
    next_exit(EXIT_IO, (uint64_t)port << 16 | 1 << 4 | in, CODE + 1);
}

void handle(void)
{
    vmm_begin(&vmm);
    if (vmm_handle(&vmm) != VMM_RUNS)
        abort();
    vmm_commit(&vmm);
}
