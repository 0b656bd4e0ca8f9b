/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel as a whole on the host: all of it but kernel/arch, behind a processor that the test plays.
 *
 * Several processes as init would build them do one thing a step: a system call with any words, a fault, an
 * interrupt, nothing while time passes; guests leave with any exit. What happens is a function of the input,
 * STEP_BYTES a step, so a history is replayed, cut short, or mutated by changing bytes. After each step all
 * objects that can be reached are checked against each other. tests/host/whole/test_whole.c runs histories
 * of fixed and of fresh seeds, tests/fuzz/kernel.c those of a fuzzer. */
#ifndef TESTS_WHOLE_H
#define TESTS_WHOLE_H

#include "kernel/arch/pte.h"
#include "kernel/invoke.h"
#include "kernel/ipc.h"
#include "kernel/space.h"
#undef CHECK
#include "tests/host/kernel/fake_arch.h"

#define WHOLE_BYTES  (4ul << 20)
#define WHOLE_FRAMES (WHOLE_BYTES / PAGE_BYTES)
#define RAM_AT       (1ul << 20) /* what boot handed out */
#define RAM_BITS     20
#define BULK_AT      (2ul << 20)
#define BULK_BITS    21
#define DEVICE_AT    (1ul << 30) /* nothing there */
#define DEVICE_BITS  14
#define TIMER_VECTOR 0x40
#define STEP_BYTES   24u
#define SYSCALL_AT                                                                                           \
    0x400000ul /* where user code makes its calls: who stands there makes the same one again                 \
                */

/* The boot CNode's slots, as kernel-api.md, "Boot". */
#define BOOT_BITS 9
enum {
    SLOT_CNODE = 1,
    SLOT_TCB,
    SLOT_VSPACE,
    SLOT_IPC_BUFFER,
    SLOT_SCHED,
    SLOT_SCHEDCONTROL,
    SLOT_IRQCONTROL,
    SLOT_IOPORT,
    SLOT_KERNEL,
    SLOT_RAM,
    SLOT_BULK,
    SLOT_DEVICE,
    SLOT_FREE
};

/* A history that must not be: prints what, and the steps that led to it if asked for; abort(). */
_Noreturn void whole_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (__builtin_expect(!(x), 0))                                                                       \
            whole_fail(__FILE__, __LINE__, "%s", #x);                                                        \
    } while (0)
#define MUST_SAY(x, ...)                                                                                     \
    do {                                                                                                     \
        if (__builtin_expect(!(x), 0))                                                                       \
            whole_fail(__FILE__, __LINE__, #x ": " __VA_ARGS__);                                             \
    } while (0)

/* world.c */
extern bool bulk_used;   /* and is to be copied */
extern bool whole_trace; /* each step is printed, and the kernel's log */
void whole_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void whole_init(void);  /* once: builds the world and keeps it */
void whole_reset(void); /* the world as it was built */
struct cap *boot_slots(void);
struct tcb *init_thread(void);
bool victim_is_whole(void); /* the process that nobody but init has capabilities for */
/* All steps of the input; how many were done. */
unsigned whole_run(const uint8_t *input, size_t bytes);

/* input.c: what is left of the step's bytes decides; behind them a mixture of them does. */
void input_step(const uint8_t *bytes);
uint64_t pick(uint64_t n); /* 0 .. n - 1 */
bool one_in(unsigned n);
uint64_t wild(void); /* any word, often one that matters somewhere */

/* step.c: the thread that runs does something. False: the machine has stopped. */
bool whole_step(void);
extern bool init_acts; /* else it only sees that time passes, and the victim must stay as it is */
/* call.c: a system call into t's registers, and what t's memory says with it. */
void choose_call(struct tcb *t);
void choose_revival(struct tcb *t); /* init lets one of the threads that wait for ever do something else */
cptr_t pick_cap(const struct tcb *t, unsigned type);

/* arch.c: the processor. enter() gives the registers to go on with; NULL: nothing will ever happen. */
enum way_in { IN_SYSCALL, IN_ENTRY, IN_LEAVE };
struct regs *enter(enum way_in way, uint64_t address);
bool timer_set_by(uint64_t when); /* it will interrupt then, or before */
void arch_reset(void);
void arch_keep(void);
struct tlb_entry {
    uint64_t address, entry; /* of the page; entry: frame and effective rights */
};
#define TLB_MAX 2048u
extern struct tlb_entry host_tlb[TLB_MAX]; /* what the processor may hold of the loaded space */
extern unsigned host_tlb_count;

/* inside.c */
struct cap *next_dying(const struct cap *head, const struct cap *z);
void cap_keep(void);
void cap_reset(void);

/* tree.c: capabilities, objects and their memory; everything below looks at what it found. */
#define NODES_MAX 4096u
struct object {
    struct cap *cap; /* the original */
    uint64_t at, bytes;
};
struct census {
    struct cap *node[NODES_MAX];
    unsigned nodes;
    struct object object[NODES_MAX]; /* from 1; Untypeds, too */
    unsigned objects;
};
extern struct census census;
void check_tree(void);
/* What lies at p is an object of this type that lives and begins there. */
bool lives(const void *p, unsigned type);
/* The object that owns the frame as a whole, or NULL. */
const struct object *owner_of_frame(hpa_t a);
/* spaces.c, shadow.c, threads.c */
void check_spaces(void);
void check_guests(void);
void check_threads(void);
void check_time(void);
void check_exits(void); /* pending ones stay as they are (I7) */
void exits_forget(void);
void whole_check(void);

#define EACH_OBJECT(o, kind)                                                                                 \
    (const struct object *o = census.object + 1; o <= census.object + census.objects;                        \
     o++) if (o->cap->type == (kind) && !(o->cap->flags & CAP_ZOMBIE))

#endif
