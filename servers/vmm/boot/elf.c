/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF headers, segments, notes. See elf.h for what holds. */
#include "servers/vmm/boot/elf.h"
#include "servers/vmm/boot/bytes.h"
#include "servers/vmm/boot/segments.h"

enum {
    CLASS_32 = 1,
    CLASS_64 = 2,
    LITTLE_ENDIAN_DATA = 1,
    EXECUTABLE = 2,
    MACHINE_386 = 3,
    MACHINE_X86_64 = 62
};
enum { SEGMENT_LOAD = 1, SEGMENT_NOTE = 4, SEGMENT_EXECUTABLE = 1 };

#define HEADER_32  52u
#define HEADER_64  64u
#define PROGRAM_32 32u /* bytes of a program header */
#define PROGRAM_64 56u
#define NOTES_MAX  256u /* chosen: notes that are looked at */
#define NOTE_HEAD  12u

struct program {
    uint32_t type, flags;
    uint64_t offset, virtual, physical, file_bytes, memory_bytes;
};

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

static const struct boot_result good = { BOOT_OK, 0, 0 };

bool elf_is(const uint8_t *image, uint64_t image_bytes)
{
    return image_bytes >= HEADER_32 && get_bytes(image, 0, 4) == 0x464c457f;
}

struct boot_result elf_open(const uint8_t *image, uint64_t image_bytes, bool only_32, struct elf *e)
{
    unsigned class = elf_is(image, image_bytes) ? image[4] : 0;
    unsigned machine = class ? (unsigned)get_bytes(image, 18, 2) : 0;
    bool wide = class == CLASS_64;

    if ((class != CLASS_32 && class != CLASS_64) || (wide && image_bytes < HEADER_64) ||
        image[5] != LITTLE_ENDIAN_DATA || get_bytes(image, 16, 2) != EXECUTABLE ||
        machine != (wide ? MACHINE_X86_64 : MACHINE_386) || (wide && only_32))
        return fail(BOOT_ELF_CLASS, machine, only_32 ? MACHINE_386 : MACHINE_X86_64);
    *e = (struct elf){ .image = image,
                       .image_bytes = image_bytes,
                       .wide = wide,
                       .entry = wide ? get_bytes(image, 24, 8) : get_bytes(image, 24, 4),
                       .table = wide ? get_bytes(image, 32, 8) : get_bytes(image, 28, 4),
                       .stride = (uint32_t)get_bytes(image, wide ? 54 : 42, 2),
                       .count = (uint32_t)get_bytes(image, wide ? 56 : 44, 2) };
    if (e->count > ELF_HEADERS_MAX || e->stride < (wide ? PROGRAM_64 : PROGRAM_32) ||
        e->table > image_bytes || (uint64_t)e->stride * e->count > image_bytes - e->table)
        return fail(BOOT_ELF_HEADERS, e->count, ELF_HEADERS_MAX);
    return good;
}

static struct program program(const struct elf *e, uint32_t i)
{
    const uint8_t *p = e->image + e->table + (uint64_t)i * e->stride;
    if (e->wide)
        return (struct program){ .type = (uint32_t)get_bytes(p, 0, 4),
                                 .flags = (uint32_t)get_bytes(p, 4, 4),
                                 .offset = get_bytes(p, 8, 8),
                                 .virtual = get_bytes(p, 16, 8),
                                 .physical = get_bytes(p, 24, 8),
                                 .file_bytes = get_bytes(p, 32, 8),
                                 .memory_bytes = get_bytes(p, 40, 8) };
    return (struct program){ .type = (uint32_t)get_bytes(p, 0, 4),
                             .flags = (uint32_t)get_bytes(p, 24, 4),
                             .offset = get_bytes(p, 4, 4),
                             .virtual = get_bytes(p, 8, 4),
                             .physical = get_bytes(p, 12, 4),
                             .file_bytes = get_bytes(p, 16, 4),
                             .memory_bytes = get_bytes(p, 20, 4) };
}

struct boot_result elf_segments(const struct elf *e, struct boot_plan *plan, uint64_t *entry)
{
    bool translated = false;

    for (uint32_t i = 0; i < e->count; i++) {
        struct program p = program(e, i);
        if (p.type != SEGMENT_LOAD)
            continue;
        struct boot_segment s = { p.physical, p.memory_bytes, p.offset, p.file_bytes };
        struct boot_result r = segments_add(plan, e->image_bytes, &s);
        if (r.error != BOOT_OK)
            return r;
        if (entry && !translated && (p.flags & SEGMENT_EXECUTABLE) && *entry - p.virtual < p.file_bytes) {
            *entry = *entry - p.virtual + p.physical;
            translated = true;
        }
    }
    return good;
}

/* A note's parts are padded to four bytes; the last one's content may end with the segment. */
static uint64_t padded(uint64_t bytes)
{
    return (bytes + 3) & ~3ull;
}

static bool same(const uint8_t *p, const char *name, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (p[i] != (uint8_t)name[i] || (!name[i] && i + 1 != bytes))
            return false;
    return bytes && !name[bytes - 1];
}

static bool note_in(const struct elf *e, const struct program *p, const char *name, uint32_t type,
                    uint64_t *offset, uint64_t *bytes)
{
    uint64_t at = p->offset, end = p->offset + p->file_bytes;

    for (unsigned i = 0; i < NOTES_MAX && end - at >= NOTE_HEAD; i++) {
        uint64_t name_bytes = get_bytes(e->image, at, 4), content = get_bytes(e->image, at + 4, 4);
        uint64_t text = at + NOTE_HEAD, room = end - text;
        if (padded(name_bytes) > room || content > room - padded(name_bytes))
            return false;
        if (get_bytes(e->image, at + 8, 4) == type && same(e->image + text, name, name_bytes)) {
            *offset = text + padded(name_bytes);
            *bytes = content;
            return true;
        }
        room -= padded(name_bytes);
        at = text + padded(name_bytes) + (padded(content) < room ? padded(content) : room);
    }
    return false;
}

bool elf_note(const struct elf *e, const char *name, uint32_t type, uint64_t *offset, uint64_t *bytes)
{
    for (uint32_t i = 0; i < e->count; i++) {
        struct program p = program(e, i);
        if (p.type == SEGMENT_NOTE && p.offset <= e->image_bytes &&
            p.file_bytes <= e->image_bytes - p.offset && note_in(e, &p, name, type, offset, bytes))
            return true;
    }
    return false;
}
