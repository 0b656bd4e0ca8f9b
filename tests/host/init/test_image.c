/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/image.c
/* ELF files as init reads them: every refusal, and what the pages hold. */
#include "check.h"
#include "servers/init/init.h"
#include <elf.h>
#include <string.h>

#define LIMIT      0x10000000ul
#define FILE_BYTES 0x3000u

struct file {
    Elf64_Ehdr h;
    Elf64_Phdr p[4];
    uint8_t rest[FILE_BYTES - sizeof(Elf64_Ehdr) - 4 * sizeof(Elf64_Phdr)];
};

static struct image_segment segments[IMAGE_SEGMENTS_MAX];
static unsigned n;
static uint64_t entry;

/* Text at 400000h, data that begins in the page where read-only data ends. */
static struct file good(void)
{
    struct file f = { .h = { .e_type = ET_EXEC,
                             .e_machine = EM_X86_64,
                             .e_entry = 0x400010,
                             .e_phoff = sizeof(Elf64_Ehdr),
                             .e_phentsize = sizeof(Elf64_Phdr),
                             .e_phnum = 3 } };
    memcpy(f.h.e_ident, ELFMAG, SELFMAG);
    f.h.e_ident[EI_CLASS] = ELFCLASS64;
    f.p[0] = (Elf64_Phdr){ PT_LOAD, PF_R | PF_X, 0, 0x400000, 0, 0x1000, 0x1000, 0x1000 };
    f.p[1] = (Elf64_Phdr){ PT_LOAD, PF_R, 0x1000, 0x401000, 0, 0x800, 0x800, 0x1000 };
    f.p[2] = (Elf64_Phdr){ PT_LOAD, PF_R | PF_W, 0x1800, 0x401800, 0, 0x100, 0x1800, 0x1000 };
    memset((uint8_t *)&f + 0x1000, 0x11, 0x800);
    memset((uint8_t *)&f + 0x1800, 0x22, 0x1000);
    return f;
}

static const char *read_file(const struct file *f, uint64_t bytes)
{
    return image_read((const uint8_t *)f, bytes, LIMIT, segments, &n, &entry);
}

TEST(image_good_file_is_read)
{
    struct file f = good();
    uint8_t page[PAGE_BYTES] = { 0 };

    CHECK(read_file(&f, sizeof(f)) == NULL);
    CHECK_EQ(n, 3);
    CHECK_EQ(entry, 0x400010);
    CHECK_EQ(image_page_rights(segments, n, 0x400000), RIGHT_READ | RIGHT_EXEC);
    CHECK_EQ(image_page_rights(segments, n, 0x401000), RIGHT_READ | RIGHT_WRITE);
    CHECK_EQ(image_page_rights(segments, n, 0x402000), RIGHT_READ | RIGHT_WRITE);
    CHECK_EQ(image_page_rights(segments, n, 0x403000), 0);
    image_page_fill(segments, n, 0x401000, page);
    CHECK_EQ(page[0x7ff], 0x11);
    CHECK_EQ(page[0x800], 0x22);
    CHECK_EQ(page[0x8ff], 0x22);
    CHECK_EQ(page[0x900], 0); /* .bss, whatever the file has there */
}

TEST(image_each_refusal_names_its_cause)
{
    struct file f = good();

    CHECK_STR_EQ(read_file(&f, 10), "it is no ELF file");
    f.h.e_ident[0] = 'x';
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "it is no ELF file");
    f = good();
    f.h.e_machine = EM_AARCH64;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "it is not for x86-64");
    f = good();
    f.h.e_type = ET_DYN;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "it is not a static executable");
    f = good();
    f.h.e_phnum = 0xffff;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "its program headers lie outside the file");
    f.h.e_phnum = 3;
    f.h.e_phoff = ~7ul;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "its program headers lie outside the file");
    f = good();
    f.p[2].p_filesz = 0x4000;
    f.p[2].p_memsz = 0x5000;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the file");
    f = good();
    f.p[2].p_memsz = f.p[2].p_filesz - 1;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the file");
    f = good();
    f.p[2].p_offset = ~0ul;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the file");
    f = good();
    f.p[2].p_memsz = LIMIT;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the address space for images");
    f.p[2].p_memsz = -f.p[2].p_vaddr; /* an end that wraps */
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the address space for images");
    f = good();
    f.p[0].p_vaddr = 0;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "a segment lies outside the address space for images");
    f = good();
    f.p[1].p_vaddr = 0x400800;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "its segments overlap");
    f = good();
    f.h.e_entry = 0x401000;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "its entry is not in it");
    f = good();
    f.p[3] = (Elf64_Phdr){ .p_type = PT_INTERP };
    f.h.e_phnum = 4;
    CHECK_STR_EQ(read_file(&f, sizeof(f)), "it is linked dynamically");
}

/* Whatever the headers say, reading it stays in the file and in the page. */
TEST(image_random_headers_are_refused_or_safe)
{
    uint32_t x = 3, read = 0;

    for (unsigned round = 0; round < 20000; round++) {
        struct file f = good();
        uint8_t *bytes = (uint8_t *)&f;
        for (unsigned i = 0; i < 2; i++) {
            x = x * 1103515245 + 12345;
            bytes[(x >> 8) % (sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr))] = (uint8_t)(x >> 24);
        }
        if (read_file(&f, sizeof(f)))
            continue;
        read++;
        for (unsigned i = 0; i < n; i++) {
            uint8_t page[PAGE_BYTES];
            image_page_fill(segments, n, segments[i].address & ~(PAGE_BYTES - 1), page);
        }
    }
    CHECK_LT(100, read);
}
