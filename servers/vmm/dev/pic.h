/* SPDX-License-Identifier: BSD-2-Clause */
/* The pair of 8259A interrupt controllers of a PC (Intel 8259A data sheet; edge/level registers as in the
 * PIIX3).
 *
 * Invariants: the slave's INT drives the master's input 2; an edge-triggered request disappears when its line
 * falls before it was acknowledged; acknowledging without a request gives the spurious vector 7 and sets no
 * ISR bit. Choosing when an interrupt is delivered is irq.h. */
#ifndef VMM_DEV_PIC_H
#define VMM_DEV_PIC_H

#include "servers/vmm/dev/dev.h"

struct pic_chip {
    uint8_t edge;  /* edge-triggered requests latched; IRR = edge | level & elcr */
    uint8_t level; /* the input lines */
    uint8_t isr, imr;
    uint8_t elcr;   /* bit set: level-triggered */
    uint8_t base;   /* vector of input 0 */
    uint8_t lowest; /* the input of lowest priority; 7 after ICW1 */
    uint8_t icw;    /* the ICW expected next: 2..4; 0 none; 1 not initialised since power-on */
    uint8_t icw1, icw3, icw4;
    uint8_t read_isr, poll, special_mask, rotate_aeoi;
    uint8_t reserved;
};

struct pic {
    struct pic_chip chip[2]; /* master, slave */
};

void pic_init(struct pic *p);
uint32_t pic_in(struct pic *p, struct dev_ctx *ctx, uint16_t port, unsigned width);
void pic_out(struct pic *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);

/* pic_sample - takes over the interrupt lines (ctx->lines) and forgets lines->rose. */
void pic_sample(struct pic *p, struct dev_ctx *ctx);

/* pic_intr - the INTR pin: an interrupt waits. Changes nothing. */
bool pic_intr(const struct pic *p);

/* pic_ack - the two INTA cycles: the vector, and the state that follows from taking it. */
uint8_t pic_ack(struct pic *p, struct dev_ctx *ctx);

/* pic_masked - line irq (0..15) cannot interrupt now because it, or the cascade, is masked or not set up. */
bool pic_masked(const struct pic *p, unsigned irq);

#endif
