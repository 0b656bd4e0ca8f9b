/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths against the complete path: random histories of messages, answers, faults, yields, signals and
 * interrupts between threads of several priorities and budgets. Each step is done twice from the same state,
 * once through each; all memory, the processor's state, its timer and who runs must be the same after it. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c
#include "kernel/fastpath.h"
#include "kernel/invoke.h"
#include "kernel/ipc.h"
#undef CHECK
#include "check.h"
#include "fake_arch.h"
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 6, ENDPOINTS = 2, REPLIES = 4, SLOTS_BITS = 5, SLOTS = 1 << SLOTS_BITS };
enum {
    PAGE_CNODE,
    PAGE_SMALL,
    PAGE_TCBS,
    PAGE_BUFFERS = PAGE_TCBS + THREADS,
    PAGES = PAGE_BUFFERS + THREADS
};
#define IDLE       0 /* of the lowest priority; never waits */
#define MEMORY     (PAGES * PAGE_BYTES)
#define VECTOR_UD  6
#define LINE       3 /* signals the notification */
#define STEPS      6000
#define HISTORIES  24
#define SLOT_EP    1 /* .. 8: two endpoints, four kinds of rights and badges each */
#define SLOT_REPLY 9 /* .. 13: four, and one without rights */
#define SLOT_NOTE  14
#define SLOT_SCHED 15 /* something to invoke */
#define SLOT_EMPTY 16

static uint64_t seed;
static _Alignas(64) uint8_t before[MEMORY], quick[MEMORY], complete[MEMORY];
static unsigned taken[6]; /* short paths: call, answer, fault, yield, signal, line */

static uint64_t any(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

static struct tcb *thread(unsigned i)
{
    return phys((hpa_t){ (PAGE_TCBS + i) * PAGE_BYTES });
}
static uint64_t small(unsigned i)
{
    return PAGE_SMALL * PAGE_BYTES + i * 128;
}

static void put(unsigned slot, unsigned type, uint64_t obj, unsigned rights, uint64_t d0)
{
    struct cap *c = (struct cap *)phys((hpa_t){ PAGE_CNODE * PAGE_BYTES }) + slot;

    *c = (struct cap){ .type = type, .rights = rights, .obj = obj, .d0 = d0 };
    cap_insert(c, NULL);
}

/* Objects in the page of small ones: endpoints, replies, a notification, then the scheduling contexts. */
static void make_caps(void)
{
    static const uint8_t rights[4] = { RIGHT_ALL, RIGHT_WRITE, RIGHT_READ, RIGHT_READ | RIGHT_WRITE };

    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned k = 0; k < 4; k++)
            put(SLOT_EP + 4 * e + k, OBJ_ENDPOINT, small(e), rights[k], 100 * e + k);
    for (unsigned r = 0; r < REPLIES; r++)
        put(SLOT_REPLY + r, OBJ_REPLY, small(ENDPOINTS + r), RIGHT_ALL, 0);
    put(SLOT_REPLY + REPLIES, OBJ_REPLY, small(ENDPOINTS), 0, 0);
    put(SLOT_NOTE, OBJ_NOTIFICATION, small(ENDPOINTS + REPLIES), RIGHT_ALL, 0);
    put(SLOT_SCHED, OBJ_SCHED, small(ENDPOINTS + REPLIES + 1), RIGHT_ALL, 0);
}

static void make_thread(unsigned i)
{
    struct tcb *t = thread(i);
    struct sched *s = phys((hpa_t){ small(ENDPOINTS + REPLIES + 1 + i) });
    uint64_t period = 500 + any(3000);

    arch_regs_init(&t->regs);
    t->cspace = (struct cap){ .type = OBJ_CNODE, .rights = RIGHT_ALL, .bits = SLOTS_BITS, .obj = 0 };
    t->fault = (struct cap){
        .type = OBJ_ENDPOINT, .rights = RIGHT_ALL, .obj = small(any(ENDPOINTS)), .d0 = 1000 + i
    };
    t->vspace = (struct cap){ .type = OBJ_VSPACE, .obj = (100 + i) * PAGE_BYTES };
    t->buffer = i == 1 && any(2) ? NULL : phys((hpa_t){ PAGE_BUFFERS * PAGE_BYTES + i * 640 });
    tcb_set_slots(t);
    s->refill.kind = DEADLINE_REFILL;
    s->period = period;
    s->budget = s->remaining = i == IDLE || any(3) ? period : 100 + any(period - 100);
    s->tcb = t;
    s->ceiling = 255;
    t->sc = s;
    t->priority = i == IDLE ? 0 : 60 + any(4) * 2;
    if (i == 2 && any(2)) {
        t->bound = phys((hpa_t){ small(ENDPOINTS + REPLIES) });
        t->bound->tcb = t;
    }
    thread_ready(t);
}

static void make_world(void)
{
    memset(phys_base_host, 0, MEMORY);
    cpu = (struct cpu){ .user_rsp = 0 };
    fake = (struct fake_arch){ .now = 1000000 };
    make_caps();
    cpu.irq[LINE] = (struct cap){
        .type = OBJ_NOTIFICATION, .rights = RIGHT_ALL, .obj = small(ENDPOINTS + REPLIES), .d0 = 64
    };
    for (unsigned i = 0; i < THREADS; i++)
        make_thread(i);
    kernel_leave();
}

/* What stands in these fields has no meaning in the states that are left out. */
static void canonical(uint8_t *memory)
{
    for (unsigned i = 0; i < THREADS; i++) {
        struct tcb *t = (struct tcb *)(memory + (PAGE_TCBS + i) * PAGE_BYTES);
        bool waits = t->state == THREAD_SEND || t->state == THREAD_RECV || t->state == THREAD_NOTIFICATION;
        if (!waits)
            t->queue = NULL;
        if (!waits && !t->queued)
            t->next = t->prev = NULL;
        if (t->state != THREAD_RECV && t->state != THREAD_REPLY)
            t->reply = NULL;
        if (t->state != THREAD_SEND)
            t->badge = t->calling = 0;
        if (t->state != THREAD_SEND && t->state != THREAD_REPLY)
            t->sent_rights = 0;
        t->sent_rights &= RIGHT_GRANT;
    }
}

static cptr_t any_slot(unsigned first, unsigned n)
{
    static const cptr_t odd[] = { 0,   SLOT_EMPTY, SLOTS - 1, SLOTS,     0x10001,
                                  ~0u, SLOT_SCHED, SLOT_NOTE, SLOT_REPLY };

    return any(20) ? first + any(n) : odd[any(sizeof(odd) / sizeof(odd[0]))];
}

static uint64_t any_tag(void)
{
    uint64_t tag = TAG(any(5), any(3) ? any(5) : any(MSG_WORDS_MAX + 3));

    if (any(8) == 0)
        tag |= TAG_CAPS(any(6));
    if (any(16) == 0)
        tag |= BIT(11 + any(21));
    return tag;
}

/* For an answer mostly one that holds a caller. */
static cptr_t likely_reply(int64_t number)
{
    for (unsigned r = 0; r < REPLIES && number == SYS_REPLY_RECV && any(8); r++)
        if (((struct reply *)phys((hpa_t){ small(ENDPOINTS + r) }))->caller)
            return SLOT_REPLY + r;
    return any_slot(SLOT_REPLY, REPLIES + 1);
}

/* Some of the capabilities that have arrived go again. */
static void empty_slots(void)
{
    struct cap *slots = thread(0)->slots;

    for (unsigned i = SLOT_EMPTY; i < SLOTS; i++)
        if (slots[i].type != OBJ_NULL && !slots[i].child && any(4) == 0)
            cap_clear(&slots[i]);
}

/* Registers as user code of t could have left them before a system call. */
static void any_registers(struct tcb *t)
{
    static const int8_t numbers[] = { SYS_CALL,       SYS_CALL,
                                      SYS_CALL,       SYS_CALL,
                                      SYS_CALL,       SYS_REPLY_RECV,
                                      SYS_REPLY_RECV, SYS_REPLY_RECV,
                                      SYS_REPLY_RECV, SYS_REPLY_RECV,
                                      SYS_RECV,       SYS_RECV,
                                      SYS_RECV,       SYS_RECV,
                                      SYS_REPLY,      SYS_SEND,
                                      SYS_SIGNAL,     SYS_SIGNAL,
                                      SYS_YIELD,      SYS_POLL,
                                      SYS_NULL,       -77 };
    static const int8_t harmless[] = { SYS_SIGNAL, SYS_YIELD, SYS_POLL, SYS_NULL, SYS_REPLY };
    int64_t number = t == thread(IDLE) ? harmless[any(sizeof(harmless))] : numbers[any(sizeof(numbers))];
    struct regs *r = &t->regs;

    r->rip = 0x400000 + 2 * any(1000);
    r->rsp = any(1000);
    r->vector = VECTOR_SYSCALL;
    r->rax = (uint64_t)number;
    r->rdi = number == SYS_SIGNAL  ? any_slot(SLOT_NOTE, 1)
             : number == SYS_REPLY ? any_slot(SLOT_REPLY, REPLIES + 1)
                                   : any_slot(SLOT_EP, 8) | (uint64_t)likely_reply(number) << 32;
    if ((number == SYS_RECV || number == SYS_POLL) && any(3) == 0)
        r->rdi = SLOT_NOTE;
    if (number == SYS_CALL || number == SYS_SEND)
        r->rdi = any(20) ? any_slot(SLOT_EP, 8) : SLOT_SCHED;
    r->rsi = any_tag();
    r->rdx = any(16) ? any(1000) : USER_END + any(3) - 1;
    r->r10 = any(1000);
    r->r8 = any(1000);
    r->r9 = any(1000);
    if (t->buffer) {
        t->buffer->words[MSG_REGISTERS + any(60)] = any(1000);
        t->buffer->caps[any(MSG_CAPS_MAX)] = any_slot(SLOT_EP, SLOT_NOTE);
        t->buffer->recv_slot = any(3) ? SLOT_EMPTY + 1 + any(12) : any(SLOTS + 2);
        t->buffer->recv_limit = any(5);
        t->buffer->recv_sub = any(8) ? 0 : any(3);
    }
}

enum step { STEP_CALL, STEP_FAULT, STEP_LINE, STEP_TIMER, STEP_STOP };

static struct regs *do_step(enum step s, struct tcb *t, struct tcb *other, bool short_path)
{
    switch (s) {
    case STEP_CALL:
        return short_path ? kernel_syscall() : syscall_complete(t);
    case STEP_FAULT:
        if (short_path)
            return kernel_entry(0);
        ipc_fault(t, FAULT_EXCEPTION, VECTOR_UD, t->regs.error);
        return kernel_leave();
    case STEP_LINE:
        if (short_path)
            return kernel_entry(0);
        arch_interrupt(t->regs.vector);
        return kernel_leave();
    case STEP_STOP: /* a wait is undone; the thread does something else */
        thread_stop(other);
        other->state = THREAD_READY;
        thread_ready(other);
        return kernel_leave();
    default:
        cpu.pending_timer = true;
        return kernel_leave();
    }
}

static enum step any_step(struct tcb *t)
{
    if (cpu.timer_armed && fake.now >= cpu.timer_armed)
        return STEP_TIMER;
    if (any(12) == 0)
        return STEP_STOP;
    if (any(16) == 0)
        return STEP_LINE;
    return t != thread(IDLE) && any(12) == 0 ? STEP_FAULT : STEP_CALL;
}

static void count_short(enum step s, int64_t number)
{
    taken[s == STEP_FAULT        ? 2
          : s == STEP_LINE       ? 5
          : number == SYS_SIGNAL ? 4
          : number == SYS_YIELD  ? 3
          : number == SYS_CALL   ? 0
                                 : 1]++;
}

static void one_step(unsigned n)
{
    struct tcb *t = cpu.current, *other = thread(1 + any(THREADS - 1));

    fake.now += any(20) ? any(40) : any(1500);
    enum step s = any_step(t);
    empty_slots();
    any_registers(t);
    if (s == STEP_FAULT || s == STEP_LINE)
        t->regs.vector = s == STEP_FAULT ? VECTOR_UD : FAKE_LINES + LINE;
    uint64_t number = t->regs.rax;
    struct cpu cpu_before = cpu;
    struct fake_arch fake_before = fake;
    memcpy(before, phys_base_host, MEMORY);

    struct regs *next = do_step(s, t, other, false);
    struct cpu cpu_complete = cpu;
    struct fake_arch fake_complete = fake;
    memcpy(complete, phys_base_host, MEMORY);

    cpu = cpu_before;
    fake = fake_before;
    memcpy(phys_base_host, before, MEMORY);
    check_note("step %u: kind %d call %ld of thread %ld cap %lx tag %lx", n, s, (long)number,
               (long)(t - thread(0)) * (long)sizeof(struct tcb) / (long)PAGE_BYTES, t->regs.rdi, t->regs.rsi);
    CHECK(do_step(s, t, other, true) == next);
    if (fake.switches != fake_before.switches)
        count_short(s, (int64_t)number);
    fake.switches = fake_complete.switches;
    if (memcmp(&cpu, &cpu_complete, sizeof(cpu)))
        CHECK_MEM_EQ(&cpu, &cpu_complete, sizeof(cpu));
    CHECK_MEM_EQ(&fake, &fake_complete, sizeof(fake));
    memcpy(quick, phys_base_host, MEMORY);
    canonical(quick);
    canonical(complete);
    if (memcmp(quick, complete, MEMORY))
        CHECK_MEM_EQ(quick, complete, MEMORY);
}

TEST(short_paths_do_what_the_complete_path_does)
{
    phys_base_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned h = 1; h <= HISTORIES; h++) {
        seed = h * 0x9e3779b97f4a7c15;
        make_world();
        for (unsigned n = 0; n < STEPS; n++)
            one_step(n);
    }
    check_note("short paths taken: %u calls, %u answers, %u faults, %u yields, %u signals, %u lines",
               taken[0], taken[1], taken[2], taken[3], taken[4], taken[5]);
    for (unsigned i = 0; i < 6; i++)
        CHECK_LT(200, taken[i]);
}
