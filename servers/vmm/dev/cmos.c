/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818: time registers, alarm, periodic and update interrupts, memory bytes. See cmos.h for what
 * holds. */
#include "servers/vmm/dev/cmos.h"
#include "servers/vmm/dev/calendar.h"

enum {
    REG_SECOND = 0,
    REG_SECOND_ALARM,
    REG_MINUTE,
    REG_MINUTE_ALARM,
    REG_HOUR,
    REG_HOUR_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_CENTURY = 0x32, /* where PC firmware keeps it */
};

#define A_UIP     0x80
#define A_DIVIDER 0x70
#define A_RATE    0x0f
#define B_SET     0x80
#define B_PIE     0x40
#define B_AIE     0x20
#define B_UIE     0x10
#define B_BINARY  0x04
#define B_24H     0x02
#define C_IRQF    0x80
#define C_ENABLES 0x70 /* PF, AF and UF lie where PIE, AIE and UIE do */
#define C_PF      0x40
#define C_AF      0x20
#define C_UF      0x10
#define D_VALID   0x80
#define ALARM_ANY 0xc0 /* an alarm byte with both bits set matches everything */
#define PM        0x80

#define IRQ_RTC      8
#define UIP_US       2228 /* 244 us of warning and 1984 us of update, data sheet table 6 */
#define DAY_MINUTES  1440
#define NEVER_SECOND INT64_MAX

/* ---- encoding ---- */

static uint8_t encode(const struct cmos *c, int v)
{
    return (uint8_t)(c->ram[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static int decode(const struct cmos *c, uint8_t v)
{
    return c->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct cmos *c, int hour)
{
    if (c->ram[REG_B] & B_24H)
        return encode(c, hour);
    return (uint8_t)(encode(c, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0));
}

static int decode_hour(const struct cmos *c, uint8_t v)
{
    if (c->ram[REG_B] & B_24H)
        return decode(c, v);
    return decode(c, v & 0x7f) % 12 + (v & PM ? 12 : 0);
}

/* ---- time ---- */

static bool running(const struct cmos *c)
{
    return !(c->ram[REG_B] & B_SET) && (c->ram[REG_A] & A_DIVIDER) < 0x60;
}

/* Modulo 2^64: the base may lie before tick 0. */
static uint64_t ticks_since(const struct cmos *c, uint64_t now)
{
    return now - c->second_zero;
}

static int64_t second_at(const struct cmos *c, uint64_t now)
{
    return running(c) ? c->seconds + (int64_t)(ticks_since(c, now) / c->hz) : c->seconds;
}

static uint64_t second_begins(const struct cmos *c, int64_t second)
{
    return c->second_zero + (uint64_t)(second - c->seconds) * c->hz;
}

static bool updating(const struct cmos *c, uint64_t now)
{
    uint64_t into = ticks_since(c, now) % c->hz;
    return running(c) && into >= c->hz - dev_scale(UIP_US, c->hz, 1000000);
}

/* Periodic interrupt rate in Hz, 0 for none (data sheet table 5, 32768 Hz time base). */
static uint64_t period_hz(const struct cmos *c)
{
    unsigned rate = c->ram[REG_A] & A_RATE;
    if (!rate || (c->ram[REG_A] & A_DIVIDER) >= 0x60)
        return 0;
    return rate < 3 ? 512u >> rate : 65536u >> rate;
}

static uint64_t period_at(const struct cmos *c, uint64_t now)
{
    return dev_scale(ticks_since(c, now), period_hz(c), c->hz);
}

/* ---- alarm ---- */

static bool alarm_field(const struct cmos *c, unsigned reg, int value)
{
    uint8_t a = c->ram[reg];
    if ((a & ALARM_ANY) == ALARM_ANY)
        return true;
    return (reg == REG_HOUR_ALARM ? decode_hour(c, a) : decode(c, a)) == value;
}

/* The first second of day minute `minute`, from `from` on, at which the alarm matches; 60 if none. */
static int alarm_second(const struct cmos *c, int minute, int from)
{
    if (!alarm_field(c, REG_HOUR_ALARM, minute / 60) || !alarm_field(c, REG_MINUTE_ALARM, minute % 60))
        return 60;
    int second = from;
    while (second < 60 && !alarm_field(c, REG_SECOND_ALARM, second))
        second++;
    return second;
}

/* The first matching second after `after`; a day and a minute are searched. */
static int64_t next_alarm(const struct cmos *c, int64_t after)
{
    int64_t start = after + 1, minute_start = start - start % 60;
    for (int i = 0; i <= DAY_MINUTES; i++) {
        int64_t at = minute_start + i * 60;
        int second = alarm_second(c, (int)(at / 60 % DAY_MINUTES), i ? 0 : (int)(start % 60));
        if (second < 60)
            return at + second;
    }
    return NEVER_SECOND;
}

/* ---- interrupts ---- */

static void set_flags(struct cmos *c, struct dev_ctx *ctx, uint8_t flags)
{
    uint8_t v = (uint8_t)((c->ram[REG_C] | flags) & C_ENABLES);
    if (v & c->ram[REG_B] & C_ENABLES)
        v |= C_IRQF;
    if (v != c->ram[REG_C])
        DEV_SET(ctx, c->ram[REG_C], v);
    dev_line(ctx, IRQ_RTC, v & C_IRQF);
}

/* Reports what happened since the last look. */
static void run(struct cmos *c, struct dev_ctx *ctx)
{
    uint8_t flags = 0;
    int64_t second = second_at(c, ctx->now);
    uint64_t period = period_at(c, ctx->now);
    if (second != c->seen_second) {
        DEV_SET(ctx, c->seen_second, second);
        flags |= C_UF;
    }
    if (second >= c->alarm_at) {
        DEV_SET(ctx, c->alarm_at, next_alarm(c, second));
        flags |= C_AF;
    }
    if (period != c->seen_period) {
        DEV_SET(ctx, c->seen_period, period);
        flags |= C_PF;
    }
    if (flags)
        set_flags(c, ctx, flags);
}

/* After a change of clock, format, rate or alarm: nothing of the past is reported any more. */
static void look_ahead(struct cmos *c, struct dev_ctx *ctx)
{
    int64_t second = second_at(c, ctx->now);
    DEV_SET(ctx, c->seen_second, second);
    DEV_SET(ctx, c->seen_period, period_at(c, ctx->now));
    DEV_SET(ctx, c->alarm_at, running(c) ? next_alarm(c, second) : NEVER_SECOND);
}

/* ---- the time registers ---- */

static uint8_t time_register(const struct cmos *c, unsigned reg, const struct calendar *t)
{
    switch (reg) {
    case REG_SECOND:
        return encode(c, t->second);
    case REG_MINUTE:
        return encode(c, t->minute);
    case REG_HOUR:
        return encode_hour(c, t->hour);
    case REG_WEEKDAY:
        return encode(c, t->weekday);
    case REG_DAY:
        return encode(c, t->day);
    case REG_MONTH:
        return encode(c, t->month);
    case REG_YEAR:
        return encode(c, t->year % 100);
    default:
        return (uint8_t)(t->year / 1000 % 10 << 4 | t->year / 100 % 10); /* century: BCD by convention */
    }
}

static bool is_time(unsigned reg)
{
    return reg == REG_SECOND || reg == REG_MINUTE || reg == REG_HOUR ||
           (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == REG_CENTURY;
}

/* Copies the running time into the registers, where it stands still or is edited. */
static void freeze(struct cmos *c, struct dev_ctx *ctx)
{
    struct calendar t = calendar_of(second_at(c, ctx->now));
    for (unsigned reg = 0; reg <= REG_CENTURY; reg++)
        if (is_time(reg))
            DEV_SET(ctx, c->ram[reg], time_register(c, reg, &t));
}

/* Takes the registers as the time from now on; into_ticks: how far into its second the clock is. */
static void thaw(struct cmos *c, struct dev_ctx *ctx, uint64_t into_ticks)
{
    uint8_t century = c->ram[REG_CENTURY];
    struct calendar t = {
        .year = ((century >> 4) * 10 + (century & 15)) * 100 + decode(c, c->ram[REG_YEAR]),
        .month = decode(c, c->ram[REG_MONTH]),
        .day = decode(c, c->ram[REG_DAY]),
        .hour = decode_hour(c, c->ram[REG_HOUR]),
        .minute = decode(c, c->ram[REG_MINUTE]),
        .second = decode(c, c->ram[REG_SECOND]),
    };
    int64_t seconds = t.year < 1970 ? 0 : calendar_seconds(&t);
    DEV_SET(ctx, c->seconds, seconds < 0 ? 0 : seconds);
    DEV_SET(ctx, c->second_zero, ctx->now - into_ticks);
}

static void write_time(struct cmos *c, struct dev_ctx *ctx, unsigned reg, uint8_t v)
{
    if (!running(c)) {
        DEV_SET(ctx, c->ram[reg], v);
        return;
    }
    freeze(c, ctx);
    DEV_SET(ctx, c->ram[reg], v);
    thaw(c, ctx, ticks_since(c, ctx->now) % c->hz);
    look_ahead(c, ctx);
}

/* Registers A and B start and stop the clock; a clock let go updates half a second later (data sheet, DV
 * bits), one that SET held goes on where its divider is. */
static void write_control(struct cmos *c, struct dev_ctx *ctx, unsigned reg, uint8_t v)
{
    bool was_running = running(c), divider_held = (c->ram[REG_A] & A_DIVIDER) >= 0x60;
    uint64_t into = ticks_since(c, ctx->now) % c->hz;
    if (was_running)
        freeze(c, ctx);
    if (reg == REG_A)
        DEV_SET(ctx, c->ram[REG_A], v & ~A_UIP);
    else
        DEV_SET(ctx, c->ram[REG_B], v & B_SET ? v & ~B_UIE : v); /* SET clears UIE */
    if (was_running != running(c)) /* else at most the format has changed, the time has not */
        thaw(c, ctx, divider_held ? c->hz / 2 : into);
    look_ahead(c, ctx);
    set_flags(c, ctx, 0);
}

static void write_register(struct cmos *c, struct dev_ctx *ctx, unsigned reg, uint8_t v)
{
    if (is_time(reg)) {
        write_time(c, ctx, reg, v);
    } else if (reg == REG_A || reg == REG_B) {
        write_control(c, ctx, reg, v);
    } else if (reg != REG_C && reg != REG_D) {
        DEV_SET(ctx, c->ram[reg], v);
        if (reg < REG_A)
            look_ahead(c, ctx);
    }
}

static uint8_t read_register(struct cmos *c, struct dev_ctx *ctx, unsigned reg)
{
    if (is_time(reg) && running(c)) {
        struct calendar t = calendar_of(second_at(c, ctx->now));
        return time_register(c, reg, &t);
    }
    if (reg == REG_A)
        return c->ram[REG_A] | (updating(c, ctx->now) ? A_UIP : 0);
    if (reg != REG_C)
        return c->ram[reg];
    uint8_t flags = c->ram[REG_C];
    DEV_SET(ctx, c->ram[REG_C], 0);
    dev_line(ctx, IRQ_RTC, false);
    return flags;
}

/* ---- the contract ---- */

static void set_word(struct cmos *c, unsigned reg, uint64_t v)
{
    c->ram[reg] = (uint8_t)v;
    c->ram[reg + 1] = (uint8_t)(v >> 8);
}

/* The bytes that PC firmware leaves: memory sizes and the checksum over 10h..2Dh. */
static void fill_sizes(struct cmos *c, uint64_t memory_bytes)
{
    uint64_t above_1m = memory_bytes > 1 << 20 ? (memory_bytes - (1 << 20)) >> 10 : 0;
    uint64_t above_16m = memory_bytes > 16 << 20 ? (memory_bytes - (16 << 20)) >> 16 : 0;
    c->ram[0x14] = 0x02; /* equipment: a floating-point unit */
    set_word(c, 0x15, 640);
    set_word(c, 0x17, dev_min(above_1m, 0xffff));
    set_word(c, 0x30, dev_min(above_1m, 0xffff));
    set_word(c, 0x34, dev_min(above_16m, 0xffff));
    unsigned sum = 0;
    for (unsigned i = 0x10; i < 0x2e; i++)
        sum += c->ram[i];
    c->ram[0x2e] = (uint8_t)(sum >> 8);
    c->ram[0x2f] = (uint8_t)sum;
}

void cmos_init(struct cmos *c, uint64_t hz, uint64_t now, int64_t seconds, uint64_t memory_bytes)
{
    *c = (struct cmos){ .hz = hz, .second_zero = now, .seconds = seconds < 0 ? 0 : seconds };
    c->ram[REG_A] = 0x26; /* 32768 Hz, 1024 Hz: as firmware leaves it */
    c->ram[REG_B] = B_24H;
    c->ram[REG_D] = D_VALID;
    c->seen_second = c->seconds;
    c->alarm_at = next_alarm(c, c->seconds);
    fill_sizes(c, memory_bytes);
}

uint32_t cmos_in(struct cmos *c, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)width;
    if (!(port & 1))
        return 0xff; /* port 70h is write-only */
    run(c, ctx);
    return read_register(c, ctx, c->index);
}

void cmos_out(struct cmos *c, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    (void)width;
    if (!(port & 1)) {
        DEV_SET(ctx, c->index, value & 0x7f);
        return;
    }
    run(c, ctx);
    write_register(c, ctx, c->index, (uint8_t)value);
}

uint64_t cmos_next_deadline(const struct cmos *c, uint64_t now)
{
    uint8_t b = (uint8_t)(c->ram[REG_B] & ~c->ram[REG_C]); /* what is pending already needs no second look */
    uint64_t next = DEV_NEVER;
    if ((b & B_PIE) && period_hz(c))
        next = c->second_zero + dev_scale_up(period_at(c, now) + 1, c->hz, period_hz(c));
    if ((b & B_UIE) && running(c))
        next = dev_min(next, second_begins(c, second_at(c, now) + 1));
    if ((b & B_AIE) && running(c) && c->alarm_at != NEVER_SECOND)
        next = dev_min(next, second_begins(c, c->alarm_at));
    return next;
}

void cmos_expire(struct cmos *c, struct dev_ctx *ctx)
{
    run(c, ctx);
}
