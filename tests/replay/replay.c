/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs the VMM's core over a recording (docs/replay.md) and compares: replay FILE.
 *
 * Guest memory is what the recording says: each access of the core must be the next one recorded. The first
 * difference ends it: exit number, kind, both sides. Status 0: the same; 1: a difference; 2: no recording. */
// USES: tests/replay/reader.c
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c servers/vmm/record/*.c
#include "tests/replay/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __sanitizer_set_death_callback(void (*callback)(void));

struct replay r;

static void core_died(void)
{
    fprintf(stderr, "replay: the core of this tree dies in exit %" PRIu64 " (%s, rip %" PRIx64 ")\n",
            r.exit.seq, kind_of(&r.exit), r.exit.rip);
}

/* --- incarnations --- */

static void begin(void)
{
    struct record_begin *b = &r.begin;

    record_begin(&r.codec, b);
    if (!whole())
        unusable("the file ends within its first record");
    if (b->table_count < SHADOW_TABLES_MIN || b->table_count > SHADOW_TABLES_MAX ||
        b->memory_bytes > 3ull << 30 || b->nested > 1 || b->memory_bytes < PAGE_BYTES || b->tsc_hz == 0)
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

/* A recording VMM asks before it records. */
static void no_segments(void)
{
    unusable("an exit comes without segments");
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
                                  .seconds = (int64_t)b->seconds,
                                  .nested = b->nested,
                                  .sync = no_segments };
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
                 { offsetof(struct umbra_reply_page, want), "groups and flags" },
                 { offsetof(struct umbra_reply_page, gpr_mask), "want and spare" },
                 { offsetof(struct umbra_reply_page, event),
                   "gpr_mask, interrupt shadow and number of operation words" },
                 { offsetof(struct umbra_reply_page, gpr), "event" },
                 { offsetof(struct umbra_reply_page, rip), "general register" },
                 { offsetof(struct umbra_reply_page, rflags), "rip" },
                 { offsetof(struct umbra_reply_page, cr2), "rflags" },
                 { offsetof(struct umbra_reply_page, cr0), "cr2" },
                 { offsetof(struct umbra_reply_page, dr), "cr0, cr3, cr4 or efer" },
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
            differs("answer, word %u (%s): recorded: %" PRIx64 "; the core: %" PRIx64, i, word_name(i), a[i],
                    b[i]);
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
    if (setjmp(r.died) == 0) {
        if (r.started) {
            vmm_start(&r.vmm, &r.cpu);
            answer();
        } else {
            vmm_begin(&r.vmm);
            handle();
        }
        r.exits++;
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
