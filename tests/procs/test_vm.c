/* SPDX-License-Identifier: BSD-2-Clause */
/* The world switch: small guests whose exits are received here, in user mode. */
#include "support/vm.h"

static const uint8_t real_ten[] = { 0xb0, 0x41, 0xe6, 0xe9, 0x31, 0xc0, 0x0f, 0xa2, 0xf4, 0x90 };

TEST(real_mode_guest_of_ten_bytes)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x7c00, real_ten, sizeof(real_ten));
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->kind, EXIT_START);
    CHECK_EQ(v.x->seq, 1);
    vm_identity(&v, 256);
    vm_real_mode(&v, 0x7c00);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_IO);
    CHECK_EQ(v.x->seq, 2);
    CHECK_EQ(EXIT_IO_PORT(v.x->info[0]), 0xe9);
    CHECK_EQ(EXIT_IO_WIDTH(v.x->info[0]), 1);
    CHECK_EQ(v.x->gpr[RAX] & 0xff, 0x41);
    CHECK_EQ(v.x->rip, 0x7c02);
    CHECK_EQ(v.public->answered, 1);
    vm_skip(&v, 2);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_CPUID);
    vm_skip(&v, 2);
    v.r->groups |= STATE_GPRS;
    v.r->gpr_mask = 1u << RAX | 1u << RBX;
    v.r->gpr[RAX] = 7;
    v.r->gpr[RBX] = 0x1234;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->rip, 0x7c08);
    CHECK_EQ(v.x->gpr[RAX], 7);
    CHECK_EQ(v.x->gpr[RBX], 0x1234);
}

TEST(unanswered_exit_is_received_again)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->seq, 1);
    v.r->seq = 7;
    struct sys_message m = { 0 };
    CHECK_EQ(sys_reply_recv(v.vcpu, 0, &m), ERR_WRONG_SEQUENCE);
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->seq, 1);
}

/* Who reads the number must not take the first exits of a guest that begins for ones that were answered. */
TEST(of_a_vm_whose_vcpu_is_another_one_no_exit_was_answered)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x7c00, real_ten, sizeof(real_ten));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 256);
    vm_real_mode(&v, 0x7c00);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.public->answered, 1);
    cptr_t beside = new_object(OBJ_VCPU, 0);
    CHECK_OK(sys_invoke1(beside, VCPU_BIND, v.vm));
    CHECK_EQ(v.public->answered, 1);
    CHECK_OK(delete_cap(beside));
    CHECK_OK(delete_cap(v.vcpu));
    CHECK_EQ(v.public->answered, 1);
    v.vcpu = new_object(OBJ_VCPU, 0);
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_BIND, v.vm));
    CHECK_EQ(v.public->answered, 0);
}

TEST(missing_root_is_an_exit)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    vm_real_mode(&v, 0x7c00);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
}

/* 64-bit code with tables of its own making: every touch is a page fault until it is shadowed. */
TEST(long_mode_guest_faults_and_fills)
{
    struct vm_test v;
    /* mov %rax, (0x5000); mov 0x6000, %rbx; hlt */
    static const uint8_t code[] = { 0x48, 0x89, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, 0x48,
                                    0x8b, 0x1c, 0x25, 0x00, 0x60, 0x00, 0x00, 0xf4 };

    CHECK(vm_make(&v));
    vm_load(&v, 0x101000, code, sizeof(code));
    v.memory[0x203000] = 0x5a;
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->gpr_mask |= 1u << RAX;
    v.r->gpr[RAX] = 0x1122334455667788;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE); /* the fetch */
    CHECK_EQ(v.x->info[0], 0x1000);
    CHECK_EQ(v.x->info[1] & 0x11, 0x10);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_EXEC, 1, v.table[5]));
    op(&v, 0x101);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE); /* the write */
    CHECK_EQ(v.x->info[0], 0x5000);
    CHECK_EQ(v.x->info[1], 2);
    op(&v, OP_W0(OP_FILL, SH_READ, 5, v.table[5]));
    op(&v, 0x202);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind,
             EXIT_PAGE); /* the write again, to a read-only entry: WP is on whatever the guest says */
    CHECK_EQ(v.x->info[1], 3);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_WRITE, 5, v.table[5]));
    op(&v, 0x202);
    op(&v, OP_W0(OP_FILL, SH_READ, 6, v.table[5]));
    op(&v, 0x203);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->gpr[RBX] & 0xff, 0x5a);
    CHECK_EQ(*(volatile uint64_t *)(v.memory + 0x202000), 0x1122334455667788);
}

TEST(user_code_cannot_touch_supervisor_pages)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x8a, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00 }; /* mov 0x5000, %al */

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, true);
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    op(&v, OP_W0(OP_FILL, SH_READ | SH_WRITE, 5, v.table[5]));
    op(&v, 5);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    CHECK_EQ(v.x->info[1], 5);
    CHECK_EQ(v.x->cpl, 3);
}

/* I1: read-only in the guest space stays read-only in the shadow. */
TEST(shadow_leaf_has_no_more_rights_than_the_guest_space)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x88, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00 }; /* mov %al, 0x5000 */

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, 1),
                         CHANGE_W1(5, 0)));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 8));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    CHECK_EQ(v.x->info[0], 0x5000);
    CHECK_EQ(v.x->info[1], 3);
}

/* I1..I3: what is taken away ends the epoch; the guest does not run on old tables. */
TEST(taking_memory_away_makes_roots_stale)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp back */
    uint64_t index;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 8));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    uint64_t epoch = v.x->epoch;
    CHECK_OK(sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_UNMAP, 0, 2), CHANGE_W1(6, 0)));
    vm_skip(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK(v.x->epoch > epoch);
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_EQ(vm_reply(&v, &index), ERR_STALE_TABLE);
    vm_long_tables(&v);
    unsigned before = v.words;
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 8));
    CHECK_EQ(vm_reply(&v, &index), ERR_NOT_IN_GUEST);
    CHECK_EQ(index, before);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 6));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
}

TEST(destroying_a_linked_table_ends_the_epoch)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xf4, 0xeb, 0xfd };

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_DELETE, v.table[5]));
    vm_skip(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
}

struct refused_op {
    uint64_t w0, w1;
    err_t error;
};

TEST(operations_are_refused_with_an_error_of_their_own)
{
    struct vm_test v, other;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    other.vm = new_object(OBJ_VM, 0);
    cptr_t foreign = new_object(OBJ_SHADOW, 0);
    CHECK_OK(sys_invoke1(foreign, SHADOW_BIND, other.vm));
    const struct refused_op list[] = {
        { OP_W0(OP_FILL, RWXU, 0, v.table[4]), 1, ERR_WRONG_LEVEL },
        { OP_W0(OP_FILL, RWXU, 512, v.table[5]), 1, ERR_RANGE },
        { OP_W0(OP_FILL, SH_WRITE, 0, v.table[5]), 1, ERR_RANGE },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), 1024, ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU, 0, v.table[5]), BIT(40), ERR_NOT_IN_GUEST },
        { OP_W0(OP_FILL, RWXU | SH_LARGE, 1, v.table[4]), 0, ERR_NOT_IN_GUEST },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[4], ERR_WRONG_LEVEL },
        { OP_W0(OP_LINK, RWXU, 1, v.table[5]), v.table[4], ERR_WRONG_LEVEL },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.table[8], ERR_STALE_TABLE },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), foreign, ERR_WRONG_VM },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), v.space, ERR_WRONG_TYPE },
        { OP_W0(OP_LINK, RWXU, 1, v.table[2]), 0, ERR_NO_CAP },
        { OP_W0(OP_LINK, RWXU, 600, v.table[2]), v.table[3], ERR_RANGE },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 1), v.table[5]), 0, ERR_LINKED },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 4), v.table[2]), 0, ERR_LINKED },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_LONG, 5), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SETUP, 0, SHADOW_KIND(SHADOW_PAE, 3), v.table[8]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 0, v.table[3]), 0, ERR_WRONG_LEVEL },
        { OP_W0(OP_SET_ROOT, 0, 4, 0), 0, ERR_RANGE },
        { OP_W0(OP_ROOT_LIST, 0, 16, v.table[2]), 0, ERR_RANGE },
        { OP_W0(0, 0, 0, 0), 0, ERR_BAD_OPERATION },
        { OP_W0(OP_CODES, 0, 0, 0), 0, ERR_BAD_OPERATION },
    };
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        uint64_t index = 99;
        op(&v, list[i].w0);
        op(&v, list[i].w1);
        err_t e = vm_reply(&v, &index);
        if (e != list[i].error)
            print_number("# operation ", i, " of the list\n");
        CHECK_EQ(e, list[i].error);
        CHECK_EQ(index, 0);
    }
    op(&v, OP_W0(OP_LINK, 0, 0, 0)); /* cut short */
    CHECK_EQ(vm_reply(&v, NULL), ERR_BAD_OPERATION);
    v.words = REPLY_OPS_MAX + 1;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
}

TEST(bad_register_values_are_refused_and_change_nothing)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->efer |= BIT(12); /* SVME */
    CHECK_EQ(vm_reply(&v, NULL), ERR_BAD_STATE_VALUE);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->seg[SEG_FS].base = BIT(50);
    CHECK_EQ(vm_reply(&v, NULL), ERR_BAD_STATE_VALUE);
    v.r->event = EVENT_MAKE(2, EVENT_EXCEPTION);
    CHECK_EQ(vm_reply(&v, NULL), ERR_BAD_STATE_VALUE);
    v.r->groups = STATE_ALL + 1;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
    CHECK_OK(sys_invoke1(v.vcpu, VCPU_SYNC, STATE_CONTROL));
    CHECK_EQ(v.x->cr0, 0x60000010);
}

/* A signal is an exit, also of a guest that spins, and of one that is parked. */
static void check_signals(uint64_t rflags)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xeb, 0xfe }; /* jmp . */

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    cptr_t timer = new_object(OBJ_TIMER, 0), badged = new_slot();
    CHECK_OK(sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, v.notification, RIGHT_ALL, 0x10));
    CHECK_OK(sys_invoke1(timer, TIMER_BIND, badged));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    v.r->rflags = rflags;
    CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
    CHECK_EQ(v.x->events, 0x10);
    CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz / 100));
    v.r->flags = REPLY_PARK;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
}

TEST(signals_arrive_as_exits)
{
    check_signals(0x202);
}

TEST(signals_end_a_guest_that_has_interrupts_off)
{
    check_signals(2);
}

/* The guest executes CPUID for ever: an exit that is answered by the kernel's short path (kernel/fastexit.c).
 */
static void spin_on_cpuid(struct vm_test *v)
{
    static const uint8_t code[] = { 0x0f, 0xa2, 0xeb, 0xfc };

    vm_load(v, 0x7c00, code, sizeof(code));
    CHECK_OK(vm_recv(v));
    vm_identity(v, 256);
    vm_real_mode(v, 0x7c00);
    CHECK_OK(vm_reply(v, NULL));
    CHECK_EQ(v->x->kind, EXIT_CPUID);
    vm_skip(v, 2);
    CHECK_OK(vm_reply(v, NULL));
    CHECK_EQ(v->x->kind, EXIT_CPUID);
    CHECK_EQ(v->x->rip, 0x7c00);
}

TEST(signal_before_an_answer_is_an_exit_before_the_guest_runs)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    spin_on_cpuid(&v);
    CHECK_OK(sys_signal(v.notification));
    vm_skip(&v, 2);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
    CHECK_EQ(v.x->rip, 0x7c02);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_CPUID);
}

/* The world switch loads other bases; the thread's own are there again when it returns. */
TEST(receiver_keeps_its_fs_and_gs_base)
{
    struct vm_test v;
    uint64_t fs = 0x123456789000, gs = 0x0fedcba98000, old_fs, old_gs, fs_after, gs_after;

    CHECK(vm_make(&v));
    spin_on_cpuid(&v);
    __asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(old_fs), "=r"(old_gs));
    __asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(fs), "r"(gs));
    for (unsigned i = 0; i < 3; i++) {
        vm_skip(&v, 2);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_CPUID);
    }
    __asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(fs_after), "=r"(gs_after));
    __asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(old_fs), "r"(old_gs));
    CHECK_EQ(fs_after, fs);
    CHECK_EQ(gs_after, gs);
}

/* The window exit comes when the guest can take an interrupt, not before; the injected interrupt is taken. */
TEST(interrupt_window_and_injection)
{
    struct vm_test v;
    /* nop; sti; nop; nop; jmp . */
    static const uint8_t code[] = { 0x90, 0xfb, 0x90, 0x90, 0xeb, 0xfe };

    CHECK(vm_make(&v));
    vm_load(&v, 0x7c00, code, sizeof(code));
    v.memory[0x20 * 4] = 0x00; /* vector 20h -> 0:9000h, hlt */
    v.memory[0x20 * 4 + 1] = 0x90;
    v.memory[0x9000] = 0xf4;
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 256);
    vm_real_mode(&v, 0x7c00);
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_WINDOW);
    CHECK(v.x->rflags & 0x200);
    CHECK(v.x->rip >= 0x7c02);
    v.r->event = EVENT_MAKE(0x20, EVENT_INTERRUPT);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->rip, 0x9000);
}

TEST(a_window_that_is_open_is_an_exit_before_the_next_instruction)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x90, 0xf4 }; /* nop; hlt */

    CHECK(vm_make(&v));
    vm_load(&v, 0x7c00, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    vm_real_mode(&v, 0x7c00);
    v.r->rflags = 0x202;
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_WINDOW);
    CHECK_EQ(v.x->rip, 0x7c00);
    CHECK_EQ(v.x->ilen, 0);
    CHECK_EQ(v.x->interrupted, 0);
    CHECK_OK(vm_reply(&v, NULL)); /* it was asked for once */
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->rip, 0x7c01);
}

/* FPU state of guest and VMM do not mix. */
TEST(fpu_state_of_guest_is_its_own)
{
    struct vm_test v;
    /* movq %rax, %xmm3; hlt; movq %xmm3, %rbx; hlt */
    static const uint8_t code[] = { 0x66, 0x48, 0x0f, 0x6e, 0xd8, 0xf4, 0x66, 0x48, 0x0f, 0x7e, 0xdb, 0xf4 };
    uint64_t mine = 0x1111, seen;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->gpr_mask |= 1u << RAX;
    v.r->gpr[RAX] = 0x2222;
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    __asm__ volatile("movq %0, %%xmm3" : : "r"(mine) : "xmm3");
    CHECK_OK(vm_reply(&v, NULL));
    __asm__ volatile("movq %%xmm3, %0" : "=r"(seen));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(seen, mine);
    vm_skip(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->gpr[RBX], 0x2222);
}

TEST(triple_fault_is_a_shutdown_exit)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x0f, 0x0b }; /* ud2 without an IDT */

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->seg[SEG_IDTR].limit = 0;
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK(v.x->kind == EXIT_SHUTDOWN || (v.x->kind == EXIT_EXCEPTION && v.x->info[0] == 8));
}

/* Injected events are not intercepted: what the guest makes of this one is a triple fault. */
TEST(an_injected_double_fault_without_an_idt_is_a_shutdown_exit)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xf4 }; /* hlt */

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->seg[SEG_IDTR].limit = 0;
    v.r->event = EVENT_MAKE(8, EVENT_EXCEPTION) | 1ul << 11; /* with an error code, 0 */
    op(&v, OP_W0(OP_FILL, RWXU, 1, v.table[5]));
    op(&v, 1);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_SHUTDOWN);
}
