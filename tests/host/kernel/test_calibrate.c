/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock's rate from measurements of which some are too long. */
#include "kernel/arch/x86_64/calibrate.h"
#include "check.h"

#define TRUTH 1000000ul

/* Adds each until it is decided; returns how many that took, n + 1 if it is not. */
static unsigned decide(struct calibration *c, const uint64_t *tsc, unsigned n)
{
    *c = (struct calibration){ 0 };
    for (unsigned i = 0; i < n; i++)
        if (calibration_add(c, tsc[i], tsc[i] / 10))
            return i + 1;
    return n + 1;
}

TEST(three_that_agree_are_enough)
{
    static const uint64_t same[] = { TRUTH, TRUTH, TRUTH, 5 },
                          near[] = { TRUTH, TRUTH + 900, TRUTH - 900, 5 };
    struct calibration c;

    CHECK_EQ(decide(&c, same, 4), 3);
    CHECK_EQ(c.tsc, TRUTH);
    CHECK_EQ(decide(&c, near, 4), 3);
    CHECK_EQ(c.tsc, TRUTH - 900);
    CHECK_EQ(c.apic, (TRUTH - 900) / 10);
}

TEST(one_that_stood_still_does_not_count)
{
    static const uint64_t rows[3][3] = { { 5 * TRUTH, TRUTH, TRUTH + 9 },
                                         { TRUTH, 5 * TRUTH, TRUTH + 9 },
                                         { TRUTH, TRUTH + 9, 5 * TRUTH } };
    struct calibration c;

    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(decide(&c, rows[i], 3), 3);
        CHECK_EQ(c.tsc, TRUTH);
        CHECK_EQ(c.apic, TRUTH / 10);
    }
}

TEST(the_shortest_is_not_believed_alone)
{
    static const uint64_t alone[] = { 2 * TRUTH, 3 * TRUTH, TRUTH, 4 * TRUTH, TRUTH + 100, 7 };
    static const uint64_t two_long_ones_agree[] = { 3 * TRUTH, 3 * TRUTH, TRUTH, 3 * TRUTH, TRUTH, 7 };
    struct calibration c;

    CHECK_EQ(decide(&c, alone, 6), 5);
    CHECK_EQ(c.tsc, TRUTH);
    CHECK_EQ(decide(&c, two_long_ones_agree, 6), 5);
    CHECK_EQ(c.tsc, TRUTH);
}

TEST(near_is_a_64th)
{
    static const uint64_t at[] = { 64000, 65016, 64000 * 2 }, beyond[] = { 64000, 65016 + 2, 64000 * 2 };
    struct calibration c;

    CHECK_EQ(decide(&c, at, 3), 4); /* apart is 1016, a 64th of 65016 is 1015 */
    CHECK_EQ(decide(&c, (const uint64_t[]){ 64000, 65014, 128000 }, 3), 3);
    CHECK_EQ(decide(&c, beyond, 3), 4);
}

TEST(without_confirmation_the_shortest_counts_after_fifty)
{
    uint64_t tsc[60];
    struct calibration c;

    for (unsigned i = 0; i < 60; i++)
        tsc[i] = TRUTH << i % 20;
    for (unsigned i = 0; i < 60; i++)
        tsc[i] += i * (TRUTH / 20) * (i % 20 == 0); /* the short ones differ, too */
    CHECK_EQ(decide(&c, tsc, 60), CALIBRATE_MAX);
    CHECK_EQ(c.tsc, TRUTH);
}

/* Nine of ten measurements are too long by anything; the error stays below a 64th once two good ones came. */
TEST(random_stalls_do_not_make_the_clock_wrong)
{
    uint64_t seed = 88172645463325252ull;

    for (unsigned run = 0; run < 2000; run++) {
        struct calibration c = { 0 };
        unsigned good = 0;
        bool decided = false;
        while (!decided) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bool is_good = seed % 10 == 0 || run % 2;
            good += is_good;
            decided = calibration_add(
                &c, TRUTH + (is_good ? seed >> 20 & 0xfff : (seed >> 20) % (TRUTH * 1000)), 1);
        }
        if (good >= 2)
            CHECK(c.tsc >= TRUTH && c.tsc <= TRUTH + 0xfff);
    }
}
