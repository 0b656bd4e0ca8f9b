/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's registers (APM vol. 2, table 16-2). See lapic.h for what holds. */
#include "servers/vmm/dev/lapic_internal.h"

#define VERSION   0x00050010u /* integrated; the last LVT entry is number 5 */
#define SVR_BITS  0x3ffu      /* vector, enable, focus checking */
#define SVR_RESET 0xffu
#define DFR_RESET 0xffffffffu
#define ICR_BITS  0xccfffu /* what is kept of ICR low; delivery status reads as idle */

/* Registers, in 16 bytes. */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_REMOTE_READ = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR_LOW = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_INITIAL = 0x38,
    REG_CURRENT = 0x39,
    REG_DIVIDE = 0x3e,
};

/* What can be written of an LVT entry. */
static const uint32_t lvt_bits[LVTS] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x107ff };

static void reset(struct lapic *l, struct dev_ctx *ctx)
{
    struct lapic n = { .base = l->base,
                       .tsc_offset = l->tsc_offset,
                       .lint0 = l->lint0,
                       .dfr = DFR_RESET,
                       .svr = SVR_RESET,
                       .lvt = { LVT_MASK, LVT_MASK, LVT_MASK, LVT_MASK, LVT_MASK, LVT_MASK } };
    dev_touch(ctx->undo, l, sizeof(*l));
    *l = n;
}

void lapic_init(struct lapic *l, uint64_t tsc_offset)
{
    struct dev_ctx none = { 0 };
    *l = (struct lapic){ .base = LAPIC_BASE | LAPIC_BASE_BSP | LAPIC_BASE_ENABLE, .tsc_offset = tsc_offset };
    reset(l, &none);
    l->svr = SVR_RESET | SVR_ENABLE;
    l->lvt[LVT_LINT0] = MODE_EXTINT << 8;
    l->lvt[LVT_LINT1] = MODE_NMI << 8;
}

void lapic_set_base(struct lapic *l, struct dev_ctx *ctx, uint64_t base)
{
    if (!(base & LAPIC_BASE_ENABLE))
        reset(l, ctx);
    DEV_SET(ctx, l->base, base);
}

void lapic_set_tpr(struct lapic *l, struct dev_ctx *ctx, uint32_t tpr)
{
    DEV_SET(ctx, l->tpr, tpr & 0xff);
}

static void write_svr(struct lapic *l, struct dev_ctx *ctx, uint32_t v)
{
    DEV_SET(ctx, l->svr, v & SVR_BITS);
    for (unsigned i = 0; i < LVTS && !(v & SVR_ENABLE); i++)
        DEV_SET(ctx, l->lvt[i], l->lvt[i] | LVT_MASK);
}

static void write_lvt(struct lapic *l, struct dev_ctx *ctx, enum lapic_lvt i, uint32_t v)
{
    uint32_t next = (v & lvt_bits[i]) | (l->lvt[i] & LVT_REMOTE);
    if (!(l->svr & SVR_ENABLE))
        next |= LVT_MASK;
    if (i != LVT_LINT0 || !(next & LVT_LEVEL))
        next &= ~(uint32_t)LVT_REMOTE;
    if (i == LVT_TIMER)
        lapic_write_timer_lvt(l, ctx, next);
    else
        DEV_SET(ctx, l->lvt[i], next);
}

static uint32_t read_register(struct lapic *l, struct dev_ctx *ctx, unsigned reg)
{
    if (reg >= REG_ISR && reg < REG_ESR) {
        const uint32_t *set = reg < REG_TMR ? l->isr : reg < REG_IRR ? l->tmr : l->irr;
        return set[reg % 8];
    }
    if (reg >= REG_LVT && reg < REG_LVT + LVTS)
        return l->lvt[reg - REG_LVT];
    switch (reg) {
    case REG_ID:
        return l->id;
    case REG_VERSION:
        return VERSION;
    case REG_TPR:
        return l->tpr;
    case REG_APR:
        return lapic_apr(l);
    case REG_PPR:
        return lapic_ppr(l);
    case REG_EOI:
    case REG_REMOTE_READ:
        return 0;
    case REG_LDR:
        return l->ldr;
    case REG_DFR:
        return l->dfr;
    case REG_SVR:
        return l->svr;
    case REG_ESR:
        return l->esr;
    case REG_ICR_LOW:
        return l->icr_low;
    case REG_ICR_HIGH:
        return l->icr_high;
    case REG_INITIAL:
        return TIMER_MODE(l->lvt[LVT_TIMER]) == TIMER_DEADLINE ? 0 : l->initial;
    case REG_CURRENT:
        return lapic_current_count(l, ctx->now);
    case REG_DIVIDE:
        return l->divide;
    default:
        lapic_error(l, ctx, ESR_REGISTER);
        return 0;
    }
}

static void write_icr(struct lapic *l, struct dev_ctx *ctx, uint32_t v)
{
    DEV_SET(ctx, l->icr_low, v & ICR_BITS);
    lapic_send(l, ctx);
}

static void write_esr(struct lapic *l, struct dev_ctx *ctx)
{
    DEV_SET(ctx, l->esr, l->errors);
    DEV_SET(ctx, l->errors, 0);
}

static void write_register(struct lapic *l, struct dev_ctx *ctx, unsigned reg, uint32_t v)
{
    switch (reg) {
    case REG_ID:
        DEV_SET(ctx, l->id, v & 0xff000000);
        break;
    case REG_TPR:
        lapic_set_tpr(l, ctx, v);
        break;
    case REG_EOI:
        lapic_end_of_interrupt(l, ctx);
        break;
    case REG_LDR:
        DEV_SET(ctx, l->ldr, v & 0xff000000);
        break;
    case REG_DFR:
        DEV_SET(ctx, l->dfr, v | 0x0fffffff);
        break;
    case REG_SVR:
        write_svr(l, ctx, v);
        break;
    case REG_ESR:
        write_esr(l, ctx);
        break;
    case REG_ICR_LOW:
        write_icr(l, ctx, v);
        break;
    case REG_ICR_HIGH:
        DEV_SET(ctx, l->icr_high, v & 0xff000000);
        break;
    case REG_LVT ... REG_LVT + LVTS - 1:
        write_lvt(l, ctx, (enum lapic_lvt)(reg - REG_LVT), v);
        break;
    case REG_INITIAL:
        lapic_write_initial(l, ctx, v);
        break;
    case REG_DIVIDE:
        lapic_write_divide(l, ctx, v);
        break;
    case REG_VERSION: /* read-only ones are there, writing them does nothing */
    case REG_APR:
    case REG_PPR:
    case REG_REMOTE_READ:
    case REG_ISR ... REG_ESR - 1:
    case REG_CURRENT:
        break;
    default:
        lapic_error(l, ctx, ESR_REGISTER);
    }
}

/* Reading another one is an error, which is reported. */
static bool is_register(unsigned reg)
{
    static const uint64_t some = BIT(REG_ID) | BIT(REG_VERSION) | BIT(REG_TPR) | BIT(REG_APR) | BIT(REG_PPR) |
                                 BIT(REG_EOI) | BIT(REG_REMOTE_READ) | BIT(REG_LDR) | BIT(REG_DFR) |
                                 BIT(REG_SVR) | BIT(REG_ESR) | BIT(REG_ICR_LOW) | BIT(REG_ICR_HIGH) |
                                 BIT(REG_INITIAL) | BIT(REG_CURRENT) | BIT(REG_DIVIDE);
    return reg < 64 && ((some >> reg & 1) || (reg >= REG_ISR && reg < REG_ESR) ||
                        (reg >= REG_LVT && reg < REG_LVT + LVTS));
}

bool lapic_read(struct lapic *l, struct dev_ctx *ctx, uint32_t offset, uint8_t *to, unsigned n)
{
    uint32_t value = 0;
    unsigned loaded = LAPIC_BYTES; /* the register that value holds */
    bool quiet = is_register(offset / 16) && offset / 16 == (offset + n - 1) / 16;
    if (n == sizeof(value) && offset % 16 == 0) {
        value = read_register(l, ctx, offset / 16);
        __builtin_memcpy(to, &value, sizeof(value));
        return quiet;
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned reg = (offset + i) / 16, byte = (offset + i) % 16;
        if (byte < 4 && reg != loaded) {
            value = read_register(l, ctx, reg);
            loaded = reg;
        }
        to[i] = byte < 4 ? (uint8_t)(value >> 8 * byte) : 0;
    }
    return quiet;
}

void lapic_write(struct lapic *l, struct dev_ctx *ctx, uint32_t offset, const uint8_t *from, unsigned n)
{
    if (n != 4 || offset % 16)
        return;
    lapic_expire(l, ctx);
    write_register(l, ctx, offset / 16,
                   from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24);
}
