/* SPDX-License-Identifier: BSD-2-Clause */
/* bzImages: read the header, check, place, then write. See bzimage.h for what holds. */
#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/mptable.h"

/* Offsets in the setup header and in struct boot_params, which holds it at the same place (boot.rst,
 * zero-page.rst). */
enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_SYSSIZE = 0x1f4, /* in 16 bytes */
    HDR_BOOT_FLAG = 0x1fe,
    HDR_JUMP_BYTES = 0x201, /* the header ends at 202h plus this */
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER_TYPE = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_CMDLINE_PTR = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_ALIGNMENT = 0x230,
    HDR_RELOCATABLE = 0x234,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_LEAST_END = 0x264,
    HDR_START = 0x1f1,
    ZP_E820_COUNT = 0x1e8,
    ZP_E820_TABLE = 0x2d0,
    ZP_ALT_MEM_K = 0x1e0,
    ZP_EXT_MEM_K = 0x002,
};

#define MAGIC_HDRS       0x53726448u
#define LOADFLAG_HIGH    0x01
#define XLF_KERNEL_64    0x01
#define LOADER_UNDEFINED 0xff
#define ENTRY_64         0x200
#define SECTOR           512
#define E820_BYTES       20
#define TSC_WORD         "tsc_early_khz="
#define CMDLINE_ROOM     (BOOT_TABLES - BOOT_CMDLINE - 1)

static uint64_t get(const uint8_t *p, unsigned offset, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[offset + i] << 8 * i;
    return v;
}

static void put(uint8_t *p, unsigned offset, unsigned bytes, uint64_t v)
{
    for (unsigned i = 0; i < bytes; i++)
        p[offset + i] = (uint8_t)(v >> 8 * i);
}

/* The header's claims, by name. */
struct header {
    uint64_t setup_bytes, system_bytes; /* real-mode part; protected-mode part */
    uint64_t pref_address, init_size, alignment, initrd_max, cmdline_size;
    uint64_t code32_start, end;
    uint32_t version;
    bool loads_high, relocatable, entry_64;
};

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

static const struct boot_result good = { BOOT_OK, 0, 0 };

static struct header read_header(const uint8_t *p)
{
    uint64_t sectors = get(p, HDR_SETUP_SECTS, 1);
    return (struct header){
        .setup_bytes = ((sectors ? sectors : 4) + 1) * SECTOR,
        .system_bytes = get(p, HDR_SYSSIZE, 4) * 16,
        .pref_address = get(p, HDR_PREF_ADDRESS, 8),
        .init_size = get(p, HDR_INIT_SIZE, 4),
        .alignment = get(p, HDR_ALIGNMENT, 4),
        .initrd_max = get(p, HDR_INITRD_MAX, 4),
        .cmdline_size = get(p, HDR_CMDLINE_SIZE, 4),
        .code32_start = get(p, HDR_CODE32_START, 4),
        .end = get(p, HDR_JUMP_BYTES, 1) + HDR_MAGIC,
        .version = (uint32_t)get(p, HDR_VERSION, 2),
        .loads_high = get(p, HDR_LOADFLAGS, 1) & LOADFLAG_HIGH,
        .relocatable = get(p, HDR_RELOCATABLE, 1),
        .entry_64 = get(p, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64,
    };
}

/* Is it a bzImage at all, complete, and of a protocol that has all the fields below? */
static struct boot_result check_kind(const struct bzimage_request *r, struct header *h)
{
    if (r->image_bytes < HDR_MAGIC + 4 || get(r->image, HDR_BOOT_FLAG, 2) != 0xaa55 ||
        get(r->image, HDR_MAGIC, 4) != MAGIC_HDRS)
        return fail(BOOT_NOT_BZIMAGE, r->image_bytes, HDR_LEAST_END);
    if (r->image_bytes < BZIMAGE_HEADER_BYTES)
        return fail(BOOT_TRUNCATED, r->image_bytes, BZIMAGE_HEADER_BYTES);
    *h = read_header(r->image);
    if (h->version < BZIMAGE_PROTOCOL)
        return fail(BOOT_TOO_OLD, h->version, BZIMAGE_PROTOCOL);
    if (!h->loads_high)
        return fail(BOOT_ZIMAGE, 0, 0);
    if (r->image_bytes < h->setup_bytes + h->system_bytes)
        return fail(BOOT_TRUNCATED, r->image_bytes, h->setup_bytes + h->system_bytes);
    return good;
}

static bool power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* Claims that placing relies on. */
static struct boot_result check_claims(const struct header *h)
{
    if (!power_of_two(h->alignment) || h->alignment < PAGE_BYTES || h->alignment > 1u << 30)
        return fail(BOOT_BAD_HEADER, h->alignment, 0);
    if (h->pref_address < BOOT_LOW_END || h->pref_address >= BOOT_MEMORY_MAX)
        return fail(BOOT_BAD_HEADER, h->pref_address, 0);
    if (h->relocatable && h->pref_address % h->alignment)
        return fail(BOOT_BAD_HEADER, h->pref_address, h->alignment);
    if (!h->init_size || !h->system_bytes || h->system_bytes > h->init_size)
        return fail(BOOT_BAD_HEADER, h->system_bytes, h->init_size);
    if (h->end < HDR_LEAST_END || h->end > BZIMAGE_HEADER_BYTES)
        return fail(BOOT_BAD_HEADER, h->end, HDR_LEAST_END);
    return h->relocatable || (h->code32_start >= BOOT_LOW_END && h->code32_start < BOOT_MEMORY_MAX)
               ? good
               : fail(BOOT_BAD_HEADER, h->code32_start, BOOT_LOW_END);
}

/* The kernel's place. A relocatable kernel runs at its preferred address at the least (boot.rst, init_size),
 * so in memory without holes no other place can be better; one that is not is loaded where it says and moves
 * itself. */
static struct boot_result place_kernel(const struct bzimage_request *r, const struct header *h,
                                       struct boot_plan *plan)
{
    uint64_t load = h->relocatable ? h->pref_address : h->code32_start;
    uint64_t loaded_end = load + h->system_bytes, run_end = h->pref_address + h->init_size;
    uint64_t end = loaded_end > run_end ? loaded_end : run_end;
    if (end > r->memory_bytes)
        return fail(BOOT_KERNEL_TOO_BIG, r->memory_bytes, end);
    uint64_t start = load < h->pref_address ? load : h->pref_address;
    plan->kernel = (struct boot_piece){ load, h->system_bytes };
    plan->kernel_offset = h->setup_bytes;
    plan->room = (struct boot_piece){ start, end - start };
    return good;
}

static struct boot_result place_initrd(const struct bzimage_request *r, const struct header *h,
                                       struct boot_plan *plan)
{
    uint64_t top = r->memory_bytes - 1 > h->initrd_max ? h->initrd_max + 1 : r->memory_bytes;
    uint64_t kernel_end = plan->room.start + plan->room.bytes;
    uint64_t above = top > kernel_end ? top - kernel_end : 0;
    uint64_t below_top = plan->room.start < top ? plan->room.start : top;
    uint64_t below = below_top > BOOT_LOW_END ? below_top - BOOT_LOW_END : 0;
    uint64_t need = (r->initrd_bytes + PAGE_BYTES - 1) & -PAGE_BYTES;
    above &= -PAGE_BYTES, below &= -PAGE_BYTES;
    if (!r->initrd_bytes)
        return good;
    if (r->initrd_bytes > BOOT_MEMORY_MAX || (need > above && need > below))
        return fail(BOOT_INITRD_TOO_BIG, above > below ? above : below, r->initrd_bytes);
    uint64_t end = (need <= above ? top : below_top) & -PAGE_BYTES;
    plan->initrd = (struct boot_piece){ end - need, r->initrd_bytes };
    return good;
}

static bool contains(const char *text, const char *word)
{
    for (; *text; text++) {
        unsigned i = 0;
        while (word[i] && text[i] == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

/* The word with its value and a space; returns the length. */
static unsigned format_tsc(char out[40], uint64_t khz)
{
    static const char prefix[] = TSC_WORD;
    char digits[20];
    unsigned n = 0, count = 0;
    for (; prefix[n]; n++)
        out[n] = prefix[n];
    for (; khz; khz /= 10)
        digits[count++] = (char)('0' + khz % 10);
    while (count)
        out[n++] = digits[--count];
    out[n++] = ' ';
    out[n] = 0;
    return n;
}

static struct boot_result place_cmdline(const struct bzimage_request *r, const struct header *h,
                                        struct boot_plan *plan)
{
    uint64_t n = 0, most = h->cmdline_size < CMDLINE_ROOM ? h->cmdline_size : CMDLINE_ROOM;
    while (n <= CMDLINE_ROOM && r->cmdline[n])
        n++;
    if (n > most)
        return fail(BOOT_CMDLINE_TOO_LONG, n, most);
    unsigned extra = 0;
    if (r->tsc_khz && !contains(r->cmdline, TSC_WORD))
        extra = format_tsc(plan->cmdline_extra, r->tsc_khz);
    if (extra > most - n)
        plan->cmdline_extra[0] = 0, extra = 0;
    plan->cmdline = (struct boot_piece){ BOOT_CMDLINE, n + extra + 1 };
    return good;
}

struct boot_result bzimage_plan(const struct bzimage_request *r, struct boot_plan *plan)
{
    struct header h;
    *plan = (struct boot_plan){ .memory_bytes = r->memory_bytes };
    struct boot_result e = check_kind(r, &h);
    if (e.error == BOOT_OK)
        e = check_claims(&h);
    if (e.error == BOOT_OK)
        e = boot_memory_size(r->memory_bytes);
    if (e.error == BOOT_OK)
        e = place_kernel(r, &h, plan);
    if (e.error == BOOT_OK)
        e = place_initrd(r, &h, plan);
    if (e.error == BOOT_OK)
        e = place_cmdline(r, &h, plan);
    if (e.error != BOOT_OK)
        return e;
    plan->e820_count = boot_e820(r->memory_bytes, plan->e820);
    plan->long_mode = h.entry_64 && !r->force_32;
    if (plan->long_mode)
        boot_cpu_long(&plan->cpu, plan->kernel.start + ENTRY_64);
    else
        boot_cpu_protected(&plan->cpu, plan->kernel.start);
    plan->cpu.gpr[RSI] = BOOT_ZERO_PAGE;
    return good;
}

/* struct boot_params: the image's own header, what a loader fills in, the memory map. */
static void fill_zero_page(const struct bzimage_request *r, const struct boot_plan *plan,
                           uint8_t zp[PAGE_BYTES])
{
    uint64_t end = get(r->image, HDR_JUMP_BYTES, 1) + HDR_MAGIC,
             above_1m_kib = (plan->memory_bytes >> 10) - 1024;
    for (uint64_t i = HDR_START; i < end; i++)
        zp[i] = r->image[i];
    put(zp, HDR_LOADER_TYPE, 1, LOADER_UNDEFINED);
    put(zp, HDR_CODE32_START, 4, plan->kernel.start);
    put(zp, HDR_RAMDISK_IMAGE, 4, plan->initrd.start);
    put(zp, HDR_RAMDISK_SIZE, 4, plan->initrd.bytes);
    put(zp, HDR_CMDLINE_PTR, 4, plan->cmdline.start);
    put(zp, ZP_ALT_MEM_K, 4, above_1m_kib);
    put(zp, ZP_EXT_MEM_K, 2, above_1m_kib < 0xffff ? above_1m_kib : 0xffff);
    put(zp, ZP_E820_COUNT, 1, plan->e820_count);
    for (unsigned i = 0; i < plan->e820_count; i++) {
        put(zp, ZP_E820_TABLE + i * E820_BYTES, 8, plan->e820[i].start);
        put(zp, ZP_E820_TABLE + i * E820_BYTES + 8, 8, plan->e820[i].bytes);
        put(zp, ZP_E820_TABLE + i * E820_BYTES + 16, 4, plan->e820[i].type);
    }
}

static bool write_cmdline(const struct bzimage_request *r, const struct boot_plan *plan,
                          const struct boot_memory *m)
{
    uint64_t extra = 0;
    while (plan->cmdline_extra[extra])
        extra++;
    return m->write(m->context, (gpa_t){ plan->cmdline.start }, plan->cmdline_extra, extra) &&
           m->write(m->context, (gpa_t){ plan->cmdline.start + extra }, r->cmdline,
                    plan->cmdline.bytes - extra);
}

bool bzimage_load(const struct bzimage_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    uint8_t zero_page[PAGE_BYTES] = { 0 };
    fill_zero_page(r, plan, zero_page);
    return boot_write_bda(m) && boot_write_mp(m) && boot_write_long_mode(m) && write_cmdline(r, plan, m) &&
           m->write(m->context, (gpa_t){ BOOT_ZERO_PAGE }, zero_page, sizeof(zero_page)) &&
           m->write(m->context, (gpa_t){ plan->kernel.start }, r->image + plan->kernel_offset,
                    plan->kernel.bytes);
}

bool boot_load_initrd(const struct boot_plan *plan, const struct boot_memory *m, uint64_t offset,
                      const void *bytes, uint64_t n)
{
    if (offset > plan->initrd.bytes || n > plan->initrd.bytes - offset)
        return false;
    return m->write(m->context, (gpa_t){ plan->initrd.start + offset }, bytes, n);
}
