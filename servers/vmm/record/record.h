/* SPDX-License-Identifier: BSD-2-Clause */
/* The format of a recording: what came into a VMM's core, and what it answered (docs/replay.md).
 *
 * One function a kind of record codes it in both directions, so that writer and reader cannot differ
 * (tests/host/record/test_record.c). Nothing read is trusted: what no writer writes sets `why`, and
 * everything is 0 from there. Numbers are coded as the difference to what is expected, a byte that says which
 * of their eight bytes are not 0, and these. Pure: no system calls, no globals, no allocation. */
#ifndef VMM_RECORD_H
#define VMM_RECORD_H

#include "servers/vmm/core/vmm.h"

#define RECORD_MAGIC      0x4452434552424d55ull /* "UMBRECRD" */
#define RECORD_VERSION    3
#define RECORD_DATA_MAX   4096  /* chosen: one access of the core; a page of table entries */
#define RECORD_BYTES_MAX  16384 /* of one record, coded */
#define RECORD_SUM_EVERY  64    /* exits from one sum over the state to the next */
#define RECORD_CACHE      32768 /* words of guest memory that both sides remember */
#define RECORD_SUCCESSORS 4096  /* addresses of accesses whose successor both sides remember */

enum record_kind {
    RECORD_NOTHING, /* the end, or why is set */
    RECORD_BEGIN,   /* an incarnation */
    RECORD_START,   /* vmm_start; its exit follows */
    RECORD_EXIT,    /* vmm_begin */
    RECORD_GIVE,    /* typed bytes, between vmm_begin and vmm_handle */
    RECORD_ACCESS,  /* of guest memory, in their order */
    RECORD_TAKE,    /* printed bytes, behind vmm_handle */
    RECORD_ANSWER,  /* vmm_commit */
    RECORD_END,     /* instead: the guest ended */
    RECORD_KINDS
};

enum record_access_kind {
    RECORD_READ8,
    RECORD_READ16,
    RECORD_READ32,
    RECORD_READ64,
    RECORD_READ_BYTES,
    RECORD_WRITE8,
    RECORD_WRITE16,
    RECORD_WRITE32,
    RECORD_WRITE64,
    RECORD_WRITE_BYTES,
    RECORD_CAS32,
    RECORD_CAS64,
    RECORD_ACCESS_KINDS
};

/* All 64-bit words, so that it is coded as such. */
struct record_begin {
    uint64_t magic, version;
    uint64_t state_version, state_words;
    uint64_t incarnation;
    uint64_t result; /* enum vmm_resume */
    uint64_t tsc;    /* as given to vmm_resume */
    uint64_t memory_bytes, table_count, first_table;
    uint64_t tsc_hz, seconds, nested;
    uint64_t kernel_bytes, kernel_digest, initrd_bytes, initrd_digest;
    struct cpuid_host cpuid;
};

struct record_access {
    enum record_access_kind kind;
    int result; /* GMEM_* */
    gpa_t gpa;
    uint32_t bytes;
    uint64_t expected; /* compare-and-exchange */
    uint8_t data[RECORD_DATA_MAX];
};

struct record_text {
    uint32_t max, bytes; /* TAKE: asked for; moved */
    uint8_t data[RECORD_DATA_MAX];
};

struct record_answer {
    struct umbra_reply_page reply; /* as record_canonical makes it */
    uint64_t wake, sum;
    bool summed; /* sum counts */
};

struct record_codec {
    bool writing;
    uint8_t tag;     /* reading: of the record that is next, once record_next has said so */
    const char *why; /* what is wrong, NULL nothing */
    bool cut;        /* it is only that the file ends */
    uint8_t *at, *end;
    uint64_t exit[sizeof(struct umbra_exit_page) / 8]; /* the last one */
    uint64_t value[256];                               /* of registers; see record_value_slot */
    uint64_t ops[REPLY_OPS_MAX];
    uint64_t wake;
    uint64_t max; /* of the last text */
    uint64_t gpa; /* of the last access */
    struct {
        uint64_t place, value; /* place: gpa / 8 + 1, 0 nothing */
    } cache[RECORD_CACHE];
    uint64_t successor[RECORD_SUCCESSORS];
};

/* record_write - the next record goes to [to, to + RECORD_BYTES_MAX); c->at is behind it then. */
void record_write(struct record_codec *c, uint8_t *to);
/* record_read - all records are in [from, from + bytes). */
void record_read(struct record_codec *c, const uint8_t *from, size_t bytes);
/* record_next - reading: the kind of the record that comes; asked again, the same. */
enum record_kind record_next(struct record_codec *c);

/* record_begin also forgets all that both sides remembered. */
void record_begin(struct record_codec *c, struct record_begin *b);
void record_start(struct record_codec *c, struct boot_cpu *cpu);
void record_exit(struct record_codec *c, struct umbra_exit_page *x);
void record_access(struct record_codec *c, struct record_access *a);
void record_give(struct record_codec *c, struct record_text *t);
void record_take(struct record_codec *c, struct record_text *t);
/* x: the exit that is answered. */
void record_answer(struct record_codec *c, const struct umbra_exit_page *x, struct record_answer *a);
void record_end(struct record_codec *c, uint64_t *end);

/* record_canonical - what the kernel takes of a reply; all else is 0. */
void record_canonical(const struct umbra_reply_page *r, struct umbra_reply_page *out);
uint64_t record_digest(const uint8_t *bytes, uint64_t n);

#endif
