/* SPDX-License-Identifier: BSD-2-Clause */
/* Beginnings: the soft state of this incarnation, the state segment of a new guest, the guest's first
 * registers. */
#include "servers/vmm/core/vmm.h"

#define TOP_OF_RAM_MAX (3ull << 30)
BUILD_ASSERT(TOP_OF_RAM_MAX <= LAPIC_BASE); /* else memory would hide the APIC */
#define NESTED_PREFETCH 512u                /* chosen: a table; 67 faults fill 128 MB */
#define DR6_RESET       0xffff0ff0
#define DR7_RESET       0x400

static void make_map(struct gmem_map *m, uint64_t bytes)
{
    /* 640K, text memory of a display that nobody sees, ROM that reads as zero so that who looks for tables in
     * it need not exit for every word, the rest. */
    *m = (struct gmem_map){ .count = 4,
                            .region = { { { 0 }, { 0xa0 }, GMEM_RAM },
                                        { { VMM_TEXT_FIRST }, { VMM_ROM_FIRST }, GMEM_RAM },
                                        { { VMM_ROM_FIRST }, { VMM_ROM_END }, GMEM_ROM },
                                        { { 0x100 }, { bytes >> PAGE_SHIFT }, GMEM_RAM } } };
    if (bytes <= 0x100000) {
        m->count = 1;
        m->region[0].end.v = (bytes >> PAGE_SHIFT) < 0xa0 ? bytes >> PAGE_SHIFT : 0xa0;
    }
}

static bool state_begin(struct vmm *v, const struct vmm_setup *c)
{
    struct vmm_state *s = v->state;
    struct machine_config m = {
        .hz = c->tsc_hz, .seconds = c->seconds, .memory_bytes = c->memory_bytes, .tsc_offset = 0 - v->now
    };

    s->magic = 0; /* until the rest is right */
    __builtin_memset(s, 0, sizeof(*s));
    if (!machine_init(&s->machine, &m, v->now))
        return false;
    msr_init(&s->msr);
    s->memory_bytes = c->memory_bytes;
    s->input_taken = c->input_taken;
    s->tsc_offset = m.tsc_offset;
    s->dr6 = DR6_RESET;
    s->dr7 = DR7_RESET;
    s->version = VMM_STATE_VERSION;
    s->bytes = sizeof(struct vmm_segment);
    s->magic = VMM_STATE_MAGIC;
    undo_reset(&v->undo, v->exit->seq - 1);
    return true;
}

static bool state_fits(const struct vmm_state *s)
{
    return s->magic == VMM_STATE_MAGIC && s->version == VMM_STATE_VERSION &&
           s->bytes == sizeof(struct vmm_segment) && machine_check(&s->machine);
}

bool vmm_init(struct vmm *v, const struct vmm_setup *c)
{
    struct vmm_segment *g = c->segment;

    if (c->memory_bytes > TOP_OF_RAM_MAX)
        return false;
    *v = (struct vmm){
        .state = &g->state, .ring = g->trace, .exit = c->exit, .reply = c->reply, .cpuid = c->cpuid
    };
    v->sync = c->sync;
    v->ops = (struct shadow_ops){ .word = c->reply->ops, .max = REPLY_OPS_MAX };
    v->nested = c->nested;
    v->undo = (struct undo){ .dev = { .note = undo_note, .settled = true },
                             .state = (uint64_t *)(void *)&g->state,
                             .state_words = VMM_STATE_WORDS,
                             .sums = g->undo.sum,
                             .write = g->undo.write,
                             .word = g->undo.word,
                             .noted = v->noted };
    v->mem = (struct gmem){ .base = c->window, .bytes = c->memory_bytes };
    make_map(&v->map, c->memory_bytes);
    struct shadow_config s = { .mem = &v->mem,
                               .map = &v->map,
                               .tables = c->tables,
                               .table_count = c->table_count,
                               .phys_bits = GUEST_PHYS_BITS,
                               .frames = c->memory_bytes >> PAGE_SHIFT,
                               .nested = c->nested,
                               .tuning = c->tuning ? *c->tuning : shadow_default_tuning() };
    if (c->nested) /* an entry never changes: the more at once, the fewer exits */
        s.tuning.prefetch_direct = NESTED_PREFETCH;
    v->shadow = shadow_init(c->shadow_memory, &s);
    return v->shadow != NULL;
}

bool vmm_can_read(const struct vmm *v)
{
    return v->exit->seq <= 1 || state_fits(v->state); /* EXIT_START: there is nothing to be read */
}

enum vmm_resume vmm_resume(struct vmm *v, const struct vmm_setup *c, uint64_t tsc)
{
    v->now = v->exit->tsc;
    if (v->exit->kind == EXIT_START)
        return state_begin(v, c) ? VMM_NEW : VMM_CORRUPT;
    if (v->state->magic == VMM_STATE_MAGIC && !state_fits(v->state))
        return VMM_STRANGE;
    if (undo_recover(&v->undo, &v->mem, v->exit->seq) == UNDO_CORRUPT || !state_fits(v->state))
        return VMM_CORRUPT;
    v->since = c->stopped_at && c->stopped_at < v->exit->tsc ? c->stopped_at : v->exit->tsc;
    v->lost = tsc - v->since;
    v->resumed = true;
    return VMM_CONTINUES;
}

void vmm_start(struct vmm *v, const struct boot_cpu *cpu)
{
    struct umbra_reply_page *r = v->reply;
    struct shadow_control c = { cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer };

    vmm_begin(v);
    VMM_SET(v, cr0, cpu->cr0);
    VMM_SET(v, cr3, cpu->cr3);
    VMM_SET(v, cr4, cpu->cr4);
    VMM_SET(v, efer, cpu->efer);
    v->epoch = v->exit->epoch;
    v->deadline = v->state->machine.deadline;
    shadow_load(v->shadow, &c, &v->ops);
    vmm_store_pdptes(v);
    r->groups = STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CONTROL | STATE_SEGMENTS | STATE_TSC;
    r->gpr_mask = 0xffff;
    for (unsigned i = 0; i < GPRS; i++)
        r->gpr[i] = cpu->gpr[i];
    r->rip = cpu->rip;
    r->shadow = 0;
    r->rflags = cpu->rflags;
    r->cr0 = cpu->cr0;
    r->cr3 = v->nested ? cpu->cr3 : 0;
    r->cr4 = cpu->cr4;
    r->efer = cpu->efer;
    for (unsigned i = 0; i < SEGS; i++)
        r->seg[i] = cpu->seg[i];
    r->tsc_offset = v->state->tsc_offset;
    vmm_set_want(v, cpu->efer);
    r->op_words = v->ops.count;
    vmm_commit(v);
}
