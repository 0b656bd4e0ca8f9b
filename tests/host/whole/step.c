/* SPDX-License-Identifier: BSD-2-Clause */
/* One step: time passes, a little of it or until the timer's interrupt; a device interrupts; whoever runs
 * faults, or makes a system call, or the one that it has to make again. */
#include "world.h"
#include <string.h>

#define FAULT_AT 0x500000ul

bool init_acts;

static struct regs *interrupt(unsigned vector)
{
    struct tcb *t = cpu.current;

    whole_say("interrupt %#x\n", vector);
    t->regs.vector = vector;
    return enter(IN_ENTRY, 0);
}

static struct regs *fault(void)
{
    static const uint8_t vectors[] = { 14, 14, 14, 6, 13, 7, 0 };
    struct tcb *t = cpu.current;
    uint64_t address = wild();

    t->regs.vector = vectors[pick(sizeof(vectors))];
    t->regs.error = pick(32);
    t->regs.rip = t->regs.vector > 7 && one_in(8) ? wild() : FAULT_AT; /* one may jump anywhere */
    whole_say("fault %lu at %#lx, %#lx\n", t->regs.vector, t->regs.rip, address);
    return enter(IN_ENTRY, address);
}

static void say_call(const struct tcb *t, bool again)
{
    const struct regs *r = &t->regs;
    const struct cap *c = whole_trace ? cspace_slot(t, (cptr_t)r->rdi) : NULL;

    whole_say("%scall %ld %s %#lx tag %#lx: %#lx %#lx %#lx %#lx\n", again ? "again " : "", (long)r->rax,
              object_name(c ? c->type : OBJ_NULL), r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9);
}

static struct regs *call(bool again)
{
    struct tcb *t = cpu.current;
    struct regs *r = &t->regs;

    if (!again && t == init_thread() && one_in(2))
        choose_revival(t);
    else if (!again && t == init_thread() && !init_acts)
        r->rax = (uint64_t)(one_in(4) ? SYS_NULL : SYS_YIELD);
    else if (!again)
        choose_call(t);
    r->vector = VECTOR_SYSCALL;
    r->rip = SYSCALL_AT + SYSCALL_BYTES;
    say_call(t, again);
    bool audits = !again && (int64_t)r->rax == SYS_CALL && TAG_LABEL(r->rsi) == KERNEL_AUDIT;
    const struct cap *c = audits ? cspace_slot(t, (cptr_t)r->rdi) : NULL;
    audits = c && c->type == OBJ_KERNEL;
    struct regs *next = enter(IN_SYSCALL, 0);
    whole_say("    %s%ld\n", next == r ? "" : "another goes on; ", (long)r->rax);
    if (audits && next == r && r->rax == ERR_OK)
        MUST_SAY(!r->rdx, "the kernel's audit finds %lu", r->rdx);
    return next;
}

/* The moment at which long work next looks at interrupts is any. */
static void any_moment(void)
{
    cpu.work = one_in(2) ? PREEMPT_STEPS - 1 - pick(12) : 0;
}

bool whole_step(void)
{
    struct tcb *t = cpu.current;
    struct regs *next;
    unsigned kind = pick(16);

    bool again = t->regs.rip == SYSCALL_AT;

    fake.now += one_in(again ? 3 : 16) ? pick(9000) : pick(60);
    any_moment();
    if (whole_trace)
        fprintf(stderr, "thread %lx prio %u time %lu ", phys_to_hpa(t).v, t->priority, fake.now);
    if (timer_set_by(fake.now) && kind < 14)
        next = interrupt(TIMER_VECTOR);
    else if (kind == 0 && fake.unmasked)
        next = interrupt(FAKE_LINES + (unsigned)__builtin_ctz(fake.unmasked));
    else if (kind == 1)
        next = interrupt(0xff); /* a spurious one */
    else if (kind == 2 && !again && t != init_thread())
        next = fault();
    else
        next = call(again);
    if (!next) {
        whole_say("the machine has stopped\n");
        return false;
    }
    MUST(cpu.current && next == &cpu.current->regs);
    if (!init_acts)
        MUST(victim_is_whole());
    return true;
}
