/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice of the next event. See irq.h for what holds. */
#include "servers/vmm/dev/irq.h"

enum { VEC_DE = 0, VEC_BP = 3, VEC_OF = 4, VEC_DF = 8, VEC_TS = 10, VEC_GP = 13, VEC_PF = 14 };

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

/* APM vol. 2, table 8-2. */
static enum fault_class class_of(uint64_t event)
{
    if (EVENT_TYPE(event) != EVENT_EXCEPTION)
        return BENIGN;
    uint32_t v = EVENT_VECTOR(event);
    if (v == VEC_DF)
        return DOUBLE_FAULT;
    if (v == VEC_PF)
        return PAGE_FAULT;
    return v == VEC_DE || (v >= VEC_TS && v <= VEC_GP) ? CONTRIBUTORY : BENIGN;
}

uint64_t irq_combine(uint64_t first, uint64_t second)
{
    enum fault_class a = class_of(first), b = class_of(second);
    if (a == BENIGN || b == BENIGN)
        return second;
    if (a == DOUBLE_FAULT)
        return 0;
    if (a == CONTRIBUTORY && b == PAGE_FAULT)
        return second;
    return EVENT_MAKE(VEC_DF, EVENT_EXCEPTION) | EVENT_HAS_ERROR;
}

/* Events that an instruction asked for are not repeated: RIP still points to it (APM vol. 2, 15.20). */
static bool instruction_repeats(uint64_t event)
{
    uint32_t v = EVENT_VECTOR(event);
    return EVENT_TYPE(event) == EVENT_SOFTWARE ||
           (EVENT_TYPE(event) == EVENT_EXCEPTION && (v == VEC_BP || v == VEC_OF));
}

/* What waits outside, when no event of the processor's own goes first. */
static struct irq_choice choose_outside(const struct irq_input *in)
{
    bool nmi = in->nmi && !in->nmi_blocked;
    if (!nmi && !in->intr)
        return (struct irq_choice){ .what = IRQ_NONE };
    if (in->shadow)
        return (struct irq_choice){ .what = IRQ_NONE, .look_again = true };
    if (nmi)
        return (struct irq_choice){ .what = IRQ_NMI, .event = EVENT_MAKE(2, EVENT_NMI) };
    if (in->flag_if)
        return (struct irq_choice){ .what = IRQ_EXTERNAL };
    return (struct irq_choice){ .what = IRQ_NONE, .window = true };
}

static struct irq_choice choose_exception(const struct irq_input *in)
{
    uint64_t event = in->interrupted ? irq_combine(in->interrupted, in->exception) : in->exception;
    if (!event)
        return (struct irq_choice){ .what = IRQ_TRIPLE, .drop = true };
    return (struct irq_choice){ .what = IRQ_EVENT, .event = event, .drop = in->interrupted != 0 };
}

struct irq_choice irq_choose(const struct irq_input *in)
{
    struct irq_choice choice;
    if (in->exception) {
        choice = choose_exception(in);
    } else if (in->interrupted && !instruction_repeats(in->interrupted)) {
        choice = (struct irq_choice){ .what = IRQ_EVENT, .event = in->interrupted };
    } else {
        choice = choose_outside(in);
        choice.drop = in->interrupted != 0;
    }
    if (in->intr && (choice.what == IRQ_EVENT || choice.what == IRQ_NMI))
        choice.window = true;
    return choice;
}

enum irq_halt irq_halt(const struct irq_input *in, bool nmi_possible)
{
    if ((in->nmi && !in->nmi_blocked) || (in->intr && in->flag_if))
        return IRQ_HALT_RUN;
    return in->flag_if || (nmi_possible && !in->nmi_blocked) ? IRQ_HALT_PARK : IRQ_HALT_FOREVER;
}
