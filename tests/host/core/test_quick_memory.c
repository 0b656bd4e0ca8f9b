/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM's short ways to memory (servers/vmm/core/quick_memory.c) against its emulator: stores to page
 * tables and moves from and to devices do the same, and what else comes is left to it or to the processor. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c tests/host/core/rig.c
#include "rig.h"

#include <string.h>

/* --- stores to page tables --- */

#define ENTRY (0x4000 + 40 * 8ull) /* of the page table; its page is mapped at its own address */

/* A write to a shadowed table by the given code: short, or (with RF set, which only the emulator takes)
 * emulated. */
static uint64_t store_one(const uint8_t code[16], const uint64_t gpr[GPRS], uint64_t va, bool emulate,
                          struct umbra_reply_page *reply, uint64_t *emulated)
{
    struct rig *r = rig_new();
    uint64_t value;

    CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, code, 16), GMEM_OK);
    fetch_page(r, CODE);
    set_exit(r, EXIT_PAGE);
    r->exit.info[0] = va;
    r->exit.info[1] = 2;
    memcpy(r->exit.gpr, gpr, sizeof(r->exit.gpr));
    r->exit.rflags |= emulate ? X86_FLAG_RF : 0;
    memset(&r->reply, 0, sizeof(r->reply));
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    *reply = r->reply;
    *emulated = r->segment.state.stats.emulated;
    CHECK_EQ(gmem_read64(r->mem, (gpa_t){ va & ~7ull }, &value), GMEM_OK);
    CHECK_EQ(shadow_audit(r->vmm.shadow, NULL, NULL), 0);
    rig_free(r);
    return value;
}

TEST(quick_store_to_a_table_is_the_emulators)
{
    static const struct {
        uint8_t code[16];
        unsigned length;
        uint64_t base; /* RDI, R8 and RBP */
    } rows_store[] = {
        { { 0x48, 0x89, 0x37 }, 3, ENTRY },                                   /* mov [rdi], rsi */
        { { 0x4d, 0x89, 0x08 }, 3, ENTRY },                                   /* mov [r8], r9 */
        { { 0x48, 0x89, 0x77, 0xf8 }, 4, ENTRY + 8 },                         /* mov [rdi - 8], rsi */
        { { 0x48, 0x89, 0x75, 0x08 }, 4, ENTRY - 8 },                         /* mov [rbp + 8], rsi */
        { { 0x48, 0x89, 0xb7, 0x80, 0xff, 0xff, 0xff }, 7, ENTRY + 0x80 },    /* disp32 */
        { { 0x48, 0x89, 0x34, 0x27 }, 4, ENTRY },                             /* [rdi], SIB */
        { { 0x48, 0x89, 0x34, 0xcf }, 4, ENTRY - 24 },                        /* [rdi + 8 rcx], rcx = 3 */
        { { 0x4a, 0x89, 0x74, 0xa7, 0x04 }, 5, ENTRY - 8 },                   /* [rdi + 4 r12 + 4], r12 = 1 */
        { { 0x4d, 0x89, 0x8c, 0x08, 0xfd, 0xff, 0xff, 0xff }, 8, ENTRY },     /* [r8 + rcx - 3] */
        { { 0x48, 0xc7, 0x07, 0x67, 0x10, 0, 0 }, 7, ENTRY },                 /* mov [rdi], imm32 */
        { { 0x48, 0xc7, 0x47, 0x08, 0xff, 0xff, 0xff, 0xfe }, 8, ENTRY - 8 }, /* a negative one */
        { { 0x48, 0xc7, 0x04, 0x25, 0x40, 0x41, 0, 0, 0, 0, 0, 0 }, 12, 0 },  /* mov [4140h], 0 */
        { { 0x48, 0x89, 0x34, 0x25, 0x40, 0x41, 0, 0 }, 8, 0 },
        { { 0x48, 0x89, 0x35, 0x39, 0x41, 0xfe, 0xff }, 7, 0 }, /* by RIP: 20007h - 1bec7h */
        { { 0x48, 0xc7, 0x05, 0x35, 0x41, 0xfe, 0xff, 1, 2, 3, 4 }, 11, 0 },
    };
    for (unsigned i = 0; i < sizeof(rows_store) / sizeof(rows_store[0]); i++) {
        uint64_t gpr[GPRS] = { [RCX] = 3, [R12] = 1 }, emulated_a, emulated_b;
        struct umbra_reply_page a, b;

        gpr[RDI] = gpr[R8] = gpr[RBP] = rows_store[i].base;
        gpr[RSI] = 0x25063;
        gpr[R9] = 0x26063;
        check_note("row %u", i);
        uint64_t value_a = store_one(rows_store[i].code, gpr, ENTRY, false, &a, &emulated_a);
        uint64_t value_b = store_one(rows_store[i].code, gpr, ENTRY, true, &b, &emulated_b);
        CHECK_EQ(emulated_a, 0);
        CHECK_EQ(emulated_b, 1);
        CHECK_EQ(value_a, value_b);
        CHECK_EQ(a.rip, CODE + rows_store[i].length);
        CHECK_EQ(b.rip, a.rip);
        CHECK_EQ(a.op_words, b.op_words);
        CHECK_MEM_EQ(a.ops, b.ops, a.op_words * 8);
        CHECK_EQ(a.event, b.event);
    }
}

/* Instructions that the emulator would take long for: the table goes out of sync, the entry for the access is
 * there, the guest executes it. */
TEST(other_writes_to_a_last_table_are_left_to_the_processor)
{
    static const uint8_t codes[][16] = {
        { 0x89, 0x37 },                         /* 4 bytes */
        { 0x48, 0x01, 0x37 },                   /* add [rdi], rsi */
        { 0x48, 0x83, 0x27, 0xfd },             /* and [rdi], -3 */
        { 0xf0, 0x48, 0x0f, 0xba, 0x37, 0x01 }, /* lock btr [rdi], 1 */
        { 0x48, 0x87, 0x37 },                   /* xchg [rdi], rsi */
        { 0x48, 0x89, 0x77, 0x08 },             /* another address than the fault's */
        { 0x48, 0xc7, 0x0f, 0x67, 0x10, 0, 0 }, /* no such instruction */
        { 0xf0, 0x48, 0x0f, 0xb1, 0x37 },       /* lock cmpxchg [rdi], rsi */
    };
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        uint64_t gpr[GPRS] = { [RDI] = ENTRY, [RSI] = 0x25063 }, emulated;
        struct umbra_reply_page reply;

        check_note("row %u", i);
        uint64_t value = store_one(codes[i], gpr, ENTRY, false, &reply, &emulated);
        CHECK_EQ(value, 40 << 12 | 0x63);
        CHECK_EQ(emulated, 0);
        CHECK_EQ(reply.groups & STATE_RIP, 0);
        CHECK_EQ(reply.event, 0);
        bool filled = false;
        for (unsigned k = 0; k < reply.op_words && k < 4; k++)
            filled = filled || ((reply.ops[k] & 0xff) == OP_FILL_RUN && (reply.ops[k] >> 8 & SH_WRITE));
        CHECK(filled);
    }
}

/* Clearing a page that was a table: the page is writable from here on, the instruction goes on by itself. */
TEST(string_store_to_a_table_is_left_to_the_processor)
{
    static const uint8_t codes[][16] = {
        { 0xf3, 0xaa }, { 0xf3, 0x48, 0xab }, { 0xf3, 0xa4 }, { 0xf3, 0x48, 0xa5 }
    };

    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        uint64_t gpr[GPRS] = { [RAX] = 0, [RCX] = 4, [RDI] = ENTRY, [RSI] = CODE }, emulated;
        struct umbra_reply_page reply;
        uint64_t value = store_one(codes[i], gpr, ENTRY, false, &reply, &emulated);
        CHECK(value != 0);
        CHECK_EQ(emulated, 0);
        CHECK_EQ(reply.groups & STATE_RIP, 0);
        CHECK(reply.op_words > 0);
    }
}

/* Registers that do not lead to the faulting address: the instruction is another than the one that faulted.
 */
TEST(quick_store_elsewhere_than_the_fault_is_not_done)
{
    static const uint8_t code[16] = { 0x48, 0x89, 0x37 };
    uint64_t gpr[GPRS] = { 0 }, emulated;
    struct umbra_reply_page reply;

    gpr[RDI] = DATA;
    gpr[RSI] = 5;
    CHECK_EQ(store_one(code, gpr, ENTRY, false, &reply, &emulated), 40 << 12 | 0x63);
    CHECK_EQ(reply.groups & STATE_RIP, 0);
}

/* --- devices in memory --- */

#define APIC_VA 0x3d000ull /* page 61 of the identity map is the local APIC's instead */

struct moved {
    uint64_t gpr[GPRS], rip, emulated;
    struct machine machine;
    uint64_t groups, event;
};

static void move_one(const uint8_t code[16], const uint64_t gpr[GPRS], uint64_t va, bool write, bool emulate,
                     struct moved *out)
{
    struct rig *r = rig_new();

    put(r, 0x4000 + APIC_VA / PAGE_BYTES * 8, LAPIC_BASE | 0x73);
    CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, code, 16), GMEM_OK);
    fetch_page(r, CODE);
    set_exit(r, EXIT_PAGE);
    memcpy(r->exit.gpr, gpr, sizeof(r->exit.gpr));
    r->exit.info[0] = va;
    r->exit.info[1] = write ? 2 : 0;
    r->exit.rflags |= emulate ? X86_FLAG_RF : 0; /* RF is the emulator's */
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    memcpy(out->gpr, gpr, sizeof(out->gpr));
    for (unsigned i = 0; i < GPRS; i++)
        if ((r->reply.groups & STATE_GPRS) && (r->reply.gpr_mask >> i & 1))
            out->gpr[i] = r->reply.gpr[i];
    out->rip = r->reply.groups & STATE_RIP ? r->reply.rip : CODE;
    out->groups = r->reply.groups & ~(uint64_t)(STATE_GPRS | STATE_RFLAGS);
    out->emulated = r->segment.state.stats.emulated;
    out->machine = r->segment.state.machine;
    out->event = r->reply.event;
    rig_free(r);
}

/* Returns whether the short way was taken. */
static bool same_move(const uint8_t code[16], const uint64_t gpr[GPRS], uint64_t va, bool write)
{
    static struct moved a, b;

    move_one(code, gpr, va, write, false, &a);
    move_one(code, gpr, va, write, true, &b);
    check_note("%02x %02x %02x %02x %02x %02x va %llx", code[0], code[1], code[2], code[3], code[4], code[5],
               (unsigned long long)va);
    CHECK_EQ(b.emulated, 1);
    CHECK_EQ(a.rip, b.rip);
    CHECK_EQ(a.groups, b.groups);
    CHECK_EQ(a.event, b.event);
    CHECK_MEM_EQ(a.gpr, b.gpr, sizeof(a.gpr));
    CHECK_MEM_EQ(&a.machine, &b.machine, sizeof(a.machine));
    return a.emulated == 0;
}

static uint64_t mmio_seed = 88172645463325252ull;

static uint64_t any(uint64_t n)
{
    mmio_seed ^= mmio_seed << 13;
    mmio_seed ^= mmio_seed >> 7;
    mmio_seed ^= mmio_seed << 17;
    return (mmio_seed >> 11) % n;
}

/* Random plain moves: a REX or none, ModRM, SIB, displacement, the base register made to fit the address. */
static bool random_move(uint8_t code[16], uint64_t gpr[GPRS], uint64_t va, bool write)
{
    unsigned n = 0, rex = any(3) ? 0 : 0x40 | (unsigned)any(8), mod = (unsigned)any(3), rm = (unsigned)any(8);
    unsigned sib = (unsigned)any(256), base = (rm == 4 ? sib & 7 : rm) + (rex & 1) * 8;
    unsigned index = (sib >> 3 & 7) + (rex & 2) * 4, bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    bool none = rm == 4 && mod == 0 && (sib & 7) == 5;
    int32_t disp = (int32_t)any(UINT32_MAX);

    for (unsigned i = 0; i < GPRS; i++)
        gpr[i] = any(UINT64_MAX);
    memset(code, 0x90, 16);
    if (rex)
        code[n++] = (uint8_t)rex;
    code[n++] = write ? 0x89 : 0x8b;
    code[n++] = (uint8_t)(mod << 6 | (unsigned)any(8) << 3 | rm);
    if (rm == 4)
        code[n++] = (uint8_t)sib;
    if (mod == 0 && rm == 5)
        return false; /* relative to RIP: below */
    uint64_t scaled = rm == 4 && index != RSP ? 1ull << (sib >> 6) : 0;
    if (none) {
        bytes = 4;
        gpr[index] = scaled == 1 ? va - (uint64_t)(int64_t)disp : gpr[index];
        disp = scaled == 1 ? disp : (int32_t)va;
        gpr[index] = scaled > 1 ? 0 : gpr[index];
    } else if (scaled && index == base) {
        return false;
    }
    memcpy(code + n, &disp, bytes);
    int64_t moved = bytes == 1 ? (int8_t)disp : bytes == 4 ? disp : 0;
    if (!none)
        gpr[base] = va - (scaled ? gpr[index] * scaled : 0) - (uint64_t)moved;
    return true;
}

TEST(quick_moves_from_and_to_a_device_are_the_emulators)
{
    static const uint16_t offsets[] = { 0x20,  0x30,  0x80,  0xb0,  0xd0,  0xf0, 0x100, 0x280, 0x310,
                                        0x320, 0x350, 0x380, 0x390, 0x3e0, 0x40, 0x3f0, 0xffc, 0x34 };
    uint8_t code[16];
    uint64_t gpr[GPRS];
    unsigned quick = 0, all = 0;

    for (unsigned i = 0; i < 1500; i++) {
        uint64_t va = APIC_VA + offsets[any(sizeof(offsets) / sizeof(offsets[0]))];
        bool write = any(2);
        if (!random_move(code, gpr, va, write))
            continue;
        quick += same_move(code, gpr, va, write);
        all++;
    }
    CHECK_LT(1000, all);
    CHECK_EQ(quick, all);
}

TEST(quick_moves_leave_all_else_to_the_emulator)
{
    static const struct {
        uint8_t code[16];
        bool write;
    } others[] = {
        { { 0x48, 0x8b, 0x03 }, false },                   /* 64 bits */
        { { 0x66, 0x8b, 0x03 }, false },                   /* 16 bits */
        { { 0x8a, 0x03 }, false },                         /* 8 bits */
        { { 0x64, 0x8b, 0x03 }, false },                   /* FS */
        { { 0x03, 0x03 }, false },                         /* add */
        { { 0x31, 0x03 }, true },                          /* xor to memory */
        { { 0xc7, 0x03, 1, 0, 0, 0 }, true },              /* an immediate */
        { { 0x87, 0x03 }, true },                          /* xchg */
        { { 0x8b, 0x05, 0x2a, 0xd0, 0x01, 0x00 }, false }, /* relative to RIP: 3d030h */
    };
    uint64_t gpr[GPRS] = { [RBX] = APIC_VA + 0x30, [RAX] = 1 };

    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        CHECK(!same_move(others[i].code, gpr, APIC_VA + 0x30, others[i].write));
}
