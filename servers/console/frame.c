/* SPDX-License-Identifier: BSD-2-Clause */
/* See frame.h. */
#include "frame.h"

uint32_t frame_out(struct framer *f, uint8_t guest, const uint8_t *from, uint32_t n, uint8_t *to)
{
    uint32_t out = 0;

    if (f->framed && f->current != guest) {
        to[out++] = FRAME_SWITCH;
        to[out++] = guest;
        f->current = guest;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (f->framed && from[i] == FRAME_SWITCH)
            to[out++] = FRAME_SWITCH;
        to[out++] = from[i];
    }
    return out;
}

bool frame_in(struct deframer *d, uint8_t from, uint8_t *byte)
{
    *byte = from;
    if (!d->framed)
        return true;
    if (d->escaped) {
        d->escaped = false;
        if (from != FRAME_SWITCH)
            d->current = from;
        return from == FRAME_SWITCH;
    }
    d->escaped = from == FRAME_SWITCH;
    return !d->escaped;
}
