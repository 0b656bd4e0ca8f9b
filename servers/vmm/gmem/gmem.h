/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory as the VMM sees it: accessors over the window, and the table of what lies where.
 *
 * Every access of the VMM to guest memory goes through these functions. None of them faults: a page that the
 * GuestSpace does not give comes back as GMEM_ABSENT or GMEM_READONLY, and then nothing was read or written.
 * All writes are here so that each can leave an undo record (I8). No policy and no device belongs in here. */
#ifndef VMM_GMEM_H
#define VMM_GMEM_H

#include <umbra/types.h>

enum {
    GMEM_OK,
    GMEM_ABSENT,   /* no memory there, or behind the end of the window */
    GMEM_READONLY, /* writes only: the GuestSpace gives the page without write rights */
    GMEM_LOST,     /* compare-and-exchange only: memory held another value than expected */
};

/* A guest's memory. The implementation is chosen when linking: on the target the window of a View with fault
 * fix-up, on the host tests/host/support/gmem_host.c. */
struct gmem {
    unsigned char *base; /* where gpa 0 appears in this address space */
    uint64_t bytes;      /* accesses end at or before this gpa */
    void *context;       /* the implementation's own (undo record, page flags) */
};

/* gmem_readN, gmem_writeN - one access of N bits at a, which need not be aligned and may cross a page; then
 * either all of it happens or nothing. Aligned accesses are single loads and stores. Returns GMEM_OK,
 * GMEM_ABSENT, GMEM_READONLY (writes). */
int gmem_read8(const struct gmem *m, gpa_t a, uint8_t *out);
int gmem_read16(const struct gmem *m, gpa_t a, uint16_t *out);
int gmem_read32(const struct gmem *m, gpa_t a, uint32_t *out);
int gmem_read64(const struct gmem *m, gpa_t a, uint64_t *out);
int gmem_write8(const struct gmem *m, gpa_t a, uint8_t value);
int gmem_write16(const struct gmem *m, gpa_t a, uint16_t value);
int gmem_write32(const struct gmem *m, gpa_t a, uint32_t value);
int gmem_write64(const struct gmem *m, gpa_t a, uint64_t value);

/* gmem_cas32, gmem_cas64 - replaces expected by value in one locked access; a is naturally aligned. Returns
 * GMEM_LOST, memory unchanged, if another value stands there. */
int gmem_cas32(const struct gmem *m, gpa_t a, uint32_t expected, uint32_t value);
int gmem_cas64(const struct gmem *m, gpa_t a, uint64_t expected, uint64_t value);

/* gmem_read_bytes, gmem_write_bytes - bounded copies, at most GMEM_COPY_MAX bytes. Not single accesses; after
 * an error the bytes of earlier pages may have been copied. */
#define GMEM_COPY_MAX (64u * 1024)
int gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes);
int gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes);

/* What a walk of long-mode tables reads, by level: raw[4] first, then down to raw[last], behind which it does
 * not go: not present, a large page, or level 1. raw[0]: at level 1 the other entry of the aligned pair. */
struct gmem_walk {
    uint64_t raw[5];
    uint32_t last;
};

/* gmem_walk_long - the entries for va from the table at root (a page) on. Each is a single load. Nothing is
 * checked but P and PS. GMEM_OK, or GMEM_ABSENT: somewhere; w is undefined. */
int gmem_walk_long(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w);

/* The same by single accessors, for other implementations. */
static inline int gmem_walk_by_reads(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w)
{
    uint64_t at, table = root.v;

    for (w->last = 4;; w->last--) {
        uint64_t *raw = &w->raw[w->last];
        at = table | (va >> 9 * w->last & 0xff8);
        if (gmem_read64(m, (gpa_t){ at }, raw) != GMEM_OK)
            return GMEM_ABSENT;
        if (w->last == 1)
            return gmem_read64(m, (gpa_t){ at ^ 8 }, &w->raw[0]);
        if (!(*raw & 1) || (w->last < 4 && (*raw & 0x80)))
            return GMEM_OK;
        table = *raw & 0xffffffffff000;
    }
}

/* What a guest frame is. Gaps in the map are MMIO: devices, or nothing at all. */
enum gmem_kind { GMEM_MMIO, GMEM_RAM, GMEM_ROM };

struct gmem_region {
    gfn_t first, end; /* half-open */
    enum gmem_kind kind;
};

#define GMEM_REGIONS_MAX 16
struct gmem_map {
    uint32_t count;
    struct gmem_region region[GMEM_REGIONS_MAX]; /* ascending, without overlap */
};

static inline enum gmem_kind gmem_kind(const struct gmem_map *map, gfn_t gfn)
{
    if (map->count && gfn.v >= map->region[map->count - 1].end.v)
        return GMEM_MMIO; /* where the devices are */
    for (uint32_t i = 0; i < map->count; i++) {
        const struct gmem_region *r = &map->region[i];
        if (gfn.v - r->first.v < r->end.v - r->first.v)
            return r->kind;
    }
    return GMEM_MMIO;
}

#endif
