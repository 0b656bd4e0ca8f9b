/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest gets at its next entry: an event, a window request, or nothing; and when to look again. */
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/dev/irq.h"

static struct irq_input input_of(const struct vmm *v)
{
    uint64_t rflags = v->loaded ? v->cpu.rflags : v->exit->rflags;
    uint8_t shadow = v->loaded ? v->cpu.shadow : v->exit->shadow;

    return (struct irq_input){ .interrupted = v->interrupted,
                               .exception = v->exception,
                               .nmi = machine_nmi(&v->state->machine),
                               .intr = machine_intr(&v->state->machine),
                               .flag_if = rflags & X86_FLAG_IF,
                               .shadow = shadow };
}

static enum vmm_end halted(struct vmm *v, const struct irq_input *in)
{
    switch (irq_halt(in, machine_nmi_possible(&v->state->machine))) {
    case IRQ_HALT_PARK:
        v->reply->flags |= REPLY_PARK;
        return VMM_RUNS;
    case IRQ_HALT_FOREVER:
        return VMM_END_HALT;
    default:
        VMM_SET(v, halted, 0);
        return VMM_RUNS;
    }
}

static enum vmm_end machine_request(const struct vmm *v)
{
    switch (v->state->machine.lines.request) {
    case DEV_REQUEST_NONE:
        return VMM_RUNS;
    case DEV_REQUEST_POWEROFF:
        return VMM_END_POWEROFF;
    case DEV_REQUEST_EXIT:
        return VMM_END_EXIT;
    default:
        return VMM_END_RESET;
    }
}

/* In real mode no exception has an error code, also where the exit carries one (APM vol. 2, 8.2). */
static uint64_t as_injected(const struct vmm *v, uint64_t event)
{
    uint64_t cr0 = v->loaded ? v->cpu.cr0 : v->state->cr0;
    return cr0 & X86_CR0_PE ? event : (uint32_t)event & ~EVENT_HAS_ERROR;
}

enum vmm_end vmm_events(struct vmm *v)
{
    struct machine *m = &v->state->machine;
    enum vmm_end end = machine_request(v);

    if (end != VMM_RUNS)
        return end;
    struct irq_input in = input_of(v);
    if (v->state->halted) {
        end = halted(v, &in);
        if (end != VMM_RUNS || v->state->halted) {
            v->deadline = m->deadline;
            return end;
        }
    }
    struct irq_choice c = irq_choose(&in);
    switch (c.what) {
    case IRQ_NMI:
        machine_nmi_taken(m, &v->undo.dev, v->now);
        v->reply->event = c.event;
        break;
    case IRQ_EVENT:
        v->reply->event = as_injected(v, c.event);
        break;
    case IRQ_EXTERNAL:
        v->reply->event = EVENT_MAKE(machine_ack(m, &v->undo.dev, v->now), EVENT_INTERRUPT);
        v->state->stats.injected++;
        c.window = machine_intr(m);
        break;
    case IRQ_TRIPLE:
        return VMM_END_SHUTDOWN;
    default:
        break;
    }
    if (c.window || c.look_again) {
        v->reply->flags |= REPLY_WINDOW;
        v->state->stats.windows++;
    }
    v->deadline = m->deadline;
    return VMM_RUNS;
}
