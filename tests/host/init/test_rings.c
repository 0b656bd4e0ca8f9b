/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/rings.c lib/desc/desc.c
/* Console rings between two guests in one place: whatever the first one wrote over its own, the second one's
 * begin as if there had been nobody. */
#include "check.h"
#include "console_types.h"
#include "servers/init/init.h"
#include <string.h>

static struct console_output output;
static struct console_input input;

void space_frame(struct init *in, struct space *s, cptr_t frame, unsigned bits, uint64_t address,
                 unsigned rights)
{
    (void)in, (void)s, (void)frame, (void)bits, (void)address, (void)rights;
}

cptr_t derived(struct init *in, struct slots *s, cptr_t from, unsigned rights, uint64_t badge)
{
    (void)in, (void)s, (void)rights, (void)badge;
    return from;
}

cptr_t group_cap(const struct group *g, uint32_t i)
{
    return g->cap + i;
}

void restart_ping_servers(struct init *in)
{
    (void)in;
}

/* A guest that has used its console, and then wrote its ring full of what is to be shown of the next one. */
static struct component hostile(uint64_t magic, uint64_t produced)
{
    struct component c = { .rings = { &output, &input } };

    memset(&output, 0x41, sizeof(output));
    memset(&input, 0x42, sizeof(input));
    input.magic = CONSOLE_MAGIC;
    input.produced = 5000;
    input.output_taken = 700;
    output.magic = magic;
    output.produced = produced;
    return c;
}

static bool zero(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)p)[i])
            return false;
    return true;
}

TEST(rings_of_the_next_guest_hold_nothing_whatever_the_one_before_wrote)
{
    static const uint64_t magics[] = { CONSOLE_MAGIC, 0, 0x4141414141414141ul },
                          positions[] = { 700, 701, 955, 956, 0, UINT64_MAX };

    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 6; k++) {
            struct component c = hostile(magics[i], positions[k]);
            rings_clear(&c);
            CHECK(zero(output.entry, sizeof(output.entry)) && zero(output.spare, sizeof(output.spare)));
            CHECK(zero(input.data, sizeof(input.data)));
            output.magic = CONSOLE_MAGIC; /* the next one begins */
            CHECK(rings_empty(&c));
            CHECK_EQ(output.produced, input.output_taken);
            CHECK_EQ(output.input_taken, input.produced);
        }
}

TEST(rings_of_the_next_guest_begin_behind_what_a_console_that_hangs_has_in_hand)
{
    struct component c = hostile(CONSOLE_MAGIC, 701);

    rings_pass(&c); /* it has taken entry 700, and decided on byte 5000 */
    rings_clear(&c);
    output.magic = CONSOLE_MAGIC;
    output.entry[output.produced++ % CONSOLE_OUTPUT_ENTRIES].length = 7; /* the next guest's first entry */
    input.output_taken = 701;                                            /* the next console counts them */
    input.produced = 5001;
    CHECK_EQ(output.produced - input.output_taken, 1);
    CHECK_EQ(output.entry[input.output_taken % CONSOLE_OUTPUT_ENTRIES].length, 7);
    CHECK_EQ(output.input_taken, input.produced);
}

TEST(rings_of_a_guest_that_ended_show_what_was_answered_and_no_more)
{
    static struct init in;
    struct component c = hostile(CONSOLE_MAGIC, 710);

    for (unsigned i = 0; i < 10; i++)
        output.entry[(700 + i) % CONSOLE_OUTPUT_ENTRIES].seq = 100 + i;
    rings_settle(&in, &c, 104);
    CHECK_EQ(output.produced, 705);
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(output.entry[(700 + i) % CONSOLE_OUTPUT_ENTRIES].seq, 0);
    c = hostile(CONSOLE_MAGIC, 699); /* positions that make no sense */
    rings_settle(&in, &c, UINT64_MAX);
    CHECK(rings_empty(&c));
}
