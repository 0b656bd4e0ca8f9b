/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract of every device model of the VMM.
 *
 * A model is a flat struct without pointers, which lies in the state segment and outlives the VMM, and pure
 * functions on it: NAME_init, NAME_in, NAME_out and, where it has timers, NAME_next_deadline and NAME_expire.
 * Invariants: no model reads a clock (time is ctx->now), keeps a pointer, allocates or calls out; every
 * change of state is announced by dev_touch before it happens (I8; tests/host/dev/test_bus.c rolls random
 * traffic back); every call is bounded. What a device does is in its own file, their wiring in bus.h. */
#ifndef VMM_DEV_DEV_H
#define VMM_DEV_DEV_H

#include <umbra/types.h>

/* Time: ticks of one clock that never goes back: the host's TSC, less what the VMM chooses to hide from its
 * guest. The guest's TSC must be that clock plus an offset, so that RDTSC and the timers agree by
 * construction. */
#define DEV_NEVER  UINT64_MAX
#define DEV_HZ_MIN 1000000ull   /* ticks a second: below, a PIT tick has no meaning */
#define DEV_HZ_MAX (1ull << 33) /* dev_scale must not overflow */

/* Who wants to hear of a change before it happens. note gets the old contents' place; NULL: nobody. */
struct dev_undo {
    void (*note)(struct dev_undo *undo, void *field, size_t bytes);
    bool settled; /* set by the machine when interrupts, deadlines and requests may be others than before */
};

/* Outputs that devices share. level: bit n is ISA interrupt line n. rose: lines that rose since the interrupt
 * controller last looked, also where they fell again. */
struct dev_lines {
    uint32_t level, rose;
    uint32_t request; /* DEV_REQUEST_*: what the guest asked of the machine; the first one stays */
    uint32_t a20;     /* state of the A20 gate (port 92h, keyboard controller); nothing is masked by it */
};

enum dev_request {
    DEV_REQUEST_NONE,
    DEV_REQUEST_RESET_KBD,    /* keyboard controller command FEh..: pulse of the reset line */
    DEV_REQUEST_RESET_PORT92, /* port 92h bit 0 */
    DEV_REQUEST_RESET_CF9,    /* port CF9h, bit 2 rising */
    DEV_REQUEST_RESET_INIT,   /* an INIT that the processor sent itself */
    DEV_REQUEST_POWEROFF,     /* port 604h or 8900h: see power.h */
    DEV_REQUEST_EXIT,         /* port F4h */
    DEV_REQUESTS
};
const char *dev_request_name(uint32_t request);

/* What a call may use besides its device's own state. */
struct dev_ctx {
    uint64_t now; /* ticks; never less than in the call before */
    struct dev_lines *lines;
    struct dev_undo *undo; /* NULL: no undo */
};

static inline void dev_touch(struct dev_undo *undo, void *field, size_t bytes)
{
    if (undo)
        undo->note(undo, field, bytes);
}

/* The one way to change a field of a device. */
#define DEV_SET(ctx, field, value)                                                                           \
    (dev_touch((ctx)->undo, &(field), sizeof(field)), (void)((field) = (__typeof__(field))(value)))

/* dev_line - drives interrupt line irq (0..15) to a level. */
static inline void dev_line(struct dev_ctx *ctx, unsigned irq, bool high)
{
    struct dev_lines *l = ctx->lines;
    uint32_t bit = 1u << irq;
    if (high && !(l->level & bit)) {
        DEV_SET(ctx, l->rose, l->rose | bit);
        DEV_SET(ctx, l->level, l->level | bit);
    } else if (!high && (l->level & bit)) {
        DEV_SET(ctx, l->level, l->level & ~bit);
    }
}

/* dev_edge - a low pulse that nobody saw, ending in a rising edge: the line stays high. */
static inline void dev_edge(struct dev_ctx *ctx, unsigned irq)
{
    struct dev_lines *l = ctx->lines;
    DEV_SET(ctx, l->rose, l->rose | 1u << irq);
    DEV_SET(ctx, l->level, l->level | 1u << irq);
}

static inline void dev_request(struct dev_ctx *ctx, enum dev_request r)
{
    if (ctx->lines->request == DEV_REQUEST_NONE)
        DEV_SET(ctx, ctx->lines->request, r);
    if (ctx->undo)
        ctx->undo->settled = true;
}

/* dev_scale - a * b / c rounded down, without a 128-bit division. Needs b * c < 2^64 and a quotient below
 * 2^64. */
static inline uint64_t dev_scale(uint64_t a, uint64_t b, uint64_t c)
{
    return a / c * b + a % c * b / c;
}

/* dev_scale_up - the same rounded up: the first tick of one clock at which another has reached a. */
static inline uint64_t dev_scale_up(uint64_t a, uint64_t b, uint64_t c)
{
    return a / c * b + (a % c * b + c - 1) / c;
}

static inline uint64_t dev_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
