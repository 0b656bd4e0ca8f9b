/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds of records; see record.h. Bytes, numbers and words of guest memory: number.c. */
#include "servers/vmm/record/internal.h"

#define EXIT_WORDS (sizeof(struct umbra_exit_page) / 8)
#define HEAD_WORDS 5 /* of a reply: seq, flags and groups, want and spare, gpr_mask .. op_words, event */
#define BODY_WORDS (offsetof(struct umbra_reply_page, ops) / 8)
#define SEQ_WORD   (offsetof(struct umbra_exit_page, seq) / 8)
#define TSC_WORD   (offsetof(struct umbra_exit_page, tsc) / 8)
#define GPR_WORD   (offsetof(struct umbra_exit_page, gpr) / 8)
BUILD_ASSERT(sizeof(struct umbra_exit_page) % 8 == 0 && EXIT_WORDS <= 128 && BODY_WORDS <= 128);
BUILD_ASSERT(offsetof(struct umbra_reply_page, gpr) == 8 * HEAD_WORDS);

void record_write(struct record_codec *c, uint8_t *to)
{
    c->writing = true;
    c->at = to;
    c->end = to + RECORD_BYTES_MAX;
}

void record_read(struct record_codec *c, const uint8_t *from, size_t bytes)
{
    c->writing = false;
    c->why = NULL;
    c->cut = false;
    c->tag = 0;
    c->at = (uint8_t *)(uintptr_t)from;
    c->end = c->at + bytes;
}

enum record_kind record_next(struct record_codec *c)
{
    if (c->why || (!c->tag && c->at == c->end))
        return RECORD_NOTHING;
    if (!c->tag) {
        c->tag = *c->at++;
        if (!c->tag || (c->tag < 0x80 && (c->tag >= RECORD_KINDS || c->tag == RECORD_ACCESS))) {
            record_bad(c, "no record begins with this byte");
            return RECORD_NOTHING;
        }
    }
    return c->tag & 0x80 ? RECORD_ACCESS : (enum record_kind)c->tag;
}

/* The tag: written, or the one that record_next found. */
static uint8_t tag(struct record_codec *c, uint8_t value)
{
    if (c->writing)
        return record_byte(c, value);
    value = c->tag;
    c->tag = 0;
    return value;
}

/* n words, those that are as expected costing a bit. */
static void code_words(struct record_codec *c, uint64_t *w, const uint64_t *expected, unsigned n)
{
    uint64_t differ[2] = { 0 };

    for (unsigned i = 0; i < n; i++)
        differ[i / 64] |= (uint64_t)(w[i] != expected[i]) << i % 64;
    for (unsigned i = 0; i < (n + 63) / 64; i++)
        differ[i] = record_number(c, differ[i], 0);
    for (unsigned i = 0; i < n; i++)
        w[i] = differ[i / 64] >> i % 64 & 1 ? record_number(c, w[i], expected[i]) : expected[i];
}

/* Registers come back to values that they had: those cost a byte. */
static void code_registers(struct record_codec *c, uint64_t *w, const uint64_t *expected)
{
    uint64_t differ = 0, known = 0;

    for (unsigned i = 0; i < GPRS; i++) {
        bool other = w[i] != expected[i];
        differ |= (uint64_t)other << i;
        known |= (uint64_t)(other && c->value[record_value_slot(w[i])] == w[i]) << i;
    }
    differ = record_number(c, differ, 0);
    known = record_number(c, known, 0);
    for (unsigned i = 0; i < GPRS; i++) {
        if (!(differ >> i & 1))
            w[i] = expected[i];
        else if (known >> i & 1)
            w[i] = c->value[record_byte(c, record_value_slot(w[i]))];
        else
            w[i] = record_number(c, w[i], expected[i]);
    }
    for (unsigned i = 0; i < GPRS; i++)
        c->value[record_value_slot(w[i])] = w[i];
}

static void code_exit(struct record_codec *c, struct umbra_exit_page *x)
{
    uint64_t w[EXIT_WORDS], tsc = c->exit[TSC_WORD];

    x->random = 0; /* the core does not use it */
    __builtin_memcpy(w, x, sizeof(w));
    c->exit[SEQ_WORD]++;
    c->exit[TSC_WORD] = 0;
    w[TSC_WORD] -= tsc;
    code_registers(c, w + GPR_WORD, c->exit + GPR_WORD);
    __builtin_memcpy(c->exit + GPR_WORD, w + GPR_WORD, 8 * GPRS);
    code_words(c, w, c->exit, EXIT_WORDS);
    w[TSC_WORD] += tsc;
    __builtin_memcpy(c->exit, w, sizeof(w));
    __builtin_memcpy(x, w, sizeof(w));
}

void record_begin(struct record_codec *c, struct record_begin *b)
{
    uint64_t w[sizeof(*b) / 8];

    BUILD_ASSERT(sizeof(*b) % 8 == 0);
    __builtin_memset(c->exit, 0, sizeof(*c) - offsetof(struct record_codec, exit));
    __builtin_memcpy(w, b, sizeof(w));
    tag(c, RECORD_BEGIN);
    for (unsigned i = 0; i < sizeof(*b) / 8; i++) {
        w[i] = record_number(c, w[i], 0);
        if (!c->why && i == 0 && w[0] != RECORD_MAGIC)
            record_bad(c, "this is no recording");
        else if (!c->why && i == 1 && w[1] != RECORD_VERSION)
            record_bad(c, "the recording is of another version");
    }
    __builtin_memcpy(b, w, sizeof(w));
}

void record_start(struct record_codec *c, struct boot_cpu *cpu)
{
    uint64_t w[sizeof(*cpu) / 8], none[sizeof(*cpu) / 8] = { 0 };

    BUILD_ASSERT(sizeof(*cpu) % 8 == 0 && sizeof(*cpu) / 8 <= 128);
    tag(c, RECORD_START);
    __builtin_memcpy(w, cpu, sizeof(w));
    code_words(c, w, none, sizeof(w) / 8);
    __builtin_memcpy(cpu, w, sizeof(w));
}

void record_exit(struct record_codec *c, struct umbra_exit_page *x)
{
    tag(c, RECORD_EXIT);
    code_exit(c, x);
}

static void code_text(struct record_codec *c, struct record_text *t)
{
    c->max = t->max = (uint32_t)record_number(c, t->max, c->max);
    t->bytes = (uint32_t)record_number(c, t->bytes, 0);
    if (t->bytes > RECORD_DATA_MAX || t->max > RECORD_DATA_MAX || t->bytes > t->max)
        record_bad(c, "a text is too long");
    for (uint32_t i = 0; !c->why && i < t->bytes; i++)
        t->data[i] = record_byte(c, t->data[i]);
}

void record_give(struct record_codec *c, struct record_text *t)
{
    tag(c, RECORD_GIVE);
    code_text(c, t);
}

void record_take(struct record_codec *c, struct record_text *t)
{
    tag(c, RECORD_TAKE);
    code_text(c, t);
}

void record_end(struct record_codec *c, uint64_t *end)
{
    tag(c, RECORD_END);
    *end = record_number(c, *end, 0);
}

/* --- guest memory --- */

static const uint8_t access_bytes[RECORD_ACCESS_KINDS] = { 1, 2, 4, 8, 0, 1, 2, 4, 8, 0, 4, 8 };

static void code_exchange(struct record_codec *c, struct record_access *a)
{
    uint64_t value = 0;

    __builtin_memcpy(&value, a->data, a->bytes);
    a->expected = record_number(c, a->expected, record_expect(c, a->gpa, a->bytes));
    value = record_number(c, value, a->expected);
    __builtin_memcpy(a->data, &value, a->bytes);
    if (a->result == GMEM_OK && a->gpa.v % a->bytes == 0)
        record_learn(c, a->gpa, a->bytes, value);
}

/* The address: the one that followed the last one before, or its difference to the last one. */
static void code_address(struct record_codec *c, struct record_access *a, bool followed)
{
    uint64_t *next = &c->successor[c->gpa / 4 * 0x9e3779b97f4a7c15ull >> 52];

    BUILD_ASSERT(RECORD_SUCCESSORS == 1 << (64 - 52));
    a->gpa.v = followed ? *next : record_number(c, a->gpa.v, c->gpa);
    c->gpa = *next = a->gpa.v;
}

static bool follows(const struct record_codec *c, gpa_t gpa)
{
    return c->successor[c->gpa / 4 * 0x9e3779b97f4a7c15ull >> 52] == gpa.v;
}

void record_access(struct record_codec *c, struct record_access *a)
{
    uint8_t t = (uint8_t)(0x80 | a->kind << 3 | (c->writing && follows(c, a->gpa)) << 2 | (a->result & 3));

    t = tag(c, t);
    a->kind = (enum record_access_kind)(t >> 3 & 15);
    a->result = t & 3;
    if (a->kind >= RECORD_ACCESS_KINDS) {
        record_bad(c, "there is no such access");
        return;
    }
    code_address(c, a, t & 4);
    if (access_bytes[a->kind])
        a->bytes = access_bytes[a->kind];
    else
        a->bytes = (uint32_t)record_number(c, a->bytes, 0);
    if (a->bytes > RECORD_DATA_MAX)
        record_bad(c, "an access is too long");
    if (c->why)
        return;
    if (a->kind >= RECORD_CAS32 && (a->result == GMEM_OK || a->result == GMEM_LOST))
        code_exchange(c, a);
    else if (a->result == GMEM_OK)
        record_data(c, a->gpa, a->data, a->bytes);
}

/* --- answers --- */

void record_canonical(const struct umbra_reply_page *r, struct umbra_reply_page *out)
{
    uint32_t g = r->groups;

    __builtin_memset(out, 0, sizeof(*out));
    __builtin_memcpy(out, r, 8 * HEAD_WORDS);
    if (!(g & STATE_GPRS))
        out->gpr_mask = 0;
    if (!(g & STATE_RIP))
        out->shadow = 0;
    for (unsigned i = 0; i < GPRS; i++)
        out->gpr[i] = out->gpr_mask >> i & 1 ? r->gpr[i] : 0;
    out->rip = g & STATE_RIP ? r->rip : 0;
    out->rflags = g & STATE_RFLAGS ? r->rflags : 0;
    out->cr2 = g & STATE_CR2 ? r->cr2 : 0;
    out->tsc_offset = g & STATE_TSC ? r->tsc_offset : 0;
    if (g & STATE_CONTROL)
        __builtin_memcpy(&out->cr0, &r->cr0, 4 * 8);
    if (g & STATE_DEBUG)
        __builtin_memcpy(out->dr, r->dr, 6 * 8);
    if (g & STATE_SEGMENTS)
        __builtin_memcpy(out->seg, r->seg, sizeof(r->seg));
    if (g & STATE_MSRS)
        out->msrs = r->msrs;
    for (uint32_t i = 0; i < r->op_words && i < REPLY_OPS_MAX; i++)
        out->ops[i] = r->ops[i];
}

/* The reply with this head that changes nothing of what the exit says. */
static void expected_reply(const uint64_t *head, const struct umbra_exit_page *x, uint64_t *words)
{
    struct umbra_reply_page all, same;

    __builtin_memset(&all, 0, sizeof(all));
    __builtin_memcpy(&all, head, 8 * HEAD_WORDS);
    all.op_words = 0;
    __builtin_memcpy(all.gpr, x->gpr, sizeof(all.gpr));
    all.rip = x->rip;
    all.rflags = x->rflags;
    all.cr2 = x->cr2;
    __builtin_memcpy(&all.cr0, &x->cr0, 3 * 8);
    all.cr3 = x->cr3;
    __builtin_memcpy(all.dr, x->dr, 6 * 8);
    all.tsc_offset = x->tsc_offset;
    __builtin_memcpy(all.seg, x->seg, sizeof(all.seg));
    all.msrs = x->msrs;
    record_canonical(&all, &same);
    __builtin_memcpy(words, &same, 8 * BODY_WORDS);
    __builtin_memcpy(words, head, 8 * HEAD_WORDS);
}

static void code_ops(struct record_codec *c, struct umbra_reply_page *r)
{
    if (r->op_words > REPLY_OPS_MAX)
        record_bad(c, "too many operations");
    for (uint32_t i = 0; !c->why && i < r->op_words; i++) {
        r->ops[i] = record_number(c, r->ops[i], i < 2 ? c->ops[i] : r->ops[i - 2]);
        c->ops[i] = r->ops[i];
    }
}

void record_answer(struct record_codec *c, const struct umbra_exit_page *x, struct record_answer *a)
{
    uint64_t w[BODY_WORDS], expected[BODY_WORDS] = { x->seq };

    tag(c, RECORD_ANSWER);
    __builtin_memcpy(w, &a->reply, sizeof(w));
    code_words(c, w, expected, HEAD_WORDS);
    expected_reply(w, x, expected);
    code_words(c, w + HEAD_WORDS, expected + HEAD_WORDS, BODY_WORDS - HEAD_WORDS);
    __builtin_memset(&a->reply, 0, c->writing ? 0 : sizeof(a->reply));
    __builtin_memcpy(&a->reply, w, sizeof(w));
    code_ops(c, &a->reply);
    c->wake = a->wake = record_number(c, a->wake, c->wake);
    a->summed = x->seq % RECORD_SUM_EVERY == 0;
    a->sum = a->summed ? record_number(c, a->sum, 0) : 0;
}
