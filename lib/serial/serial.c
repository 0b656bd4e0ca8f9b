/* SPDX-License-Identifier: BSD-2-Clause */
/* See serial.h. A refused port access reads as 0xff, as an absent device does. */
#include "serial/serial.h"
#include "sys/sys.h"

enum { DATA, IER, IIR, FCR = 2, LCR, MCR, LSR };
enum {
    IER_RECEIVED = 1,
    IER_EMPTY = 2,
    LSR_READY = 1,
    LSR_EMPTY = 0x20,
    IIR_MODEM = 0, /* never asked for; an absent device may read as 0, too */
    IIR_NONE = 1,
    IIR_RECEIVED = 4,
    IIR_ID = 0xf
};

static uint8_t in(const struct serial *u, unsigned reg)
{
    uint64_t v;
    return sys_invoke(u->ports, IOPORT_IN, 2, u->base + reg, 1, 0, 0, &v) == ERR_OK ? (uint8_t)v : 0xff;
}

static void out(const struct serial *u, unsigned reg, uint8_t v)
{
    sys_invoke3(u->ports, IOPORT_OUT, u->base + reg, 1, v);
}

void serial_init(const struct serial *u, bool bulk)
{
    out(u, IER, 0);
    out(u, LCR, 0x80); /* 115200 bits a second, 8 bits, no parity */
    out(u, DATA, 1);
    out(u, IER, 0);
    out(u, LCR, 0x03);
    out(u, FCR, bulk ? 0xc7 : 0x07); /* FIFOs on and empty; an interrupt for 14 bytes received, or for one */
    out(u, MCR, 0x0b);               /* DTR, RTS, OUT2: interrupts reach the line */
    out(u, IER, IER_RECEIVED);
}

void serial_resume(const struct serial *u)
{
    out(u, LCR, 0x03);
    out(u, FCR, 0x01); /* on already: nothing in them changes */
    out(u, MCR, 0x0b);
    out(u, IER, IER_RECEIVED);
}

void serial_want(const struct serial *u, bool input, bool output)
{
    out(u, IER, (input ? IER_RECEIVED : 0) | (output ? IER_EMPTY : 0));
}

bool serial_output_empty(const struct serial *u)
{
    return in(u, LSR) & LSR_EMPTY;
}

void serial_put(const struct serial *u, uint8_t byte)
{
    out(u, DATA, byte);
}

bool serial_ready(const struct serial *u)
{
    uint8_t s = in(u, LSR);
    return (s & LSR_READY) && s != 0xff; /* 0xff: nothing there */
}

bool serial_get(const struct serial *u, uint8_t *byte)
{
    if (!serial_ready(u))
        return false;
    *byte = in(u, DATA);
    return true;
}

uint32_t serial_read(const struct serial *u, uint8_t *to)
{
    uint32_t n = 0;

    if ((in(u, IIR) & IIR_ID) == IIR_RECEIVED) /* so many are there */
        for (; n < SERIAL_BULK; n++)
            to[n] = in(u, DATA);
    while (n < SERIAL_FIFO_BYTES && serial_get(u, &to[n]))
        n++;
    return n;
}

bool serial_pending(const struct serial *u)
{
    uint8_t id = in(u, IIR) & IIR_ID;

    return id != IIR_MODEM && !(id & IIR_NONE);
}
