/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A: receiver, transmitter, interrupt identification, registers. See uart.h for what holds. */
#include "servers/vmm/dev/uart.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX       1
#define IER_THRE     2
#define IER_LINE     4
#define IER_MODEM    8
#define IER_KEEPS    15
#define IIR_NONE     1
#define IIR_MODEM    0
#define IIR_THRE     2
#define IIR_RX       4
#define IIR_LINE     6
#define IIR_RX_OLD   12
#define IIR_FIFO     0xc0
#define FCR_ENABLE   1
#define FCR_CLEAR_RX 2
#define LCR_DLAB     0x80
#define LCR_BREAK    0x40
#define MCR_OUT2     8
#define MCR_LOOP     16
#define MCR_KEEPS    31
#define LSR_DR       1
#define LSR_OE       2
#define LSR_BI       16
#define LSR_THRE     0x20
#define LSR_TEMT     0x40
#define MSR_TERI     4 /* the only delta bit that shows one direction: RI fell */
#define MSR_CTS      0x10
#define MSR_DSR      0x20
#define MSR_RI       0x40
#define MSR_DCD      0x80

#define UART_CLOCK_HZ 1843200ull
#define TIMEOUT_CHARS 4

BUILD_ASSERT((UART_OUT_RING & (UART_OUT_RING - 1)) == 0 && (UART_IN_RING & (UART_IN_RING - 1)) == 0);

static bool fifo_on(const struct uart *u)
{
    return u->fcr & FCR_ENABLE;
}

static unsigned rx_room(const struct uart *u)
{
    return (fifo_on(u) ? UART_FIFO : 1u) - u->rx_count;
}

static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t level[4] = { 1, 4, 8, 14 };
    return fifo_on(u) ? level[u->fcr >> 6] : 1;
}

/* The transmitter is ready if all that a driver may send after one look at LSR has room. */
static bool tx_ready(const struct uart *u)
{
    return UART_OUT_RING - uart_waiting(u) >= (fifo_on(u) ? UART_FIFO : 1u);
}

static uint64_t character_ticks(const struct uart *u)
{
    uint64_t bits = 1 + 5 + (u->lcr & 3) + (u->lcr & 8 ? 1 : 0) + (u->lcr & 4 ? 2 : 1);
    return dev_scale_up(bits * 16 * (u->divisor ? u->divisor : 1), u->hz, UART_CLOCK_HZ);
}

/* ---- interrupts ---- */

static uint8_t lsr(const struct uart *u)
{
    return (uint8_t)(u->lsr_error | (u->rx_count ? LSR_DR : 0) | (tx_ready(u) ? LSR_THRE | LSR_TEMT : 0));
}

/* The pending interrupt of highest priority, as IIR shows it (PC16550D, table IV). */
static uint8_t iir(const struct uart *u)
{
    if ((u->ier & IER_LINE) && u->lsr_error)
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->rx_count >= rx_trigger(u))
        return IIR_RX;
    if ((u->ier & IER_RX) && u->timeout)
        return IIR_RX_OLD;
    if ((u->ier & IER_THRE) && u->iir_thre)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && u->msr_delta)
        return IIR_MODEM;
    return IIR_NONE;
}

/* On a PC the interrupt pin passes a gate that OUT2 opens; loopback takes OUT2 away. */
static void drive(struct uart *u, struct dev_ctx *ctx)
{
    bool gate = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    dev_line(ctx, u->irq, gate && iir(u) != IIR_NONE);
}

/* ---- receiver ---- */

static void restart_timeout(struct uart *u, struct dev_ctx *ctx)
{
    DEV_SET(ctx, u->timeout, 0);
    bool wait = fifo_on(u) && u->rx_count;
    DEV_SET(ctx, u->timeout_at, wait ? ctx->now + TIMEOUT_CHARS * character_ticks(u) : DEV_NEVER);
}

static void receive(struct uart *u, struct dev_ctx *ctx, uint8_t byte)
{
    unsigned place = (u->rx_head + u->rx_count) % UART_FIFO;
    if (!rx_room(
            u)) { /* only loopback gets here: a FIFO keeps what it has, the one register is overwritten */
        DEV_SET(ctx, u->lsr_error, u->lsr_error | LSR_OE);
        if (!fifo_on(u))
            DEV_SET(ctx, u->rx[u->rx_head], byte);
        return;
    }
    DEV_SET(ctx, u->rx[place], byte);
    DEV_SET(ctx, u->rx_count, u->rx_count + 1);
}

/* Input that waited moves up; in loopback the line is cut off. */
static void refill(struct uart *u, struct dev_ctx *ctx)
{
    if (u->mcr & MCR_LOOP)
        return;
    bool moved = false;
    while (u->in_head != u->in_tail && rx_room(u)) {
        receive(u, ctx, u->in[u->in_tail % UART_IN_RING]);
        DEV_SET(ctx, u->in_tail, u->in_tail + 1);
        moved = true;
    }
    if (moved)
        restart_timeout(u, ctx);
}

static uint8_t read_data(struct uart *u, struct dev_ctx *ctx)
{
    uint8_t byte = u->rx[u->rx_head];
    if (!u->rx_count)
        return 0;
    DEV_SET(ctx, u->rx_head, (u->rx_head + 1) % UART_FIFO);
    DEV_SET(ctx, u->rx_count, u->rx_count - 1);
    restart_timeout(u, ctx);
    refill(u, ctx);
    return byte;
}

static void clear_receiver(struct uart *u, struct dev_ctx *ctx)
{
    DEV_SET(ctx, u->rx_head, 0);
    DEV_SET(ctx, u->rx_count, 0);
    restart_timeout(u, ctx);
}

/* ---- transmitter ---- */

static void write_data(struct uart *u, struct dev_ctx *ctx, uint8_t byte)
{
    if (u->mcr & MCR_LOOP) {
        receive(u, ctx, byte);
        restart_timeout(u, ctx);
    } else if (uart_waiting(u) < UART_OUT_RING) {
        DEV_SET(ctx, u->out[u->out_head % UART_OUT_RING], byte);
        DEV_SET(ctx, u->out_head, u->out_head + 1);
    } else {
        DEV_SET(ctx, u->overruns, u->overruns + 1);
    }
    DEV_SET(ctx, u->iir_thre, tx_ready(u)); /* sent at once: the holding register is empty again */
}

/* ---- modem lines ---- */

/* MSR bits 4..7: the other end is always there; in loopback they show MCR (DTR, RTS, OUT1, OUT2). */
static uint8_t pins(const struct uart *u)
{
    if (!(u->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((u->mcr & 1 ? MSR_DSR : 0) | (u->mcr & 2 ? MSR_CTS : 0) | (u->mcr & 4 ? MSR_RI : 0) |
                     (u->mcr & 8 ? MSR_DCD : 0));
}

static void update_pins(struct uart *u, struct dev_ctx *ctx)
{
    uint8_t now = pins(u), changed = (now ^ u->loop_pins) >> 4;
    if ((changed & MSR_TERI) && (now & MSR_RI))
        changed &= (uint8_t)~MSR_TERI;
    DEV_SET(ctx, u->msr_delta, u->msr_delta | changed);
    DEV_SET(ctx, u->loop_pins, now);
}

static uint8_t read_msr(struct uart *u, struct dev_ctx *ctx)
{
    uint8_t v = (uint8_t)(pins(u) | u->msr_delta);
    DEV_SET(ctx, u->msr_delta, 0);
    return v;
}

static void write_mcr(struct uart *u, struct dev_ctx *ctx, uint8_t v)
{
    DEV_SET(ctx, u->mcr, v & MCR_KEEPS);
    update_pins(u, ctx);
    refill(u, ctx);
}

/* ---- registers ---- */

static void write_ier(struct uart *u, struct dev_ctx *ctx, uint8_t v)
{
    uint8_t enabled = (uint8_t)(v & ~u->ier);
    DEV_SET(ctx, u->ier, v & IER_KEEPS);
    if ((enabled & IER_THRE) && tx_ready(u))
        DEV_SET(ctx, u->iir_thre, 1); /* drivers enable it to be told that it is empty */
}

static void write_fcr(struct uart *u, struct dev_ctx *ctx, uint8_t v)
{
    bool was_on = fifo_on(u), was_ready = tx_ready(u);
    DEV_SET(ctx, u->fcr, v & FCR_ENABLE ? v & 0xc9 : 0);
    if (!was_ready && tx_ready(u)) /* less is room enough without the FIFO */
        DEV_SET(ctx, u->iir_thre, 1);
    if ((v & FCR_CLEAR_RX) || was_on != fifo_on(u))
        clear_receiver(u, ctx);
    refill(u, ctx);
}

static void write_lcr(struct uart *u, struct dev_ctx *ctx, uint8_t v)
{
    bool break_starts = (v & ~u->lcr & LCR_BREAK) && (u->mcr & MCR_LOOP);
    DEV_SET(ctx, u->lcr, v);
    if (break_starts) {
        receive(u, ctx, 0);
        DEV_SET(ctx, u->lsr_error, u->lsr_error | LSR_BI);
    }
}

static uint8_t read_iir(struct uart *u, struct dev_ctx *ctx)
{
    uint8_t v = iir(u);
    if (v == IIR_THRE)
        DEV_SET(ctx, u->iir_thre, 0);
    return fifo_on(u) ? v | IIR_FIFO : v;
}

static uint8_t read_lsr(struct uart *u, struct dev_ctx *ctx)
{
    uint8_t v = lsr(u);
    if (u->lsr_error)
        DEV_SET(ctx, u->lsr_error, 0);
    return v;
}

static uint8_t read_register(struct uart *u, struct dev_ctx *ctx, unsigned reg)
{
    bool dlab = u->lcr & LCR_DLAB;
    switch (reg) {
    case REG_DATA:
        return dlab ? (uint8_t)u->divisor : read_data(u, ctx);
    case REG_IER:
        return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
    case REG_IIR_FCR:
        return read_iir(u, ctx);
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_LSR:
        return read_lsr(u, ctx);
    case REG_MSR:
        return read_msr(u, ctx);
    default:
        return u->scr;
    }
}

static void write_register(struct uart *u, struct dev_ctx *ctx, unsigned reg, uint8_t v)
{
    bool dlab = u->lcr & LCR_DLAB;
    switch (reg) {
    case REG_DATA:
        if (dlab)
            DEV_SET(ctx, u->divisor, (u->divisor & 0xff00) | v);
        else
            write_data(u, ctx, v);
        break;
    case REG_IER:
        if (dlab)
            DEV_SET(ctx, u->divisor, (u->divisor & 0xff) | v << 8);
        else
            write_ier(u, ctx, v);
        break;
    case REG_IIR_FCR:
        write_fcr(u, ctx, v);
        break;
    case REG_LCR:
        write_lcr(u, ctx, v);
        break;
    case REG_MCR:
        write_mcr(u, ctx, v);
        break;
    case REG_SCR:
        DEV_SET(ctx, u->scr, v);
        break;
    default: /* LSR and MSR: writing them is for the factory's test */
        break;
    }
}

/* ---- the contract ---- */

void uart_init(struct uart *u, unsigned irq, uint64_t hz)
{
    *u = (struct uart){ .hz = hz, .irq = (uint8_t)irq, .timeout_at = DEV_NEVER, .divisor = 12 };
    u->loop_pins = pins(u);
}

uint32_t uart_in(struct uart *u, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)width;
    uart_expire(u, ctx);
    uint8_t v = read_register(u, ctx, port & 7);
    drive(u, ctx);
    return v;
}

void uart_out(struct uart *u, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    (void)width;
    uart_expire(u, ctx);
    write_register(u, ctx, port & 7, (uint8_t)value);
    drive(u, ctx);
}

uint64_t uart_next_deadline(const struct uart *u, uint64_t now)
{
    (void)now;
    return (u->ier & IER_RX) ? u->timeout_at : DEV_NEVER;
}

void uart_expire(struct uart *u, struct dev_ctx *ctx)
{
    if (ctx->now < u->timeout_at)
        return;
    DEV_SET(ctx, u->timeout_at, DEV_NEVER);
    DEV_SET(ctx, u->timeout, 1);
    drive(u, ctx);
}

size_t uart_take(struct uart *u, struct dev_ctx *ctx, uint8_t *bytes, size_t max)
{
    bool was_ready = tx_ready(u);
    size_t n = dev_min(uart_waiting(u), max);
    for (size_t i = 0; i < n; i++)
        bytes[i] = u->out[(u->out_tail + i) % UART_OUT_RING];
    if (!n)
        return 0;
    DEV_SET(ctx, u->out_tail, u->out_tail + n);
    if (!was_ready && tx_ready(u))
        DEV_SET(ctx, u->iir_thre, 1);
    drive(u, ctx);
    return n;
}

size_t uart_give(struct uart *u, struct dev_ctx *ctx, const uint8_t *bytes, size_t n)
{
    size_t room = UART_IN_RING - (u->in_head - u->in_tail);
    size_t count = dev_min(n, room);
    for (size_t i = 0; i < count; i++)
        DEV_SET(ctx, u->in[(u->in_head + i) % UART_IN_RING], bytes[i]);
    if (!count)
        return 0;
    DEV_SET(ctx, u->in_head, u->in_head + count);
    refill(u, ctx);
    drive(u, ctx);
    return count;
}
