/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's firmware configuration (its docs/specs/fw_cfg.rst), as much as a small guest asks for: ports 510h
 * (selector, 16 bits, write only) and 511h (data, a byte a read). A selector's bytes come one after the
 * other, and zeros behind them; a selector that is not there has no bytes. No DMA; writes of data go nowhere.
 *
 *   0000h signature "QEMU"    0001h what there is: 1, the two ports
 *   0003h memory in bytes, 64 bits    0005h, 000Fh processors, 16 bits */
#ifndef VMM_DEV_FWCFG_H
#define VMM_DEV_FWCFG_H

#include "servers/vmm/dev/dev.h"

struct fwcfg {
    uint64_t memory_bytes;
    uint32_t selector, offset; /* of the next byte; stays at the end */
};

void fwcfg_init(struct fwcfg *f, uint64_t memory_bytes);
uint32_t fwcfg_in(struct fwcfg *f, struct dev_ctx *ctx, uint16_t port, unsigned width);
void fwcfg_out(struct fwcfg *f, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value);

#endif
