/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/report_text.c
/* Reports of deaths: what init reads of a program that may have gone wild, and the text that it makes. */
#include "check.h"
#include "servers/init/report.h"
#include <stdlib.h>
#include <string.h>

#define TEXT 0x401000ul

static struct report *fresh(void)
{
    struct report *r = calloc(1, sizeof(*r));

    CHECK(r != NULL);
    strcpy(r->why, "crashed: page fault at 0x401234, address 0x8, error code 0x6");
    r->program = "vmm";
    r->has_regs = r->has_exit = true;
    r->regs.rip = 0x401234;
    return r;
}

static void trace(struct report *r, uint64_t seq)
{
    struct umbra_exit_page x = { .seq = seq, .kind = EXIT_IO, .rip = 0x1000 + seq, .tsc = 10 * seq };

    trace_exit(r->trace.ring, &x, x.seq, x.tsc);
}

/* The text, ended by a zero; whole lines only. */
static char *text_of(const struct report *r)
{
    char *to = malloc(REPORT_TEXT_BYTES);
    size_t n = report_write(r, "vmm0", to);

    CHECK(n > 0 && n < REPORT_TEXT_BYTES);
    CHECK_EQ(to[n - 1], '\n');
    to[n] = 0;
    return to;
}

TEST(report_text_of_a_client_is_one_line)
{
    char to[12];

    clean_text("a\nguest b ended: no\r\x1b", to, sizeof(to), ' ');
    CHECK(strcmp(to, "a guest b e") == 0);
    clean_text("a\r\x1b\nb", to, sizeof(to), '\n');
    CHECK(strcmp(to, "a??\nb") == 0);
    clean_text("~\x7f\x80\x9b\xff \"\\", to, sizeof(to), ' ');
    CHECK(strcmp(to, "~???? \"\\") == 0);
}

/* Every form of a near call that a compiler writes, and what looks like one. */
TEST(report_return_address_is_behind_a_call)
{
    static const struct {
        uint8_t code[8], n;
        bool call;
    } cases[] = {
        { { 0xe8, 1, 2, 3, 4 }, 5, true },
        { { 0xe9, 1, 2, 3, 4 }, 5, false },
        { { 0xff, 0xd0 }, 2, true },             /* call rax */
        { { 0x41, 0xff, 0xd4 }, 3, true },       /* call r12 */
        { { 0xff, 0x10 }, 2, true },             /* call [rax] */
        { { 0xff, 0x50, 8 }, 3, true },          /* call [rax + 8] */
        { { 0xff, 0x14, 0xc0 }, 3, true },       /* call [rax + rax * 8] */
        { { 0xff, 0x54, 0x24, 8 }, 4, true },    /* call [rsp + 8] */
        { { 0xff, 0x15, 1, 2, 3, 4 }, 6, true }, /* call [rip + n] */
        { { 0xff, 0x90, 1, 2, 3, 4 }, 6, true }, /* call [rax + n] */
        { { 0xff, 0x94, 0x24, 1, 2, 3, 4 }, 7, true },
        { { 0xff, 0x14, 0xc5, 1, 2, 3, 4 }, 7, true }, /* call [rax * 8 + n] */
        { { 0xff, 0xe0 }, 2, false },                  /* jmp rax */
        { { 0xff, 0x30 }, 2, false },                  /* push [rax] */
        { { 0xff, 0x10, 8 }, 3, false },               /* the call ends a byte before */
        { { 0x90, 0x90 }, 2, false },
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t code[16];
        memset(code, 0x90, sizeof(code));
        memcpy(code + 4, cases[i].code, cases[i].n);
        CHECK_EQ(report_follows_call(code, TEXT, sizeof(code), TEXT + 4 + cases[i].n), cases[i].call);
    }
}

/* At the edges of the code nothing outside is read (the sanitizer watches). */
TEST(report_address_outside_the_code_is_none)
{
    uint8_t *code = malloc(6);

    memset(code, 0xe8, 6);
    for (uint64_t at = TEXT - 8; at < TEXT + 16; at++)
        CHECK_EQ(report_follows_call(code, TEXT, 6, at), at == TEXT + 5);
    CHECK(!report_follows_call(code, TEXT, 6, 0));
    CHECK(!report_follows_call(code, TEXT, 6, ~0ul));
    free(code);
}

TEST(report_scan_stops_when_there_is_no_room)
{
    static const uint8_t code[8] = { 0xe8, 0, 0, 0, 0, 0x90, 0x90, 0x90 };
    struct report *r = fresh();
    uint64_t stack[100];

    for (unsigned i = 0; i < 100; i++)
        stack[i] = i % 3 ? TEXT + 5 : i;
    report_scan(r, stack, 6, code, TEXT, sizeof(code));
    CHECK_EQ(r->calls, 4);
    report_scan(r, stack, 100, code, TEXT, sizeof(code));
    CHECK_EQ(r->calls, REPORT_CALLS);
    free(r);
}

TEST(report_ring_gives_the_last_exits_in_order)
{
    struct report *r = fresh();
    struct trace_entry last[REPORT_EXITS];

    for (uint64_t seq = 1; seq <= 3; seq++)
        trace(r, seq);
    CHECK_EQ(report_exits(r->trace.ring, 3, last), 3);
    CHECK_EQ(last[0].seq, 1);
    CHECK_EQ(last[2].rip, 0x1003);
    for (uint64_t seq = 4; seq <= 1000; seq++)
        trace(r, seq);
    CHECK_EQ(report_exits(r->trace.ring, 1000, last), REPORT_EXITS);
    CHECK_EQ(last[0].seq, 1001 - REPORT_EXITS);
    CHECK_EQ(last[REPORT_EXITS - 1].seq, 1000);
    /* a death between delivery and the entry: the exit before is the last there is */
    CHECK_EQ(report_exits(r->trace.ring, 1001, last), REPORT_EXITS - 1);
    CHECK_EQ(report_exits(r->trace.ring, 0, last), 0);
    free(r);
}

TEST(report_has_a_consoles_last_lines_and_their_steps)
{
    struct report *r = fresh();

    r->has_exit = false;
    for (uint64_t n = 0; n < LINE_TRACES + 2; n++)
        line_begin(&r->lines,
                   (struct line_trace){ .position = 100 + n, .seq = 7, .answered = 9, .length = 3 });
    line_step(&r->lines, LINE_COMMITTED);
    line_step(&r->lines, LINE_FOUND);
    char *text = text_of(r);
    CHECK(strstr(text, "\nline 2: guest 0, entry 102 of exit 7, answered 9, 3 bytes, steps T\n") != NULL);
    CHECK(strstr(text, "\nline 17: guest 0, entry 117 of exit 7, answered 9, 3 bytes, steps TLR\n") != NULL);
    CHECK(strstr(text, "\nline 1: ") == NULL);
    free(text);
    free(r);
}

TEST(report_has_the_last_bytes_typed_and_their_steps)
{
    struct report *r = fresh();

    r->has_exit = false;
    for (uint64_t n = 0; n < INPUT_TRACES + 2; n++) {
        input_begin(&r->lines, INPUT_RECEIVED, (uint8_t)(0x20 + n));
        input_decided(&r->lines, (struct input_trace){
                                     .position = 50 + n, .count = 51 + n, .released = 48, .answered = 9 });
        input_step(&r->lines, INPUT_GIVEN);
        input_step(&r->lines, INPUT_EMPTIED);
        input_step(&r->lines, INPUT_DONE);
    }
    input_begin(&r->lines, INPUT_KEPT, 'x');
    input_found(&r->lines, false, 'x');
    char *text = text_of(r);
    CHECK(strstr(text,
                 "\ntyped 17: 0x31 to guest 0 behind 67, count 68, released 48, answered 9, steps VDGEN\n"));
    CHECK(strstr(text, "\ntyped 18: 0x78 to nobody behind 0, count 0, released 0, answered 0, steps KF\n"));
    CHECK(strstr(text, "\ntyped 3: ") && !strstr(text, "\ntyped 2: "));
    free(text);
    memset(&r->lines, 0xff, sizeof(r->lines));
    text = text_of(r);
    CHECK(strstr(text, "\ntyped 18446744073709551614: ") !=
          NULL); /* the largest report of a console is whole */
    free(text);
    free(r);
}

/* Whatever stands in what the dead one could write, the text is bounded and of printable lines. */
TEST(report_of_garbage_is_bounded_text)
{
    struct report *r = fresh();
    uint64_t x = 1;

    for (unsigned round = 0; round < 300; round++) {
        uint8_t *p = (uint8_t *)&r->trace;
        for (size_t i = 0; i < sizeof(r->trace); i++, x = x * 6364136223846793005ul + 1)
            p[i] = round ? x >> 56 : 0xff;
        for (uint64_t i = 0; i < TRACE_ENTRIES && round % 2; i++) /* entries that look right */
            r->trace.ring[i].seq = i + round;
        r->exit.seq = round;
        r->exit.kind = (uint32_t)x;
        char *text = text_of(r);
        for (const char *c = text; *c; c++)
            CHECK(*c == '\n' || (*c >= ' ' && *c <= '~'));
        free(text);
    }
    free(r);
}

/* Everything at its largest still fits, up to the last line. */
TEST(report_largest_is_whole)
{
    struct report *r = fresh();

    memset(&r->regs, 0xff, sizeof(r->regs));
    memset(&r->exit, 0xff, sizeof(r->exit));
    memset(&r->trace, 0xff, sizeof(r->trace));
    memset(r->why, 'w', sizeof(r->why) - 1);
    r->deaths = r->incarnation = ~0u;
    r->calls = REPORT_CALLS;
    memset(r->call, 0xff, sizeof(r->call));
    r->exit.seq = ~0ull;
    for (uint64_t i = 0; i < TRACE_ENTRIES; i++)
        r->trace.ring[(~0ull - i) % TRACE_ENTRIES].seq = ~0ull - i;
    char *text = text_of(r);
    CHECK(strstr(text, "\ntrace 18446744073709551615 ") != NULL);
    free(text);
    free(r);
}

TEST(report_names_exit_registers_and_calls)
{
    struct report *r = fresh();

    r->call[r->calls++] = 0x401005;
    r->exit = (struct umbra_exit_page){
        .seq = 7, .kind = EXIT_PAGE, .rip = 0xabc, .info = { 0x123, 6 }, .tsc = 100
    };
    r->exit.gpr[R15] = 0x7777;
    r->answered = 6;
    r->trace.state.cr3 = 0x5000;
    r->trace.state.input_taken = 40;
    trace(r, 6);
    char *text = text_of(r);
    CHECK(strncmp(text, "crashed: page fault at 0x401234", 31) == 0);
    CHECK(strstr(text, "\ncomponent vmm0, program vmm, incarnation 0\n") != NULL);
    CHECK(strstr(text, "\nat 0x401234\ncalled from 0x401005\n") != NULL);
    CHECK(strstr(text, "\nexit 7 page, not answered: rip 0xabc info 0x123 0x6 0 ") != NULL);
    CHECK(strstr(text, "r15 0000000000007777\n") != NULL);
    CHECK(strstr(text, " cr3 5000 ") != NULL);
    CHECK(strstr(text, "\ninput taken 40\n") != NULL);
    CHECK(strstr(text, "\ntrace 6 io          rip 0x1006 info 0 0 steps B, 40 ticks before\n") != NULL);
    free(text);
    r->answered = 7;
    text = text_of(r);
    CHECK(strstr(text, "\nexit 7 page, answered: ") != NULL);
    free(text);
    free(r);
}
