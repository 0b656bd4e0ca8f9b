/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8259A pair: priorities, acknowledge cycles, command words. See pic.h for what holds. */
#include "servers/vmm/dev/pic.h"

enum { MASTER, SLAVE };
#define CASCADE 2

#define ICW1_NEEDS_ICW4 1
#define ICW1_SINGLE     2
#define ICW4_AEOI       2
#define ICW4_SFNM       16

#define ELCR_MASTER_MASK 0xf8 /* lines 0, 1 and 2 are always edge-triggered */
#define ELCR_SLAVE_MASK  0xde /* 8 and 13, too */

static uint8_t chip_irr(const struct pic_chip *c)
{
    return (uint8_t)(c->edge | (c->level & c->elcr));
}

/* The place in the priority order (0 highest) of the best of mask; 8 if it is empty. */
static unsigned best_rank(const struct pic_chip *c, uint8_t mask)
{
    for (unsigned rank = 0; rank < 8; rank++)
        if (mask & 1u << ((c->lowest + 1 + rank) & 7))
            return rank;
    return 8;
}

/* The input that would be acknowledged now, or -1. is_master decides what special fully nested mode lets
 * through. */
static int chip_pending(const struct pic_chip *c, uint8_t irr, bool is_master)
{
    if (c->icw)
        return -1;
    uint8_t serving = c->isr;
    if (c->special_mask)
        serving &= (uint8_t)~c->imr;
    if (is_master && (c->icw4 & ICW4_SFNM))
        serving &= (uint8_t) ~(1u << CASCADE);
    unsigned request = best_rank(c, (uint8_t)(irr & ~c->imr));
    if (request >= best_rank(c, serving))
        return -1;
    return (c->lowest + 1 + (int)request) & 7;
}

static int slave_pending(const struct pic *p)
{
    return chip_pending(&p->chip[SLAVE], chip_irr(&p->chip[SLAVE]), false);
}

/* The slave's INT counts as long as it is there: the pair never loses one between two acknowledges. */
static uint8_t master_irr(const struct pic *p)
{
    uint8_t irr = (uint8_t)(chip_irr(&p->chip[MASTER]) & ~(1u << CASCADE));
    return slave_pending(p) >= 0 ? irr | 1u << CASCADE : irr;
}

static int master_pending(const struct pic *p)
{
    return chip_pending(&p->chip[MASTER], master_irr(p), true);
}

void pic_init(struct pic *p)
{
    *p = (struct pic){ 0 };
    for (int i = 0; i < 2; i++) {
        p->chip[i].lowest = 7;
        p->chip[i].icw = 1;
    }
}

bool pic_intr(const struct pic *p)
{
    const struct pic_chip *m = &p->chip[MASTER], *s = &p->chip[SLAVE];

    if (!(chip_irr(m) & ~m->imr) && !(chip_irr(s) & ~s->imr)) /* the usual answer, without priorities */
        return false;
    return master_pending(p) >= 0;
}

bool pic_masked(const struct pic *p, unsigned irq)
{
    const struct pic_chip *m = &p->chip[MASTER], *s = &p->chip[SLAVE];
    if (irq < 8)
        return m->icw || (m->imr & 1u << irq);
    return m->icw || s->icw || (m->imr & 1u << CASCADE) || (s->imr & 1u << (irq - 8));
}

static void chip_sample(struct pic_chip *c, struct dev_ctx *ctx, uint8_t level, uint8_t rose)
{
    uint8_t edge = (uint8_t)((c->edge | rose) & level & ~c->elcr);
    if (edge != c->edge)
        DEV_SET(ctx, c->edge, edge);
    if (level != c->level)
        DEV_SET(ctx, c->level, level);
}

void pic_sample(struct pic *p, struct dev_ctx *ctx)
{
    uint32_t level = ctx->lines->level, rose = ctx->lines->rose;

    if (!rose && (uint8_t)level == p->chip[MASTER].level && (uint8_t)(level >> 8) == p->chip[SLAVE].level)
        return; /* nothing moved since the last look */
    chip_sample(&p->chip[MASTER], ctx, (uint8_t)level, (uint8_t)rose);
    chip_sample(&p->chip[SLAVE], ctx, (uint8_t)(level >> 8), (uint8_t)(rose >> 8));
    if (rose)
        DEV_SET(ctx, ctx->lines->rose, 0);
}

/* Input i of a chip is taken: its edge is used up, and it is in service unless the chip ends it by itself. */
static void chip_take(struct pic_chip *c, struct dev_ctx *ctx, int i)
{
    uint8_t bit = (uint8_t)(1u << i);
    DEV_SET(ctx, c->edge, c->edge & ~bit);
    if (!(c->icw4 & ICW4_AEOI))
        DEV_SET(ctx, c->isr, c->isr | bit);
    else if (c->rotate_aeoi)
        DEV_SET(ctx, c->lowest, i);
}

static uint8_t slave_ack(struct pic *p, struct dev_ctx *ctx)
{
    struct pic_chip *s = &p->chip[SLAVE];
    int i = slave_pending(p);
    if (i < 0)
        return (uint8_t)(s->base + 7);
    chip_take(s, ctx, i);
    return (uint8_t)(s->base + i);
}

uint8_t pic_ack(struct pic *p, struct dev_ctx *ctx)
{
    struct pic_chip *m = &p->chip[MASTER];
    int i = master_pending(p);
    if (i < 0)
        return (uint8_t)(m->base + 7);
    if (i != CASCADE) {
        chip_take(m, ctx, i);
        return (uint8_t)(m->base + i);
    }
    uint8_t vector = slave_ack(p, ctx);
    chip_take(m, ctx, CASCADE);
    return vector;
}

static void write_icw1(struct pic_chip *c, struct dev_ctx *ctx, uint8_t v)
{
    struct pic_chip n = { .level = c->level, .elcr = c->elcr, .lowest = 7, .icw = 2, .icw1 = v };
    dev_touch(ctx->undo, c, sizeof(*c));
    *c = n;
}

/* The initialisation words that ICW1 announced, in order; others are skipped. */
static void write_icw(struct pic_chip *c, struct dev_ctx *ctx, uint8_t v)
{
    bool icw3 = !(c->icw1 & ICW1_SINGLE), icw4 = c->icw1 & ICW1_NEEDS_ICW4;
    switch (c->icw) {
    case 2:
        DEV_SET(ctx, c->base, v & 0xf8);
        DEV_SET(ctx, c->icw, icw3 ? 3 : icw4 ? 4 : 0);
        break;
    case 3:
        DEV_SET(ctx, c->icw3, v);
        DEV_SET(ctx, c->icw, icw4 ? 4 : 0);
        break;
    default:
        DEV_SET(ctx, c->icw4, v);
        DEV_SET(ctx, c->icw, 0);
    }
}

/* Ends service of input i; rotating, it becomes the lowest. */
static void end_of_interrupt(struct pic_chip *c, struct dev_ctx *ctx, unsigned i, bool rotate)
{
    DEV_SET(ctx, c->isr, c->isr & ~(1u << i));
    if (rotate)
        DEV_SET(ctx, c->lowest, i);
}

static void write_ocw2(struct pic_chip *c, struct dev_ctx *ctx, uint8_t v)
{
    bool rotate = v & 0x80, specific = v & 0x40, eoi = v & 0x20;
    if (!eoi) {
        if (specific && rotate)
            DEV_SET(ctx, c->lowest, v & 7);
        else if (!specific)
            DEV_SET(ctx, c->rotate_aeoi, rotate);
        return;
    }
    if (specific) {
        end_of_interrupt(c, ctx, v & 7, rotate);
        return;
    }
    uint8_t serving = c->special_mask ? (uint8_t)(c->isr & ~c->imr) : c->isr;
    unsigned rank = best_rank(c, serving);
    if (rank < 8)
        end_of_interrupt(c, ctx, (c->lowest + 1 + rank) & 7, rotate);
}

static void write_ocw3(struct pic_chip *c, struct dev_ctx *ctx, uint8_t v)
{
    DEV_SET(ctx, c->poll, v >> 2 & 1);
    if (v & 2)
        DEV_SET(ctx, c->read_isr, v & 1);
    if (v & 0x40)
        DEV_SET(ctx, c->special_mask, v >> 5 & 1);
}

/* The read after a poll command acknowledges and tells the input: bit 7 set if there was one. */
static uint8_t poll_read(struct pic *p, struct dev_ctx *ctx, int which)
{
    struct pic_chip *c = &p->chip[which];
    DEV_SET(ctx, c->poll, 0);
    int i = which == MASTER ? master_pending(p) : slave_pending(p);
    if (i < 0)
        return 0;
    chip_take(c, ctx, i);
    return (uint8_t)(0x80 | i);
}

static uint8_t chip_read(struct pic *p, struct dev_ctx *ctx, int which, bool data)
{
    struct pic_chip *c = &p->chip[which];
    if (c->poll)
        return poll_read(p, ctx, which);
    if (data)
        return c->imr;
    if (c->read_isr)
        return c->isr;
    return which == MASTER ? master_irr(p) : chip_irr(c);
}

static void chip_write(struct pic_chip *c, struct dev_ctx *ctx, bool data, uint8_t v)
{
    if (data && c->icw > 1)
        write_icw(c, ctx, v);
    else if (data)
        DEV_SET(ctx, c->imr, v);
    else if (v & 0x10)
        write_icw1(c, ctx, v);
    else if (v & 0x08)
        write_ocw3(c, ctx, v);
    else
        write_ocw2(c, ctx, v);
}

static void write_elcr(struct pic_chip *c, struct dev_ctx *ctx, uint8_t v)
{
    DEV_SET(ctx, c->elcr, v);
    DEV_SET(ctx, c->edge, c->edge & ~v);
}

uint32_t pic_in(struct pic *p, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)width;
    switch (port) {
    case 0x4d0:
        return p->chip[MASTER].elcr;
    case 0x4d1:
        return p->chip[SLAVE].elcr;
    default:
        return chip_read(p, ctx, port & 0x80 ? SLAVE : MASTER, port & 1);
    }
}

void pic_out(struct pic *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    (void)width;
    switch (port) {
    case 0x4d0:
        write_elcr(&p->chip[MASTER], ctx, value & ELCR_MASTER_MASK);
        break;
    case 0x4d1:
        write_elcr(&p->chip[SLAVE], ctx, value & ELCR_SLAVE_MASK);
        break;
    default:
        chip_write(&p->chip[port & 0x80 ? SLAVE : MASTER], ctx, port & 1, (uint8_t)value);
    }
}
