// ICOUNT: 1
/* SPDX-License-Identifier: BSD-2-Clause */
/* Injected events happen once, and not in an interrupt shadow, also where the emulator's own time is over at
 * any moment: host timers expire while a guest is in its handler with interrupts off, or has just been
 * entered. */
#include "support/vm.h"

#define HANDLER 0x2000
#define COUNT   0x500
#define VECTOR  0x40

static const uint8_t handler[] = { 0xff, 0x06, 0x00, 0x05, /* inc word [COUNT] */
                                   0xb9, 0xff, 0xff, 0x49, /* mov cx, 0ffffh; dec cx */
                                   0x75, 0xfd, 0xf4 };     /* jnz -1; hlt */

static void make_waiting_guest(struct vm_test *v)
{
    static const uint8_t wait[] = { 0xfb, 0xeb, 0xfe }; /* sti; jmp $ */
    static const uint16_t vector[] = { HANDLER, 0 };

    CHECK(vm_make(v));
    vm_load(v, 0x1000, wait, sizeof(wait));
    vm_load(v, HANDLER, handler, sizeof(handler));
    vm_load(v, 4 * VECTOR, vector, sizeof(vector));
    CHECK_OK(vm_recv(v));
    vm_identity(v, 16);
}

static void set_timer(cptr_t timer, uint64_t at)
{
    CHECK_OK(sys_invoke1(timer, TIMER_SET, at));
}

/* 0: refused. */
static cptr_t make_timer(cptr_t note)
{
    cptr_t timer = new_object(OBJ_TIMER, 0);

    return sys_invoke1(timer, TIMER_BIND, note) == ERR_OK ? timer : 0;
}

static void inject(struct vm_test *v, unsigned flags)
{
    v->memory[COUNT] = 0;
    vm_real_mode(v, 0x1000);
    v->r->rflags = 0x202;
    v->r->flags = flags;
    v->r->event = EVENT_MAKE(VECTOR, EVENT_INTERRUPT);
    CHECK_OK(vm_reply(v, NULL));
    CHECK_EQ(v->x->kind, EXIT_HLT);
    CHECK_EQ(v->x->rip, HANDLER + sizeof(handler) - 1);
    CHECK_EQ(v->memory[COUNT], 1);
}

TEST(an_injected_interrupt_is_delivered_once)
{
    cptr_t timer = make_timer(new_object(OBJ_NOTIFICATION, 0));
    struct vm_test v;

    make_waiting_guest(&v);
    for (unsigned i = 0; i < 50; i++) {
        set_timer(timer, now() + 10000 + 3001 * i);
        inject(&v, 0);
    }
}

/* The first timer expires about where the guest is entered, so that it is entered again; the second one in
 * the handler. */
TEST(an_injected_interrupt_is_delivered_once_where_its_entry_was_broken_off)
{
    cptr_t note = new_object(OBJ_NOTIFICATION, 0), first = make_timer(note), second = make_timer(note);
    struct vm_test v;

    make_waiting_guest(&v);
    for (unsigned i = 0; i < 400; i++) {
        uint64_t at = now() + 10 * i;
        set_timer(second, at + 20000);
        set_timer(first, at);
        inject(&v, REPLY_WINDOW);
    }
}

/* A guest between STI and HLT: an interrupt that it got there would have been the one that HLT waits for. */
TEST(a_window_does_not_open_between_sti_and_hlt_whenever_the_host_is_interrupted)
{
    static const uint8_t code[] = { 0xf4 }; /* hlt */
    cptr_t timer = make_timer(new_object(OBJ_NOTIFICATION, 0));
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    for (unsigned i = 0; i < 2000; i++) {
        vm_real_mode(&v, 0x1000);
        v.r->rflags = 0x202;
        v.r->shadow = 1;
        v.r->flags = REPLY_WINDOW;
        set_timer(timer, now() + 2 * i);
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
    cptr_t timer = make_timer(v.notification);
    for (unsigned i = 0; i < 1000; i++) {
        drop(&v, 1);
        vm_real_mode(&v, 0xfff);
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_PAGE);
        CHECK_EQ(v.x->shadow, 1);
        fill(&v, 1);
        set_timer(timer, now() + 4 * i);
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
