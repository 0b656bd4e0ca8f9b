/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of the local APIC: lapic.c registers, lapic_irq.c vectors, inputs and interprocessor
 * interrupts, lapic_timer.c the timer. Not for others. */
#ifndef VMM_DEV_LAPIC_INTERNAL_H
#define VMM_DEV_LAPIC_INTERNAL_H

#include "servers/vmm/dev/lapic.h"

#define SVR_ENABLE BIT(8)
#define DFR_FLAT   0xfu

#define LINT_POLARITY BIT(13) /* active low */
#define LVT_REMOTE    BIT(14)
#define LVT_LEVEL     BIT(15)
#define LVT_MASK      BIT(16)

/* Delivery modes of the LVT and the ICR. */
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_REMOTE_READ, MODE_NMI, MODE_INIT, MODE_STARTUP, MODE_EXTINT };
BUILD_ASSERT((int)MODE_NMI == LAPIC_MODE_NMI);
#define MODE_OF(v) ((v) >> 8 & 7)

#define TIMER_MODE(v) ((v) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

enum {
    ESR_SEND_ACCEPT = BIT(2),
    ESR_SEND_VECTOR = BIT(5),
    ESR_RECEIVE_VECTOR = BIT(6),
    ESR_REGISTER = BIT(7)
};

/* Enabled in APIC_BASE and in the spurious vector register. */
static inline bool lapic_working(const struct lapic *l)
{
    return lapic_enabled(l) && (l->svr & SVR_ENABLE);
}

/* lapic_irq.c */
void lapic_error(struct lapic *l, struct dev_ctx *ctx, uint32_t bit);
void lapic_accept(struct lapic *l, struct dev_ctx *ctx, uint32_t vector, bool level);
uint32_t lapic_ppr(const struct lapic *l);
uint32_t lapic_apr(const struct lapic *l);
void lapic_end_of_interrupt(struct lapic *l, struct dev_ctx *ctx);
void lapic_send(struct lapic *l, struct dev_ctx *ctx);

/* lapic_timer.c */
uint32_t lapic_current_count(const struct lapic *l, uint64_t now);
void lapic_write_initial(struct lapic *l, struct dev_ctx *ctx, uint32_t v);
void lapic_write_divide(struct lapic *l, struct dev_ctx *ctx, uint32_t v);
void lapic_write_timer_lvt(struct lapic *l, struct dev_ctx *ctx, uint32_t v);

#endif
