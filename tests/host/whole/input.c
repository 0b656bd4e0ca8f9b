/* SPDX-License-Identifier: BSD-2-Clause */
/* A step's bytes as decisions. */
#include "whole.h"
#include <string.h>

static struct {
    const uint8_t *bytes;
    unsigned used;
    uint64_t mixture;
} input;

void input_step(const uint8_t *bytes)
{
    uint64_t word;

    input.bytes = bytes;
    input.used = 0;
    input.mixture = 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < STEP_BYTES; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        input.mixture = (input.mixture ^ word) * 0xbf58476d1ce4e5b9;
        input.mixture ^= input.mixture >> 29;
    }
    input.mixture |= 1;
}

static uint64_t mixed(void)
{
    input.mixture ^= input.mixture << 13;
    input.mixture ^= input.mixture >> 7;
    input.mixture ^= input.mixture << 17;
    return input.mixture >> 3;
}

uint64_t pick(uint64_t n)
{
    if (n <= 1)
        return 0;
    if (n > 256 || input.used == STEP_BYTES)
        return mixed() % n;
    return input.bytes[input.used++] % n;
}

bool one_in(unsigned n)
{
    return pick(n) == n - 1;
}

uint64_t wild(void)
{
    static const uint64_t tried[] = {
        0,      1,          2,       0x7f,     0x80000033,   0x80000011,   0xd01,      BIT(12),
        0x1000, 0x7fffffff, BIT(47), BIT(63),  UINT64_MAX,   0xffffffff,   0xffff0ff0, 0x400,
        0x155,  0x10,       0x31,    USER_END, USER_END - 1, USER_END + 1, BIT(39),    BIT(27),
    };

    switch (pick(5)) {
    case 0:
        return tried[pick(sizeof(tried) / sizeof(tried[0]))];
    case 1:
        return BIT(pick(64));
    case 2:
        return ~BIT(pick(64));
    case 3:
        return pick(4096);
    default:
        return mixed() << 3 ^ mixed();
    }
}
