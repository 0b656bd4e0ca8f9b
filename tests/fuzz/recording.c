/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the reader of recordings.
 *
 * Oracles: nothing is read behind the file; what is read keeps the format's bounds, and what was refused
 * stays so; what was read can be written, and is read again as it was. */
// USES: servers/vmm/record/*.c
#include "support/fuzz.h"

#include "servers/vmm/record/record.h"
#undef CHECK
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 64u

/* A record of any kind; what is not of its kind is 0. */
struct any {
    enum record_kind kind;
    struct record_begin begin;
    struct boot_cpu cpu;
    struct umbra_exit_page exit;
    struct record_access access;
    struct record_text text;
    struct record_answer answer;
    uint64_t end;
};

static struct record_codec reader, writer, again;
static struct umbra_exit_page last_exit; /* an answer is coded against it */
static uint8_t bytes_of_one[RECORD_BYTES_MAX];
static struct any found, copy;

static void code(struct record_codec *c, struct any *x)
{
    switch (x->kind) {
    case RECORD_BEGIN:
        record_begin(c, &x->begin);
        break;
    case RECORD_START:
        record_start(c, &x->cpu);
        break;
    case RECORD_EXIT:
        record_exit(c, &x->exit);
        break;
    case RECORD_ACCESS:
        record_access(c, &x->access);
        break;
    case RECORD_GIVE:
        record_give(c, &x->text);
        break;
    case RECORD_TAKE:
        record_take(c, &x->text);
        break;
    case RECORD_ANSWER:
        record_answer(c, &last_exit, &x->answer);
        break;
    default:
        record_end(c, &x->end);
    }
}

static void check_bounds(const struct any *x)
{
    if (x->kind == RECORD_ACCESS)
        CHECK(x->access.bytes <= RECORD_DATA_MAX && x->access.kind < RECORD_ACCESS_KINDS);
    if (x->kind == RECORD_ANSWER)
        CHECK_LE(x->answer.reply.op_words, REPLY_OPS_MAX);
    if (x->kind == RECORD_GIVE || x->kind == RECORD_TAKE)
        CHECK(x->text.bytes <= RECORD_DATA_MAX && x->text.bytes <= x->text.max);
}

/* The codec that reads again lives from one short piece to the next: it is pointed at each. */
static void write_and_read(void)
{
    struct any written = found;

    record_write(&writer, bytes_of_one);
    code(&writer, &written);
    CHECK(!writer.why);
    size_t n = (size_t)(writer.at - bytes_of_one);
    uint8_t *exact = malloc(n);
    memcpy(exact, bytes_of_one, n);
    again.at = exact;
    again.end = exact + n;
    memset(&copy, 0, sizeof(copy));
    CHECK_EQ(copy.kind = record_next(&again), found.kind);
    code(&again, &copy);
    CHECK(!again.why && again.at == again.end);
    CHECK_MEM_EQ(&copy, &found, sizeof(copy));
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    enum record_kind kind;

    memset(&last_exit, 0, sizeof(last_exit));
    memset(&writer, 0, sizeof(writer));
    memset(&reader, 0, sizeof(reader));
    memset(&again, 0, sizeof(again));
    record_read(&reader, bytes, n);
    record_read(&again, bytes, 0);
    for (unsigned i = 0; i < RECORDS_MAX && (kind = record_next(&reader)) != RECORD_NOTHING; i++) {
        memset(&found, 0, sizeof(found));
        found.kind = kind;
        code(&reader, &found);
        CHECK(reader.at <= bytes + n);
        if (reader.why)
            break;
        check_note("record %u kind %u", i, kind);
        found.exit.random = 0; /* no writer writes it, the core does not use it */
        check_bounds(&found);
        write_and_read();
        if (kind == RECORD_EXIT)
            last_exit = found.exit;
    }
    if (reader.why)
        CHECK_EQ(record_next(&reader), RECORD_NOTHING);
    return 0;
}
