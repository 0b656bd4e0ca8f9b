/* SPDX-License-Identifier: BSD-2-Clause */
/* bzImages that are entered in real mode: which are, where their setup code lies, what it is told; and the
 * BIOS that it finds, run in the emulator. */
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c servers/vmm/x86/*.c
#include "rig.h"
#include "servers/vmm/boot/bios.h"
#include "servers/vmm/boot/realmode.h"
#include "servers/vmm/dev/bus.h"
#include "servers/vmm/x86/emulate.h"

#define MEMORY       (24 * MIB)
#define SYSTEM_BYTES 0x1000u

/* A kernel of an old protocol: setup code of so many sectors behind the first. */
static uint8_t *make_image(unsigned sectors, uint16_t version)
{
    unsigned bytes = (sectors + 1) * 512 + SYSTEM_BYTES;
    uint8_t *p = malloc(bytes);
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(i * 7 + i / 256);
    memset(p + 0x1f1, 0, 0x290 - 0x1f1);
    set(p, 0x1f1, 1, sectors), set(p, 0x1f4, 4, SYSTEM_BYTES / 16), set(p, 0x1fe, 2, 0xaa55);
    set(p, 0x202, 4, 0x53726448), set(p, 0x206, 2, version), set(p, 0x211, 1, 1);
    set(p, 0x214, 4, 0x100000), set(p, 0x22c, 4, 0x37ffffff), set(p, 0x238, 4, 300);
    set(p, 0x258, 8, 4 * MIB), set(p, 0x260, 4, 8 * MIB);
    return p;
}

static struct bzimage_request make_request(const uint8_t *image, unsigned sectors)
{
    return (struct bzimage_request){ .image = image,
                                     .image_bytes = (sectors + 1) * 512 + SYSTEM_BYTES,
                                     .initrd_bytes = 5000,
                                     .cmdline = "a=1",
                                     .memory_bytes = MEMORY };
}

TEST(realmode_is_entered_by_kernels_that_claim_no_other_entry)
{
    static const struct {
        uint16_t version, xloadflags;
        bool real;
    } row[] = { { 0x0202, 0x7f, true }, { 0x020b, 0x7f, true }, { 0x020c, 0, true },
                { 0x020f, 0, true },    { 0x020c, 2, false },   { 0x020c, 1, false } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image(4, row[i].version);
        struct bzimage_request r = make_request(image, 4);
        struct boot_plan plan;
        set(image, 0x236, 2, row[i].xloadflags);
        set(image, 0x230, 4, 0x1000), set(image, 0x201, 1, 0x66);
        check_note("row %zu", i);
        CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
        CHECK_EQ(plan.format == BOOT_BZIMAGE_REAL, row[i].real);
        CHECK_EQ(!(plan.cpu.cr0 & 1), row[i].real);
        free(image);
    }
}

TEST(realmode_old_headers_are_read_as_far_as_their_version_goes)
{
    static const struct {
        uint16_t version;
        uint64_t initrd_end, most, room;
    } row[] = { { 0x0202, MEMORY, 255, SYSTEM_BYTES },
                { 0x0203, 16 * MIB, 255, SYSTEM_BYTES },
                { 0x0206, 16 * MIB, 300, SYSTEM_BYTES },
                { 0x020a, 16 * MIB, 300, 11 * MIB } }; /* it will run at 4 MiB */
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        uint8_t *image = make_image(4, row[i].version);
        struct bzimage_request r = make_request(image, 4);
        struct boot_plan plan;
        char line[400];
        set(image, 0x22c, 4, 16 * MIB - 1);
        memset(line, 'x', sizeof(line));
        line[row[i].most] = 0;
        r.cmdline = line;
        check_note("row %zu", i);
        CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
        CHECK_EQ(plan.initrd.start + 8192, row[i].initrd_end);
        CHECK_EQ(plan.room.bytes, row[i].room);
        line[row[i].most] = 'x', line[row[i].most + 1] = 0;
        CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_CMDLINE_TOO_LONG);
        free(image);
    }
}

TEST(realmode_setup_code_is_limited)
{
    struct boot_plan plan;
    uint8_t *image = make_image(119, 0x203);
    struct bzimage_request r = make_request(image, 119);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    free(image);
    image = make_image(120, 0x203);
    r = make_request(image, 120);
    struct boot_result e = bzimage_plan(&r, &plan);
    CHECK_EQ(e.error, BOOT_SETUP_TOO_BIG);
    CHECK_EQ(e.have, 121 * 512);
    CHECK_EQ(e.need, 120 * 512);
    free(image);
}

TEST(realmode_random_headers_never_give_a_bad_plan)
{
    uint64_t s = 88172645463325252ull;
    for (int i = 0; i < 20000; i++) {
        uint8_t *image = make_image(4, (uint16_t)(0x202 + i % 12));
        struct bzimage_request r = make_request(image, 4);
        struct boot_plan plan;
        for (int k = 0; k < 3; k++) {
            unsigned at = 0x1f1 + random_next(&s) % (0x290 - 0x1f1);
            if (at < 0x1fe || at >= 0x208)
                image[at] = (uint8_t)(s >> 32);
        }
        check_note("round %d", i);
        if (bzimage_plan(&r, &plan).error == BOOT_OK) {
            CHECK_LE(plan.room.start + plan.room.bytes, r.memory_bytes);
            CHECK_LE(plan.kernel.start + plan.kernel.bytes, plan.room.start + plan.room.bytes);
            CHECK_LE(plan.initrd.start + plan.initrd.bytes, r.memory_bytes);
            CHECK_LE(plan.setup.bytes, REALMODE_SETUP_MAX);
            CHECK_LE(plan.setup.bytes + plan.kernel.bytes, r.image_bytes);
        }
        free(image);
    }
}

/* ---- a loaded machine, and its processor ---- */

struct pc {
    struct memory memory;
    struct boot_plan plan;
    struct machine devices;
    struct x86_cpu cpu;
    unsigned rom_writes;
};

static enum x86_bus_result pc_read(void *ctx, uint64_t linear, unsigned size, void *data, unsigned access,
                                   struct x86_fault *fault)
{
    struct pc *p = ctx;
    (void)access, (void)fault;
    CHECK_LE(linear + size, MIB);
    memcpy(data, p->memory.bytes + linear, size);
    return X86_BUS_OK;
}

static enum x86_bus_result pc_fetch(void *ctx, uint64_t linear, uint8_t *bytes, unsigned size,
                                    unsigned access, struct x86_fault *fault)
{
    return pc_read(ctx, linear, size, bytes, access, fault);
}

static enum x86_bus_result pc_write(void *ctx, uint64_t linear, unsigned size, const void *data,
                                    unsigned access, struct x86_fault *fault)
{
    struct pc *p = ctx;
    (void)access, (void)fault;
    CHECK_LE(linear + size, MIB);
    p->rom_writes += linear + size > BIOS_START;
    memcpy(p->memory.bytes + linear, data, size);
    return X86_BUS_OK;
}

static enum x86_bus_result pc_probe(void *ctx, uint64_t linear, unsigned size, unsigned access,
                                    struct x86_fault *fault)
{
    (void)ctx, (void)access, (void)fault;
    CHECK_LE(linear + size, MIB);
    return X86_BUS_OK;
}

static enum x86_bus_result pc_in(void *ctx, uint16_t port, unsigned size, uint32_t *value)
{
    struct pc *p = ctx;
    *value = machine_in(&p->devices, NULL, 0, port, size);
    return X86_BUS_OK;
}

static enum x86_bus_result pc_out(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
    struct pc *p = ctx;
    machine_out(&p->devices, NULL, 0, port, size, value);
    return X86_BUS_OK;
}

static const struct x86_bus pc_bus = { .rep_limit = 64,
                                       .fetch = pc_fetch,
                                       .read = pc_read,
                                       .write = pc_write,
                                       .probe = pc_probe,
                                       .in = pc_in,
                                       .out = pc_out };

/* Until HLT, or CS is the one given. */
static void pc_run(struct pc *p, uint16_t until_cs)
{
    struct x86_outcome out;
    for (unsigned i = 0; i < 10000; i++) {
        if (p->cpu.seg[SEG_CS].selector == until_cs)
            return;
        enum x86_result r = x86_step(&p->cpu, &pc_bus, p, &out);
        if (r == X86_HALT)
            return;
        check_note("cs:ip %x:%llx", p->cpu.seg[SEG_CS].selector, (unsigned long long)p->cpu.rip);
        CHECK_EQ(r, X86_DONE);
    }
    FAIL("no end");
}

static struct pc *pc_new(uint64_t memory_bytes, unsigned sectors)
{
    static const struct machine_config config = { .hz = 1000000000 };
    struct pc *p = calloc(1, sizeof(*p));
    uint8_t *image = make_image(sectors, 0x203);
    struct bzimage_request r = make_request(image, sectors);
    struct boot_memory m = make_memory(&p->memory, memory_bytes);
    r.memory_bytes = memory_bytes;
    r.initrd_bytes = 0;
    CHECK_EQ(bzimage_plan(&r, &p->plan).error, BOOT_OK);
    CHECK(bzimage_load(&r, &p->plan, &m));
    CHECK(machine_init(&p->devices, &config, 0));
    p->cpu = (struct x86_cpu){ .rip = p->plan.cpu.rip, .rflags = 2, .cr0 = p->plan.cpu.cr0 };
    for (unsigned i = 0; i < SEGS; i++)
        p->cpu.seg[i] = p->plan.cpu.seg[i];
    free(image);
    return p;
}

static void pc_free(struct pc *p)
{
    CHECK_EQ(p->rom_writes, 0);
    free_memory(&p->memory);
    free(p);
}

/* INT n from 8000h, with a stack below; carry is set before. */
static void pc_int(struct pc *p, uint8_t n)
{
    const uint8_t code[] = { 0xcd, n, 0xf4 };
    memcpy(p->memory.bytes + 0x8000, code, sizeof(code));
    for (unsigned i = 0; i < SEGS; i++)
        p->cpu.seg[i].selector = 0, p->cpu.seg[i].base = 0;
    p->cpu.rip = 0x8000;
    p->cpu.gpr[RSP] = 0x7000;
    p->cpu.rflags = 2 | X86_FLAG_CF;
    pc_run(p, 0xdead);
    CHECK_EQ(p->cpu.rip, 0x8002);
    CHECK_EQ(p->cpu.gpr[RSP], 0x7000);
}

static struct pc *pc_call(struct pc *p, uint8_t n, uint64_t rax)
{
    p->cpu.gpr[RAX] = rax;
    pc_int(p, n);
    return p;
}

static bool carry(const struct pc *p)
{
    return p->cpu.rflags & X86_FLAG_CF;
}

TEST(realmode_setup_code_lies_where_the_protocol_says_and_is_told)
{
    uint8_t *image = make_image(100, 0x203);
    struct bzimage_request r = make_request(image, 100);
    struct boot_plan plan;
    struct memory memory;
    struct boot_memory m = make_memory(&memory, MEMORY);
    CHECK_EQ(bzimage_plan(&r, &plan).error, BOOT_OK);
    CHECK(bzimage_load(&r, &plan, &m));
    uint8_t *setup = memory.bytes + 0x10000;
    CHECK_MEM_EQ(setup, image, 0x1f1);
    CHECK_MEM_EQ(setup + 0x290, image + 0x290, 101 * 512 - 0x290);
    CHECK_MEM_EQ(memory.bytes + MIB, image + 101 * 512, SYSTEM_BYTES);
    CHECK_EQ(setup[0x210], 0xff);
    CHECK_EQ(setup[0x211], 0x81); /* there is a heap */
    CHECK_EQ(get(setup, 0x214, 4), 0x100000);
    CHECK_EQ(get(setup, 0x218, 4), plan.initrd.start);
    CHECK_EQ(get(setup, 0x21c, 4), 5000);
    CHECK_EQ(get(setup, 0x224, 2), 0xfe00);
    CHECK_STR_EQ((char *)memory.bytes + get(setup, 0x228, 4), "a=1");
    free_memory(&memory);
    free(image);
}

TEST(bios_enters_the_setup_code_with_a_machine_that_is_set_up)
{
    struct pc *p = pc_new(MEMORY, 4);
    pc_run(p, 0x1020);
    CHECK_EQ(p->cpu.rip, 0);
    CHECK_EQ(p->cpu.gpr[RSP], 0xfff0);
    CHECK(!(p->cpu.rflags & X86_FLAG_IF));
    static const enum segment all[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS };
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(p->cpu.seg[all[i]].selector, 0x1000);
    CHECK_EQ(machine_in(&p->devices, NULL, 0, 0x21, 1), 0xfa);
    CHECK_EQ(machine_in(&p->devices, NULL, 0, 0xa1, 1), 0xff);
    CHECK_EQ(machine_in(&p->devices, NULL, 0, 0x3fb, 1), 3);
    pc_free(p);
}

TEST(bios_memory_map_is_the_plans)
{
    struct pc *p = pc_new(MEMORY, 4);
    p->cpu.gpr[RBX] = 0;
    for (uint32_t i = 0; i < p->plan.e820_count; i++) {
        p->cpu.gpr[RDX] = 0x534d4150;
        p->cpu.gpr[RCX] = 24;
        p->cpu.gpr[RDI] = 0x9000, p->cpu.gpr[RSI] = 0x77;
        pc_call(p, 0x15, 0xe820);
        check_note("entry %u", i);
        CHECK(!carry(p));
        CHECK_EQ(p->cpu.gpr[RAX], 0x534d4150);
        CHECK_EQ(p->cpu.gpr[RCX], 20);
        CHECK_EQ(p->cpu.gpr[RDI], 0x9000);
        CHECK_EQ(p->cpu.gpr[RSI], 0x77);
        CHECK_EQ(get(p->memory.bytes, 0x9000, 8), p->plan.e820[i].start);
        CHECK_EQ(get(p->memory.bytes, 0x9008, 8), p->plan.e820[i].bytes);
        CHECK_EQ(get(p->memory.bytes, 0x9010, 4), p->plan.e820[i].type);
        CHECK_EQ(!p->cpu.gpr[RBX], i + 1 == p->plan.e820_count);
    }
    pc_free(p);
}

TEST(bios_memory_map_refuses_what_it_does_not_know)
{
    static const struct {
        uint32_t edx, ecx, ebx;
    } row[] = { { 0x534d4151, 20, 0 },
                { 0x534d4150, 19, 0 },
                { 0x534d4150, 20, 61 },
                { 0x534d4150, 20, 0xffffffff },
                { 0x534d4150, 20, 80 } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct pc *p = pc_new(MEMORY, 4);
        p->cpu.gpr[RDX] = row[i].edx, p->cpu.gpr[RCX] = row[i].ecx, p->cpu.gpr[RBX] = row[i].ebx;
        p->cpu.gpr[RDI] = 0x9000;
        pc_call(p, 0x15, 0xe820);
        check_note("row %u", i);
        CHECK(carry(p));
        CHECK_EQ(p->cpu.gpr[RAX] >> 8 & 0xff, 0x86);
        CHECK_EQ(get(p->memory.bytes, 0x9000, 8), 0);
        pc_free(p);
    }
}

TEST(bios_memory_sizes)
{
    static const struct {
        uint64_t mib, extended, below_16m, above_16m;
    } row[] = { { 8, 7 << 10, 7 << 10, 0 },      { 16, 15 << 10, 0x3c00, 0 },
                { 17, 16 << 10, 0x3c00, 16 },    { 64, 63 << 10, 0x3c00, 48 * 16 },
                { 65, 0xffff, 0x3c00, 49 * 16 }, { 3072, 0xffff, 0x3c00, 3056 * 16 } };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct pc *p = pc_new(row[i].mib * MIB, 4);
        check_note("%llu MiB", (unsigned long long)row[i].mib);
        CHECK(!carry(pc_call(p, 0x15, 0x8800)));
        CHECK_EQ(p->cpu.gpr[RAX], row[i].extended);
        CHECK(!carry(pc_call(p, 0x15, 0xe801)));
        CHECK_EQ(p->cpu.gpr[RAX], row[i].below_16m);
        CHECK_EQ(p->cpu.gpr[RBX] & 0xffff, row[i].above_16m);
        CHECK_EQ(p->cpu.gpr[RCX] & 0xffff, row[i].below_16m);
        CHECK_EQ(p->cpu.gpr[RDX] & 0xffff, row[i].above_16m);
        CHECK_EQ(pc_call(p, 0x12, 0)->cpu.gpr[RAX], 639);
        CHECK_EQ(pc_call(p, 0x11, 0)->cpu.gpr[RAX], 0x222);
        pc_free(p);
    }
}

TEST(bios_functions_and_their_carry)
{
    static const struct {
        uint8_t vector;
        uint16_t ax, ax_after;
        bool carry;
    } row[] = {
        { 0x15, 0x2400, 0x0000, false }, { 0x15, 0x2401, 0x0001, false }, { 0x15, 0x2402, 0x0001, false },
        { 0x15, 0x2403, 0x0003, false }, { 0x15, 0x2404, 0x8604, true },  { 0x15, 0xec00, 0x8600, true },
        { 0x15, 0x5300, 0x8600, true },  { 0x13, 0x0201, 0x0101, true },  { 0x13, 0x4100, 0x0100, true },
        { 0x1a, 0x0012, 0x0000, false }, { 0x1a, 0x0200, 0x8600, true },  { 0x10, 0x0f00, 0x5003, true },
        { 0x10, 0x1a00, 0x1a00, true },  { 0x16, 0x0200, 0x0000, true },  { 0x16, 0x0305, 0x0305, true },
        { 0x42, 0x1234, 0x1234, true }
    }; /* true: nobody changed it */
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct pc *p = pc_new(MEMORY, 4);
        pc_call(p, row[i].vector, row[i].ax);
        check_note("row %u", i);
        CHECK_EQ(p->cpu.gpr[RAX], row[i].ax_after);
        CHECK_EQ(carry(p), row[i].carry);
        pc_free(p);
    }
}

TEST(bios_every_vector_returns_with_all_other_registers)
{
    for (unsigned n = 0; n < 256; n++) {
        struct pc *p = pc_new(MEMORY, 4);
        if (n == 0x18 || n == 0x19) {
            pc_free(p);
            continue;
        }
        for (unsigned i = 0; i < GPRS; i++)
            p->cpu.gpr[i] = 0x1000 + i;
        pc_call(p, (uint8_t)n, 0xff00);
        check_note("vector %x", n);
        for (unsigned i = 0; i < GPRS; i++)
            if (i != RAX && i != RSP)
                CHECK_EQ(p->cpu.gpr[i], 0x1000 + i);
        pc_free(p);
    }
}

TEST(bios_teletype_goes_to_the_serial_port)
{
    struct pc *p = pc_new(MEMORY, 4);
    uint8_t seen[8];
    pc_run(p, 0x1020);
    for (const char *c = "hi\r\n"; *c; c++)
        CHECK_EQ(pc_call(p, 0x10, 0x0e00 | (uint8_t)*c)->cpu.gpr[RAX], 0x0e00 | (uint8_t)*c);
    CHECK_EQ(machine_take(&p->devices, NULL, 0, seen, sizeof(seen)), 4);
    CHECK_MEM_EQ(seen, "hi\r\n", 4);
    pc_free(p);
}

TEST(bios_key_stays_until_it_is_taken)
{
    struct pc *p = pc_new(MEMORY, 4);
    pc_run(p, 0x1020);
    pc_call(p, 0x16, 0x0100);
    CHECK(p->cpu.rflags & X86_FLAG_ZF);
    CHECK_EQ(machine_give(&p->devices, NULL, 0, (const uint8_t *)"a", 1), 1);
    for (int i = 0; i < 2; i++) {
        pc_call(p, 0x16, 0x1100);
        CHECK(!(p->cpu.rflags & X86_FLAG_ZF));
        CHECK_EQ(p->cpu.gpr[RAX], 'a');
    }
    CHECK_EQ(pc_call(p, 0x16, 0x0000)->cpu.gpr[RAX], 'a');
    pc_call(p, 0x16, 0x0100);
    CHECK(p->cpu.rflags & X86_FLAG_ZF);
    pc_free(p);
}

TEST(bios_counts_ticks_and_acknowledges_them)
{
    struct pc *p = pc_new(MEMORY, 4);
    pc_run(p, 0x1020);
    set(p->memory.bytes, 0x46c, 4, 0xffff);
    pc_call(p, 0x08, 0x1234);
    CHECK_EQ(p->cpu.gpr[RAX], 0x1234);
    CHECK_EQ(get(p->memory.bytes, 0x46c, 4), 0x10000);
    pc_call(p, 0x1a, 0);
    CHECK_EQ(p->cpu.gpr[RCX] & 0xffff, 1);
    CHECK_EQ(p->cpu.gpr[RDX] & 0xffff, 0);
    set(p->memory.bytes, 0x46c, 4, 0x1800af);
    pc_call(p, 0x08, 0);
    CHECK_EQ(get(p->memory.bytes, 0x46c, 4), 0); /* midnight */
    machine_expire(&p->devices, NULL, 100000000);
    CHECK(machine_intr(&p->devices));
    CHECK_EQ(machine_ack(&p->devices, NULL, 100000000), 8);
    machine_out(&p->devices, NULL, 100000000, 0x20, 1, 0x0b);
    CHECK_EQ(machine_in(&p->devices, NULL, 100000000, 0x20, 1), 1);
    pc_call(p, 0x08, 0);
    CHECK_EQ(machine_in(&p->devices, NULL, 100000000, 0x20, 1), 0);
    pc_free(p);
}

TEST(bios_boot_interrupts_reset_the_machine)
{
    static const uint8_t code[] = { 0xcd, 0x19 };
    struct pc *p = pc_new(MEMORY, 4);
    pc_run(p, 0x1020);
    memcpy(p->memory.bytes + 0x10200, code, sizeof(code));
    pc_run(p, 0xdead);
    CHECK_EQ(p->devices.lines.request, DEV_REQUEST_RESET_CF9);
    pc_free(p);
}
