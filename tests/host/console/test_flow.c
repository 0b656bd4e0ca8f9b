/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/console/flow.c servers/console/frame.c
/* A console that dies at any step, and the next one: every byte once, in order, in both directions. */
#define _GNU_SOURCE
#include "check.h"
#include "servers/console/flow.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#define GUESTS 3u
#define LINE   4096u
#define NEVER  UINT64_MAX

static struct console_output output[CONSOLE_GUESTS];
static struct console_input input[CONSOLE_GUESTS];
static struct umbra_vm_public public[CONSOLE_GUESTS];
static struct console_state state;
static uint8_t line[LINE], typed[LINE];
static size_t shown, typing, typed_bytes; /* on the line; read from it so far, of so many */
static uint64_t steps_left;
static struct flow_left left;
static uint64_t already; /* typed to guest 0 before */
static jmp_buf death;
static void (*meanwhile)(void); /* another process's turn, once */

void flow_step(void)
{
    void (*turn)(void) = meanwhile;

    meanwhile = NULL;
    if (turn)
        turn();
    if (steps_left != NEVER && steps_left-- == 0)
        longjmp(death, 1);
}

static bool dies(void)
{
    return steps_left != NEVER && steps_left-- == 0;
}

/* As port.c: death is possible before the access, between it and the store, and behind that. */
static void put(struct console_state *s)
{
    flow_step();
    CHECK(shown < LINE);
    line[shown++] = s->line.data[s->line.length - s->line.left];
    if (dies()) {
        left.putting = true;
        longjmp(death, 1);
    }
    s->line.left--;
    flow_step();
}

static void get(struct console_state *s)
{
    flow_step();
    uint8_t byte = typed[typing++];
    if (dies()) {
        left = (struct flow_left){ .getting = true, .byte = byte };
        longjmp(death, 1);
    }
    s->received = byte;
    flow_step();
}

/* One life: all there is to do, in turns. */
static void live(bool framed)
{
    struct flow f = { .state = &state };
    struct flow_left before = left;

    for (uint32_t i = 0; i < (framed ? GUESTS : 1); i++)
        f.guest[i] = (struct console_guest){ true, &output[i], &input[i], &public[i] };
    left = (struct flow_left){ 0 };
    flow_open(&f, framed, &before);
    for (bool more = true; more;) {
        more = flow_next(&f);
        if (more)
            put(&state);
        if (typing < typed_bytes) {
            get(&state);
            flow_typed(&f);
            more = true;
        }
    }
}

static void say(uint32_t guest, uint64_t seq, const char *text)
{
    struct console_entry *e = &output[guest].entry[output[guest].produced++ % CONSOLE_OUTPUT_ENTRIES];

    e->seq = seq;
    e->length = (uint32_t)strlen(text);
    memcpy(e->data, text, e->length);
}

static void begin(bool framed)
{
    memset(output, 0, sizeof(output));
    memset(input, 0, sizeof(input));
    memset(&state, 0, sizeof(state));
    left = (struct flow_left){ 0 };
    shown = typing = typed_bytes = 0;
    for (uint32_t i = 0; i < GUESTS; i++) {
        output[i].magic = CONSOLE_MAGIC;
        public[i].answered = 9;
    }
    input[0].produced = already;
    say(0, 5, "first of zero\xff\n");
    say(1, 7, "one");
    say(0, 9, "second of zero\n");
    say(0, 10, "of an exit that is not answered\n");
    say(2, 0, "");
    say(2, 0, "\xff\xff two");
    const char in[] = "abc\xff\x01xyz\xff\xff\xff\x02q\xff\x09lost\xff\x01!";
    typed_bytes = framed ? sizeof(in) - 1 : 3;
    memcpy(typed, in, typed_bytes);
}

static void run_with_death(bool framed, uint64_t first, uint64_t second)
{
    volatile uint64_t plan[3] = { first, second, NEVER };
    volatile unsigned life = 0;

    begin(framed);
    if (setjmp(death))
        life = life + 1;
    steps_left = plan[life];
    live(framed);
}

/* What each guest's user sees, and each guest finds. Whose turn it is on the line may differ. */
struct outcome {
    uint8_t seen[GUESTS][LINE];
    size_t bytes[GUESTS];
    struct console_input input[GUESTS];
};

static struct outcome outcome(bool framed)
{
    struct deframer d = { .framed = framed };
    struct outcome o = { .bytes = { 0 } };
    uint8_t byte;

    for (size_t i = 0; i < shown; i++)
        if (frame_in(&d, line[i], &byte)) {
            CHECK_LT(d.current, GUESTS);
            o.seen[d.current][o.bytes[d.current]++] = byte;
        }
    memcpy(o.input, input, sizeof(o.input));
    return o;
}

static struct outcome undisturbed;

static void compare(bool framed)
{
    static struct outcome o;

    o = outcome(framed);
    for (uint32_t i = 0; i < GUESTS; i++) {
        const struct console_input *a = &o.input[i], *b = &undisturbed.input[i];
        CHECK_EQ(o.bytes[i], undisturbed.bytes[i]);
        CHECK_MEM_EQ(o.seen[i], undisturbed.seen[i], o.bytes[i]);
        CHECK_EQ(a->produced, b->produced);
        CHECK_EQ(a->output_taken, b->output_taken);
        CHECK_MEM_EQ(a->data, b->data, a->produced);
    }
}

static uint64_t steps_of_a_life(bool framed)
{
    begin(framed);
    steps_left = 1ull << 40;
    live(framed);
    return (1ull << 40) - steps_left;
}

TEST(flow_brings_out_what_was_answered_and_in_what_was_typed)
{
    run_with_death(true, NEVER, NEVER);
    CHECK_EQ(input[0].output_taken, 2);
    CHECK_EQ(input[1].produced, 5);
    CHECK_MEM_EQ(input[1].data, "xyz\xff!", 5);
    CHECK_MEM_EQ(input[0].data, "abc", 3);
    CHECK_EQ(input[2].produced, 1);
    CHECK(!memmem(line, shown, "not answered", 12));
    CHECK(memmem(line, shown, "first of zero\xff\xff\n", 16) != NULL);
}

/* A VMM takes over, makes less output for its exit than the one before, and answers it. */
static void another_vmm(void)
{
    output[0].produced--;
    say(0, 10, "a");
    public[0].answered = 10;
    say(0, 11, "b");
    public[0].answered = 11;
}

TEST(flow_an_entry_that_is_withdrawn_while_it_is_copied_is_not_shown)
{
    begin(false);
    memset(output, 0, sizeof(output));
    output[0].magic = CONSOLE_MAGIC;
    typed_bytes = 0;
    say(0, 10, "ab");
    steps_left = NEVER;
    live(false); /* the entry is of an exit that is not answered */
    CHECK_EQ(shown, 0);
    struct flow f = { .state = &state, .guest[0] = { true, &output[0], &input[0], &public[0] } };
    meanwhile = another_vmm;
    CHECK(!flow_next(&f) && !meanwhile);
    live(false);
    CHECK_EQ(shown, 2);
    CHECK_MEM_EQ(line, "ab", 2);
}

TEST(flow_loses_and_repeats_nothing_wherever_a_console_dies)
{
    for (unsigned framed = 0; framed < 2; framed++) {
        uint64_t steps = steps_of_a_life(framed);
        CHECK(steps > 60);
        undisturbed = outcome(framed);
        for (uint64_t k = 0; k < steps; k++) {
            check_note("death at step %lu of %lu", k, steps);
            run_with_death(framed, k, NEVER);
            compare(framed);
        }
    }
}

TEST(flow_loses_and_repeats_nothing_when_the_next_console_dies_too)
{
    uint64_t steps = steps_of_a_life(true);

    undisturbed = outcome(true);
    for (uint64_t k = 0; k < steps; k += 3)
        for (uint64_t n = 1; n < 40; n++) { /* step 0 is the one behind the registers' use */
            check_note("death at step %lu, then at %lu", k, n);
            run_with_death(true, k, n);
            compare(true);
        }
}

TEST(flow_a_full_input_ring_counts_what_it_loses_once)
{
    already = CONSOLE_INPUT_BYTES - 1;
    for (uint64_t k = 0; k < 60; k++) {
        check_note("death at step %lu", k);
        run_with_death(false, k, NEVER);
        CHECK_EQ(input[0].produced, CONSOLE_INPUT_BYTES);
        CHECK_EQ(input[0].lost, 2);
    }
}

static void check_woken(struct flow *f, uint32_t guest)
{
    CHECK_EQ(flow_to_wake(f), guest);
    if (guest < CONSOLE_GUESTS)
        CHECK_EQ(flow_to_wake(f), CONSOLE_GUESTS);
}

/* After a death, for what is typed, and when there is room again; the last of them, too. */
TEST(flow_each_guest_is_signalled_by_its_own_number)
{
    const struct flow_left nothing = { 0 };

    for (uint32_t i = 0; i < CONSOLE_GUESTS; i++) {
        struct flow f = { .state = &state };
        const uint8_t in[] = { 0xff, (uint8_t)i, 'a' };
        check_note("guest %u", i);
        begin(true);
        steps_left = NEVER;
        output[i] = (struct console_output){ .magic = CONSOLE_MAGIC };
        f.guest[i] = (struct console_guest){ true, &output[i], &input[i], NULL };
        flow_open(&f, true, &nothing);
        flow_open(&f, true, &nothing);
        check_woken(&f, i);
        for (uint32_t n = 0; n < sizeof(in); n++) {
            check_woken(&f, CONSOLE_GUESTS);
            state.received = in[n];
            flow_typed(&f);
        }
        check_woken(&f, i);
        for (uint32_t n = 1; n < CONSOLE_OUTPUT_RUNNING; n++)
            say(i, 0, "text");
        CHECK(flow_next(&f));
        check_woken(&f, CONSOLE_GUESTS);
        state.line.left = 0;
        say(i, 0, "text");
        say(i, 0, "text");
        CHECK(flow_next(&f));
        check_woken(&f, i);
    }
}

TEST(flow_a_broken_ring_is_begun_anew_and_the_others_go_on)
{
    begin(true);
    output[1].produced = 1ull << 60;
    steps_left = NEVER;
    live(true);
    CHECK_EQ(input[1].output_taken, 1ull << 60);
    CHECK(memmem(line, shown, "second of zero\n", 15) != NULL);
    CHECK(!memmem(line, shown, "one", 3));
}

TEST(flow_the_steps_of_a_line_are_noted)
{
    begin(false);
    steps_left = NEVER;
    live(false);
    CHECK_EQ(state.trace.lines, 2);
    CHECK_EQ(state.trace.line[0].steps, 0x1236);
    CHECK_EQ(state.trace.line[1].position, 1);
    CHECK_EQ(state.trace.line[1].seq, 9);
    run_with_death(false, 5, NEVER); /* the line is committed, its ring does not know */
    CHECK_EQ(state.trace.line[0].steps, 0x12536);
}

/* Of one byte, typed to a console that dies once, at the k-th step, when there is nothing else to do. */
static uint64_t steps_of_a_byte(uint64_t k, bool full)
{
    volatile bool died = false;

    already = full ? CONSOLE_INPUT_BYTES : 0;
    begin(false);
    memset(output, 0, sizeof(output));
    output[0].magic = CONSOLE_MAGIC;
    typed_bytes = 1;
    if (setjmp(death))
        died = true;
    steps_left = died ? NEVER : k;
    live(false);
    CHECK_EQ(state.trace.inputs, 1);
    CHECK_EQ(state.trace.input[0].byte, 'a');
    CHECK_EQ(state.trace.input[0].position, already);
    CHECK_EQ(state.trace.input[0].released, 0);
    CHECK_EQ(state.trace.input[0].answered, 9);
    CHECK_EQ(state.trace.input[0].count, full ? 1 : 1 + already);
    already = 0;
    return state.trace.input[0].steps;
}

TEST(flow_the_steps_of_a_typed_byte_are_noted)
{
    const struct {
        uint64_t k, given, lost;
    } rows[] = {
        { 3, 0x14689, 0x14789 },     /* before it is read */
        { 4, 0x234689, 0x234789 },   /* it is in the register */
        { 5, 0x34689, 0x34789 },     /* it is stored, and nothing noted */
        { 6, 0x134689, 0x134789 },   /* it is received */
        { 7, 0x145689, 0x145789 },   /* decided */
        { 9, 0x1465689, 0x1475789 }, /* given, or lost */
        { NEVER, 0x14689, 0x14789 },
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_note("row %u", i);
        CHECK_EQ(steps_of_a_byte(rows[i].k, false), rows[i].given);
        CHECK_EQ(steps_of_a_byte(rows[i].k, true), rows[i].lost);
    }
    CHECK_EQ(steps_of_a_byte(11, false), 0x14685689); /* the next may come, but for the decision */
    CHECK_EQ(steps_of_a_byte(10, true), 0x14785789);
}

TEST(flow_a_mark_of_the_line_is_noted_as_nobodys)
{
    run_with_death(true, NEVER, NEVER);
    CHECK_EQ(state.trace.inputs, typed_bytes);
    const struct input_trace *last = state.trace.input;
    uint64_t n = typed_bytes - 3; /* ff 01 ! */

    CHECK_EQ(last[n % INPUT_TRACES].guest, INPUT_NOBODY);
    CHECK_EQ(last[n % INPUT_TRACES].byte, 0xff);
    CHECK_EQ(last[n % INPUT_TRACES].steps, 0x1489);
    CHECK_EQ(last[(n + 2) % INPUT_TRACES].guest, 1);
    CHECK_EQ(last[(n + 2) % INPUT_TRACES].position, 4);
    CHECK_EQ(last[(n + 2) % INPUT_TRACES].steps, 0x14689);
}

/* Its guests may wait for signals that the console before did not come to give. */
TEST(flow_a_state_without_sense_is_begun_anew)
{
    struct flow f = { .state = &state };
    const struct flow_left nothing = { 0 }, wild = { .before = true };
    const struct {
        size_t offset;
        uint32_t value;
    } wrong[] = {
        { offsetof(struct console_state, magic), 1 },
        { offsetof(struct console_state, bytes), 4 },
        { offsetof(struct console_state, line.length), 113 },
        { offsetof(struct console_state, line.left), 3 },
        { offsetof(struct console_state, received), 0x100 },
    };

    f.guest[0] = (struct console_guest){ true, &output[0], &input[0], NULL };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        check_note("row %u", i);
        begin(false);
        steps_left = NEVER;
        f.wake = 0;
        CHECK(!flow_open(&f, false, &nothing));
        CHECK_EQ(f.wake, 0);
        CHECK(flow_open(&f, false, &nothing));
        CHECK_EQ(f.wake, 1);
        memset((uint8_t *)&state + wrong[i].offset, 0, 8);
        memcpy((uint8_t *)&state + wrong[i].offset, &wrong[i].value, 4);
        f.wake = 0;
        CHECK(!flow_open(&f, false, &wild));
        CHECK_EQ(f.wake, 1);
        CHECK(flow_next(&f));
    }
    state.line.length = 2;
    state.line.left = 1;
    state.line.guest = 5; /* nobody is connected there */
    CHECK(!flow_open(&f, false, &nothing));
    state.typed.decided = 1;
    state.typed.what = 1;
    state.typed.guest = 1u << 20;
    CHECK(!flow_open(&f, false, &nothing));
}

static void one_more(void)
{
    say(0, 9, "m");
}

/* Its client found a full ring where no room was, if the console's position was the one that went wild. */
TEST(flow_client_of_a_ring_that_is_begun_anew_hears_of_room)
{
    struct flow f = { .state = &state };
    const struct flow_left nothing = { 0 };

    begin(false);
    steps_left = NEVER;
    f.guest[0] = (struct console_guest){ true, &output[0], &input[0], NULL };
    CHECK(!flow_open(&f, false, &nothing));
    input[0].output_taken = output[0].produced + 1;
    CHECK(!flow_next(&f));
    CHECK_EQ(f.wake, 1);
}

/* Who found the ring full waits for a signal, also if it filled while an entry was taken. */
TEST(flow_client_of_a_ring_that_fills_meanwhile_hears_of_room)
{
    struct flow f = { .state = &state };
    const struct flow_left nothing = { 0 };

    for (unsigned short_of = 0; short_of <= 2; short_of++) {
        check_note("short of full by %u", short_of);
        begin(false);
        steps_left = NEVER;
        f.guest[0] = (struct console_guest){ true, &output[0], &input[0], NULL };
        CHECK(!flow_open(&f, false, &nothing));
        memset(output, 0, sizeof(output));
        output[0].magic = CONSOLE_MAGIC;
        for (unsigned i = 0; i < CONSOLE_OUTPUT_RUNNING - short_of; i++)
            say(0, 9, "x");
        f.wake = 0;
        meanwhile = short_of ? one_more : NULL;
        CHECK(flow_next(&f));
        CHECK_EQ(f.wake, short_of <= 1);
        CHECK_EQ(meanwhile == NULL, true);
    }
}
