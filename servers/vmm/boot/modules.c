/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of modules. See modules.h for the format. */
#include "servers/vmm/boot/modules.h"
#include "servers/vmm/boot/bytes.h"

#define HEAD  16u
#define ENTRY 32u

static bool begins_with_magic(const uint8_t *file, uint64_t bytes)
{
    static const char magic[] = MODULES_MAGIC;

    for (unsigned i = 0; i < sizeof(magic) - 1; i++)
        if (bytes <= i || file[i] != (uint8_t)magic[i])
            return false;
    return true;
}

static struct boot_result damaged(uint64_t bytes, uint64_t need)
{
    return (struct boot_result){ BOOT_MODULES_DAMAGED, bytes, need };
}

static bool in_file(const struct boot_piece *p, uint64_t bytes)
{
    return p->start <= bytes && p->bytes <= bytes - p->start;
}

struct boot_result modules_open(const uint8_t *file, uint64_t bytes, struct modules *m)
{
    *m = (struct modules){ .count = 0 };
    if (bytes && !begins_with_magic(file, bytes))
        *m = (struct modules){ .count = 1, .module = { { .content = { 0, bytes } } } };
    if (!bytes || m->count)
        return (struct boot_result){ BOOT_OK, 0, 0 };
    if (bytes < HEAD)
        return damaged(bytes, HEAD);
    uint32_t count = (uint32_t)get_bytes(file, 8, 4);
    if (count > MODULES_MAX)
        return (struct boot_result){ BOOT_MODULES_TOO_MANY, count, MODULES_MAX };
    if (bytes < HEAD + (uint64_t)count * ENTRY)
        return damaged(bytes, HEAD + (uint64_t)count * ENTRY);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = file + HEAD + i * ENTRY;
        struct module *one = &m->module[i];
        one->content = (struct boot_piece){ get_bytes(e, 0, 8), get_bytes(e, 8, 8) };
        one->text = (struct boot_piece){ get_bytes(e, 16, 8), get_bytes(e, 24, 8) };
        if (!in_file(&one->content, bytes) || !in_file(&one->text, bytes))
            return damaged(bytes, one->content.start + one->content.bytes);
    }
    m->count = count;
    return (struct boot_result){ BOOT_OK, 0, 0 };
}
