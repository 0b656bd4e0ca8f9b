/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads of CR3 that the kernel serves from a vCPU's root list without its VMM: when it does, what the VMM is
 * told, what is flushed, and all that must stay an exit. */
#include "support/vm.h"

#define LONG  SHADOW_LONG
#define CR3_A 0x5000ul
#define CR3_B 0x6018ul /* PCD and PWT belong to the value */
#define CODE  0x1000ul
#define TOLD  0x7000ul /* a page that the two roots lead elsewhere */

/* Root A is table 2 (tables 2..5), root B is table 6 (tables 6..9): 16 pages 1:1, but TOLD is gfn 100 under
 * B. */
static void two_roots(struct vm_test *v)
{
    vm_long_tables(v);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 16));
    for (unsigned i = 0; i < 4; i++)
        op(v, OP_W0(OP_SETUP, 0, SHADOW_KIND(LONG, 4 - i), v->table[6 + i]));
    for (unsigned i = 0; i < 3; i++) {
        op(v, OP_W0(OP_LINK, RWXU, 0, v->table[6 + i]));
        op(v, v->table[7 + i]);
    }
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[9]));
    op(v, OP_W1_RUN(0, 16));
    op(v, OP_W0(OP_FILL, RWXU, TOLD >> 12, v->table[9]));
    op(v, 100);
}

static void list(struct vm_test *v, unsigned place, cptr_t table, uint64_t cr3)
{
    op(v, OP_W0(OP_ROOT_LIST, 0, place, table));
    op(v, cr3);
}

/* The guest is about to run code at CODE in 64-bit mode, with rax = CR3_B and rcx = CR3_A, both listed.
 * Should it run for ever, it is told so after a while. */
static bool begin(struct vm_test *v, const uint8_t *code, unsigned n)
{
    if (!vm_make(v))
        return false;
    cptr_t timer = new_object(OBJ_TIMER, 0);
    if (sys_invoke1(timer, TIMER_BIND, v->notification) != ERR_OK ||
        sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz * 15) != ERR_OK)
        return false;
    vm_load(v, CODE, code, n);
    v->memory[TOLD] = 0xaa;
    v->memory[100 * 4096] = 0xbb;
    if (vm_recv(v) != ERR_OK)
        return false;
    two_roots(v);
    list(v, 3, v->table[6], CR3_B);
    list(v, 9, v->table[2], CR3_A);
    vm_long_mode(v, CODE, 0x8000, false);
    v->r->gpr_mask |= 1u << RAX | 1u << RCX;
    v->r->gpr[RAX] = CR3_B;
    v->r->gpr[RCX] = CR3_A;
    return true;
}

static uint64_t counter(enum counter c)
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    sys_call(SLOT_KERNEL, &m);
    return c < MSG_REGISTERS ? m.w[c] : IPC->words[c];
}

/* mov cr3, rax; mov bl, [7000h]; mov cr3, rcx; mov dl, [7000h]; hlt; jmp back */
static const uint8_t there_and_back[] = { 0x0f, 0x22, 0xd8, 0x8a, 0x1c, 0x25, 0x00, 0x70,
                                          0x00, 0x00, 0x0f, 0x22, 0xd9, 0x8a, 0x14, 0x25,
                                          0x00, 0x70, 0x00, 0x00, 0xf4, 0xeb, 0xe9 };

TEST(load_of_a_listed_root_is_served_and_told_with_the_next_exit)
{
    struct vm_test v;

    CHECK(begin(&v, there_and_back, sizeof(there_and_back)));
    uint64_t served = counter(COUNT_CR3_SERVED), switches = counter(COUNT_EXITS);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->seq, 2);
    CHECK_EQ(v.x->rip, CODE + 20);
    CHECK_EQ(v.x->gpr[RBX] & 0xff, 0xbb);
    CHECK_EQ(v.x->gpr[RDX] & 0xff, 0xaa);
    CHECK_EQ(v.x->cr3_loads, 2);
    CHECK_EQ(v.x->cr3, CR3_A);
    CHECK_EQ(counter(COUNT_CR3_SERVED) - served, 2);
    CHECK(counter(COUNT_EXITS) - switches >= 3);
    CHECK(vm_audit(&v));
    CHECK_OK(vm_recv(&v)); /* unanswered, it says the same again (I7) */
    CHECK_EQ(v.x->seq, 2);
    CHECK_EQ(v.x->cr3_loads, 2);
    CHECK_EQ(v.x->cr3, CR3_A);
    vm_skip(&v, 1);
    v.r->groups |= STATE_GPRS;
    v.r->gpr_mask = 1u << RAX; /* the next one is not listed, nothing is served since this answer */
    v.r->gpr[RAX] = 0x9000;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_CR);
    CHECK_EQ(v.x->rip, CODE);
    CHECK_EQ(v.x->cr3_loads, 0);
}

struct form {
    uint8_t n, code[6];
    enum gpr gpr;
    bool served;
};

TEST(only_the_plain_encodings_are_served)
{
    static const struct form forms[] = {
        { 3, { 0x0f, 0x22, 0xd8 }, RAX, true },        { 3, { 0x0f, 0x22, 0xdb }, RBX, true },
        { 3, { 0x0f, 0x22, 0xdc }, RSP, true },        { 3, { 0x0f, 0x22, 0xdf }, RDI, true },
        { 4, { 0x41, 0x0f, 0x22, 0xd8 }, R8, true },   { 4, { 0x41, 0x0f, 0x22, 0xdc }, R12, true },
        { 4, { 0x4b, 0x0f, 0x22, 0xdf }, R15, true },  { 4, { 0x48, 0x0f, 0x22, 0xd8 }, RAX, true },
        { 3, { 0x0f, 0x20, 0xd8 }, RAX, false },       /* from CR3 */
        { 3, { 0x0f, 0x22, 0xe0 }, RAX, false },       /* CR4 */
        { 3, { 0x0f, 0x22, 0xc0 }, RAX, false },       /* CR0 */
        { 4, { 0x44, 0x0f, 0x22, 0xc0 }, RAX, false }, /* CR8 */
    };
    struct vm_test v;

    CHECK(begin(&v, there_and_back, sizeof(there_and_back)));
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const struct form *f = &forms[i];
        vm_load(&v, CODE, f->code, f->n);
        v.memory[CODE + f->n] = 0xf4;
        vm_long_mode(&v, CODE, 0x8000, false);
        v.r->gpr_mask |= 1u << f->gpr;
        v.r->gpr[f->gpr] = i % 2 ? CR3_A : CR3_B;
        CHECK_OK(vm_reply(&v, NULL));
        if ((v.x->kind == EXIT_HLT) != f->served)
            print_number("# form ", i, "\n");
        if (!f->served) { /* an exit, whatever the processor thinks of the value */
            CHECK(v.x->kind != EXIT_HLT && v.x->cr3_loads == 0);
            continue;
        }
        CHECK_EQ(v.x->kind, EXIT_HLT);
        CHECK_EQ(v.x->rip, CODE + (f->served ? f->n : 0));
        CHECK_EQ(v.x->cr3_loads, f->served);
        if (f->served)
            CHECK_EQ(v.x->cr3, i % 2 ? CR3_A : CR3_B);
    }
}

/* Runs the guest from CODE, rax = value; returns whether the load was served. */
static bool served(struct vm_test *v, uint64_t value)
{
    vm_skip(v, 0);
    v->r->rip = CODE;
    v->r->groups |= STATE_GPRS;
    v->r->gpr_mask = 1u << RAX;
    v->r->gpr[RAX] = value;
    if (vm_reply(v, NULL) != ERR_OK)
        test_fail("test_cr3.c", 0, "reply", 0, 1);
    return v->x->cr3_loads != 0;
}

static const uint8_t load_and_halt[] = { 0x0f, 0x22, 0xd8, 0xf4 };

TEST(other_values_than_the_listed_ones_are_exits)
{
    static const uint64_t values[] = { 0,      CR3_B ^ 8,       CR3_B ^ 0x10,    CR3_B ^ 1, CR3_B ^ 0x1000,
                                       0x6000, CR3_B | BIT(63), CR3_B | BIT(40), UINT64_MAX };
    struct vm_test v;

    CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->cr3, CR3_B);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        CHECK(!served(&v, values[i]));
        CHECK_EQ(v.x->kind, EXIT_CR);
        CHECK_EQ(v.x->rip, CODE);
    }
    CHECK(served(&v, CR3_B));
    CHECK(served(&v, CR3_B)); /* the root that it has */
    CHECK(served(&v, CR3_A));
    CHECK(vm_audit(&v));
}

TEST(an_emptied_or_replaced_place_serves_no_more)
{
    struct vm_test v;

    CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
    CHECK_OK(vm_reply(&v, NULL));
    list(&v, 9, 0, 0);
    CHECK(!served(&v, CR3_A));
    CHECK(vm_audit(&v));
    list(&v, 3, v.table[2], CR3_A); /* the place of the root that it runs on */
    CHECK(!served(&v, CR3_B));
    CHECK(served(&v, CR3_A));
    CHECK(vm_audit(&v));
    list(&v, 0, v.table[6], CR3_B);
    list(&v, 15, v.table[6], CR3_B + 1); /* the same table twice */
    CHECK(served(&v, CR3_B));
    CHECK(served(&v, CR3_B + 1));
    CHECK(served(&v, CR3_A));
    CHECK(vm_audit(&v));
}

/* I2, I3: what ends the epoch ends what was listed in it. */
TEST(roots_of_an_old_epoch_are_not_served)
{
    for (unsigned way = 0; way < 3; way++) {
        struct vm_test v;
        CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->cr3_loads, 1);
        switch (way) {
        case 0: /* memory is taken away */
            CHECK_OK(
                sys_invoke2(v.space, GUESTSPACE_CHANGE, CHANGE_W0(0, CHANGE_UNMAP, 0, 1), CHANGE_W1(200, 0)));
            break;
        case 1: /* the table of a listed root ends */
            CHECK_OK(delete_cap(v.table[6]));
            break;
        default:
            CHECK_OK(sys_invoke0(v.vm, VM_RENEW));
        }
        vm_long_tables(&v);
        op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
        op(&v, OP_W1_RUN(0, 16));
        CHECK(!served(&v, CR3_B));
        CHECK_EQ(v.x->kind, EXIT_CR);
        CHECK(!served(&v, CR3_A));
        CHECK(vm_audit(&v));
        list(&v, 9, v.table[2], CR3_A);
        CHECK(served(&v, CR3_A));
        CHECK(vm_audit(&v));
        for (cptr_t s = v.space; s < v.table[VM_TABLES - 1]; s++)
            delete_cap(s);
    }
}

TEST(single_step_user_mode_and_other_code_sizes_are_exits)
{
    struct vm_test v;

    CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
    CHECK_OK(vm_reply(&v, NULL));
    v.r->groups |= STATE_RFLAGS;
    v.r->rflags = 0x102; /* TF: a trap is due behind the instruction */
    CHECK(!served(&v, CR3_B));
    CHECK_EQ(v.x->kind, EXIT_CR);
    v.r->groups |= STATE_RFLAGS;
    v.r->rflags = 2;
    CHECK(served(&v, CR3_B));
    vm_long_mode(&v, CODE, 0x8000, true); /* #GP, which this guest cannot take */
    CHECK(!served(&v, CR3_B));
    vm_long_mode(&v, CODE, 0x8000, false);
    v.r->seg[SEG_CS].attributes = 0xc9b; /* 32-bit code in long mode */
    CHECK(!served(&v, CR3_B));
    CHECK_EQ(v.x->kind, EXIT_CR);
}

/* Its bytes must lie within one page. */
TEST(an_instruction_over_two_pages_is_an_exit)
{
    struct vm_test v;

    CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
    CHECK_OK(vm_reply(&v, NULL));
    for (unsigned before = 1; before <= 4; before++) {
        uint64_t rip = CODE + 0x1000 - before;
        vm_load(&v, rip, load_and_halt, sizeof(load_and_halt));
        vm_skip(&v, 0);
        v.r->rip = rip;
        v.r->groups |= STATE_GPRS;
        v.r->gpr_mask = 1u << RAX;
        v.r->gpr[RAX] = CR3_A;
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, before < 4 ? EXIT_CR : EXIT_HLT);
    }
}

/* A guest without long mode is on a root of another format: PAE guests latch what CR3 names. */
TEST(a_guest_on_pae_tables_is_never_served)
{
    struct vm_test v;

    CHECK(begin(&v, load_and_halt, sizeof(load_and_halt)));
    CHECK_OK(vm_reply(&v, NULL));
    vm_identity(&v, 16);
    vm_long_mode(&v, CODE, 0x8000, false);
    v.r->cr0 = 0x80000033;
    v.r->efer = 0;
    v.r->seg[SEG_CS].attributes = 0xa9b; /* L means nothing there */
    CHECK(!served(&v, CR3_B));
    CHECK_EQ(v.x->kind, EXIT_CR);
    CHECK(vm_audit(&v));
}

/* The roots keep their ASIDs; a downgrade under one is owed to the other until that is entered (I3). */
TEST(served_roots_keep_their_translations_and_owe_what_was_downgraded)
{
    struct vm_test v;

    CHECK(begin(&v, there_and_back, sizeof(there_and_back)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    for (unsigned i = 0; i < 3; i++) /* the emulator has 16 ASIDs: they may run out on the way */
        CHECK(served(&v, CR3_B));
    uint64_t flushes = counter(COUNT_FLUSHES);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(served(&v, CR3_B));
        CHECK_EQ(v.x->cr3_loads, 2);
    }
    CHECK_EQ(counter(COUNT_FLUSHES), flushes);
    op(&v, OP_W0(OP_DOWNGRADE, 0, 0, v.table[9])); /* under B, while A runs */
    op(&v, 1 << 12);
    for (unsigned i = 1; i < 8; i++)
        op(&v, 0);
    CHECK(served(&v, CR3_B));
    uint64_t paid = counter(COUNT_FLUSHES);
    CHECK(paid >= flushes + 2 && paid <= flushes + 3); /* each root, and one of them again */
    CHECK(served(&v, CR3_B) && served(&v, CR3_B));
    CHECK(counter(COUNT_FLUSHES) <= flushes + 3);
}

/* I9: a guest that does nothing else ends its turn like any other. */
TEST(a_guest_that_only_loads_cr3_is_interrupted)
{
    struct vm_test v;
    static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0x0f, 0x22, 0xd9, 0xeb, 0xf8 };
    cptr_t timer = new_object(OBJ_TIMER, 0);

    CHECK(begin(&v, code, sizeof(code)));
    CHECK_OK(sys_invoke1(timer, TIMER_BIND, v.notification));
    CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
    CHECK(v.x->cr3_loads > 10);
    CHECK(v.x->cr3 == CR3_A || v.x->cr3 == CR3_B);
    CHECK(v.x->rip >= CODE && v.x->rip <= CODE + 6);
    CHECK(vm_audit(&v));
}

/* STI; MOV CR3: the shadow of STI ends with the load, and the window that was asked for stays asked for. */
TEST(a_served_load_ends_the_interrupt_shadow)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xfb, 0x0f, 0x22, 0xd8, 0x90, 0xf4 };

    CHECK(begin(&v, code, sizeof(code)));
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_WINDOW);
    CHECK_EQ(v.x->rip, CODE + 4);
    CHECK_EQ(v.x->shadow, 0);
    CHECK_EQ(v.x->cr3_loads, 1);
    CHECK_EQ(v.x->cr3, CR3_B);
}
