/* SPDX-License-Identifier: BSD-2-Clause */
/* Per-processor state, in one structure: the scheduler's queues, the deadline heap, what is loaded, the
 * counters.
 *
 * The kernel runs with interrupts off on one stack a processor; interrupts that arrive in the few places that
 * allow them are recorded in `pending` and handled on the way out. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "objects.h"

#define PRIORITIES    256
#define IRQ_LINES     16
#define PREEMPT_STEPS 64 /* units of long work between looks at interrupts */

struct cpu {
    uint64_t user_rsp;    /* entry.S: first; scratch */
    struct tcb *current;  /* runs or is about to; NULL: nobody */
    struct tcb *last;     /* whose address space, FS, GS and entry stack are set up; whoever runs */
    void *fpu_owner;      /* tcb.fpu or vcpu.fpu whose contents are in the registers */
    hpa_t space;          /* loaded */
    uint64_t slice_start; /* when current began to use its budget */
    uint64_t slice_end;   /* when its budget or period ends: the short paths charge before it only */
    uint64_t timer_armed; /* 0: not */
    struct deadline *deadlines;
    struct tcb *partner; /* of whom has just blocked: goes before others of its priority */
    union {
        struct {
            uint32_t pending_lines;
            bool pending_timer, reschedule;
        };
        uint64_t attention; /* 0: whoever runs goes on; so while user code runs */
    };
    uint32_t work;    /* steps since the last look */
    uint16_t highest; /* 1 + the highest priority with a thread in its ready queue, 0: none */
    bool turn_over;   /* current has used a full budget: others of its priority are next */
    bool fpu_trapped; /* CR0.TS */
    uint64_t ready_bits[PRIORITIES / 64];
    struct thread_queue ready[PRIORITIES];
    struct cap irq[IRQ_LINES]; /* Notification slots of the interrupt lines, holder OBJ_IRQ */
    bool irq_taken[IRQ_LINES];
    uint64_t count[COUNT_KERNEL_MAX];
};
extern struct cpu cpu;

#define COUNT(c) (cpu.count[COUNT_##c]++)

/* One step of long work is done; true: give interrupts a chance (return PREEMPTED). */
static inline bool cpu_preempt_due(void)
{
    if (++cpu.work < PREEMPT_STEPS)
        return false;
    cpu.work = 0;
    return true;
}

/* sched.c */
void thread_ready(struct tcb *t); /* becomes READY (or stays GUEST) and is queued */
void thread_stop(struct tcb *t);  /* leaves every queue and wait; INACTIVE; its call would be repeated */
void thread_block(struct tcb *t, unsigned state); /* the current thread waits */
void thread_priority(struct tcb *t, unsigned priority);
void thread_requeue(struct tcb *t); /* its scheduling context changed */
void sched_account(void);           /* charge the current thread up to now */
void sched_yield(void);
void sched_refilled(struct sched *s);
struct tcb *sched_choose(void); /* NULL: nothing to run */
/* Another thread of this priority is ready. */
static inline bool sched_has_peer(const struct tcb *t)
{
    return cpu.ready_bits[t->priority / 64] >> t->priority % 64 & 1;
}
/* A budget that is its whole period never ends. */
static inline bool sched_is_full(const struct sched *s)
{
    return s->budget == s->period;
}
/* When the budget of a thread that runs from now, or its period, ends. */
static inline uint64_t sched_slice_end(const struct sched *s, uint64_t now)
{
    uint64_t end = now + s->remaining;

    return !sched_is_full(s) && s->period_start + s->period < end ? s->period_start + s->period : end;
}

static inline void queue_push(struct thread_queue *q, struct tcb *t)
{
    t->next = NULL;
    t->prev = q->tail;
    if (__builtin_expect(!q->tail, true))
        q->head = t;
    else
        q->tail->next = t;
    q->tail = t;
}

static inline void queue_first(struct thread_queue *q, struct tcb *t)
{
    t->prev = NULL;
    t->next = q->head;
    if (q->head)
        q->head->prev = t;
    else
        q->tail = t;
    q->head = t;
}

static inline void queue_remove(struct thread_queue *q, struct tcb *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        q->head = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        q->tail = t->prev;
}

static inline void queue_drop_head(struct thread_queue *q, const struct tcb *head)
{
    q->head = head->next;
    if (__builtin_expect(!head->next, true))
        q->tail = NULL;
    else
        head->next->prev = NULL;
}

/* deadline.c: an intrusive leftist heap */
void deadline_insert(struct deadline *d, uint64_t when);
void deadline_remove(struct deadline *d);
void deadline_expire(uint64_t now);

/* interrupt.c */
void interrupts_handle(void);
/* syscall.c: what entry.S calls; returns the registers to continue with */
struct regs *kernel_entry(uint64_t fault_address);
struct regs *kernel_syscall(void);
struct regs *kernel_leave(void);
void thread_load(struct tcb *t); /* what t needs of the processor is there */

#include "arch/switch.h"

#endif
