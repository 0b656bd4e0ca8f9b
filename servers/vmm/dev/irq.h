/* SPDX-License-Identifier: BSD-2-Clause */
/* Which event to give the guest at its next entry: one pure decision (APM vol. 2, 8.5 priorities, 8.2.9
 * double fault, 15.20 event injection).
 *
 * Invariants: nothing is injected that the guest's IF or interrupt shadow forbids; an event whose delivery an
 * exit broke off is repeated exactly once or replaced as the processor would. Acknowledging the interrupt
 * controller is the caller's. */
#ifndef VMM_DEV_IRQ_H
#define VMM_DEV_IRQ_H

#include <umbra/vcpu.h>

/* All as they will be at entry, that is after what the VMM emulated. */
struct irq_input {
    uint64_t
        interrupted; /* the event whose delivery the exit broke off and that was not finished since, else 0 */
    uint64_t exception; /* an exception to raise (EVENT_*), else 0 */
    bool nmi;           /* an NMI waits */
    bool nmi_blocked;   /* one is being handled: no IRET since */
    bool intr;          /* the interrupt controller's INTR */
    bool flag_if;       /* RFLAGS.IF */
    bool shadow;        /* interrupt shadow of STI or MOV SS */
};

enum irq_what {
    IRQ_NONE,
    IRQ_EVENT,    /* inject choice.event */
    IRQ_EXTERNAL, /* acknowledge the interrupt controller and inject its vector; if INTR is still up, ask for
                     the window, too */
    IRQ_NMI,      /* inject choice.event; the NMI is used up */
    IRQ_TRIPLE,   /* an exception while delivering a double fault: the guest shuts down */
};

struct irq_choice {
    enum irq_what what;
    uint64_t event;
    bool window;     /* exit as soon as the guest can take an interrupt (REPLY_WINDOW) */
    bool look_again; /* an interrupt waits behind an interrupt shadow: nothing may be armed while the shadowed
                        instruction is tried again (platform.md, TCG loses the shadow); decide anew at the
                        next exit */
    bool drop;       /* the interrupted event is lost, or its instruction simply runs again */
};

struct irq_choice irq_choose(const struct irq_input *in);

/* irq_combine - exception second is raised while first is delivered: the event to inject, or 0 for a
 * shutdown. */
uint64_t irq_combine(uint64_t first, uint64_t second);

enum irq_halt { IRQ_HALT_RUN, IRQ_HALT_PARK, IRQ_HALT_FOREVER };

/* irq_halt - after HLT: run on (an event comes at once), park until the next EVENT exit, or never wake:
 * interrupts off and no other source (nmi_possible false on this machine, which has none). */
enum irq_halt irq_halt(const struct irq_input *in, bool nmi_possible);

#endif
