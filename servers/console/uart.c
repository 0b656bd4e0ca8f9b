/* SPDX-License-Identifier: BSD-2-Clause */
/* See uart.h. A refused port access reads as 0xff, as an absent device does. */
#include "uart.h"
#include "sys/sys.h"

enum { DATA = 0x3f8, IER = 0x3f9, IIR = 0x3fa, FCR = 0x3fa, LCR = 0x3fb, MCR = 0x3fc, LSR = 0x3fd };
enum { IER_RECEIVED = 1, IER_EMPTY = 2, LSR_READY = 1, LSR_EMPTY = 0x20, IIR_NONE = 1 };

static uint8_t in(cptr_t ports, uint16_t port)
{
    uint64_t v;
    return sys_invoke(ports, IOPORT_IN, 2, port, 1, 0, 0, &v) == ERR_OK ? (uint8_t)v : 0xff;
}

static void out(cptr_t ports, uint16_t port, uint8_t v)
{
    sys_invoke3(ports, IOPORT_OUT, port, 1, v);
}

void uart_init(cptr_t ports)
{
    out(ports, IER, 0);
    out(ports, LCR, 0x80); /* 115200 bits a second, 8 bits, no parity */
    out(ports, DATA, 1);
    out(ports, IER, 0);
    out(ports, LCR, 0x03);
    out(ports, FCR, 0x07); /* FIFOs on and empty; an interrupt for each byte received */
    out(ports, MCR, 0x0b); /* DTR, RTS, OUT2: interrupts reach the line */
    out(ports, IER, IER_RECEIVED);
}

void uart_want_output(cptr_t ports, bool on)
{
    out(ports, IER, IER_RECEIVED | (on ? IER_EMPTY : 0));
}

bool uart_output_empty(cptr_t ports)
{
    return in(ports, LSR) & LSR_EMPTY;
}

void uart_put(cptr_t ports, uint8_t byte)
{
    out(ports, DATA, byte);
}

bool uart_get(cptr_t ports, uint8_t *byte)
{
    uint8_t s = in(ports, LSR);

    if (!(s & LSR_READY) || s == 0xff) /* 0xff: nothing there */
        return false;
    *byte = in(ports, DATA);
    return true;
}

bool uart_pending(cptr_t ports)
{
    return !(in(ports, IIR) & IIR_NONE);
}
