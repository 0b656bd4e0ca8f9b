// ICOUNT: 1
/* SPDX-License-Identifier: BSD-2-Clause */
/* Injected events happen once, also where the emulator's own time is over at any moment: host timers expire
 * while a guest is in its handler with interrupts off, or has just been entered. */
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
