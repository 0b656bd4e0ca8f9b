/* SPDX-License-Identifier: BSD-2-Clause */
/* The BIOS's page, vectors and data. See bios.h. */
#include "servers/vmm/boot/bios.h"
#include "servers/vmm/boot/bytes.h"

extern const uint8_t bios_image[], bios_image_end[];

/* Offsets of the image's first words, which say where its parts are. */
enum { AT_POST = 0, AT_VECTORS = 2, AT_DATA = 4 };

#define VECTORS    256u
#define VECTOR_END 0xffff
#define MAP_BYTES  20u
#define DATA_BYTES 0x100ull /* of the BIOS's data at 400h */
#define BELOW_16M  0x3c00u  /* KiB between 1 and 16 MiB */

/* As bios.S has it. */
struct bios_data {
    struct bios_start start;
    uint16_t extended_kib, below_16m_kib, above_16m, map_bytes;
    uint8_t map[BOOT_E820_MAX * MAP_BYTES];
};
BUILD_ASSERT(sizeof(struct bios_data) == 16 + 160);

void bios_cpu(struct boot_cpu *cpu)
{
    boot_cpu_real(cpu, BIOS_SEGMENT, (uint16_t)get_bytes(bios_image, AT_POST, 2));
}

static struct bios_data make_data(const struct boot_plan *plan, const struct bios_start *start)
{
    uint64_t above_1m = (plan->memory_bytes - BOOT_LOW_END) >> 10;
    uint64_t above_16m = above_1m > BELOW_16M ? (above_1m - BELOW_16M) >> 6 : 0;
    struct bios_data d = { .start = *start,
                           .extended_kib = (uint16_t)(above_1m < 0xffff ? above_1m : 0xffff),
                           .below_16m_kib = (uint16_t)(above_1m < BELOW_16M ? above_1m : BELOW_16M),
                           .above_16m = (uint16_t)(above_16m < 0xffff ? above_16m : 0xffff),
                           .map_bytes = (uint16_t)(plan->e820_count * MAP_BYTES) };

    for (uint32_t i = 0; i < plan->e820_count; i++) {
        put_bytes(d.map, i * MAP_BYTES, 8, plan->e820[i].start);
        put_bytes(d.map, i * MAP_BYTES + 8, 8, plan->e820[i].bytes);
        put_bytes(d.map, i * MAP_BYTES + 16, 4, plan->e820[i].type);
    }
    return d;
}

static bool write_image(const struct bios_data *d, const struct boot_memory *m)
{
    uint64_t data = get_bytes(bios_image, AT_DATA, 2), behind = data + sizeof(*d);

    return m->write(m->context, (gpa_t){ BIOS_START }, bios_image, data) &&
           m->write(m->context, (gpa_t){ BIOS_START + data }, d, sizeof(*d)) &&
           m->write(m->context, (gpa_t){ BIOS_START + behind }, bios_image + behind,
                    (uint64_t)(bios_image_end - bios_image) - behind);
}

static bool write_vectors(const struct boot_memory *m)
{
    const uint8_t *entry = bios_image + get_bytes(bios_image, AT_VECTORS, 2), *last = entry;
    uint8_t table[VECTORS * 4];

    while (get_bytes(last, 0, 2) != VECTOR_END)
        last += 4;
    for (unsigned i = 0; i < VECTORS; i++) {
        put_bytes(table, i * 4, 2, get_bytes(last, 2, 2));
        put_bytes(table, i * 4 + 2, 2, BIOS_SEGMENT);
    }
    for (; entry < last; entry += 4)
        put_bytes(table, get_bytes(entry, 0, 2) * 4, 2, get_bytes(entry, 2, 2));
    return m->write(m->context, (gpa_t){ 0 }, table, sizeof(table));
}

static bool write_data(const struct boot_memory *m)
{
    static const struct {
        uint8_t at, bytes;
        uint16_t value;
    } field[] = {
        { 0x00, 2, 0x3f8 },               /* serial port */
        { 0x0e, 2, BOOT_BASE_END >> 4 },  /* segment of the EBDA */
        { 0x10, 2, 0x0222 },              /* equipment: FPU, 80 columns in colour, one serial port */
        { 0x13, 2, BOOT_BASE_END >> 10 }, /* KiB of base memory */
        { 0x49, 1, 3 },                   /* video mode */
        { 0x4a, 2, 80 },
        { 0x4c, 2, 0x1000 }, /* columns, bytes of a screen */
        { 0x63, 2, 0x3d4 },
        { 0x84, 1, 24 },
        { 0x85, 2, 16 }, /* CRT controller, last row, height of a character */
    };
    uint8_t data[DATA_BYTES] = { 0 };

    for (unsigned i = 0; i < sizeof(field) / sizeof(field[0]); i++)
        put_bytes(data, field[i].at, field[i].bytes, field[i].value);
    return m->write(m->context, (gpa_t){ BOOT_BDA }, data, sizeof(data));
}

bool bios_write(const struct boot_plan *plan, const struct bios_start *start, const struct boot_memory *m)
{
    struct bios_data d = make_data(plan, start);

    return write_vectors(m) && write_data(m) && write_image(&d, m);
}
