/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM process: what init built around the core (servers/vmm/core). It loads
 * the guest, then answers exits until the guest ends. All system calls of the
 * VMM are in this file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/component.h"
#include "lib/vmm_env/env.h"
#include "libc/libc.h"
#include "memory.h"
#include "servers/vmm/audit.h"
#include "servers/vmm/boot/image.h"
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/flushed.h"
#include "servers/vmm/inject.h"
#include "servers/vmm/program.h"
#include "supervisor.h"
#include "sys/sys.h"

/* The guest's clock begins here: there is no clock server yet (docs/limits.md).
 * 2026-01-01. */
#define GUEST_EPOCH_SECONDS 1767225600
#define MEMORY_REFUSED      "memmgr refuses the guest's memory"
#define RELEASE_PAGES       256 /* chosen: a millisecond of memmgr */
#define MEMORY_TRIES        100 /* chosen: deaths of memmgr over one request; init gives up earlier */
#define DRAIN_MS            200 /* chosen: less than what is taken for hanging (HANG_MS in servers/init/watch.c) */
#define ANNOUNCE_ENTRIES    32 /* chosen: about two FIFOs of the serial port */

extern const uint8_t gmem_fixup_start[], gmem_fixup_end[], gmem_landing[];

struct process {
    struct vmm_env env;
    struct vmm vmm;
    struct cpuid_host cpuid;
    cptr_t *tables;
    uint64_t armed;  /* deadline of CAP_CLOCK */
    uint64_t until;  /* the exit at whose delivery this incarnation is to die, 0 never */
    bool console;    /* its rings are not as the state says, or output waits in them */
    bool attend;     /* something is to be done before an answer: */
    bool taken_over; /* the first one since a predecessor died */
    struct flushed flushed;
};

static _Noreturn void report(const struct process *p, end_reason_t reason, const char *text)
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

/* --- the guest's console --- */

static void console_output(struct process *p)
{
    struct console_output *out = p->env.output;

    if (!uart_waiting(&p->vmm.state->machine.uart))
        return;
    uint64_t taken = __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE), produced = out->produced;
    while (produced - taken < CONSOLE_OUTPUT_ENTRIES) {
        struct console_entry *e = &out->entry[produced % CONSOLE_OUTPUT_ENTRIES];
        p->console = true;
        size_t n =
            machine_take(&p->vmm.state->machine, &p->vmm.undo.dev, p->vmm.now, e->data, CONSOLE_ENTRY_DATA);
        if (!n)
            break;
        e->length = n;
        e->seq = p->env.exit->seq;
        __atomic_store_n(&out->produced, ++produced, __ATOMIC_RELEASE);
    }
}

/* Output may be shown when its exit is answered (I8), so the console hears of
 * it at the next exit; of a guest that writes on and on, now and then. */
static void console_announce(struct process *p)
{
    const struct console_output *out = p->env.output;
    uint64_t waiting = out->produced - __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE);

    p->console = waiting || uart_waiting(&p->vmm.state->machine.uart); /* the ring was full */
    if (waiting && (waiting >= ANNOUNCE_ENTRIES || p->env.exit->kind != EXIT_IO))
        sys_signal(CAP_WRITTEN);
}

static void console_input(struct process *p)
{
    const volatile struct console_input *in = p->env.input;
    uint64_t produced = __atomic_load_n(&in->produced, __ATOMIC_ACQUIRE), taken = p->vmm.state->input_taken;
    uint8_t bytes[64];

    while (taken != produced) {
        size_t n = 0;
        for (; n < sizeof(bytes) && taken + n != produced; n++)
            bytes[n] = in->data[(taken + n) % CONSOLE_INPUT_BYTES];
        size_t given = machine_give(&p->vmm.state->machine, &p->vmm.undo.dev, p->vmm.now, bytes, n);
        taken += given;
        if (given < n)
            break;
    }
    if (taken != p->vmm.state->input_taken)
        VMM_SET(&p->vmm, input_taken, taken);
    p->console = true;
}

/* What an exit takes is the console's to overwrite when that exit is answered. */
static void console_taken(const struct process *p)
{
    struct console_output *out = p->env.output;

    if (out->input_taken != p->vmm.state->input_taken)
        __atomic_store_n(&out->input_taken, p->vmm.state->input_taken, __ATOMIC_RELEASE);
}

/* Output of the exit that a predecessor did not answer is made again. */
static void console_withdraw(const struct process *p)
{
    struct console_output *out = p->env.output;
    uint64_t taken = __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE), produced = out->produced;

    while (produced != taken && out->entry[(produced - 1) % CONSOLE_OUTPUT_ENTRIES].seq == p->env.exit->seq)
        produced--;
    __atomic_store_n(&out->produced, produced, __ATOMIC_RELEASE);
}

/* --- the beginning --- */

static void host_cpuid(struct cpuid_host *h, bool enlighten)
{
    h->enlighten = enlighten;
    for (unsigned i = 0; i < CPUID_HOST_ROWS; i++) {
        struct cpuid_regs *r = &h->row[i];
        __asm__("cpuid"
                : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx), "=d"(r->edx)
                : "a"(cpuid_host_leaf(i)), "c"(0));
    }
}

static uint64_t host_tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}

static err_t map_memory(uint32_t pages)
{
    err_t e = ERR_OK;

    for (uint32_t done = 0, n; done < pages && e == ERR_OK; done += n) {
        n = pages - done < MEMORY_MAP_MAX ? pages - done : MEMORY_MAP_MAX;
        e = memory_map(CAP_MEMORY, done, n, MEMORY_RIGHTS_READ | MEMORY_RIGHTS_WRITE);
    }
    return e;
}

/* A guest begins with zeroed memory, whatever a predecessor of this process had in it. In parts, so that
 * memmgr is there for others in between. */
static err_t release_memory(uint32_t pages)
{
    uint32_t n, released;
    err_t e = ERR_OK;

    for (uint32_t done = 0; done < pages && e == ERR_OK; done += n) {
        n = pages - done < RELEASE_PAGES ? pages - done : RELEASE_PAGES;
        e = memory_release(CAP_MEMORY, done, n, &released);
    }
    return e;
}

/* A call is cancelled when memmgr dies over it: what was asked for may be done, half done or not. The next
 * one knows what there is. `released`: there is nothing of a predecessor. */
static bool take_memory(uint32_t pages, bool released)
{
    for (unsigned tries = 0; tries < MEMORY_TRIES; tries++) {
        err_t e = released ? ERR_OK : release_memory(pages);
        if (e == ERR_OK)
            e = map_memory(pages);
        if (e != ERR_CANCELLED)
            return e == ERR_OK;
        released = false;
    }
    return false;
}

static void sync_segments(void)
{
    sys_invoke1(CAP_VCPU, VCPU_SYNC, STATE_SEGMENTS);
}

static void open_guest(struct process *p, struct vmm_setup *s)
{
    const struct vmm_config *c = p->env.config;
    uint64_t memory = (uint64_t)c->vm_pages << PAGE_SHIFT;

    sys_invoke3(CAP_TCB, TCB_SET_FIXUP, (uint64_t)gmem_fixup_start, gmem_fixup_end - gmem_fixup_start,
                (uint64_t)gmem_landing);
    host_cpuid(&p->cpuid, c->enlighten);
    const char *missing = cpuid_missing(&p->cpuid);
    if (missing)
        report(p, END_REASON_UNSUPPORTED, missing);
    p->tables = calloc(c->vm_shadow_tables, sizeof(*p->tables));
    void *shadow = aligned_alloc(64, (shadow_bytes(c->vm_shadow_tables, c->vm_pages) + 63) & ~63ul);
    if (!p->tables || !shadow)
        report(p, END_REASON_INTERNAL, "the heap is too small for the shadow MMU's state");
    for (uint32_t i = 0; i < c->vm_shadow_tables; i++)
        p->tables[i] = CAP_SHADOW + i;
    *s = (struct vmm_setup){ .segment = (struct vmm_segment *)p->env.state,
                             .exit = (const struct umbra_exit_page *)(uintptr_t)p->env.exit,
                             .reply = (struct umbra_reply_page *)(uintptr_t)p->env.reply,
                             .window = (unsigned char *)(uintptr_t)p->env.window,
                             .memory_bytes = memory,
                             .tables = p->tables,
                             .table_count = c->vm_shadow_tables,
                             .shadow_memory = shadow,
                             .nested = c->vm_paging == DESC_PAGING_NESTED,
                             .cpuid = &p->cpuid,
                             .tsc_hz = p->env.info->tsc_hz,
                             .seconds = GUEST_EPOCH_SECONDS,
                             .sync = sync_segments };
    if (!vmm_init(&p->vmm, s))
        report(p, END_REASON_INTERNAL, "a limit is broken");
    inject_open(&p->vmm, c, p->env.info->incarnation);
    p->until = inject_until(c, p->env.info->incarnation);
    p->attend = p->until != 0;
}

static bool write_guest(void *context, gpa_t to, const void *bytes, uint64_t n)
{
    for (uint64_t done = 0; done < n; done += GMEM_COPY_MAX) {
        uint64_t part = n - done < GMEM_COPY_MAX ? n - done : GMEM_COPY_MAX;
        if (gmem_write_bytes(context, (gpa_t){ to.v + done }, (const uint8_t *)bytes + done, part) != GMEM_OK)
            return false;
    }
    return true;
}

static void refuse_image(struct process *p, const struct boot_result *r)
{
    char text[96];

    snprintf(text, sizeof(text), "%s (have %llu, need %llu)", boot_error_text(r->error),
             (unsigned long long)r->have, (unsigned long long)r->need);
    report(p, END_REASON_BAD_IMAGE, text);
}

static void load_guest(struct process *p, struct boot_plan *plan)
{
    const struct vmm_env *e = &p->env;
    struct boot_memory m = { write_guest, &p->vmm.mem };
    struct image_request r = { .image = e->kernel,
                               .image_bytes = e->kernel_bytes,
                               .initrd = e->initrd,
                               .initrd_bytes = e->initrd_bytes,
                               .cmdline = e->config->vm_command_line,
                               .memory_bytes = (uint64_t)e->config->vm_pages << PAGE_SHIFT,
                               .tsc_khz = e->info->tsc_hz / 1000 };

    if (!e->kernel)
        report(p, END_REASON_BAD_IMAGE, "there is no kernel image");
    if (e->info->incarnation != 0 && !take_memory(e->config->vm_pages, false))
        report(p, END_REASON_INTERNAL, MEMORY_REFUSED);
    struct boot_result res = image_plan(&r, plan);
    if (res.error != BOOT_OK)
        refuse_image(p, &res);
    if (!image_load(&r, plan, &m))
        report(p, END_REASON_INTERNAL, "guest memory refuses the image");
}

/* What the loader wrote stands in the ROMs: zeros, but for a guest that was entered in real mode. */
static void protect_rom(const struct process *p)
{
    err_t e = ERR_CANCELLED;

    if (p->env.config->vm_pages <= VMM_ROM_END)
        return;
    for (unsigned tries = 0; tries < MEMORY_TRIES && e == ERR_CANCELLED; tries++)
        e = memory_protect(CAP_MEMORY, VMM_ROM_FIRST, VMM_ROM_END - VMM_ROM_FIRST, MEMORY_RIGHTS_READ);
    if (e != ERR_OK)
        report(p, END_REASON_INTERNAL, "memmgr refuses to protect the guest's ROM");
}

/* --- the loop --- */

static void set_clock(struct process *p)
{
    uint64_t wake = vmm_wake(&p->vmm);

    if (wake >= p->armed && p->armed > p->env.exit->tsc)
        return; /* fires early enough; an early exit costs less than setting it each
                   time */
    p->armed = wake;
    if (p->armed != DEV_NEVER)
        sys_invoke1(CAP_CLOCK, TIMER_SET, p->armed);
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

/* No exit comes any more to bring the last output with. A full ring is emptied within milliseconds; a console
 * that hangs is not waited for. */
static void console_end(struct process *p)
{
    uint64_t until = libc_tsc() + p->env.info->tsc_hz / 1000 * DRAIN_MS;

    for (;;) {
        console_output(p);
        sys_signal(CAP_WRITTEN);
        if (!uart_waiting(&p->vmm.state->machine.uart) || libc_tsc() > until)
            return;
        sys_yield();
    }
}

static _Noreturn void finish(struct process *p, enum vmm_end end)
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

/* The first to fourth serial port of a PC: 3F8h, 2F8h, 3E8h, 2E8h, eight ports each. */
static bool is_serial_port(uint32_t port)
{
    return (port & ~0x117u) == 0x2e8;
}

static _Noreturn void refused(const struct process *p, err_t e, uint64_t word)
{
    char text[96];

    snprintf(text, sizeof(text), "the kernel refuses the reply: error %d at word %llu", e,
             (unsigned long long)word);
    report(p, END_REASON_INTERNAL, text);
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
        if (end != VMM_RUNS)
            finish(p, end);
        vmm_step(&p->vmm, TRACE_HANDLED);
        if (p->console || p->vmm.undo.words) /* else the serial port has nothing new */
            console_output(p);
        vmm_step(&p->vmm, TRACE_OUTPUT);
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
    if (p.env.info->incarnation == 0 && !take_memory(p.env.config->vm_pages, true))
        report(&p, END_REASON_INTERNAL, MEMORY_REFUSED);
    supervisor_program(CAP_SUPERVISOR, vmm_program);
    if (!vmm_can_read(&p.vmm))
        refuse_segment(&p);
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        report(&p, END_REASON_INTERNAL, "no supervisor");
    take_over(&p, &setup);
    serve(&p);
}
