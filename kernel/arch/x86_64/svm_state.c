/* SPDX-License-Identifier: BSD-2-Clause */
/* An answer's state groups into the VMCB: all that a VMM can set of its guest. Hardware CR0, CR4 and EFER are
 * derived here from what the guest believes (I4). Compiled for size: it seldom changes. */
#include "svm_vcpu.h"
#include "log.h"

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

static void set_format(struct vcpu *v, enum guest_format format)
{
    v->format = format;
    v->odd = (v->odd & ~ODD_FORMAT) | (format == GUEST_LONG ? 0 : ODD_FORMAT);
}

/* What the processor gets for what the guest believes (docs/platform.md, "Which format for which mode"). */
static void write_control(struct vcpu *v, struct vmcb *b)
{
    bool paged = v->cr0 & CR0_PG, is_long = v->efer & EFER_LMA;
    uint64_t cr0 = (v->cr0 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_AM)) | CR0_ET;
    uint64_t cr4 = v->cr4 & svm.cr4_allowed;
    uint64_t efer = EFER_SVME | (v->efer & EFER_SCE) | (is_long ? EFER_LME | EFER_LMA : 0);

    if (v->nested) { /* the guest's own paging. LME without LMA: TCG would take the exit for a way into long
                        mode */
        set_format(v, GUEST_NESTED);
        b->cr0 = cr0 | (v->cr0 & (CR0_PG | CR0_WP));
        b->cr4 = cr4 | (v->cr4 & (CR4_PAE | CR4_PSE | CR4_PGE));
        b->efer = efer | (v->efer & EFER_NXE);
        return;
    }
    set_format(v, is_long ? GUEST_LONG : GUEST_PAE);
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
