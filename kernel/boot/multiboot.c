/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 and 2 information -> struct boot_data. The loader is trusted, its strings are cut to fit. */
#include "boot.h"
#include "log.h"
#include "arch/arch.h"

#define MB1_MAGIC 0x2badb002u
#define MB2_MAGIC 0x36d76289u

static void copy_text(char *to, const char *from, uint64_t size)
{
    uint64_t i = 0;

    for (; from && i + 1 < size && from[i]; i++)
        to[i] = from[i];
    to[i] = 0;
}

static void *low(uint64_t address)
{
    return phys((hpa_t){ address });
}

#define REGION_RAM      1
#define REGION_RESERVED 2

/* The firmware keeps tables and graphics memory in reserved regions that begin where RAM ends: not devices.
 */
static void note_low_end(struct boot_data *b, uint64_t start, uint64_t end, unsigned type)
{
    bool memory = type != REGION_RESERVED || start <= b->low_end;

    end = (end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    if (memory && start < BIT(32) && end > b->low_end)
        b->low_end = end < BIT(32) ? end : BIT(32);
}

static void add_region(struct boot_data *b, uint64_t start, uint64_t bytes, unsigned type)
{
    uint64_t end = (start + bytes) & ~(PAGE_BYTES - 1);

    note_low_end(b, start, start + bytes, type);
    if (type != REGION_RAM)
        return;
    start = (start + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    if (start < 0x100000)
        start = 0x100000; /* the first MB is the firmware's */
    if (end > start && b->regions < REGIONS_MAX)
        b->ram[b->regions++] = (struct region){ start, end };
}

static void add_module(struct boot_data *b, uint64_t start, uint64_t end, const char *name)
{
    if (b->modules == BOOT_MODULES_MAX) {
        log_printf("umbra: more than %u boot modules, the rest is ignored\n", BOOT_MODULES_MAX);
        return;
    }
    struct boot_source *m = &b->module[b->modules++];
    m->start = start;
    m->end = end;
    copy_text(m->name, name, sizeof(m->name));
}

static void read_mb1(const uint32_t *i, struct boot_data *b)
{
    uint32_t flags = i[0];

    if (flags & BIT(2))
        copy_text(b->command_line, low(i[4]), sizeof(b->command_line));
    if (flags & BIT(3))
        for (uint32_t m = 0; m < i[5]; m++) {
            const uint32_t *mod = (const uint32_t *)low(i[6]) + m * 4;
            add_module(b, mod[0], mod[1], low(mod[2]));
        }
    if (!(flags & BIT(6)))
        return;
    for (uint32_t at = 0; at < i[11];) {
        const uint32_t *e = (const uint32_t *)((uint8_t *)low(i[12]) + at);
        add_region(b, e[1] | (uint64_t)e[2] << 32, e[3] | (uint64_t)e[4] << 32, e[5]);
        at += e[0] + 4;
    }
}

static void read_mb2_map(const uint32_t *tag, struct boot_data *b)
{
    uint32_t size = tag[1], each = tag[2];

    for (uint32_t at = 16; at + 24 <= size; at += each) {
        const uint32_t *e = (const uint32_t *)((const uint8_t *)tag + at);
        add_region(b, e[0] | (uint64_t)e[1] << 32, e[2] | (uint64_t)e[3] << 32, e[4]);
    }
}

static void read_mb2(const uint8_t *i, struct boot_data *b)
{
    uint32_t total = *(const uint32_t *)i;

    for (uint32_t at = 8; at + 8 <= total;) {
        const uint32_t *tag = (const uint32_t *)(i + at);
        if (tag[0] == 0)
            break;
        if (tag[0] == 1)
            copy_text(b->command_line, (const char *)(tag + 2), sizeof(b->command_line));
        if (tag[0] == 3)
            add_module(b, tag[2], tag[3], (const char *)(tag + 4));
        if (tag[0] == 6)
            read_mb2_map(tag, b);
        at += (tag[1] + 7) & ~7u;
    }
}

bool multiboot_read(uint32_t magic, uint64_t info, struct boot_data *out)
{
    if (magic == MB1_MAGIC)
        read_mb1(low(info), out);
    else if (magic == MB2_MAGIC)
        read_mb2(low(info), out);
    else
        return false;
    return true;
}
