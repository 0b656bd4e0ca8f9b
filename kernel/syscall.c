/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls and the way in and out of the kernel. entry.S has saved the current thread's registers in its
 * TCB and calls kernel_entry; what it returns are the registers of the thread to continue with. */
#include "fastpath.h"
#include "invoke.h"
#include "ipc.h"
#include "log.h"
#include "stretch.h"

struct cpu cpu;

static struct reply *reply_argument(struct tcb *t, uint32_t p, err_t *e)
{
    struct cap *c;

    *e = ERR_OK;
    if (!p)
        return NULL;
    *e = cspace_cap(t, p, OBJ_REPLY, RIGHT_WRITE, &c);
    return *e == ERR_OK ? cap_object(c) : NULL;
}

static void receive(struct tcb *t, bool poll)
{
    struct cap *c = cspace_slot(t, (cptr_t)t->regs.rdi);
    err_t e;

    if (!c || c->type == OBJ_NULL) {
        thread_result(t, REFUSED(ERR_NO_CAP, "receive: no capability at %lx", t->regs.rdi & 0xffffffff));
        return;
    }
    switch (c->type) {
    case OBJ_ENDPOINT: {
        struct reply *reply = reply_argument(t, t->regs.rdi >> 32, &e);
        if (e != ERR_OK)
            thread_result(t, e);
        else
            ipc_recv(t, c, reply, poll);
        break;
    }
    case OBJ_NOTIFICATION:
        notification_recv(t, c, poll);
        break;
    case OBJ_VCPU:
        if (!(c->rights & RIGHT_WRITE))
            thread_result(t, REFUSED(ERR_NO_RIGHT, "receive on a vCPU"));
        else if (poll)
            thread_result(t, REFUSED(ERR_WRONG_TYPE, "poll on a vCPU"));
        else
            vcpu_recv(t, cap_object(c));
        break;
    default:
        thread_result(t, REFUSED(ERR_WRONG_TYPE, "receive on a %s", object_name(c->type)));
    }
}

static void reply_recv_vcpu(struct tcb *t, struct cap *c)
{
    unsigned index = 0;
    err_t e = c->rights & RIGHT_WRITE ? vcpu_reply(t, cap_object(c), &index) : ERR_NO_RIGHT;

    if (e != ERR_OK) {
        vcpu_refused(t, e, index);
        return;
    }
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    vcpu_recv(t, cap_object(c));
}

static void reply_recv(struct tcb *t)
{
    struct cap *c = cspace_slot(t, (cptr_t)t->regs.rdi);
    err_t e;

    if (c && c->type == OBJ_VCPU) {
        reply_recv_vcpu(t, c);
        return;
    }
    struct reply *reply = reply_argument(t, t->regs.rdi >> 32, &e);
    struct tcb *caller = reply ? reply->caller : NULL;
    if (e == ERR_OK)
        e = reply ? ipc_reply(t, reply) : ERR_NO_REPLY;
    if (e != ERR_OK) {
        thread_result(t, e);
        return;
    }
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    receive(t, false);
    if (!cpu.current)
        cpu.partner = caller;
}

static void reply_only(struct tcb *t)
{
    err_t e;
    struct reply *reply = reply_argument(t, (cptr_t)t->regs.rdi, &e);

    if (e == ERR_OK)
        e = reply ? ipc_reply(t, reply) : ERR_NO_REPLY;
    thread_result(t, e);
}

static __attribute__((noinline)) void give_results(struct tcb *t, struct invocation *v)
{
    for (unsigned i = v->result_words; i < MSG_REGISTERS; i++)
        v->r[i] = 0;
    t->regs.rsi = TAG(0, v->result_words);
    t->regs.rdx = v->r[0];
    t->regs.r10 = v->r[1];
    t->regs.r8 = v->r[2];
    t->regs.r9 = v->r[3];
    for (unsigned i = MSG_REGISTERS; i < v->result_words && t->buffer; i++)
        t->buffer->words[i] = v->r[i];
}

/* Invoke a kernel object; results go to registers and, from word 4, to the IPC buffer. */
static void invoke_object(struct tcb *t, struct cap *c)
{
    struct invocation v;

    v.caller = t;
    v.cap = c;
    v.label = TAG_LABEL(t->regs.rsi);
    v.words = TAG_WORDS(t->regs.rsi);
    v.w[0] = t->regs.rdx;
    v.w[1] = t->regs.r10;
    v.w[2] = t->regs.r8;
    v.w[3] = t->regs.r9;
    v.buffer = t->buffer ? t->buffer->words : NULL;
    v.result_words = 0;
    if (v.words > MSG_REGISTERS && (v.words > MSG_WORDS_MAX || !v.buffer)) {
        thread_result(t, v.words > MSG_WORDS_MAX ? ERR_RANGE : ERR_NO_IPC_BUFFER);
        return;
    }
    stretch_is(STRETCH_CALL + c->type * STRETCH_METHODS + v.label % STRETCH_METHODS);
    err_t e = invoke(&v);
    if (e == PREEMPTED) {
        t->regs.rip -= SYSCALL_BYTES;
        return;
    }
    /* A thread that ended itself gets an answer, too: its memory is not reused before the next call. */
    t->regs.rax = e; /* invoke() has recorded it */
    if (v.result_words)
        give_results(t, &v);
    else
        t->regs.rsi = t->regs.rdx = t->regs.r10 = t->regs.r8 = t->regs.r9 = 0;
}

static void call(struct tcb *t, bool wait)
{
    struct cap *c = cspace_slot(t, (cptr_t)t->regs.rdi);

    if (!c || c->type == OBJ_NULL)
        thread_result(t, REFUSED(ERR_NO_CAP, "call: no capability at %lx", t->regs.rdi));
    else if (c->type == OBJ_ENDPOINT)
        ipc_send(t, c, wait);
    else if (wait)
        invoke_object(t, c);
    else
        thread_result(t, REFUSED(ERR_WRONG_TYPE, "send to a %s", object_name(c->type)));
}

static void signal(struct tcb *t)
{
    struct cap *c;
    err_t e = cspace_cap(t, (cptr_t)t->regs.rdi, OBJ_NOTIFICATION, RIGHT_WRITE, &c);

    thread_result(t, e);
    if (e == ERR_OK)
        notification_signal(cap_object(c), c->d0 ? c->d0 : 1);
}

/* A Linux system call: the thread goes on in its handler, RCX and R11 as the syscall instruction left them.
 */
static void linux_call(struct tcb *t)
{
    if (!t->handler) {
        t->regs.rip -= SYSCALL_BYTES;
        ipc_fault(t, FAULT_SYSCALL, t->regs.rax, 0);
        return;
    }
    t->regs.rcx = t->regs.rip;
    t->regs.r11 = t->regs.rflags;
    t->regs.rip = t->handler;
    t->regs.vector = 0; /* leave by IRETQ: SYSRET would change RCX and R11 */
}

static void syscall(struct tcb *t)
{
    int64_t number = (int64_t)t->regs.rax;

    if (number >= 0) {
        linux_call(t);
        return;
    }
    switch (number) {
    case SYS_CALL:
        call(t, true);
        break;
    case SYS_REPLY_RECV:
        reply_recv(t);
        break;
    case SYS_RECV:
        receive(t, false);
        break;
    case SYS_POLL:
        receive(t, true);
        break;
    case SYS_REPLY:
        reply_only(t);
        break;
    case SYS_SEND:
        call(t, false);
        break;
    case SYS_SIGNAL:
        signal(t);
        break;
    case SYS_YIELD:
        thread_result(t, ERR_OK);
        sched_yield();
        break;
    case SYS_NULL:
        thread_result(t, ERR_OK);
        break;
    default:
        thread_result(t, REFUSED(ERR_BAD_SYSCALL, "system call %ld", number));
    }
}

/* The thread that came in goes on, unless something happened meanwhile. */
static struct regs *leave_quickly(struct tcb *t)
{
    if (cpu.current == t && t->state == THREAD_READY && !cpu.attention)
        return &t->regs;
    return kernel_leave();
}

struct regs *syscall_complete(struct tcb *t)
{
    COUNT(SYSCALLS);
    syscall(t);
    return leave_quickly(t);
}

struct regs *syscall_invoke(struct tcb *t, struct cap *c)
{
    COUNT(SYSCALLS);
    invoke_object(t, c);
    return leave_quickly(t);
}

static __attribute__((noinline)) struct regs *other_call(struct tcb *t, uint64_t number)
{
    if (number == (uint64_t)SYS_NULL) {
        COUNT(SYSCALLS);
        t->regs.rax = ERR_OK;
        return &t->regs;
    }
    if (number == (uint64_t)SYS_SIGNAL)
        return fastpath_signal(t);
    return number == (uint64_t)SYS_YIELD ? fastpath_yield(t) : syscall_complete(t);
}

/* Compared one by one: a jump through a table would be a slow one where processors must guess none. */
static inline struct regs *system_call(struct tcb *t, uint64_t number)
{
    if (number == (uint64_t)SYS_CALL)
        return fastpath_call(t);
    if (number == (uint64_t)SYS_REPLY_RECV)
        return fastpath_reply_recv(t);
    return other_call(t, number);
}

struct regs *kernel_syscall(void)
{
    struct tcb *t = cpu.current;

    ASSERT(cpu.last == t && !cpu.attention);
    stretch_begin(STRETCH_SYSCALL + (unsigned)(-(int64_t)t->regs.rax & 15)); /* 0: a Linux call */
    struct regs *next = system_call(t, t->regs.rax);
    stretch_end();
    return next;
}

enum { VECTOR_PAGE_FAULT = 14, VECTOR_IRQ_FIRST = 32 };

static struct regs *exception(struct tcb *t, unsigned vector, uint64_t address)
{
    struct regs *r = &t->regs;
    bool page = vector == VECTOR_PAGE_FAULT;

    if (arch_exception(t, vector))
        return r;
    if (page && r->rip - t->fixup_start < t->fixup_bytes) {
        r->rip = t->landing;
        return r;
    }
    uint32_t label = page ? FAULT_PAGE : FAULT_EXCEPTION;
    uint64_t what = page ? address : vector;
    struct regs *next = fastpath_fault(t, label, what, r->error);
    if (next)
        return next;
    ipc_fault(t, label, what, r->error);
    return kernel_leave();
}

static inline struct regs *interruption(struct tcb *t, unsigned vector, uint64_t fault_address)
{
    struct regs *next;

    if (vector < VECTOR_IRQ_FIRST)
        return exception(t, vector, fault_address);
    arch_interrupt(vector);
    next = fastpath_line(t);
    return next ? next : kernel_leave();
}

struct regs *kernel_entry(uint64_t fault_address)
{
    struct tcb *t = cpu.current;
    unsigned vector = t->regs.vector;

    ASSERT(cpu.last == t && !cpu.attention);
    stretch_begin(vector < VECTOR_IRQ_FIRST ? STRETCH_FAULT + vector : STRETCH_LINE);
    struct regs *next = interruption(t, vector, fault_address);
    stretch_end();
    return next;
}

void thread_load(struct tcb *t)
{
    if (t == cpu.last)
        return;
    COUNT(SWITCHES);
    if (cpu.last)
        arch_thread_leave(cpu.last);
    cpu.last = t;
    arch_thread_enter(t);
}

struct regs *kernel_leave(void)
{
    for (;;) {
        interrupts_handle();
        struct tcb *t = sched_choose();
        if (!t) {
            stretch_end();
            arch_idle();
            stretch_begin(STRETCH_IDLE);
        } else if (t->state == THREAD_GUEST) {
            vcpu_run(t);
        } else {
            thread_load(t);
            return &t->regs;
        }
    }
}
