/* SPDX-License-Identifier: BSD-2-Clause */
/* Little-endian numbers in bytes, however they are aligned. The caller has checked that they are there. */
#ifndef VMM_BOOT_BYTES_H
#define VMM_BOOT_BYTES_H

#include <stdint.h>

static inline uint64_t get_bytes(const uint8_t *p, uint64_t offset, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[offset + i] << 8 * i;
    return v;
}

static inline void put_bytes(uint8_t *p, uint64_t offset, unsigned bytes, uint64_t v)
{
    for (unsigned i = 0; i < bytes; i++)
        p[offset + i] = (uint8_t)(v >> 8 * i);
}

#endif
