/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: kernel images and module files of every format, as raw bytes or as good files with changed
 * fields.
 *
 * Oracles: planning and loading read nothing behind the file; a plan, once accepted, writes inside guest
 * memory only, no byte twice, the same each time, and what it writes of the file lies in the file; it fails
 * only where memory refuses; planning reads no more of a bzImage than its header. */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S
#include "support/fuzz.h"

#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/image.h"
#include "servers/vmm/boot/modules.h"
#include "tests/host/boot/elf_make.h"

#include <sanitizer/asan_interface.h>

#define WRITES_MAX 512u
#define BZ_BYTES   (5 * 512 + 0x400u)

/* ---- a guest's memory: only where it was written is kept ---- */

static struct {
    struct boot_piece piece[WRITES_MAX];
    unsigned count, refuse_at; /* the write that memory refuses */
    uint64_t bytes, sum;       /* memory's size; of what was written */
} memory;

static bool take_write(void *context, gpa_t to, const void *bytes, uint64_t n)
{
    (void)context;
    CHECK(to.v <= memory.bytes && n <= memory.bytes - to.v);
    CHECK(!n || !__asan_region_is_poisoned((void *)(uintptr_t)bytes, n));
    if (memory.count == memory.refuse_at)
        return false;
    for (unsigned i = 0; i < memory.count && n; i++) {
        const struct boot_piece *p = &memory.piece[i];
        CHECK(to.v >= p->start + p->bytes || p->start >= to.v + n);
    }
    CHECK_LT(memory.count, WRITES_MAX);
    memory.piece[memory.count++] = (struct boot_piece){ to.v, n };
    for (uint64_t i = 0; i < n; i += 1 + n / 64)
        memory.sum = (memory.sum ^ ((const uint8_t *)bytes)[i] ^ to.v) * 0x100000001b3ull;
    return true;
}

static bool load(const struct image_request *r, const struct boot_plan *plan, unsigned refuse_at,
                 uint64_t *sum)
{
    const struct boot_memory m = { take_write, NULL };
    memory.count = 0;
    memory.sum = 0;
    memory.bytes = r->memory_bytes;
    memory.refuse_at = refuse_at;
    bool good = image_load(r, plan, &m);
    *sum = memory.sum;
    return good;
}

/* ---- files ---- */

static uint8_t *make_bzimage(void)
{
    uint8_t *p = malloc(BZ_BYTES);
    for (unsigned i = 0; i < BZ_BYTES; i++)
        p[i] = (uint8_t)(i * 7 + i / 256);
    memset(p + 0x1f1, 0, 0x290 - 0x1f1);
    set(p, 0x1f1, 1, 4), set(p, 0x1f4, 4, 0x40), set(p, 0x1fe, 2, 0xaa55), set(p, 0x200, 2, 0x6aeb);
    set(p, 0x202, 4, 0x53726448), set(p, 0x206, 2, 0x020f), set(p, 0x211, 1, 1), set(p, 0x214, 4, 0x100000);
    set(p, 0x22c, 4, 0x7fffffff), set(p, 0x230, 4, 0x200000), set(p, 0x234, 1, 1), set(p, 0x236, 2, 0x7f);
    set(p, 0x238, 4, 2047), set(p, 0x258, 8, 2 * MIB), set(p, 0x260, 4, 2 * MIB), set(p, 0x1fa, 2, 0xffff);
    return p;
}

static uint8_t *make_fields(void)
{
    const uint32_t words[8] = { 0x1badb002, 0x10003, -(0x1badb002u + 0x10003), 0x100000, 0x100000, 0x100800,
                                0x101000,   0x100040 };
    uint8_t *p = malloc(0x1000);
    for (unsigned i = 0; i < 0x1000; i++)
        p[i] = (uint8_t)(i * 3 + 1);
    memcpy(p, words, sizeof(words));
    return p;
}

static uint8_t *make_file(unsigned kind, uint64_t *bytes)
{
    switch (kind) {
    case 0:
        *bytes = ELF_BYTES;
        return elf_make(true, 0xc0100010);
    case 1:
        *bytes = ELF_BYTES;
        return elf_make(false, 0xc0100010);
    case 2:
        *bytes = BZ_BYTES;
        return make_bzimage();
    default:
        *bytes = 0x1000;
        return make_fields();
    }
}

/* Fields that tell something lie at the beginning, but for notes. */
static void change_fields(struct fuzz_input *in, uint8_t *file, uint64_t bytes)
{
    for (unsigned n = 0; n < 32 && fuzz_left(in) > 2; n++) {
        uint64_t at = fuzz_number(in, 2), width = 1ull << (at >> 14);
        at = at & 0x2000 ? at & 0xfff : at & 0x3ff;
        if (at + width <= bytes)
            set(file, (unsigned)at, (unsigned)width, fuzz_value(in));
    }
}

static void mend_multiboot(uint8_t *file, uint64_t bytes)
{
    for (uint64_t at = 0; at + 12 <= bytes && at < 8192; at += 4)
        if (get(file, at, 4) == 0x1badb002)
            set(file, (unsigned)at + 8, 4, 0 - (0x1badb002 + get(file, at + 4, 4)));
}

/* ---- the checks ---- */

static void check_pieces(const struct boot_plan *plan, const struct image_request *r)
{
    const struct boot_piece *piece[] = { &plan->kernel, &plan->initrd, &plan->cmdline, &plan->setup,
                                         &plan->info };

    for (unsigned i = 0; i < sizeof(piece) / sizeof(piece[0]); i++)
        CHECK(piece[i]->start <= r->memory_bytes && piece[i]->bytes <= r->memory_bytes - piece[i]->start);
    CHECK(plan->segments <= BOOT_SEGMENTS_MAX && plan->e820_count <= BOOT_E820_MAX);
    CHECK_EQ(plan->memory_bytes, r->memory_bytes);
    if (plan->format == BOOT_PVH || plan->format == BOOT_MULTIBOOT)
        check_plan(plan, r->image_bytes, r->memory_bytes);
}

static void check_loading(const struct image_request *r, const struct boot_plan *plan, unsigned refuse_at)
{
    uint64_t sum, again;

    CHECK(load(r, plan, WRITES_MAX, &sum));
    unsigned writes = memory.count;
    CHECK(load(r, plan, WRITES_MAX, &again));
    CHECK_EQ(sum, again);
    CHECK_EQ(load(r, plan, refuse_at % (writes + 1), &again), refuse_at % (writes + 1) == writes);
}

/* Planning a bzImage reads its header only. */
static void check_header_only(const struct image_request *r, const struct boot_result *found)
{
    uint64_t there = r->image_bytes < BZIMAGE_HEADER_BYTES ? r->image_bytes : BZIMAGE_HEADER_BYTES;
    struct boot_plan plan;
    uint8_t *header = exact_copy(r->image, there);
    struct bzimage_request bz = { .image = header,
                                  .image_bytes = r->image_bytes,
                                  .initrd_bytes = r->initrd_bytes,
                                  .cmdline = r->cmdline,
                                  .memory_bytes = r->memory_bytes,
                                  .tsc_khz = r->tsc_khz };
    CHECK_EQ(bzimage_plan(&bz, &plan).error, found->error);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const uint64_t sizes[8] = { 16 * MIB,      4 * MIB,        8 * MIB,     64 * MIB,
                                       3 * MIB << 10, 4 * MIB + 4096, 0 - 4096ull, 4 * MIB - 4096 };
    static char line[4200];
    struct fuzz_input in = { bytes, bytes + n };
    uint8_t how = fuzz_byte(&in), more = fuzz_byte(&in), refuse_at = fuzz_byte(&in);
    struct image_request r = { .memory_bytes = sizes[more & 7],
                               .tsc_khz = more & 8 ? 2000000 : 0,
                               .cmdline = line };
    struct boot_plan plan;

    unsigned text = more & 0x10 ? (unsigned)fuzz_number(&in, 2) % (sizeof(line) - 1) : 5;
    memset(line, 'a', text);
    line[text] = 0;
    unsigned modules = more & 0x20 ? fuzz_byte(&in) : 0;
    uint8_t *initrd = malloc(modules ? modules : 1);
    fuzz_bytes(&in, initrd, modules);
    if (modules >= 16 && more & 0x40)
        memcpy(initrd, MODULES_MAGIC, 8);
    r.initrd = initrd;
    r.initrd_bytes = modules;
    uint64_t size = fuzz_left(&in);
    uint8_t *file = how & 4 ? exact_copy(in.at, size) : make_file(how & 3, &size);
    if (!(how & 4))
        change_fields(&in, file, size);
    if (how & 8)
        mend_multiboot(file, size);
    if (how & 0x10) /* cut off */
        size = size * (how >> 5) / 8;
    uint8_t *image = exact_copy(file, size);
    free(file);
    r.image = image;
    r.image_bytes = size;
    struct boot_result found = image_plan(&r, &plan);
    CHECK_LT(found.error, BOOT_ERRORS);
    check_note("format %u error %u", image_format(image, size), found.error);
    if (image_format(image, size) == BOOT_BZIMAGE)
        check_header_only(&r, &found);
    if (found.error == BOOT_OK) {
        check_pieces(&plan, &r);
        check_loading(&r, &plan, refuse_at);
    }
    free(image);
    free(initrd);
    return 0;
}
