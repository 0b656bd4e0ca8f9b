/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes, numbers and contents of guest memory; see internal.h. */
#include "servers/vmm/record/internal.h"

void record_bad(struct record_codec *c, const char *why)
{
    if (!c->why)
        c->why = why;
}

uint8_t record_byte(struct record_codec *c, uint8_t value)
{
    if (c->why)
        return 0;
    if (c->at == c->end) {
        c->cut = true;
        record_bad(c, c->writing ? "a record is too long" : "the file ends within a record");
        return 0;
    }
    if (c->writing)
        *c->at = value;
    return *c->at++;
}

uint64_t record_number(struct record_codec *c, uint64_t value, uint64_t expected)
{
    uint64_t x = value ^ expected, out = 0;
    uint8_t mask = 0;

    for (unsigned i = 0; i < 8; i++)
        mask |= (uint8_t)(!!(x >> 8 * i & 0xff) << i);
    mask = record_byte(c, mask);
    for (unsigned i = 0; i < 8; i++)
        if (mask >> i & 1)
            out |= (uint64_t)record_byte(c, (uint8_t)(x >> 8 * i)) << 8 * i;
    return out ^ expected;
}

/* --- guest memory --- */

static uint32_t slot_of(uint64_t word)
{
    BUILD_ASSERT(RECORD_CACHE == 1 << (64 - 49));
    return (uint32_t)(word * 0x9e3779b97f4a7c15ull >> 49);
}

static uint64_t mask_of(uint32_t bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << 8 * bytes) - 1;
}

static bool remembered(const struct record_codec *c, gpa_t gpa)
{
    return c->cache[slot_of(gpa.v / 8)].place == gpa.v / 8 + 1;
}

uint64_t record_expect(const struct record_codec *c, gpa_t gpa, uint32_t bytes)
{
    return remembered(c, gpa) ? c->cache[slot_of(gpa.v / 8)].value >> 8 * (gpa.v % 8) & mask_of(bytes) : 0;
}

void record_learn(struct record_codec *c, gpa_t gpa, uint32_t bytes, uint64_t value)
{
    uint32_t slot = slot_of(gpa.v / 8);
    uint64_t mask = mask_of(bytes) << 8 * (gpa.v % 8), old = remembered(c, gpa) ? c->cache[slot].value : 0;

    c->cache[slot].place = gpa.v / 8 + 1;
    c->cache[slot].value = (old & ~mask) | (value << 8 * (gpa.v % 8) & mask);
}

/* A run over memory in pieces that lie within aligned words. */
struct run {
    gpa_t gpa;
    uint8_t *data;
    uint32_t left;
    uint64_t last, before; /* unknown memory is expected to go on as these two did: a table's entries do */
};

static uint32_t piece(const struct run *r)
{
    uint32_t n = 8 - (uint32_t)(r->gpa.v % 8);
    return n < r->left ? n : r->left;
}

static uint64_t expect_piece(const struct record_codec *c, const struct run *r)
{
    uint32_t n = piece(r);
    return remembered(c, r->gpa) ? record_expect(c, r->gpa, n) : (2 * r->last - r->before) & mask_of(n);
}

static uint64_t value_of(const struct run *r)
{
    uint64_t value = 0;
    __builtin_memcpy(&value, r->data, piece(r));
    return value;
}

static void pass(struct record_codec *c, struct run *r, uint64_t value)
{
    uint32_t n = piece(r);

    value &= mask_of(n);
    if (!c->writing)
        __builtin_memcpy(r->data, &value, n);
    record_learn(c, r->gpa, n, value);
    r->before = r->last;
    r->last = value;
    r->gpa.v += n;
    r->data += n;
    r->left -= n;
}

/* Pieces that are as expected: their number, at most 255. */
static void same_pieces(struct record_codec *c, struct run *r)
{
    struct run ahead = *r;
    uint8_t n = 0;

    if (c->writing) {
        for (; ahead.left && n < 255 && value_of(&ahead) == expect_piece(c, &ahead); n++)
            pass(c, &ahead, value_of(&ahead));
        *r = ahead;
        record_byte(c, n);
        return;
    }
    for (n = record_byte(c, 0); n && r->left; n--)
        pass(c, r, expect_piece(c, r));
    if (n)
        record_bad(c, "an access is longer than it says");
}

void record_data(struct record_codec *c, gpa_t gpa, uint8_t *data, uint32_t bytes)
{
    struct run r = { .gpa = gpa, .data = data, .left = bytes };

    while (r.left && !c->why) {
        if (bytes > 8)
            same_pieces(c, &r);
        if (r.left)
            pass(c, &r, record_number(c, c->writing ? value_of(&r) : 0, expect_piece(c, &r)));
    }
}

uint64_t record_digest(const uint8_t *bytes, uint64_t n)
{
    uint64_t sum = 0xcbf29ce484222325ull; /* FNV-1a's constants, over words */

    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t w = 0;
        __builtin_memcpy(&w, bytes + i, n - i < 8 ? n - i : 8);
        sum = (sum ^ w) * 0x100000001b3ull;
        sum ^= sum >> 29;
    }
    return sum;
}
