/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulated kernel and processor; see machine.h. */
#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct machine *machine_new(struct gmem *mem, const struct gmem_map *map, uint32_t tables)
{
    struct machine *m = calloc(1, sizeof(*m));
    m->mem = mem;
    m->map = map;
    m->tables = tables;
    m->table = calloc(tables, sizeof(*m->table));
    m->flushed_at = calloc(tables + 1, sizeof(*m->flushed_at));
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++)
        m->root[i] = MACHINE_NO_TABLE;
    for (uint32_t i = 0; i < MACHINE_LIST; i++)
        m->list[i].table = MACHINE_NO_TABLE;
    return m;
}

void machine_free(struct machine *m)
{
    free(m->table);
    free(m->flushed_at);
    free(m);
}

static bool refuse(struct machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct machine *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->refusal, sizeof(m->refusal), format, args);
    va_end(args);
    return false;
}

static uint32_t find_table(const struct machine *m, uint32_t cptr)
{
    return cptr - MACHINE_CPTR < m->tables ? cptr - MACHINE_CPTR : MACHINE_NO_TABLE;
}

static bool is_root(const struct machine *m, uint32_t t)
{
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++) {
        if (m->root[i] == t)
            return true;
    }
    for (uint32_t i = 0; i < MACHINE_LIST; i++) {
        if (m->list[i].table == t)
            return true;
    }
    return false;
}

static void entry_gone(struct machine *m, struct hw_entry *e)
{
    if (!e->present)
        return;
    if (e->link)
        m->table[e->target].links--;
    e->present = false;
    m->downgrades++;
}

static void table_clear(struct machine *m, uint32_t t)
{
    for (uint32_t i = 0; i < 512; i++)
        entry_gone(m, &m->table[t].entry[i]);
}

static bool live(struct machine *m, uint32_t t, const char *what)
{
    if (t == MACHINE_NO_TABLE)
        return refuse(m, "%s: no such table", what);
    if (!m->table[t].set_up || m->table[t].epoch != m->epoch)
        return refuse(m, "%s: table %u is stale or not set up", what, t);
    return true;
}

static bool do_setup(struct machine *m, uint32_t t, uint32_t index)
{
    if (t == MACHINE_NO_TABLE)
        return refuse(m, "SETUP: no such table");
    struct hw_table *h = &m->table[t];
    if (h->epoch == m->epoch && (h->links > 0 || is_root(m, t)))
        return refuse(m, "SETUP: table %u is linked (%u links)", t, h->links);
    if (h->epoch != m->epoch)
        h->links = 0;
    else
        table_clear(m, t);
    memset(h->entry, 0, sizeof(h->entry));
    if (h->ever_used)
        m->downgrades++;
    h->format = index >> 4;
    h->level = index & 15;
    h->epoch = m->epoch;
    h->set_up = true;
    if (h->format > SHADOW_NESTED || h->level < 1 || h->level > (h->format == SHADOW_PAE ? 2u : 4u))
        return refuse(m, "SETUP: kind %#x", index);
    return true;
}

static bool do_link(struct machine *m, uint32_t t, uint32_t index, uint8_t rights, uint32_t child)
{
    if (!live(m, t, "LINK") || !live(m, child, "LINK child"))
        return false;
    struct hw_table *h = &m->table[t], *c = &m->table[child];
    if (index >= 512 || !(rights & SH_READ))
        return refuse(m, "LINK: index %u rights %#x", index, rights);
    if (c->format != h->format || c->level + 1 != h->level)
        return refuse(m, "LINK: level %u under %u, format %u under %u (I2)", c->level, h->level, c->format,
                      h->format);
    struct hw_entry *e = &h->entry[index];
    c->links++;
    entry_gone(
        m, e); /* counts, also where the same link only gains rights: test_shadow.c::downgrades_are_counted */
    *e = (struct hw_entry){ .present = true, .link = true, .rights = rights, .target = child };
    c->ever_used = true;
    return true;
}

static bool do_fill(struct machine *m, uint32_t t, uint32_t index, uint8_t rights, uint64_t gfn)
{
    uint8_t byte;
    if (!live(m, t, "FILL"))
        return false;
    if (m->table[t].level != 1 || index >= 512 || !(rights & SH_READ))
        return refuse(m, "FILL: level %u index %u rights %#x", m->table[t].level, index, rights);
    if (gmem_kind(m->map, (gfn_t){ gfn }) == GMEM_MMIO ||
        gmem_read8(m->mem, gpa_of((gfn_t){ gfn }), &byte) != GMEM_OK)
        return refuse(m, "FILL: gfn %#lx is not in the GuestSpace (I1)", (unsigned long)gfn);
    if ((m->read_only && m->read_only[gfn]) || gmem_kind(m->map, (gfn_t){ gfn }) == GMEM_ROM)
        rights &= (uint8_t) ~(SH_WRITE | SH_DIRTY);
    struct hw_entry *e = &m->table[t].entry[index];
    if (e->present && (e->target != gfn || (e->rights & ~rights)))
        entry_gone(m, e);
    *e = (struct hw_entry){ .present = true, .rights = rights, .target = gfn };
    return true;
}

static bool do_downgrade(struct machine *m, uint32_t t, uint8_t rights, const uint64_t *mask)
{
    if (!live(m, t, "DOWNGRADE"))
        return false;
    for (uint32_t i = 0; i < 512; i++) {
        struct hw_entry *e = &m->table[t].entry[i];
        if (!(mask[i / 64] >> i % 64 & 1) || !e->present)
            continue;
        if (rights == 0) {
            entry_gone(m, e);
        } else if (!e->link) {
            e->rights &= rights;
            m->downgrades++;
        }
    }
    return true;
}

static bool do_set_root(struct machine *m, uint32_t cptr, uint32_t index)
{
    uint32_t t = find_table(m, cptr);
    if (index >= (m->format == SHADOW_PAE ? MACHINE_SLOTS : 1))
        return refuse(m, "SET_ROOT: index %u", index);
    if (cptr != CPTR_NULL && !live(m, t, "SET_ROOT"))
        return false;
    if (cptr != CPTR_NULL) {
        uint32_t level = m->format == SHADOW_PAE ? 2 : 4;
        if (m->table[t].format != m->format || m->table[t].level != level)
            return refuse(m, "SET_ROOT: format %u level %u", m->table[t].format, m->table[t].level);
        m->table[t].ever_used = true;
    }
    if (m->format == SHADOW_PAE && m->root[index] != t && m->root[index] != MACHINE_NO_TABLE)
        m->downgrades++;
    m->root[index] = t;
    return true;
}

static bool do_root_list(struct machine *m, uint32_t cptr, uint32_t index, uint64_t cr3)
{
    uint32_t t = find_table(m, cptr);
    if (index >= MACHINE_LIST)
        return refuse(m, "ROOT_LIST: index %u", index);
    if (cptr != CPTR_NULL && !live(m, t, "ROOT_LIST"))
        return false;
    if (cptr != CPTR_NULL && (m->table[t].format != SHADOW_LONG || m->table[t].level != 4))
        return refuse(m, "ROOT_LIST: format %u level %u", m->table[t].format, m->table[t].level);
    m->list[index].table = t;
    m->list[index].cr3 = cr3;
    return true;
}

static uint32_t asid(const struct machine *m)
{
    return m->format == SHADOW_PAE ? m->tables : m->root[0];
}

static void tlb_drop(struct machine *m, uint32_t root)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->tlb_count; i++) {
        if (m->tlb[i].root != root)
            m->tlb[kept++] = m->tlb[i];
    }
    m->tlb_count = kept;
    m->flushes++;
}

static uint32_t op_words(uint64_t w)
{
    switch (w & 255) {
    case OP_LINK:
    case OP_FILL:
    case OP_FILL_RUN:
    case OP_ROOT_LIST:
        return 2;
    case OP_DOWNGRADE:
        return 9;
    default:
        return 1;
    }
}

static bool do_op(struct machine *m, const uint64_t *w)
{
    uint32_t cptr = (uint32_t)(w[0] >> 32), t = find_table(m, cptr);
    uint32_t index = w[0] >> 16 & 0xffff;
    uint8_t rights = (uint8_t)(w[0] >> 8);

    switch (w[0] & 255) {
    case OP_SETUP:
        return do_setup(m, t, index);
    case OP_LINK:
        return do_link(m, t, index, rights, find_table(m, (uint32_t)w[1]));
    case OP_FILL:
        return do_fill(m, t, index, rights, w[1]);
    case OP_FILL_RUN:
        for (uint32_t i = 0; i < w[1] >> 48; i++) {
            if (!do_fill(m, t, index + i, rights, (w[1] & (BIT(48) - 1)) + i))
                return false;
        }
        return true;
    case OP_DOWNGRADE:
        return do_downgrade(m, t, rights, w + 1);
    case OP_CLEAR:
        if (!live(m, t, "CLEAR"))
            return false;
        table_clear(m, t);
        return true;
    case OP_SET_ROOT:
        return do_set_root(m, cptr, index);
    case OP_ROOT_LIST:
        return do_root_list(m, cptr, index, w[1]);
    case OP_FLUSH:
        tlb_drop(m, asid(m));
        return true;
    case OP_DROP:
        if (!live(m, t, "DROP") || index >= 512)
            return refuse(m, "DROP: table %u index %u", t, index);
        entry_gone(m, &m->table[t].entry[index]);
        return true;
    default:
        return refuse(m, "operation %u", (unsigned)(w[0] & 255));
    }
}

bool machine_apply(struct machine *m, const uint64_t *word, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        uint32_t n = op_words(word[i]);
        if (n > count - i)
            return refuse(m, "operation %u is cut off", (unsigned)(word[i] & 255));
        if (!do_op(m, &word[i]))
            return false;
        m->ops_done++;
        i += n;
    }
    return true;
}

void machine_new_epoch(struct machine *m)
{
    m->epoch++;
    m->tlb_count = 0;
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++)
        m->root[i] = MACHINE_NO_TABLE;
    for (uint32_t i = 0; i < MACHINE_LIST; i++)
        m->list[i].table = MACHINE_NO_TABLE;
    for (uint32_t i = 0; i < m->tables; i++) {
        m->table[i].links = 0;
        memset(m->table[i].entry, 0, sizeof(m->table[i].entry));
    }
}

bool machine_list_switch(struct machine *m, uint64_t cr3)
{
    for (uint32_t i = 0; i < MACHINE_LIST; i++) {
        if (m->list[i].table != MACHINE_NO_TABLE && m->list[i].cr3 == cr3) {
            m->root[0] = m->list[i].table;
            return true;
        }
    }
    return false;
}

void machine_enter(struct machine *m)
{
    uint32_t root = asid(m);
    if (root == MACHINE_NO_TABLE || m->flushed_at[root] == m->downgrades)
        return;
    tlb_drop(m, root);
    m->flushed_at[root] = m->downgrades;
}

static uint32_t top_level(const struct machine *m)
{
    return m->format == SHADOW_PAE ? 2 : 4;
}

static uint32_t va_shift(uint32_t level)
{
    return 12 + (level - 1) * 9;
}

static void cache(struct machine *m, uint32_t level, uint64_t va, uint64_t target, uint8_t rights)
{
    struct hw_cached c = { asid(m), level, va >> (level ? va_shift(level + 1) : 12), target, rights };
    for (uint32_t i = 0; i < m->tlb_count; i++) {
        if (m->tlb[i].root == c.root && m->tlb[i].level == c.level && m->tlb[i].va == c.va &&
            m->tlb[i].target == c.target && m->tlb[i].rights == c.rights)
            return;
    }
    if (m->tlb_count < MACHINE_TLB)
        m->tlb[m->tlb_count++] = c;
}

/* From a table of the level on. Rights are those of the entries so far. */
static struct hw_result walk_from(struct machine *m, uint64_t va, uint32_t t, uint32_t level, uint8_t rights,
                                  bool keep)
{
    for (;;) {
        const struct hw_table *h = &m->table[t];
        const struct hw_entry *e = &h->entry[va >> va_shift(level) & 511];
        if (!h->set_up || h->epoch != m->epoch || h->level != level) {
            fprintf(stderr, "machine: walk of va %#lx reached table %u, not of level %u or stale (I3)\n",
                    (unsigned long)va, t, level);
            abort();
        }
        if (!e->present)
            return (struct hw_result){ .outcome = HW_FAULT };
        rights &= e->rights;
        if (!e->link) {
            if (keep)
                cache(m, 0, va, e->target, rights);
            return (struct hw_result){ .gfn = e->target, .rights = rights };
        }
        t = (uint32_t)e->target;
        level--;
        if (keep)
            cache(m, level, va, t, rights);
    }
}

static struct hw_result walk(struct machine *m, uint64_t va, bool keep)
{
    uint32_t slot = m->format == SHADOW_PAE ? (uint32_t)(va >> 30) & 3 : 0;
    if (m->root[slot] == MACHINE_NO_TABLE)
        return (struct hw_result){ .outcome = m->format == SHADOW_PAE ? HW_FAULT : HW_NO_ROOT };
    return walk_from(m, va, m->root[slot], top_level(m), 15, keep);
}

struct hw_result machine_walk(struct machine *m, uint64_t va)
{
    return walk(m, va, false);
}

void machine_extend(struct machine *m, uint64_t va)
{
    machine_enter(m);
    walk(m, va, true);
    for (uint32_t i = 0, n = m->tlb_count; i < n; i++) { /* partial walks go on from where they stopped */
        struct hw_cached c = m->tlb[i];
        if (c.root == asid(m) && c.level > 0 && c.va == va >> va_shift(c.level + 1))
            walk_from(m, va, (uint32_t)c.target, c.level, c.rights, true);
    }
}

bool machine_allows(const struct machine *m, const struct hw_access *a, uint8_t rights)
{
    bool user_page = (rights & SH_USER) != 0;
    if (a->write && !(rights & SH_WRITE))
        return false;
    if (a->exec && !(rights & SH_EXEC))
        return false;
    if (a->user)
        return user_page;
    if (user_page && a->exec)
        return !m->smep;
    return !(user_page && m->smap && (a->implicit || !a->ac));
}

static struct hw_result judge(const struct machine *m, const struct hw_access *a, struct hw_result r)
{
    if (r.outcome == HW_NO_ROOT)
        return r;
    if (r.outcome == HW_OK && machine_allows(m, a, r.rights))
        return r;
    r.error = (r.outcome == HW_OK ? 1u : 0) | (a->write ? 2u : 0) | (a->user ? 4u : 0) | (a->exec ? 16u : 0);
    r.outcome = HW_FAULT;
    return r;
}

/* A page fault drops what was cached of its page (kernels rely on that on all x86 processors). */
static struct hw_result fault_drops(struct machine *m, uint64_t va, struct hw_result r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->tlb_count && r.outcome == HW_FAULT; i++) {
        const struct hw_cached *c = &m->tlb[i];
        if (c->root != asid(m) || c->level != 0 || c->va != va >> 12)
            m->tlb[kept++] = *c;
    }
    if (r.outcome == HW_FAULT)
        m->tlb_count = kept;
    return r;
}

struct hw_result machine_access(struct machine *m, const struct hw_access *a, uint32_t choice)
{
    struct hw_cached *fits[8];
    struct hw_result r;
    uint32_t n = 0;

    machine_enter(m);
    for (uint32_t i = 0; i < m->tlb_count && n < 8; i++) {
        struct hw_cached *c = &m->tlb[i];
        if (c->root == asid(m) && c->level == 0 && c->va == a->va >> 12)
            fits[n++] = c;
    }
    choice %= n + 1;
    if (choice < n)
        r = (struct hw_result){ .gfn = fits[choice]->target, .rights = fits[choice]->rights };
    else
        r = walk(m, a->va, true);
    return fault_drops(m, a->va, judge(m, a, r));
}
