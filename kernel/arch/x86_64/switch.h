/* SPDX-License-Identifier: BSD-2-Clause */
/* arch/switch.h for this processor. cpu.h includes it at its end: struct cpu and struct tcb are known. */
#ifndef KERNEL_X86_SWITCH_H
#define KERNEL_X86_SWITCH_H

struct __attribute__((packed)) tss {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2;
    uint16_t reserved3, iomap;
};
extern struct tss tss;
extern bool has_fsgsbase;
void fpu_trap(bool on);                 /* CR0.TS */
void bases_by_msr(const struct tcb *t); /* without FSGSBASE */

static inline uint64_t arch_now(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}

static inline void arch_load_space(hpa_t root)
{
    if (root.v == cpu.space.v)
        return;
    COUNT(CR3_LOADS);
    cpu.space = root;
    __asm__ volatile("mov %0, %%cr3" : : "r"(root.v) : "memory");
}

/* With FSGSBASE user code changes its bases itself: they are read back when it leaves. */
static inline void arch_thread_leave(struct tcb *t)
{
    if (!has_fsgsbase)
        return;
    __asm__ volatile("rdfsbase %0" : "=r"(t->fs_base));
    __asm__ volatile("rdgsbase %0" : "=r"(t->gs_base));
}

static inline void arch_thread_resume(const struct tcb *t)
{
    if (has_fsgsbase) {
        __asm__ volatile("wrfsbase %0" : : "r"(t->fs_base));
        __asm__ volatile("wrgsbase %0" : : "r"(t->gs_base));
    } else {
        bases_by_msr(t);
    }
}

static inline void arch_thread_enter(struct tcb *t)
{
    bool trap = cpu.fpu_owner != t->fpu;

    tss.rsp[0] = (uintptr_t)(&t->regs + 1);
    arch_load_space((hpa_t){ t->vspace.obj });
    if (trap != cpu.fpu_trapped)
        fpu_trap(trap);
    arch_thread_resume(t);
}

#endif
