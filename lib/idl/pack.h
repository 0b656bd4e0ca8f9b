/* SPDX-License-Identifier: BSD-2-Clause */
/* Data of generated stubs in message words (idl/umbra_idl/wire.py): little-endian, unused bits zero.
 *
 * Used by generated code only. Bounds are the callers' duty: they come from the interface and are checked
 * there. */
#ifndef LIB_IDL_PACK_H
#define LIB_IDL_PACK_H

#include <string.h>
#include <umbra/types.h>

BUILD_ASSERT(sizeof(bool) == 1);

static inline uint32_t idl_words(uint32_t bytes)
{
    return (bytes + 7) / 8;
}

/* Length of a string that ends within `limit` bytes; limit if it does not. */
static inline uint32_t idl_string_len(const char *s, uint32_t limit)
{
    uint32_t n = 0;
    while (n < limit && s[n] != 0)
        n++;
    return n;
}

static inline void idl_put(uint64_t *w, const void *from, uint32_t bytes)
{
    if (bytes == 0)
        return;
    w[idl_words(bytes) - 1] = 0;
    memcpy(w, from, bytes);
}

/* false: the unused bytes of the last word are not zero. */
static inline bool idl_get(const uint64_t *w, void *to, uint32_t bytes)
{
    memcpy(to, w, bytes);
    return bytes % 8 == 0 || w[bytes / 8] >> bytes % 8 * 8 == 0;
}

/* A string of exactly n characters, none of them 0; to has n + 1 bytes. */
static inline bool idl_get_string(const uint64_t *w, char *to, uint32_t n)
{
    bool ok = idl_get(w, to, n);
    to[n] = 0;
    return ok && idl_string_len(to, n) == n;
}

static inline bool idl_get_bools(const uint64_t *w, bool *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t v = (uint8_t)(w[i / 8] >> i % 8 * 8);
        if (v > 1)
            return false;
        to[i] = v != 0;
    }
    return n % 8 == 0 || w[n / 8] >> n % 8 * 8 == 0;
}

#endif
