/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1: header, placement, information structure. See multiboot.h for what holds. */
#include "servers/vmm/boot/multiboot.h"
#include "servers/vmm/boot/bytes.h"
#include "servers/vmm/boot/cmdline.h"
#include "servers/vmm/boot/elf.h"
#include "servers/vmm/boot/modules.h"
#include "servers/vmm/boot/segments.h"

#define LOADER_NAME  "umbra"
#define HEADER_BYTES 12u /* magic, flags, checksum */
#define FIELDS_BYTES 32u /* with the address fields */
#define INFO_BYTES   96u /* of the structure, up to the end of boot_loader_name, padded */
#define MAP_BYTES    24u /* of an entry of the memory map, with its size field */
#define MODULE_BYTES 16u

/* Bits of the header's flags: pages for modules, memory information, video mode (there is none to set),
 * address fields. A kernel may require the first 16; others are options. */
#define NEEDS_KNOWN   0x0007u
#define NEEDS_MASK    0xffffu
#define HAS_ADDRESSES BIT(16)

/* Bits of the information structure's flags, and offsets in it. */
enum { TOLD_MEMORY = 1, TOLD_CMDLINE = 4, TOLD_MODULES = 8, TOLD_MAP = 64, TOLD_LOADER = 512 };
enum {
    AT_FLAGS = 0,
    AT_MEM_LOWER = 4, /* KiB */
    AT_MEM_UPPER = 8,
    AT_CMDLINE = 16,
    AT_MODS_COUNT = 20,
    AT_MODS = 24,
    AT_MAP_BYTES = 44,
    AT_MAP = 48,
    AT_LOADER = 64,
};

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

static const struct boot_result good = { BOOT_OK, 0, 0 };

bool multiboot_find(const uint8_t *image, uint64_t image_bytes, uint64_t *offset)
{
    uint64_t end = image_bytes < MULTIBOOT_SEARCH_BYTES ? image_bytes : MULTIBOOT_SEARCH_BYTES;

    for (uint64_t at = 0; at + HEADER_BYTES <= end; at += 4) {
        uint32_t sum =
            (uint32_t)(get_bytes(image, at, 4) + get_bytes(image, at + 4, 4) + get_bytes(image, at + 8, 4));
        if (get_bytes(image, at, 4) == MULTIBOOT_MAGIC && !sum) {
            *offset = at;
            return true;
        }
    }
    return false;
}

/* The segment that the header's address fields describe: header_addr, load_addr, load_end_addr (0: the whole
 * file), bss_end_addr (0: none), entry_addr. */
static struct boot_result add_by_fields(const struct image_request *r, uint64_t header,
                                        struct boot_plan *plan, uint64_t *entry)
{
    const uint8_t *h = r->image + header;

    if (header + FIELDS_BYTES > r->image_bytes)
        return fail(BOOT_MULTIBOOT_FIELDS, r->image_bytes, header + FIELDS_BYTES);
    uint64_t header_addr = get_bytes(h, 12, 4), load = get_bytes(h, 16, 4), load_end = get_bytes(h, 20, 4);
    uint64_t bss_end = get_bytes(h, 24, 4);
    if (header_addr < load || header_addr - load > header)
        return fail(BOOT_MULTIBOOT_FIELDS, header_addr, load);
    struct boot_segment s = { .start = load, .offset = header - (header_addr - load) };
    s.file_bytes = r->image_bytes - s.offset;
    if (load_end) {
        if (load_end < load || load_end - load > s.file_bytes)
            return fail(BOOT_MULTIBOOT_FIELDS, load_end, load + s.file_bytes);
        s.file_bytes = load_end - load;
    }
    s.bytes = s.file_bytes;
    if (bss_end) {
        if (bss_end < load || bss_end - load < s.file_bytes)
            return fail(BOOT_MULTIBOOT_FIELDS, bss_end, load + s.file_bytes);
        s.bytes = bss_end - load;
    }
    *entry = get_bytes(h, 28, 4);
    return segments_add(plan, r->image_bytes, &s);
}

static struct boot_result add_kernel(const struct image_request *r, struct boot_plan *plan, uint64_t *entry)
{
    uint64_t header;
    struct elf e;

    if (!multiboot_find(r->image, r->image_bytes, &header))
        return fail(BOOT_UNKNOWN_FORMAT, r->image_bytes, 0);
    uint32_t flags = (uint32_t)get_bytes(r->image, header + 4, 4);
    if (flags & NEEDS_MASK & ~NEEDS_KNOWN)
        return fail(BOOT_MULTIBOOT_NEEDS, flags, NEEDS_KNOWN);
    if (flags & HAS_ADDRESSES)
        return add_by_fields(r, header, plan, entry);
    struct boot_result b = elf_open(r->image, r->image_bytes, true, &e);
    if (b.error != BOOT_OK)
        return b;
    *entry = e.entry;
    return elf_segments(&e, plan, entry);
}

static uint64_t page_up(uint64_t at)
{
    return (at + PAGE_BYTES - 1) & -PAGE_BYTES;
}

static uint64_t info_bytes(const struct image_request *r, const struct boot_plan *plan,
                           const struct modules *m)
{
    uint64_t n = INFO_BYTES + (uint64_t)plan->e820_count * MAP_BYTES + (uint64_t)m->count * MODULE_BYTES +
                 sizeof(LOADER_NAME) + cmdline_length(r->cmdline, UINT64_MAX - 1) + 1;

    for (uint32_t i = 0; i < m->count; i++)
        n += m->module[i].text.bytes + 1;
    return n;
}

static bool in_info(const struct boot_plan *plan, uint64_t at, uint64_t bytes)
{
    const struct boot_piece *i = &plan->info;
    return at < i->start + i->bytes && i->start < at + bytes;
}

/* One behind the other, behind the kernel and whatever was placed there. */
static struct boot_result place_modules(const struct modules *m, struct boot_plan *plan)
{
    uint64_t at = page_up(plan->room.start + plan->room.bytes), total = 0;

    for (uint32_t i = 0; i < m->count; i++)
        total += page_up(m->module[i].content.bytes);
    if (!m->count)
        return good;
    at = at < BOOT_LOW_END ? BOOT_LOW_END : at;
    if (in_info(plan, at, total + 1))
        at = page_up(plan->info.start + plan->info.bytes);
    if (at > plan->memory_bytes || total > plan->memory_bytes - at)
        return fail(BOOT_MODULES_TOO_BIG, plan->memory_bytes, at + total);
    plan->modules = at;
    plan->initrd = (struct boot_piece){ at, total };
    return good;
}

struct boot_result multiboot_plan(const struct image_request *r, struct boot_plan *plan)
{
    struct modules modules;
    uint64_t entry = 0;

    *plan = (struct boot_plan){ .format = BOOT_MULTIBOOT, .memory_bytes = r->memory_bytes };
    struct boot_result e = boot_memory_size(r->memory_bytes);
    if (e.error == BOOT_OK)
        e = add_kernel(r, plan, &entry);
    if (e.error == BOOT_OK)
        e = segments_finish(plan, entry);
    if (e.error == BOOT_OK)
        e = modules_open(r->initrd, r->initrd_bytes, &modules);
    if (e.error != BOOT_OK)
        return e;
    plan->e820_count = boot_e820(r->memory_bytes, plan->e820);
    e = segments_place_info(plan, info_bytes(r, plan, &modules));
    if (e.error == BOOT_OK)
        e = place_modules(&modules, plan);
    if (e.error != BOOT_OK)
        return e;
    boot_cpu_protected(&plan->cpu, entry);
    boot_cpu_without_gdt(&plan->cpu);
    plan->cpu.gpr[RAX] = MULTIBOOT_BOOTED;
    plan->cpu.gpr[RBX] = plan->info.start;
    return e;
}

/* Writes one thing behind another. */
struct writer {
    const struct boot_memory *m;
    uint64_t at;
    bool ok;
};

/* Returns where it lies. */
static uint64_t append(struct writer *w, const void *bytes, uint64_t n)
{
    uint64_t at = w->at;
    w->ok = w->ok && w->m->write(w->m->context, (gpa_t){ at }, bytes, n);
    w->at += n;
    return at;
}

static uint64_t append_text(struct writer *w, const void *text, uint64_t n)
{
    uint64_t at = append(w, text, n);
    append(w, "", 1);
    return at;
}

static void append_map(struct writer *w, const struct boot_plan *plan)
{
    for (uint32_t i = 0; i < plan->e820_count; i++) {
        uint8_t entry[MAP_BYTES];
        put_bytes(entry, 0, 4, MAP_BYTES - 4); /* what follows the size field */
        put_bytes(entry, 4, 8, plan->e820[i].start);
        put_bytes(entry, 12, 8, plan->e820[i].bytes);
        put_bytes(entry, 20, 4, plan->e820[i].type);
        append(w, entry, sizeof(entry));
    }
}

/* The modules' contents, and their list with strings that begin at text. */
static bool write_modules(const struct image_request *r, const struct boot_plan *plan,
                          const struct modules *m, struct writer *w, uint64_t text)
{
    uint64_t at = plan->modules;

    for (uint32_t i = 0; i < m->count; i++) {
        const struct module *one = &m->module[i];
        uint8_t entry[MODULE_BYTES] = { 0 };
        put_bytes(entry, 0, 4, at);
        put_bytes(entry, 4, 4, at + one->content.bytes);
        put_bytes(entry, 8, 4, text);
        append(w, entry, sizeof(entry));
        if (one->content.bytes &&
            !w->m->write(w->m->context, (gpa_t){ at }, r->initrd + one->content.start, one->content.bytes))
            return false;
        at += page_up(one->content.bytes);
        text += one->text.bytes + 1;
    }
    return w->ok;
}

static bool write_info(const struct image_request *r, const struct boot_plan *plan, const struct modules *m,
                       struct writer *w)
{
    uint8_t info[INFO_BYTES] = { 0 };
    uint64_t map = plan->info.start + INFO_BYTES, list = map + (uint64_t)plan->e820_count * MAP_BYTES;
    uint64_t texts = list + (uint64_t)m->count * MODULE_BYTES, line = texts + sizeof(LOADER_NAME);
    uint64_t line_bytes = cmdline_length(r->cmdline, UINT64_MAX - 1);

    put_bytes(info, AT_FLAGS, 4, TOLD_MEMORY | TOLD_CMDLINE | TOLD_MODULES | TOLD_MAP | TOLD_LOADER);
    put_bytes(info, AT_MEM_LOWER, 4, BOOT_BASE_END >> 10);
    put_bytes(info, AT_MEM_UPPER, 4, (plan->memory_bytes - BOOT_LOW_END) >> 10);
    put_bytes(info, AT_CMDLINE, 4, line);
    put_bytes(info, AT_MODS_COUNT, 4, m->count);
    put_bytes(info, AT_MODS, 4, list);
    put_bytes(info, AT_MAP_BYTES, 4, list - map);
    put_bytes(info, AT_MAP, 4, map);
    put_bytes(info, AT_LOADER, 4, texts);
    append(w, info, sizeof(info));
    append_map(w, plan);
    if (!write_modules(r, plan, m, w, line + line_bytes + 1))
        return false;
    append_text(w, LOADER_NAME, sizeof(LOADER_NAME) - 1);
    append_text(w, r->cmdline, line_bytes);
    for (uint32_t i = 0; i < m->count; i++)
        append_text(w, r->initrd + m->module[i].text.start, m->module[i].text.bytes);
    return w->ok;
}

bool multiboot_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    struct modules modules;
    struct writer w = { m, plan->info.start, true };

    return modules_open(r->initrd, r->initrd_bytes, &modules).error == BOOT_OK &&
           segments_load(r->image, plan, m) && write_info(r, plan, &modules, &w);
}
