/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot plans: a synthetic bzImage whose header the tests change field by field, each error, placement, what
 * lands in memory; the default guest's kernel if build/guest has it (else the synthetic one stands in, with
 * the same checks). */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
#include "rig.h"
#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/flat.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a synthetic image: setup part of 4 + 1 sectors, then 64 KiB ---- */

#define SETUP_SECTORS 4
#define SYSTEM_BYTES  0x10000u
#define IMAGE_BYTES   ((SETUP_SECTORS + 1) * 512 + SYSTEM_BYTES)

/* A fresh image in a heap block of exactly its size, so that a read beyond it is seen. */
static uint8_t *make_image(void)
{
    static const struct {
        uint16_t offset, bytes;
        uint64_t value;
    } field[] = {
        { 0x1f1, 1, SETUP_SECTORS },
        { 0x1f4, 4, SYSTEM_BYTES / 16 },
        { 0x1fe, 2, 0xaa55 },
        { 0x200, 2, 0x6aeb },
        { 0x202, 4, 0x53726448 },
        { 0x206, 2, 0x020f },
        { 0x211, 1, 1 },
        { 0x214, 4, 0x100000 },
        { 0x22c, 4, 0x7fffffff },
        { 0x230, 4, 0x200000 },
        { 0x234, 1, 1 },
        { 0x236, 2, 0x7f },
        { 0x238, 4, 2047 },
        { 0x258, 8, 16 * MIB },
        { 0x260, 4, 40 * MIB },
        { 0x1fa, 2, 0xffff },
    };
    uint8_t *p = malloc(IMAGE_BYTES);
    for (unsigned i = 0; i < IMAGE_BYTES; i++)
        p[i] = (uint8_t)(i * 7 + i / 256);
    memset(p + 0x1f1, 0, 0x290 - 0x1f1);
    for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++)
        set(p, field[i].offset, field[i].bytes, field[i].value);
    return p;
}

static struct bzimage_request make_request(const uint8_t *image)
{
    return (struct bzimage_request){ .image = image,
                                     .image_bytes = IMAGE_BYTES,
                                     .initrd_bytes = 5 * MIB + 123,
                                     .cmdline = "console=ttyS0",
                                     .memory_bytes = 128 * MIB };
}

/* ---- errors ---- */

TEST(boot_each_header_error_has_its_code)
{
    static const struct {
        uint16_t offset, bytes;
        uint64_t value;
        enum boot_error error;
    } row[] = {
        { 0x1fe, 2, 0xaa54, BOOT_NOT_BZIMAGE },
        { 0x202, 4, 0x53726449, BOOT_NOT_BZIMAGE },
        { 0x206, 2, 0x0201, BOOT_TOO_OLD },
        { 0x206, 2, 0x0202, BOOT_OK }, /* in real mode */
        { 0x206, 2, 0, BOOT_TOO_OLD },
        { 0x211, 1, 0x80, BOOT_ZIMAGE },
        { 0x1f4, 4, SYSTEM_BYTES / 16 + 1, BOOT_TRUNCATED },
        { 0x1f1, 1, 5, BOOT_TRUNCATED },
        { 0x1f4, 4, 0xffffffff, BOOT_TRUNCATED },
        { 0x230, 4, 0, BOOT_BAD_HEADER },
        { 0x230, 4, 0x300000, BOOT_BAD_HEADER },
        { 0x230, 4, 0x800, BOOT_BAD_HEADER },
        { 0x230, 4, 0x80000000, BOOT_BAD_HEADER },
        { 0x258, 8, 0, BOOT_BAD_HEADER },
        { 0x258, 8, UINT64_MAX, BOOT_BAD_HEADER },
        { 0x258, 8, 17 * MIB, BOOT_BAD_HEADER },
        { 0x260, 4, 0, BOOT_BAD_HEADER },
        { 0x260, 4, 0xffff, BOOT_BAD_HEADER },
        { 0x1f4, 4, 0, BOOT_BAD_HEADER },
        { 0x201, 1, 0x20, BOOT_BAD_HEADER },
        { 0x201, 1, 0xff, BOOT_BAD_HEADER },
        { 0x260, 4, 113 * MIB, BOOT_KERNEL_TOO_BIG },
        { 0x260, 4, 0xffffffff, BOOT_KERNEL_TOO_BIG },
        { 0x238, 4, 12, BOOT_CMDLINE_TOO_LONG },
        { 0x22c, 4, 0x3ff, BOOT_INITRD_TOO_BIG },
        { 0x206, 2, 0x020c, BOOT_OK },
        { 0x238, 4, 13, BOOT_OK },
        { 0x260, 4, 112 * MIB, BOOT_OK },
        { 0x22c, 4, 16 * MIB, BOOT_OK },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image();
        struct bzimage_request r = make_request(image);
        struct boot_plan plan;
        set(image, row[i].offset, row[i].bytes, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(bzimage_plan(&r, &plan).error, row[i].error);
        free(image);
    }
}

TEST(boot_errors_say_what_is_there_and_what_is_needed)
{
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    r.memory_bytes = 32 * MIB;
    struct boot_result e = bzimage_plan(&r, &plan);
    CHECK_EQ(e.error, BOOT_KERNEL_TOO_BIG);
    CHECK_EQ(e.have, 32 * MIB);
    CHECK_EQ(e.need, 56 * MIB);
    r.memory_bytes = 60 * MIB;
    r.initrd_bytes = 20 * MIB;
    e = bzimage_plan(&r, &plan);
    CHECK_EQ(e.error, BOOT_INITRD_TOO_BIG);
    CHECK_EQ(e.have, 15 * MIB); /* below the kernel there is more room than above */
    CHECK_EQ(e.need, 20 * MIB);
    r.initrd_bytes = UINT64_MAX;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_INITRD_TOO_BIG);
    free(image);
    for (unsigned i = 0; i < BOOT_ERRORS; i++)
        CHECK(strlen(boot_error_text(i)) > 1);
    CHECK_STR_EQ(boot_error_text(BOOT_ERRORS), "unknown error");
}

TEST(boot_memory_size_limits)
{
    static const struct {
        uint64_t bytes, need;
    } row[] = { { 4 * MIB, 0 },
                { 4 * MIB - 4096, 4 * MIB },
                { 0, 4 * MIB },
                { 3072 * MIB, 0 },
                { 3072 * MIB + 4096, 3072 * MIB },
                { UINT64_MAX, 3072 * MIB },
                { 128 * MIB + 1, 128 * MIB } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        check_note("row %zu", i);
        CHECK_EQ(boot_memory_size(row[i].bytes).error, row[i].need ? BOOT_MEMORY_SIZE : BOOT_OK);
        CHECK_EQ(boot_memory_size(row[i].bytes).need, row[i].need);
    }
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    r.memory_bytes = MIB;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_MEMORY_SIZE);
    free(image);
}

TEST(boot_truncated_at_any_length_reads_nothing_beyond)
{
    uint8_t *whole = make_image();
    for (uint64_t n = 0; n < 0x400; n++) {
        uint8_t *image = malloc(n ? n : 1);
        memcpy(image, whole, n);
        struct bzimage_request r = make_request(image);
        struct boot_plan plan;
        r.image_bytes = n;
        check_note("%llu bytes", (unsigned long long)n);
        enum boot_error e = bzimage_plan(&r, &plan).error;
        CHECK_EQ(e, n < 0x206 ? BOOT_NOT_BZIMAGE : BOOT_TRUNCATED);
        free(image);
    }
    free(whole);
}

TEST(boot_random_headers_never_give_a_bad_plan)
{
    uint64_t s = 88172645463325252ull;
    for (int i = 0; i < 20000; i++) {
        uint8_t *image = make_image();
        struct bzimage_request r = make_request(image);
        struct boot_plan plan;
        for (int k = 0; k < 3; k++) {
            s ^= s << 13, s ^= s >> 7, s ^= s << 17;
            unsigned at = 0x1f1 + s % (0x290 - 0x1f1);
            if (at < 0x1fe || at >= 0x206)
                image[at] = (uint8_t)(s >> 32);
        }
        check_note("round %d", i);
        if (bzimage_plan(&r, &plan).error == BOOT_OK) {
            uint64_t room_end = plan.room.start + plan.room.bytes;
            CHECK_LE(plan.room.start, plan.kernel.start);
            CHECK_LE(plan.kernel.start + plan.kernel.bytes, room_end);
            CHECK_LE(room_end, r.memory_bytes);
            CHECK_LE(BOOT_LOW_END, plan.room.start);
            CHECK_LE(plan.initrd.start + plan.initrd.bytes, r.memory_bytes);
            CHECK(plan.initrd.start >= room_end || plan.initrd.start + plan.initrd.bytes <= plan.room.start);
            CHECK_LE(plan.kernel_offset + plan.kernel.bytes, r.image_bytes);
        }
        free(image);
    }
}

/* ---- placement ---- */

TEST(boot_places_kernel_and_initrd)
{
    static const struct {
        uint64_t memory_mib, initrd_bytes, initrd_max, initrd_at;
    } row[] = {
        { 128, 5 * MIB, 0x7fffffff, 123 * MIB },         { 128, 1, 0x7fffffff, 128 * MIB - 4096 },
        { 128, 4097, 0x7fffffff, 128 * MIB - 8192 },     { 64, 8 * MIB, 0x7fffffff, 56 * MIB },
        { 64, 8 * MIB + 1, 0x7fffffff, 8 * MIB - 4096 }, { 64, 15 * MIB, 0x7fffffff, 1 * MIB },
        { 512, 5 * MIB, 0x7fffffff, 507 * MIB },         { 3072, 5 * MIB, 0x7fffffff, 2043 * MIB },
        { 3072, 5 * MIB, 0x37ffffff, 891 * MIB },        { 512, 5 * MIB, 300 * MIB + 5, 295 * MIB },
        { 56, 15 * MIB, 0x7fffffff, 1 * MIB },           { 128, 0, 0x7fffffff, 0 },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image();
        struct bzimage_request r = make_request(image);
        struct boot_plan plan;
        r.memory_bytes = row[i].memory_mib * MIB;
        r.initrd_bytes = row[i].initrd_bytes;
        set(image, 0x22c, 4, row[i].initrd_max);
        check_note("row %zu", i);
        CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
        CHECK_EQ(plan.kernel.start, 16 * MIB);
        CHECK_EQ(plan.initrd.start, row[i].initrd_at);
        CHECK_EQ(plan.initrd.bytes, row[i].initrd_bytes);
        free(image);
    }
}

TEST(boot_kernel_that_is_not_relocatable_stays_where_it_says)
{
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    set(image, 0x234, 1, 0);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.kernel.start, MIB);
    CHECK_EQ(plan.room.start, MIB);
    CHECK_EQ(plan.room.bytes, 55 * MIB);
    set(image, 0x214, 4, 0x1000);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_BAD_HEADER);
    set(image, 0x214, 4, 126 * MIB);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.initrd.start, 11 * MIB - 4096); /* no room above: below the place where it will run */
    set(image, 0x214, 4, 128 * MIB);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_KERNEL_TOO_BIG);
    free(image);
}

TEST(boot_command_line_length_is_exact)
{
    char line[3000];
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    memset(line, 'a', sizeof(line));
    r.cmdline = line;
    line[2047] = 0;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.cmdline.bytes, 2048);
    line[2047] = 'a', line[2048] = 0;
    struct boot_result e = bzimage_plan(&r, &plan);
    CHECK_EQ(e.error, BOOT_CMDLINE_TOO_LONG);
    CHECK_EQ(e.have, 2048);
    CHECK_EQ(e.need, 2047);
    set(image, 0x238, 4, 0xffffffff); /* a kernel that takes more than there is room for */
    char *huge = malloc(0x20000);
    memset(huge, 'b', 0x20000);
    huge[0x1ffff] = 0;
    r.cmdline = huge;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_CMDLINE_TOO_LONG);
    huge[0xffff] = 0;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    free(huge);
    free(image);
}

TEST(boot_tells_the_tsc_rate_on_the_command_line)
{
    static const struct {
        const char *line;
        uint64_t khz;
        uint32_t most;
        const char *seen;
    } row[] = {
        { "console=ttyS0", 2596122, 2047, "tsc_early_khz=2596122 console=ttyS0" },
        { "quiet", 0, 2047, "quiet" },
        { "", 1000000, 2047, "tsc_early_khz=1000000 " },
        { "rdinit=/x -- an argument", 5, 2047, "tsc_early_khz=5 rdinit=/x -- an argument" },
        { "a tsc_early_khz=5", 1000000, 2047, "a tsc_early_khz=5" },
        { "tsc_early_kh", 7, 2047, "tsc_early_khz=7 tsc_early_kh" },
        { "abc", 1000000, 25, "tsc_early_khz=1000000 abc" },
        { "abc", 1000000, 24, "abc" },
        { "abc", UINT64_MAX, 2047, "tsc_early_khz=18446744073709551615 abc" },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image();
        struct bzimage_request r = make_request(image);
        struct boot_plan plan;
        struct memory memory;
        struct boot_memory m = make_memory(&memory, r.memory_bytes);
        r.cmdline = row[i].line;
        r.tsc_khz = row[i].khz;
        set(image, 0x238, 4, row[i].most);
        check_note("row %zu", i);
        CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
        CHECK(bzimage_load(&r, &plan, &m));
        CHECK_STR_EQ((char *)memory.bytes + BOOT_CMDLINE, row[i].seen);
        CHECK_EQ(plan.cmdline.bytes, strlen(row[i].seen) + 1);
        free(image);
        free_memory(&memory);
    }
}

TEST(boot_e820_covers_memory_without_overlap)
{
    struct boot_range ranges[BOOT_E820_MAX];
    static const uint64_t sizes[] = { 4 * MIB, 64 * MIB, 3072 * MIB };
    for (int k = 0; k < 3; k++) {
        uint32_t n = boot_e820(sizes[k], ranges);
        uint64_t usable = 0, last = 0;
        for (uint32_t i = 0; i < n; i++) {
            CHECK_LE(last, ranges[i].start);
            CHECK(ranges[i].type == 1 || ranges[i].type == 2);
            last = ranges[i].start + ranges[i].bytes;
            usable += ranges[i].type == 1 ? ranges[i].bytes : 0;
        }
        CHECK_EQ(last, sizes[k]);
        CHECK_EQ(usable, sizes[k] - MIB + BOOT_BASE_END);
    }
}

/* ---- what lands in memory ---- */

/* Walks the identity tables as the processor would. */
static uint64_t translate(const struct memory *m, uint64_t cr3, uint64_t va)
{
    uint64_t entry = cr3;
    for (int shift = 39; shift >= 21; shift -= 9) {
        entry = get(m->bytes, (entry & ~0xfffull) + (va >> shift & 511) * 8, 8);
        CHECK_EQ(entry & 3, 3);
        if (entry & 0x80)
            return (entry & ~((1ull << shift) - 1)) | (va & ((1ull << shift) - 1));
    }
    FAIL("no large page at %llx", (unsigned long long)va);
}

static void check_loaded(const struct bzimage_request *r, bool expect_64)
{
    struct boot_plan plan;
    struct memory memory;
    struct boot_memory m = make_memory(&memory, r->memory_bytes);
    CHECK_EQ(bzimage_plan(r, &plan).error, BOOT_OK);
    CHECK(bzimage_load(r, &plan, &m));
    const uint8_t *zp = memory.bytes + BOOT_ZERO_PAGE;
    uint64_t setup = (r->image[0x1f1] + 1ull) * 512, pref = get(r->image, 0x258, 8);
    CHECK_EQ(plan.long_mode, expect_64);
    CHECK_EQ(plan.cpu.rip, pref + (expect_64 ? 0x200 : 0));
    CHECK_EQ(plan.cpu.gpr[RSI], BOOT_ZERO_PAGE);
    CHECK_MEM_EQ(memory.bytes + pref, r->image + setup, get(r->image, 0x1f4, 4) * 16);
    CHECK_STR_EQ((char *)memory.bytes + get(zp, 0x228, 4), r->cmdline);
    CHECK_EQ(get(zp, 0x202, 4), 0x53726448);
    CHECK_EQ(zp[0x1ef], 0); /* the sentinel: all else of the page was cleared */
    CHECK_EQ(zp[0x210], 0xff);
    CHECK_EQ(get(zp, 0x214, 4), pref);
    CHECK_EQ(get(zp, 0x218, 4), plan.initrd.start);
    CHECK_EQ(get(zp, 0x21c, 4), r->initrd_bytes);
    CHECK_EQ(get(zp, 0x258, 8), pref);
    CHECK_EQ(zp[0x1e8], plan.e820_count);
    for (uint32_t i = 0; i < plan.e820_count; i++) {
        CHECK_EQ(get(zp, 0x2d0 + i * 20, 8), plan.e820[i].start);
        CHECK_EQ(get(zp, 0x2d0 + i * 20 + 8, 8), plan.e820[i].bytes);
        CHECK_EQ(get(zp, 0x2d0 + i * 20 + 16, 4), plan.e820[i].type);
    }
    CHECK_EQ(get(zp, 0x1e0, 4), r->memory_bytes / 1024 - 1024);
    CHECK_EQ(get(memory.bytes, 0x413, 2), 639);
    CHECK_EQ(get(memory.bytes, 0x40e, 2), 0x9fc0);
    for (uint64_t va = 0; va < 1ull << 32; va += 0x1ff7123)
        CHECK_EQ(translate(&memory, BOOT_TABLES, va), va);
    for (uint64_t at = 0; at < plan.initrd.bytes; at += 65536) { /* overlaps nothing written */
        uint8_t piece[65536] = { 0x5a };
        uint64_t n = plan.initrd.bytes - at < sizeof(piece) ? plan.initrd.bytes - at : sizeof(piece);
        CHECK(boot_load_initrd(&plan, &m, at, piece, n));
    }
    CHECK(!boot_load_initrd(&plan, &m, plan.initrd.bytes, "x", 1));
    CHECK(!boot_load_initrd(&plan, &m, UINT64_MAX, "x", 1));
    free_memory(&memory);
}

TEST(boot_loads_for_64_bit_entry)
{
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    check_loaded(&r, true);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    const struct boot_cpu *c = &plan.cpu;
    CHECK_EQ(c->cr0, 0x80000011);
    CHECK_EQ(c->cr4, 0x20);
    CHECK_EQ(c->efer, 0x500);
    CHECK_EQ(c->cr3, BOOT_TABLES);
    CHECK_EQ(c->rflags, 2);
    CHECK_EQ(c->seg[SEG_CS].selector, 0x10);
    CHECK_EQ(c->seg[SEG_CS].attributes, 0xa9b);
    CHECK_EQ(c->seg[SEG_SS].selector, 0x18);
    CHECK_EQ(c->seg[SEG_GDTR].limit, 31);
    free(image);
}

TEST(boot_loads_for_32_bit_entry)
{
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    set(image, 0x236, 2, 0x7e); /* no 64-bit entry */
    check_loaded(&r, false);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.cpu.cr0, 0x11);
    CHECK_EQ(plan.cpu.cr4 | plan.cpu.efer | plan.cpu.cr3, 0);
    CHECK_EQ(plan.cpu.seg[SEG_CS].attributes, 0xc9b);
    CHECK_EQ(plan.cpu.gpr[RBP] | plan.cpu.gpr[RDI] | plan.cpu.gpr[RBX], 0);
    free(image);
}

TEST(boot_descriptors_in_the_gdt_match_the_loaded_segments)
{
    struct memory memory;
    struct boot_memory m = make_memory(&memory, 4 * MIB);
    struct boot_cpu cpu;
    CHECK(boot_write_long_mode(&m));
    boot_cpu_long(&cpu, 0);
    static const enum segment all[] = { SEG_CS, SEG_SS };
    for (int i = 0; i < 2; i++) {
        const struct umbra_segment *s = &cpu.seg[all[i]];
        uint64_t d = get(memory.bytes, BOOT_GDT + s->selector, 8);
        CHECK_EQ((d >> 40 & 0xff) | (d >> 44 & 0xf00), s->attributes);
        CHECK_EQ(d & 0xffff, 0xffff);
    }
}

TEST(boot_load_stops_where_memory_refuses)
{
    static const uint64_t places[] = { BOOT_BDA, BOOT_GDT, BOOT_CMDLINE, BOOT_TABLES, 16 * MIB };
    uint8_t *image = make_image();
    struct bzimage_request r = make_request(image);
    struct boot_plan plan;
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    for (int i = 0; i < 5; i++) {
        struct memory memory;
        struct boot_memory m = make_memory(&memory, 64 * MIB);
        memory.fail_from = places[i];
        CHECK(!bzimage_load(&r, &plan, &m));
    }
    free(image);
}

/* The default guest's kernel, byte for byte as its package has it; where it has not been fetched, the
 * synthetic image. */
TEST(boot_plans_the_default_guest_kernel)
{
    static const char *const places[] = { "build/guest/vmlinuz*", "build/guest/*amd64/vmlinuz*",
                                          "build/guest/*/boot/vmlinuz*", "build/guest/*/*/boot/vmlinuz*" };
    glob_t found = { 0 };
    uint8_t *image = NULL;
    uint64_t bytes = 0;
    for (int i = 0; i < 4; i++)
        glob(places[i], i ? GLOB_APPEND : 0, NULL, &found);
    if (found.gl_pathc) {
        check_note("%s", found.gl_pathv[0]);
        FILE *f = fopen(found.gl_pathv[0], "rb");
        CHECK(f && !fseek(f, 0, SEEK_END));
        bytes = (uint64_t)ftell(f);
        image = malloc(bytes);
        rewind(f);
        CHECK_EQ(fread(image, 1, bytes, f), bytes);
        fclose(f);
    } else {
        image = make_image();
        bytes = IMAGE_BYTES;
    }
    globfree(&found);
    struct bzimage_request r = make_request(image);
    r.image_bytes = bytes;
    check_loaded(&r, true);
    r.memory_bytes = 512 * MIB;
    check_loaded(&r, true);
    image[0x236] &= 0xfe;
    check_loaded(&r, false);
    free(image);
}

/* ---- raw images ---- */

TEST(flat_plans_and_errors)
{
    static const struct {
        enum flat_mode mode;
        uint64_t bytes, memory;
        enum boot_error error;
    } row[] = {
        { FLAT_REAL16, 10, 0x10000, BOOT_OK },
        { FLAT_REAL16, 0, 0x10000, BOOT_FLAT_TOO_BIG },
        { FLAT_REAL16, 0x10000 - 0x7c00, 0x10000, BOOT_OK },
        { FLAT_REAL16, 0x10000 - 0x7bff, 0x10000, BOOT_FLAT_TOO_BIG },
        { FLAT_REAL16, BOOT_BASE_END - 0x7c00, 8 * MIB, BOOT_OK },
        { FLAT_REAL16, BOOT_BASE_END - 0x7bff, 8 * MIB, BOOT_FLAT_TOO_BIG },
        { FLAT_REAL16, 10, 0xf000, BOOT_MEMORY_SIZE },
        { FLAT_LONG64, 4096, MIB + 4096, BOOT_OK },
        { FLAT_LONG64, 4097, MIB + 4096, BOOT_FLAT_TOO_BIG },
        { FLAT_LONG64, 10, MIB, BOOT_MEMORY_SIZE },
        { FLAT_LONG64, 10, 2 * MIB + 1, BOOT_MEMORY_SIZE },
        { FLAT_PROTECTED32, 10, 3073 * MIB, BOOT_MEMORY_SIZE },
        { FLAT_PROTECTED32, 10, 16 * MIB, BOOT_OK },
    };
    static uint8_t image[0x100000];
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct flat_request r = { image, row[i].bytes, row[i].memory, row[i].mode };
        struct boot_plan plan;
        check_note("row %zu", i);
        CHECK_EQ(flat_plan(&r, &plan).error, row[i].error);
        if (row[i].error != BOOT_OK)
            continue;
        struct memory memory;
        struct boot_memory m = make_memory(&memory, row[i].memory);
        memset(image, 0xf4, sizeof(image));
        CHECK(flat_load(&r, &plan, &m));
        CHECK_EQ(memory.bytes[plan.cpu.rip + plan.cpu.seg[SEG_CS].base], 0xf4);
        free_memory(&memory);
    }
}

TEST(flat_first_states)
{
    static const uint8_t hlt = 0xf4;
    static const struct {
        uint64_t rip, cr0, cr4, efer, rsp;
        uint16_t cs_attributes;
    } row[FLAT_MODES] = {
        [FLAT_REAL16] = { 0x7c00, 0x10, 0, 0, 0x7c00, 0x09b },
        [FLAT_PROTECTED32] = { 0x100000, 0x11, 0, 0, BOOT_BASE_END, 0xc9b },
        [FLAT_LONG64] = { 0x100000, 0x80000011, 0x20, 0x500, BOOT_BASE_END, 0xa9b },
    };
    for (unsigned mode = 0; mode < FLAT_MODES; mode++) {
        struct flat_request r = { &hlt, 1, 16 * MIB, mode };
        struct boot_plan plan;
        check_note("mode %u", mode);
        CHECK_EQ(flat_plan(&r, &plan).error, BOOT_OK);
        CHECK_EQ(plan.cpu.rip, row[mode].rip);
        CHECK_EQ(plan.cpu.cr0, row[mode].cr0);
        CHECK_EQ(plan.cpu.cr4, row[mode].cr4);
        CHECK_EQ(plan.cpu.efer, row[mode].efer);
        CHECK_EQ(plan.cpu.gpr[RSP], row[mode].rsp);
        CHECK_EQ(plan.cpu.seg[SEG_CS].attributes, row[mode].cs_attributes);
    }
}
