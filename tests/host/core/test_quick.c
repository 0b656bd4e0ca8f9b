/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM's short ways (servers/vmm/core/quick.c) against its emulator: the same exit of the same guest, once
 * with the code page in the shadow tables (short) and once without (emulated), must give the same answer. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/policy/*.c tests/host/support/gmem_host.c
#include "check.h"
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/policy/cr.h"
#include "tests/host/support/gmem_host.h"

#include <stdlib.h>
#include <string.h>

#define PAGES  64u
#define TABLES 32u
#define CODE   0x20000ull /* rip of the instruction */
#define DATA   0x30000ull

struct rig {
    struct gmem *mem;
    struct vmm vmm;
    struct vmm_segment segment;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    struct cpuid_host cpuid;
    cptr_t caps[TABLES];
    void *shadow;
};

static void put(struct rig *r, uint64_t gpa, uint64_t value)
{
    CHECK_EQ(gmem_write64(r->mem, (gpa_t){ gpa }, value), GMEM_OK);
}

/* A guest in 64-bit mode at CPL 0, the first 2 MB mapped by 4 KiB entries; a second root at 8000h is a copy.
 */
static struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct boot_cpu cpu = { .cr0 = CR0_PG | CR0_PE | CR0_WP, .cr3 = 0x1000, .cr4 = CR4_PAE };
    struct shadow_tuning tuning = shadow_default_tuning();

    tuning.unsync_born = 0; /* so that writes to tables are emulated */
    CHECK(r != NULL);
    r->mem = gmem_host_new(PAGES);
    r->shadow = aligned_alloc(64, (shadow_bytes(TABLES, PAGES) + 63) & ~63ul);
    for (unsigned i = 0; i < TABLES; i++)
        r->caps[i] = 100 + i;
    struct vmm_setup c = { .segment = &r->segment,
                           .exit = &r->exit,
                           .reply = &r->reply,
                           .window = r->mem->base,
                           .memory_bytes = PAGES * PAGE_BYTES,
                           .tables = r->caps,
                           .table_count = TABLES,
                           .shadow_memory = r->shadow,
                           .tuning = &tuning,
                           .cpuid = &r->cpuid,
                           .tsc_hz = 1000000000,
                           .seconds = 0 };
    CHECK(vmm_init(&r->vmm, &c));
    r->vmm.mem.context = r->mem->context;
    r->exit.seq = 1;
    r->exit.kind = EXIT_START;
    CHECK_EQ(vmm_resume(&r->vmm, &c, 0), VMM_NEW);
    put(r, 0x1000, 0x2027);
    put(r, 0x8000, 0x2027);
    put(r, 0x2000, 0x3027);
    put(r, 0x3000, 0x4027);
    for (unsigned i = 0; i < PAGES; i++)
        put(r, 0x4000 + 8 * i, i << 12 | 0x63);
    cpu.efer = EFER_LME | EFER_LMA;
    vmm_start(&r->vmm, &cpu);
    return r;
}

static enum vmm_end handle(struct vmm *v)
{
    vmm_begin(v);
    enum vmm_end end = vmm_handle(v);
    vmm_commit(v);
    return end;
}

static void rig_free(struct rig *r)
{
    gmem_host_free(r->mem);
    free(r->shadow);
    free(r);
}

static void set_exit(struct rig *r, enum exit_kind kind)
{
    struct umbra_exit_page *x = &r->exit;

    x->kind = kind;
    x->seq++;
    x->tsc = 1000;
    x->info[0] = x->info[1] = 0;
    x->rip = CODE;
    x->rflags = 0x202;
    x->cpl = 0;
    for (unsigned i = 0; i < SEGS; i++)
        x->seg[i] = (struct umbra_segment){ 0x10, 0xc93, 0xffffffff, 0 };
    x->seg[SEG_CS] = (struct umbra_segment){ 8, 0xa9b, 0xffffffff, 0 };
}

/* The processor fetches the instruction: its page comes into the shadow tables, if it is to. */
static void fetch_page(struct rig *r, uint64_t rip)
{
    set_exit(r, EXIT_PAGE);
    r->exit.info[0] = rip;
    r->exit.info[1] = 16;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    gpa_t at;
    CHECK(shadow_holds(r->vmm.shadow, (gva_t){ rip }, &at));
    CHECK_EQ(at.v, rip);
}

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

/* A root of the current epoch that the kernel lost is set again. */
TEST(exit_root_in_the_same_epoch_sets_the_root_again)
{
    struct rig *r = rig_new();

    set_exit(r, EXIT_ROOT);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    bool root = false;
    for (unsigned i = 0; i < r->reply.op_words; i++)
        root = root || (r->reply.ops[i] & 0xff) == OP_SET_ROOT;
    CHECK(root);
    rig_free(r);
}

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

/* mov cr3, rax, handled by the VMM. */
static void load_cr3(struct rig *r, uint64_t value)
{
    set_exit(r, EXIT_CR);
    r->exit.gpr[RAX] = value;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->segment.state.cr3, value);
}

/* A load that the kernel served is, with the next exit, as if the VMM had handled it: the fault that comes is
 * answered by the same operations on the tables of the same root. */
TEST(a_load_that_the_kernel_served_is_known_with_the_next_exit)
{
    static const uint8_t code[16] = { 0x0f, 0x22, 0xd8 };
    struct umbra_reply_page answer[2];

    for (unsigned served = 0; served < 2; served++) {
        struct rig *r = rig_new();
        put(r, 0x8008, 0x9027); /* only under the second root: 512 GB on */
        put(r, 0x9000, 0x3027);
        CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, code, sizeof(code)), GMEM_OK);
        fetch_page(r, CODE);
        load_cr3(r, 0x8000);
        load_cr3(r, 0x1000);
        if (!served)
            load_cr3(r, 0x8000);
        set_exit(r, EXIT_PAGE);
        r->exit.info[0] = BIT(39) + DATA;
        r->exit.cr3_loads = 3 * served;
        r->exit.cr3 = served ? 0x8000 : 0x1234000; /* means nothing without loads */
        memset(&r->reply, 0, sizeof(r->reply));
        CHECK_EQ(handle(&r->vmm), VMM_RUNS);
        answer[served] = r->reply;
        CHECK_EQ(r->segment.state.cr3, 0x8000);
        CHECK_EQ(r->segment.state.stats.cr3_served, 3 * served);
        CHECK_EQ(r->segment.state.stats.exits[EXIT_CR], served ? 5 : 3);
        CHECK_EQ(shadow_audit(r->vmm.shadow, NULL, NULL), 0);
        rig_free(r);
    }
    CHECK_LT(0, answer[0].op_words);
    CHECK_EQ(answer[0].event, 0);
    CHECK_EQ(answer[0].event, answer[1].event);
    CHECK_EQ(answer[0].op_words, answer[1].op_words);
    CHECK_MEM_EQ(answer[0].ops, answer[1].ops, 8 * answer[0].op_words);
}

static void lapic_set(struct rig *r, uint64_t reg, uint32_t value)
{
    machine_write(&r->segment.state.machine, &r->vmm.undo.dev, 1000, (gpa_t){ LAPIC_BASE + reg },
                  (const uint8_t *)&value, 4);
}

/* That nothing waits is remembered from exit to exit, until the machine has something to say. */
TEST(interrupt_that_comes_when_none_waited_is_injected)
{
    struct rig *r = rig_new();

    put(r, CODE, 0xa20f);
    fetch_page(r, CODE);
    for (unsigned i = 0; i < 3; i++) {
        set_exit(r, EXIT_CPUID);
        CHECK_EQ(handle(&r->vmm), VMM_RUNS);
        CHECK_EQ(r->reply.event, 0);
    }
    lapic_set(r, 0xf0, 0x1ff);
    lapic_set(r, 0x300, 0x40041); /* to itself */
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.event, EVENT_MAKE(0x41, EVENT_INTERRUPT));
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(r->reply.event, 0);
    rig_free(r);
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

/* --- exits that come without segments --- */

static struct rig *synced;
static unsigned syncs;

static void count_sync(void)
{
    syncs++;
    synced->exit.seg[SEG_FS].base = DATA;
    synced->exit.valid |= STATE_SEGMENTS;
}

TEST(segments_are_asked_for_where_the_emulator_needs_them)
{
    static const uint8_t out[] = { 0x64, 0x6e }; /* outsb from FS:[RSI] */
    struct rig *r = synced = rig_new();

    r->vmm.sync = count_sync;
    syncs = 0;
    put(r, CODE, 0xa20f);
    put(r, DATA + 0x10, 0x5a);
    fetch_page(r, CODE);
    set_exit(r, EXIT_CPUID);
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(syncs, 0);
    CHECK_EQ(gmem_write_bytes(r->mem, (gpa_t){ CODE }, out, sizeof(out)), GMEM_OK);
    set_exit(r, EXIT_IO);
    r->exit.gpr[RDX] = 0x70;
    r->exit.gpr[RSI] = 0x10;
    r->exit.info[0] = 0x70 << 16 | 1 << 4 | EXIT_IO_STRING;
    r->exit.info[1] = CODE + 2;
    CHECK_EQ(handle(&r->vmm), VMM_RUNS);
    CHECK_EQ(syncs, 1);
    CHECK_EQ(r->segment.state.machine.cmos.index, 0x5a);
    CHECK(!(r->reply.groups & STATE_SEGMENTS));
    rig_free(r);
}

/* Outside of long mode every exit is the emulator's: none is spared. */
TEST(kinds_without_segments_are_asked_for_in_long_mode_only)
{
    struct rig *r = rig_new();

    r->vmm.sync = count_sync;
    vmm_set_want(&r->vmm, 0);
    CHECK_EQ(r->reply.want, STATE_SEGMENTS);
    CHECK_EQ(r->reply.spare, 0);
    vmm_set_want(&r->vmm, EFER_LME | EFER_LMA);
    CHECK_EQ(r->reply.want, STATE_SEGMENTS);
    CHECK(r->reply.spare & 1u << EXIT_PAGE);
    CHECK_EQ(r->reply.spare & (1u << EXIT_MSR | 1u << EXIT_DR | 1u << EXIT_INSTRUCTION | 1u << EXIT_BROKEN),
             0);
    rig_free(r);
}
