/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor of the whole kernel: tests/host/kernel/fake_arch.c with a TLB for the loaded space, guests
 * whose exits the input decides, ASIDs by kernel/arch/x86_64/asid.h (so that kernel/softtlb.c judges each
 * entry), and interrupts that come when they may. */
#include "whole.h"
#include "kernel/log.h"
#undef CHECK
#include "kernel/fastpath.h"
#include "kernel/softtlb.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include "kernel/arch/x86_64/asid.h"
#include "kernel/fastexit.h"

#define arch_thread_enter     plain_thread_enter
#define arch_thread_switch    plain_thread_switch
#define arch_fpu_drop         plain_fpu_drop
#define arch_load_space       plain_load_space
#define arch_kernel_space     plain_kernel_space
#define arch_flush_address    plain_flush_address
#define arch_flush_space      plain_flush_space
#define arch_now              plain_now
#define arch_timer_set        plain_timer_set
#define arch_zero             plain_zero
#define arch_exception        plain_exception
#define arch_interrupt        plain_interrupt
#define arch_idle             plain_idle
#define arch_halt             plain_halt
#define arch_vm_supported     plain_vm_supported
#define arch_nested_supported plain_nested_supported
#define arch_vcpu_init        plain_vcpu_init
#define arch_vcpu_paging      plain_vcpu_paging
#define arch_vcpu_root_fits   plain_vcpu_root_fits
#define arch_vcpu_run         plain_vcpu_run
#define arch_vcpu_check       plain_vcpu_check
#define arch_vcpu_write       plain_vcpu_write
#define arch_vcpu_go_on       plain_vcpu_go_on
#define log_char              plain_log_char
void plain_load_space(hpa_t root);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "tests/host/kernel/fake_arch.c"
#pragma GCC diagnostic pop
#undef arch_thread_enter
#undef arch_thread_switch
#undef arch_fpu_drop
#undef arch_load_space
#undef arch_kernel_space
#undef arch_flush_address
#undef arch_flush_space
#undef arch_now
#undef arch_timer_set
#undef arch_zero
#undef arch_exception
#undef arch_interrupt
#undef arch_idle
#undef arch_halt
#undef arch_vm_supported
#undef arch_nested_supported
#undef arch_vcpu_init
#undef arch_vcpu_paging
#undef arch_vcpu_root_fits
#undef arch_vcpu_run
#undef arch_vcpu_check
#undef arch_vcpu_write
#undef arch_vcpu_go_on
#undef log_char

#define FEW_ASIDS   8u /* so few that they are soon given out again */
#define NONE_MAX    3u /* interrupts of the host in one step */
#define EFER_LMA    BIT(10)
#define CANNOT_COME BIT(62) /* a deadline that the TSC never reaches */

struct processor {
    struct fake_arch fake;
    struct asids asids;
    bool armed; /* the timer, for fake.timer */
};
static struct processor processor = { .asids = { ASIDS, 1 } }, kept;
static jmp_buf out;
static struct {
    struct vcpu *v;
    enum exit_kind kind;
    bool ended;
} left;
static unsigned nothing; /* interrupts of the host since the last entry */

struct tlb_entry host_tlb[TLB_MAX];
unsigned host_tlb_count;

void arch_keep(void)
{
    kept = processor;
    kept.fake = fake;
}

void arch_reset(void)
{
    processor = kept;
    fake = kept.fake;
    host_tlb_count = 0;
}

struct regs *enter(enum way_in way, uint64_t address)
{
    nothing = 0;
    left.ended = false;
    left.v = NULL;
    for (;;) {
        int came = setjmp(out); /* the kernel's stack is empty again */
        if (left.ended)
            return NULL;
        if (came)
            return fastpath_exited(left.v, left.kind);
        return way == IN_SYSCALL ? kernel_syscall()
               : way == IN_ENTRY ? kernel_entry(address)
                                 : kernel_leave();
    }
}

/* --- address spaces --- */

void arch_load_space(hpa_t root)
{
    if (fake.loaded != root.v)
        host_tlb_count = 0;
    fake.loaded = root.v;
}
void arch_kernel_space(void)
{
    arch_load_space((hpa_t){ 0 });
}
void arch_flush_space(void)
{
    host_tlb_count = 0;
}
void arch_flush_address(hpa_t root, uint64_t address)
{
    if (fake.loaded != root.v)
        return;
    unsigned n = 0;
    for (unsigned i = 0; i < host_tlb_count; i++) {
        const struct tlb_entry *e = &host_tlb[i];
        uint64_t bytes = e->entry & PTE_PS ? level_bytes(2) : PAGE_BYTES;
        if (address - e->address >= bytes)
            host_tlb[n++] = *e;
    }
    host_tlb_count = n;
}
void arch_thread_enter(const struct tcb *t)
{
    arch_load_space((hpa_t){ t->vspace.obj });
}
void arch_thread_switch(struct tcb *from, const struct tcb *to)
{
    arch_thread_leave(from);
    arch_thread_enter(to);
}

/* Nobody writes to bulk memory before he has zeroed it, for there is no memory beside what is in use. */
void arch_zero(void *p, uint64_t bytes)
{
    bulk_used |= phys_to_hpa(p).v >= BULK_AT;
    memset(p, 0, bytes);
}

/* --- time, interrupts, the FPU --- */

uint64_t arch_now(void)
{
    return fake.now += 3;
}
void arch_timer_set(uint64_t deadline)
{
    fake.timer = deadline;
    processor.armed = true;
}
bool timer_set_by(uint64_t when)
{
    return processor.armed && fake.timer <= when;
}
void arch_interrupt(unsigned vector)
{
    if (vector == TIMER_VECTOR) {
        cpu.pending_timer = true;
        processor.armed = false;
    } else if (vector >= FAKE_LINES && vector < FAKE_LINES + IRQ_LINES) {
        cpu.pending_lines |= 1u << (vector - FAKE_LINES);
        arch_irq_mask(vector - FAKE_LINES);
    }
}

/* Something that may interrupt does: false if there is nothing. */
static bool interrupted(void)
{
    bool timer = timer_set_by(CANNOT_COME);

    if (fake.unmasked && (!timer || one_in(2))) {
        arch_interrupt(FAKE_LINES + (unsigned)__builtin_ctz(fake.unmasked));
        return true;
    }
    if (!timer)
        return false;
    if (fake.now < fake.timer)
        fake.now = fake.timer + pick(200);
    arch_interrupt(TIMER_VECTOR);
    return true;
}

void arch_idle(void)
{
    if (interrupted())
        return;
    left.ended = true;
    longjmp(out, 1);
}
bool arch_exception(struct tcb *t, unsigned vector)
{
    if (vector != 7 || cpu.fpu_owner == t->fpu)
        return false;
    cpu.fpu_owner = t->fpu;
    return true;
}
void arch_fpu_drop(void *area)
{
    if (cpu.fpu_owner == area)
        cpu.fpu_owner = NULL;
}

/* --- guests --- */

bool arch_vm_supported(void)
{
    return true;
}
bool arch_nested_supported(void)
{
    return true;
}
static void set_format(struct vcpu *v)
{
    v->format = v->nested ? GUEST_NESTED : v->efer & EFER_LMA ? GUEST_LONG : GUEST_PAE;
}
void arch_vcpu_init(struct vcpu *v)
{
    v->exit.version = UMBRA_EXIT_VERSION;
    set_format(v);
}
void arch_vcpu_paging(struct vcpu *v, bool nested)
{
    v->nested = nested;
    set_format(v);
}
bool arch_vcpu_root_fits(const struct vcpu *v);
bool arch_vcpu_root_fits(const struct vcpu *v)
{
    return v->root.format == v->format;
}
int arch_vcpu_check(const struct vcpu *v, const struct umbra_reply_page *r)
{
    (void)v;
    return (r->groups & STATE_CONTROL) && r->cr0 >> 32 ? ERR_BAD_STATE_VALUE : ERR_OK;
}
void arch_vcpu_write(struct vcpu *v, const struct umbra_reply_page *r)
{
    if (!(r->groups & STATE_CONTROL))
        return;
    v->cr0 = r->cr0;
    v->cr4 = r->cr4;
    v->efer = r->efer;
    set_format(v);
}

/* svm.c, prepare_asid(). */
static void prepare_asid(struct vcpu *v)
{
    struct asids *a = &processor.asids;
    struct shadow_root *r = &v->root;
    bool all = false;

    if (!asid_is_current(a, r->tlb.asid, r->tlb.downgrades, v->vm->downgrades) || v->force_flush) {
        r->tlb.asid = asid_take(a, FEW_ASIDS, &all);
        r->tlb.downgrades = v->vm->downgrades;
        v->force_flush = 0;
    }
    softtlb_enter(v, r->tlb.asid % ASIDS, all ? SOFTTLB_EMPTY_ALL : SOFTTLB_KEEP);
}

/* The guest walks somewhere: the processor sets A, and D where it may write. */
static void walk_somewhere(const struct vcpu *v)
{
    hpa_t table = v->root.table[v->root.format == GUEST_PAE ? pick(4) : 0];

    while (table.v) {
        const struct frame_meta *m = meta_of(table);
        uint64_t *entries = phys(table), *e = NULL;
        unsigned level = m->owner >> 32 & 15, from = pick(64);
        table.v = 0;
        for (unsigned i = 0; i < TABLE_ENTRIES && !e; i++)
            if (entries[(from + i) % TABLE_ENTRIES] & PTE_P)
                e = &entries[(from + i) % TABLE_ENTRIES];
        if (!e)
            return;
        *e |= PTE_A;
        if (level > 1 && !(*e & PTE_PS))
            table = pte_hpa(*e);
        else if (*e & PTE_W)
            *e |= PTE_D;
    }
}

static enum exit_kind some_exit(struct vcpu *v)
{
    static const uint8_t usual[] = { EXIT_PAGE, EXIT_CPUID, EXIT_IO, EXIT_HLT, EXIT_NONE };
    enum exit_kind kind = one_in(3) ? pick(EXIT_KINDS) : usual[pick(sizeof(usual))];

    v->exit.interrupted = one_in(8) ? EVENT_MAKE(pick(256), pick(5)) : 0;
    if (kind == EXIT_START || kind == EXIT_EVENT || kind == EXIT_ROOT) /* the kernel makes them itself */
        kind = EXIT_PAGE;
    if (kind == EXIT_NONE && nothing++ < NONE_MAX) {
        interrupted();
        v->event = v->exit.interrupted;
        return EXIT_NONE;
    }
    v->exit.info[0] = wild();
    v->exit.info[1] = wild();
    v->exit.gpr[pick(GPRS)] = wild();
    v->exit.rip = wild();
    return kind == EXIT_NONE ? EXIT_HLT : kind;
}

static enum exit_kind run_guest(struct vcpu *v)
{
    struct tcb *t = cpu.current;

    MUST(lives(t, OBJ_TCB) || t == init_thread());
    MUST(v->vm && v->vm->space && v->root.epoch == v->vm->space->epoch && v->root.format == v->format);
    MUST(!(v->bound && v->bound->bits));
    cpu.fpu_owner = v->fpu;
    prepare_asid(v);
    v->event = 0;
    v->odd = 0;
    for (unsigned loads = pick(3); loads && v->root.format == GUEST_LONG; loads--)
        if (shadow_serve_cr3(v, pick(4) * PAGE_BYTES)) {
            COUNT(CR3_SERVED);
            prepare_asid(v);
        }
    walk_somewhere(v);
    fake.now += pick(100);
    return some_exit(v);
}

static _Noreturn void guest_left(struct vcpu *v)
{
    left.v = v;
    left.kind = run_guest(v);
    longjmp(out, 1);
}

void arch_vcpu_run(struct vcpu *v)
{
    guest_left(v);
}
struct regs *arch_vcpu_go_on(struct vcpu *v, uint32_t groups)
{
    (void)groups;
    v->window = 0;
    guest_left(v);
}

/* --- the log --- */

void log_char(char c)
{
    static char line[200];
    static unsigned n;

    if (c != '\n' && n < sizeof(line) - 1) {
        line[n++] = c;
        return;
    }
    line[n] = 0;
    n = 0;
    if (whole_trace || strstr(line, "umbra:") || strstr(line, "audit:") || strstr(line, "softtlb:"))
        fprintf(stderr, "kernel: %s\n", line);
}
void arch_halt(unsigned status)
{
    whole_fail(__FILE__, __LINE__, "the kernel has stopped with %#x", status);
}
