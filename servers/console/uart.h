/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550 at COM1, by I/O port capability (National Semiconductor PC16550D, 8.0). */
#ifndef SERVERS_CONSOLE_UART_H
#define SERVERS_CONSOLE_UART_H

#include <umbra/types.h>

#define UART_FIFO_BYTES 16u

void uart_init(cptr_t ports);
/* Interrupt when the transmitter is empty, besides that for received bytes. */
void uart_want_output(cptr_t ports, bool on);
/* Is the transmitter's FIFO empty: UART_FIFO_BYTES may be written then. */
bool uart_output_empty(cptr_t ports);
void uart_put(cptr_t ports, uint8_t byte);
/* The next received byte; false: none. */
bool uart_get(cptr_t ports, uint8_t *byte);
/* Does the UART ask for an interrupt? Reading it takes back that of the transmitter. */
bool uart_pending(cptr_t ports);

#endif
