/* SPDX-License-Identifier: BSD-2-Clause */
/* The MP configuration table: what dev/lapic.h and dev/ioapic.h say of their wiring. See mptable.h for what
 * holds. */
#include "servers/vmm/boot/mptable.h"
#include "servers/vmm/dev/ioapic.h"
#include "servers/vmm/policy/cpuid.h"

#define SPEC_REVISION   4
#define APIC_VERSION    0x10
#define FEATURES        0x00000201u /* the FPU and APIC bits of CPUID 1 EDX */
#define IO_APIC         1           /* its identity; the processor's is 0 */
#define IO_APIC_VERSION 0x11
#define ALL             0xff
#define ISA_LINES       16
#define CASCADE         2

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IO_APIC, ENTRY_INTERRUPT, ENTRY_LOCAL };
enum { INTERRUPT_INT, INTERRUPT_NMI, INTERRUPT_SMI, INTERRUPT_EXTINT };
enum { PROCESSOR_ENABLED = 1, PROCESSOR_BOOTSTRAP = 2, IO_APIC_USABLE = 1 };

struct mp_pointer {
    char signature[4];
    uint32_t table;
    uint8_t paragraphs, revision, checksum;
    uint8_t feature[5]; /* [0] 0: a table is there; [1] bit 7: IMCR present */
} __attribute__((packed));

struct mp_header {
    char signature[4];
    uint16_t bytes;
    uint8_t revision, checksum;
    char oem[8], product[12];
    uint32_t oem_table;
    uint16_t oem_bytes, entries;
    uint32_t lapic;
    uint16_t extended_bytes;
    uint8_t extended_checksum, reserved;
} __attribute__((packed));

struct mp_processor {
    uint8_t type, apic, version, flags;
    uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct mp_bus {
    uint8_t type, id;
    char name[6];
} __attribute__((packed));

struct mp_io_apic {
    uint8_t type, id, version, flags;
    uint32_t address;
} __attribute__((packed));

struct mp_interrupt {
    uint8_t type, kind;
    uint16_t flags; /* 0: as the bus has it */
    uint8_t bus, line, apic, input;
} __attribute__((packed));

struct mp_table {
    struct mp_header header;
    struct mp_processor processor;
    struct mp_bus bus;
    struct mp_io_apic io_apic;
    struct mp_interrupt line[ISA_LINES - 1]; /* all but the cascade */
    struct mp_interrupt local[2];
} __attribute__((packed));

BUILD_ASSERT(sizeof(struct mp_pointer) == 16);
BUILD_ASSERT(MP_TABLE + sizeof(struct mp_table) <= MP_END);

/* All bytes of a structure sum to zero. */
static uint8_t checksum(const void *structure, size_t bytes)
{
    const uint8_t *p = structure;
    uint8_t sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + p[i]);
    return (uint8_t)-sum;
}

static void put_lines(struct mp_interrupt *line)
{
    for (uint8_t i = 0, n = 0; i < ISA_LINES; i++)
        if (i != CASCADE)
            line[n++] = (struct mp_interrupt){ ENTRY_INTERRUPT, INTERRUPT_INT, 0, 0, i, IO_APIC, i ? i : 2 };
}

bool boot_write_mp(const struct boot_memory *m)
{
    static const uint8_t ebda_kib = 1;
    struct mp_pointer pointer = {
        .signature = "_MP_", .table = MP_TABLE, .paragraphs = 1, .revision = SPEC_REVISION
    };
    struct mp_table table = {
        .header = { .signature = "PCMP",
                    .bytes = sizeof(table),
                    .revision = SPEC_REVISION,
                    .oem = "UMBRA   ",
                    .product = "PC          ",
                    .entries = 3 + ISA_LINES - 1 + 2,
                    .lapic = LAPIC_BASE },
        .processor = { ENTRY_PROCESSOR,
                       0,
                       APIC_VERSION,
                       PROCESSOR_ENABLED | PROCESSOR_BOOTSTRAP,
                       CPUID_SIGNATURE,
                       FEATURES,
                       { 0 } },
        .bus = { ENTRY_BUS, 0, "ISA   " },
        .io_apic = { ENTRY_IO_APIC, IO_APIC, IO_APIC_VERSION, IO_APIC_USABLE, IOAPIC_BASE },
        .local = { { ENTRY_LOCAL, INTERRUPT_EXTINT, 0, 0, 0, ALL, 0 },
                   { ENTRY_LOCAL, INTERRUPT_NMI, 0, 0, 0, ALL, 1 } },
    };
    put_lines(table.line);
    table.header.checksum = checksum(&table, sizeof(table));
    pointer.checksum = checksum(&pointer, sizeof(pointer));
    return m->write(m->context, (gpa_t){ BOOT_BASE_END }, &ebda_kib, sizeof(ebda_kib)) &&
           m->write(m->context, (gpa_t){ MP_POINTER }, &pointer, sizeof(pointer)) &&
           m->write(m->context, (gpa_t){ MP_TABLE }, &table, sizeof(table));
}
