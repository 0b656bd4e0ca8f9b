/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads that step through their own code, also over system calls. */
#include "support/harness.h"

#define KERNEL_TEXT 0xffffffff80100000ul /* kernel/arch/x86_64/kernel.ld */

static volatile uint64_t marks;

/* Steps over loading the stack, then over a system call on it. */
static void steps_over_a_call(uint64_t stack)
{
    uint64_t rax = (uint64_t)SYS_NULL;

    __asm__ volatile("push $0x302; popfq; mov %1, %%rsp; syscall; nop; hlt"
                     : "+a"(rax)
                     : "r"(stack)
                     : "rcx", "r11", "memory", "cc");
}

static bool stepped(cptr_t ep, cptr_t reply, uint64_t *rip)
{
    struct sys_message m = { 0 };

    if (sys_recv(ep, reply, &m) != ERR_OK || m.tag != TAG(FAULT_EXCEPTION, 4) || m.w[1] != 1)
        return false;
    *rip = m.w[0];
    return true;
}

static bool go_on(cptr_t reply)
{
    struct sys_message m = { .tag = TAG(0, 0) };

    return sys_reply(reply, &m) == ERR_OK;
}

static bool stepping(struct thread *t, cptr_t *ep, cptr_t *reply)
{
    cptr_t badged = new_slot();

    *ep = new_object(OBJ_ENDPOINT, 0);
    *reply = new_object(OBJ_REPLY, 0);
    return sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, *ep, RIGHT_WRITE, 1) == ERR_OK &&
           thread_make(t, NULL, 0, 100, badged);
}

/* Processors report the step behind the call; bochs traps the call itself, in the kernel and on that stack,
 * and reports the instruction behind it. */
TEST(a_thread_steps_over_a_system_call_whatever_its_stack_is)
{
    static const uint64_t stacks[] = {
        0, 0x500, KERNEL_TEXT, KERNEL_TEXT + 0x18000, 0xffff800000200000, 0x7ffffffff000, 0xffffffffffffffff
    };
    struct thread t;
    cptr_t ep, reply;
    uint64_t before, behind;

    CHECK(stepping(&t, &ep, &reply));
    for (unsigned i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
        CHECK_OK(sys_invoke0(t.tcb, TCB_SUSPEND));
        CHECK_OK(thread_start(&t, steps_over_a_call, stacks[i]));
        CHECK(stepped(ep, reply, &before));
        CHECK(go_on(reply));
        CHECK(stepped(ep, reply, &behind));
        CHECK(behind == before + 2 || behind == before + 3);
    }
}

static void steps(uint64_t ignored)
{
    (void)ignored;
    __asm__ volatile(
        "push $0x302; popfq; mov %%rsp, %%r12; mov %%rsp, %%r13; mov %%rsp, %%r14; push $0x202; popfq"
        :
        :
        : "r12", "r13", "r14", "memory", "cc");
    marks++;
}

/* What a step leaves is the thread's own state, wherever the processor put its frame. */
TEST(a_stepping_thread_is_seen_instruction_by_instruction)
{
    struct thread t;
    cptr_t ep, reply;
    uint64_t rip, before = 0;

    marks = 0;
    CHECK(stepping(&t, &ep, &reply));
    CHECK_OK(thread_start(&t, steps, 0));
    for (unsigned i = 0; i < 5;
         i++, before = rip) { /* three MOV, PUSH, POPF: the step that clears TF is one, too */
        CHECK(stepped(ep, reply, &rip));
        CHECK(!before || rip - before <= 5);
        CHECK(go_on(reply));
    }
    CHECK_OK(root_priority(1));
    CHECK_OK(root_priority(255));
    CHECK_EQ(marks, 1);
}
