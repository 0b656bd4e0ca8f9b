/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of boot loaders share: numbers in bytes, a guest's memory in which writing a byte twice is an
 * error. */
#ifndef TESTS_HOST_BOOT_RIG_H
#define TESTS_HOST_BOOT_RIG_H

#include "check.h"
#include "servers/vmm/boot/boot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (1ull << 20)

static inline void set(uint8_t *p, unsigned offset, unsigned bytes, uint64_t v)
{
    for (unsigned i = 0; i < bytes; i++)
        p[offset + i] = (uint8_t)(v >> 8 * i);
}

static inline uint64_t get(const uint8_t *p, uint64_t offset, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[offset + i] << 8 * i;
    return v;
}

/* ---- a guest's memory; writing a byte twice is an error ---- */

struct memory {
    uint8_t *bytes, *written;
    uint64_t size, fail_from;
};

static inline bool memory_write(void *context, gpa_t to, const void *bytes, uint64_t n)
{
    struct memory *m = context;
    if (to.v >= m->fail_from)
        return false;
    CHECK_LE(to.v, m->size);
    CHECK_LE(n, m->size - to.v);
    for (uint64_t i = 0; i < n; i++)
        CHECK(!m->written[to.v + i]);
    memcpy(m->bytes + to.v, bytes, n);
    memset(m->written + to.v, 1, n);
    return true;
}

static inline struct boot_memory make_memory(struct memory *m, uint64_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    m->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    m->written = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(m->bytes != MAP_FAILED && m->written != MAP_FAILED);
    m->size = size;
    m->fail_from = UINT64_MAX;
    return (struct boot_memory){ memory_write, m };
}

static inline void free_memory(struct memory *m)
{
    munmap(m->bytes, m->size);
    munmap(m->written, m->size);
}

/* A copy in a heap block of exactly n bytes, so that a read beyond it is seen. */
static inline uint8_t *exact_copy(const uint8_t *bytes, uint64_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    memcpy(p, bytes, n);
    return p;
}

/* xorshift64 */
static inline uint64_t random_next(uint64_t *s)
{
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s;
}

#endif
