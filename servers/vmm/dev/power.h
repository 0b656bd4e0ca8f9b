/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports by which a guest ends itself: reset control (CF9h), power off (604h, 8900h), debug exit (F4h).
 *
 * How a guest ends, all of it:
 *   reset      keyboard controller command FEh, port 92h bit 0, port CF9h bit 2 rising: lines->request
 *   power off  a 16-bit write of 2000h to port 604h (what the ACPI tables of QEMU's PCs name, and so what
 * small kernels do), or the string "Shutdown" to port 8900h (bochs): lines->request halt       HLT with IF=0
 * and no source of NMI, SMI or INIT, of which this machine has none: irq_halt() says IRQ_HALT_FOREVER. This
 * is what Linux does at `poweroff` when it has no ACPI. debug exit  a write of 1, 2 or 4 bytes to port F4h,
 * as QEMU's isa-debug-exit: lines->request, the value in exit_value. triple fault  exit kind EXIT_SHUTDOWN:
 * the VMM's. What happens then is the VMM's to decide. */
#ifndef VMM_DEV_POWER_H
#define VMM_DEV_POWER_H

#include "servers/vmm/dev/dev.h"

struct power {
    uint8_t reserved0;
    uint8_t reset;    /* port CF9h */
    uint8_t shutdown; /* characters of "Shutdown" seen at port 8900h */
    uint8_t reserved1;
    uint32_t exit_value; /* written to port F4h by the write that ended the guest */
};

void power_init(struct power *p);
uint32_t power_in(struct power *p, struct dev_ctx *ctx, uint16_t port, unsigned width);
void power_out(struct power *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);

#endif
