/* SPDX-License-Identifier: BSD-2-Clause */
/* Firmware configuration. See fwcfg.h. */
#include "servers/vmm/dev/fwcfg.h"

#define SELECTOR_PORT 0x510
#define WRITE_CHANNEL 0x4000u /* an old way to say that data is to be written: not part of the number */
#define PROCESSORS    1

enum { ITEM_SIGNATURE = 0, ITEM_ID = 1, ITEM_MEMORY = 3, ITEM_CPUS = 5, ITEM_CPUS_MAX = 15 };

void fwcfg_init(struct fwcfg *f, uint64_t memory_bytes)
{
    *f = (struct fwcfg){ .memory_bytes = memory_bytes };
}

/* An item as a little-endian number; returns its bytes. */
static uint32_t item(const struct fwcfg *f, uint64_t *value)
{
    switch (f->selector) {
    case ITEM_SIGNATURE:
        *value = 'Q' | 'E' << 8 | 'M' << 16 | 'U' << 24;
        return 4;
    case ITEM_ID:
        *value = 1;
        return 4;
    case ITEM_MEMORY:
        *value = f->memory_bytes;
        return 8;
    case ITEM_CPUS:
    case ITEM_CPUS_MAX:
        *value = PROCESSORS;
        return 2;
    default:
        *value = 0;
        return 0;
    }
}

uint32_t fwcfg_in(struct fwcfg *f, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    uint64_t value;
    uint32_t bytes = item(f, &value), at = f->offset;

    (void)port;
    if (width != 1)
        return 0xffffffff;
    if (at >= bytes)
        return 0;
    DEV_SET(ctx, f->offset, at + 1);
    return value >> 8 * at & 0xff;
}

void fwcfg_out(struct fwcfg *f, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    if (port != SELECTOR_PORT || width != 2)
        return;
    DEV_SET(ctx, f->selector, value & 0xffff & ~WRITE_CHANNEL);
    DEV_SET(ctx, f->offset, 0);
}
