/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC of the one processor, in xAPIC mode (APM vol. 2, chapter 16), with the timer's TSC-deadline
 * mode (SDM vol. 3, 10.5.4.1).
 *
 * Wiring as in a PC: LINT0 is the 8259 pair's INTR, LINT1 an NMI that nothing raises. lapic_init gives what
 * firmware leaves behind: virtual wire mode (MP specification 1.4, 3.6.2.2), LINT0 as ExtINT. The timer's
 * input clock is the machine's clock; counts are computed from the time, nothing ticks.
 * Invariants (tests/host/dev/test_lapic.c): an interrupt is offered only if the APIC is enabled in APIC_BASE
 * and in the spurious vector register, and its class is above PPR's; IRR and ISR hold no vector below 16; a
 * software-disabled APIC's LVT entries are masked. There is no other processor: what is sent to one is lost.
 * Not here: performance counters, a thermal sensor, the extended APIC space, x2APIC, another base address. */
#ifndef VMM_DEV_LAPIC_H
#define VMM_DEV_LAPIC_H

#include "servers/vmm/dev/dev.h"

#define LAPIC_BASE        0xfee00000ull
#define LAPIC_BYTES       0x1000u
#define LAPIC_BASE_BSP    BIT(8)
#define LAPIC_BASE_ENABLE BIT(11)

/* Local vector table in the order of its registers, 320h to 370h. */
enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };

struct lapic {
    uint64_t base;       /* APIC_BASE: always at LAPIC_BASE */
    uint64_t start;      /* ticks at which the count was loaded, if running */
    uint64_t deadline;   /* TSC-deadline mode: the guest's TSC at which the timer fires; 0 not armed */
    uint64_t tsc_offset; /* guest TSC = ticks + tsc_offset */
    uint32_t irr[8], isr[8], tmr[8];
    uint32_t lvt[LVTS];
    uint32_t id, tpr, ldr, dfr, svr, icr_low, icr_high;
    uint32_t esr, errors;     /* as read; found since the last write to ESR */
    uint32_t initial, divide; /* the count loaded; the divide configuration register */
    uint8_t running;          /* the count has not reached its end */
    uint8_t lint0;            /* level of the input */
    uint8_t nmi;              /* one waits */
    uint8_t reserved;
    uint16_t ended; /* 100h and the vector of a level-triggered interrupt that ended; 0 none */
    uint16_t reserved2;
};

void lapic_init(struct lapic *l, uint64_t tsc_offset);

/* lapic_read, lapic_write - one access at an offset into its page, which does not leave the page. Registers
 * are 32 bits every 16 bytes; bytes between them read as zero; a write that is not one aligned word is
 * ignored. lapic_read returns whether nothing follows from it: no state changed. */
bool lapic_read(struct lapic *l, struct dev_ctx *ctx, uint32_t offset, uint8_t *to, unsigned n);
void lapic_write(struct lapic *l, struct dev_ctx *ctx, uint32_t offset, const uint8_t *from, unsigned n);

/* lapic_set_base - APIC_BASE as written, checked by policy/msr.c. Disabling loses all other state. */
void lapic_set_base(struct lapic *l, struct dev_ctx *ctx, uint64_t base);
/* lapic_set_tpr, lapic_tpr - CR8 is TPR's bits 4..7. */
void lapic_set_tpr(struct lapic *l, struct dev_ctx *ctx, uint32_t tpr);
/* lapic_set_deadline - MSR 6E0h; ignored but in TSC-deadline mode. lapic_set_tsc - the guest's TSC moved. */
void lapic_set_deadline(struct lapic *l, struct dev_ctx *ctx, uint64_t guest_tsc);
void lapic_set_tsc(struct lapic *l, struct dev_ctx *ctx, uint64_t offset);

#define LAPIC_MODE_NMI 4 /* delivery mode */

/* An interrupt message on its way. */
struct lapic_message {
    uint8_t mode, vector; /* delivery mode as in the ICR */
    uint8_t to;           /* destination, physical or logical */
    bool logical, level;
};
/* lapic_receive - from the I/O APIC. False: this APIC did not accept it. lapic_ended - the vector of a
 * level-triggered interrupt that the processor ended since the last call, or -1. */
bool lapic_receive(struct lapic *l, struct dev_ctx *ctx, const struct lapic_message *m);
int lapic_ended(struct lapic *l, struct dev_ctx *ctx);

/* lapic_sample - takes over the level of LINT0. */
void lapic_sample(struct lapic *l, struct dev_ctx *ctx, bool lint0);

uint64_t lapic_next_deadline(const struct lapic *l, uint64_t now);
void lapic_expire(struct lapic *l, struct dev_ctx *ctx);

/* lapic_takes_extint - the 8259 pair's INTR reaches the processor as it is: ExtINT, or no APIC in between. */
bool lapic_takes_extint(const struct lapic *l);
/* lapic_pending - the vector that is offered to the processor, or -1. */
int lapic_pending(const struct lapic *l);
/* lapic_ack - takes it; the spurious vector if there is none. */
uint8_t lapic_ack(struct lapic *l, struct dev_ctx *ctx);
/* lapic_nmi_possible - LINT0 may bring an NMI. */
bool lapic_nmi_possible(const struct lapic *l);

static inline bool lapic_enabled(const struct lapic *l)
{
    return l->base & LAPIC_BASE_ENABLE;
}

#endif
