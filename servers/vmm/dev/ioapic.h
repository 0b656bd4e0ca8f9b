/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC of a PC (Intel 82093AA data sheet): 24 inputs, of which the ISA lines drive 15.
 *
 * Wiring: input n is line n, but line 0 (the 8254) drives input 2 and input 0 is open, as the MP table
 * (boot/mptable.h) says. Invariants (tests/host/dev/test_ioapic.c): an edge that finds its input masked is
 * lost; a level-triggered input sends again only after the local APIC has ended its vector. */
#ifndef VMM_DEV_IOAPIC_H
#define VMM_DEV_IOAPIC_H

#include "servers/vmm/dev/lapic.h"

#define IOAPIC_BASE   0xfec00000ull
#define IOAPIC_BYTES  0x1000u
#define IOAPIC_INPUTS 24

struct ioapic {
    uint64_t entry[IOAPIC_INPUTS]; /* the redirection table */
    uint32_t select, id;
    uint32_t level;   /* of the inputs */
    uint32_t watched; /* inputs that are level-triggered and not masked */
};

void ioapic_init(struct ioapic *a);

/* ioapic_read, ioapic_write - as lapic_read and lapic_write. */
bool ioapic_read(struct ioapic *a, struct dev_ctx *ctx, uint32_t offset, uint8_t *to, unsigned n);
void ioapic_write(struct ioapic *a, struct dev_ctx *ctx, uint32_t offset, const uint8_t *from, unsigned n);

/* ioapic_sample - takes over the interrupt lines (ctx->lines) and what the local APIC has ended; sends it
 * what follows. */
void ioapic_sample(struct ioapic *a, struct dev_ctx *ctx, struct lapic *l);

/* ioapic_nmi_possible - an input may bring an NMI. ioapic_masked - line irq (0..15) cannot interrupt through
 * the I/O APIC. */
bool ioapic_nmi_possible(const struct ioapic *a);
bool ioapic_masked(const struct ioapic *a, unsigned irq);

#endif
