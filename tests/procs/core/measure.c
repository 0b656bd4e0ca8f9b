/* SPDX-License-Identifier: BSD-2-Clause */
/* See measure.h. Counters are read while the OUT before or after a sample is handled: outside of what is
 * timed. They are averages over all samples of the row, of one unit. */
#include "measure.h"
#include "tests/guests/measure.h"
#include "tests/procs/support/figures.h"

#define ROWS       32
#define ROUNDS_MAX 512

enum kind { EXITS, SYSCALLS, CR3, FPU, FLUSHES, FILLS, PREFETCHES, KINDS };
static const char *const keys[KINDS] = {
    "exits", "syscalls", "cr3", "fpu", "flushes", "fills", "prefetches"
};

struct counts {
    uint64_t n[KINDS];
};

static struct counts begun, sum[ROWS];
static unsigned samples_of[ROWS];

static struct counts read_counts(void)
{
    const struct shadow_counters *s = shadow_counters(vmm.shadow);
    uint64_t c[COUNT_KERNEL_MAX];

    kernel_counters(c);
    return (struct counts){ { c[COUNT_EXITS], c[COUNT_SYSCALLS], c[COUNT_CR3_LOADS], c[COUNT_FPU_SWITCHES],
                              c[COUNT_FLUSHES], s->fills, s->prefetches } };
}

/* Called after every exit. */
static void look(void)
{
    if (vmm.exit->kind != EXIT_IO)
        return;
    unsigned port = EXIT_IO_PORT(vmm.exit->info[0]), row = vmm.exit->gpr[RAX] & 0xff;
    if (row >= ROWS)
        return;
    if (port == PORT_BEGIN) {
        begun = read_counts();
    } else if (port == PORT_END) {
        struct counts now = read_counts();
        for (unsigned i = 0; i < KINDS; i++)
            sum[row].n[i] += now.n[i] - begun.n[i];
        samples_of[row]++;
    }
}

static uint64_t median(unsigned row, unsigned rounds)
{
    static uint64_t s[ROUNDS_MAX];

    for (unsigned i = 0; i < rounds; i++)
        gmem_read64(&vmm.mem, (gpa_t){ SAMPLES + row * PAGE_BYTES + 8 * i }, &s[i]);
    return median_of(s, rounds);
}

/* In hundredths. */
static void print_fraction(uint64_t v)
{
    print_decimal(v / 100);
    if (v % 100 == 0)
        return;
    print(v % 100 < 10 ? ".0" : ".");
    print_decimal(v % 100);
}

static void show(const struct figure *f, uint64_t nothing)
{
    uint64_t value = median(f->row, f->rounds) - nothing, all = (uint64_t)f->units * samples_of[f->row];

    if (samples_of[f->row] != f->rounds) /* not measured */
        return;
    print("BENCH ");
    print(f->name);
    print(" ");
    print_decimal((value + f->units / 2) / f->units);
    print(" instructions");
    for (unsigned i = 0; i < KINDS; i++) {
        uint64_t ours = sum[0].n[i] / samples_of[0] * samples_of[f->row]; /* what telling costs */
        uint64_t n = sum[f->row].n[i] > ours ? sum[f->row].n[i] - ours : 0;
        if (!n && i > FPU)
            continue;
        print(" ");
        print(keys[i]);
        print("=");
        print_fraction((n * 100 + all / 2) / all);
    }
    print("\n");
}

enum vmm_end core_measure(const struct figure *figures, unsigned count)
{
    struct boot_plan plan;
    uint64_t bytes;
    const uint8_t *image = core_module(1, &bytes);
    struct flat_request f = {
        .image = image, .image_bytes = bytes, .memory_bytes = CORE_MEMORY, .mode = FLAT_LONG64
    };

    core_make();
    if (flat_plan(&f, &plan).error != BOOT_OK || !flat_load(&f, &plan, &core_memory))
        return VMM_END_INVALID;
    enum vmm_end end = core_run(&plan, look);
    if (!samples_of[0])
        return end;
    uint64_t nothing = median(0, samples_of[0]);
    for (unsigned i = 0; i < count; i++)
        show(&figures[i], nothing);
    return end;
}
