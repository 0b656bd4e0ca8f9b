/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF files for tests of loaders: a header, program headers behind it, a Multiboot header and notes at fixed
 * places, segments from 1000h on. */
#ifndef TESTS_HOST_BOOT_ELF_MAKE_H
#define TESTS_HOST_BOOT_ELF_MAKE_H

#include "rig.h"

#define ELF_BYTES      0x4000u
#define ELF_NOTES      0x600u
#define ELF_NOTE_BYTES 56u
#define ELF_MULTIBOOT  0x800u
#define ELF_TEXT       0x1000u

struct elf_part {
    uint32_t type, flags;
    uint64_t offset, virtual, physical, file_bytes, memory_bytes;
};

static inline void elf_put_part(uint8_t *p, bool wide, unsigned i, const struct elf_part *s)
{
    uint64_t at = wide ? 64 + i * 56 : 52 + i * 32;
    set(p, (unsigned)at, 4, s->type);
    set(p, (unsigned)at + (wide ? 4 : 24), 4, s->flags);
    set(p, (unsigned)at + (wide ? 8 : 4), wide ? 8 : 4, s->offset);
    set(p, (unsigned)at + (wide ? 16 : 8), wide ? 8 : 4, s->virtual);
    set(p, (unsigned)at + (wide ? 24 : 12), wide ? 8 : 4, s->physical);
    set(p, (unsigned)at + (wide ? 32 : 16), wide ? 8 : 4, s->file_bytes);
    set(p, (unsigned)at + (wide ? 40 : 20), wide ? 8 : 4, s->memory_bytes);
}

static inline void elf_put_note(uint8_t *p, unsigned at, uint32_t type, const void *content, uint32_t bytes)
{
    set(p, at, 4, 4), set(p, at + 4, 4, bytes), set(p, at + 8, 4, type);
    memcpy(p + at + 12, "Xen", 4);
    memcpy(p + at + 16, content, bytes);
}

/* Text with some zeros behind it at 1 MiB (virtual 3 GiB higher), data at 2 MiB, notes; entry virtual. */
static inline uint8_t *elf_make(bool wide, uint64_t entry)
{
    static const struct elf_part part[] = {
        { 1, 5, ELF_TEXT, 0xc0100000, 0x100000, 0x1000, 0x1800 },
        { 1, 6, ELF_TEXT + 0x1000, 0xc0200000, 0x200000, 0x800, 0x800 },
        { 4, 4, ELF_NOTES, 0, 0, ELF_NOTE_BYTES, ELF_NOTE_BYTES },
    };
    uint8_t *p = calloc(1, ELF_BYTES);
    memcpy(p,
           "\x7f"
           "ELF",
           4);
    p[4] = wide ? 2 : 1, p[5] = 1, p[6] = 1;
    set(p, 16, 2, 2), set(p, 18, 2, wide ? 62 : 3);
    set(p, 24, wide ? 8 : 4, entry);
    set(p, wide ? 32 : 28, 4, wide ? 64 : 52);
    set(p, wide ? 54 : 42, 2, wide ? 56 : 32);
    set(p, wide ? 56 : 44, 2, 3);
    for (unsigned i = 0; i < 3; i++)
        elf_put_part(p, wide, i, &part[i]);
    elf_put_note(p, ELF_NOTES, 6, "linux", 6);
    elf_put_note(p, ELF_NOTES + 24, 18, "\x20\x01\x10\0\0\0\0", wide ? 8 : 4);
    set(p, ELF_MULTIBOOT, 4, 0x1badb002), set(p, ELF_MULTIBOOT + 4, 4, 3);
    set(p, ELF_MULTIBOOT + 8, 4, -(0x1badb002u + 3));
    for (unsigned i = ELF_TEXT; i < ELF_BYTES; i++)
        p[i] = (uint8_t)(i * 13 + i / 256 + 1);
    return p;
}

/* What every good plan keeps, whatever the file claims. */
static inline void check_plan(const struct boot_plan *plan, uint64_t image_bytes, uint64_t memory_bytes)
{
    for (uint32_t i = 0; i < plan->segments; i++) {
        const struct boot_segment *s = &plan->segment[i];
        CHECK_LE(s->file_bytes, s->bytes);
        CHECK(s->offset <= image_bytes && s->file_bytes <= image_bytes - s->offset);
        CHECK(s->start <= memory_bytes && s->bytes <= memory_bytes - s->start);
        for (uint32_t k = 0; k < i; k++)
            CHECK(s->start >= plan->segment[k].start + plan->segment[k].bytes ||
                  plan->segment[k].start >= s->start + s->bytes);
        CHECK(plan->info.start >= s->start + s->bytes || s->start >= plan->info.start + plan->info.bytes);
        CHECK(!plan->initrd.bytes || plan->initrd.start >= s->start + s->bytes);
    }
    CHECK_LE(plan->info.start + plan->info.bytes, memory_bytes);
    CHECK(plan->initrd.start <= memory_bytes && plan->initrd.bytes <= memory_bytes - plan->initrd.start);
}

/* One field of a file changed, and what comes of it. */
struct elf_row {
    uint16_t offset, bytes;
    uint64_t value;
    enum boot_error error;
};

#endif
