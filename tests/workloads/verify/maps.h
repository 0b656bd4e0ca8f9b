/* SPDX-License-Identifier: BSD-2-Clause */
/* A storm of mmap, munmap, mprotect, mremap and madvise over one region, beside a model of what each page
 * must hold and allow. Every page is tried by reading, writing and executing; what must fault must fault with
 * the right cause and error code. Children try everything too and then change their copy. Invariant: a page
 * of the model is present exactly when it was touched since it was mapped (no huge pages, no swap). */
#pragma once
#include "base.h"
#include "faults.h"

#define REGION 192

enum content { NOTHING, ZERO, STAMPED };

struct model_page {
    bool mapped, present;
    int prot;
    enum content content;
    uint64_t stamp;
    uint64_t origin; /* neighbours of equal origin lie in one mapping of the kernel's */
};

struct model {
    uint8_t *base;
    struct model_page page[REGION];
    uint64_t operations;
};

/* A stamped page also holds code, in its middle: mov $stamp, %eax; ret. */
#define CODE_AT 1024

static void put_stamp(uint8_t *page, uint64_t stamp)
{
    uint8_t code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 };
    uint32_t low = (uint32_t)stamp;

    memcpy(code + 1, &low, 4);
    memcpy(page + CODE_AT, code, sizeof(code));
    stamp_page(page, stamp);
}

static struct expected expectation(const struct model_page *p)
{
    struct expected e = { .name = "storm page" };

    e.mapped = p->mapped;
    e.present = p->mapped && p->present && p->prot != PROT_NONE;
    e.readable = p->mapped && p->prot & PROT_READ;
    e.writable = p->mapped && p->prot & PROT_WRITE;
    e.executable = p->mapped && p->prot & PROT_EXEC;
    return e;
}

static void check_content(struct model *m, unsigned i)
{
    const uint8_t *page = m->base + i * PAGE;

    if (m->page[i].content == STAMPED)
        check_stamp(page, m->page[i].stamp, "storm");
    else
        REQUIRE(*(uint64_t *)page == 0 && *(uint64_t *)(page + PAGE - 8) == 0,
                "storm: page %u should be zero", i);
    m->page[i].present = true;
}

static void run_code(struct model *m, unsigned i)
{
    uint32_t value = ((uint32_t(*)(void))(m->base + i * PAGE + CODE_AT))();
    REQUIRE(value == (uint32_t)m->page[i].stamp, "storm: the code of page %u gave %#x instead of %#x", i,
            value, (uint32_t)m->page[i].stamp);
}

/* Tries everything at one page. */
static void probe(struct model *m, unsigned i)
{
    struct model_page *p = &m->page[i];
    struct expected e = expectation(p);
    uint64_t address = (uint64_t)m->base + i * PAGE;

    if (e.readable)
        check_content(m, i);
    else
        try_access(&accesses[below(12)], &e, address + below(500) * 8); /* one that reads */
    e = expectation(p);
    if (e.writable) {
        put_stamp(m->base + i * PAGE, p->stamp = random64() >> 16);
        p->content = STAMPED;
        p->present = true;
    } else {
        try_access(&accesses[12 + below(8)], &e, address + below(250) * 16); /* one that writes */
    }
    e = expectation(p);
    if (!e.executable)
        try_access(&accesses[COUNT(accesses) - 1], &e, address + CODE_AT);
    else if (p->content == STAMPED)
        run_code(m, i);
}

struct range {
    unsigned first, count;
};

static struct range any_range(void)
{
    struct range r = { .first = below(REGION) };
    unsigned most = REGION - r.first < 24 ? REGION - r.first : 24;
    r.count = 1 + below(most);
    return r;
}

static int any_prot(void)
{
    static const int prots[] = { PROT_NONE,
                                 PROT_READ,
                                 PROT_READ | PROT_WRITE,
                                 PROT_READ | PROT_WRITE,
                                 PROT_READ | PROT_EXEC,
                                 PROT_READ | PROT_WRITE | PROT_EXEC };
    return prots[below(COUNT(prots))];
}

static void storm_map(struct model *m)
{
    struct range r = any_range();
    int prot = any_prot(), flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (below(8) ? 0 : MAP_POPULATE);
    void *at = m->base + r.first * PAGE;

    REQUIRE(mmap(at, r.count * PAGE, prot, flags, -1, 0) == at, "storm: mmap: %s", strerror(errno));
    for (unsigned i = r.first; i < r.first + r.count; i++)
        m->page[i] = (struct model_page){ .mapped = true,
                                          .present = (flags & MAP_POPULATE) && prot != PROT_NONE,
                                          .prot = prot,
                                          .content = ZERO,
                                          .origin = m->operations };
}

static void storm_unmap(struct model *m)
{
    struct range r = any_range();

    REQUIRE_OK(munmap(m->base + r.first * PAGE, r.count * PAGE));
    memset(&m->page[r.first], 0, r.count * sizeof(m->page[0]));
}

static void storm_protect(struct model *m)
{
    struct range r = any_range();
    int prot = any_prot();
    bool whole = true;

    for (unsigned i = r.first; i < r.first + r.count; i++)
        whole &= m->page[i].mapped;
    if (!whole)
        return; /* it would stop at the hole */
    REQUIRE_OK(mprotect(m->base + r.first * PAGE, r.count * PAGE, prot));
    for (unsigned i = r.first; i < r.first + r.count; i++) {
        m->page[i].prot = prot;
        m->page[i].origin = mix(m->page[i].origin) + m->operations;
    }
}

static void storm_drop(struct model *m)
{
    struct range r = any_range();

    for (unsigned i = r.first; i < r.first + r.count; i++)
        if (m->page[i].mapped) {
            REQUIRE_OK(madvise(m->base + i * PAGE, PAGE, MADV_DONTNEED));
            m->page[i].content = ZERO;
            m->page[i].present = false;
        }
}

/* Moves the longest run from a page on that certainly lies in one mapping. */
static void storm_move(struct model *m)
{
    unsigned first = below(REGION), count = 1, to;

    if (!m->page[first].mapped)
        return;
    while (first + count < REGION && count < 24 && m->page[first + count].mapped &&
           m->page[first + count].origin == m->page[first].origin)
        count++;
    to = below(REGION - count + 1);
    if (to < first + count && first < to + count)
        return;
    void *target = m->base + to * PAGE;
    REQUIRE(mremap(m->base + first * PAGE, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                   target) == target,
            "storm: mremap: %s", strerror(errno));
    memcpy(&m->page[to], &m->page[first], count * sizeof(m->page[0]));
    memset(&m->page[first], 0, count * sizeof(m->page[0]));
    for (unsigned i = to; i < to + count; i++)
        m->page[i].origin = mix(m->page[i].origin) + m->operations;
}

static void probe_some(struct model *m, unsigned count)
{
    while (count--)
        probe(m, below(REGION));
}

/* A child sees the same, changes it as it likes, and nothing of that reaches us. */
static void storm_child(struct model *m)
{
    pid_t pid = spawn();

    if (!pid) {
        for (unsigned i = 0; i < REGION; i++) {
            if (m->page[i].content != STAMPED)
                m->page[i].present = false; /* tables of pages that hold nothing may not have been copied */
            if (m->page[i].mapped && m->page[i].prot & PROT_READ)
                check_content(m, i);
        }
        for (unsigned i = 0; i < REGION; i++)
            if (m->page[i].mapped && m->page[i].prot & PROT_WRITE)
                put_stamp(m->base + i * PAGE, 1);
        _exit(0);
    }
    for (unsigned i = 0; i < REGION; i += 3)
        if (m->page[i].mapped && m->page[i].prot & PROT_READ)
            probe(m, i);
    expect_exit(pid, 0);
}

static void part_maps(void)
{
    static void (*const operations[])(struct model *) = { storm_map,     storm_map,     storm_unmap,
                                                          storm_protect, storm_protect, storm_move,
                                                          storm_move,    storm_drop };
    static struct model m;

    only_small_pages();
    m.base = map(REGION * PAGE, PROT_NONE, MAP_NORESERVE);
    madvise(m.base, REGION * PAGE, MADV_NOHUGEPAGE);
    REQUIRE_OK(munmap(m.base, REGION * PAGE));
    for (unsigned n = scaled(2500); n; n--) {
        m.operations++;
        operations[below(COUNT(operations))](&m);
        probe_some(&m, 4);
        if (m.operations % 125 == 0)
            storm_child(&m);
    }
    for (unsigned i = 0; i < REGION; i++)
        probe(&m, i);
}
