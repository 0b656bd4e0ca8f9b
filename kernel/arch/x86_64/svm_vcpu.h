/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the world switch share: what the processor has, and the parts of an entry and an exit
 * that are inline. Only svm*.c include this. */
#ifndef KERNEL_SVM_VCPU_H
#define KERNEL_SVM_VCPU_H

#include "svm.h"
#include "invoke.h"
#include "x86.h"

#define RFLAGS_TF      BIT(8)
#define RFLAGS_IF      BIT(9)
#define RFLAGS_RF      BIT(16)
#define RFLAGS_GUEST   0x3f7fd5 /* the bits that exist (APM vol. 2, 3.1.6) */
#define V_INTR_MASKING BIT(24)
#define ALWAYS_INLINE  inline __attribute__((always_inline))

/* Read once, by svm_init(). */
struct svm {
    uint64_t cr4_allowed; /* of the guest's CR4 */
    uint32_t asids;
    bool supported, nested, nrip, assists, flush_asid;
    bool mov_assist; /* nrip and assists: what a load of CR3 was is in the VMCB */
    bool says_more;  /* nrip or assists */
    bool is_tcg;
};
extern struct svm svm;
extern uint8_t svm_host_vmcb[PAGE_BYTES]; /* the host's FS, GS, TR, LDTR and system call MSRs: VMSAVE */

/* svm_exit.c: the processor's exit code in Umbra's words (APM vol. 2, appendix C), and info. */
enum exit_kind svm_translate(struct vcpu *v, const struct vmcb *b);
/* What the processor says of the instruction: not every one does. */
void svm_read_instruction(struct umbra_exit_page *x, const struct vmcb *b);

static inline struct vmcb *vmcb_of(const struct vcpu *v)
{
    return (struct vmcb *)(uintptr_t)v->vmcb;
}

static inline void set_info(struct umbra_exit_page *x, uint64_t a, uint64_t b)
{
    x->info[0] = a;
    x->info[1] = b;
}

static inline void set_io_info(struct umbra_exit_page *x, const struct vmcb *b)
{
    set_info(x, b->exit_info1 & 0xffff007d, b->exit_info2);
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

/* RAX alone, or the four that CPUID returns, or any. */
static ALWAYS_INLINE void take_gprs(struct vcpu *v, struct vmcb *b)
{
    const volatile struct umbra_reply_page *r = &v->reply;
    unsigned mask = r->gpr_mask;

    if (__builtin_expect(mask & BIT(RAX), true))
        b->rax = r->gpr[RAX];
    mask &= ~(unsigned)BIT(RAX);
    if (!mask)
        return;
    if (__builtin_expect(mask == (BIT(RCX) | BIT(RDX) | BIT(RBX)), true)) {
        v->exit.gpr[RCX] = r->gpr[RCX];
        v->exit.gpr[RDX] = r->gpr[RDX];
        v->exit.gpr[RBX] = r->gpr[RBX];
        return;
    }
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

#endif
