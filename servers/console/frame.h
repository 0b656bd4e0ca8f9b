/* SPDX-License-Identifier: BSD-2-Clause */
/* How several consoles share one serial line, in both directions. No system calls; host-testable.
 *
 * With one guest the line carries its bytes as they are. With several, 0xFF n (n < 0xFF) makes guest n the
 * one that the bytes behind it belong to; 0xFF 0xFF is the byte 0xFF; before the first switch it is guest 0.
 * build.py (tools/umbra/ console.py) speaks the same. */
#ifndef SERVERS_CONSOLE_FRAME_H
#define SERVERS_CONSOLE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_SWITCH 0xff

struct framer {
    bool framed;
    uint8_t current;
};
/* Most bytes that so many of one guest become. */
#define FRAME_BYTES_MAX(n) (2 * (n) + 2)
/* frame_out - n bytes of a guest as they go onto the line; to has room for FRAME_BYTES_MAX(n). Returns how
 * many. */
uint32_t frame_out(struct framer *f, uint8_t guest, const uint8_t *from, uint32_t n, uint8_t *to);

struct deframer {
    bool framed, escaped;
    uint8_t current;
};
/* frame_in - one byte from the line. True: *byte is for guest d->current. */
bool frame_in(struct deframer *d, uint8_t from, uint8_t *byte);

#endif
