/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's vectors and priorities, the inputs LINT0 and error, interprocessor interrupts. See lapic.h
 * for what holds. */
#include "servers/vmm/dev/lapic_internal.h"

#define VECTOR_MIN 16 /* vectors below are illegal for the APIC */
#define ALL_APICS  0xffu

#define ICR_LOGICAL BIT(11)
#define ICR_ASSERT  BIT(14)
#define ICR_LEVEL   BIT(15)
#define ICR_TO(v)   ((v) >> 18 & 3)
enum { TO_DESTINATION, TO_SELF, TO_ALL, TO_OTHERS };

/* ---- vectors and priorities ---- */

static bool has(const uint32_t set[8], unsigned vector)
{
    return set[vector / 32] >> vector % 32 & 1;
}

static void put(struct dev_ctx *ctx, uint32_t set[8], unsigned vector, bool on)
{
    uint32_t *word = &set[vector / 32], bit = 1u << vector % 32;
    DEV_SET(ctx, *word, on ? *word | bit : *word & ~bit);
}

static int highest(const uint32_t set[8])
{
    for (int i = 7; i >= 0; i--)
        if (set[i])
            return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static uint32_t class_of(int vector)
{
    return vector < 0 ? 0 : (uint32_t)vector & 0xf0;
}

uint32_t lapic_ppr(const struct lapic *l)
{
    uint32_t serving = class_of(highest(l->isr));
    return (l->tpr & 0xf0) >= serving ? l->tpr : serving;
}

uint32_t lapic_apr(const struct lapic *l)
{
    uint32_t serving = class_of(highest(l->isr)), waiting = class_of(highest(l->irr));
    if ((l->tpr & 0xf0) >= waiting && (l->tpr & 0xf0) > serving)
        return l->tpr;
    return serving > waiting ? serving : waiting;
}

int lapic_pending(const struct lapic *l)
{
    int vector = highest(l->irr);
    return vector >= 0 && lapic_working(l) && class_of(vector) > (lapic_ppr(l) & 0xf0) ? vector : -1;
}

/* An error is seen by ESR's next write, and interrupts at once. */
void lapic_error(struct lapic *l, struct dev_ctx *ctx, uint32_t bit)
{
    uint32_t entry = l->lvt[LVT_ERROR], vector = entry & 0xff;
    bool first = !(l->errors & bit);
    DEV_SET(ctx, l->errors, l->errors | bit);
    if (!first || (entry & LVT_MASK) || !lapic_working(l))
        return;
    if (MODE_OF(entry) == MODE_NMI)
        DEV_SET(ctx, l->nmi, 1);
    else if (vector < VECTOR_MIN)
        DEV_SET(ctx, l->errors, l->errors | ESR_RECEIVE_VECTOR);
    else
        put(ctx, l->irr, vector, true);
}

void lapic_accept(struct lapic *l, struct dev_ctx *ctx, uint32_t vector, bool level)
{
    if (vector < VECTOR_MIN) {
        lapic_error(l, ctx, ESR_RECEIVE_VECTOR);
        return;
    }
    put(ctx, l->irr, vector, true);
    put(ctx, l->tmr, vector, level);
}

uint8_t lapic_ack(struct lapic *l, struct dev_ctx *ctx)
{
    int vector = lapic_pending(l);
    if (vector < 0)
        return (uint8_t)l->svr;
    put(ctx, l->irr, (unsigned)vector, false);
    put(ctx, l->isr, (unsigned)vector, true);
    return (uint8_t)vector;
}

/* ---- LINT0 ---- */

static bool lint0_active(const struct lapic *l)
{
    return l->lint0 != !!(l->lvt[LVT_LINT0] & LINT_POLARITY);
}

bool lapic_takes_extint(const struct lapic *l)
{
    if (!lapic_enabled(l))
        return true;
    uint32_t entry = l->lvt[LVT_LINT0];
    return lapic_working(l) && !(entry & LVT_MASK) && MODE_OF(entry) == MODE_EXTINT;
}

bool lapic_nmi_possible(const struct lapic *l)
{
    uint32_t entry = l->lvt[LVT_LINT0];
    return lapic_working(l) && !(entry & LVT_MASK) && MODE_OF(entry) == MODE_NMI;
}

/* rose: the input became active just now. A level-triggered one asks again after its EOI. */
static void look_at_lint0(struct lapic *l, struct dev_ctx *ctx, bool rose)
{
    uint32_t entry = l->lvt[LVT_LINT0];
    if (!lapic_working(l) || (entry & LVT_MASK) || !lint0_active(l))
        return;
    if (MODE_OF(entry) == MODE_NMI && rose) {
        DEV_SET(ctx, l->nmi, 1);
    } else if (MODE_OF(entry) == MODE_FIXED && (entry & LVT_LEVEL)) {
        if (entry & LVT_REMOTE)
            return;
        DEV_SET(ctx, l->lvt[LVT_LINT0], entry | LVT_REMOTE);
        lapic_accept(l, ctx, entry & 0xff, true);
    } else if (MODE_OF(entry) == MODE_FIXED && rose) {
        lapic_accept(l, ctx, entry & 0xff, false);
    }
}

void lapic_sample(struct lapic *l, struct dev_ctx *ctx, bool lint0)
{
    bool was = lint0_active(l);
    if (lint0 != l->lint0)
        DEV_SET(ctx, l->lint0, lint0);
    look_at_lint0(l, ctx, !was && lint0_active(l));
}

void lapic_end_of_interrupt(struct lapic *l, struct dev_ctx *ctx)
{
    int vector = highest(l->isr);
    uint32_t entry = l->lvt[LVT_LINT0];
    if (vector < 0)
        return;
    put(ctx, l->isr, (unsigned)vector, false);
    if (!has(l->tmr, (unsigned)vector))
        return;
    DEV_SET(ctx, l->ended, 0x100 | vector);
    if ((entry & LVT_REMOTE) && (entry & 0xff) == (uint32_t)vector)
        DEV_SET(ctx, l->lvt[LVT_LINT0], entry & ~LVT_REMOTE);
}

/* ---- messages: from the I/O APIC, and interprocessor interrupts, which come back or go nowhere ---- */

static bool logical_match(const struct lapic *l, uint32_t to)
{
    uint32_t own = l->ldr >> 24;
    if (l->dfr >> 28 == DFR_FLAT)
        return to & own;
    return (to >> 4 == 0xf || to >> 4 == own >> 4) && (to & own & 0xf);
}

static bool is_destination(const struct lapic *l, uint32_t to, bool logical)
{
    return logical ? logical_match(l, to) : to == l->id >> 24 || to == ALL_APICS;
}

bool lapic_receive(struct lapic *l, struct dev_ctx *ctx, const struct lapic_message *m)
{
    if (!lapic_enabled(l) || !is_destination(l, m->to, m->logical))
        return false;
    if (m->mode == MODE_NMI) {
        DEV_SET(ctx, l->nmi, 1);
        return true;
    }
    if ((m->mode != MODE_FIXED && m->mode != MODE_LOWEST) || !lapic_working(l))
        return false;
    lapic_accept(l, ctx, m->vector, m->level);
    return true;
}

int lapic_ended(struct lapic *l, struct dev_ctx *ctx)
{
    int vector = l->ended ? l->ended & 0xff : -1;
    if (l->ended)
        DEV_SET(ctx, l->ended, 0);
    return vector;
}

static bool is_for_us(const struct lapic *l)
{
    switch (ICR_TO(l->icr_low)) {
    case TO_SELF:
    case TO_ALL:
        return true;
    case TO_OTHERS:
        return false;
    default:
        return is_destination(l, l->icr_high >> 24, l->icr_low & ICR_LOGICAL);
    }
}

static void send_vector(struct lapic *l, struct dev_ctx *ctx)
{
    uint32_t vector = l->icr_low & 0xff;
    if (vector < VECTOR_MIN)
        lapic_error(l, ctx, ESR_SEND_VECTOR);
    else if (!is_for_us(l) && ICR_TO(l->icr_low) == TO_DESTINATION)
        lapic_error(l, ctx, ESR_SEND_ACCEPT);
    else if (is_for_us(l) && lapic_working(l))
        lapic_accept(l, ctx, vector, false);
}

/* INIT without assert level only synchronises arbitration; a STARTUP finds a processor that runs. */
void lapic_send(struct lapic *l, struct dev_ctx *ctx)
{
    switch (MODE_OF(l->icr_low)) {
    case MODE_FIXED:
    case MODE_LOWEST:
        send_vector(l, ctx);
        break;
    case MODE_NMI:
        if (is_for_us(l))
            DEV_SET(ctx, l->nmi, 1);
        break;
    case MODE_INIT:
        if (is_for_us(l) && ((l->icr_low & ICR_ASSERT) || !(l->icr_low & ICR_LEVEL)))
            dev_request(ctx, DEV_REQUEST_RESET_INIT);
        break;
    default:
        break;
    }
}
