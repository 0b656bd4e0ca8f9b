/* SPDX-License-Identifier: BSD-2-Clause */
/* Beginnings: the soft state of this incarnation, the state segment of a new guest, the guest's first
 * registers. */
#include "servers/vmm/core/vmm.h"

#define ROM_FIRST      0xc0ull /* frames: C0000h to FFFFFh */
#define ROM_END        0x100ull
#define TOP_OF_RAM_MAX (3ull << 30)
#define DR6_RESET      0xffff0ff0
#define DR7_RESET      0x400

static void make_map(struct gmem_map *m, uint64_t bytes)
{
    /* 640K, the hole for video memory, ROMs, the rest. */
    *m = (struct gmem_map){ .count = 3,
                            .region = { { { 0 }, { 0xa0 }, GMEM_RAM },
                                        { { ROM_FIRST }, { ROM_END }, GMEM_ROM },
                                        { { ROM_END }, { bytes >> PAGE_SHIFT }, GMEM_RAM } } };
    if (bytes <= 0x100000) {
        m->count = 1;
        m->region[0].end.v = (bytes >> PAGE_SHIFT) < 0xa0 ? bytes >> PAGE_SHIFT : 0xa0;
    }
}

/* No ROM is there: its pages read as ones, as an empty bus does, but without an exit for each of the tens of
 * thousands of reads in which a kernel looks for tables there. */
static bool rom_begin(const struct vmm *v)
{
    uint8_t ones[PAGE_BYTES];

    __builtin_memset(ones, 0xff, sizeof(ones));
    for (uint64_t gfn = ROM_FIRST; gfn < ROM_END && v->map.count > 1; gfn++)
        if (gmem_write_bytes(&v->mem, gpa_of((gfn_t){ gfn }), ones, sizeof(ones)) != GMEM_OK)
            return false;
    return true;
}

static bool state_begin(const struct vmm_setup *c, uint64_t now)
{
    struct vmm_state *s = c->state;
    struct machine_config m = { .hz = c->tsc_hz, .seconds = c->seconds, .memory_bytes = c->memory_bytes };

    if (s->magic == VMM_STATE_MAGIC)
        return s->version == VMM_STATE_VERSION && s->bytes == sizeof(*s) && machine_check(&s->machine);
    if (s->magic || !machine_init(&s->machine, &m, now))
        return false;
    msr_init(&s->msr);
    s->memory_bytes = c->memory_bytes;
    s->tsc_offset = 0 - now;
    s->dr6 = DR6_RESET;
    s->dr7 = DR7_RESET;
    s->version = VMM_STATE_VERSION;
    s->bytes = sizeof(*s);
    s->magic = VMM_STATE_MAGIC;
    return true;
}

bool vmm_init(struct vmm *v, const struct vmm_setup *c, uint64_t now)
{
    bool first = c->state->magic == 0;

    if (c->memory_bytes > TOP_OF_RAM_MAX || !state_begin(c, now))
        return false;
    *v = (struct vmm){ .state = c->state, .exit = c->exit, .reply = c->reply, .cpuid = c->cpuid, .now = now };
    v->mem = (struct gmem){ .base = c->window, .bytes = c->memory_bytes };
    make_map(&v->map, c->memory_bytes);
    if (first && !rom_begin(v))
        return false;
    v->deadline = c->state->machine.deadline;
    struct shadow_config s = { .mem = &v->mem,
                               .map = &v->map,
                               .tables = c->tables,
                               .table_count = c->table_count,
                               .phys_bits = GUEST_PHYS_BITS,
                               .frames = c->memory_bytes >> PAGE_SHIFT,
                               .tuning = shadow_default_tuning() };
    v->shadow = shadow_init(c->shadow_memory, &s);
    return v->shadow != NULL;
}

void vmm_start(struct vmm *v, const struct boot_cpu *cpu)
{
    struct umbra_reply_page *r = v->reply;
    struct vmm_state *s = v->state;
    struct shadow_control c = { cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer };

    s->cr0 = cpu->cr0;
    s->cr3 = cpu->cr3;
    s->cr4 = cpu->cr4;
    s->efer = cpu->efer;
    s->started = 1;
    s->epoch = v->exit->epoch;
    v->ops = (struct shadow_ops){ .word = r->ops, .max = REPLY_OPS_MAX };
    shadow_load(v->shadow, &c, &v->ops);
    r->seq = v->exit->seq;
    r->flags = 0;
    r->event = 0;
    r->groups = STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CONTROL | STATE_SEGMENTS | STATE_TSC;
    r->gpr_mask = 0xffff;
    for (unsigned i = 0; i < GPRS; i++)
        r->gpr[i] = cpu->gpr[i];
    r->rip = cpu->rip;
    r->shadow = 0;
    r->rflags = cpu->rflags;
    r->cr0 = cpu->cr0;
    r->cr4 = cpu->cr4;
    r->efer = cpu->efer;
    for (unsigned i = 0; i < SEGS; i++)
        r->seg[i] = cpu->seg[i];
    r->tsc_offset = s->tsc_offset;
    r->want = STATE_SEGMENTS;
    r->op_words = v->ops.count;
}
