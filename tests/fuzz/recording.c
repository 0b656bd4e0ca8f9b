/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the reader of recordings.
 *
 * Oracles: nothing is read behind the file; what is read keeps the format's bounds, and what was refused
 * stays so; what was read can be written, and is read again as it was. */
// USES: servers/vmm/record/*.c tests/host/record/any.c
#include "support/fuzz.h"

#include "tests/host/record/any.h"
#undef CHECK
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 64u

static struct record_codec reader, writer, again;
static struct umbra_exit_page last_exit; /* an answer is coded against it */
static uint8_t bytes_of_one[RECORD_BYTES_MAX];
static struct any found, copy;

/* The codec that reads again lives from one short piece to the next: it is pointed at each. */
static void write_and_read(void)
{
    struct any written = found;

    record_write(&writer, bytes_of_one);
    any_code(&writer, &written, &last_exit);
    CHECK(!writer.why);
    size_t n = (size_t)(writer.at - bytes_of_one);
    uint8_t *exact = malloc(n);
    memcpy(exact, bytes_of_one, n);
    again.at = exact;
    again.end = exact + n;
    memset(&copy, 0, sizeof(copy));
    CHECK_EQ(copy.kind = record_next(&again), found.kind);
    any_code(&again, &copy, &last_exit);
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
        any_code(&reader, &found, &last_exit);
        CHECK(reader.at <= bytes + n);
        if (reader.why)
            break;
        check_note("record %u kind %u", i, kind);
        found.exit.random = 0; /* no writer writes it, the core does not use it */
        CHECK(any_in_bounds(&found));
        write_and_read();
        if (kind == RECORD_EXIT)
            last_exit = found.exit;
    }
    if (reader.why)
        CHECK_EQ(record_next(&reader), RECORD_NOTHING);
    return 0;
}
