/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM process: what init built around the core (servers/vmm/core). It loads the guest (setup.c), then
 * answers exits until the guest ends (ending.c). Nothing of the core makes a system call: this folder's files
 * do. */
#include <stdio.h>

#include "component/component.h"
#include "servers/vmm/audit.h"
#include "servers/vmm/inject.h"
#include "servers/vmm/process.h"
#include "servers/vmm/program.h"
#include "sys/sys.h"

#define ANNOUNCE_HZ 100 /* chosen: of a guest that runs on; most have a clock that ticks more often */

/* The first to fourth serial port of a PC: 3F8h, 2F8h, 3E8h, 2E8h, eight ports each. */
static bool is_serial_port(uint32_t port)
{
    return (port & ~0x117u) == 0x2e8;
}

/* After the answer was found the ring took what the serial port held (console_output). What follows from that
 * no later exit need bring: the interrupt that there is room, and that the console hears of the output, which
 * by itself says only that a full ring is full no more. So there is one: at once, if the guest waits for it.
 */
static uint64_t output_due(struct process *p)
{
    const struct vmm *v = &p->vmm;

    if (!p->took)
        return DEV_NEVER;
    p->took = false;
    bool waits = (v->reply->flags & REPLY_PARK) || (v->idle && machine_intr(&v->state->machine));
    return p->env.exit->tsc + (waits ? 0 : v->state->machine.hz / ANNOUNCE_HZ);
}

/* Nor need one bring the rest of what was typed, when the guest has made room for it. */
static uint64_t input_due(struct process *p)
{
    const struct uart *u = &p->vmm.state->machine.uart;

    if (!p->held || u->in_head - u->in_tail > UART_IN_RING / 2)
        return DEV_NEVER;
    p->held = false;
    return p->env.exit->tsc;
}

static void set_clock(struct process *p)
{
    uint64_t wake = vmm_wake(&p->vmm);

    if (p->took || p->held)
        wake = dev_min(wake, dev_min(output_due(p), input_due(p)));
    if (wake >= p->armed && p->armed > p->env.exit->tsc)
        return; /* fires early enough; an early exit costs less than setting it each
                   time */
    p->armed = wake;
    if (p->armed != DEV_NEVER)
        sys_invoke1(CAP_CLOCK, TIMER_SET, p->armed);
}

static void first_exit(const struct process *p)
{
    struct sys_message m = { 0 };
    err_t e = sys_recv(CAP_VCPU, 0, &m);

    if (e != ERR_OK)
        refused(p, e, 0);
}

static inline void answer(struct process *p)
{
    uint64_t word;

    set_clock(p);
    err_t e = sys_answer(CAP_VCPU, &word);
    if (e != ERR_OK)
        refused(p, e, word);
}

/* What most answers do not need. */
static void attend(struct process *p)
{
    if (p->taken_over) {
        p->vmm.state->stats.blackout = host_tsc() - p->env.exit->tsc;
        p->taken_over = false;
    }
    if (p->until && p->env.exit->seq + 1 >= p->until) {
        answer(p);
        inject_crash();
    }
    p->attend = p->until != 0;
}

static void tell_audit(struct process *p)
{
    struct audit_result r = audit_shadow(&p->vmm);

    supervisor_audited(CAP_SUPERVISOR, p->env.exit->seq, r.looked.entries, r.looked.unsynced, r.differences,
                       r.first);
}

static _Noreturn void serve(struct process *p)
{
    for (;;) {
        vmm_begin(&p->vmm);
        inject_begin(&p->vmm);
        if (p->console) {
            console_taken(p);
            console_announce(p);
        }
        if (p->env.exit->kind == EXIT_EVENT && p->env.exit->events & DESC_EVENT_AUDIT)
            tell_audit(p);
        if (p->env.exit->kind == EXIT_EVENT)
            console_input(p);
        else if (p->env.exit->kind == EXIT_IO)
            p->vmm.state->stats.exits_uart += is_serial_port(EXIT_IO_PORT(p->env.exit->info[0]));
        enum vmm_end end = vmm_handle(&p->vmm);
        if (end != VMM_RUNS) {
            inject_end(&p->vmm);
            finish(p, end);
        }
        vmm_step(&p->vmm, TRACE_HANDLED);
        if (p->console || p->vmm.undo.words) /* else the serial port has nothing new */
            console_output(p, CONSOLE_OUTPUT_RUNNING);
        vmm_wrote(&p->vmm, p->env.output->produced);
        inject_end(&p->vmm);
        vmm_commit(&p->vmm);
        vmm_step(&p->vmm, TRACE_COMMITTED);
        flushed_check(&p->flushed, &p->vmm); /* its reads are not the exit's */
        if (p->attend)
            attend(p);
        answer(p);
    }
}

/* The first exit of this incarnation: of a guest that begins, or of one whose VMM is gone. */
static void take_over(struct process *p, struct vmm_setup *s)
{
    struct boot_plan plan;

    s->input_taken =
        p->env.output->input_taken; /* what was typed to a predecessor's guest is not lost, nor repeated */
    s->stopped_at =
        __atomic_load_n(&p->env.info->stopped_at, __ATOMIC_ACQUIRE); /* it came with being ready */
    first_exit(p);
    inject_say();
    switch (vmm_resume(&p->vmm, s, host_tsc())) {
    case VMM_NEW:
        inject_begin(&p->vmm);
        p->env.output->magic = CONSOLE_MAGIC;
        load_guest(p, &plan);
        protect_rom(p);
        first_exit(p); /* the same exit, in the epoch that protecting began */
        vmm_start(&p->vmm, &plan.cpu);
        inject_end(&p->vmm);
        answer(p);
        break;
    case VMM_CONTINUES:
        vmm_step(&p->vmm, TRACE_RECOVERED);
        console_withdraw(p);
        vmm_step(&p->vmm, TRACE_WITHDRAWN);
        p->held = p->env.input->produced != p->vmm.state->input_taken;
        p->attend = p->taken_over = true;
        break;
    case VMM_STRANGE:
        report(p, END_REASON_INTERNAL, "the state segment is of another version");
    case VMM_CORRUPT:
        report(p, END_REASON_CORRUPT, "the state segment is damaged");
    }
}

static _Noreturn void refuse_segment(const struct process *p)
{
    char text[96];

    snprintf(text, sizeof(text),
             "the guest's state is of version %u, %u bytes; this program reads %u, %zu bytes",
             p->vmm.state->version, p->vmm.state->bytes, VMM_STATE_VERSION, sizeof(struct vmm_segment));
    report(p, END_REASON_INTERNAL, text);
}

int main(void)
{
    static struct process p = { .armed = DEV_NEVER, .console = true };
    struct vmm_setup setup;

    component_log_to(CAP_SUPERVISOR);
    if (!vmm_env_open(&p.env))
        report(&p, END_REASON_BAD_IMAGE, "this program was built for another system description");
    open_guest(&p, &setup);
    take_first_memory(&p);
    supervisor_program(CAP_SUPERVISOR, vmm_program);
    if (!vmm_can_read(&p.vmm))
        refuse_segment(&p);
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        report(&p, END_REASON_INTERNAL, "no supervisor");
    take_over(&p, &setup);
    serve(&p);
}
