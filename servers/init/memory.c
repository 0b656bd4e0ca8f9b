/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and untyped memory. init counts what an Untyped has left as the kernel does (UNTYPED_RETYPE: objects
 * lie at multiples of their size), so that it never asks for what is not there. */
#include "init.h"
#include <stdlib.h>
#include <string.h>

#define IPC ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)

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
            in->pool[in->pools++] = (struct pool){ u->cap, 1ul << u->bits, 0 };
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

static struct pool *pool_for(struct init *in, struct pool *own, uint64_t size, uint32_t n)
{
    if (own)
        return pool_room(own, size, 1) ? own : NULL;
    for (uint32_t i = 0; i < in->pools; i++) /* whole if possible */
        if (pool_room(&in->pool[i], size, n) == n)
            return &in->pool[i];
    for (uint32_t i = in->pools; i-- > 0;)
        if (pool_room(&in->pool[i], size, 1))
            return &in->pool[i];
    return NULL;
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
        want = pool_room(p, size, want);
        retype(in, p, s, type, bits, s->sub ? first + (done << 16) : first + done, want);
        done += want;
    }
    return first;
}

static unsigned bits_for(uint64_t n)
{
    unsigned bits = 0;

    while (bits < 63 && (1ul << bits) < n)
        bits++;
    return bits;
}

bool pool_possible(struct init *in, uint64_t bytes)
{
    return pool_for(in, NULL, 1ul << bits_for(bytes), 1) != NULL;
}

struct pool pool_new(struct init *in, uint64_t bytes)
{
    unsigned bits = bits_for(bytes);
    return (struct pool){ objects_new(in, NULL, &in->slots, OBJ_UNTYPED, bits, 1), 1ul << bits, 0 };
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
