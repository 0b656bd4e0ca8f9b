/* SPDX-License-Identifier: BSD-2-Clause */
/* What the fuzz targets of devices share (device.c): a machine, and random sequences of what a guest, the
 * other end of its serial line, its interrupt lines and time can do to it.
 *
 * Oracles for every step: the undo record takes the machine back exactly; done again it gives the same; a
 * copy of the machine at another address, which lives along, stays the same (no state outside the struct, no
 * pointer in it); who announces a change announces it inside the struct; deadlines that were met lie in the
 * future; a step that says that nothing follows from it leaves nothing to do. */
#ifndef TESTS_FUZZ_DEVICE_H
#define TESTS_FUZZ_DEVICE_H

#include "fuzz.h"

#include "check.h"
#include "servers/vmm/dev/bus.h"

struct fuzz_device {
    const uint16_t *port; /* those that its accesses go to */
    unsigned ports;
    uint64_t memory;      /* its page; 0: none */
    uint32_t memory_mask; /* of the offsets that are tried, beside any */
    /* A guest's access, before it happens and with what it gave (writes: with what was written). */
    void (*told)(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value);
    /* Called after each step: what always holds of the device. */
    void (*check)(const struct machine *m, uint64_t now);
    /* Called once, before the first step. */
    void (*begin)(void);
};

/* Each target defines its own. */
extern const struct fuzz_device fuzz_device;

#endif
