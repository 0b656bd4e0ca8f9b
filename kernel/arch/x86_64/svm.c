/* SPDX-License-Identifier: BSD-2-Clause */
/* The world switch on AMD processors (APM vol. 2, chapter 15): guest state in the VMCB, exits in Umbra's
 * codes.
 *
 * Invariants (I4): the intercepts are set when a vCPU comes to a VM and never cleared, but for VINTR, which
 * keeps no guest in; hardware CR0, CR4 and EFER are derived here from what the guest believes; CR3, nested
 * CR3, ASID and event fields are written by this file only. A guest loads CR3, invalidates pages and takes
 * its page faults by itself only where nested tables translate what comes of it. An exit leaves the general
 * registers in the exit page. QEMU and bochs flush the TLB at every switch, real processors do not. */
#include "svm.h"
#include "fastpath.h"
#include "invoke.h"
#include "log.h"
#include "movcr3.h"
#include "softtlb.h"
#include "stretch.h"
#include "x86.h"
#include "arch/pte.h"

#define CPUID_HYPERVISOR 0x40000000
#define TCG_MAKER_B      0x54474354 /* "TCGTCGTCGTCG" in EBX, ECX, EDX */
#define TCG_MAKER_C      0x43544743
#define ASIDS            65536u /* a root's ASID is kept with the generation that gave it out */
#define RFLAGS_TF        BIT(8)
#define RFLAGS_IF        BIT(9)
#define RFLAGS_RF        BIT(16)
#define SEGMENT_L        BIT(9) /* VMCB segment attributes: 64-bit code */
#define V_IRQ            BIT(8)
#define V_IGN_TPR        BIT(20)
#define V_INTR_MASKING   BIT(24)
#define ALWAYS_INLINE    inline __attribute__((always_inline))
#define RFLAGS_GUEST     0x3f7fd5 /* the bits that exist (APM vol. 2, 3.1.6) */
#define SERVED_MAX       64       /* chosen: loads of CR3 between two looks at interrupts */
#define SHADOW_TICKS     2000     /* chosen: a few instructions of the guest, a switch included */

struct regs *svm_exited(uint64_t *gpr); /* entry.S */

static uint8_t host_save[PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t io_map[3 * PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t msr_map[2 * PAGE_BYTES] __attribute__((aligned(4096)));
static uint64_t pae_root[4] __attribute__((aligned(32)));         /* below 4 GB with the kernel */
uint8_t svm_host_vmcb[PAGE_BYTES] __attribute__((aligned(4096))); /* entry.S */
static bool supported, has_nested, has_nrip, has_assists, has_mov_assist, has_flush_asid, says_more, is_tcg;
static uint32_t asid_count, asid_next = 1;
static uint64_t asid_floor = ASIDS, cr4_allowed; /* that of a root, with its generation, is not below */

static struct vmcb *vmcb_of(const struct vcpu *v)
{
    return (struct vmcb *)(uintptr_t)v->vmcb;
}

bool arch_vm_supported(void)
{
    return supported;
}

bool arch_nested_supported(void)
{
    return supported && has_nested;
}

/* MSRs that VMLOAD and VMSAVE swap go to the guest; all others exit (APM vol. 2, 15.11: two bits an MSR). */
static void msr_pass(uint32_t msr)
{
    uint32_t bit = msr >= 0xc0010000   ? 0x2000 * 2 + (msr & 0x1fff)
                   : msr >= 0xc0000000 ? 0x2000 + (msr & 0x1fff)
                                       : msr;

    msr_map[bit / 4] &= ~(3u << bit % 4 * 2);
}

void svm_init(void)
{
    static const uint32_t swapped[] = { MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,
                                        MSR_LSTAR,   MSR_CSTAR,   MSR_SFMASK,         0x174,
                                        0x175,       0x176 };

    if (cpuid(0x80000000, 0).a < 0x8000000a || !(cpuid(0x80000001, 0).c & BIT(2))) {
        log_printf("umbra: this processor has no SVM: no VMs\n");
        return;
    }
    if (rdmsr(MSR_VM_CR) & BIT(4)) {
        log_printf("umbra: SVM is disabled by the firmware: enable it in the setup; no VMs\n");
        return;
    }
    struct cpuid f = cpuid(0x8000000a, 0), seven = cpuid(7, 0);
    struct cpuid maker = cpuid(CPUID_HYPERVISOR, 0);
    is_tcg = (cpuid(1, 0).c & BIT(31)) && maker.b == TCG_MAKER_B && maker.c == TCG_MAKER_C;
    has_nested = f.d & BIT(0);
    has_nrip = f.d & BIT(3);
    has_flush_asid = f.d & BIT(6);
    has_assists = f.d & BIT(7);
    has_mov_assist = has_nrip && has_assists;
    says_more = has_nrip || has_assists;
    asid_count = f.b < ASIDS ? f.b : ASIDS;
    __builtin_memset(io_map, 0xff, sizeof(io_map));
    __builtin_memset(msr_map, 0xff, sizeof(msr_map));
    for (unsigned i = 0; i < sizeof(swapped) / sizeof(swapped[0]); i++)
        msr_pass(swapped[i]);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, kernel_hpa(host_save).v);
    __asm__ volatile("vmsave %%rax" : : "a"(kernel_hpa(svm_host_vmcb).v) : "memory");
    cr4_allowed = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT |
                  (seven.b & BIT(0) ? CR4_FSGSBASE : 0) | (seven.b & BIT(7) ? CR4_SMEP : 0) |
                  (seven.b & BIT(20) ? CR4_SMAP : 0) | (seven.c & BIT(2) ? CR4_UMIP : 0);
    supported = true;
    softtlb_asids(asid_count);
    log_printf("umbra: SVM revision %u, %u ASIDs%s%s%s%s\n", f.a & 0xff, asid_count,
               has_nested ? ", nested paging" : "", has_nrip ? ", next RIP" : "",
               has_assists ? ", decode assists" : "", has_flush_asid ? ", flush by ASID" : "");
}

/* The processor's reset state (APM vol. 2, table 14-1), but paged real mode. */
void arch_vcpu_init(struct vcpu *v)
{
    struct vmcb *b = vmcb_of(v);

    b->intercept_dr = 0xffffffff;
    b->intercept2 = SVM_INTERCEPT2;
    b->iopm = kernel_hpa(io_map).v;
    b->msrpm = kernel_hpa(msr_map).v;
    b->vintr = V_INTR_MASKING;   /* the guest's IF does not mask the host's interrupts */
    b->pat = 0x0606060606060606; /* write back */
    v->cr0 = 0x60000010;
    for (unsigned i = 0; i < SEGS; i++)
        b->seg[i] = (struct umbra_segment){ 0, i == SEG_LDTR ? 0x82 : i == SEG_TR ? 0x8b : 0x93, 0xffff, 0 };
    b->seg[SEG_CS] = (struct umbra_segment){ 0xf000, 0x9b, 0xffff, 0xffff0000 };
    b->rip = 0xfff0;
    b->rflags = 2;
    b->dr6 = 0xffff0ff0;
    b->dr7 = 0x400;
    arch_vcpu_paging(v, false);
    v->exit.version = UMBRA_EXIT_VERSION;
    v->exit.gpr[RDX] = 0x600;
    arch_fpu_init(v->fpu);
}

/* --- state groups --- */

static bool canonical(uint64_t a)
{
    return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

int arch_vcpu_check(const struct vcpu *v, const struct umbra_reply_page *r)
{
    bool bad = false;

    (void)v;
    if (r->groups & STATE_SEGMENTS)
        for (unsigned i = 0; i < SEGS; i++)
            bad |= !canonical(r->seg[i].base);
    if (r->groups & STATE_MSRS)
        bad |= !canonical(r->msrs.lstar) || !canonical(r->msrs.cstar) || !canonical(r->msrs.kernel_gs_base) ||
               !canonical(r->msrs.sysenter_esp) || !canonical(r->msrs.sysenter_eip);
    if (r->groups & STATE_CONTROL)
        bad |= (r->cr0 >> 32) || (r->cr0 & CR0_PG && !(r->cr0 & CR0_PE)) ||
               ((r->efer & EFER_LMA) && !(r->cr0 & CR0_PG)) || (r->efer & EFER_SVME);
    if (r->groups & STATE_DEBUG)
        bad |= r->dr6 >> 32 || r->dr7 >> 32;
    if (bad)
        return REFUSED(ERR_BAD_STATE_VALUE, "reply state cr0=%lx efer=%lx", r->cr0, r->efer);
    return ERR_OK;
}

/* What the processor gets for what the guest believes (docs/platform.md, "Which format for which mode"). */
static void write_control(struct vcpu *v, struct vmcb *b)
{
    bool paged = v->cr0 & CR0_PG, is_long = v->efer & EFER_LMA;
    uint64_t cr0 = (v->cr0 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_AM)) | CR0_ET;
    uint64_t cr4 = v->cr4 & cr4_allowed;
    uint64_t efer = EFER_SVME | (v->efer & EFER_SCE) | (is_long ? EFER_LME | EFER_LMA : 0);

    if (v->nested) { /* the guest's own paging. LME without LMA: TCG would take the exit for a way into long
                        mode */
        v->format = GUEST_NESTED;
        b->cr0 = cr0 | (v->cr0 & (CR0_PG | CR0_WP));
        b->cr4 = cr4 | (v->cr4 & (CR4_PAE | CR4_PSE | CR4_PGE));
        b->efer = efer | (v->efer & EFER_NXE);
        return;
    }
    v->format = is_long ? GUEST_LONG : GUEST_PAE;
    b->cr0 = cr0 | CR0_PG | CR0_WP;
    b->cr4 = (paged ? cr4 : cr4 & ~(CR4_SMEP | CR4_SMAP)) | CR4_PAE;
    b->efer = efer | EFER_NXE;
}

/* CR3 held a root of shadow tables, which neither this guest nor its VMM may see (I4). */
void arch_vcpu_paging(struct vcpu *v, bool nested)
{
    struct vmcb *b = vmcb_of(v);

    v->nested = nested;
    b->nested = nested;
    b->cr3 = b->nested_cr3 = 0;
    b->intercept_cr = nested ? SVM_INTERCEPT_CR & ~SVM_INTERCEPT_CR3 : SVM_INTERCEPT_CR;
    b->intercept_exceptions = nested ? SVM_INTERCEPT_EXCEPTIONS & ~BIT(14) : SVM_INTERCEPT_EXCEPTIONS;
    b->intercept1 = nested ? SVM_INTERCEPT1 & ~SVM_INTERCEPT1_INVLPG : SVM_INTERCEPT1;
    write_control(v, b);
}

void arch_vcpu_write(struct vcpu *v, const struct umbra_reply_page *r)
{
    struct vmcb *b = vmcb_of(v);
    struct umbra_exit_page *x = &v->exit;

    for (unsigned m = r->gpr_mask; m; m &= m - 1) {
        unsigned i = __builtin_ctz(m);
        x->gpr[i] = r->gpr[i];
    }
    if (r->gpr_mask & BIT(RAX))
        b->rax = x->gpr[RAX];
    if (r->gpr_mask & BIT(RSP))
        b->rsp = x->gpr[RSP];
    if (r->groups & STATE_RIP) {
        b->rip = r->rip;
        b->shadow = r->shadow & 1;
    }
    if (r->groups & STATE_RFLAGS)
        b->rflags = (r->rflags & RFLAGS_GUEST) | 2;
    if (r->groups & STATE_CR2)
        b->cr2 = r->cr2;
    if (r->groups & STATE_CONTROL) {
        v->cr0 = r->cr0;
        v->cr4 = r->cr4;
        v->efer = r->efer;
        if (v->nested)
            b->cr3 = r->cr3;
        write_control(v, b);
    }
    if (r->groups & STATE_SEGMENTS) {
        for (unsigned i = 0; i < SEGS; i++)
            b->seg[i] = r->seg[i];
        b->cpl = r->seg[SEG_SS].attributes >> 5 & 3;
    }
    if (r->groups & STATE_MSRS) {
        b->star = r->msrs.star;
        b->lstar = r->msrs.lstar;
        b->cstar = r->msrs.cstar;
        b->sfmask = r->msrs.sfmask;
        b->kernel_gs_base = r->msrs.kernel_gs_base;
        b->sysenter_cs = r->msrs.sysenter_cs;
        b->sysenter_esp = r->msrs.sysenter_esp;
        b->sysenter_eip = r->msrs.sysenter_eip;
    }
    if (r->groups & STATE_DEBUG) {
        for (unsigned i = 0; i < 4; i++)
            v->dr[i] = r->dr[i];
        b->dr6 = r->dr6;
        b->dr7 = r->dr7 | 0x400;
        v->odd |= ODD_ENTRY;
    }
    if (r->groups & STATE_TSC)
        b->tsc_offset = r->tsc_offset;
    if (r->groups & STATE_FPU) {
        arch_fpu_drop(v->fpu);
        arch_fpu_init(v->fpu);
    }
}

/* The first four, which instructions return values in, one by one. */
static ALWAYS_INLINE void take_gprs(struct vcpu *v, struct vmcb *b)
{
    const volatile struct umbra_reply_page *r = &v->reply;
    unsigned mask = r->gpr_mask;

    if (mask & BIT(RAX))
        b->rax = r->gpr[RAX];
    if (mask & BIT(RCX))
        v->exit.gpr[RCX] = r->gpr[RCX];
    if (mask & BIT(RDX))
        v->exit.gpr[RDX] = r->gpr[RDX];
    if (mask & BIT(RBX))
        v->exit.gpr[RBX] = r->gpr[RBX];
    mask &= ~15u;
    if (__builtin_expect(!mask, true))
        return;
    for (; mask; mask &= mask - 1) {
        unsigned i = __builtin_ctz(mask);
        v->exit.gpr[i] = r->gpr[i];
    }
    b->rsp = v->exit.gpr[RSP];
}

static ALWAYS_INLINE void take_registers(struct vcpu *v, struct vmcb *b, uint32_t groups)
{
    const volatile struct umbra_reply_page *r = &v->reply;

    if (groups & STATE_GPRS)
        take_gprs(v, b);
    if (groups & STATE_RIP) {
        b->rip = r->rip;
        b->shadow = r->shadow & 1;
    }
    if (__builtin_expect(!(groups & (STATE_RFLAGS | STATE_CR2)), true))
        return;
    if (groups & STATE_RFLAGS)
        b->rflags = (r->rflags & RFLAGS_GUEST) | 2;
    if (groups & STATE_CR2)
        b->cr2 = r->cr2;
}

void arch_vcpu_answer(struct vcpu *v, uint32_t groups)
{
    take_registers(v, vmcb_of(v), groups);
}

/* What is in every exit. */
static inline void read_always(struct vcpu *v, const struct vmcb *b)
{
    struct umbra_exit_page *x = &v->exit;

    x->rip = b->rip;
    *(volatile uint8_t *)&x->shadow = b->shadow & 1; /* merging two bytes costs more than storing them */
    *(volatile uint8_t *)&x->cpl = b->cpl;
    x->gpr[RAX] = b->rax;
    x->gpr[RSP] = b->rsp;
    x->rflags = b->rflags;
    x->cr2 = b->cr2;
    __builtin_memcpy(&x->seg[SEG_CS], (const uint8_t *)b + offsetof(struct vmcb, seg[SEG_CS]), 8);
}

/* By words: the compiler would move each field by itself. */
static inline void read_segments(struct umbra_exit_page *x, const struct vmcb *b)
{
    const uint64_t *from = (const void *)((const uint8_t *)b + offsetof(struct vmcb, seg));
    uint64_t *to = (void *)x->seg;

#pragma GCC unroll 32
    for (unsigned i = 0; i < SEGS * (sizeof(struct umbra_segment) / 8); i++)
        to[i] = from[i];
}

void arch_vcpu_read(struct vcpu *v, uint32_t groups)
{
    const struct vmcb *b = vmcb_of(v);
    struct umbra_exit_page *x = &v->exit;

    if (groups & (STATE_RIP | STATE_RFLAGS | STATE_CR2))
        read_always(v, b);
    if (groups & STATE_SEGMENTS)
        read_segments(x, b);
    if (!(groups & ~(uint32_t)(STATE_RIP | STATE_RFLAGS | STATE_CR2 | STATE_SEGMENTS)))
        return;
    if (groups & STATE_CONTROL) {
        x->cr0 = v->cr0;
        x->cr4 = v->cr4;
        x->efer = v->efer;
        if (v->nested)
            x->cr3 = b->cr3;
    }
    if (groups & STATE_MSRS)
        x->msrs = (struct umbra_msrs){ b->star,           b->lstar,       b->cstar,        b->sfmask,
                                       b->kernel_gs_base, b->sysenter_cs, b->sysenter_esp, b->sysenter_eip };
    if (groups & STATE_DEBUG) {
        for (unsigned i = 0; i < 4; i++)
            x->dr[i] = v->dr[i];
        x->dr6 = b->dr6;
        x->dr7 = b->dr7;
    }
    if (groups & STATE_TSC)
        x->tsc_offset = b->tsc_offset;
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
    bool all = asid_next >= asid_count;

    if (all) {
        asid_next = 1;
        asid_floor += ASIDS;
    }
    COUNT(FLUSHES);
    r->tlb.asid = asid_floor + asid_next++;
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

static ALWAYS_INLINE bool asid_is_good(const struct vcpu *v)
{
    return v->root.tlb.asid >= asid_floor && v->root.tlb.downgrades == v->vm->downgrades && !v->force_flush;
}

static ALWAYS_INLINE void prepare_asid(struct vcpu *v, struct vmcb *b)
{
    BUILD_ASSERT(ASIDS == 1 << 16);
    COUNT(EXITS);
    if (!asid_is_good(v))
        renew_asid(v, b);
    else
        set_asid(b, (uint16_t)v->root.tlb.asid, 0);
    softtlb_enter(v, b->asid, b->tlb_control);
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

void arch_vcpu_dump(const struct vcpu *v)
{
    const struct vmcb *b = vmcb_of(v);

    log_printf("  nested paging %lu cr3=%lx asid %u intercepts %x %x %x\n", b->nested,
               b->nested ? b->nested_cr3 : b->cr3, b->asid, b->intercept_cr, b->intercept1, b->intercept2);
}

bool arch_vcpu_root_fits(const struct vcpu *v)
{
    return v->root.format == v->format;
}

/* --- exits --- */

static void set_info(struct umbra_exit_page *x, uint64_t a, uint64_t b)
{
    x->info[0] = a;
    x->info[1] = b;
}

static inline void set_io_info(struct umbra_exit_page *x, const struct vmcb *b)
{
    set_info(x, b->exit_info1 & 0xffff007d, b->exit_info2);
}

static enum exit_kind instruction(struct umbra_exit_page *x, unsigned which)
{
    set_info(x, which, 0);
    return EXIT_INSTRUCTION;
}

static enum exit_kind exception(struct umbra_exit_page *x, const struct vmcb *b, unsigned vector)
{
    if (vector == 14) {
        set_info(x, b->exit_info2, b->exit_info1);
        return EXIT_PAGE;
    }
    set_info(x, vector, vector == 1 ? b->dr6 : b->exit_info1);
    return EXIT_EXCEPTION;
}

/* The processor's exit code in Umbra's words (APM vol. 2, appendix C). */
static __attribute__((noinline)) enum exit_kind translate(struct vcpu *v, const struct vmcb *b)
{
    struct umbra_exit_page *x = &v->exit;
    uint32_t code = (uint32_t)b->exit_code;

    set_info(x, 0, 0);
    if (code <= SVM_EXIT_CR_LAST) {
        set_info(x, code, has_assists ? b->exit_info1 : 0);
        return EXIT_CR;
    }
    if (code <= SVM_EXIT_DR_LAST)
        return EXIT_DR;
    if (code <= SVM_EXIT_EXCEPTION_LAST)
        return exception(x, b, code - SVM_EXIT_EXCEPTION);
    switch (code) {
    case SVM_EXIT_VINTR:
        return EXIT_WINDOW;
    case SVM_EXIT_RDTSC:
    case SVM_EXIT_RDTSCP:
        return instruction(x, INSN_RDTSCP);
    case SVM_EXIT_RDPMC:
        return instruction(x, INSN_RDPMC);
    case SVM_EXIT_CPUID: /* behind a load of CR3 that was served; else arch_vcpu_go_on() knows it */
        return EXIT_CPUID;
    case SVM_EXIT_HLT:
        return EXIT_HLT;
    case SVM_EXIT_RSM:
        return instruction(x, INSN_RSM);
    case SVM_EXIT_INVD:
        return instruction(x, INSN_INVD);
    case SVM_EXIT_INVLPG:
        set_info(x, has_assists ? b->exit_info1 : 0, has_assists);
        return EXIT_INVLPG;
    case SVM_EXIT_INVLPGA:
        return instruction(x, INSN_INVLPGA);
    case SVM_EXIT_IOIO:
        set_io_info(x, b);
        return EXIT_IO;
    case SVM_EXIT_MSR:
        set_info(x, b->exit_info1 & 1, 0);
        return EXIT_MSR;
    case SVM_EXIT_TASK_SWITCH:
        return EXIT_TASK_SWITCH;
    case SVM_EXIT_SHUTDOWN:
        return EXIT_SHUTDOWN;
    case SVM_EXIT_WBINVD:
        return instruction(x, INSN_WBINVD);
    case SVM_EXIT_MONITOR:
        return instruction(x, INSN_MONITOR);
    case SVM_EXIT_MWAIT:
    case SVM_EXIT_MWAIT_COND:
        return instruction(x, INSN_MWAIT);
    case SVM_EXIT_RDPRU:
        return instruction(x, INSN_RDPRU);
    case SVM_EXIT_XSETBV:
        return instruction(x, INSN_XSETBV);
    case SVM_EXIT_NPF:
        set_info(x, b->exit_info2, b->exit_info1);
        return EXIT_NPF;
    case SVM_EXIT_INVALID:
        return EXIT_INVALID;
    default:
        break;
    }
    if (code >= SVM_EXIT_VMRUN && code <= SVM_EXIT_SKINIT)
        return instruction(x, INSN_SVM);
    set_info(x, code, b->exit_info1);
    return EXIT_BROKEN;
}

static void load_debug(const uint64_t *dr)
{
    __asm__ volatile("mov %0, %%db0; mov %1, %%db1; mov %2, %%db2; mov %3, %%db3"
                     :
                     : "r"(dr[0]), "r"(dr[1]), "r"(dr[2]), "r"(dr[3]));
}

static inline struct vcpu *vcpu_of(uint64_t *gpr)
{
    return (struct vcpu *)((uint8_t *)gpr - offsetof(struct vcpu, exit.gpr));
}

/* v comes back by RSI: so nothing has to be kept in memory over the switch. */
static ALWAYS_INLINE struct vcpu *svm_run(struct vcpu *v)
{
    uint64_t vmcb = phys_to_hpa(v->vmcb).v;
    uint64_t *gpr = v->exit.gpr;

    __asm__ volatile("call *svm_switch"
                     : "+a"(vmcb), "+S"(gpr)
                     :
                     : "rcx", "rdx", "rbx", "rbp", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "cc", "memory");
    return vcpu_of(gpr);
}

/* QEMU's TCG delivers an external interrupt that was injected by EVENTINJ a second time, whatever IF says, if
 * its loop ends before the next exit: it leaves the vector where its exceptions wait. A virtual interrupt it
 * delivers once. Where a processor would take one before the first instruction, the two are the same. */
static inline bool goes_as_virtual(const struct vmcb *b, uint64_t event)
{
    return is_tcg && (event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_INTERRUPT &&
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

/* When the guest can take an interrupt, as asked for, cannot be seen yet: look again soon. */
static void look_again(void)
{
    cpu.timer_armed = arch_now() + SHADOW_TICKS;
    arch_timer_set(cpu.timer_armed);
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
    if (v->window && !window)
        look_again();
    return false;
}

/* An entry with more than registers, and the next one, which takes it back. True: the guest is not entered.
 */
static __attribute__((noinline)) bool set_odd(struct vcpu *v, struct vmcb *b)
{
    uint64_t virtual = goes_as_virtual(b, v->event) ? v->event : 0;

    b->event = virtual ? 0 : v->event;
    v->odd = v->event || v->window || (b->dr7 & 0xff) ? ODD_ENTRY : 0;
    v->event = 0;
    v->virtual = virtual;
    if (set_virtual(v, b, virtual))
        return true;
    if (b->dr7 & 0xff)
        load_debug(v->dr);
    return false;
}

/* --- loads of CR3 --- */

/* The four bytes at RIP, as the guest's present tables lead there. False: they end behind the page, or
 * nothing does. */
static inline bool code_at_rip(const struct vcpu *v, uint64_t rip, uint32_t *code)
{
    uint64_t entry = v->root.table[0].v;

    if (rip % PAGE_BYTES > PAGE_BYTES - sizeof(*code))
        return false;
#pragma GCC unroll 4
    for (unsigned level = 4; level > 0; level--) {
        entry = ((const uint64_t *)phys(pte_hpa(entry)))[pte_index(rip, level)];
        if (!(entry & PTE_P))
            return false;
        if (level == 2 && (entry & PTE_PS)) {
            entry += rip % level_bytes(2) & ~(PAGE_BYTES - 1);
            break;
        }
    }
    __builtin_memcpy(code, (const uint8_t *)phys(pte_hpa(entry)) + rip % PAGE_BYTES, sizeof(*code));
    return true;
}

/* A guest in 64-bit code, outside of single-stepping, loads CR3 with a value of the root list: it goes on
 * behind that on the other root, and no VMM hears of it now. All else is an exit. */
static ALWAYS_INLINE bool serve_cr3(struct vcpu *v, struct vmcb *b)
{
    unsigned gpr, length;
    uint32_t code;

    if (v->root.format != GUEST_LONG || b->cr3 != v->root.table[0].v || b->cpl ||
        !(b->seg[SEG_CS].attributes & SEGMENT_L) || (b->rflags & (RFLAGS_TF | RFLAGS_RF)) ||
        v->exit.interrupted)
        return false;
    if (has_mov_assist)
        length = assisted_mov(b->exit_info1, b->rip, b->next_rip, &gpr);
    else
        length = code_at_rip(v, b->rip, &code) ? mov_to_cr3(code, &gpr) : 0;
    if (!length)
        return false;
    uint64_t value = gpr == RAX ? b->rax : gpr == RSP ? b->rsp : v->exit.gpr[gpr];
    if (!shadow_serve_cr3(v, value))
        return false;
    b->rip += length;
    b->shadow &= ~1ul;
    COUNT(CR3_SERVED);
    return true;
}

/* CR3 is the root that the guest was entered on. If not, a task switch was not intercepted. With nested
 * paging it is the guest's own; but what a refused entry leaves there is the host's. */
static bool cr3_is_kept(const struct vcpu *v, struct vmcb *b)
{
    if (v->nested) {
        bool refused = (uint32_t)b->exit_code == SVM_EXIT_INVALID;
        if (refused)
            b->cr3 = 0;
        return !refused;
    }
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
        if (!v->odd || !set_odd(v, b)) {
            stretch_end();
            v = svm_run(v);
            stretch_begin(STRETCH_EXIT);
        }
        b = vmcb_of(v);
        v->exit.interrupted = unfinished(b, 0);
    }
    return (uint32_t)b->exit_code;
}

/* What the processor says of the instruction: not every one does. */
static __attribute__((noinline)) void read_instruction(struct umbra_exit_page *x, const struct vmcb *b)
{
    x->ilen = has_nrip && b->next_rip - b->rip <= 15 ? b->next_rip - b->rip : 0;
    x->nbytes = has_assists && b->bytes_fetched <= 15 ? b->bytes_fetched : 0;
    for (unsigned i = 0; i < x->nbytes; i++)
        x->bytes[i] = b->bytes[i];
}

/* The rest of an exit of which kind and info are known. */
static ALWAYS_INLINE enum exit_kind finish_exit(struct vcpu *v, struct vmcb *b, enum exit_kind kind)
{
    struct umbra_exit_page *x = &v->exit;

    read_always(v, b);
    if (__builtin_expect(says_more, false))
        read_instruction(x, b);
    if (__builtin_expect(b->cr3 != v->root.table[0].v, false) && !cr3_is_kept(v, b)) {
        set_info(x, 0, 0);
        return EXIT_BROKEN;
    }
    return kind;
}

/* All but the most frequent exits, and interrupts of the host. */
static __attribute__((noinline)) enum exit_kind other_exit(struct vcpu *v, uint32_t code)
{
    if (code == SVM_EXIT_CR3_WRITE)
        code = serve_loads(v);
    if (code >= SVM_EXIT_INTR && code <= SVM_EXIT_INIT) {
        arch_take_interrupts();
        v->event = v->exit.interrupted;
        if (v->event)
            v->odd |= ODD_ENTRY;
        return EXIT_NONE;
    }
    if (code == SVM_EXIT_VINTR)
        v->window = 0;
    return finish_exit(v, vmcb_of(v), translate(v, vmcb_of(v)));
}

/* True: the guest is not entered. */
static ALWAYS_INLINE bool prepare(struct vcpu *v, struct vmcb *b)
{
    prepare_root(v, b);
    bool exited = __builtin_expect(v->odd, false) && set_odd(v, b);
    write_cr2(b->cr2); /* not every processor model loads it from the VMCB */
    stretch_end();
    return exited;
}

/* The guest came out. */
static ALWAYS_INLINE enum exit_kind arrive(struct vcpu *v)
{
    /* Those of which there is nothing more to say. */
    static const uint8_t plain[0x80] = { [SVM_EXIT_CPUID] = EXIT_CPUID, [SVM_EXIT_HLT] = EXIT_HLT };
    struct vmcb *b = vmcb_of(v);

    stretch_begin(STRETCH_EXIT);
    v->exit.interrupted = unfinished(b, __builtin_expect(v->odd & ODD_ENTRY, false) ? v->virtual : 0);
    uint32_t code = (uint32_t)b->exit_code;
    if (code == SVM_EXIT_PAGE_FAULT) {
        set_info(&v->exit, b->exit_info2, b->exit_info1);
        return finish_exit(v, b, EXIT_PAGE);
    }
    if (code < sizeof(plain) && plain[code]) {
        set_info(&v->exit, 0, 0);
        return finish_exit(v, b, plain[code]);
    }
    if (code == SVM_EXIT_IOIO) {
        set_io_info(&v->exit, b);
        return finish_exit(v, b, EXIT_IO);
    }
    return other_exit(v, code);
}

enum exit_kind arch_vcpu_run(struct vcpu *v)
{
    fpu_own(v->fpu);
    if (!prepare(v, vmcb_of(v)))
        v = svm_run(v);
    return arrive(v);
}

struct regs *svm_exited(uint64_t *gpr)
{
    struct vcpu *v = vcpu_of(gpr);

    return fastpath_exited(v, arrive(v));
}

static ALWAYS_INLINE _Noreturn void svm_enter(struct vcpu *v)
{
    __asm__ volatile("jmp svm_enter" : : "a"(phys_to_hpa(v->vmcb).v), "S"(v->exit.gpr) : "memory");
    __builtin_unreachable();
}

static __attribute__((noinline)) _Noreturn void go_on_slowly(struct vcpu *v)
{
    if (prepare(v, vmcb_of(v)))
        __asm__ volatile("jmp svm_not_entered" : : "S"(v->exit.gpr) : "memory");
    svm_enter(v);
}

_Noreturn void arch_vcpu_go_on(struct vcpu *v, uint32_t groups)
{
    struct vmcb *b = vmcb_of(v);

    take_registers(v, b, groups);
    if (!asid_is_good(v) || (v->odd & ODD_ENTRY) || v->root.format != GUEST_LONG)
        go_on_slowly(v);
    if (__builtin_expect(v->odd, false)) {
        b->event = v->event;
        v->odd = v->event ? ODD_EVENT : 0;
        v->event = 0;
    }
    COUNT(EXITS); /* what is left of prepare() */
    set_asid(b, (uint16_t)v->root.tlb.asid, 0);
    softtlb_enter(v, b->asid, b->tlb_control);
    b->cr3 = v->root.table[0].v;
    write_cr2(b->cr2);
    stretch_end();
    svm_enter(v);
}
