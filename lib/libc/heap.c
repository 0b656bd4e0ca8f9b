/* SPDX-License-Identifier: BSD-2-Clause */
/* See heap.h. Invariant: used = number of bytes of map[0 .. pages) that are not 0; all pages below hint are
 * in use. */
#include "libc/heap.h"
#include <string.h>

#define PAGE 4096ul

void heap_init(struct heap *h, uintptr_t address, size_t bytes)
{
    size_t total = bytes / PAGE, map_pages = (total + PAGE - 1) / PAGE;

    memset(h, 0, sizeof(*h));
    if (total <= map_pages)
        return;
    h->map = (uint8_t *)address;
    h->base = address + map_pages * PAGE;
    h->pages = total - map_pages;
    memset(h->map, 0, h->pages);
}

static bool run_is_free(const struct heap *h, size_t first, size_t n, size_t *next)
{
    for (size_t i = first; i < first + n; i++)
        if (h->map[i]) {
            *next = i + 1;
            return false;
        }
    return true;
}

uintptr_t heap_take(struct heap *h, size_t n)
{
    size_t first = h->hint;

    if (n == 0 || n > h->pages - h->used)
        return 0;
    while (first <= h->pages - n && !run_is_free(h, first, n, &first))
        ;
    if (first > h->pages - n)
        return 0;
    memset(h->map + first, 1, n);
    if (first == h->hint)
        h->hint = first + n;
    h->used += n;
    if (h->used > h->peak)
        h->peak = h->used;
    memset((void *)(h->base + first * PAGE), 0, n * PAGE);
    return h->base + first * PAGE;
}

bool heap_give(struct heap *h, uintptr_t address, size_t n)
{
    size_t first = (address - h->base) / PAGE;

    if (address < h->base || address % PAGE || first >= h->pages || n > h->pages - first)
        return false;
    for (size_t i = first; i < first + n; i++) {
        h->used -= h->map[i];
        h->map[i] = 0;
    }
    if (first < h->hint)
        h->hint = first;
    return true;
}
