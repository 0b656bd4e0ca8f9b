/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/console/frame.c
/* Several consoles on one line, there and back. */
#include "check.h"
#include "servers/console/frame.h"
#include <string.h>

TEST(frame_of_one_guest_is_the_bytes_themselves)
{
    struct framer f = { .framed = false };
    struct deframer d = { .framed = false };
    const uint8_t in[] = { 'a', 0xff, 0xff, 0, 1 };
    uint8_t out[FRAME_BYTES_MAX(sizeof(in))], byte;

    CHECK_EQ(frame_out(&f, 0, in, sizeof(in), out), sizeof(in));
    CHECK_MEM_EQ(in, out, sizeof(in));
    for (unsigned i = 0; i < sizeof(in); i++) {
        CHECK(frame_in(&d, in[i], &byte));
        CHECK_EQ(byte, in[i]);
    }
}

TEST(frame_switches_guests_and_doubles_the_mark)
{
    struct framer f = { .framed = true };
    uint8_t out[16];
    const uint8_t text[] = { 'x', 0xff };
    const uint8_t want[] = { 0xff, 2, 'x', 0xff, 0xff };

    CHECK_EQ(frame_out(&f, 0, text, 1, out), 1); /* guest 0 is the first */
    CHECK_EQ(frame_out(&f, 2, text, 2, out), sizeof(want));
    CHECK_MEM_EQ(out, want, sizeof(want));
    CHECK_EQ(frame_out(&f, 2, text, 1, out), 1);
    CHECK_EQ(frame_out(&f, 0, text, 1, out), 3);
}

TEST(frame_in_undoes_frame_out)
{
    struct framer f = { .framed = true };
    struct deframer d = { .framed = true };
    uint32_t x = 1;

    for (unsigned round = 0; round < 2000; round++) {
        uint8_t in[52], out[FRAME_BYTES_MAX(52)], back[52];
        uint8_t guest = (x = x * 1103515245 + 12345) >> 16 & 15;
        uint32_t n = (x = x * 1103515245 + 12345) >> 16 & 31, got = 0;
        for (uint32_t i = 0; i < n; i++) {
            x = x * 1103515245 + 12345;
            in[i] = x >> 16 & 1 ? 0xff : (uint8_t)(x >> 20);
        }
        uint32_t sent = frame_out(&f, guest, in, n, out);
        CHECK_LE(sent, FRAME_BYTES_MAX(n));
        for (uint32_t i = 0; i < sent; i++)
            if (frame_in(&d, out[i], &back[got]))
                got++;
        CHECK_EQ(got, n);
        CHECK_EQ(d.current, guest);
        CHECK_MEM_EQ(in, back, n);
    }
}
