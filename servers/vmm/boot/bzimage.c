/* SPDX-License-Identifier: BSD-2-Clause */
/* bzImages: read the header, check, place, then write. See bzimage.h for what holds. */
#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/bytes.h"
#include "servers/vmm/boot/bzimage_header.h"
#include "servers/vmm/boot/cmdline.h"
#include "servers/vmm/boot/mptable.h"
#include "servers/vmm/boot/realmode.h"

#define ENTRY_64     0x200
#define PROTOCOL_XLF 0x020c
#define SECTOR       512
#define PARAGRAPH    16 /* the unit of syssize */
#define E820_BYTES   20
#define CMDLINE_ROOM (BOOT_TABLES - BOOT_CMDLINE - 1)

/* What holds where an old header does not say (boot.rst). */
#define OLD_INITRD_MAX   0x37ffffff
#define OLD_CMDLINE_SIZE 255

/* The header's claims, by name. */
struct header {
    uint64_t setup_bytes, system_bytes; /* real-mode part; protected-mode part */
    uint64_t pref_address, init_size, alignment, initrd_max, cmdline_size;
    uint64_t code32_start, end;
    uint32_t version;
    bool loads_high, relocatable, entry_64, real;
};

static struct boot_result fail(enum boot_error error, uint64_t have, uint64_t need)
{
    return (struct boot_result){ error, have, need };
}

static const struct boot_result good = { BOOT_OK, 0, 0 };

static struct header read_header(const uint8_t *p)
{
    uint64_t sectors = get_bytes(p, HDR_SETUP_SECTS, 1), version = get_bytes(p, HDR_VERSION, 2);
    uint64_t xloadflags = version >= PROTOCOL_XLF ? get_bytes(p, HDR_XLOADFLAGS, 2) : 0;
    return (struct header){
        .setup_bytes = ((sectors ? sectors : 4) + 1) * SECTOR,
        .system_bytes = get_bytes(p, HDR_SYSSIZE, 4) * PARAGRAPH,
        .pref_address = version >= 0x20a ? get_bytes(p, HDR_PREF_ADDRESS, 8) : BOOT_LOW_END,
        .init_size =
            version >= 0x20a ? get_bytes(p, HDR_INIT_SIZE, 4) : get_bytes(p, HDR_SYSSIZE, 4) * PARAGRAPH,
        .alignment = get_bytes(p, HDR_ALIGNMENT, 4),
        .initrd_max = version >= 0x203 ? get_bytes(p, HDR_INITRD_MAX, 4) : OLD_INITRD_MAX,
        .cmdline_size = version >= 0x206 ? get_bytes(p, HDR_CMDLINE_SIZE, 4) : OLD_CMDLINE_SIZE,
        .code32_start = get_bytes(p, HDR_CODE32_START, 4),
        .end = get_bytes(p, HDR_JUMP_BYTES, 1) + HDR_MAGIC,
        .version = (uint32_t)version,
        .loads_high = get_bytes(p, HDR_LOADFLAGS, 1) & LOADFLAG_HIGH,
        .relocatable = get_bytes(p, HDR_RELOCATABLE, 1),
        .entry_64 = xloadflags & XLF_KERNEL_64,
        .real = !xloadflags,
    };
}

bool bzimage_is(const uint8_t *image, uint64_t image_bytes)
{
    return image_bytes >= HDR_MAGIC + 4 && get_bytes(image, HDR_BOOT_FLAG, 2) == 0xaa55 &&
           get_bytes(image, HDR_MAGIC, 4) == MAGIC_HDRS;
}

/* Is it a bzImage at all, complete, and of a protocol that has all the fields below? */
static struct boot_result check_kind(const struct bzimage_request *r, struct header *h)
{
    if (!bzimage_is(r->image, r->image_bytes))
        return fail(BOOT_NOT_BZIMAGE, r->image_bytes, HDR_LEAST_END);
    if (r->image_bytes < BZIMAGE_HEADER_BYTES)
        return fail(BOOT_TRUNCATED, r->image_bytes, BZIMAGE_HEADER_BYTES);
    *h = read_header(r->image);
    if (h->version < BZIMAGE_PROTOCOL)
        return fail(BOOT_TOO_OLD, h->version, BZIMAGE_PROTOCOL);
    if (!h->loads_high)
        return fail(BOOT_ZIMAGE, 0, 0);
    if (r->image_bytes + PARAGRAPH <= h->setup_bytes + h->system_bytes || r->image_bytes <= h->setup_bytes)
        return fail(BOOT_TRUNCATED, r->image_bytes, h->setup_bytes + h->system_bytes);
    if (h->system_bytes > r->image_bytes - h->setup_bytes)
        h->system_bytes = r->image_bytes - h->setup_bytes; /* the last paragraph may be short */
    return good;
}

static bool power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* Claims that placing relies on. Setup code is asked for nothing but where its kernel will run. */
static struct boot_result check_claims(const struct header *h)
{
    if (h->pref_address < BOOT_LOW_END || h->pref_address >= BOOT_MEMORY_MAX)
        return fail(BOOT_BAD_HEADER, h->pref_address, 0);
    if (!h->init_size || !h->system_bytes || (!h->real && h->system_bytes > h->init_size))
        return fail(BOOT_BAD_HEADER, h->system_bytes, h->init_size);
    if (h->real)
        return good;
    if (!power_of_two(h->alignment) || h->alignment < PAGE_BYTES || h->alignment > 1u << 30)
        return fail(BOOT_BAD_HEADER, h->alignment, 0);
    if (h->relocatable && h->pref_address % h->alignment)
        return fail(BOOT_BAD_HEADER, h->pref_address, h->alignment);
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
    uint64_t load = h->real ? BOOT_LOW_END : h->relocatable ? h->pref_address : h->code32_start;
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

static struct boot_result place_cmdline(const struct bzimage_request *r, const struct header *h,
                                        struct boot_plan *plan)
{
    uint64_t most = h->cmdline_size < CMDLINE_ROOM ? h->cmdline_size : CMDLINE_ROOM;
    uint64_t n = cmdline_length(r->cmdline, CMDLINE_ROOM);

    if (n > most)
        return fail(BOOT_CMDLINE_TOO_LONG, n, most);
    unsigned extra = cmdline_say_tsc(plan, r->cmdline, r->tsc_khz, most - n);
    plan->cmdline = (struct boot_piece){ BOOT_CMDLINE, n + extra + 1 };
    return good;
}

static struct boot_result choose_entry(const struct header *h, struct boot_plan *plan)
{
    if (h->real)
        return realmode_plan(h->setup_bytes, plan);
    plan->format = BOOT_BZIMAGE;
    plan->long_mode = h->entry_64;
    if (plan->long_mode)
        boot_cpu_long(&plan->cpu, plan->kernel.start + ENTRY_64);
    else
        boot_cpu_protected(&plan->cpu, plan->kernel.start);
    plan->cpu.gpr[RSI] = BOOT_ZERO_PAGE;
    return good;
}

struct boot_result bzimage_plan(const struct bzimage_request *r, struct boot_plan *plan)
{
    struct header h;
    *plan = (struct boot_plan){ .memory_bytes = r->memory_bytes };
    struct boot_result e = check_kind(r, &h);
    if (e.error != BOOT_OK)
        return e;
    e = check_claims(&h);
    if (e.error == BOOT_OK)
        e = boot_memory_size(r->memory_bytes);
    if (e.error == BOOT_OK)
        e = place_kernel(r, &h, plan);
    if (e.error == BOOT_OK)
        e = place_initrd(r, &h, plan);
    if (e.error == BOOT_OK)
        e = place_cmdline(r, &h, plan);
    if (e.error == BOOT_OK)
        e = choose_entry(&h, plan);
    plan->e820_count = boot_e820(r->memory_bytes, plan->e820);
    return e;
}

void bzimage_tell(const struct boot_plan *plan, uint8_t *header)
{
    put_bytes(header, HDR_LOADER_TYPE, 1, LOADER_UNDEFINED);
    put_bytes(header, HDR_RAMDISK_IMAGE, 4, plan->initrd.start);
    put_bytes(header, HDR_RAMDISK_SIZE, 4, plan->initrd.bytes);
    put_bytes(header, HDR_CMDLINE_PTR, 4, plan->cmdline.start);
}

/* struct boot_params: the image's own header, what a loader fills in, the memory map. */
static void fill_zero_page(const struct bzimage_request *r, const struct boot_plan *plan,
                           uint8_t zp[PAGE_BYTES])
{
    uint64_t end = get_bytes(r->image, HDR_JUMP_BYTES, 1) + HDR_MAGIC,
             above_1m_kib = (plan->memory_bytes >> 10) - 1024;
    for (uint64_t i = HDR_START; i < end; i++)
        zp[i] = r->image[i];
    bzimage_tell(plan, zp);
    put_bytes(zp, HDR_CODE32_START, 4, plan->kernel.start);
    put_bytes(zp, ZP_ALT_MEM_K, 4, above_1m_kib);
    put_bytes(zp, ZP_EXT_MEM_K, 2, above_1m_kib < 0xffff ? above_1m_kib : 0xffff);
    put_bytes(zp, ZP_E820_COUNT, 1, plan->e820_count);
    for (unsigned i = 0; i < plan->e820_count; i++) {
        put_bytes(zp, ZP_E820_TABLE + i * E820_BYTES, 8, plan->e820[i].start);
        put_bytes(zp, ZP_E820_TABLE + i * E820_BYTES + 8, 8, plan->e820[i].bytes);
        put_bytes(zp, ZP_E820_TABLE + i * E820_BYTES + 16, 4, plan->e820[i].type);
    }
}

static bool load_parameters(const struct bzimage_request *r, const struct boot_plan *plan,
                            const struct boot_memory *m)
{
    uint8_t zero_page[PAGE_BYTES] = { 0 };

    fill_zero_page(r, plan, zero_page);
    return boot_write_bda(m) && boot_write_long_mode(m) &&
           m->write(m->context, (gpa_t){ BOOT_ZERO_PAGE }, zero_page, sizeof(zero_page));
}

bool bzimage_load(const struct bzimage_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    bool real = plan->format == BOOT_BZIMAGE_REAL;

    return boot_write_mp(m) && (real ? realmode_load(r, plan, m) : load_parameters(r, plan, m)) &&
           cmdline_write(plan, r->cmdline, plan->cmdline.start, m) &&
           m->write(m->context, (gpa_t){ plan->kernel.start }, r->image + plan->kernel_offset,
                    plan->kernel.bytes);
}
