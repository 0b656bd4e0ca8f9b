/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and untyped memory. init counts what an Untyped has left as the kernel does (UNTYPED_RETYPE: objects
 * lie at multiples of their size), so that it never asks for what is not there. */
#include "init.h"
#include <stdlib.h>
#include <string.h>

#define POOL_RESERVE (1ul << 20) /* chosen: pages that a component takes besides its quota */
#define IPC          ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)

static int by_size(const void *a, const void *b)
{
    const struct pool *p = a, *q = b;
    return p->bytes < q->bytes ? -1 : p->bytes > q->bytes;
}

void memory_init(struct init *in)
{
    for (uint32_t i = 0; i < in->boot->untyped_count; i++) {
        const struct umbra_boot_untyped *u = &in->boot->untyped[i];
        if (!u->device)
            in->pool[in->pools++] = (struct pool){ u->cap, 1ul << u->bits, 0, false };
    }
    qsort(in->pool, in->pools, sizeof(in->pool[0]), by_size);
    in->slots = (struct slots){ 0, in->boot->first_free, 1u << ROOT_CNODE_BITS };
    in->space = (struct space){ .vspace = SLOT_VSPACE, .slots = &in->slots };
}

static uint64_t object_bytes(unsigned type, unsigned bits)
{
    return 1ul << (desc_object_bits(type, bits) + (type == OBJ_CNODE ? BITS_SLOT : 0));
}

static cptr_t slot_take(struct init *in, struct slots *s, uint32_t n)
{
    if (n > s->end - s->next)
        fail(in, ERR_OK, "%u capability slots are needed, %u are left", n, s->end - s->next);
    uint32_t first = s->next;
    s->next += n;
    return s->sub ? CPTR_SUB(s->sub, first) : first;
}

cptr_t slot_new(struct init *in, struct slots *s)
{
    return slot_take(in, s, 1);
}

uint32_t slot_index(cptr_t c)
{
    return c >> 16 ? (c >> 16) - 1 : c;
}

cptr_t slot_cnode(const struct slots *s)
{
    return s->sub ? s->sub : (cptr_t)SLOT_CNODE;
}

/* How many objects of so many bytes a pool can still give, at most n. */
static uint32_t pool_room(const struct pool *p, uint64_t size, uint32_t n)
{
    uint64_t start = (p->used + size - 1) / size * size,
             room = start < p->bytes ? (p->bytes - start) / size : 0;
    return room < n ? (uint32_t)room : n;
}

/* The fullest one that has room for all, or the largest with room for one. */
static struct pool *pool_for(struct init *in, struct pool *own, uint64_t size, uint32_t n)
{
    struct pool *best = NULL;

    if (own)
        return pool_room(own, size, 1) ? own : NULL;
    for (struct pool *p = in->pool; p < in->pool + in->pools; p++)
        if (pool_room(p, size, n) == n && (!best || p->bytes - p->used < best->bytes - best->used))
            best = p;
    for (uint32_t i = in->pools; i-- > 0 && !best;)
        if (pool_room(&in->pool[i], size, 1))
            best = &in->pool[i];
    return best;
}

static void retype(struct init *in, struct pool *p, struct slots *s, unsigned type, unsigned bits,
                   cptr_t first, uint32_t n)
{
    uint64_t size = object_bytes(type, bits);
    err_t e = sys_retype(IPC, p->cap, type, bits, slot_cnode(s), slot_index(first), n);

    if (e != ERR_OK)
        fail(in, e, "%u objects of type %u and %lu bytes", n, type, size);
    p->used = (p->used + size - 1) / size * size + n * size;
}

static unsigned bits_for(uint64_t n)
{
    unsigned bits = 0;

    while (bits < 63 && (1ul << bits) < n)
        bits++;
    return bits;
}

/* What an aligned object would leave unused before it becomes pools: else each small object between two large
 * ones costs as much as a large one. */
static void keep_gap(struct init *in, struct pool *p, uint64_t size)
{
    for (;;) {
        uint64_t at = (p->used + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1), piece = at & -at;
        if (at % size == 0 || in->pools == POOLS_MAX || in->slots.next == in->slots.end)
            return;
        cptr_t cap = slot_new(in, &in->slots);
        retype(in, p, &in->slots, OBJ_UNTYPED, bits_for(piece), cap, 1);
        in->pool[in->pools++] = (struct pool){ cap, piece, 0, true };
    }
}

cptr_t objects_new(struct init *in, struct pool *own, struct slots *s, unsigned type, unsigned bits,
                   uint32_t n)
{
    uint64_t size = object_bytes(type, bits);
    cptr_t first = slot_take(in, s, n);

    for (uint32_t done = 0; done < n;) {
        uint32_t want = n - done < RETYPE_MAX ? n - done : RETYPE_MAX;
        struct pool *p = pool_for(in, own, size, want);
        if (!p)
            fail(in, ERR_OK, "%s: %lu KB are not left",
                 own ? "its memory quota is used up" : "too little memory", (n - done) * size / 1024);
        if (!own)
            keep_gap(in, p, size);
        want = pool_room(p, size, want);
        retype(in, p, s, type, bits, s->sub ? first + (done << 16) : first + done, want);
        done += want;
    }
    return first;
}

uint64_t boot_memory_used(const struct init *in)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < in->pools; i++)
        used += in->pool[i].used - (in->pool[i].is_gap ? in->pool[i].bytes : 0);
    return used;
}

bool pool_possible(struct init *in, uint64_t bytes)
{
    uint64_t size = 1ul << bits_for(bytes), left = 0;

    for (uint32_t i = 0; i < in->pools; i++)
        left += in->pool[i].bytes - in->pool[i].used;
    return left >= size + POOL_RESERVE && pool_for(in, NULL, size, 1) != NULL;
}

struct pool pool_new(struct init *in, uint64_t bytes)
{
    unsigned bits = bits_for(bytes);
    return (struct pool){ objects_new(in, NULL, &in->slots, OBJ_UNTYPED, bits, 1), 1ul << bits, 0, false };
}

struct slots slots_at(struct init *in, struct pool *p, uint32_t n, cptr_t place)
{
    unsigned bits = bits_for((uint64_t)n + 1);
    struct slots one = { 0, place, place + 1 };

    if (bits > CNODE_BITS_MAX)
        fail(in, ERR_OK, "%u capability slots in one CNode", n);
    cptr_t c = objects_new(in, p, &one, OBJ_CNODE, bits ? bits : 1, 1);
    return (struct slots){ c, 1, 1u << bits };
}

struct slots slots_new(struct init *in, struct pool *p, uint32_t n)
{
    return slots_at(in, p, n, slot_new(in, &in->slots));
}
