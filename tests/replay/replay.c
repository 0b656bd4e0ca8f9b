/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the VMM's core over a recording (docs/replay.md) and compares: replay FILE.
 *
 * Guest memory is what the recording says: each access of the core must be the next one recorded. The first
 * difference ends it: exit number, kind, both sides. Status 0: the same; 1: a difference; 2: no recording. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/policy/*.c servers/vmm/record/*.c
#include "servers/vmm/record/record.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __sanitizer_set_death_callback(void (*callback)(void));

static const char *const kind_names[] = EXIT_KIND_NAMES;
static const char *const record_names[RECORD_KINDS] = { "nothing more",  "a new VMM", "a guest that starts",
                                                        "the next exit", "input",     "an access",
                                                        "output",        "an answer", "the guest's end" };
static const char *const access_names[RECORD_ACCESS_KINDS] = { "read8",       "read16",     "read32",
                                                               "read64",      "read_bytes", "write8",
                                                               "write16",     "write32",    "write64",
                                                               "write_bytes", "cas32",      "cas64" };

static struct {
    struct record_codec codec;
    const uint8_t *file;
    size_t bytes;
    struct record_begin begin;
    struct boot_cpu cpu;
    bool begun, started; /* a record of this kind waits for its exit */
    struct vmm vmm;
    struct vmm_setup setup;
    struct vmm_segment segment;
    struct vmm_state before; /* this exit */
    struct undo_sum sums_before[2];
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    cptr_t tables[SHADOW_TABLES_MAX];
    uint64_t exits, accesses, incarnations;
    bool inside;
    jmp_buf died; /* the recorded VMM: the recording has no more of this exit */
} r;

/* --- verdicts --- */

static const char *kind_of(const struct umbra_exit_page *x)
{
    return kind_names[x->kind < EXIT_KINDS ? x->kind : 0];
}

static _Noreturn void differs(const char *format, ...)
{
    va_list list;

    printf("replay: exit %" PRIu64 " (%s, rip %" PRIx64 "): ", r.exit.seq, kind_of(&r.exit), r.exit.rip);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
    exit(1);
}

static _Noreturn void unusable(const char *why)
{
    printf("replay: byte %zu: %s\n", (size_t)(r.codec.at - r.file), why);
    exit(2);
}

static void core_died(void)
{
    fprintf(stderr, "replay: the core of this tree dies in exit %" PRIu64 " (%s, rip %" PRIx64 ")\n",
            r.exit.seq, kind_of(&r.exit), r.exit.rip);
}

/* The kind of what comes; a file that breaks off in the middle of a record just ends there. */
static enum record_kind next(void)
{
    enum record_kind kind = record_next(&r.codec);

    if (r.codec.why && !r.codec.cut)
        unusable(r.codec.why);
    return r.codec.why ? RECORD_NOTHING : kind;
}

/* After decoding. False: the file ended within it. */
static bool whole(void)
{
    if (r.codec.why && !r.codec.cut)
        unusable(r.codec.why);
    return !r.codec.why;
}

static void decoded(void)
{
    if (!whole())
        longjmp(r.died, 1);
}

/* The recording must have this next; or it ends in this exit, as its VMM died. */
static void expect(enum record_kind kind, const char *core)
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

/* --- incarnations --- */

static void begin(void)
{
    struct record_begin *b = &r.begin;

    record_begin(&r.codec, b);
    if (!whole())
        unusable("the file ends within its first record");
    if (b->table_count < SHADOW_TABLES_MIN || b->table_count > SHADOW_TABLES_MAX ||
        b->memory_bytes > 3ull << 30 || b->memory_bytes < PAGE_BYTES || b->tsc_hz == 0)
        unusable("there is no such guest");
    if (b->result == VMM_NEW && r.exits == 0)
        printf("replay: a guest of %" PRIu64 " MB, kernel %016" PRIx64 ", initrd %016" PRIx64 "\n",
               b->memory_bytes >> 20, b->kernel_digest, b->initrd_digest);
    r.begun = true;
    r.incarnations++;
}

/* What a dead VMM left of an exit that it did not finish is taken back. Its record of that stopped elsewhere
 * than ours did, so the state is put back as it was instead. */
static void take_back(void)
{
    r.segment.state = r.before;
    memcpy(r.segment.undo.sum, r.sums_before, sizeof(r.sums_before));
    memset(r.segment.undo.word, 0, sizeof(r.segment.undo.word));
    memset(r.segment.undo.write, 0, sizeof(r.segment.undo.write));
}

static void incarnate(uint64_t last_seq)
{
    const struct record_begin *b = &r.begin;
    static void *shadow;

    for (uint32_t i = 0; i < b->table_count; i++)
        r.tables[i] = (cptr_t)(b->first_table + i);
    free(shadow);
    shadow = aligned_alloc(64, (shadow_bytes((uint32_t)b->table_count, b->memory_bytes >> PAGE_SHIFT) + 63) &
                                   ~63ul);
    r.setup = (struct vmm_setup){ .segment = &r.segment,
                                  .exit = &r.exit,
                                  .reply = &r.reply,
                                  .memory_bytes = b->memory_bytes,
                                  .tables = r.tables,
                                  .table_count = (uint32_t)b->table_count,
                                  .shadow_memory = shadow,
                                  .cpuid = &r.begin.cpuid,
                                  .tsc_hz = b->tsc_hz,
                                  .seconds = (int64_t)b->seconds };
    if (!shadow || !vmm_init(&r.vmm, &r.setup))
        unusable("there is no such guest");
    if (b->result != VMM_NEW && last_seq == r.exit.seq)
        take_back();
    r.begun = false;
    enum vmm_resume result = vmm_resume(&r.vmm, &r.setup, b->tsc);
    if (result != b->result)
        differs("taking over: recorded: %" PRIu64 "; the core: %u", b->result, result);
}

/* --- answers --- */

static const char *word_name(unsigned i)
{
    static const struct {
        size_t end;
        const char *name;
    } part[] = { { offsetof(struct umbra_reply_page, flags), "seq" },
                 { offsetof(struct umbra_reply_page, gpr_mask), "groups and flags" },
                 { offsetof(struct umbra_reply_page, op_words), "want and gpr_mask" },
                 { offsetof(struct umbra_reply_page, event),
                   "interrupt shadow and number of operation words" },
                 { offsetof(struct umbra_reply_page, gpr), "event" },
                 { offsetof(struct umbra_reply_page, rip), "general register" },
                 { offsetof(struct umbra_reply_page, rflags), "rip" },
                 { offsetof(struct umbra_reply_page, cr2), "rflags" },
                 { offsetof(struct umbra_reply_page, cr0), "cr2" },
                 { offsetof(struct umbra_reply_page, dr), "cr0, cr4 or efer" },
                 { offsetof(struct umbra_reply_page, tsc_offset), "debug register" },
                 { offsetof(struct umbra_reply_page, seg), "tsc_offset" },
                 { offsetof(struct umbra_reply_page, msrs), "segment" },
                 { offsetof(struct umbra_reply_page, ops), "msr" } };

    for (unsigned k = 0; k < sizeof(part) / sizeof(part[0]); k++)
        if (i * 8 < part[k].end)
            return part[k].name;
    return "operation word";
}

static void compare_replies(const struct umbra_reply_page *recorded, const struct umbra_reply_page *core)
{
    const uint64_t *a = (const void *)recorded, *b = (const void *)core;

    for (unsigned i = 0; i < sizeof(*recorded) / 8; i++)
        if (a[i] != b[i])
            differs("answer, word %u (%s%s): recorded: %" PRIx64 "; the core: %" PRIx64, i, word_name(i),
                    i * 8 == offsetof(struct umbra_reply_page, op_words) ? "; high: shadow" : "", a[i], b[i]);
}

static void answer(void)
{
    static struct record_answer a;
    static struct umbra_reply_page core;

    expect(RECORD_ANSWER, "answers");
    record_answer(&r.codec, &r.exit, &a);
    decoded();
    record_canonical(&r.reply, &core);
    compare_replies(&a.reply, &core);
    if (a.wake != vmm_wake(&r.vmm))
        differs("the timer: recorded: %" PRIx64 "; the core: %" PRIx64, a.wake, vmm_wake(&r.vmm));
    bool comparable = r.begin.state_version == VMM_STATE_VERSION && r.begin.state_words == VMM_STATE_WORDS;
    if (a.summed && comparable && a.sum != r.vmm.undo.sum)
        differs("the sum over the state: recorded: %" PRIx64 "; the core: %" PRIx64, a.sum, r.vmm.undo.sum);
}

/* --- the console --- */

static void give(void)
{
    static struct record_text t;

    record_give(&r.codec, &t);
    decoded();
    size_t given = machine_give(&r.vmm.state->machine, &r.vmm.undo.dev, r.vmm.now, t.data, t.bytes);
    if (given)
        VMM_SET(&r.vmm, input_taken, r.vmm.state->input_taken + given);
}

static void take(void)
{
    static struct record_text t;
    uint8_t bytes[RECORD_DATA_MAX];

    record_take(&r.codec, &t);
    decoded();
    size_t n = machine_take(&r.vmm.state->machine, &r.vmm.undo.dev, r.vmm.now, bytes, t.max);
    if (n != t.bytes || memcmp(bytes, t.data, n) != 0)
        differs("output: recorded: '%.*s'; the core: '%.*s'", (int)t.bytes, (const char *)t.data, (int)n,
                (const char *)bytes);
}

/* --- an exit --- */

static void handle(void)
{
    while (next() == RECORD_GIVE)
        give();
    enum vmm_end end = vmm_handle(&r.vmm);
    if (end != VMM_RUNS) {
        uint64_t recorded;
        expect(RECORD_END, vmm_end_name(end));
        record_end(&r.codec, &recorded);
        decoded();
        if (recorded != end)
            differs("the guest's end: recorded: %s; the core: %s", vmm_end_name((enum vmm_end)recorded),
                    vmm_end_name(end));
    }
    while (next() == RECORD_TAKE)
        take();
    if (end != VMM_RUNS)
        return;
    vmm_commit(&r.vmm);
    answer();
}

static void one_exit(void)
{
    uint64_t last_seq = r.exit.seq;

    record_exit(&r.codec, &r.exit);
    if (!whole())
        return;
    if (r.begun)
        incarnate(last_seq);
    else if (!r.incarnations)
        unusable("an exit before a beginning");
    r.before = r.segment.state;
    memcpy(r.sums_before, r.segment.undo.sum, sizeof(r.sums_before));
    uint64_t accesses = r.accesses;
    r.inside = true;
    if (setjmp(r.died) == 0) {
        if (r.started) {
            vmm_start(&r.vmm, &r.cpu);
            answer();
        } else {
            vmm_begin(&r.vmm);
            handle();
        }
        r.exits++;
        r.inside = false;
    } else {
        printf("replay: the recorded VMM died or was stopped in exit %" PRIu64 " (%s, rip %" PRIx64
               "), %" PRIu64 " accesses to guest memory into it\n",
               r.exit.seq, kind_of(&r.exit), r.exit.rip, r.accesses - accesses);
    }
    r.started = false;
}

static bool one_record(void)
{
    switch (next()) {
    case RECORD_NOTHING:
        return false;
    case RECORD_BEGIN:
        begin();
        return true;
    case RECORD_START:
        record_start(&r.codec, &r.cpu);
        r.started = true;
        return whole();
    case RECORD_EXIT:
        one_exit();
        return true;
    default:
        unusable("a record out of place");
    }
}

static void load(const char *name)
{
    FILE *f = fopen(name, "rb");
    size_t room = 1 << 20, n;
    uint8_t *bytes = malloc(room);

    if (!f) {
        printf("replay: %s cannot be read\n", name);
        exit(2);
    }
    while ((n = fread(bytes + r.bytes, 1, room - r.bytes, f)) != 0) {
        r.bytes += n;
        if (r.bytes == room)
            bytes = realloc(bytes, room *= 2);
    }
    fclose(f);
    r.file = bytes;
    record_read(&r.codec, bytes, r.bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        printf("usage: replay FILE\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    load(argv[1]);
    __sanitizer_set_death_callback(core_died);
    if (next() != RECORD_BEGIN)
        unusable(r.bytes ? "this is no recording" : "the file is empty");
    while (one_record())
        ;
    if (r.codec.why)
        printf("replay: the file ends within a record\n");
    printf("replay: %" PRIu64 " exits and %" PRIu64 " accesses to guest memory of %" PRIu64
           " VMM%s in %zu bytes: the same\n",
           r.exits, r.accesses, r.incarnations, r.incarnations == 1 ? "" : "s", r.bytes);
    return 0;
}
