/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest and its exits; see rig.h. */
#include "rig.h"

#include "servers/vmm/policy/cr.h"

#include <stdlib.h>

void put(struct rig *r, uint64_t gpa, uint64_t value)
{
    CHECK_EQ(gmem_write64(r->mem, (gpa_t){ gpa }, value), GMEM_OK);
}

struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct boot_cpu cpu = { .cr0 = CR0_PG | CR0_PE | CR0_WP, .cr3 = 0x1000, .cr4 = CR4_PAE };
    struct shadow_tuning tuning = shadow_default_tuning();

    tuning.unsync_born = 0; /* so that writes to tables are emulated */
    CHECK(r != NULL);
    r->mem = gmem_host_new(PAGES);
    r->shadow = aligned_alloc(64, (shadow_bytes(TABLES, PAGES) + 63) & ~63ul);
    for (unsigned i = 0; i < TABLES; i++)
        r->caps[i] = 100 + i;
    struct vmm_setup c = { .segment = &r->segment,
                           .exit = &r->exit,
                           .reply = &r->reply,
                           .window = r->mem->base,
                           .memory_bytes = PAGES * PAGE_BYTES,
                           .tables = r->caps,
                           .table_count = TABLES,
                           .shadow_memory = r->shadow,
                           .tuning = &tuning,
                           .cpuid = &r->cpuid,
                           .tsc_hz = 1000000000,
                           .seconds = 0 };
    CHECK(vmm_init(&r->vmm, &c));
    r->vmm.mem.context = r->mem->context;
    r->exit.seq = 1;
    r->exit.kind = EXIT_START;
    CHECK_EQ(vmm_resume(&r->vmm, &c, 0), VMM_NEW);
    put(r, 0x1000, 0x2027);
    put(r, 0x8000, 0x2027);
    put(r, 0x2000, 0x3027);
    put(r, 0x3000, 0x4027);
    for (unsigned i = 0; i < PAGES; i++)
        put(r, 0x4000 + 8 * i, i << 12 | 0x63);
    cpu.efer = EFER_LME | EFER_LMA;
    vmm_start(&r->vmm, &cpu);
    return r;
}

enum vmm_end handle(struct vmm *v)
{
    vmm_begin(v);
    enum vmm_end end = vmm_handle(v);
    vmm_commit(v);
    return end;
}

void rig_free(struct rig *r)
{
    gmem_host_free(r->mem);
    free(r->shadow);
    free(r);
}

void set_exit(struct rig *r, enum exit_kind kind)
{
    struct umbra_exit_page *x = &r->exit;

    x->kind = kind;
    x->seq++;
    x->tsc = 1000;
    x->info[0] = x->info[1] = 0;
    x->rip = CODE;
    x->rflags = 0x202;
    x->cpl = 0;
    for (unsigned i = 0; i < SEGS; i++)
        x->seg[i] = (struct umbra_segment){ 0x10, 0xc93, 0xffffffff, 0 };
    x->seg[SEG_CS] = (struct umbra_segment){ 8, 0xa9b, 0xffffffff, 0 };
}

void fetch_page(struct rig *r, uint64_t rip)
{
    set_exit(r, EXIT_PAGE);
    r->exit.info[0] = rip;
    r->exit.info[1] = 16;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    gpa_t at;
    CHECK(shadow_holds(r->vmm.shadow, (gva_t){ rip }, &at));
    CHECK_EQ(at.v, rip);
}
