/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of a bounded heap for musl's allocator. Private to lib/libc; host tests use it, too. */
#ifndef LIB_LIBC_HEAP_H
#define LIB_LIBC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* map has a byte for each page: 0 free. It lies in the heap's own first pages. */
struct heap {
    uint8_t *map;
    uintptr_t base; /* of page 0 */
    size_t pages, used, peak, hint;
};

/* heap_init - take over bytes at address (page aligned). Less than two pages: an empty heap. */
void heap_init(struct heap *h, uintptr_t address, size_t bytes);
/* heap_take - n pages, zeroed; 0 if there are not so many in a row. First fit. */
uintptr_t heap_take(struct heap *h, size_t n);
/* heap_give - take pages back. False: not pages of the heap, nothing changed. Pages already free stay free.
 */
bool heap_give(struct heap *h, uintptr_t address, size_t n);

#endif
