/* SPDX-License-Identifier: BSD-2-Clause */
/* A 16550 by I/O port capability (National Semiconductor PC16550D, 8.0). */
#ifndef LIB_SERIAL_SERIAL_H
#define LIB_SERIAL_SERIAL_H

#include <umbra/types.h>

#define SERIAL_FIFO_BYTES 16u
#define SERIAL_BULK       14u

struct serial {
    cptr_t ports;
    uint16_t base; /* of its eight ports */
};

/* bulk: interrupts come for SERIAL_BULK received bytes, or for fewer that wait for no more. */
void serial_init(const struct serial *u, bool bulk);
/* One that serial_init (not for bulk) has set up, maybe by another process: what is in its FIFOs stays. */
void serial_resume(const struct serial *u);
/* Interrupt for received bytes, and when the transmitter is empty. */
void serial_want(const struct serial *u, bool input, bool output);
/* Is the transmitter's FIFO empty: SERIAL_FIFO_BYTES may be written then. */
bool serial_output_empty(const struct serial *u);
void serial_put(const struct serial *u, uint8_t byte);
/* Is there a received byte? */
bool serial_ready(const struct serial *u);
/* The next received byte; false: none. */
bool serial_get(const struct serial *u, uint8_t *byte);
/* What has been received, to to[0 .. SERIAL_FIFO_BYTES), after serial_init for bulk: with fewer port accesses
 * than byte by byte. Returns how many. */
uint32_t serial_read(const struct serial *u, uint8_t *to);
/* Does the UART ask for an interrupt? Reading it takes back that of the transmitter. */
bool serial_pending(const struct serial *u);

#endif
