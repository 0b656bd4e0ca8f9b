/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254 interval timer and port 61h of a PC (Intel 8254 data sheet).
 *
 * A channel is its last programming and the clock at which that began: outputs and counts are computed from
 * the time, nothing ticks. Invariants: channel 0 drives interrupt line 0, whose line shows every rising edge
 * of OUT (several between two calls are one, as for any PC whose interrupts stay off) and its lasting low
 * phases only (mode 0). */
#ifndef VMM_DEV_PIT_H
#define VMM_DEV_PIT_H

#include "servers/vmm/dev/dev.h"

#define PIT_HZ 1193182ull

struct pit_channel {
    uint64_t start;       /* clock at which the count was, or will be, loaded */
    uint64_t frozen;      /* clocks elapsed when the gate stopped it */
    uint64_t reload_at;   /* clock at which next replaces count; DEV_NEVER */
    uint32_t count, next; /* 1..65536 */
    uint16_t latch;
    uint8_t mode, bcd, access; /* access: 1 low byte, 2 high byte, 3 both */
    uint8_t loaded;            /* a whole count was written since the control word */
    uint8_t triggered;         /* modes 1 and 5: the gate rose */
    uint8_t stopped, gate;
    uint8_t write_high, write_low; /* the next byte is the high one; the low byte before it */
    uint8_t read_high;
    uint8_t latched; /* bytes of latch left to read */
    uint8_t status, status_latched;
    uint8_t reserved;
};

struct pit {
    uint64_t hz, base; /* ticks a second; ticks at init */
    uint64_t seen;     /* clock up to which channel 0's edges went out */
    struct pit_channel channel[3];
    uint8_t port61; /* the bits that the guest wrote: 0..3 */
    uint8_t reserved[7];
};

void pit_init(struct pit *p, uint64_t hz, uint64_t now);
uint32_t pit_in(struct pit *p, struct dev_ctx *ctx, uint16_t port, unsigned width);
void pit_out(struct pit *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);
uint64_t pit_next_deadline(const struct pit *p, uint64_t now);
void pit_expire(struct pit *p, struct dev_ctx *ctx);

#endif
