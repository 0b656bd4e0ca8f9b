/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM's short ways (servers/vmm/core/quick.c) against its emulator: the same exit of the same guest, once
 * with the code page in the shadow tables (short) and once without (emulated), must give the same answer. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c tests/host/core/rig.c
#include "rig.h"

#include <string.h>

struct run {
    enum vmm_end end;
    struct umbra_reply_page reply;
    uint64_t cr3, halted, emulated, faults, index;
    uint64_t cr3_loads, invlpgs;
};

struct given {
    enum exit_kind kind;
    uint8_t code[16];
    uint64_t gpr[GPRS];
    uint64_t rip, rflags, info[2];
    uint8_t cpl;
};

static struct run run_one(const struct given *g, bool fetched)
{
    struct rig *r = rig_new();
    struct run out;

    CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ g->rip }, g->code, sizeof(g->code)), GMEM_OK);
    if (fetched)
        fetch_page(r, g->rip);
    set_exit(r, g->kind);
    memcpy(r->exit.gpr, g->gpr, sizeof(g->gpr));
    r->exit.info[0] = g->info[0];
    r->exit.info[1] = g->info[1];
    r->exit.rip = g->rip;
    r->exit.rflags = g->rflags;
    r->exit.cpl = g->cpl;
    memset(&r->reply, 0, sizeof(r->reply));
    out.end = handle(&r->vmm);
    out.reply = r->reply;
    out.cr3 = r->segment.state.cr3;
    out.halted = r->segment.state.halted;
    out.emulated = r->segment.state.stats.emulated;
    out.faults = r->segment.state.stats.faults_to_guest;
    out.index = r->segment.state.machine.cmos.index;
    out.invlpgs = shadow_counters(r->vmm.shadow)->invlpgs;
    out.cr3_loads = shadow_counters(r->vmm.shadow)->cr3_known + shadow_counters(r->vmm.shadow)->cr3_new;
    rig_free(r);
    return out;
}

/* Registers after the answer: the short way may also name registers that did not change. */
static uint64_t gpr_after(const struct given *g, const struct run *r, unsigned i)
{
    bool set = (r->reply.groups & STATE_GPRS) && (r->reply.gpr_mask >> i & 1);
    return set ? r->reply.gpr[i] : g->gpr[i];
}

/* Returns whether the short way was taken. */
static bool same(const struct given *g)
{
    struct run a = run_one(g, true), b = run_one(g, false);
    uint64_t rip_a = a.reply.groups & STATE_RIP ? a.reply.rip : g->rip;
    uint64_t rip_b = b.reply.groups & STATE_RIP ? b.reply.rip : g->rip;

    check_note("kind %d code %02x %02x %02x %02x %02x cpl %d rflags %#llx", g->kind, g->code[0], g->code[1],
               g->code[2], g->code[3], g->code[4], g->cpl, (unsigned long long)g->rflags);
    CHECK_EQ(b.emulated, 1);
    CHECK_EQ(a.end, b.end);
    CHECK_EQ(rip_a, rip_b);
    for (unsigned i = 0; i < GPRS; i++)
        CHECK_EQ(gpr_after(g, &a, i), gpr_after(g, &b, i));
    CHECK_EQ(a.reply.event, b.reply.event);
    CHECK_EQ(a.reply.flags, b.reply.flags);
    CHECK_EQ(a.reply.groups & (unsigned)~(STATE_GPRS | STATE_RIP),
             b.reply.groups & (unsigned)~(STATE_GPRS | STATE_RIP));
    CHECK_EQ(a.cr3, b.cr3);
    CHECK_EQ(a.halted, b.halted);
    CHECK_EQ(a.faults, b.faults);
    CHECK_EQ(a.index, b.index);
    CHECK_EQ(a.invlpgs, b.invlpgs);
    CHECK_EQ(a.cr3_loads, b.cr3_loads);
    return a.emulated == 0;
}

static struct given plain(enum exit_kind kind, const void *code, size_t n)
{
    struct given g = { .kind = kind, .rip = CODE, .rflags = 0x202 };

    memset(g.code, 0x90, sizeof(g.code));
    memcpy(g.code, code, n);
    for (unsigned i = 0; i < GPRS; i++)
        g.gpr[i] = DATA + 0x1000 * i;
    g.gpr[RAX] = 0x8000;
    return g;
}

struct row {
    enum exit_kind kind;
    uint8_t n, code[6];
    bool quick;
};

static const struct row rows[] = {
    { EXIT_CPUID, 2, { 0x0f, 0xa2 }, true },
    { EXIT_CPUID, 3, { 0x48, 0x0f, 0xa2 }, false },
    { EXIT_HLT, 1, { 0xf4 }, true },
    { EXIT_HLT, 2, { 0x2e, 0xf4 }, false },
    { EXIT_CR, 3, { 0x0f, 0x22, 0xd8 }, true },        /* mov cr3, rax */
    { EXIT_CR, 3, { 0x0f, 0x22, 0x18 }, true },        /* mod does not matter */
    { EXIT_CR, 4, { 0x41, 0x0f, 0x22, 0xd8 }, true },  /* cr3, r8 */
    { EXIT_CR, 4, { 0x48, 0x0f, 0x22, 0xdc }, true },  /* cr3, rsp */
    { EXIT_CR, 4, { 0x44, 0x0f, 0x22, 0xc0 }, false }, /* cr8, rax */
    { EXIT_CR, 3, { 0x0f, 0x22, 0xd0 }, false },       /* cr2 */
    { EXIT_CR, 5, { 0x66, 0x41, 0x0f, 0x22, 0xdb }, false },
    { EXIT_CR, 3, { 0x0f, 0x20, 0xdb }, true },       /* mov rbx, cr3 */
    { EXIT_CR, 4, { 0x41, 0x0f, 0x20, 0xdf }, true }, /* r15 */
    { EXIT_CR, 3, { 0x0f, 0x20, 0xe3 }, false },      /* cr4 */
    { EXIT_CR, 3, { 0x0f, 0x20, 0xc3 }, false },      /* cr0 */
    { EXIT_CR, 2, { 0x0f, 0x06 }, false },            /* clts */
    { EXIT_INVLPG, 3, { 0x0f, 0x01, 0x3b }, true },   /* [rbx] */
    { EXIT_INVLPG, 4, { 0x41, 0x0f, 0x01, 0x39 }, true },
    { EXIT_INVLPG, 4, { 0x0f, 0x01, 0x7b, 0x10 }, false },
    { EXIT_INVLPG, 4, { 0x0f, 0x01, 0x3c, 0x23 }, false },       /* SIB */
    { EXIT_INVLPG, 5, { 0x41, 0x0f, 0x01, 0x3c, 0x24 }, false }, /* [r12] */
    { EXIT_INVLPG, 4, { 0x64, 0x0f, 0x01, 0x3b }, false },       /* FS */
};

TEST(quick_answers_are_the_emulators)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct given g = plain(rows[i].kind, rows[i].code, rows[i].n);
        bool quick = same(&g);
        check_note("row %u", i);
        CHECK_EQ(quick, rows[i].quick);
    }
}

TEST(quick_leaves_single_step_rf_user_mode_and_page_ends_to_the_emulator)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct given g = plain(rows[i].kind, rows[i].code, rows[i].n);
        g.rflags |= X86_FLAG_TF;
        CHECK(!same(&g));
        g.rflags = 0x202 | X86_FLAG_RF;
        CHECK(!same(&g));
        g = plain(rows[i].kind, rows[i].code, rows[i].n);
        g.rip = CODE + PAGE_BYTES - 15;
        CHECK(!same(&g));
        g = plain(rows[i].kind, rows[i].code, rows[i].n);
        if (g.kind != EXIT_CPUID) {
            struct run user;
            g.cpl = 3;
            user = run_one(&g, true);
            CHECK_EQ(user.emulated, 1);
        }
    }
}

TEST(quick_bad_cr3_and_bad_invlpg_are_the_emulators)
{
    static const uint8_t cr3[] = { 0x0f, 0x22, 0xd8 }, invlpg[] = { 0x0f, 0x01, 0x3b };
    struct given g = plain(EXIT_CR, cr3, sizeof(cr3));

    g.gpr[RAX] = 1ull << 63 | 0x1000;
    CHECK(!same(&g));
    g = plain(EXIT_INVLPG, invlpg, sizeof(invlpg));
    g.gpr[RBX] = 1ull << 60;
    CHECK(!same(&g));
}

/* A guest that changes its code: the bytes are read anew at every exit. */
TEST(quick_sees_code_that_changed)
{
    struct rig *r = rig_new();

    put(r, CODE, 0xa20f);
    fetch_page(r, CODE);
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.rip, CODE + 2);
    put(r, CODE, 0xa20f48);
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.rip, CODE + 3);
    rig_free(r);
}

/* The page of the code is mapped elsewhere, and the guest flushes: the bytes come from the new frame. */
TEST(quick_follows_a_remapped_code_page)
{
    struct rig *r = rig_new();
    gpa_t at;

    put(r, CODE, 0xa20f);
    put(r, DATA, 0xa20f48);
    fetch_page(r, CODE);
    put(r, 0x4000 + CODE / PAGE_BYTES * 8, DATA | 0x63); /* the table is in sync: as by a device, unseen */
    shadow_invlpg(r->vmm.shadow, (gva_t){ CODE }, &r->vmm.ops);
    if (shadow_holds(r->vmm.shadow, (gva_t){ CODE }, &at))
        CHECK_EQ(at.v, DATA);
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.rip, CODE + 3);
    rig_free(r);
}

TEST(quick_ports_are_the_emulators)
{
    static const struct {
        uint8_t code[4];
        uint64_t info;
    } io[] = {
        { { 0xe6, 0x80 }, 0x80 << 16 | 1 << 4 },              /* out 80h, al */
        { { 0xe4, 0x80 }, 0x80 << 16 | 1 << 4 | EXIT_IO_IN }, /* in al, 80h */
        { { 0x66, 0xe5, 0x80 }, 0x80 << 16 | 2 << 4 | EXIT_IO_IN },
        { { 0xe5, 0x80 }, 0x80 << 16 | 4 << 4 | EXIT_IO_IN },
        { { 0xe7, 0x80 }, 0x80 << 16 | 4 << 4 },
        { { 0xe6, 0x70 }, 0x70 << 16 | 1 << 4 }, /* writes that a device keeps */
        { { 0xe7, 0x70 }, 0x70 << 16 | 4 << 4 },
    };
    for (unsigned i = 0; i < sizeof(io) / sizeof(io[0]); i++) {
        struct given g = plain(EXIT_IO, io[i].code, sizeof(io[i].code));
        g.gpr[RAX] = 0x1122334455667788;
        g.info[0] = io[i].info;
        g.info[1] = CODE + (io[i].code[0] == 0x66 ? 3 : 2);
        struct run a = run_one(&g, true);
        CHECK_EQ(a.emulated, 0);
        g.info[1] = 0; /* the next RIP is not known: emulated */
        struct run b = run_one(&g, true);
        CHECK_EQ(b.emulated, 1);
        check_note("row %u", i);
        CHECK_EQ(a.reply.rip, b.reply.rip);
        CHECK_EQ(gpr_after(&g, &a, RAX), gpr_after(&g, &b, RAX));
        CHECK_EQ(a.index, b.index);
    }
}

/* The same IN twice in a row, in one exit: registers, device and RIP are as after two exits of the emulator.
 */
TEST(quick_in_is_repeated_where_it_stands_twice)
{
    static const struct {
        uint8_t code[6], length;
        uint64_t port, dr7;
        uint8_t cpl;
        bool both;
    } in[] = {
        { { 0xe4, 0x40, 0xe4, 0x40 }, 2, 0x40, 0, 0, true }, /* a counter: low byte, high byte */
        { { 0xec, 0xec, 0xec }, 1, 0x40, 0, 0, true },
        { { 0xe4, 0x40, 0xe4, 0x41 }, 2, 0x40, 0, 0, false },
        { { 0xe4, 0x40, 0xec }, 2, 0x40, 0, 0, false },
        { { 0xe4, 0x40, 0xe4, 0x40 }, 2, 0x40, 1, 0, false }, /* a breakpoint may be on the second */
        { { 0xe4, 0x40, 0xe4, 0x40 }, 2, 0x40, 0, 3, false },
    };
    for (unsigned i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        uint64_t rax[2] = { 0x5555, 0x5555 }, rip[2] = { CODE, CODE };
        struct machine left[2];
        for (unsigned emulated = 0; emulated < 2; emulated++) {
            struct rig *r = rig_new();
            CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, in[i].code, sizeof(in[i].code)), GMEM_OK);
            fetch_page(r, CODE);
            r->segment.state.dr7 = in[i].dr7;
            for (unsigned exits = 0; exits < (emulated && in[i].both ? 2u : 1u); exits++) {
                set_exit(r, EXIT_IO);
                r->exit.rip = rip[emulated];
                r->exit.gpr[RAX] = rax[emulated];
                r->exit.gpr[RDX] = in[i].port;
                r->exit.cpl = in[i].cpl;
                r->exit.info[0] = in[i].port << 16 | 1 << 4 | EXIT_IO_IN;
                r->exit.info[1] = emulated ? 0 : CODE + in[i].length;
                memset(&r->reply, 0, sizeof(r->reply));
                CHECK_EQ(handle(&r->vmm), VMM_RUNS);
                rip[emulated] = r->reply.rip;
                rax[emulated] = r->reply.gpr_mask & 1u << RAX ? r->reply.gpr[RAX] : rax[emulated];
            }
            left[emulated] = r->segment.state.machine;
            rig_free(r);
        }
        check_note("row %u", i);
        CHECK_EQ(rip[0], CODE + in[i].length * (in[i].both ? 2u : 1u));
        if (in[i].cpl) /* to the emulator this page is the kernel's */
            continue;
        CHECK_EQ(rip[0], rip[1]);
        CHECK_EQ(rax[0], rax[1]);
        CHECK_MEM_EQ(&left[0], &left[1], sizeof(left[0]));
    }
}
