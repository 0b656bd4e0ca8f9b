/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest, its machine and its judge; see world.h. */
#include "world.h"

#include "check.h"

#include <servers/vmm/shadow/internal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tests/host/support/gmem_host.h>

uint64_t world_random(struct world *w) /* xorshift */
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random >> 8;
}

bool world_percent(struct world *w, uint32_t percent)
{
    return world_random(w) % 100 < percent;
}

void world_log(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->log[w->log_next++ % 24], sizeof(w->log[0]), format, args);
    va_end(args);
}

void world_fail(struct world *w, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (uint32_t i = 0; i < 24; i++)
        printf("# %s\n", w->log[(w->log_next + i) % 24]);
    FAIL("%s", text);
}

static uint64_t model_read(void *context, uint64_t gpa, unsigned bytes)
{
    struct world *w = context;
    uint64_t value = 0;
    if (gmem_read_bytes(w->mem, (gpa_t){ gpa }, &value, bytes) != GMEM_OK)
        return bytes == 8 ? ~0ull : 0xffffffffull;
    return value;
}

static bool in_rom(void *context, uint64_t gpa)
{
    const struct world *w = context;
    return gmem_kind(&w->map, gfn_of((gpa_t){ gpa })) == GMEM_ROM;
}

static void memory_written(void *context, gpa_t a, size_t bytes)
{
    (void)a;
    (void)bytes;
    ((struct world *)context)->changed = true;
}

static void note(struct world *w)
{
    if (w->changed)
        justify_note(&w->j);
    w->changed = false;
}

void world_set_readonly(struct world *w, uint64_t gfn)
{
    w->read_only[gfn] = 1;
    gmem_host_set(w->mem, (gfn_t){ gfn }, GMEM_HOST_READONLY);
}

static void make_memory(struct world *w, uint64_t ram)
{
    w->rom = ram;
    w->end = ram + 2;
    w->mem = gmem_host_new(w->end);
    w->read_only = calloc(w->end, 1);
    w->map.count = 2;
    w->map.region[0] = (struct gmem_region){ { 0 }, { ram }, GMEM_RAM };
    w->map.region[1] = (struct gmem_region){ { ram }, { w->end }, GMEM_ROM };
    gmem_host_set(w->mem, (gfn_t){ ram }, GMEM_HOST_READONLY);
    gmem_host_set(w->mem, (gfn_t){ ram + 1 }, GMEM_HOST_READONLY);
    gmem_host_on_write(w->mem, memory_written, w);
}

struct world *world_new(uint32_t tables, const struct shadow_tuning *tuning, uint64_t seed, uint64_t ram)
{
    struct world *w = calloc(1, sizeof(*w));
    make_memory(w, ram);
    w->m = machine_new(w->mem, &w->map, tables);
    w->m->read_only = w->read_only;
    w->m->format = SHADOW_PAE;
    for (uint32_t i = 0; i < tables; i++)
        w->caps[i] = MACHINE_CPTR + i;
    struct shadow_config c = { .mem = w->mem,
                               .map = &w->map,
                               .tables = w->caps,
                               .table_count = tables,
                               .phys_bits = 40,
                               .frames = ram,
                               .tuning = tuning ? *tuning : shadow_default_tuning() };
    w->memory = aligned_alloc(64, shadow_bytes(tables, ram));
    memset(w->memory, 0xa5, shadow_bytes(tables, ram));
    w->s = shadow_init(w->memory, &c);
    CHECK(w->s != NULL);
    w->cpu = (struct model_cpu){ .phys_bits = 40, .amd_reserves_g = true, .read = model_read, .context = w };
    justify_init(&w->j, &w->cpu);
    w->j.fixed = in_rom;
    w->j.context = w;
    w->ops_max = REPLY_OPS_MAX;
    w->random = seed * 0x9e3779b97f4a7c15ull + 1;
    for (uint32_t i = 0; i < 8; i++)
        world_random(w);
    return w;
}

void world_free(struct world *w)
{
    machine_free(w->m);
    gmem_host_free(w->mem);
    free(w->memory);
    free(w->read_only);
    free(w);
}

struct shadow_control world_long(uint64_t cr3)
{
    return (struct shadow_control){ CR0_PAGED, cr3, CR4_PAE_, EFER_LONG | EFER_NXE_ };
}

struct shadow_control world_pae(uint64_t cr3)
{
    return (struct shadow_control){ CR0_PAGED, cr3, CR4_PAE_, EFER_NXE_ };
}

struct shadow_control world_32(uint64_t cr3)
{
    return (struct shadow_control){ CR0_PAGED, cr3, CR4_PSE_, 0 };
}

/* Loads of CR3 that the kernel has served are told with the next exit, before anything else of it. */
static void tell(struct world *w)
{
    if (w->untold && !shadow_cr3_served(w->s, w->cpu.cr3, w->untold))
        world_fail(w, "the kernel served a root that is not on the list");
    w->untold = 0;
}

static struct shadow_ops *begin_ops(struct world *w)
{
    w->ops = (struct shadow_ops){ .word = w->words, .max = w->ops_max };
    w->exits++;
    tell(w);
    return &w->ops;
}

static void apply(struct world *w)
{
    if (w->ops.count > w->ops_max)
        world_fail(w, "%u words of operations, there is room for %u", w->ops.count, w->ops_max);
    if (!machine_apply(w->m, w->words, w->ops.count))
        world_fail(w, "refused: %s", w->m->refusal);
    w->ops.count = 0;
    machine_enter(w->m);
}

static unsigned hw_mask(const struct machine *m, uint64_t va, uint8_t rights)
{
    unsigned mask = 0;
    for (unsigned kind = 0; kind < CAN_KINDS; kind++) {
        struct model_access k = justify_kind(kind, va);
        struct hw_access a = { .va = va, .write = k.write, .exec = k.exec, .user = k.user, .ac = k.ac };
        if (machine_allows(m, &a, rights))
            mask |= 1u << kind;
    }
    return mask;
}

static void verify_walk(struct world *w, unsigned i, uint64_t gfn, uint8_t rights, const char *where)
{
    unsigned hw = hw_mask(w->m, w->j.va[i].va, rights), may = justify_mask(&w->j, i, gfn);
    if (hw & ~may)
        world_fail(w, "%s: va %#lx -> gfn %#lx rights %#x admits %#x, justified %#x", where,
                   (unsigned long)w->j.va[i].va, (unsigned long)gfn, rights, hw, may);
}

/* What the library says the processor holds is what its tables hold. */
static void verify_held(struct world *w, uint64_t va, const struct hw_result *r)
{
    gpa_t at;
    bool held = shadow_holds(w->s, (gva_t){ va }, &at);

    if (held != (r->outcome == HW_OK) || (held && at.v >> 12 != r->gfn))
        world_fail(w, "va %#lx: held %d at %#lx, in the tables %d at gfn %#lx", (unsigned long)va, held,
                   (unsigned long)at.v, r->outcome == HW_OK, (unsigned long)r->gfn);
}

void world_verify(struct world *w)
{
    struct machine *m = w->m;
    uint32_t root = m->format == SHADOW_PAE ? m->tables : m->root[0];

    note(w);
    if (w->j.full)
        return;
    if (w->s->held.page != NOTHING_HELD && !w->untold) { /* the answer that it remembers */
        uint64_t va = w->s->held.page << 12;
        struct hw_result r = machine_walk(m, va);
        verify_held(w, va, &r);
    }
    for (unsigned i = 0; i < w->j.vas; i++) {
        uint64_t va = w->j.va[i].va;
        if (va >> 32 && m->format != SHADOW_LONG)
            continue;
        struct hw_result r = machine_walk(m, va);
        if (!w->untold)
            verify_held(w, va, &r);
        if (r.outcome == HW_OK)
            verify_walk(w, i, r.gfn, r.rights, "table");
        for (uint32_t k = 0; k < m->tlb_count; k++) {
            const struct hw_cached *c = &m->tlb[k];
            if (c->root == root && c->level == 0 && c->va == va >> 12)
                verify_walk(w, i, c->target, c->rights, "TLB");
        }
    }
}

static void report(void *context, const struct shadow_finding *f)
{
    world_fail(context, "audit: %s: table %u entry %u: %#lx, guest's %#lx", f->what, f->table, f->index,
               (unsigned long)f->entry, (unsigned long)f->guest);
}

static void compare_entry(struct world *w, uint32_t id, uint32_t i)
{
    const struct table *t = &w->s->table[id];
    const struct hw_entry *h = &w->m->table[id].entry[i];
    uint64_t e = w->s->entry[id][i];
    bool filled = mask_test(t->filled, i);
    uint8_t rights = filled ? (uint8_t)ENTRY_RIGHTS(e) : 0;

    if (filled && !(e & ENTRY_LINK) && ENTRY_GFN(e) < w->end && w->read_only[ENTRY_GFN(e)])
        rights &= (uint8_t) ~(SH_WRITE | SH_DIRTY);
    if (filled != h->present)
        world_fail(w, "table %u entry %u: filled %d, in the machine %d", id, i, filled, h->present);
    if (filled && (h->link != ((e & ENTRY_LINK) != 0) || h->target != ENTRY_GFN(e) ||
                   ((h->rights ^ rights) & ~SH_DIRTY)))
        world_fail(w, "table %u entry %u: word %#lx, machine gfn %#lx rights %#x", id, i, (unsigned long)e,
                   (unsigned long)h->target, h->rights);
}

void world_audit(struct world *w)
{
    shadow_audit(w->s, report, w);
    for (uint32_t id = 0; id < w->s->config.table_count; id++) {
        const struct table *t = &w->s->table[id];
        if (!(t->flags & TABLE_LIVE))
            continue;
        if (w->m->table[id].level != t->role.level || w->m->table[id].format != t->role.hw)
            world_fail(w, "table %u: kind differs", id);
        for (uint32_t i = 0; i < 512; i++)
            compare_entry(w, id, i);
    }
}

/* ---- what the guest does ---- */

static bool cpu_load_pdptes(struct world *w, uint64_t cr3)
{
    uint64_t pdpte[4];
    for (unsigned i = 0; i < 4; i++)
        pdpte[i] = model_read(w, (cr3 & 0xffffffe0) + i * 8, 8);
    if (!model_pdptes_ok(&w->cpu, pdpte))
        return false;
    memcpy(w->cpu.pdpte, pdpte, sizeof(pdpte));
    return true;
}

static bool is_pae(const struct shadow_control *c)
{
    return (c->cr0 & BIT(31)) && (c->cr4 & CR4_PAE_) && !(c->efer & BIT(10));
}

static void hw_mode(struct world *w)
{
    bool paged = (w->cpu.cr0 & BIT(31)) != 0;
    uint32_t format = paged && (w->cpu.efer & BIT(10)) ? SHADOW_LONG : SHADOW_PAE;
    w->m->smep = paged && (w->cpu.cr4 & CR4_SMEP_);
    w->m->smap = paged && (w->cpu.cr4 & CR4_SMAP_);
    if (format == w->m->format)
        return;
    w->m->format = format;
    w->m->downgrades++; /* another kind of root: the kernel starts from nothing */
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++)
        w->m->root[i] = MACHINE_NO_TABLE;
}

static void set_cpu(struct world *w, const struct shadow_control *c)
{
    w->cpu.cr0 = c->cr0;
    w->cpu.cr3 = c->cr3;
    w->cpu.cr4 = c->cr4;
    w->cpu.efer = c->efer;
    hw_mode(w);
}

/* What debug builds of the VMM look at (servers/vmm/flushed.c). */
static void look_at_recent(struct world *w)
{
    for (unsigned i = 0; i < 8; i++)
        shadow_audit_flushed(w->s, (gva_t){ w->recent[i] }, report, w);
}

static void after_flush(struct world *w)
{
    apply(w);
    justify_flush(&w->j);
    w->changed = false;
    world_verify(w);
}

void world_load(struct world *w, struct shadow_control c)
{
    note(w);
    enum shadow_status status = shadow_load(w->s, &c, begin_ops(w));
    bool ok = !is_pae(&c) || cpu_load_pdptes(w, c.cr3);
    if ((status == SHADOW_OK) != ok)
        world_fail(w, "load: PDPT entries judged differently");
    if (!ok)
        return;
    set_cpu(w, &c);
    after_flush(w);
}

void world_cr3(struct world *w, uint64_t cr3)
{
    struct shadow_control c = { w->cpu.cr0, cr3, w->cpu.cr4, w->cpu.efer };
    note(w);
    world_log(w, "cr3 %#lx", (unsigned long)cr3);
    if (w->m->format == SHADOW_LONG && machine_list_switch(w->m, cr3)) {
        world_log(w, "  served by the kernel");
        w->untold++;
        w->ops.count = 0;
    } else {
        enum shadow_status status = shadow_cr3(w->s, cr3, begin_ops(w));
        bool ok = !is_pae(&c) || cpu_load_pdptes(w, cr3);
        if ((status == SHADOW_OK) != ok)
            world_fail(w, "cr3: PDPT entries judged differently");
        if (!ok)
            return;
        look_at_recent(w);
    }
    w->cpu.cr3 = cr3;
    after_flush(w);
}

void world_mode(struct world *w, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    struct shadow_control c = { cr0, w->cpu.cr3, cr4, efer };
    struct shadow_control old = { w->cpu.cr0, w->cpu.cr3, w->cpu.cr4, w->cpu.efer };
    uint64_t cr4_load = CR4_PSE_ | CR4_PAE_ | CR4_PGE_ | CR4_SMEP_;
    bool load = is_pae(&c) && (!is_pae(&old) || ((cr0 ^ old.cr0) & (BIT(31) | BIT(30) | BIT(29))) ||
                               ((cr4 ^ old.cr4) & cr4_load));
    note(w);
    world_log(w, "mode cr0 %#lx cr4 %#lx efer %#lx", (unsigned long)cr0, (unsigned long)cr4,
              (unsigned long)efer);
    enum shadow_status status = shadow_mode(w->s, cr0, cr4, efer, begin_ops(w));
    bool ok = !load || cpu_load_pdptes(w, c.cr3);
    if ((status == SHADOW_OK) != ok)
        world_fail(w, "mode: PDPT entries judged differently");
    if (!ok)
        return;
    /* A change of caching flushes nothing, but loads the pointers (and a new directory means nothing old). */
    bool flushes = ((cr0 ^ old.cr0) & ~(BIT(30) | BIT(29))) || cr4 != old.cr4 || efer != old.efer || load;
    set_cpu(w, &c);
    if (flushes)
        after_flush(w);
    else
        apply(w);
    world_verify(w);
}

void world_invlpg(struct world *w, uint64_t va)
{
    note(w);
    world_log(w, "invlpg %#lx", (unsigned long)va);
    shadow_invlpg(w->s, (gva_t){ va }, begin_ops(w));
    shadow_audit_flushed(w->s, shadow_last_invlpg(w->s), report, w);
    apply(w);
    justify_flush_page(&w->j, va);
    w->changed = false;
    world_verify(w);
}

uint64_t world_peek(struct world *w, uint64_t gpa)
{
    uint64_t value = 0;
    gmem_read64(w->mem, (gpa_t){ gpa }, &value);
    return value;
}

void world_poke(struct world *w, uint64_t gpa, uint64_t value)
{
    memcpy(w->mem->base + gpa, &value, 8);
    w->changed = true;
}

static uint64_t keep_bytes(uint64_t value, uint32_t len)
{
    return len >= 8 ? value : value & (BIT(len * 8) - 1);
}

/* A write of emulation or DMA: memory first, then the library is told. */
static void told_write(struct world *w, uint64_t gpa, uint32_t len, uint64_t value)
{
    uint64_t old = 0;
    value = keep_bytes(value, len);
    gmem_read_bytes(w->mem, (gpa_t){ gpa }, &old, len);
    if (gmem_write_bytes(w->mem, (gpa_t){ gpa }, &value, len) == GMEM_OK)
        shadow_table_written(w->s, (gpa_t){ gpa }, len, old, value, &w->ops);
}

void world_dma(struct world *w, uint64_t gpa, uint32_t len, uint64_t value)
{
    note(w);
    world_log(w, "dma %#lx len %u value %#lx", (unsigned long)gpa, len, (unsigned long)value);
    begin_ops(w);
    told_write(w, gpa, len, value);
    apply(w);
    world_verify(w);
}

static void root_again(struct world *w)
{
    begin_ops(w);
    shadow_root(w->s, &w->ops);
    apply(w);
}

/* RAM between the holes, in order; then ROM. */
static void make_map(struct world *w)
{
    struct gmem_map *m = &w->map;
    uint64_t from = 0;

    m->count = 0;
    for (uint64_t gfn = 0; gfn <= w->rom; gfn++) {
        bool hole = gfn == w->rom;
        for (uint32_t i = 0; i < WORLD_HOLES; i++)
            hole = hole || (w->hole[i] && w->hole[i] == gfn);
        if (!hole)
            continue;
        if (gfn > from)
            m->region[m->count++] = (struct gmem_region){ { from }, { gfn }, GMEM_RAM };
        from = gfn + 1;
    }
    m->region[m->count++] = (struct gmem_region){ { w->rom }, { w->end }, GMEM_ROM };
}

static uint64_t *hole_of(struct world *w, uint64_t gfn)
{
    for (uint32_t i = 0; i < WORLD_HOLES; i++) {
        if (w->hole[i] == gfn)
            return &w->hole[i];
    }
    return NULL;
}

void world_hole(struct world *w, uint64_t gfn)
{
    uint64_t *there = hole_of(w, gfn), *place = hole_of(w, 0);

    if (there) {
        *there = 0;
        gmem_host_set(w->mem, (gfn_t){ gfn }, w->read_only[gfn] ? GMEM_HOST_READONLY : 0);
    } else if (place) {
        *place = gfn;
        gmem_host_set(w->mem, (gfn_t){ gfn }, GMEM_HOST_ABSENT);
    } else {
        return;
    }
    world_log(w, "gfn %#lx is %s", (unsigned long)gfn, there ? "RAM again" : "a hole");
    make_map(w);
    w->changed = true;
    if (there)
        world_verify(w);
    else
        world_new_epoch(w);
}

void world_new_epoch(struct world *w)
{
    world_log(w, "new epoch");
    machine_new_epoch(w->m);
    tell(w);
    shadow_reset(w->s);
    root_again(w);
    world_verify(w);
}

static struct model_walk reference(struct world *w, const struct world_access *a)
{
    struct model_access m = {
        .va = a->va, .write = a->write, .exec = a->exec, .user = a->user, .implicit = a->implicit, .ac = a->ac
    };
    return model_walk(&w->cpu, &m);
}

static void emulate(struct world *w, const struct world_access *a, const struct shadow_access *sa,
                    struct world_result *r)
{
    struct fill_out out = { 0 };
    if (a->not_emulated && shadow_not_emulated(w->s, (gpa_t){ r->gpa }, &w->ops))
        return;
    enum translate_result result = shadow_translate(w->s, sa, true, &out);
    if (result == TRANSLATE_ABSENT) {
        r->emulated = true;
        r->outcome = ACCESS_ABSENT;
        return;
    }
    if (result != TRANSLATE_OK || out.gpa.v != r->gpa)
        world_fail(w, "translate disagrees with fill: %#lx, %#lx", (unsigned long)out.gpa.v,
                   (unsigned long)r->gpa);
    note(w);
    told_write(w, r->gpa, a->len, a->value);
    r->emulated = true;
    r->outcome = ACCESS_OK;
}

static const char *const fill_names[] = { "ok", "retry", "guest fault", "mmio", "emulate", "absent" };

/* One page fault exit. True: the access is over. */
static bool page_fault_exit(struct world *w, const struct world_access *a, const struct hw_result *hw,
                            struct world_result *r)
{
    struct shadow_access sa = shadow_access_of_fault(
        (gva_t){ a->va }, hw->error, a->user || a->implicit ? 3 : 0, a->ac ? BIT(18) : 0, a->delivering);
    struct fill_out out = { 0 };
    struct model_walk ref;
    bool over = true;

    begin_ops(w);
    w->recent[w->recent_next++ % 8] = a->va;
    enum fill_result result = shadow_fill(w->s, &sa, &out, &w->ops);
    note(w);
    ref = reference(w, a);
    r->exits++;
    r->error = out.error;
    r->gpa = out.gpa.v;
    world_log(w, "  fill: %s error %#x gpa %#lx, %u words", fill_names[result], out.error,
              (unsigned long)out.gpa.v, w->ops.count);
    if ((result == FILL_GUEST_FAULT) != (ref.outcome == MODEL_PAGE_FAULT))
        world_fail(w, "fill says %s, reference %s", fill_names[result], ref.outcome ? "fault" : "allowed");
    switch (result) {
    case FILL_GUEST_FAULT:
        r->outcome = ACCESS_FAULT;
        if (out.error != ref.error)
            world_fail(w, "error code %#x, reference %#x", out.error, ref.error);
        break;
    case FILL_MMIO:
        r->outcome = ACCESS_MMIO;
        if (out.gpa.v != ref.gpa || !ref.accessed || (a->write && !ref.dirty))
            if (gmem_kind(&w->map, gfn_of((gpa_t){ ref.entry_gpa[0] })) == GMEM_RAM && out.gpa.v != ref.gpa)
                world_fail(w, "MMIO at %#lx, reference %#lx", (unsigned long)out.gpa.v,
                           (unsigned long)ref.gpa);
        break;
    case FILL_EMULATE_WRITE:
        if (!a->write || out.gpa.v != ref.gpa)
            world_fail(w, "emulate a write at %#lx, reference %#lx", (unsigned long)out.gpa.v,
                       (unsigned long)ref.gpa);
        emulate(w, a, &sa, r);
        over = r->emulated;
        break;
    case FILL_ABSENT:
        r->outcome = ACCESS_ABSENT;
        break;
    default:
        over = false;
    }
    apply(w);
    world_verify(w);
    return over;
}

struct world_result world_access(struct world *w, struct world_access a)
{
    struct hw_access h = { a.va, a.write, a.exec, a.user, a.implicit, a.ac };
    struct world_result r = { 0 };

    a.len = a.len ? a.len : 8;
    world_log(w, "%s%s%s%s%s va %#lx len %u value %#lx", a.user ? "user " : "", a.implicit ? "implicit " : "",
              a.ac ? "ac " : "",
              a.write  ? "write"
              : a.exec ? "exec"
                       : "read",
              a.delivering ? " (delivery)" : "", (unsigned long)a.va, a.len, (unsigned long)a.value);
    note(w);
    for (r.exits = 0; r.exits < 60;) {
        struct hw_result hw = machine_access(w->m, &h, (uint32_t)world_random(w));
        if (hw.outcome == HW_NO_ROOT) {
            r.exits++;
            root_again(w);
            world_verify(w);
            continue;
        }
        if (hw.outcome == HW_FAULT) {
            if (page_fault_exit(w, &a, &hw, &r))
                return r;
            continue;
        }
        r.outcome = ACCESS_OK;
        r.gpa = hw.gfn << 12 | (a.va & 0xfff);
        if (a.write) {
            a.value = keep_bytes(a.value, a.len);
            if (gmem_write_bytes(w->mem, (gpa_t){ r.gpa }, &a.value, a.len) != GMEM_OK)
                world_fail(w, "hardware wrote to gfn %#lx", (unsigned long)hw.gfn);
        }
        world_verify(w);
        return r;
    }
    world_fail(w, "no end after %u exits", r.exits);
}
