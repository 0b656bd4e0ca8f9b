/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: what init reads of a program that died: its trace ring and state, a console's lines and input,
 * its last exit, its stack and code. A VMM that means harm has written all of it.
 *
 * Oracles: nothing is read behind any of it; what is taken for a return address lies in the code, behind a
 * call; the text is bounded, whole lines that print, the same each time. */
// USES: servers/init/report_text.c
#include "support/fuzz.h"

#include "check.h"
#include "servers/init/report.h"

#include <stdlib.h>
#include <string.h>

#define TEXT 0x401000ul

/* Any bytes, here and there some of the input's. */
static void fill(struct fuzz_input *in, void *to, size_t n)
{
    uint8_t *p = to, how = fuzz_byte(in);

    memset(p, how & 1 ? 0xff : 0, n);
    for (unsigned i = 0; i < how >> 4; i++) {
        size_t at = fuzz_below(in, n - 7) & ~(size_t)7;
        uint64_t value = fuzz_value(in);
        memcpy(p + at, &value, 8);
    }
}

static void check_text(const struct report *r)
{
    char *once = malloc(REPORT_TEXT_BYTES), *twice = malloc(REPORT_TEXT_BYTES); /* exactly */
    size_t n = report_write(r, "vmm0", once);

    CHECK(n && n <= REPORT_TEXT_BYTES && once[n - 1] == '\n');
    for (size_t i = 0; i < n; i++)
        CHECK(once[i] == '\n' || (once[i] >= ' ' && once[i] <= '~'));
    CHECK_EQ(report_write(r, "vmm0", twice), n);
    CHECK_MEM_EQ(once, twice, n);
    free(once);
    free(twice);
}

/* Behind E8 and four bytes, or behind FF /2 by a second rule: one of its lengths fits. */
static bool is_behind_a_call(const uint8_t *code, size_t at)
{
    if (at >= 5 && code[at - 5] == 0xe8)
        return true;
    for (size_t n = 2; n <= 7 && n <= at; n++) {
        const uint8_t *p = code + at - n;
        if (p[0] == 0xff && (p[1] & 0x38) == 0x10)
            return true;
    }
    return false;
}

static void scan(struct fuzz_input *in, struct report *r)
{
    size_t bytes = fuzz_byte(in), words = 1 + fuzz_byte(in) % 64;
    uint8_t *code = malloc(bytes ? bytes : 1);
    uint64_t *stack = malloc(words * 8);

    fuzz_bytes(in, code, bytes);
    for (size_t i = 0; i < words; i++)
        stack[i] = i % 4 == 3 ? fuzz_value(in) : TEXT + fuzz_byte(in) - 2;
    r->calls = fuzz_byte(in) % (REPORT_CALLS + 1);
    uint32_t before = r->calls;
    report_scan(r, stack, (uint32_t)words, code, TEXT, bytes);
    CHECK(r->calls >= before && r->calls <= REPORT_CALLS);
    for (uint32_t i = before; i < r->calls; i++)
        CHECK(r->call[i] >= TEXT && r->call[i] - TEXT < bytes && is_behind_a_call(code, r->call[i] - TEXT));
    for (uint64_t at = TEXT - 2; at < TEXT + bytes + 2; at++)
        if (report_follows_call(code, TEXT, bytes, at))
            CHECK(at >= TEXT && at - TEXT < bytes && is_behind_a_call(code, at - TEXT));
    free(code);
    free(stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input in = { bytes, bytes + size };
    struct report *r = calloc(1, sizeof(*r));
    uint8_t how = fuzz_byte(&in);
    char said[300];

    r->program = "vmm";
    r->has_regs = how & 1;
    r->has_exit = how & 2;
    r->deaths = how >> 4;
    fuzz_bytes(&in, said, how & 4 ? 40 : 0);
    said[how & 4 ? 40 : 0] = 0;
    if (how & 8) {
        memset(said, '<' + how, sizeof(said) - 1);
        said[sizeof(said) - 1] = 0;
    }
    clean_text(said, r->why, sizeof(r->why), ' ');
    fill(&in, &r->regs, sizeof(r->regs));
    fill(&in, &r->exit, sizeof(r->exit));
    fill(&in, &r->trace, sizeof(r->trace));
    fill(&in, &r->lines, sizeof(r->lines));
    r->exit.seq = fuzz_value(&in);
    for (uint64_t i = 0; i < TRACE_ENTRIES && how & 0x10; i++) /* entries that look right */
        r->trace.ring[(r->exit.seq - i) % TRACE_ENTRIES].seq = r->exit.seq - i;
    scan(&in, r);
    check_text(r);
    free(r);
    return 0;
}
