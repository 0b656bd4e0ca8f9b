/* SPDX-License-Identifier: BSD-2-Clause */
/* Filling entries that nobody asked for yet: neighbours of a fill, and entries just written. Only what the
 * guest's own use has shown to be hot: A set, and D set where the entry is writable. An optimization: it
 * stops when the operations' room gets small. */
#include "internal.h"

static bool room(const struct shadow_ops *ops)
{
    return shadow_ops_room(ops) >= OPS_SPARE + OPS_LEAF;
}

/* Sets the leaf if its frame is memory. */
static void set_memory(struct shadow *s, struct table *t, uint32_t index, struct want *want,
                       struct shadow_ops *ops)
{
    enum gmem_kind kind = gmem_kind(s->config.map, (gfn_t){ want->gfn });
    if (kind == GMEM_MMIO)
        return;
    leaf_set(s, t, index, want->gfn, want->rights, want->may_write && kind == GMEM_RAM, ops);
    s->counters.prefetches++;
}

bool prefetch_one(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    const struct control *c = &s->control;
    if (t->role.guest != c->role.guest || t->role.nxe != c->role.nxe || t->role.pse != c->role.pse)
        return false; /* of another mode than the present: it will be seen when that comes back */
    if (mask_test(t->filled, index) || !room(ops))
        return false;
    struct want want = want_of(&c->pte, t->role, index, raw, t->flags & TABLE_ROM);
    if (want.kind != WANT_LEAF || ((raw & PTE_RW) && !want.may_write))
        return false;
    set_memory(s, t, index, &want, ops);
    return true;
}

/* The block of n entries around index; n is rounded to a power of two by the caller's tuning. */
static uint32_t block_start(uint32_t index, uint32_t n)
{
    return index & ~(n - 1);
}

static void prefetch_direct(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint32_t n = s->config.tuning.prefetch_direct, start = block_start(index, n);
    for (uint32_t i = start; i < start + n && room(ops); i++) {
        if (mask_test(t->filled, i))
            continue;
        struct want want = want_direct(t->role, t->gfn, i);
        set_memory(s, t, i, &want, ops);
    }
}

static void prefetch_guest(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    union {
        uint64_t wide[64];
        uint32_t narrow[64];
    } buffer;
    uint32_t n = s->config.tuning.prefetch, start = block_start(index, n);
    uint32_t bytes = guest_entry_bytes((enum guest_format)t->role.guest);
    uint64_t at = (t->gfn << PAGE_SHIFT) + (uint64_t)guest_index(t->role, start) * bytes;

    if (n <= 1 || gmem_read_bytes(s->config.mem, (gpa_t){ at }, &buffer, n * bytes) != GMEM_OK)
        return;
    for (uint32_t i = index + 1; i < start + n && !mask_test(t->filled, i); i++)
        prefetch_one(s, t, i, bytes == 8 ? buffer.wide[i - start] : buffer.narrow[i - start], ops);
    for (uint32_t i = index; i > start && !mask_test(t->filled, i - 1); i--)
        prefetch_one(s, t, i - 1, bytes == 8 ? buffer.wide[i - 1 - start] : buffer.narrow[i - 1 - start],
                     ops);
}

void prefetch(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    if (is_direct(t))
        prefetch_direct(s, t, index, ops);
    else
        prefetch_guest(s, t, index, ops);
}
