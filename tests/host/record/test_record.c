/* SPDX-License-Identifier: BSD-2-Clause */
/* The format of recordings: what is written is what is read; what nobody wrote is refused, wherever it
 * breaks. */
// USES: servers/vmm/record/*.c tests/host/record/any.c
#include "any.h"
#undef CHECK
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 4096

static struct record_codec writer, reader;
static struct umbra_exit_page last_exit; /* an answer is coded against it */
static uint8_t *file;
static size_t file_bytes, starts[RECORDS_MAX + 1];
static uint64_t seed;

static uint64_t any64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static uint64_t below(uint64_t n)
{
    return any64() % n;
}

/* Numbers as guests have them: small ones, addresses, anything. */
static uint64_t number(void)
{
    switch (below(4)) {
    case 0:
        return 0;
    case 1:
        return below(4096);
    case 2:
        return 0xffffffff81000000 + below(1 << 20);
    default:
        return any64();
    }
}

static void fill(void *to, size_t bytes)
{
    for (size_t i = 0; i < bytes / 8; i++)
        ((uint64_t *)to)[i] = number();
}

/* --- making records --- */

static void make_access(struct record_access *a)
{
    static const uint8_t width[] = { 1, 2, 4, 8, 0, 1, 2, 4, 8, 0, 4, 8 };

    a->kind = below(RECORD_ACCESS_KINDS);
    a->result = below(4) ? GMEM_OK : (int)below(4);
    a->gpa.v = (0x10000 + 8 * below(64)) + (a->kind < RECORD_CAS32 ? below(8) : 0);
    a->bytes = width[a->kind] ? width[a->kind] : (uint32_t)below(8) ? (uint32_t)below(40) : RECORD_DATA_MAX;
    if (a->kind >= RECORD_CAS32) {
        a->result = below(2) ? GMEM_OK : GMEM_LOST;
        a->expected = a->bytes == 8 ? number() : (uint32_t)number();
    } else if (a->result != GMEM_OK) {
        return;
    }
    for (uint32_t i = 0; i < a->bytes; i++)
        a->data[i] = (uint8_t)number();
}

static void make_answer(struct record_answer *a)
{
    static struct umbra_reply_page r;

    fill(&r, sizeof(r));
    r.seq = below(8) ? last_exit.seq : number();
    r.op_words = (uint32_t)(below(8) ? below(12) : below(REPLY_OPS_MAX + 1));
    record_canonical(&r, &a->reply);
    a->wake = number();
    a->summed = last_exit.seq % RECORD_SUM_EVERY == 0;
    a->sum = a->summed ? any64() : 0;
}

static void make(struct any *x, enum record_kind kind)
{
    memset(x, 0, sizeof(*x));
    x->kind = kind;
    fill(&x->begin, kind == RECORD_BEGIN ? sizeof(x->begin) : 0);
    x->begin.magic = kind == RECORD_BEGIN ? RECORD_MAGIC : 0;
    x->begin.version = kind == RECORD_BEGIN ? RECORD_VERSION : 0;
    fill(&x->cpu, kind == RECORD_START ? sizeof(x->cpu) : 0);
    if (kind == RECORD_EXIT) {
        x->exit = last_exit;
        for (unsigned n = (unsigned)below(20); n; n--)
            ((uint64_t *)&x->exit)[below(sizeof(x->exit) / 8)] = number();
        x->exit.random = 0;
        x->exit.seq = last_exit.seq + 1;
        last_exit = x->exit;
    } else if (kind == RECORD_ACCESS) {
        make_access(&x->access);
    } else if (kind == RECORD_GIVE || kind == RECORD_TAKE) {
        x->text.max = (uint32_t)below(65);
        x->text.bytes = (uint32_t)below(x->text.max + 1);
        for (uint32_t i = 0; i < x->text.bytes; i++)
            x->text.data[i] = (uint8_t)any64();
    } else if (kind == RECORD_ANSWER) {
        make_answer(&x->answer);
    } else if (kind == RECORD_END) {
        x->end = number();
    }
}

static void code(struct record_codec *c, struct any *x)
{
    any_code(c, x, &last_exit);
    if (x->kind == RECORD_EXIT)
        last_exit = x->exit;
}

/* --- a file of them --- */

/* The same records for the same seed: made when writing, and made again to compare. */
static void first_record(struct any *x, uint64_t of)
{
    seed = of;
    memset(&last_exit, 0, sizeof(last_exit));
    make(x, RECORD_BEGIN);
}

static void next_record(struct any *x)
{
    make(x, below(50) ? RECORD_EXIT + below(RECORD_KINDS - RECORD_EXIT) : 1 + below(RECORD_KINDS - 1));
}

static void write_file(uint64_t of, unsigned records)
{
    static struct any x;
    static uint8_t bytes[RECORD_BYTES_MAX];

    free(file);
    file = NULL;
    file_bytes = 0;
    memset(&writer, 0, sizeof(writer));
    for (unsigned i = 0; i < records; i++) {
        i ? next_record(&x) : first_record(&x, of);
        record_write(&writer, bytes);
        code(&writer, &x);
        CHECK(!writer.why);
        size_t n = (size_t)(writer.at - bytes);
        file = realloc(file, file_bytes + n);
        memcpy(file + file_bytes, bytes, n);
        starts[i] = file_bytes;
        file_bytes += n;
    }
    starts[records] = file_bytes;
}

/* Reads what is in a buffer of exactly that size, so that the sanitizer sees each byte too many. */
static unsigned read_all(const uint8_t *from, size_t bytes)
{
    static struct any x;
    uint8_t *exact = malloc(bytes);
    enum record_kind kind;
    unsigned n = 0;

    memcpy(exact, from, bytes);
    memset(&last_exit, 0, sizeof(last_exit));
    record_read(&reader, exact, bytes);
    while ((kind = record_next(&reader)) != RECORD_NOTHING) {
        x.kind = kind;
        code(&reader, &x);
        CHECK(reader.why || any_in_bounds(&x));
        n += !reader.why;
    }
    free(exact);
    return n;
}

TEST(records_of_every_kind_are_read_as_they_were_written)
{
    static struct any made, found;

    for (uint64_t of = 1; of <= 8; of++) {
        write_file(of, RECORDS_MAX);
        record_read(&reader, file, file_bytes);
        for (unsigned i = 0; i < RECORDS_MAX; i++) {
            i ? next_record(&made) : first_record(&made, of);
            struct umbra_exit_page kept = last_exit;
            memset(&found, 0, sizeof(found));
            check_note("seed %u, record %u", (unsigned)of, i);
            CHECK_EQ(found.kind = record_next(&reader), made.kind);
            code(&reader, &found);
            CHECK(!reader.why);
            CHECK_MEM_EQ(&found, &made, sizeof(made));
            last_exit = kept;
        }
        CHECK_EQ(record_next(&reader), RECORD_NOTHING);
        CHECK(!reader.why);
    }
}

TEST(a_file_that_ends_anywhere_is_read_up_to_there)
{
    write_file(9, 300);
    unsigned whole = 0;
    for (size_t n = 0; n <= file_bytes; n++) {
        while (whole < 300 && starts[whole + 1] <= n)
            whole++;
        check_note("%u bytes", (unsigned)n);
        CHECK_EQ(read_all(file, n), whole);
        CHECK(starts[whole] == n ? !reader.why : reader.cut);
    }
}

TEST(changed_bytes_are_refused_or_read_within_bounds)
{
    unsigned refused = 0;

    write_file(10, 300);
    uint8_t *changed = malloc(file_bytes);
    for (uint64_t round = 1; round <= 800; round++) {
        memcpy(changed, file, file_bytes);
        seed = round * 0x9e3779b97f4a7c15;
        for (unsigned n = 1 + (unsigned)below(4); n; n--)
            changed[below(file_bytes)] = (uint8_t)any64();
        read_all(changed, file_bytes);
        refused += reader.why != NULL;
    }
    free(changed);
    CHECK_LT(250, refused);
}

TEST(bytes_of_chance_are_no_recording)
{
    static uint8_t bytes[2048];

    for (uint64_t round = 1; round <= 300; round++) {
        seed = round * 0x9e3779b97f4a7c15;
        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)any64();
        bytes[0] = RECORD_BEGIN;
        read_all(bytes, sizeof(bytes));
        CHECK(reader.why);
    }
}

TEST(a_recording_of_another_version_is_refused)
{
    struct record_begin b = { .magic = RECORD_MAGIC, .version = RECORD_VERSION + 1 };
    uint8_t bytes[RECORD_BYTES_MAX];

    record_write(&writer, bytes);
    record_begin(&writer, &b);
    record_read(&reader, bytes, (size_t)(writer.at - bytes) + 1);
    CHECK_EQ(record_next(&reader), RECORD_BEGIN);
    record_begin(&reader, &b);
    CHECK(reader.why && strstr(reader.why, "another version"));
}

TEST(what_the_kernel_does_not_take_of_a_reply_is_not_compared)
{
    static struct umbra_reply_page r, out;

    memset(&r, 0xaa, sizeof(r));
    r.groups = STATE_GPRS;
    r.gpr_mask = 2;
    r.op_words = 1;
    record_canonical(&r, &out);
    CHECK_EQ(out.gpr[RAX], 0);
    CHECK_EQ(out.gpr[RCX], 0xaaaaaaaaaaaaaaaa);
    CHECK_EQ(out.rip, 0);
    CHECK_EQ(out.ops[0], 0xaaaaaaaaaaaaaaaa);
    CHECK_EQ(out.ops[1], 0);
    r.groups = STATE_RIP;
    record_canonical(&r, &out);
    CHECK_EQ(out.gpr_mask, 0);
    CHECK_EQ(out.rip, 0xaaaaaaaaaaaaaaaa);
}

/* What makes recordings small: memory that did not change costs its address, once. */
TEST(an_access_that_was_seen_before_costs_two_bytes)
{
    static struct record_access a = { .kind = RECORD_READ64, .bytes = 8, .gpa = { 0x12345678 } };
    static uint8_t bytes[RECORD_BYTES_MAX];

    memset(&writer, 0, sizeof(writer));
    memset(a.data, 0x5a, 8);
    for (unsigned i = 0; i < 3; i++) {
        record_write(&writer, bytes);
        record_access(&writer, &a);
    }
    CHECK_EQ(writer.at - bytes, 2);
}
