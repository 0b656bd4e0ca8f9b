/* SPDX-License-Identifier: BSD-2-Clause */
/* VMs with nested paging: the guest's own tables run before the kernel's, which are of nested format. What
 * the kernel refuses, what the guest does without an exit, what still is one, and that no VMM sees where a
 * table lies. */
#include "support/vm.h"

#define NESTED      SHADOW_NESTED
#define CODE        0x1000ul
#define ROOT        0x10000ul /* the guest's tables: four pages, and a second root */
#define OTHER_ROOT  0x14000ul
#define GDT         0x15000ul
#define IDT         0x16000ul
#define HANDLER     0x2000ul
#define UNMAPPED    0x40000000ul
#define ENTRY_ALL   7u /* present, writable, user */
#define NPF_WRITE   2u
#define NPF_GPA     BIT(32) /* APM vol. 2, 15.25.6: the guest's last step; GPT: its table */
#define NPF_GPT     BIT(33)
#define ERROR_FETCH BIT(4)

static const uint8_t hlt[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp back */

static void put(struct vm_test *v, uint64_t gpa, uint64_t value)
{
    *(volatile uint64_t *)(v->memory + gpa) = value;
}

/* The guest's own tables: 2 MB from 0, 1:1, below each of two roots. */
static void guest_tables(struct vm_test *v)
{
    for (unsigned i = 0; i < 3; i++)
        put(v, ROOT + i * 0x1000, (ROOT + (i + 1) * 0x1000) | ENTRY_ALL);
    put(v, OTHER_ROOT, (ROOT + 0x1000) | ENTRY_ALL);
    for (unsigned i = 0; i < 512; i++)
        put(v, ROOT + 0x3000 + i * 8, (uint64_t)i << 12 | ENTRY_ALL);
}

/* In 64-bit mode on its own tables, about to run `code`, everything mapped. */
static bool begin_at(struct vm_test *v, unsigned place, const void *code, unsigned n)
{
    if (!vm_make_nested(v, place))
        return false;
    vm_load(v, CODE, code, n);
    guest_tables(v);
    if (vm_recv(v) != ERR_OK)
        return false;
    vm_nested_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 256));
    vm_long_mode(v, CODE, 0x8000, false);
    v->r->cr3 = ROOT;
    v->r->want = STATE_CONTROL;
    return true;
}

static bool begin(struct vm_test *v, const void *code, unsigned n)
{
    return begin_at(v, 0, code, n);
}

TEST(paging_of_a_vm_is_chosen_when_it_is_made)
{
    cptr_t s = new_slots(3);

    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, 2, SLOT_CNODE, s, 1), ERR_RANGE);
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, UINT32_MAX, SLOT_CNODE, s, 1), ERR_RANGE);
    CHECK_OK(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, VM_PAGING_NESTED, SLOT_CNODE, s, 1));
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VCPU, VM_PAGING_NESTED, SLOT_CNODE, s + 1, 1), ERR_RANGE);
}

struct refused_op {
    uint64_t w0, w1;
    err_t error;
};

TEST(nested_tables_take_what_fits_them_and_nothing_else)
{
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(NESTED, 2), v.table[7]));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    const struct refused_op list[] = {
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 4), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 1), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_PAE, 2), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(NESTED, 0), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(NESTED, 5), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(NESTED, 4), v.table[2]), 0, ERR_LINKED },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[7], ERR_WRONG_LEVEL }, /* two levels down */
        { OP_W0(OP_LINK, RWXU, 1, v.table[5]), v.table[5], ERR_WRONG_LEVEL },
        { OP_W0(OP_LINK, RWXU, 1, v.table[3]), v.table[8], ERR_STALE_TABLE }, /* never set up */
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), 1024, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), GUEST_FRAMES_MAX, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[4]), 1, ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL, RWXU | SH_LARGE, 1, v.table[4]), 0, ERR_NOT_IN_GUEST }, /* no 2 MB frame */
        { OP_W0(OP_SET_ROOT, 0, 0, v.table[3]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 1, v.table[2]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_ROOT_LIST, 0, 0, v.table[2]), ROOT, ERR_WRONG_LEVEL },
    };
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        unsigned code = list[i].w0 & 0xff;
        op(&v, list[i].w0);
        if (code != OP_SETUP && code != OP_SET_ROOT)
            op(&v, list[i].w1);
        err_t e = vm_reply(&v, NULL);
        if (e != list[i].error)
            print_number("# operation ", i, " of the list\n");
        CHECK_EQ(e, list[i].error);
        CHECK(vm_audit(&v));
    }
}

TEST(shadow_vms_have_no_nested_tables)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    for (unsigned level = 1; level <= 4; level++) {
        op(&v, OP_W0(OP_SETUP, 0, SHADOW_KIND(NESTED, level), v.table[8]));
        CHECK_EQ(vm_reply(&v, NULL), ERR_WRONG_LEVEL);
    }
}

TEST(real_mode_guest_runs_unpaged_and_faults_by_guest_address)
{
    struct vm_test v;
    static const uint8_t code[] = {
        0xa2, 0x00, 0x50, 0xa0, 0x00, 0x60, 0xf4
    }; /* mov %al, 5000h; mov 6000h, %al */

    CHECK(vm_make_nested(&v, 0));
    vm_load(&v, 0x101000, code, sizeof(code));
    v.memory[0x203000] = 0x5a;
    CHECK_OK(vm_recv(&v));
    vm_nested_tables(&v);
    vm_real_mode(&v, 0x1000);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_NPF); /* the fetch */
    CHECK_EQ(v.x->info[0], 0x1000);
    CHECK_EQ(v.x->info[1] & (NPF_GPA | NPF_GPT | ERROR_FETCH | 3), NPF_GPA | ERROR_FETCH);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_EXEC | SH_USER, 1, v.table[5]));
    op(&v, 0x101);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_NPF); /* the write */
    CHECK_EQ(v.x->info[0], 0x5000);
    CHECK_EQ(v.x->info[1] & (NPF_GPA | 3), NPF_GPA | NPF_WRITE);
    op(&v, OP_W0(OP_FILL, RWXU, 5, v.table[5]));
    op(&v, 0x202);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_USER, 6, v.table[5]));
    op(&v, 0x203);
    v.r->groups = STATE_GPRS;
    v.r->gpr_mask = 1u << RAX;
    v.r->gpr[RAX] = 0x77;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.memory[0x202000], 0x77);
    CHECK_EQ(v.x->gpr[RAX] & 0xff, 0x5a);
    CHECK(vm_audit(&v));
}

TEST(nested_leaf_has_no_more_rights_than_the_guest_space)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x88, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00 }; /* mov %al, 0x5000 */

    CHECK(vm_make_nested(&v, 0));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 1),
                         CHANGE_W1(5, 0)));
    vm_load(&v, CODE, code, sizeof(code));
    guest_tables(&v);
    CHECK_OK(vm_recv(&v));
    vm_nested_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 256));
    vm_long_mode(&v, CODE, 0x8000, false);
    v.r->cr3 = ROOT;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_NPF);
    CHECK_EQ(v.x->info[0], 0x5000);
    CHECK_EQ(v.x->info[1] & (NPF_GPA | 3), NPF_GPA | 3);
}

TEST(a_missing_page_of_the_guests_tables_is_an_exit_that_says_so)
{
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    v.words = 0; /* the run without the guest's page directory */
    vm_nested_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 0x12));
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0x13, v.table[5]));
    op(&v, OP_W1_RUN(0x13, 8));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_NPF);
    CHECK_EQ(v.x->info[0], ROOT + 0x2000);
    CHECK_EQ(v.x->info[1] & (NPF_GPA | NPF_GPT), NPF_GPT);
    op(&v, OP_W0(OP_FILL, RWXU, 0x12, v.table[5]));
    op(&v, 0x12);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
}

TEST(nested_guest_loads_cr3_and_invalidates_pages_by_itself)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0x0f, 0x01, 0x38, 0x0f, 0x20, 0xdb, 0xf4 };
    /* mov %rax, %cr3; invlpg (%rax); mov %cr3, %rbx; hlt */

    CHECK(begin(&v, code, sizeof(code)));
    v.r->gpr_mask |= 1u << RAX;
    v.r->gpr[RAX] = OTHER_ROOT;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->seq, 2);
    CHECK_EQ(v.x->gpr[RBX], OTHER_ROOT);
    CHECK(v.x->valid & STATE_CONTROL);
    CHECK_EQ(v.x->cr3, OTHER_ROOT);
    CHECK_EQ(v.x->cr3_loads, 0);
    /* an answer without control registers leaves what the guest loaded, one with them sets it */
    vm_load(&v, CODE, hlt, sizeof(hlt));
    v.r->groups = STATE_RIP;
    v.r->rip = CODE;
    v.r->cr3 = 0x5000;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->cr3, OTHER_ROOT);
    vm_long_mode(&v, CODE, 0x8000, false);
    v.r->cr3 = ROOT;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->cr3, ROOT);
}

TEST(nested_guest_takes_its_page_faults_by_itself)
{
    struct vm_test v;
    static const uint8_t touch[] = { 0x8a, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40 }; /* mov 0x40000000, %al */

    CHECK(begin(&v, touch, sizeof(touch)));
    vm_load(&v, HANDLER, hlt, sizeof(hlt));
    put(&v, GDT + 8, 0x00af9b000000ffff);
    put(&v, GDT + 16, 0x00cf93000000ffff);
    put(&v, IDT + 14 * 16, (HANDLER & 0xffff) | 8ul << 16 | 0x8eul << 40);
    v.r->seg[SEG_GDTR].base = GDT;
    v.r->seg[SEG_GDTR].limit = 0x17;
    v.r->seg[SEG_IDTR].base = IDT;
    v.r->seg[SEG_IDTR].limit = 0xfff;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->seq, 2);
    CHECK_EQ(v.x->rip, HANDLER);
    CHECK_EQ(v.x->cr2, UNMAPPED);
}

/* What else could lead out of the guest, or show it what it really runs on, is an exit as ever. */
TEST(nested_guest_exits_for_all_else)
{
    static const struct {
        uint8_t code[8];
        uint32_t kind, info;
    } row[] = {
        { { 0x0f, 0x20, 0xc0 }, EXIT_CR, 0 },                     /* mov %cr0, %rax */
        { { 0x0f, 0x22, 0xc0 }, EXIT_CR, 0x10 },                  /* mov %rax, %cr0 */
        { { 0x0f, 0x22, 0xe0 }, EXIT_CR, 0x14 },                  /* mov %rax, %cr4 */
        { { 0x44, 0x0f, 0x22, 0xc0 }, EXIT_CR, 0x18 },            /* mov %rax, %cr8 */
        { { 0x0f, 0x23, 0xf8 }, EXIT_DR, 0 },                     /* mov %rax, %db7 */
        { { 0x0f, 0x01, 0xdf }, EXIT_INSTRUCTION, INSN_INVLPGA }, /* invlpga */
        { { 0x0f, 0x01, 0xd8 }, EXIT_INSTRUCTION, INSN_SVM },     /* vmrun */
        { { 0x0f, 0x09 }, EXIT_INSTRUCTION, INSN_WBINVD },        /* wbinvd */
        { { 0x0f, 0x30 }, EXIT_MSR, 1 },                          /* wrmsr */
        { { 0xe6, 0x80 }, EXIT_IO, 0x800010 },                    /* out %al, $0x80 */
        { { 0x0f, 0xa2 }, EXIT_CPUID, 0 },                        /* cpuid */
    };
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        vm_load(&v, CODE, row[i].code, sizeof(row[i].code));
        vm_long_mode(&v, CODE, 0x8000, false);
        v.r->cr3 = ROOT;
        /* What the register cannot be is #GP before it is an exit (APM vol. 2, 15.9). */
        v.r->gpr[RAX] = row[i].info == 0x10 ? 0x80000011 : row[i].info == 0x14 ? 0x20 : 0;
        v.r->gpr_mask |= BIT(RAX);
        CHECK_OK(vm_reply(&v, NULL));
        if (v.x->kind != row[i].kind || v.x->info[0] != row[i].info)
            print_number("# row ", i, "\n");
        CHECK_EQ(v.x->kind, row[i].kind);
        CHECK_EQ(v.x->info[0], row[i].info);
    }
}

TEST(taking_memory_away_makes_nested_roots_stale)
{
    struct vm_test v;
    uint64_t index;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    uint64_t epoch = v.x->epoch;
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_UNMAP, 0, 2), CHANGE_W1(6, 0)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK(v.x->epoch > epoch);
    CHECK_EQ(v.x->cr3, ROOT); /* the guest's, whatever its tables are */
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_EQ(vm_reply(&v, &index), ERR_STALE_TABLE);
    vm_nested_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 6));
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 8, v.table[5]));
    op(&v, OP_W1_RUN(8, 32));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK(vm_audit(&v));
}

static uint64_t flushes(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? IPC->words[COUNT_FLUSHES] : UINT64_MAX;
}

TEST(entries_on_nested_tables_flush_after_downgrades_and_only_then)
{
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    uint64_t before = flushes();
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(flushes(), before);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_USER, 7, v.table[5]));
    op(&v, 7);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(flushes(), before + 1);
    op(&v, OP_W0(OP_FILL, RWXU, 7, v.table[5]));
    op(&v, 7);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(flushes(), before + 1);
    op(&v, OP_W0(OP_FLUSH, 0, 0, 0));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(flushes(), before + 2);
}

/* I4: CR3 of a vCPU held a shadow root when its VM went; a nested one would show it to guest and VMM. */
TEST(vcpu_that_comes_to_a_nested_vm_brings_no_root_with_it)
{
    struct vm_test v;
    cptr_t nested = new_object(OBJ_VM, VM_PAGING_NESTED);

    CHECK(vm_make(&v));
    vm_load(&v, CODE, hlt, sizeof(hlt));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, CODE, 0x8000, false);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_OK(delete_cap(v.vm));
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_BIND, nested));
    CHECK_OK(sys_invoke1(nested, VM_BIND, v.space));
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_SYNC, STATE_CONTROL));
    CHECK_EQ(v.x->cr3, 0);
}

/* And back: what a nested guest did by itself is an exit again. */
TEST(vcpu_that_comes_from_a_nested_vm_is_intercepted_again)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0xf4 }; /* mov %rax, %cr3 */
    cptr_t tables = new_objects(OBJ_SHADOW, 0, VM_TABLES);

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_OK(delete_cap(v.vm));
    v.vm = new_object(OBJ_VM, VM_PAGING_SHADOW);
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_BIND, v.vm));
    CHECK_OK(sys_invoke1(v.vm, VM_BIND, v.space));
    for (unsigned i = 0; i < VM_TABLES; i++) {
        v.table[i] = tables + i;
        CHECK_OK(sys_invoke1(v.table[i], SHADOW_BIND, v.vm));
    }
    vm_load(&v, CODE, code, sizeof(code));
    vm_long_tables(&v);
    vm_long_mode(&v, CODE, 0x8000, false);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_CR);
    CHECK_EQ(v.x->info[0], 0x13);
    static const uint8_t invlpg[] = { 0x0f, 0x01, 0x38 };
    vm_load(&v, CODE, invlpg, sizeof(invlpg));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_INVLPG);
    CHECK(vm_audit(&v));
}

/* I4: where the processor leaves its own state in place of the guest's (TCG does), registers and tables are
 * not the VMM's to see. */
TEST(a_refused_entry_shows_nothing_of_the_host)
{
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    v.r->cr3 = BIT(60);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_BROKEN);
    CHECK_EQ(v.x->cr3, 0);
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_SYNC, STATE_ALL));
    CHECK_EQ(v.x->cr3 | v.x->rip | v.x->gpr[RAX] | v.x->gpr[RSP], 0);
    for (unsigned i = 0; i < SEGS; i++)
        CHECK_EQ(v.x->seg[i].base | v.x->seg[i].selector | v.x->seg[i].limit, 0);
    CHECK_EQ(v.x->dr6 | v.x->dr7, 0);
    CHECK_EQ(vm_reply(&v, NULL), ERR_WRONG_STATE);
}

static uint64_t emptied(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_TLB, 0) };

    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? m.w[TLB_EMPTIED] : UINT64_MAX;
}

/* I3: a VMRUN that is refused empties nothing. Where it was to empty the TLB, since no ASID was left (of the
 * emulator's 15 each round takes two), the next entry does. */
TEST(what_a_refused_entry_owes_is_owed_by_the_next)
{
    struct vm_test v, other;
    unsigned owed = 0;

    CHECK(begin_at(&v, 0, hlt, sizeof(hlt)) && begin_at(&other, 1, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&other, NULL));
    for (unsigned n = 0; n < 40; n++) {
        uint64_t before = emptied();
        if (n) {
            vm_long_mode(&v, CODE, 0x8000, false);
            op(&v, OP_W0(OP_SET_ROOT, 0, 0, v.table[2]));
        }
        v.r->cr3 = BIT(60);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_BROKEN);
        bool by_refused = emptied() != before;
        op(&other, OP_W0(OP_FLUSH, 0, 0, 0));
        CHECK_OK(vm_reply(&other, NULL));
        CHECK_EQ(other.x->kind, EXIT_HLT);
        if (by_refused) {
            CHECK_EQ(emptied(), before + 2);
            owed++;
        }
        CHECK(delete_cap(v.vcpu) == ERR_OK); /* it never runs again */
        v.vcpu = new_object(OBJ_VCPU, 0);
        CHECK(vm_vcpu(&v) && vm_recv(&v) == ERR_OK);
    }
    CHECK(owed > 1 || !boot->debug);
    CHECK(vm_audit(&v) && vm_audit(&other));
}
