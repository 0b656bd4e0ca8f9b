/* SPDX-License-Identifier: BSD-2-Clause */
/* Verdicts; and guest memory as the recording says it is: each access of the core must be the next one
 * recorded. */
#include "tests/replay/replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = EXIT_KIND_NAMES;
static const char *const record_names[RECORD_KINDS] = { "nothing more",  "a new VMM", "a guest that starts",
                                                        "the next exit", "input",     "an access",
                                                        "output",        "an answer", "the guest's end" };
static const char *const access_names[RECORD_ACCESS_KINDS] = { "read8",       "read16",     "read32",
                                                               "read64",      "read_bytes", "write8",
                                                               "write16",     "write32",    "write64",
                                                               "write_bytes", "cas32",      "cas64" };

/* --- verdicts --- */

const char *kind_of(const struct umbra_exit_page *x)
{
    return kind_names[x->kind < EXIT_KINDS ? x->kind : 0];
}

_Noreturn void differs(const char *format, ...)
{
    va_list list;

    printf("replay: exit %" PRIu64 " (%s, rip %" PRIx64 "): ", r.exit.seq, kind_of(&r.exit), r.exit.rip);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    exit(1);
}

_Noreturn void unusable(const char *why)
{
    printf("replay: byte %zu: %s\n", (size_t)(r.codec.at - r.file), why);
    exit(2);
}

enum record_kind next(void)
{
    enum record_kind kind = record_next(&r.codec);

    if (r.codec.why && !r.codec.cut)
        unusable(r.codec.why);
    return r.codec.why ? RECORD_NOTHING : kind;
}

bool whole(void)
{
    if (r.codec.why && !r.codec.cut)
        unusable(r.codec.why);
    return !r.codec.why;
}

void decoded(void)
{
    if (!whole())
        longjmp(r.died, 1);
}

void expect(enum record_kind kind, const char *core)
{
    enum record_kind found = next();

    if (found == RECORD_NOTHING || found == RECORD_BEGIN)
        longjmp(r.died, 1);
    if (found == RECORD_ACCESS && kind != RECORD_ACCESS) {
        static struct record_access a;
        record_access(&r.codec, &a);
        decoded();
        differs("recorded: %s at %" PRIx64 "; the core: %s", access_names[a.kind], a.gpa.v, core);
    }
    if (found != kind)
        differs("recorded: %s; the core: %s", record_names[found], core);
}

/* --- guest memory --- */

static struct record_access *accessing(enum record_access_kind kind, gpa_t a, size_t bytes)
{
    static struct record_access x;
    char text[64];

    snprintf(text, sizeof(text), "%s of %zu bytes at %" PRIx64, access_names[kind], bytes, a.v);
    expect(RECORD_ACCESS, text);
    record_access(&r.codec, &x);
    decoded();
    if (x.kind != kind || x.gpa.v != a.v || x.bytes != bytes)
        differs("recorded: %s of %u bytes at %" PRIx64 "; the core: %s", access_names[x.kind], x.bytes,
                x.gpa.v, text);
    r.accesses++;
    return &x;
}

static int reading(enum record_access_kind kind, gpa_t a, void *to, size_t bytes)
{
    const struct record_access *x = accessing(kind, a, bytes);

    if (x->result == GMEM_OK)
        memcpy(to, x->data, bytes);
    return x->result;
}

static uint64_t number(const void *from, size_t bytes)
{
    uint64_t n = 0;
    memcpy(&n, from, bytes < 8 ? bytes : 8);
    return n;
}

static int writing(enum record_access_kind kind, gpa_t a, const void *from, size_t bytes, uint64_t expected)
{
    const struct record_access *x = accessing(kind, a, bytes);
    bool cas = kind >= RECORD_CAS32;

    if ((x->result == GMEM_OK || cas) && memcmp(x->data, from, bytes) != 0)
        differs("%s at %" PRIx64 ": recorded: %" PRIx64 "; the core: %" PRIx64, access_names[kind], a.v,
                number(x->data, bytes), number(from, bytes));
    if (cas && x->expected != expected)
        differs("%s at %" PRIx64 " expects: recorded: %" PRIx64 "; the core: %" PRIx64, access_names[kind],
                a.v, x->expected, expected);
    return x->result;
}

#define ACCESSORS(bits)                                                                                      \
    int gmem_read##bits(const struct gmem *m, gpa_t a, uint##bits##_t *out)                                  \
    {                                                                                                        \
        (void)m;                                                                                             \
        return reading(RECORD_READ##bits, a, out, sizeof(*out));                                             \
    }                                                                                                        \
    int gmem_write##bits(const struct gmem *m, gpa_t a, uint##bits##_t value)                                \
    {                                                                                                        \
        (void)m;                                                                                             \
        return writing(RECORD_WRITE##bits, a, &value, sizeof(value), 0);                                     \
    }
ACCESSORS(8)
ACCESSORS(16)
ACCESSORS(32)
ACCESSORS(64)

int gmem_cas32(const struct gmem *m, gpa_t a, uint32_t expected, uint32_t value)
{
    (void)m;
    return writing(RECORD_CAS32, a, &value, sizeof(value), expected);
}

int gmem_cas64(const struct gmem *m, gpa_t a, uint64_t expected, uint64_t value)
{
    (void)m;
    return writing(RECORD_CAS64, a, &value, sizeof(value), expected);
}

int gmem_walk_long(const struct gmem *m, gpa_t root, uint64_t va, struct gmem_walk *w)
{
    return gmem_walk_by_reads(m, root, va, w);
}

int gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes)
{
    (void)m;
    return reading(RECORD_READ_BYTES, a, to, bytes);
}

int gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes)
{
    (void)m;
    return writing(RECORD_WRITE_BYTES, a, from, bytes, 0);
}
