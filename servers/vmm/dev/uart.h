/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A serial port (National Semiconductor PC16550D data sheet), the PC's first: ports 3F8h.., line 4.
 *
 * Transmission takes no time; what is sent waits in a bounded ring until the VMM fetches it. Invariants: no
 * byte is lost in either direction for a guest that heeds LSR: the holding register counts as empty only
 * while the outgoing ring has room for all that it may then send, and input waits in the incoming ring until
 * the receiver has room. Where the bytes come from and go to is the VMM's. */
#ifndef VMM_DEV_UART_H
#define VMM_DEV_UART_H

#include "servers/vmm/dev/dev.h"

#define UART_FIFO     16
#define UART_OUT_RING 4096 /* powers of two */
#define UART_IN_RING  1024

struct uart {
    uint64_t hz;
    uint64_t timeout_at;         /* when the character timeout interrupt comes; DEV_NEVER */
    uint64_t overruns;           /* bytes that the guest sent although LSR forbade it, and that had no room */
    uint32_t out_head, out_tail; /* free-running: head - tail bytes wait */
    uint32_t in_head, in_tail;
    uint8_t irq;
    uint8_t ier, iir_thre, lcr, mcr, fcr, scr;
    uint8_t msr_delta; /* MSR bits 0..3 */
    uint8_t lsr_error; /* LSR bits 1..4, cleared by reading */
    uint8_t rx_head, rx_count;
    uint8_t timeout;   /* character timeout pending */
    uint8_t loop_pins; /* MSR bits 4..7 as they were last */
    uint8_t reserved;
    uint16_t divisor;
    uint8_t rx[UART_FIFO];
    uint8_t out[UART_OUT_RING];
    uint8_t in[UART_IN_RING];
};

void uart_init(struct uart *u, unsigned irq, uint64_t hz);
uint32_t uart_in(struct uart *u, struct dev_ctx *ctx, uint16_t port, unsigned width);
void uart_out(struct uart *u, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);
uint64_t uart_next_deadline(const struct uart *u, uint64_t now);
void uart_expire(struct uart *u, struct dev_ctx *ctx);

/* uart_take - fetches up to max bytes that the guest sent; returns their number. May raise the line. */
size_t uart_take(struct uart *u, struct dev_ctx *ctx, uint8_t *bytes, size_t max);

/* uart_give - the other end sends; returns how many of n bytes there was room for. May raise the line. */
size_t uart_give(struct uart *u, struct dev_ctx *ctx, const uint8_t *bytes, size_t n);

/* uart_waiting - bytes that uart_take would give now. */
static inline size_t uart_waiting(const struct uart *u)
{
    return u->out_head - u->out_tail;
}

#endif
