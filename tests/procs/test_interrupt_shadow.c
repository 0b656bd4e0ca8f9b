// ICOUNT: 1
/* SPDX-License-Identifier: BSD-2-Clause */
/* No window opens, and no event is called possible, in an interrupt shadow, also where the guest is entered
 * in it and comes out before the instruction: by an interrupt of the host at any moment, or by a fault. And
 * one opens at last. */
#include "support/vm.h"

/* A guest between STI and HLT: an interrupt that it got there would have been the one that HLT waits for. */
TEST(a_window_does_not_open_between_sti_and_hlt_whenever_the_host_is_interrupted)
{
    static const uint8_t code[] = { 0xf4 }; /* hlt */
    cptr_t note = new_object(OBJ_NOTIFICATION, 0), timer = new_object(OBJ_TIMER, 0);
    struct vm_test v;

    CHECK_OK(sys_invoke1(timer, TIMER_BIND, note));
    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    for (unsigned i = 0; i < 2000; i++) {
        vm_real_mode(&v, 0x1000);
        v.r->rflags = 0x202;
        v.r->shadow = 1;
        v.r->flags = REPLY_WINDOW;
        CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + 2 * i));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_HLT);
    }
}

TEST(a_guest_that_spins_behind_sti_can_take_an_interrupt_at_last)
{
    static const uint8_t code[] = { 0xeb, 0xfe }; /* jmp $ */
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    vm_real_mode(&v, 0x1000);
    v.r->rflags = 0x202;
    v.r->shadow = 1;
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_WINDOW);
    CHECK_EQ(v.x->shadow, 0);
}

/* The looks for its window come later each time: deadlines that lie between two of them are kept. */
TEST(a_guest_that_spins_behind_sti_puts_off_no_deadline)
{
    static const uint8_t code[] = { 0xeb, 0xfe }; /* jmp $ */
    enum { LATE_MAX = 5000 };                     /* the way through kernel and VMM takes some ticks, too */
    struct vm_test v;
    unsigned events = 0;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    cptr_t timer = new_object(OBJ_TIMER, 0);
    CHECK_OK(sys_invoke1(timer, TIMER_BIND, v.notification));
    for (uint64_t after = 3000; after < 1000000; after += after / 4) {
        vm_real_mode(&v, 0x1000);
        v.r->rflags = 0x202;
        v.r->shadow = 1;
        v.r->flags = REPLY_WINDOW;
        uint64_t deadline = now() + after;
        CHECK_OK(sys_invoke1(timer, TIMER_SET, deadline));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK(now() < deadline + LATE_MAX);
        events += v.x->kind == EXIT_EVENT;
        while (v.x->kind != EXIT_EVENT) {
            CHECK_EQ(v.x->kind, EXIT_WINDOW);
            CHECK_OK(vm_reply(&v, NULL));
        }
        CHECK(now() >= deadline);
    }
    CHECK(events);
}

static void drop(struct vm_test *v, unsigned page)
{
    op(v, OP_W0(OP_DROP, 0, page, v->table[1]));
}

static void fill(struct vm_test *v, unsigned page)
{
    op(v, OP_W0(OP_FILL, RWXU, page, v->table[1]));
    op(v, page);
}

TEST(a_shadow_outlives_a_fault_of_the_instruction_in_it)
{
    static const uint8_t code[] = { 0xf4 }; /* hlt */
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    drop(&v, 1);
    vm_real_mode(&v, 0x1000);
    v.r->rflags = 0x202;
    v.r->shadow = 1;
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_PAGE);
    CHECK_EQ(v.x->shadow, 1);
    fill(&v, 1);
    v.r->flags = REPLY_WINDOW;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
}

/* The guest sets it by itself, and the instruction in it is on a page that comes with the answer; the host is
 * interrupted about where the guest is entered again, and an event goes to the VMM. */
TEST(an_event_says_of_the_shadow_that_the_guest_had_before_it_was_entered)
{
    static const uint8_t code[] = { 0xfb, 0xf4 }; /* sti; hlt */
    struct vm_test v;
    unsigned events = 0, halts = 0;

    CHECK(vm_make(&v));
    vm_load(&v, 0xfff, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    cptr_t timer = new_object(OBJ_TIMER, 0);
    CHECK_OK(sys_invoke1(timer, TIMER_BIND, v.notification));
    for (unsigned i = 0; i < 1000; i++) {
        drop(&v, 1);
        vm_real_mode(&v, 0xfff);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_PAGE);
        CHECK_EQ(v.x->shadow, 1);
        fill(&v, 1);
        CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + 4 * i));
        CHECK_OK(vm_reply(&v, NULL));
        if (v.x->kind == EXIT_EVENT && v.x->rip == 0x1000) {
            CHECK_EQ(v.x->shadow, 1);
            events++;
        }
        for (; v.x->kind != EXIT_EVENT; halts++) {
            CHECK_EQ(v.x->kind, EXIT_HLT);
            CHECK_OK(vm_reply(&v, NULL));
        }
    }
    CHECK(events && halts);
}

/* Each look for the window after the same time would find some of these loops behind STI each time. */
TEST(a_window_opens_over_sti_in_a_loop_of_whatever_length)
{
    enum { LOOP_MAX = 40 };
    uint8_t code[2 * LOOP_MAX]; /* nop ..; sti; nop ..; jmp to sti */
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    for (unsigned length = 2; length <= LOOP_MAX; length++)
        for (unsigned before = 0; before < length; before++) {
            for (unsigned i = 0; i < sizeof(code); i++)
                code[i] = 0x90;
            code[before] = 0xfb;
            code[before + length - 1] = 0xeb;
            code[before + length] = (uint8_t)(0 - length - 1);
            vm_load(&v, 0x1000, code, sizeof(code));
            vm_real_mode(&v, 0x1000);
            v.r->rflags = 0x202;
            v.r->shadow = 1;
            v.r->flags = REPLY_WINDOW;
            CHECK_OK(vm_reply(&v, NULL));
            CHECK_EQ(v.x->kind, EXIT_WINDOW);
        }
}
