/* SPDX-License-Identifier: BSD-2-Clause */
/* The i8042 keyboard controller of a PC with nothing plugged in, ports 60h and 64h, line 1; and port 92h.
 *
 * The controller is there (drivers that look for it find a working one at once, resets through it work),
 * keyboard and mouse are not: bytes sent to the keyboard come back as FEh with the timeout bit, the mouse
 * port fails its test. Invariant: the input buffer is always empty (commands take no time), so nobody ever
 * waits for it. */
#ifndef VMM_DEV_KBD_H
#define VMM_DEV_KBD_H

#include "servers/vmm/dev/dev.h"

struct kbd {
    uint8_t status; /* bits 2 (system flag), 3 (last write was a command), 6 (timeout); 0 is full */
    uint8_t full;   /* the output buffer holds data */
    uint8_t data;
    uint8_t command; /* awaits its byte at port 60h; 0 none */
    uint8_t config;  /* command byte: 0 keyboard interrupt, 2 system flag, 4 keyboard off, 5 mouse off, 6
                        translate */
    uint8_t port92;
    uint8_t reserved[2];
};

void kbd_init(struct kbd *k);
uint32_t kbd_in(struct kbd *k, struct dev_ctx *ctx, uint16_t port, unsigned width);
void kbd_out(struct kbd *k, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);

#endif
