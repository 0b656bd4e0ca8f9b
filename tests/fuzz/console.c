/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the console between one honest guest and two that write anything into their rings, while it
 * dies at any step and the next one goes on.
 *
 * Oracles: the honest guest's answered output is on the line once, in order, and nothing else as its; it
 * finds what was typed for it, and what was lost is counted; the line carries no bytes of a guest that is not
 * there. */
// USES: servers/console/flow.c servers/console/frame.c
#include "support/fuzz.h"

#include "check.h"
#include "servers/console/flow.h"

#include <setjmp.h>
#include <string.h>

#define GUESTS    3u
#define LINE      (64u << 10)
#define NEVER     UINT64_MAX
#define STEPS_MAX 400u

static struct console_output output[GUESTS];
static struct console_input input[GUESTS];
static struct umbra_vm_public public[GUESTS];
static struct console_state state;
static struct flow_left left;
static uint8_t line[LINE], honest[LINE], typed[LINE];
static size_t shown, said, typing; /* bytes on the line; of the honest guest; typed */
static uint64_t steps_left, taken;
static bool framed;
static jmp_buf death;

void flow_step(void)
{
    if (steps_left != NEVER && steps_left-- == 0)
        longjmp(death, 1);
}

static bool dies(void)
{
    return steps_left != NEVER && steps_left-- == 0;
}

/* As port.c: death is possible before the access, between it and the store, and behind that. */
static void put(void)
{
    flow_step();
    CHECK(shown < LINE && state.line.left <= state.line.length &&
          state.line.length <= sizeof(state.line.data));
    line[shown++] = state.line.data[state.line.length - state.line.left];
    if (dies()) {
        left.putting = true;
        longjmp(death, 1);
    }
    state.line.left--;
    flow_step();
}

static void get(uint8_t byte)
{
    flow_step();
    typed[typing++] = byte;
    if (dies()) {
        left = (struct flow_left){ .getting = true, .byte = byte };
        longjmp(death, 1);
    }
    state.received = byte;
    flow_step();
}

static struct flow open_flow(void)
{
    struct flow f = { .state = &state };
    struct flow_left before = left;

    for (uint32_t i = 0; i < (framed ? GUESTS : 1); i++)
        f.guest[i] = (struct console_guest){ true, &output[i], &input[i], &public[i] };
    left = (struct flow_left){ 0 };
    flow_open(&f, framed, &before);
    return f;
}

/* One life that carries so many bytes, after one that was typed. Returns false if it ended by death. */
static bool live(unsigned bytes, bool type, uint8_t byte)
{
    if (setjmp(death))
        return false;
    struct flow f = open_flow();
    if (type) {
        get(byte);
        flow_typed(&f);
    }
    for (unsigned i = 0; i < bytes && flow_next(&f); i++)
        put();
    return true;
}

static void say(struct fuzz_input *in)
{
    uint32_t n = 1 + fuzz_byte(in) % CONSOLE_ENTRY_DATA;
    struct console_entry *e = &output[0].entry[output[0].produced % CONSOLE_OUTPUT_ENTRIES];

    if (output[0].produced - input[0].output_taken == CONSOLE_OUTPUT_ENTRIES || said + n > LINE / 4)
        return;
    e->seq = public[0].answered; /* of an exit that is answered */
    e->length = n;
    for (uint32_t i = 0; i < n; i++)
        honest[said++] = e->data[i] = fuzz_byte(in);
    output[0].produced++;
}

/* One of the other two does what it may: it writes its own ring. */
static void spoil(struct fuzz_input *in, uint8_t how)
{
    struct console_output *o = &output[1 + (how & 1)];
    struct console_entry *e = &o->entry[o->produced % CONSOLE_OUTPUT_ENTRIES];

    switch (how >> 1 & 7) {
    case 0:
        o->produced = fuzz_value(in);
        break;
    case 1:
        o->input_taken = fuzz_value(in);
        break;
    case 2:
        o->magic = fuzz_byte(in) & 1 ? CONSOLE_MAGIC : 0;
        break;
    case 3:
        o->produced += fuzz_byte(in);
        break;
    default:
        e->seq = fuzz_byte(in) & 1 ? 0 : fuzz_value(in);
        e->length = (uint32_t)fuzz_value(in);
        memset(e->data, fuzz_byte(in), sizeof(e->data));
        o->produced++;
    }
}

/* What the honest guest takes of what was typed to it: compared, then gone. */
static void take(void)
{
    struct deframer d = { .framed = framed };
    uint64_t mine = 0;
    uint8_t byte;

    CHECK_LE(input[0].produced - taken, CONSOLE_INPUT_BYTES);
    for (size_t i = 0; i < typing; i++) {
        if (!frame_in(&d, typed[i], &byte) || d.current != 0)
            continue;
        if (mine >= taken && mine < input[0].produced)
            CHECK_EQ(input[0].data[mine % CONSOLE_INPUT_BYTES], byte);
        mine++;
    }
    CHECK_EQ(input[0].lost, 0); /* it is quick */
    CHECK(mine == input[0].produced || mine == input[0].produced + 1);
    output[0].input_taken = taken = input[0].produced;
}

static void check_line(bool all)
{
    struct deframer d = { .framed = framed };
    size_t n = 0;
    uint8_t byte;

    for (size_t i = 0; i < shown; i++) {
        if (!frame_in(&d, line[i], &byte))
            continue;
        CHECK_LT(d.current, GUESTS);
        if (d.current == 0) {
            CHECK(n < said && honest[n] == byte);
            n++;
        }
    }
    if (all)
        CHECK_EQ(n, said);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input in = { bytes, bytes + size };

    memset(output, 0, sizeof(output));
    memset(input, 0, sizeof(input));
    memset(&state, 0, sizeof(state));
    memset(&left, 0, sizeof(left));
    shown = said = typing = taken = 0;
    framed = fuzz_byte(&in) & 1;
    for (unsigned i = 0; i < GUESTS; i++) {
        output[i].magic = CONSOLE_MAGIC;
        public[i].answered = 9;
    }
    for (unsigned step = 0; step < STEPS_MAX && fuzz_left(&in) && shown < LINE / 2; step++) {
        uint8_t what = fuzz_byte(&in);
        steps_left = what & 0x80 ? fuzz_byte(&in) : NEVER;
        if (what & 1)
            say(&in);
        else if (what & 2)
            spoil(&in, what >> 2);
        live(what & 4 ? 200 : 5, what & 0x40, what & 0x40 ? fuzz_byte(&in) : 0);
        if (what & 0x10)
        public[1].answered = public[2].answered = fuzz_value(&in);
        take();
    }
    check_line(false);
    for (unsigned i = 1; i < GUESTS; i++)
        output[i].magic = 0;
    steps_left = NEVER;
    live(LINE / 2, false, 0);
    check_line(true);
    take();
    return 0;
}
