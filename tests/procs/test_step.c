/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that debugs itself: single steps, hardware breakpoints and ICEBP reach the guest's VMM or the
 * guest, never the kernel. tests/system/test_bochs.py runs this on bochs as well, where a step over an
 * intercepted instruction does arrive in the kernel. */
#include "support/vm.h"

#define CODE         0x1000
#define HANDLER      0x1800
#define IDT          0x2000
#define GDT          0x3000
#define TF           0x100u
#define KERNEL_TEXT  0xffffffff80100000ul /* kernel/arch/x86_64/kernel.ld; stack and data lie behind it */
#define TEXT_BYTES   0x10000u
#define DATA_BYTES   0x40000u
#define DR6_INIT     0xffff0ff0u
#define ALL_EXECUTE  0x000004ffu /* DR7: four breakpoints, on execution */
#define ALL_ACCESSES 0xbbbb04ffu /* four watchpoints of 8 bytes, on reads and writes */

/* The guest in 64-bit code at CODE with a GDT and an IDT whose vectors 1 and 6 lead to HLT. */
static bool begin(struct vm_test *v, const uint8_t *code, unsigned n)
{
    static const uint8_t gdt_code[8] = { 0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0 },
                         handler[] = { 0xf4, 0xeb, 0xfd };
    static const uint8_t gate[6] = { HANDLER & 0xff, HANDLER >> 8, 8, 0, 0, 0x8e };

    if (!vm_make(v))
        return false;
    vm_load(v, CODE, code, n);
    vm_load(v, HANDLER, handler, sizeof(handler));
    vm_load(v, GDT + 8, gdt_code, sizeof(gdt_code));
    vm_load(v, IDT + 1 * 16, gate, sizeof(gate));
    vm_load(v, IDT + 6 * 16, gate, sizeof(gate));
    if (vm_recv(v) != ERR_OK)
        return false;
    vm_long_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 16));
    vm_long_mode(v, CODE, 0x8000, false);
    v->r->seg[SEG_GDTR].base = GDT;
    v->r->seg[SEG_IDTR].base = IDT;
    v->r->groups |= STATE_DEBUG;
    v->r->dr6 = DR6_INIT;
    v->r->dr7 = 0x400;
    return true;
}

struct intercepted {
    uint8_t n, code[5];
    enum exit_kind kind;
};
static const struct intercepted list[] = {
    { 2, { 0x0f, 0xa2 }, EXIT_CPUID },
    { 1, { 0xf4 }, EXIT_HLT },
    { 3, { 0x0f, 0x01, 0x38 }, EXIT_INVLPG },      /* invlpg [rax] */
    { 2, { 0xe4, 0x10 }, EXIT_IO },                /* in al, 10h */
    { 2, { 0xe6, 0x80 }, EXIT_IO },                /* out 80h, al */
    { 1, { 0x6e }, EXIT_IO },                      /* outsb */
    { 2, { 0x0f, 0x32 }, EXIT_MSR },               /* rdmsr */
    { 2, { 0x0f, 0x30 }, EXIT_MSR },               /* wrmsr */
    { 3, { 0x0f, 0x20, 0xc0 }, EXIT_CR },          /* mov rax, cr0 */
    { 3, { 0x0f, 0x22, 0xd8 }, EXIT_CR },          /* mov cr3, rax */
    { 2, { 0x0f, 0x06 }, EXIT_CR },                /* clts */
    { 3, { 0x0f, 0x21, 0xf8 }, EXIT_DR },          /* mov rax, dr7 */
    { 2, { 0x0f, 0x09 }, EXIT_INSTRUCTION },       /* wbinvd */
    { 3, { 0x0f, 0x01, 0xd9 }, EXIT_INSTRUCTION }, /* vmmcall */
    { 3, { 0x0f, 0x01, 0xd8 }, EXIT_INSTRUCTION }, /* vmrun */
    { 2, { 0x0f, 0x33 }, EXIT_INSTRUCTION },       /* rdpmc */
    { 4, { 0x8a, 0x04, 0x25, 0x00 }, EXIT_PAGE },  /* mov al, [100000h]: its other bytes follow */
};

TEST(a_single_step_over_an_intercepted_instruction_is_the_exit_alone)
{
    struct vm_test v;

    CHECK(begin(&v, list[0].code, list[0].n));
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        static const uint8_t rest[] = { 0x00, 0x10, 0x00, 0x90, 0x90 };
        unsigned n = list[i].n, behind = list[i].kind == EXIT_PAGE ? 7 : n;

        vm_load(&v, CODE, list[i].code, n);
        vm_load(&v, CODE + n, behind == n ? rest + 3 : rest, behind == n ? 2 : 5); /* nop; nop behind it */
        v.r->groups |= STATE_RIP | STATE_RFLAGS | STATE_GPRS;
        v.r->gpr_mask |= 1u << RAX | 1u << RCX;
        v.r->gpr[RAX] = 0x9000;
        v.r->gpr[RCX] = 0;
        v.r->rip = CODE;
        v.r->rflags = 2 | TF;
        CHECK_OK(vm_reply(&v, NULL));
        if (v.x->kind != list[i].kind)
            print_number("# instruction ", i, " of the list\n");
        CHECK_EQ(v.x->kind, list[i].kind);
        CHECK_EQ(v.x->rip, CODE);
        CHECK(v.x->rflags & TF);
        vm_skip(&v, behind);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_EXCEPTION);
        CHECK_EQ(v.x->info[0], 1);
        CHECK_EQ(v.x->rip, CODE + behind + 1);
    }
    CHECK(vm_audit(&v));
}

/* Answers exits until the guest halts. False: it does not. */
static bool goes_to_hlt(struct vm_test *v, unsigned skip)
{
    for (unsigned i = 0; i < 50; i++) {
        if (vm_reply(v, NULL) != ERR_OK)
            return false;
        if (v->x->kind == EXIT_HLT)
            return true;
        if (v->x->kind != EXIT_EXCEPTION || v->x->info[0] != 1)
            vm_skip(v, skip);
    }
    return false;
}

/* The trap of MOV SS is put off, perhaps up to an instruction that exits. */
TEST(a_step_over_mov_ss_before_an_intercepted_instruction_hurts_nobody)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x31, 0xc0, 0x8e, 0xd0, 0x0f, 0xa2, 0x8e, 0xd0, 0x90, 0xf4 };

    CHECK(begin(&v, code, sizeof(code))); /* xor eax, eax; mov ss, eax; cpuid; mov ss, eax; nop; hlt */
    v.r->rflags = 2 | TF;
    CHECK(goes_to_hlt(&v, 2));
    CHECK_EQ(v.x->rip, CODE + sizeof(code) - 1);
    CHECK(vm_audit(&v));
}

/* ICEBP goes by the guest's IDT, or is undefined (TCG). */
TEST(icebp_is_the_guests_own)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xf1 };

    CHECK(begin(&v, code, sizeof(code)));
    for (unsigned step = 0; step < 2; step++) {
        v.r->groups |= STATE_RIP | STATE_RFLAGS;
        v.r->rip = CODE;
        v.r->rflags = step ? 2 | TF : 2;
        CHECK(goes_to_hlt(&v, 1));
        CHECK_EQ(v.x->rip, HANDLER);
    }
}

static bool sweep(struct vm_test *v, uint64_t bytes, unsigned step, uint32_t dr7)
{
    for (uint64_t at = 0; at < bytes; at += 4 * step) {
        v->r->groups |= STATE_DEBUG | STATE_RIP | STATE_RFLAGS;
        for (unsigned i = 0; i < 4; i++)
            v->r->dr[i] = KERNEL_TEXT + at + i * step;
        v->r->dr6 = DR6_INIT;
        v->r->dr7 = dr7;
        v->r->rip = CODE;
        v->r->rflags = at & 4 * step ? 2 | TF : 2;
        if (vm_reply(v, NULL) != ERR_OK || v->x->kind != EXIT_CPUID || v->x->rip != CODE)
            return false;
    }
    return true;
}

/* DR0..DR3 stay the guest's while the kernel runs: only DR7 keeps them off. */
TEST(breakpoints_of_a_guest_on_all_bytes_of_the_kernel_do_not_fire)
{
    struct vm_test v;

    CHECK(begin(&v, list[0].code, list[0].n));
    CHECK(sweep(&v, TEXT_BYTES, 1, ALL_EXECUTE));
    CHECK(sweep(&v, DATA_BYTES, 8, ALL_ACCESSES));
    CHECK(vm_audit(&v));
}
