/* SPDX-License-Identifier: BSD-2-Clause */
/* How a guest, or its VMM, ended: a report to init, and what was counted. */
#include <stdio.h>
#include <stdlib.h>

#include "servers/vmm/inject.h"
#include "servers/vmm/process.h"
#include "sys/sys.h"

_Noreturn void report(const struct process *p, end_reason_t reason, const char *text)
{
    const volatile struct umbra_exit_page *x = p->env.exit;
    struct guest_state g = { 0 };
    uint64_t exits = 0;

    if (x && p->vmm.state) {
        sys_invoke1(CAP_VCPU, VCPU_SYNC, STATE_SEGMENTS);
        for (unsigned i = 0; i < GPRS; i++)
            g.gpr[i] = x->gpr[i];
        g.rip = x->rip;
        g.rflags = x->rflags;
        g.cr0 = p->vmm.state->cr0;
        g.cr2 = x->cr2;
        g.cr3 = p->vmm.state->cr3;
        g.cr4 = p->vmm.state->cr4;
        g.efer = p->vmm.state->efer;
        g.cs = x->seg[SEG_CS].selector;
        g.ss = x->seg[SEG_SS].selector;
        exits = x->seq + p->vmm.state->stats.cr3_served;
    }
    supervisor_ended(CAP_SUPERVISOR, reason, exits, text, &g);
    exit(reason == END_REASON_INTERNAL);
}

static end_reason_t reason_of(const struct process *p, enum vmm_end e)
{
    switch (e) {
    case VMM_END_HALT:
        return END_REASON_HALTED;
    case VMM_END_SHUTDOWN:
        return END_REASON_SHUTDOWN;
    case VMM_END_RESET:
        return END_REASON_RESET;
    case VMM_END_POWEROFF:
        return END_REASON_POWEROFF;
    case VMM_END_EXIT:
        return p->vmm.state->machine.power.exit_value ? END_REASON_FAILED : END_REASON_EXITED;
    default: /* the guest's doing, whoever serves it */
        return END_REASON_UNSUPPORTED;
    }
}

static void say_counter(const char *of, const char *name, uint64_t value)
{
    if (value)
        printf("stat %s%s %llu\n", of, name, (unsigned long long)value);
}

/* What `run --stats` and the benchmarks read, through init, which adds whose they are. */
static void say_counters(const struct process *p, const char *const kinds[])
{
    const struct vmm_stats *s = &p->vmm.state->stats;
    const struct shadow_counters *c = shadow_counters(p->vmm.shadow);

    for (unsigned i = 0; i < EXIT_KINDS; i++)
        say_counter("exits_", kinds[i], s->exits[i]);
    say_counter("exits_", "uart", s->exits_uart);
    say_counter("", "cr3_served", s->cr3_served);
    say_counter("", "emulated", s->emulated);
    say_counter("", "mmio", s->mmio);
    say_counter("", "injected", s->injected);
    say_counter("", "faults_to_guest", s->faults_to_guest);
    say_counter("", "blackout", s->blackout);
    if (p->vmm.state->ended == VMM_END_EXIT) /* 0, too */
        printf("stat exit_value %u\n", p->vmm.state->machine.power.exit_value);
    say_counter("shadow_", "cr3", c->cr3_known + c->cr3_new);
    say_counter("shadow_", "cr3_new", c->cr3_new);
    say_counter("shadow_", "fills", c->fills);
    say_counter("shadow_", "prefetches", c->prefetches);
    say_counter("shadow_", "emulated_writes", c->emulated_writes);
    say_counter("shadow_", "unsyncs", c->unsyncs);
    say_counter("shadow_", "resyncs", c->resyncs);
    say_counter("shadow_", "tables_made", c->tables_made);
    say_counter("shadow_", "reclaims", c->reclaims);
    say_counter("shadow_", "resets", c->resets);
    say_counter("shadow_", "flushed_looks", p->flushed.looks);
    say_counter("shadow_", "flushed_left", p->flushed.left);
    say_counter("shadow_", "in_use", shadow_in_use(p->vmm.shadow));
    say_counter("shadow_", "pool", p->env.config->vm_shadow_tables);
    say_counter("shadow_", "state_bytes",
                shadow_bytes(p->env.config->vm_shadow_tables, p->env.config->vm_pages));
    fflush(stdout); /* what comes after the report is not heard */
}

_Noreturn void finish(struct process *p, enum vmm_end end)
{
    static const char *const kinds[] = EXIT_KIND_NAMES;
    char text[96];

    console_end(p);
    say_counters(p, kinds);
    inject_finish();
    if (end == VMM_END_EXIT)
        snprintf(text, sizeof(text), "debug exit with value %u", p->vmm.state->machine.power.exit_value);
    else
        snprintf(text, sizeof(text), "%s at rip %llx, exit kind %s", vmm_end_name(end),
                 (unsigned long long)p->env.exit->rip,
                 kinds[p->env.exit->kind < EXIT_KINDS ? p->env.exit->kind : 0]);
    report(p, reason_of(p, end), text);
}

_Noreturn void refused(const struct process *p, err_t e, uint64_t word)
{
    char text[96];

    snprintf(text, sizeof(text), "the kernel refuses the reply: error %d at word %llu", e,
             (unsigned long long)word);
    report(p, END_REASON_INTERNAL, text);
}
