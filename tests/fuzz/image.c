/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: programs as init reads them (an upgrade brings one over the management channel): raw bytes, or
 * a good file with changed fields.
 *
 * Oracles: nothing is read behind the file; what is accepted lies inside the file and below the limit, in
 * order, nothing over another; its entry may be executed; a page holds what a reading byte by byte says, and
 * nothing is written beside it. */
// USES: servers/init/image.c
#include "support/fuzz.h"

#include "check.h"
#include "servers/init/init.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT   0x10000000ul
#define HEADERS 4u
#define PATCHES 12u

static void make_good(uint8_t *file, size_t n)
{
    struct {
        Elf64_Ehdr h;
        Elf64_Phdr p[HEADERS];
    } f = { .h = { .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_entry = 0x400010,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = HEADERS } };

    memcpy(f.h.e_ident, ELFMAG, SELFMAG);
    f.h.e_ident[EI_CLASS] = ELFCLASS64;
    for (unsigned i = 0; i < HEADERS; i++)
        f.p[i] = (Elf64_Phdr){ .p_type = PT_LOAD,
                               .p_flags = i ? PF_R | PF_W : PF_R | PF_X,
                               .p_offset = i * 0x100,
                               .p_vaddr = 0x400000 + i * 0x1100,
                               .p_filesz = 0x100,
                               .p_memsz = i == 3 ? 0x2000 : 0x1000 };
    memcpy(file, &f, n < sizeof(f) ? n : sizeof(f));
}

static void check_segments(const uint8_t *file, size_t bytes, const struct image_segment *s, unsigned n)
{
    CHECK_LE(n, IMAGE_SEGMENTS_MAX);
    for (unsigned i = 0; i < n; i++) {
        CHECK(s[i].address >= PAGE_BYTES && s[i].address < LIMIT &&
              s[i].memory_bytes <= LIMIT - s[i].address);
        CHECK(s[i].file_bytes <= s[i].memory_bytes && s[i].data >= file);
        CHECK((size_t)(s[i].data - file) <= bytes && s[i].file_bytes <= bytes - (size_t)(s[i].data - file));
        CHECK(!(s[i].rights & ~(unsigned)(RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC)));
        CHECK(!i || s[i].address >= s[i - 1].address + s[i - 1].memory_bytes);
    }
}

static void check_page(const struct image_segment *s, unsigned n, uint64_t page)
{
    uint8_t *to = calloc(1, PAGE_BYTES); /* exactly: the sanitizer sees each byte beside it */
    unsigned rights = 0;

    image_page_fill(s, n, page, to);
    for (unsigned at = 0; at < PAGE_BYTES; at++) {
        uint8_t byte = 0;
        for (unsigned i = 0; i < n; i++) {
            uint64_t offset = page + at - s[i].address;
            if (page + at < s[i].address || offset >= s[i].memory_bytes)
                continue;
            rights |= s[i].rights;
            byte = offset < s[i].file_bytes ? s[i].data[offset] : 0;
        }
        CHECK_EQ(to[at], byte);
    }
    CHECK_EQ(image_page_rights(s, n, page), rights);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input in = { bytes, bytes + size };
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
    uint8_t how = fuzz_byte(&in);
    size_t n = how & 1 ? fuzz_left(&in) : 8 * fuzz_below(&in, 256);
    uint8_t *file = aligned_alloc(8, (n + 7) & ~(size_t)7);
    uint64_t entry;
    unsigned count;

    file = realloc(file, n ? n : 1);
    if (how & 1) {
        fuzz_bytes(&in, file, n);
    } else {
        for (size_t i = 0; i < n; i++)
            file[i] = (uint8_t)(i * 7 + i / 256);
        make_good(file, n);
    }
    for (unsigned i = 0; i < PATCHES && fuzz_left(&in) && n >= 8; i++) {
        size_t at = fuzz_below(&in, n - 7) & ~(size_t)3;
        uint64_t value = fuzz_value(&in);
        memcpy(file + at, &value, how & 2 ? 4 : at % 8 ? 2 : 8);
    }
    const char *wrong = image_read(file, n, LIMIT, segments, &count, &entry);
    check_segments(file, n, segments, count);
    if (!wrong) {
        CHECK(image_page_rights(segments, count, entry & ~(PAGE_BYTES - 1)) & RIGHT_EXEC);
        for (unsigned i = 0; i < count; i++) {
            check_page(segments, count, segments[i].address & ~(PAGE_BYTES - 1));
            check_page(segments, count, (segments[i].address + segments[i].memory_bytes) & ~(PAGE_BYTES - 1));
        }
    }
    free(file);
    return 0;
}
