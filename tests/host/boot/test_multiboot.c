/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 kernels: each error of the header, of ELF files and of address fields; what the kernel is told;
 * files that claim anything. */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
#include "elf_make.h"
#include "servers/vmm/boot/multiboot.h"

#define MEMORY (16 * MIB)
#define ENTRY  0xc0100010ull

static struct image_request make_request(const uint8_t *image, uint64_t bytes)
{
    return (struct image_request){
        .image = image, .image_bytes = bytes, .cmdline = "kernel a=1", .memory_bytes = MEMORY, .tsc_khz = 7
    };
}

static enum boot_error plan_error(const uint8_t *image, uint64_t bytes)
{
    struct image_request r = make_request(image, bytes);
    struct boot_plan plan;
    return image_plan(&r, &plan).error;
}

/* The header with address fields at the beginning of a flat file. */
static uint8_t *make_fields(uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    const uint32_t words[8] = { 0x1badb002, 0x10003, -(0x1badb002u + 0x10003), 0x100000, 0x100000, load_end,
                                bss_end,    entry };
    uint8_t *p = malloc(0x1000);
    for (unsigned i = 0; i < 0x1000; i++)
        p[i] = (uint8_t)(i * 3 + 1);
    memcpy(p, words, sizeof(words));
    return p;
}

TEST(multiboot_each_error_of_an_elf_file_has_its_code)
{
    static const struct elf_row row[] = {
        { 24, 4, ENTRY, BOOT_OK },
        { 4, 1, 2, BOOT_ELF_CLASS },                 /* 64-bit */
        { 5, 1, 2, BOOT_ELF_CLASS },                 /* big endian */
        { 16, 2, 3, BOOT_ELF_CLASS },                /* a shared object */
        { 18, 2, 62, BOOT_ELF_CLASS },               /* x86-64 */
        { 0, 1, 0, BOOT_ELF_CLASS },                 /* no ELF file */
        { 44, 2, 65, BOOT_ELF_HEADERS },             /* too many */
        { 42, 2, 31, BOOT_ELF_HEADERS },             /* too small */
        { 28, 4, ELF_BYTES - 95, BOOT_ELF_HEADERS }, /* outside */
        { 28, 4, 0xffffffff, BOOT_ELF_HEADERS },
        { 44, 2, 0, BOOT_NO_SEGMENT },
        { 52, 4, 2, BOOT_ENTRY_OUTSIDE }, /* the text is not loaded */
        { 52 + 4, 4, ELF_BYTES - 0xfff, BOOT_ELF_CUT },
        { 52 + 4, 4, 0xffffffff, BOOT_ELF_CUT },
        { 52 + 16, 4, 0xffffffff, BOOT_ELF_CUT },
        { 52 + 20, 4, 0xfff, BOOT_ELF_SIZE },
        { 52 + 12, 4, 0x9f000, BOOT_SEGMENT_PLACE }, /* into the hole */
        { 52 + 12, 4, 0xfff, BOOT_SEGMENT_PLACE },   /* over the BIOS's data */
        { 52 + 12, 4, MEMORY - 0x17ff, BOOT_SEGMENT_PLACE },
        { 52 + 12, 4, 0xffffffff, BOOT_SEGMENT_PLACE },
        { 52 + 20, 4, 0xffffffff, BOOT_SEGMENT_PLACE },
        { 52 + 12, 4, 0x200000 - 0x17ff, BOOT_SEGMENTS_OVERLAP },
        { 52 + 12, 4, 0x2007ff, BOOT_SEGMENTS_OVERLAP },
        { 52 + 12, 4, 0x200000, BOOT_SEGMENTS_OVERLAP },
        { 52 + 12, 4, 0x200000 - 0x1800, BOOT_OK },
        { 52 + 12, 4, 0x200800, BOOT_OK },
        { 24, 4, 0x100010, BOOT_OK },              /* physical already */
        { 24, 4, 0xc0101000, BOOT_ENTRY_OUTSIDE }, /* in no byte of the file */
        { 24, 4, 0x101800, BOOT_ENTRY_OUTSIDE },
        { 24, 4, 0, BOOT_ENTRY_OUTSIDE },
        { ELF_MULTIBOOT + 4, 4, 0xb, BOOT_UNKNOWN_FORMAT }, /* and a sum that is wrong */
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = elf_make(false, ENTRY);
        memset(image + ELF_NOTES, 0, ELF_NOTE_BYTES); /* it has no other entry */
        set(image, row[i].offset, row[i].bytes, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(plan_error(image, ELF_BYTES), row[i].error);
        free(image);
    }
}

TEST(multiboot_each_error_of_address_fields_has_its_code)
{
    static const struct elf_row row[] = {
        { 12, 4, 0x100000, BOOT_OK },
        { 12, 4, 0xfffff, BOOT_MULTIBOOT_FIELDS },  /* the header before what is loaded */
        { 12, 4, 0x100004, BOOT_MULTIBOOT_FIELDS }, /* bytes before the file */
        { 16, 4, 0xffffc, BOOT_MULTIBOOT_FIELDS },
        { 16, 4, 0x100001, BOOT_MULTIBOOT_FIELDS },
        { 20, 4, 0xfffff, BOOT_MULTIBOOT_FIELDS },
        { 20, 4, 0x101001, BOOT_MULTIBOOT_FIELDS }, /* more than the file has */
        { 20, 4, 0x101000, BOOT_OK },
        { 20, 4, 0x100100, BOOT_OK },
        { 20, 4, 0x100010, BOOT_ENTRY_OUTSIDE }, /* the entry is 20h */
        { 24, 4, 0xfffff, BOOT_MULTIBOOT_FIELDS },
        { 24, 4, 0x100fff, BOOT_MULTIBOOT_FIELDS }, /* before the end of what is loaded */
        { 24, 4, 0xffffffff, BOOT_SEGMENT_PLACE },
        { 24, 4, MEMORY, BOOT_OK },
        { 28, 4, 0x101000, BOOT_ENTRY_OUTSIDE },
        { 28, 4, 0xfffff, BOOT_ENTRY_OUTSIDE },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_fields(0, 0, 0x100020);
        set(image, row[i].offset, row[i].bytes, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(plan_error(image, 0x1000), row[i].error);
        free(image);
    }
    uint8_t *image = make_fields(0, 0, 0x100000);
    uint8_t *cut = exact_copy(image, 31);
    CHECK_EQ(plan_error(cut, 31), BOOT_MULTIBOOT_FIELDS);
    free(cut);
    free(image);
}

TEST(multiboot_requirements_that_nobody_knows_are_refused)
{
    static const struct {
        uint32_t flags;
        enum boot_error error;
    } row[] = { { 0, BOOT_OK },
                { 1, BOOT_OK },
                { 2, BOOT_OK },
                { 4, BOOT_OK },
                { 8, BOOT_MULTIBOOT_NEEDS },
                { 0x8000, BOOT_MULTIBOOT_NEEDS },
                { 0x20000, BOOT_OK },
                { 0xfffe0000, BOOT_OK } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = elf_make(false, ENTRY);
        set(image, ELF_MULTIBOOT + 4, 4, row[i].flags);
        set(image, ELF_MULTIBOOT + 8, 4, -(0x1badb002u + row[i].flags));
        check_note("flags %x", row[i].flags);
        CHECK_EQ(plan_error(image, ELF_BYTES), row[i].error);
        free(image);
    }
}

TEST(multiboot_header_is_found_at_words_of_the_first_8192_bytes)
{
    static const struct {
        uint64_t at, bytes;
        bool found;
    } row[] = { { 0, 12, true },         { 0, 11, false },     { 2, 0x3000, false },
                { 8180, 0x3000, true },  { 8180, 8192, true }, { 8180, 8191, false },
                { 8184, 0x3000, false }, { 100, 112, true },   { 100, 111, false } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t whole[0x3000] = { 0 };
        uint64_t at;
        set(whole, (unsigned)row[i].at, 4, 0x1badb002), set(whole, (unsigned)row[i].at + 4, 4, 0);
        set(whole, (unsigned)row[i].at + 8, 4, -0x1badb002u);
        uint8_t *image = exact_copy(whole, row[i].bytes);
        check_note("row %zu", i);
        CHECK_EQ(multiboot_find(image, row[i].bytes, &at), row[i].found);
        if (row[i].found)
            CHECK_EQ(at, row[i].at);
        free(image);
    }
}

/* Three modules: two strings, an empty module. */
static const uint8_t modules[] = "UMBRAMOD\3\0\0\0\0\0\0\0"
                                 "\x70\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\x74\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0"
                                 "\x74\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                 "\x77\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\x74\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"
                                 "modua bX";
#define MODULE_FILE (sizeof(modules) - 1)

static void check_told(const struct memory *m, const struct boot_plan *plan)
{
    const uint8_t *info = m->bytes + plan->cpu.gpr[RBX];
    uint64_t map = get(info, 48, 4), list = get(info, 24, 4);
    static const struct {
        const char *text;
        uint64_t bytes;
        char first;
    } module[] = { { "a b", 4, 'm' }, { "", 0, 0 }, { "a", 1, 'X' } };

    CHECK_EQ(plan->cpu.gpr[RAX], 0x2badb002);
    CHECK_EQ(get(info, 0, 4), 1 | 4 | 8 | 64 | 512);
    CHECK_EQ(get(info, 4, 4), 639);
    CHECK_EQ(get(info, 8, 4), MEMORY / 1024 - 1024);
    CHECK_STR_EQ((char *)m->bytes + get(info, 16, 4), "kernel a=1"); /* and no word of ours */
    CHECK_STR_EQ((char *)m->bytes + get(info, 64, 4), "umbra");
    CHECK_EQ(get(info, 44, 4), plan->e820_count * 24);
    for (uint32_t i = 0; i < plan->e820_count; i++) {
        CHECK_EQ(get(m->bytes, map + i * 24, 4), 20);
        CHECK_EQ(get(m->bytes, map + i * 24 + 4, 8), plan->e820[i].start);
        CHECK_EQ(get(m->bytes, map + i * 24 + 12, 8), plan->e820[i].bytes);
        CHECK_EQ(get(m->bytes, map + i * 24 + 20, 4), plan->e820[i].type);
    }
    CHECK_EQ(get(info, 20, 4), 3);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t start = get(m->bytes, list + i * 16, 4), end = get(m->bytes, list + i * 16 + 4, 4);
        check_note("module %u", i);
        CHECK_EQ(start % PAGE_BYTES, 0);
        CHECK_LE(plan->room.start + plan->room.bytes, start);
        CHECK_EQ(end - start, module[i].bytes);
        CHECK_STR_EQ((char *)m->bytes + get(m->bytes, list + i * 16 + 8, 4), module[i].text);
        if (module[i].bytes)
            CHECK_EQ(m->bytes[start], (uint8_t)module[i].first);
    }
}

TEST(multiboot_elf_kernel_lies_where_it_says_and_is_told_everything)
{
    uint8_t *image = elf_make(false, ENTRY);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    struct memory memory;
    struct boot_memory m = make_memory(&memory, MEMORY);
    r.initrd = modules, r.initrd_bytes = MODULE_FILE;
    CHECK_EQ(image_format(image, ELF_BYTES), BOOT_MULTIBOOT);
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    CHECK(image_load(&r, &plan, &m));
    CHECK_EQ(plan.cpu.rip, 0x100010);
    CHECK_EQ(plan.cpu.cr0, 0x11);
    CHECK_EQ(plan.cpu.seg[SEG_CS].attributes, 0xc9b);
    CHECK_EQ(plan.info.start, 0x9000);
    CHECK_MEM_EQ(memory.bytes + 0x100000, image + ELF_TEXT, 0x1000);
    CHECK_MEM_EQ(memory.bytes + 0x200000, image + ELF_TEXT + 0x1000, 0x800);
    CHECK_EQ(memory.bytes[0x101000], 0);
    CHECK_EQ(get(memory.bytes, 0x413, 2), 639);
    check_told(&memory, &plan);
    free_memory(&memory);
    free(image);
}

TEST(multiboot_information_goes_where_the_kernel_leaves_room)
{
    static const struct {
        uint64_t at, bytes, info;
    } row[] = { { 0x9000, 0x800, 0xa000 },
                { 0x1000, 0x9e800, 0x202000 }, /* behind the data, which lies there */
                { 0x8800, 0x801, 0xa000 },
                { 0x8800, 0x800, 0x9000 },
                { 0x10000, 0x8fc00, 0x9000 } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = elf_make(false, 0xc0200000);
        struct image_request r = make_request(image, ELF_BYTES);
        struct boot_plan plan;
        struct memory memory;
        struct boot_memory m = make_memory(&memory, MEMORY);
        set(image, 52 + 12, 4, row[i].at), set(image, 52 + 16, 4, 0x800),
            set(image, 52 + 20, 4, row[i].bytes);
        set(image, 52 + 32 + 20, 4, 0x101800), set(image, 52 + 32 + 12, 4, 0x100000);
        set(image, 52 + 32 + 24, 4, 5);
        r.initrd = modules, r.initrd_bytes = MODULE_FILE;
        check_note("row %zu", i);
        CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
        CHECK_EQ(plan.info.start, row[i].info);
        CHECK(image_load(&r, &plan, &m)); /* writes no byte twice */
        check_told(&memory, &plan);
        free_memory(&memory);
        free(image);
    }
}

TEST(multiboot_modules_that_do_not_fit_or_are_damaged_are_refused)
{
    uint8_t *image = elf_make(false, ENTRY), *file = malloc(20 * MIB);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    memset(file, 1, 20 * MIB); /* no magic: one module */
    r.initrd = file;
    r.initrd_bytes = MEMORY - 0x201000; /* the kernel ends at 200800h */
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    CHECK_EQ(plan.modules, 0x201000);
    r.initrd_bytes++;
    struct boot_result e = image_plan(&r, &plan);
    CHECK_EQ(e.error, BOOT_MODULES_TOO_BIG);
    CHECK_EQ(e.have, MEMORY);
    memcpy(file, modules, 16);
    set(file, 8, 4, 33);
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_MODULES_TOO_MANY);
    set(file, 8, 4, 1);
    set(file, 16, 8, UINT64_MAX);
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_MODULES_DAMAGED);
    set(file, 16, 8, 0), set(file, 24, 8, 0), set(file, 32, 8, 0), set(file, 40, 8, r.initrd_bytes);
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_INFO_TOO_BIG); /* a string of so many bytes */
    free(file);
    free(image);
}

TEST(multiboot_modules_file_at_any_length_reads_nothing_beyond)
{
    uint8_t *image = elf_make(false, ENTRY);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    for (uint64_t n = 0; n < MODULE_FILE; n++) {
        uint8_t *file = exact_copy(modules, n);
        r.initrd = file, r.initrd_bytes = n;
        check_note("%llu bytes", (unsigned long long)n);
        CHECK_EQ(image_plan(&r, &plan).error, n < 8 ? BOOT_OK : BOOT_MODULES_DAMAGED);
        free(file);
    }
    free(image);
}

TEST(multiboot_files_that_claim_anything_never_give_a_bad_plan)
{
    uint64_t s = 88172645463325252ull;
    unsigned good = 0;
    for (int i = 0; i < 30000; i++) {
        bool fields = i % 2;
        uint64_t bytes = fields ? 0x1000 : ELF_BYTES;
        uint8_t *image = fields ? make_fields(0, 0, 0x100020) : elf_make(false, ENTRY);
        struct image_request r = make_request(image, bytes);
        struct boot_plan plan;
        for (unsigned k = 0; k < 1 + random_next(&s) % 3; k++)
            set(image, (unsigned)(fields ? 12 + s % 20 : s % 150), 1 + (s >> 32) % 4, s >> 40);
        r.memory_bytes = 4 * MIB;
        check_note("round %d", i);
        if (image_plan(&r, &plan).error == BOOT_OK) {
            check_plan(&plan, bytes, r.memory_bytes);
            good++;
        }
        free(image);
    }
    CHECK_LT(1000, good);
    CHECK_LT(good, 29000);
}

TEST(multiboot_cut_off_at_any_length_reads_nothing_beyond)
{
    uint8_t *whole = elf_make(false, ENTRY);
    for (uint64_t n = 0; n < ELF_BYTES; n += n < 0x900 ? 1 : 97) {
        uint8_t *image = exact_copy(whole, n);
        check_note("%llu bytes", (unsigned long long)n);
        CHECK(n >= 0x2800 || plan_error(image, n) != BOOT_OK || n <= FLAT_BYTES_MAX);
        free(image);
    }
    free(whole);
}

TEST(multiboot_load_stops_where_memory_refuses)
{
    static const uint64_t places[] = { BOOT_BDA, 0x9000, 0x9020, 0x100000, 0x200000, 0x201000 };
    uint8_t *image = elf_make(false, ENTRY);
    struct image_request r = make_request(image, ELF_BYTES);
    struct boot_plan plan;
    r.initrd = modules, r.initrd_bytes = MODULE_FILE;
    CHECK_EQ(image_plan(&r, &plan).error, BOOT_OK);
    for (int i = 0; i < 6; i++) {
        struct memory memory;
        struct boot_memory m = make_memory(&memory, MEMORY);
        memory.fail_from = places[i];
        check_note("place %d", i);
        CHECK(!image_load(&r, &plan, &m));
        free_memory(&memory);
    }
    free(image);
}
