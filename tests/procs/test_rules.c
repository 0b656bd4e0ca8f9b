/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of docs/shadow-mmu.md that the kernel keeps, by their numbers. */
#include "support/vm.h"

static uint64_t flushes(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? IPC->words[COUNT_FLUSHES] : UINT64_MAX;
}

/* A guest in 64-bit mode, its first 8 pages mapped 1:1, about to run what stands at 1000h. */
static bool begin(struct vm_test *v)
{
    bool ok = vm_make(v) && vm_recv(v) == ERR_OK;

    vm_long_tables(v);
    vm_long_mode(v, 0x1000, 0x8000, false);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 8));
    return ok;
}

/* What would let a guest see, or go on over, what the processor really runs on. #AC cannot be made in the
 * emulator; the task switch and the shutdown have tests of their own (test_vcpu.c, test_vm.c). */
TEST(rule_10_what_shows_the_hosts_tables_or_exceptions_exits)
{
    static const struct {
        uint8_t code[8];
        uint32_t kind, info, flags;
    } row[] = {
        { { 0x0f, 0x20, 0xd8 }, EXIT_CR, 3, 2 },                          /* mov %cr3, %rax */
        { { 0x0f, 0x22, 0xd8 }, EXIT_CR, 0x13, 2 },                       /* mov %rax, %cr3 */
        { { 0x0f, 0x22, 0xe0 }, EXIT_CR, 0x14, 2 },                       /* mov %rax, %cr4 */
        { { 0x0f, 0x01, 0x3c, 0x25, 0, 0x50, 0, 0 }, EXIT_INVLPG, 0, 2 }, /* invlpg 0x5000 */
        { { 0x0f, 0x01, 0xdf }, EXIT_INSTRUCTION, INSN_INVLPGA, 2 },      /* invlpga */
        { { 0x8a, 0x04, 0x25, 0, 0, 0x10, 0 }, EXIT_PAGE, 0x100000, 2 },  /* mov 0x100000, %al */
        { { 0x90, 0x90 }, EXIT_EXCEPTION, 1, 0x102 },                     /* TF: #DB */
    };
    struct vm_test v;

    CHECK(begin(&v));
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        vm_load(&v, 0x1000, row[i].code, sizeof(row[i].code));
        vm_long_mode(&v, 0x1000, 0x8000, false);
        v.r->seg[SEG_IDTR].limit = 0;
        v.r->rflags = row[i].flags;
        /* What CR4 cannot be is #GP before it is an exit (APM vol. 2, 15.9). */
        v.r->gpr[RAX] = row[i].info == 0x14 ? 0x20 : 0;
        v.r->gpr_mask |= BIT(RAX);
        CHECK_OK(vm_reply(&v, NULL));
        if (v.x->kind != row[i].kind)
            print_number("# row ", i, "\n");
        CHECK_EQ(v.x->kind, row[i].kind);
        if (row[i].kind != EXIT_INVLPG)
            CHECK_EQ(v.x->info[0], row[i].info);
    }
}

/* XSETBV is an exit, or is not there at all where the processor cannot intercept it. */
TEST(rule_10_xsetbv_is_never_executed)
{
    static const uint8_t code[] = { 0x0f, 0x01, 0xd1 };
    struct vm_test v;

    CHECK(begin(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    v.r->cr4 |= 1u << 18; /* OSXSAVE, as the guest believes */
    v.r->seg[SEG_IDTR].limit = 0;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK((v.x->kind == EXIT_INSTRUCTION && v.x->info[0] == INSN_XSETBV) || /* #UD without an IDT: */
          (v.x->kind == EXIT_EXCEPTION && v.x->info[0] == 8) || v.x->kind == EXIT_SHUTDOWN);
    CHECK_EQ(v.x->rip, 0x1000);
}

/* An entry flushes after a downgrade, once, and for each root by itself; otherwise it does not. */
TEST(rule_11_entries_flush_after_downgrades_and_only_then)
{
    static const uint8_t code[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp back */
    struct vm_test v;

    CHECK(begin(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_reply(&v, NULL));
    for (unsigned round = 0; round < 40; round++) { /* more than the emulator has ASIDs */
        uint64_t before = flushes();
        vm_skip(&v, 1);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_HLT);
        CHECK_EQ(flushes(), before);
        vm_skip(&v, 1);
        op(&v, OP_W0(OP_FILL, round & 1 ? RWXU : SH_READ, 7, v.table[5]));
        op(&v, 7);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(flushes(), before + !(round & 1)); /* rights that come need none */
        vm_skip(&v, 1);
        op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(flushes(), before + !(round & 1) + 1);
    }
}
