/* SPDX-License-Identifier: BSD-2-Clause */
/* What a fuzz target is made of: one function from bytes to checks (tests/host/check.h; a failed one aborts),
 * and a cursor over the bytes that gives zeros behind their end.
 *
 * A target is linked in two ways: with libFuzzer (`./build.py verify --fuzz`), and with replay.c, which runs
 * the kept corpus. It keeps nothing from one input to the next: the same bytes do the same. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target; its name is libFuzzer's. bytes lie in a block of exactly n. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct fuzz_input {
    const uint8_t *at, *end;
};

static inline size_t fuzz_left(const struct fuzz_input *in)
{
    return (size_t)(in->end - in->at);
}

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* Little endian, of 1 to 8 bytes. */
static inline uint64_t fuzz_number(struct fuzz_input *in, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)fuzz_byte(in) << 8 * i;
    return v;
}

/* A number below n. */
static inline uint64_t fuzz_below(struct fuzz_input *in, uint64_t n)
{
    return fuzz_number(in, n <= 0x100 ? 1 : n <= 0x10000 ? 2 : n <= 0x100000000 ? 4 : 8) % n;
}

/* Any number, most often one that lies where something ends; one byte or nine. */
static inline uint64_t fuzz_value(struct fuzz_input *in)
{
    uint8_t how = fuzz_byte(in);
    if (how < 0x60)
        return how;
    if (how < 0xa0)
        return 1ull << (how - 0x60);
    if (how < 0xe0)
        return 0 - (1ull << (how - 0xa0));
    return fuzz_number(in, 1 + how % 8);
}

/* fuzz_bytes - n of them; zeros behind the end. */
static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = fuzz_byte(in);
}

#endif
