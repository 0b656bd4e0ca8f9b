/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's timer: counts as functions of time, the deadline. See lapic.h for what holds. */
#include "servers/vmm/dev/lapic_internal.h"

/* Ticks a count: 2, 4, .. 128, and 1 as the last value (APM vol. 2, table 16-4). */
static uint64_t divisor(const struct lapic *l)
{
    uint32_t code = (l->divide & 3) | (l->divide >> 1 & 4);
    return 1ull << ((code + 1) & 7);
}

static uint64_t counted(const struct lapic *l, uint64_t now)
{
    int64_t ticks = (int64_t)(now - l->start); /* start may lie before time 0: write_divide */
    return ticks > 0 ? (uint64_t)ticks / divisor(l) : 0;
}

uint32_t lapic_current_count(const struct lapic *l, uint64_t now)
{
    if (!l->running)
        return 0;
    uint64_t e = counted(l, now);
    if (TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_PERIODIC)
        return (uint32_t)(l->initial - e % l->initial);
    return e < l->initial ? (uint32_t)(l->initial - e) : 0;
}

static void fire(struct lapic *l, struct dev_ctx *ctx)
{
    if (lapic_working(l) && !(l->lvt[LVT_TIMER] & LVT_MASK))
        lapic_accept(l, ctx, l->lvt[LVT_TIMER] & 0xff, false);
}

static void expire_count(struct lapic *l, struct dev_ctx *ctx)
{
    uint64_t e = counted(l, ctx->now);
    if (!l->running || e < l->initial)
        return;
    if (TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_PERIODIC)
        DEV_SET(ctx, l->start, l->start + e / l->initial * l->initial * divisor(l));
    else
        DEV_SET(ctx, l->running, 0);
    fire(l, ctx);
}

static bool deadline_is_past(const struct lapic *l, uint64_t now)
{
    return l->deadline && now + l->tsc_offset >= l->deadline;
}

void lapic_expire(struct lapic *l, struct dev_ctx *ctx)
{
    if (deadline_is_past(l, ctx->now)) {
        DEV_SET(ctx, l->deadline, 0);
        fire(l, ctx);
    }
    expire_count(l, ctx);
}

/* A masked timer wakes nobody; what it did meanwhile is found at the next access. */
uint64_t lapic_next_deadline(const struct lapic *l, uint64_t now)
{
    if (!lapic_working(l) || (l->lvt[LVT_TIMER] & LVT_MASK))
        return DEV_NEVER;
    if (deadline_is_past(l, now))
        return now;
    if (l->deadline) {
        uint64_t left = l->deadline - (now + l->tsc_offset);
        return left < DEV_NEVER - now ? now + left : DEV_NEVER;
    }
    return l->running ? l->start + l->initial * divisor(l) : DEV_NEVER;
}

void lapic_write_initial(struct lapic *l, struct dev_ctx *ctx, uint32_t v)
{
    if (TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_DEADLINE)
        return;
    DEV_SET(ctx, l->initial, v);
    DEV_SET(ctx, l->start, ctx->now);
    DEV_SET(ctx, l->running, v != 0);
}

/* The count stays, what follows is counted at the new rate. */
void lapic_write_divide(struct lapic *l, struct dev_ctx *ctx, uint32_t v)
{
    uint64_t e = counted(l, ctx->now);
    DEV_SET(ctx, l->divide, v & 0xb);
    if (l->running)
        DEV_SET(ctx, l->start, ctx->now - e * divisor(l));
}

/* Between counting and the deadline nothing is taken along (SDM vol. 3, 10.5.4.1). */
void lapic_write_timer_lvt(struct lapic *l, struct dev_ctx *ctx, uint32_t v)
{
    bool was = TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_DEADLINE, is = TIMER_MODE(v) == TIMER_DEADLINE;
    DEV_SET(ctx, l->lvt[LVT_TIMER], v);
    if (was == is)
        return;
    DEV_SET(ctx, l->running, 0);
    DEV_SET(ctx, l->deadline, 0);
}

void lapic_set_deadline(struct lapic *l, struct dev_ctx *ctx, uint64_t guest_tsc)
{
    lapic_expire(l, ctx);
    if (lapic_enabled(l) && TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_DEADLINE)
        DEV_SET(ctx, l->deadline, guest_tsc);
    lapic_expire(l, ctx);
}

void lapic_set_tsc(struct lapic *l, struct dev_ctx *ctx, uint64_t offset)
{
    lapic_expire(l, ctx);
    DEV_SET(ctx, l->tsc_offset, offset);
    lapic_expire(l, ctx);
}
