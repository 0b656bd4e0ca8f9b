/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818 real-time clock with 128 bytes of CMOS memory (Motorola data sheet), ports 70h and 71h,
 * line 8.
 *
 * The time of day is a base value plus elapsed ticks; setting it changes the base. Invariants: registers read
 * as one consistent second; UIP shows for 2228 us before each update; flags PF, AF and UF are set whether or
 * not they may interrupt. No time zone, no daylight saving (DSE is stored and ignored). */
#ifndef VMM_DEV_CMOS_H
#define VMM_DEV_CMOS_H

#include "servers/vmm/dev/dev.h"

#define CMOS_BYTES 128

struct cmos {
    uint64_t hz;
    uint64_t second_zero; /* ticks at which `seconds` began */
    int64_t seconds;      /* the base: seconds since 1970-01-01, in the guest's clock */
    int64_t alarm_at;     /* the second at which the alarm fires next; INT64_MAX */
    int64_t seen_second;  /* the last second whose update was reported in UF */
    uint64_t seen_period; /* the last period reported in PF */
    uint8_t index;        /* port 70h: bits 0..6; bit 7 masks NMI and is ignored */
    uint8_t reserved[7];
    uint8_t
        ram[CMOS_BYTES]; /* registers A to D at 0Ah; 00h..09h and 32h hold the time while it stands still */
};

/* cmos_init - seconds: the date since 1970; memory_bytes: for the size bytes that firmware would leave. */
void cmos_init(struct cmos *c, uint64_t hz, uint64_t now, int64_t seconds, uint64_t memory_bytes);
uint32_t cmos_in(struct cmos *c, struct dev_ctx *ctx, uint16_t port, unsigned width);
void cmos_out(struct cmos *c, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);
uint64_t cmos_next_deadline(const struct cmos *c, uint64_t now);
void cmos_expire(struct cmos *c, struct dev_ctx *ctx);

#endif
