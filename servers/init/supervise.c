/* SPDX-License-Identifier: BSD-2-Clause */
/* After the start: components say that they are ready or done, faults arrive, and the machine ends with its
 * guests. */
#include "init.h"
#include "component/component.h"
#include "init_component.h"
#include "libc/libc.h"
#include "servers/init/report.h"
#include "supervisor_server.h"
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define REBUILDS_MAX 5u   /* chosen */
#define FINISH_MS    100u /* chosen: a full ring of 13 KB takes 25 ms in the emulator */
#define FINISH_MORE  100u /* chosen: so often, on a busy host */
#define IPC          ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)

static const char *const reasons[] = { [END_REASON_DONE] = "done",
                                       [END_REASON_POWEROFF] = "powered off",
                                       [END_REASON_RESET] = "reset",
                                       [END_REASON_HALTED] = "halted for ever",
                                       [END_REASON_SHUTDOWN] = "triple fault",
                                       [END_REASON_BAD_IMAGE] = "bad image",
                                       [END_REASON_UNSUPPORTED] = "not supported",
                                       [END_REASON_INTERNAL] = "internal error",
                                       [END_REASON_CORRUPT] = "saved state damaged",
                                       [END_REASON_EXITED] = "exited",
                                       [END_REASON_FAILED] = "failed" };

/* The line that build.py reads: `guest NAME ended: REASON`. */
static void say_ended(const struct component *c, const char *reason, const char *text)
{
    printf("%s %s ended: %s%s%s\n", c->guest ? "guest" : "component", c->name, reason, *text ? ": " : "",
           text);
}

/* --- the end --- */

/* What kept everybody else waiting longest, since all is built. */
static void say_stretches(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_STRETCHES, 1), .w = { KERNEL_STRETCHES_LOG } };

    if (sys_call(SLOT_KERNEL, &m) == ERR_OK && m.w[0])
        printf("stat kernel longest_stretch %lu\n", m.w[0]);
}

static void say_counters(const struct init *in)
{
    static const char *const names[COUNT_KERNEL_MAX] = { "syscalls",  "exits",        "exits_sent",
                                                         "cr3_loads", "fpu_switches", "interrupts",
                                                         "epochs",    "flushes",      "switches",
                                                         "cr3_served" };
    uint64_t value[COUNT_KERNEL_MAX];
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };

    if (sys_call(SLOT_KERNEL, &m) != ERR_OK)
        return;
    for (unsigned i = 0; i < COUNT_KERNEL_MAX; i++)
        value[i] = i < MSG_REGISTERS ? m.w[i] : IPC->words[i];
    for (unsigned i = 0; i < COUNT_KERNEL_MAX; i++)
        printf("stat kernel %s %lu\n", names[i], value[i]);
    printf("stat kernel boot_memory_used %lu\n", boot_memory_used(in));
    say_stretches();
    audit_say_tlb();
}

/* The guests' last output is still on its way when they end: servers get so long to bring it out, and so long
 * again if one dies over that or is busy still, but not for ever. */
static void let_servers_finish(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        if (!c->done || c->ended)
            continue;
        c->done_then = *c->done;
        restart_ping(in, c); /* who lives does something */
    }
    in->ends_at = libc_tsc() + in->boot->tsc_hz / 1000 * FINISH_MS;
    watch_at(in, in->ends_at);
}

static uint64_t servers_used(struct init *in)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < in->desc.header.components; i++)
        used += in->component[i].done ? watch_used(&in->component[i]) : 0;
    return used;
}

#define SIGNS 2u /* what a server does over one signal, at most */

/* Whether output waits still, servers have used more than a hundredth of the processor since this was asked
 * last, or one has done more than give a sign of life, or none: it is found to hang, and the next one goes
 * on. */
static bool servers_busy(struct init *in)
{
    uint64_t before = in->ends_used;

    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *c = &in->component[i];
        if (c->done && !c->ended && *c->done - c->done_then - 1 >= SIGNS)
            return true;
        if (c->guest && !rings_empty(c)) /* the line may be as slow as who reads it */
            return true;
    }
    in->ends_used = servers_used(in);
    return in->ends_used - before > in->boot->tsc_hz / 1000 * FINISH_MS / 100;
}

static void finish(struct init *in)
{
    if (libc_tsc() < in->ends_at) {
        watch_at(in, in->ends_at);
        return;
    }
    if (servers_busy(in) && in->ends_left) {
        in->ends_left--;
        let_servers_finish(in);
        return;
    }
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (!in->component[i].guest && in->component[i].restarts)
            printf("init: %s was restarted %u times\n", in->component[i].name, in->component[i].restarts);
    say_counters(in);
    end_machine(in->ends_clean ? END_CLEAN : END_GUEST_FAILED);
}

static bool any_guest(const struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].guest)
            return true;
    return false;
}

/* The machine ends when no guest is left, or, where there never was one, no component. */
void supervise_end_if_last(struct init *in)
{
    bool guests = any_guest(in), clean = true;

    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *c = &in->component[i];
        if (guests && !c->guest)
            continue;
        if (!c->ended || c->stopped) /* who was stopped may be started again */
            return;
        clean &= c->clean;
    }
    in->ends_clean = clean;
    in->ends_used = servers_used(in);
    in->ends_left = FINISH_MORE;
    let_servers_finish(in);
}

void supervise_goes_on(struct init *in)
{
    in->ends_at = 0;
}

/* Nothing of the component runs any more. A system without a server cannot go on. */
static void end_component(struct init *in, struct component *c, bool clean)
{
    if (c->upgrading)
        upgrade_refused(in, c, "its guest has ended");
    if (in->audit && c->guest)
        audit_system(in);
    if (c->guest && (!clean || c->stopped))
        upgrade_gives_way(in, c, restart_answered(in, c), "was stopped");
    if (c->guest)
        background_begin(in, c);
    report_say(in, c);
    for (unsigned i = 0; i < 2; i++)
        process_free(in, c, &c->process[i]);
    if (c->guest) {
        background_end(in, c);
        rings_settle(in, c, restart_answered(in, c));
    }
    c->ended = true;
    c->clean = clean;
    if (c->restarts && c->guest)
        printf("stat %s restarts %u\n", c->name, c->restarts);
    if (!c->guest && !clean) {
        printf("init: the system cannot go on without %s\n", c->name);
        say_counters(in);
        end_machine(END_SYSTEM_FAILED);
    }
    supervise_end_if_last(in);
}

void supervise_end(struct init *in, struct component *c, bool clean, const char *reason, const char *text)
{
    snprintf(c->why, sizeof(c->why), "%s%s%s", reason, *text ? ": " : "", text);
    say_ended(c, reason, text);
    end_component(in, c, clean);
}

/* Nobody misses it: it is built again, unless it dies over and over. */
static void rebuild(struct init *in, struct component *c)
{
    background_begin(in, c);
    process_free(in, c, c->now);
    if (c->rebuilds++ == REBUILDS_MAX) {
        printf("init: %s is not built again\n", c->name);
        c->ended = c->clean = true;
    } else {
        build_process(in, c, c->now);
    }
    background_end(in, c);
}

/* The incarnation p of c is dead, or said that it cannot go on. */
static void died(struct init *in, struct component *c, struct process *p, const char *how, const char *text)
{
    if (in->ends_at) {
        in->ends_left = FINISH_MORE;
        let_servers_finish(in);
    }
    report_take(in, c, p, how, text);
    if (p != c->now) {
        sys_invoke0(p->tcb, TCB_SUSPEND); /* one that says so lives on else */
        p->state = PROCESS_GONE;
        if (c->upgrading)
            upgrade_refused(in, c, text);
        else
            c->failures++;
        share_whole(in, c);
        printf("init: %s: who was to take over is dead\n", c->name);
        return;
    }
    if (c->restartable && restart(in, c))
        return;
    report_now(in, c);
    if (!c->guest && !c->needed && any_guest(in)) {
        rebuild(in, c);
        return;
    }
    supervise_end(in, c, false, how, text);
}

/* --- the supervisor interface; badge: the component's index, and which incarnation --- */

static struct component *sender(struct init *in, uint64_t badge)
{
    return &in->component[DESC_BADGE_CLIENT(badge)];
}

static struct process *incarnation(struct component *c, uint64_t badge)
{
    return &c->process[badge & INIT_BADGE_OTHER ? 1 : 0];
}

err_t supervisor_ready_impl(void *self, uint64_t badge)
{
    struct init *in = self;
    struct component *c = sender(in, badge);
    struct process *p = incarnation(c, badge);

    if (p->state != PROCESS_STARTED)
        return ERR_WRONG_STATE;
    if (p != c->now) {
        restart_waiting(in, c, p);
        if (c->upgrading)
            upgrade_ready(in, c);
        return ERR_OK; /* nobody hears it: the call is held */
    }
    restart_serves(in, c, p);
    c->taken_over = c->restarts != 0;
    if (!c->taken_over)
        printf("init: %s is ready\n", c->name);
    if (in->audit && c->guest && !c->restarts)
        audit_guest(in, c);
    return ERR_OK;
}

err_t supervisor_program_impl(void *self, uint64_t badge, const char *version)
{
    struct component *c = sender(self, badge);
    struct process *p = incarnation(c, badge);

    clean_text(version, p->program, sizeof(p->program), ' ');
    return ERR_OK;
}

static void say_guest_state(const struct component *c, const struct guest_state *s)
{
    static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

    printf("%s: rip %016lx flags %lx cs %x ss %x cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx\n", c->name, s->rip,
           s->rflags, s->cs, s->ss, s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
    for (unsigned i = 0; i < 16; i += 4)
        printf("%s: %-3s %016lx %-3s %016lx %-3s %016lx %-3s %016lx\n", c->name, names[i], s->gpr[i],
               names[i + 1], s->gpr[i + 1], names[i + 2], s->gpr[i + 2], names[i + 3], s->gpr[i + 3]);
}

err_t supervisor_ended_impl(void *self, uint64_t badge, end_reason_t reason, uint64_t exits, const char *text,
                            const struct guest_state *guest)
{
    struct init *in = self;
    struct component *c = sender(in, badge);
    /* HALTED is how a guest powers off where there is no ACPI. */
    bool clean = reason == END_REASON_DONE || reason == END_REASON_POWEROFF || reason == END_REASON_RESET ||
                 reason == END_REASON_HALTED || reason == END_REASON_EXITED;
    char said[96];

    if (c->ended)
        return ERR_OK;
    clean_text(text, said, sizeof(said), ' ');
    if ((reason == END_REASON_INTERNAL && c->restartable) || incarnation(c, badge) != c->now ||
        (!clean && upgrade_on_trial(in, c))) { /* perhaps the old program knows better */
        died(in, c, incarnation(c, badge), reasons[reason], said);
        return ERR_OK;
    }
    if (c->guest && !clean)
        say_guest_state(c, guest);
    if (c->guest && reason != END_REASON_CORRUPT)
        rings_settle(in, c, UINT64_MAX); /* the exit that ended it counts, though nobody answers it */
    if (exits)
        printf("stat %s exits %lu\n", c->name, exits);
    supervise_end(in, c, clean, reasons[reason], said);
    return ERR_OK;
}

/* Lines get the name of whose they are; `stat KEY VALUE` becomes `stat NAME KEY VALUE`. */
err_t supervisor_log_impl(void *self, uint64_t badge, const char *text)
{
    struct component *c = sender(self, badge);
    char said[441];

    clean_text(text, said, sizeof(said), '\n');
    for (char *line = said, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = 0;
        if (strncmp(line, "stat ", 5) == 0)
            printf("stat %s %s\n", c->name, line + 5);
        else
            printf("%s: %s\n", c->name, line);
    }
    return ERR_OK;
}

err_t supervisor_audited_impl(void *self, uint64_t badge, uint64_t number, uint64_t entries,
                              uint64_t unsynced, uint64_t differences, const char *first)
{
    struct component *c = sender(self, badge);
    struct audited *a = &c->audited;

    if (!a->asked || a->finished || incarnation(c, badge) != c->now)
        return ERR_OK; /* nobody wants to know, and the kernel's part keeps all others waiting */
    a->finished = true;
    a->exit = number;
    a->incarnation = incarnation(c, badge)->info->incarnation;
    a->entries = entries;
    a->unsynced = unsynced;
    a->differences = differences;
    a->kernel = audit_kernel(self, c);
    clean_text(first, a->first, sizeof(a->first), ' ');
    printf("init: %s: audit at exit %lu: %lu entries, %lu differences%s%s\n", c->name, number, entries,
           differences, differences ? ": " : "", a->first);
    return ERR_OK;
}

err_t supervisor_alive_impl(void *self, uint64_t badge, uint64_t done)
{
    (void)self;
    (void)badge;
    (void)done;
    return ERR_OK;
}

/* --- faults --- */

static void fault_text(const struct umbra_message *m, char *to, size_t room)
{
    switch (TAG_LABEL(m->tag)) {
    case FAULT_PAGE:
        snprintf(to, room, "page fault at %#lx, address %#lx, error code %#lx", m->w[0], m->w[1], m->w[2]);
        break;
    case FAULT_EXCEPTION:
        snprintf(to, room, "exception %lu at %#lx, error code %#lx", m->w[1], m->w[0], m->w[2]);
        break;
    default:
        snprintf(to, room, "fault %#x at %#lx (%#lx, %#lx)", TAG_LABEL(m->tag), m->w[0], m->w[1], m->w[2]);
    }
}

/* A component's thread faulted, or left by exit(), which is a Linux call without a handler. It is not
 * answered. */
static void handle_fault(struct init *in, const struct umbra_message *m)
{
    struct component *c = &in->component[(uint32_t)m->badge];
    struct process *p = incarnation(c, m->badge);
    struct report_regs r = { 0 };
    char text[120];

    if (c->ended)
        return;
    if (TAG_LABEL(m->tag) == FAULT_SYSCALL && m->w[1] == SYS_exit_group) {
        report_regs(p, &r);
        snprintf(text, sizeof(text), "status %lu", r.rdi);
        died(in, c, p, "exit", text);
        return;
    }
    fault_text(m, text, sizeof(text));
    died(in, c, p, "crashed", text);
}

static void handle_hanging(struct init *in)
{
    uint64_t us = in->boot->tsc_hz / 1000000;
    struct component *c;
    struct process *p;
    char text[64];

    while ((c = watch_next(in, &p))) {
        sys_invoke0(p->tcb, TCB_SUSPEND);
        if (p != c->now) {
            snprintf(text, sizeof(text), "not ready after %lu us", c->preparing / us);
            died(in, c, p, "hangs", text);
            continue;
        }
        if (c->silent)
            snprintf(text, sizeof(text), "no sign of life behind step %lu", c->watched);
        else
            snprintf(text, sizeof(text), "%lu us %s %lu", c->spent / us, c->guest ? "on exit" : "behind step",
                     c->watched);
        c->spent = c->silent = 0;
        died(in, c, p, "hangs", text);
    }
}

static void handle_timed(struct init *in)
{
    struct component *c;
    char text[160];

    while ((c = timed_next(in, text, sizeof(text))))
        died(in, c, c->now, "stopped", text);
}

static void handle(struct init *in, struct umbra_message *m)
{
    void *const self[INIT_PORTS] = { [PORT_SUPERVISOR] = in, [PORT_MANAGEMENT] = in };

    if (m->tag & TAG_SIGNAL) {
        if (m->badge & SIGNAL_RECLAIM)
            create_reclaim(in);
        if (m->badge & SIGNAL_STOP)
            handle_timed(in);
        if (m->badge & SIGNAL_WATCH)
            handle_hanging(in);
        if (m->badge & SIGNAL_WATCH && in->ends_at)
            finish(in);
    } else if (m->badge & DESC_BADGE_FAULT) {
        handle_fault(in, m);
    } else {
        init_serve(m, self);
        component_answer(in->reply, m); /* fails if the component is gone: nothing to do then */
    }
}

_Noreturn void supervise(struct init *in)
{
    struct umbra_message m;

    for (;;) {
        if (in->graph_due)
            graph_say(in);
        err_t e = component_receive(in->endpoint, in->reply, &m);
        if (e != ERR_OK)
            fail(in, e, "wait for an event");
        handle(in, &m);
        for (uint32_t i = 0; i < in->desc.header.components; i++)
            restart_afterwards(in, &in->component[i]);
    }
}
