/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF kernels with a PVH entry, 32-bit and 64-bit: each error, notes that claim anything, what the kernel is
 * told; and which format an image is taken for. */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
#include "elf_make.h"
#include "servers/vmm/boot/pvh.h"

#define MEMORY (16 * MIB)
#define ENTRY  0x100120 /* of the note */

/* Without the Multiboot header, which would come first. */
static uint8_t *make_image(bool wide)
{
    uint8_t *image = elf_make(wide, 0);
    memset(image + ELF_MULTIBOOT, 0, 12);
    return image;
}

static struct image_request make_request(const uint8_t *image, uint64_t bytes)
{
    return (struct image_request){
        .image = image, .image_bytes = bytes, .cmdline = "a=1", .memory_bytes = MEMORY, .tsc_khz = 7
    };
}

static enum boot_error plan_error(const uint8_t *image, uint64_t bytes)
{
    struct image_request r = make_request(image, bytes);
    struct boot_plan plan;
    return image_plan(&r, &plan).error;
}

TEST(pvh_each_error_has_its_code)
{
    static const struct elf_row row[] = {
        { 24, 8, UINT64_MAX, BOOT_OK }, /* the ordinary entry does not matter */
        { 4, 1, 1, BOOT_UNKNOWN_FORMAT },
        { 18, 2, 3, BOOT_UNKNOWN_FORMAT },
        { 16, 2, 3, BOOT_UNKNOWN_FORMAT },
        { 32, 8, UINT64_MAX, BOOT_UNKNOWN_FORMAT },
        { 56, 2, 65, BOOT_UNKNOWN_FORMAT },
        { 56, 2, 2, BOOT_UNKNOWN_FORMAT },                  /* without its note */
        { ELF_NOTES + 24 + 8, 4, 17, BOOT_UNKNOWN_FORMAT }, /* another note */
        { ELF_NOTES + 24 + 12, 4, 0x6e6579, BOOT_UNKNOWN_FORMAT },
        { ELF_NOTES + 24 + 4, 4, 3, BOOT_UNKNOWN_FORMAT }, /* too short */
        { ELF_NOTES + 24 + 4, 4, 4, BOOT_OK },
        { ELF_NOTES + 24 + 16, 8, 0xfffff, BOOT_ENTRY_OUTSIDE },
        { ELF_NOTES + 24 + 16, 8, 0x101800, BOOT_ENTRY_OUTSIDE },
        { ELF_NOTES + 24 + 16, 8, 0x100000100120, BOOT_ENTRY_OUTSIDE },
        { 64, 4, 0, BOOT_ENTRY_OUTSIDE },
        { 64 + 8, 8, UINT64_MAX, BOOT_ELF_CUT },
        { 64 + 32, 8, UINT64_MAX, BOOT_ELF_CUT },
        { 64 + 40, 8, 1, BOOT_ELF_SIZE },
        { 64 + 40, 8, UINT64_MAX, BOOT_SEGMENT_PLACE },
        { 64 + 24, 8, UINT64_MAX, BOOT_SEGMENT_PLACE },
        { 64 + 24, 8, 0xa0000, BOOT_SEGMENT_PLACE },
        { 64 + 24, 8, 0x200000, BOOT_SEGMENTS_OVERLAP },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image(true);
        set(image, row[i].offset, row[i].bytes, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(plan_error(image, ELF_BYTES), row[i].error);
        free(image);
    }
}

TEST(pvh_notes_that_lead_nowhere_are_not_followed)
{
    static const struct elf_row row[] = {
        { ELF_NOTES, 4, 0xffffffff, BOOT_UNKNOWN_FORMAT },     /* a name that never ends */
        { ELF_NOTES + 4, 4, 0xffffffff, BOOT_UNKNOWN_FORMAT }, /* a content that never ends */
        { ELF_NOTES + 4, 4, 8, BOOT_OK },
        { ELF_NOTES + 4, 4, 33, BOOT_UNKNOWN_FORMAT }, /* the next note's head is its content */
        { 64 + 2 * 56 + 8, 8, UINT64_MAX - 3, BOOT_UNKNOWN_FORMAT },
        { 64 + 2 * 56 + 32, 8, UINT64_MAX, BOOT_UNKNOWN_FORMAT },
        { 64 + 2 * 56 + 32, 8, 47, BOOT_UNKNOWN_FORMAT }, /* it ends within the entry */
        { 64 + 2 * 56 + 32, 8, 48, BOOT_OK },
        { 64 + 2 * 56 + 32, 8, ELF_BYTES - ELF_NOTES, BOOT_OK },
        { 64 + 2 * 56 + 32, 8, ELF_BYTES - ELF_NOTES + 1, BOOT_UNKNOWN_FORMAT },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image(true);
        set(image, row[i].offset, row[i].bytes, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(plan_error(image, ELF_BYTES), row[i].error);
        free(image);
    }
}

static void check_loaded(bool wide, uint64_t initrd_bytes)
{
    uint8_t *image = make_image(wide), initrd[5000] = { 0x5a };
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    struct memory memory;
    struct boot_memory m = make_memory(&memory, MEMORY);
    r.initrd = initrd, r.initrd_bytes = initrd_bytes;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.format, BOOT_PVH);
    CHECK(image_load(&r, &plan, &m));
    CHECK_EQ(plan.cpu.rip, ENTRY);
    CHECK_EQ(plan.cpu.cr0, 0x11);
    CHECK_EQ(plan.cpu.seg[SEG_TR].limit, 0x67);
    CHECK_MEM_EQ(memory.bytes + 0x100000, image + ELF_TEXT, 0x1000);
    const uint8_t *start = memory.bytes + plan.cpu.gpr[RBX];
    CHECK_EQ(get(start, 0, 4), 0x336ec578);
    CHECK_EQ(get(start, 4, 4), 1);
    CHECK_EQ(get(start, 8, 4), 0);
    CHECK_EQ(get(start, 12, 4), initrd_bytes != 0);
    CHECK_EQ(get(start, 32, 8), 0); /* no ACPI */
    CHECK_STR_EQ((char *)memory.bytes + get(start, 24, 8),
                 "tsc_early_khz=7 a=1"); /* it says that it is Linux */
    CHECK_EQ(get(start, 48, 4), plan.e820_count);
    CHECK_MEM_EQ(memory.bytes + get(start, 40, 8), plan.e820, plan.e820_count * 24);
    CHECK_EQ(get(memory.bytes, 0x413, 2), 639);
    if (initrd_bytes) {
        const uint8_t *module = memory.bytes + get(start, 16, 8);
        CHECK_EQ(get(module, 0, 8), (MEMORY - initrd_bytes) & -PAGE_BYTES);
        CHECK_EQ(get(module, 8, 8), initrd_bytes);
        CHECK_EQ(get(module, 16, 8), 0);
        CHECK_EQ(memory.bytes[get(module, 0, 8)], 0x5a);
    }
    check_plan(&plan, ELF_BYTES, MEMORY);
    free_memory(&memory);
    free(image);
}

TEST(pvh_kernel_lies_where_it_says_and_is_told_everything)
{
    check_loaded(true, 0);
    check_loaded(true, 5000);
    check_loaded(false, 1);
    check_loaded(false, 4096);
}

TEST(pvh_kernel_that_does_not_say_that_it_is_linux_gets_its_own_line_only)
{
    uint8_t *image = make_image(true);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    memcpy(image + ELF_NOTES + 16, "lynux", 5);
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    CHECK_STR_EQ(plan.cmdline_extra, "");
    CHECK_EQ(plan.cmdline.bytes, 4);
    free(image);
}

TEST(pvh_initrd_fits_to_the_byte)
{
    uint8_t *image = make_image(true), *initrd = calloc(1, MEMORY);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    r.initrd = initrd;
    r.initrd_bytes = MEMORY - 0x201000;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.initrd.start, 0x201000);
    r.initrd_bytes++;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_INITRD_TOO_BIG);
    r.initrd_bytes = UINT64_MAX;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_INITRD_TOO_BIG);
    r.initrd_bytes = 0, r.memory_bytes = MIB;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_MEMORY_SIZE);
    free(initrd);
    free(image);
}

TEST(pvh_segments_are_limited_in_number)
{
    uint8_t *image = calloc(1, 0x8000);
    memcpy(image,
           "\x7f"
           "ELF\2\1\1",
           7);
    set(image, 16, 2, 2), set(image, 18, 2, 62), set(image, 32, 8, 64), set(image, 54, 2, 56);
    set(image, 56, 2, BOOT_SEGMENTS_MAX + 2);
    const struct elf_part note = { 4, 4, 0x4000, 0, 0, 24, 24 };
    elf_put_part(image, true, 0, &note);
    elf_put_note(image, 0x4000, 18, "\0\0\x10\0\0\0\0", 8);
    for (unsigned i = 0; i <= BOOT_SEGMENTS_MAX; i++) {
        const struct elf_part part = { 1, 5, 0x5000, 0, 0x100000 + i * 16, 16, 16 };
        elf_put_part(image, true, i + 1, &part);
    }
    CHECK_EQ(plan_error(image, 0x8000), BOOT_ELF_HEADERS);
    set(image, 56, 2, BOOT_SEGMENTS_MAX + 1);
    CHECK_EQ(plan_error(image, 0x8000), BOOT_OK);
    free(image);
}

TEST(pvh_files_that_claim_anything_never_give_a_bad_plan)
{
    uint64_t s = 88172645463325252ull;
    unsigned good = 0;
    for (int i = 0; i < 30000; i++) {
        uint8_t *image = make_image(i % 2);
        struct image_request r = make_request(image, ELF_BYTES);
        struct boot_plan plan;
        for (unsigned k = 0; k < 1 + random_next(&s) % 3; k++) {
            unsigned at = s % 2 ? (unsigned)(s % 232) : ELF_NOTES + (unsigned)(s % ELF_NOTE_BYTES);
            set(image, at, 1 + (s >> 32) % 8, s >> 13);
        }
        check_note("round %d", i);
        if (image_plan(&r, &plan).error == BOOT_OK) {
            check_plan(&plan, ELF_BYTES, MEMORY);
            good++;
        }
        free(image);
    }
    CHECK_LT(1000, good);
    CHECK_LT(good, 29000);
}

TEST(image_is_told_by_content_in_the_order_of_qemu)
{
    static uint8_t text[1000];
    uint8_t *elf = elf_make(true, 0), *both = make_image(true);
    CHECK_EQ(image_format(elf, ELF_BYTES), BOOT_MULTIBOOT); /* also for a file that Multiboot cannot load: */
    CHECK_EQ(plan_error(elf, ELF_BYTES), BOOT_ELF_CLASS);
    CHECK_EQ(image_format(both, ELF_BYTES), BOOT_PVH);
    set(both, 0x1fe, 2, 0xaa55), set(both, 0x202, 4, 0x53726448);
    CHECK_EQ(image_format(both, ELF_BYTES), BOOT_BZIMAGE);
    set(elf, 0x1fe, 2, 0xaa55), set(elf, 0x202, 4, 0x53726448);
    CHECK_EQ(image_format(elf, ELF_BYTES), BOOT_BZIMAGE);
    CHECK_EQ(image_format(text, 512), BOOT_FLAT);
    CHECK_EQ(image_format(text, 513), BOOT_FORMATS);
    CHECK_EQ(plan_error(text, 513), BOOT_UNKNOWN_FORMAT);
    CHECK_EQ(plan_error(text, 512), BOOT_OK);
    CHECK_EQ(plan_error(text, 0), BOOT_FLAT_TOO_BIG);
    free(elf);
    free(both);
}
