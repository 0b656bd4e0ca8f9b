/* SPDX-License-Identifier: BSD-2-Clause */
/* PVH: entry note, placement, start information. See pvh.h for what holds. */
#include "servers/vmm/boot/pvh.h"
#include "servers/vmm/boot/bytes.h"
#include "servers/vmm/boot/cmdline.h"
#include "servers/vmm/boot/elf.h"
#include "servers/vmm/boot/segments.h"

#define NOTE_NAME  "Xen"
#define NOTE_OS    6  /* XEN_ELFNOTE_GUEST_OS */
#define NOTE_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */

#define START_BYTES  56u /* struct hvm_start_info, version 1 */
#define MODULE_BYTES 32u /* struct hvm_modlist_entry */
#define VERSION      1u

/* Where the parts lie from the beginning of plan->info. */
#define AT_MODULE START_BYTES
#define AT_MAP    (AT_MODULE + MODULE_BYTES)

BUILD_ASSERT(sizeof(struct boot_range) == 24); /* struct hvm_memmap_table_entry */

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

/* The note's value, of four bytes or more. */
static bool entry_note(const struct elf *e, uint64_t *entry)
{
    uint64_t at, bytes;

    if (!elf_note(e, NOTE_NAME, NOTE_ENTRY, &at, &bytes) || bytes < 4)
        return false;
    *entry = get_bytes(e->image, at, bytes < 8 ? 4 : 8);
    return true;
}

static bool is_linux(const struct elf *e)
{
    static const char name[] = "linux";
    uint64_t at, bytes;

    if (!elf_note(e, NOTE_NAME, NOTE_OS, &at, &bytes) || bytes < sizeof(name) - 1)
        return false;
    for (unsigned i = 0; i < sizeof(name) - 1; i++)
        if (e->image[at + i] != (uint8_t)name[i])
            return false;
    return true;
}

bool pvh_is(const uint8_t *image, uint64_t image_bytes)
{
    struct elf e;
    uint64_t entry;

    return elf_open(image, image_bytes, false, &e).error == BOOT_OK && entry_note(&e, &entry);
}

/* The highest pages that neither the kernel nor what it is told needs. */
static struct boot_result place_initrd(const struct image_request *r, struct boot_plan *plan)
{
    uint64_t need = (r->initrd_bytes + PAGE_BYTES - 1) & -PAGE_BYTES;
    uint64_t kernel_end = plan->room.start + plan->room.bytes, info_end = plan->info.start + plan->info.bytes;
    uint64_t low = kernel_end > info_end ? kernel_end : info_end;

    low = low < BOOT_LOW_END ? BOOT_LOW_END : (low + PAGE_BYTES - 1) & -PAGE_BYTES;
    uint64_t room = r->memory_bytes > low ? r->memory_bytes - low : 0;
    if (!r->initrd_bytes)
        return (struct boot_result){ BOOT_OK, 0, 0 };
    if (r->initrd_bytes > BOOT_MEMORY_MAX || need > room)
        return fail(BOOT_INITRD_TOO_BIG, room, r->initrd_bytes);
    plan->initrd = (struct boot_piece){ r->memory_bytes - need, r->initrd_bytes };
    return (struct boot_result){ BOOT_OK, 0, 0 };
}

static uint64_t line_offset(const struct boot_plan *plan)
{
    return AT_MAP + (uint64_t)plan->e820_count * sizeof(struct boot_range);
}

struct boot_result pvh_plan(const struct image_request *r, struct boot_plan *plan)
{
    struct elf e;
    uint64_t entry = 0, line = cmdline_length(r->cmdline, UINT64_MAX - 1) + 1;

    *plan = (struct boot_plan){ .format = BOOT_PVH, .memory_bytes = r->memory_bytes };
    struct boot_result b = boot_memory_size(r->memory_bytes);
    if (b.error == BOOT_OK)
        b = elf_open(r->image, r->image_bytes, false, &e);
    if (b.error == BOOT_OK && !entry_note(&e, &entry))
        b = fail(BOOT_UNKNOWN_FORMAT, r->image_bytes, 0);
    if (b.error == BOOT_OK)
        b = elf_segments(&e, plan, NULL);
    if (b.error == BOOT_OK)
        b = segments_finish(plan, entry);
    if (b.error != BOOT_OK)
        return b;
    if (is_linux(&e))
        line += cmdline_say_tsc(plan, r->cmdline, r->tsc_khz, sizeof(plan->cmdline_extra));
    plan->e820_count = boot_e820(r->memory_bytes, plan->e820);
    b = segments_place_info(plan, line_offset(plan) + line);
    if (b.error == BOOT_OK)
        b = place_initrd(r, plan);
    if (b.error != BOOT_OK)
        return b;
    plan->cmdline = (struct boot_piece){ plan->info.start + line_offset(plan), line };
    boot_cpu_protected(&plan->cpu, entry);
    boot_cpu_without_gdt(&plan->cpu);
    plan->cpu.gpr[RBX] = plan->info.start;
    return b;
}

bool pvh_load(const struct image_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    uint8_t start[AT_MAP] = { 0 };
    uint64_t info = plan->info.start;

    put_bytes(start, 0, 4, PVH_MAGIC);
    put_bytes(start, 4, 4, VERSION);
    put_bytes(start, 12, 4, plan->initrd.bytes != 0);
    put_bytes(start, 16, 8, plan->initrd.bytes ? info + AT_MODULE : 0);
    put_bytes(start, 24, 8, plan->cmdline.start);
    put_bytes(start, 40, 8, info + AT_MAP);
    put_bytes(start, 48, 4, plan->e820_count);
    put_bytes(start, AT_MODULE, 8, plan->initrd.start);
    put_bytes(start, AT_MODULE + 8, 8, plan->initrd.bytes);
    return segments_load(r->image, plan, m) && m->write(m->context, (gpa_t){ info }, start, sizeof(start)) &&
           m->write(m->context, (gpa_t){ info + AT_MAP }, plan->e820,
                    plan->e820_count * sizeof(plan->e820[0])) &&
           cmdline_write(plan, r->cmdline, plan->cmdline.start, m) &&
           (!plan->initrd.bytes || boot_load_initrd(plan, m, 0, r->initrd, r->initrd_bytes));
}
