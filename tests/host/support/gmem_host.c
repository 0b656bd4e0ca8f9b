/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's implementation of gmem.h; see gmem_host.h. */
#include "gmem_host.h"

#include <stdlib.h>
#include <string.h>

struct host_memory {
    struct gmem mem; /* first: struct gmem * is the handle */
    gmem_host_hook *hook;
    void *hook_context;
    unsigned fail_cas;
    uint8_t flags[]; /* one a page */
};

struct gmem *gmem_host_new(uint64_t pages)
{
    struct host_memory *h = calloc(1, sizeof(*h) + pages);
    if (!h || !(h->mem.base = calloc(pages, PAGE_BYTES)))
        abort();
    h->mem.bytes = pages * PAGE_BYTES;
    h->mem.context = h;
    return &h->mem;
}

void gmem_host_free(struct gmem *m)
{
    free(m->base);
    free(m->context);
}

void gmem_host_set(struct gmem *m, gfn_t gfn, unsigned flags)
{
    ((struct host_memory *)m->context)->flags[gfn.v] = (uint8_t)flags;
}

void gmem_host_on_write(struct gmem *m, gmem_host_hook *hook, void *context)
{
    struct host_memory *h = m->context;
    h->hook = hook;
    h->hook_context = context;
}

void gmem_host_fail_cas(struct gmem *m, unsigned n)
{
    ((struct host_memory *)m->context)->fail_cas = n;
}

static int may(const struct gmem *m, gpa_t a, size_t bytes, bool write)
{
    const struct host_memory *h = m->context;
    if (bytes > m->bytes || a.v > m->bytes - bytes)
        return GMEM_ABSENT;
    if (bytes == 0)
        return GMEM_OK;
    uint64_t last = (a.v + bytes - 1) / PAGE_BYTES;
    for (uint64_t page = a.v / PAGE_BYTES; page <= last; page++) {
        if (h->flags[page] & GMEM_HOST_ABSENT)
            return GMEM_ABSENT;
    }
    for (uint64_t page = a.v / PAGE_BYTES; write && page <= last; page++) {
        if (h->flags[page] & GMEM_HOST_READONLY)
            return GMEM_READONLY;
    }
    return GMEM_OK;
}

static int load(const struct gmem *m, gpa_t a, void *to, size_t bytes)
{
    int result = may(m, a, bytes, false);
    if (result == GMEM_OK)
        memcpy(to, m->base + a.v, bytes);
    return result;
}

static int store(const struct gmem *m, gpa_t a, const void *from, size_t bytes)
{
    const struct host_memory *h = m->context;
    int result = may(m, a, bytes, true);
    if (result != GMEM_OK)
        return result;
    memcpy(m->base + a.v, from, bytes);
    if (h->hook)
        h->hook(h->hook_context, a, bytes);
    return GMEM_OK;
}

#define ACCESSORS(bits)                                                                                      \
    int gmem_read##bits(const struct gmem *m, gpa_t a, uint##bits##_t *out)                                  \
    {                                                                                                        \
        return load(m, a, out, sizeof(*out));                                                                \
    }                                                                                                        \
    int gmem_write##bits(const struct gmem *m, gpa_t a, uint##bits##_t value)                                \
    {                                                                                                        \
        return store(m, a, &value, sizeof(value));                                                           \
    }
ACCESSORS(8)
ACCESSORS(16)
ACCESSORS(32)
ACCESSORS(64)

static int cas(const struct gmem *m, gpa_t a, const void *expected, const void *value, size_t bytes)
{
    struct host_memory *h = m->context;
    int result = may(m, a, bytes, true);
    if (a.v % bytes != 0)
        abort();
    if (result != GMEM_OK)
        return result;
    if (h->fail_cas > 0) {
        h->fail_cas--;
        return GMEM_LOST;
    }
    if (memcmp(m->base + a.v, expected, bytes) != 0)
        return GMEM_LOST;
    return store(m, a, value, bytes);
}

int gmem_cas32(const struct gmem *m, gpa_t a, uint32_t expected, uint32_t value)
{
    return cas(m, a, &expected, &value, sizeof(value));
}

int gmem_cas64(const struct gmem *m, gpa_t a, uint64_t expected, uint64_t value)
{
    return cas(m, a, &expected, &value, sizeof(value));
}

int gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes)
{
    if (bytes > GMEM_COPY_MAX)
        abort();
    return load(m, a, to, bytes);
}

int gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes)
{
    if (bytes > GMEM_COPY_MAX)
        abort();
    return store(m, a, from, bytes);
}

int gmem_walk_long(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w)
{
    return gmem_walk_by_reads(m, root, va, w);
}
