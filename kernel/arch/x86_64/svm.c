/* SPDX-License-Identifier: BSD-2-Clause */
/* The world switch on AMD processors (APM vol. 2, chapter 15): into a guest, and out of it.
 *
 * Invariants (I4): the intercepts are set when a vCPU comes to a VM and never cleared, but for VINTR, which
 * keeps no guest in; what the guest believes of control registers gets to the processor by svm_state.c only;
 * CR3, nested CR3, ASID and event fields are written here only, and emptied where paging changes. A guest
 * loads CR3, invalidates pages and takes its page faults by itself only where nested tables translate what
 * comes of it. An exit leaves the general registers in the exit page. QEMU and bochs flush the TLB at every
 * switch, real processors do not. */
#include "asid.h"
#include "fastexit.h"
#include "softtlb.h"
#include "stretch.h"
#include "svm_cr3.h"
#include "svm_vcpu.h"

#define V_IRQ        BIT(8)
#define V_IGN_TPR    BIT(20)
#define SERVED_MAX   64   /* chosen: loads of CR3 between two looks at interrupts */
#define SHADOWS_MAX  4    /* chosen: interrupts of the host in a row, each before the guest does anything */
#define SHADOW_TICKS 2000 /* chosen: a few instructions of the guest, a switch included */

struct regs *svm_exited(struct vcpu *v); /* entry.S */

static uint64_t pae_root[4] __attribute__((aligned(32))); /* below 4 GB with the kernel */
static struct asids asids = { ASIDS, 1 };

void arch_vcpu_answer(struct vcpu *v, uint32_t groups)
{
    take_registers(v, vmcb_of(v), groups);
}

/* --- entry --- */

/* The ASID, and what becomes of the TLB, in one store. */
static inline void set_asid(struct vmcb *b, uint16_t asid, uint64_t tlb_control)
{
    BUILD_ASSERT(offsetof(struct vmcb, tlb_control) == offsetof(struct vmcb, asid) + 4);
    *(uint64_t *)(void *)((uint8_t *)b + offsetof(struct vmcb, asid)) = asid | tlb_control << 32;
}

/* A root whose translations may be stale gets a new ASID: nothing of it is in the TLB then. */
static __attribute__((noinline)) void renew_asid(struct vcpu *v, struct vmcb *b)
{
    struct shadow_root *r = &v->root;
    bool all;

    COUNT(FLUSHES);
    r->tlb.asid = asid_take(&asids, svm.asids, &all);
    r->tlb.downgrades = v->vm->downgrades;
    v->force_flush = 0;
    set_asid(b, (uint16_t)r->tlb.asid, all);
}

static __attribute__((noinline)) void load_other_root(struct vmcb *b, const struct shadow_root *r)
{
    if (r->format == GUEST_NESTED) {
        b->nested_cr3 = r->table[0].v;
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        pae_root[i] = r->table[i].v ? r->table[i].v | PTE_P : 0;
    b->cr3 = kernel_hpa(pae_root).v;
}

static ALWAYS_INLINE bool owes_nothing(const struct vcpu *v)
{
    return asid_is_current(&asids, v->root.tlb.asid, v->root.tlb.downgrades, v->vm->downgrades);
}

static ALWAYS_INLINE void prepare_asid(struct vcpu *v, struct vmcb *b)
{
    BUILD_ASSERT(ASIDS == 1 << 16);
    COUNT(EXITS);
    if (!owes_nothing(v) || v->force_flush)
        renew_asid(v, b);
    else
        set_asid(b, (uint16_t)v->root.tlb.asid, 0);
}

/* Where no entry follows, nothing was emptied: the root has no ASID, and who gets the next one empties the
 * TLB. */
static void entry_is_off(struct vcpu *v, const struct vmcb *b)
{
    if (b->tlb_control) {
        v->root.tlb.asid = 0;
        asids.next = svm.asids;
    }
}

static ALWAYS_INLINE void prepare_root(struct vcpu *v, struct vmcb *b)
{
    const struct shadow_root *r = &v->root;

    prepare_asid(v, b);
    if (__builtin_expect(r->format == GUEST_LONG, true))
        b->cr3 = r->table[0].v;
    else
        load_other_root(b, r);
}

/* --- exits --- */

static void load_debug(const uint64_t *dr)
{
    __asm__ volatile("mov %0, %%db0; mov %1, %%db1; mov %2, %%db2; mov %3, %%db3"
                     :
                     : "r"(dr[0]), "r"(dr[1]), "r"(dr[2]), "r"(dr[3]));
}

BUILD_ASSERT(offsetof(struct vcpu, exit.gpr) == 0x2078); /* entry.S */

/* v comes back by RDI: so nothing has to be kept in memory over the switch. */
static ALWAYS_INLINE struct vcpu *svm_run(struct vcpu *v)
{
    uint64_t vmcb = v->vmcb_hpa.v, *gpr = v->exit.gpr;

    __asm__ volatile("call svm_run"
                     : "+a"(vmcb), "+S"(gpr), "=D"(v)
                     :
                     : "rcx", "rdx", "rbx", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
                       "memory");
    return v;
}

/* QEMU's TCG delivers an external interrupt that was injected by EVENTINJ a second time, whatever IF says, if
 * its loop ends before the next exit: it leaves the vector where its exceptions wait. A virtual interrupt it
 * delivers once. Where a processor would take one before the first instruction, the two are the same. */
static inline bool goes_as_virtual(const struct vmcb *b, uint64_t event)
{
    return svm.is_tcg && (event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_INTERRUPT &&
           (b->rflags & RFLAGS_IF) && !(b->shadow & 1);
}

/* The event whose delivery an exit broke off or came before. TCG calls an unfinished virtual interrupt an
 * exception, and what has not begun is still pending. */
static inline uint64_t unfinished(const struct vmcb *b, uint64_t virtual)
{
    uint64_t info = b->exit_int_info;

    if (virtual && (info & EVENT_VALID ? EVENT_VECTOR(info) == EVENT_VECTOR(virtual) : b->vintr & V_IRQ))
        return virtual;
    return info & EVENT_VALID ? info : 0;
}

/* TCG's VMRUN does not load the interrupt shadow. Where an exit comes before the instruction in it, the exit
 * knows of none: the guest would get an interrupt between STI and HLT, and sleep over it. So a shadow that
 * was seen is kept, but SHADOWS_MAX times at most in a row: the guest may have come to the instruction again
 * by itself (sti; jmp $). `kept`: so many times more, plus 1; 0: none was seen. */
static void see_shadow(struct vmcb *b)
{
    b->kept_rip = b->rip;
    b->kept = SHADOWS_MAX + 1;
}

static bool is_seen_shadow(const struct vmcb *b)
{
    return b->kept && b->kept_rip == b->rip;
}

/* Was the guest, as the exit page says, in one when it left the last time, and has not got on since? */
static bool left_in_shadow(const struct vcpu *v, const struct vmcb *b)
{
    const struct umbra_exit_page *x = &v->exit;

    return x->shadow && x->rip == b->rip && x->kind != EXIT_EVENT && x->seq != b->kept_seq;
}

/* After an unusual exit, where VMRUN does not load the shadow. An event that was to be delivered has found
 * none. */
static void keep_shadow(const struct vcpu *v, struct vmcb *b, uint32_t code)
{
    bool is_before_it = (code >= SVM_EXIT_INTR && code <= SVM_EXIT_INIT) || code == SVM_EXIT_PAGE_FAULT ||
                        code == SVM_EXIT_NPF;

    if (!is_before_it || v->exit.interrupted) {
        b->kept = 0;
        return;
    }
    if ((b->shadow & 1) || left_in_shadow(v, b)) {
        see_shadow(b);
        b->kept_seq = v->exit.seq;
    }
    if ((b->shadow & 1) || !is_seen_shadow(b) || b->kept == 1)
        return;
    b->kept--;
    b->shadow |= 1;
}

/* When the guest can take an interrupt, as asked for, cannot be seen yet: look again soon, and not always so
 * soon: a guest that loops over STI could have come to it again each time. A shadow that is kept gave the
 * guest no time yet: so later each time. */
static void look_again(const struct vmcb *b)
{
    uint64_t now = arch_now(), ticks = SHADOW_TICKS;

    if (is_seen_shadow(b))
        ticks <<= 2 * (SHADOWS_MAX + 1 - b->kept);
    uint64_t at = now + ticks + (now >> 8) % 16;
    if (cpu.timer_armed && cpu.timer_armed <= at)
        return; /* somebody's deadline brings the guest back before */
    cpu.timer_armed = at;
    arch_timer_set(at);
}

/* V_IRQ serves as "tell me when the guest can take an interrupt", intercepted; never while the shadow is set
 * at entry. True: it can right now. A processor would come back before the first instruction, bochs when IF
 * changes next: so the guest is not entered. */
static bool set_virtual(const struct vcpu *v, struct vmcb *b, uint64_t virtual)
{
    if (v->window && !virtual && b->event == 0 && !(b->shadow & 1) && (b->rflags & RFLAGS_IF)) {
        b->exit_code = SVM_EXIT_VINTR;
        b->exit_int_info = 0;
        b->next_rip = b->rip;
        b->bytes_fetched = 0;
        return true;
    }
    bool window = v->window && !virtual && !(b->shadow & 1 && b->event == 0);

    b->intercept1 = virtual ? b->intercept1 & ~SVM_INTERCEPT1_VINTR : b->intercept1 | SVM_INTERCEPT1_VINTR;
    b->vintr =
        V_INTR_MASKING | (window || virtual ? V_IRQ | V_IGN_TPR : 0) | (uint64_t)EVENT_VECTOR(virtual) << 32;
    if (v->window && !window) {
        if (svm.is_tcg && (b->shadow & 1) && !is_seen_shadow(b))
            see_shadow(b);
        look_again(b);
    }
    return false;
}

/* An entry with more than registers, and the next one, which takes it back. True: the guest is not entered.
 */
static __attribute__((noinline)) bool set_odd(struct vcpu *v, struct vmcb *b)
{
    uint64_t virtual = goes_as_virtual(b, v->event) ? v->event : 0;

    b->event = virtual ? 0 : v->event;
    v->odd = (v->odd & ODD_FORMAT) | (v->event || v->window || (b->dr7 & 0xff) ? ODD_ENTRY : 0);
    v->event = 0;
    v->virtual = virtual;
    if (set_virtual(v, b, virtual))
        return true;
    if (b->dr7 & 0xff)
        load_debug(v->dr);
    return false;
}

/* What is unusual goes to the VMCB. False: the guest is not entered. */
static ALWAYS_INLINE bool decide_entry(struct vcpu *v, struct vmcb *b)
{
    if ((v->odd & (ODD_ENTRY | ODD_EVENT)) && set_odd(v, b)) {
        entry_is_off(v, b);
        return false;
    }
    softtlb_enter(v, b->asid, b->tlb_control);
    return true;
}

/* --- loads of CR3 --- */

/* CR3 is the root that the guest was entered on. If not, a task switch was not intercepted, or a refused
 * entry left the host's state there, as TCG does. With nested paging it is the guest's own, and cannot be
 * told apart. */
static bool cr3_is_kept(const struct vcpu *v, const struct vmcb *b)
{
    if (v->nested)
        return (uint32_t)b->exit_code != SVM_EXIT_INVALID;
    uint64_t expected = v->root.format == GUEST_PAE ? kernel_hpa(pae_root).v : v->root.table[0].v;
    return !((b->cr3 ^ expected) & PTE_ADDRESS);
}

/* The guest has loaded CR3. While its loads are served it runs on; nothing is to be injected then, and the
 * registers that an entry loads are still its own. An interrupt of the host ends a world switch at once, but
 * not on every processor: so after some loads it is as if one had come (I9). */
static __attribute__((noinline)) uint32_t serve_loads(struct vcpu *v)
{
    struct vmcb *b = vmcb_of(v);

    while ((uint32_t)b->exit_code == SVM_EXIT_CR3_WRITE && serve_cr3(v, b)) {
        if (v->exit.cr3_loads % SERVED_MAX == 0)
            return SVM_EXIT_INTR;
        prepare_asid(v, b);
        b->cr3 = v->root.table[0].v; /* only long ones are served */
        if (decide_entry(v, b)) {
            stretch_end();
            v = svm_run(v);
            stretch_begin(STRETCH_EXIT);
        }
        b = vmcb_of(v);
        v->exit.interrupted = unfinished(b, 0);
    }
    return (uint32_t)b->exit_code;
}

/* What few processors, and few exits, need besides read_always(). */
static enum exit_kind finish_exit(struct vcpu *v, struct vmcb *b, enum exit_kind kind)
{
    if (svm.says_more)
        svm_read_instruction(&v->exit, b);
    if (b->cr3 == v->root.table[0].v || cr3_is_kept(v, b))
        return kind;
    set_info(&v->exit, 0, 0);
    return EXIT_BROKEN;
}

/* The processor refused the entry. What it left of the host's is not for the VMM (I4). */
static void entry_was_refused(struct vcpu *v, struct vmcb *b)
{
    entry_is_off(v, b);
    if (!cr3_is_kept(v, b))
        arch_zero(b->seg, sizeof(*b) - offsetof(struct vmcb, seg));
}

/* False: the guest is not entered. */
static ALWAYS_INLINE bool prepare(struct vcpu *v, struct vmcb *b)
{
    prepare_root(v, b);
    bool entered = decide_entry(v, b);

    write_cr2(b->cr2); /* not every processor model loads it from the VMCB */
    stretch_end();
    return entered;
}

/* Ways on from svm_exited() by functions of their own, so that it need not keep anything for them. */
static __attribute__((noinline)) struct regs *exited_seldom(struct vcpu *v)
{
    struct vmcb *b = vmcb_of(v);

    if ((uint32_t)b->exit_code == SVM_EXIT_VINTR)
        v->window = 0;
    if ((uint32_t)b->exit_code == SVM_EXIT_INVALID)
        entry_was_refused(v, b);
    enum exit_kind kind = svm_translate(v, b);
    read_always(v, b);
    return fastpath_exited(v, finish_exit(v, b, kind));
}

/* All but the most frequent exits, and interrupts of the host. */
static __attribute__((noinline)) struct regs *exited_otherwise(struct vcpu *v)
{
    uint32_t code = (uint32_t)vmcb_of(v)->exit_code;

    v->exit.interrupted = unfinished(vmcb_of(v), v->odd & ODD_ENTRY ? v->virtual : 0);
    if (code == SVM_EXIT_CR3_WRITE)
        code = serve_loads(v);
    if (svm.is_tcg)
        keep_shadow(v, vmcb_of(v), code);
    if (code < SVM_EXIT_INTR || code > SVM_EXIT_INIT)
        return exited_seldom(v);
    arch_take_interrupts();
    v->event = v->exit.interrupted;
    if (v->event)
        v->odd |= ODD_ENTRY;
    return fastpath_exited(v, EXIT_NONE);
}

static __attribute__((noinline)) struct regs *exited_and_more(struct vcpu *v, enum exit_kind kind)
{
    return fastpath_exited(v, finish_exit(v, vmcb_of(v), kind));
}

/* entry.S: the guest came out. */
struct regs *svm_exited(struct vcpu *v)
{
    /* Those of which there is nothing more to say. */
    static const uint8_t plain[0x80] = { [SVM_EXIT_CPUID] = EXIT_CPUID, [SVM_EXIT_HLT] = EXIT_HLT };
    struct vmcb *b = vmcb_of(v);
    uint32_t code = (uint32_t)b->exit_code;
    enum exit_kind kind;

    stretch_begin(STRETCH_EXIT);
    if (__builtin_expect(b->exit_int_info & EVENT_VALID, false) ||
        __builtin_expect(v->odd & ODD_ENTRY, false))
        return exited_otherwise(v);
    v->exit.interrupted = 0;
    if (code == SVM_EXIT_PAGE_FAULT) {
        set_info(&v->exit, b->exit_info2, b->exit_info1);
        kind = EXIT_PAGE;
    } else if (code < sizeof(plain) && plain[code]) {
        set_info(&v->exit, 0, 0);
        kind = plain[code];
    } else if (code == SVM_EXIT_IOIO) {
        set_io_info(&v->exit, b);
        kind = EXIT_IO;
    } else {
        return exited_otherwise(v);
    }
    read_always(v, b);
    if (__builtin_expect(svm.says_more, false) || __builtin_expect(b->cr3 != v->root.table[0].v, false))
        return exited_and_more(v, kind);
    return fastpath_exited(v, kind);
}

static ALWAYS_INLINE _Noreturn void svm_enter(struct vcpu *v)
{
    __asm__ volatile("jmp svm_enter" : : "a"(v->vmcb_hpa.v), "S"(v->exit.gpr) : "memory");
    __builtin_unreachable();
}

/* The current thread's FS and GS base come back with the host's state (VMLOAD). */
static ALWAYS_INLINE void keep_bases(void)
{
    struct umbra_segment *host = ((struct vmcb *)svm_host_vmcb)->seg;
    uint64_t fs, gs;

    if (__builtin_expect(has_fsgsbase, true)) {
        __asm__ volatile("rdfsbase %0" : "=r"(fs));
        __asm__ volatile("rdgsbase %0" : "=r"(gs));
    } else {
        fs = cpu.current->fs_base;
        gs = cpu.current->gs_base;
    }
    host[SEG_FS].base = fs;
    host[SEG_GS].base = gs;
}

/* All that is unusual is an event, or that there was one at the last entry: it is in the VMCB then. */
static inline bool event_alone(struct vcpu *v, struct vmcb *b)
{
    if (v->unusual != ODD_EVENT)
        return false;
    b->event = v->event;
    v->odd = v->event ? ODD_EVENT : 0;
    v->event = 0;
    return true;
}

static __attribute__((noinline)) _Noreturn void go_on_slowly(struct vcpu *v)
{
    if (!prepare(v, vmcb_of(v)))
        __asm__ volatile("jmp svm_not_entered" : : "D"(v) : "memory");
    svm_enter(v);
}

_Noreturn void arch_vcpu_run(struct vcpu *v)
{
    fpu_own(v->fpu);
    arch_fpu_trap(true); /* for the thread that hears of the exit */
    keep_bases();
    go_on_slowly(v);
}

struct regs *arch_vcpu_go_on(struct vcpu *v, uint32_t groups)
{
    struct vmcb *b = vmcb_of(v);

    take_registers(v, b, groups);
    keep_bases();
    if (!owes_nothing(v) || (__builtin_expect(v->unusual, false) && !event_alone(v, b))) {
        v->window = 0; /* where it is not, the entry is an odd one */
        go_on_slowly(v);
    }
    COUNT(EXITS); /* what is left of prepare() */
    set_asid(b, (uint16_t)v->root.tlb.asid, 0);
    softtlb_enter(v, b->asid, b->tlb_control);
    b->cr3 = v->root.table[0].v;
    write_cr2(b->cr2);
    stretch_end();
    svm_enter(v);
}
