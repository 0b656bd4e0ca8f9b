// ICOUNT: 1
/* SPDX-License-Identifier: BSD-2-Clause */
/* Injected events happen once, and not in an interrupt shadow, also where the emulator's own time is over at
 * any moment: host timers expire while a guest is in its handler with interrupts off, or has just been
 * entered. */
#include "support/vm.h"

#define HANDLER 0x2000
#define COUNT   0x500
#define VECTOR  0x40

TEST(an_injected_interrupt_is_delivered_once)
{
    static const uint8_t wait[] = { 0xfb, 0xeb, 0xfe };        /* sti; jmp $ */
    static const uint8_t handler[] = { 0xff, 0x06, 0x00, 0x05, /* inc word [COUNT] */
                                       0xb9, 0xff, 0xff, 0x49, /* mov cx, 0ffffh; dec cx */
                                       0x75, 0xfd, 0xf4 };     /* jnz -1; hlt */
    static const uint16_t vector[] = { HANDLER, 0 };
    cptr_t note = new_object(OBJ_NOTIFICATION, 0), timer = new_object(OBJ_TIMER, 0);
    struct vm_test v;

    CHECK_OK(sys_invoke1(timer, TIMER_BIND, note));
    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, wait, sizeof(wait));
    vm_load(&v, HANDLER, handler, sizeof(handler));
    vm_load(&v, 4 * VECTOR, vector, sizeof(vector));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    for (unsigned i = 0; i < 50; i++) {
        v.memory[COUNT] = 0;
        vm_real_mode(&v, 0x1000);
        v.r->rflags = 0x202;
        v.r->event = EVENT_MAKE(VECTOR, EVENT_INTERRUPT);
        CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + 10000 + 3001 * i));
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_HLT);
        CHECK_EQ(v.x->rip, HANDLER + sizeof(handler) - 1);
        CHECK_EQ(v.memory[COUNT], 1);
    }
}

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
