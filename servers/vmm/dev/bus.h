/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's machine: all devices in one flat struct for the state segment, and in front of them the buses:
 * ports, and what lies in memory.
 *
 * Invariants: a port or address belongs to at most one device (test_bus.c); an access to nothing reads as
 * ones and is counted; an access wider than its device is split into bytes at ascending ports, as an ISA bus
 * does; one with a width that its device refuses counts as an access to nothing. After every call the
 * interrupt controller has seen all lines and `deadline` is right. Choosing when to interrupt is irq.h. */
#ifndef VMM_DEV_BUS_H
#define VMM_DEV_BUS_H

#include "servers/vmm/dev/cmos.h"
#include "servers/vmm/dev/fwcfg.h"
#include "servers/vmm/dev/ioapic.h"
#include "servers/vmm/dev/kbd.h"
#include "servers/vmm/dev/lapic.h"
#include "servers/vmm/dev/pic.h"
#include "servers/vmm/dev/pit.h"
#include "servers/vmm/dev/power.h"
#include "servers/vmm/dev/uart.h"

#define MACHINE_MAGIC   0x454e494843414d55ull /* "UMACHINE" */
#define MACHINE_VERSION 3
#define ABSENT_PORTS    64 /* chosen: a Linux boot touches about 20 */

/* Accesses to one port where nothing is. */
struct absent_port {
    uint32_t port; /* of the access; its first byte */
    uint32_t reads, writes;
    uint32_t reserved;
};

struct machine {
    uint64_t magic;
    uint32_t version, bytes; /* MACHINE_VERSION, sizeof(struct machine) */
    uint64_t hz;
    uint64_t deadline; /* machine_expire must be called then, at once if it is past; DEV_NEVER */
    uint64_t served;   /* when deadlines were served last */
    struct dev_lines lines;
    struct lapic lapic;
    struct ioapic ioapic;
    struct pic pic;
    struct pit pit;
    struct cmos cmos;
    struct kbd kbd;
    struct power power;
    struct uart uart;
    struct fwcfg fwcfg;
    uint32_t absent_used;
    uint32_t absent_more; /* accesses that found the table full */
    struct absent_port absent[ABSENT_PORTS];
};

struct machine_config {
    uint64_t hz;           /* ticks a second: DEV_HZ_MIN..DEV_HZ_MAX */
    int64_t seconds;       /* the date, since 1970 */
    uint64_t memory_bytes; /* for the CMOS size bytes and fw_cfg */
    uint64_t tsc_offset;   /* guest TSC = ticks + tsc_offset */
};

/* machine_init - a machine after power-on. False, and nothing written, if hz is out of range. */
bool machine_init(struct machine *m, const struct machine_config *config, uint64_t now);

/* machine_check - what a new incarnation asks before it continues with a state segment: magic, version, size.
 */
bool machine_check(const struct machine *m);

/* machine_in, machine_out - one access of width 1, 2 or 4 bytes; other widths read as ones. now: ticks. undo
 * may be NULL. machine_in returns the value in the low bytes. */
uint32_t machine_in(struct machine *m, struct dev_undo *undo, uint64_t now, uint16_t port, unsigned width);
void machine_out(struct machine *m, struct dev_undo *undo, uint64_t now, uint16_t port, unsigned width,
                 uint32_t value);

/* machine_read, machine_write - an access of n bytes to guest-physical address at, where no memory is; it
 * does not leave a page. What is nothing reads as ones and swallows writes. */
void machine_read(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint8_t *to, unsigned n);
/* The same for one word, where a device is; else false, and nothing was done. */
bool machine_read_word(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint32_t *value);
bool machine_write_word(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, uint32_t value);
void machine_write(struct machine *m, struct dev_undo *undo, uint64_t now, gpa_t at, const uint8_t *from,
                   unsigned n);

/* machine_set_apic_base, machine_set_tpr, machine_set_deadline, machine_set_tsc - what the processor tells
 * its local APIC other than by memory: MSR 1Bh, CR8 (as TPR), MSR 6E0h, and that its TSC moved. */
void machine_set_apic_base(struct machine *m, struct dev_undo *undo, uint64_t now, uint64_t base);
void machine_set_tpr(struct machine *m, struct dev_undo *undo, uint64_t now, uint32_t tpr);
void machine_set_deadline(struct machine *m, struct dev_undo *undo, uint64_t now, uint64_t guest_tsc);
void machine_set_tsc(struct machine *m, struct dev_undo *undo, uint64_t now, uint64_t offset);

/* machine_expire - lets time pass. Cheap before m->deadline. */
void machine_expire(struct machine *m, struct dev_undo *undo, uint64_t now);

/* machine_take, machine_give - the serial port's other end (uart_take, uart_give). */
size_t machine_take(struct machine *m, struct dev_undo *undo, uint64_t now, uint8_t *bytes, size_t max);
size_t machine_give(struct machine *m, struct dev_undo *undo, uint64_t now, const uint8_t *bytes, size_t n);

/* machine_intr - an interrupt waits, of the 8259 pair or the local APIC; machine_ack - takes it and gives its
 * vector. */
static inline bool machine_intr(const struct machine *m)
{
    return (lapic_takes_extint(&m->lapic) && pic_intr(&m->pic)) || lapic_pending(&m->lapic) >= 0;
}
uint8_t machine_ack(struct machine *m, struct dev_undo *undo, uint64_t now);

/* machine_nmi - an NMI waits; machine_nmi_taken - it is delivered. */
static inline bool machine_nmi(const struct machine *m)
{
    return m->lapic.nmi;
}
/* machine_nmi_possible - an NMI may come although the processor does nothing. */
static inline bool machine_nmi_possible(const struct machine *m)
{
    return lapic_nmi_possible(&m->lapic) || ioapic_nmi_possible(&m->ioapic);
}
void machine_nmi_taken(struct machine *m, struct dev_undo *undo, uint64_t now);

/* For the test of the port table: entry i as first and last port and the widths it takes; false behind the
 * end. */
struct bus_entry_view {
    uint16_t first, last;
    uint8_t widths;
};
bool bus_entry_at(unsigned i, struct bus_entry_view *view);

/* The same for devices in memory. */
struct mmio_entry_view {
    uint64_t first, last;
};
bool mmio_entry_at(unsigned i, struct mmio_entry_view *view);

#endif
