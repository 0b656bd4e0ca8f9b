/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads of CR3 that the kernel serves: the decision, inline for the one place where they arrive (svm.c). */
#ifndef KERNEL_SVM_CR3_H
#define KERNEL_SVM_CR3_H

#include "movcr3.h"
#include "svm_vcpu.h"
#include "arch/pte.h"

#define SEGMENT_L BIT(9) /* VMCB segment attributes: 64-bit code */

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
    if (svm.mov_assist)
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

#endif
