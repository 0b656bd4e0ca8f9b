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
extern uint64_t cr0_trapping; /* CR0 with TS */

static inline uint64_t arch_now(void)
{
    uint64_t now;

    __asm__ volatile("rdtsc; shl $32, %%rdx; or %%rdx, %0" : "=a"(now) : : "rdx", "cc");
    return now;
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
    if (__builtin_expect(!has_fsgsbase, false))
        return;
    __asm__ volatile("rdfsbase %0" : "=r"(t->fs_base));
    __asm__ volatile("rdgsbase %0" : "=r"(t->gs_base));
}

static inline void write_base(uint32_t msr, uint64_t base)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)base), "d"((uint32_t)(base >> 32)));
}

static inline void load_bases(const struct tcb *t)
{
    if (__builtin_expect(has_fsgsbase, true)) {
        __asm__ volatile("wrfsbase %0" : : "r"(t->fs_base));
        __asm__ volatile("wrgsbase %0" : : "r"(t->gs_base));
    } else {
        write_base(0xc0000100, t->fs_base); /* MSR_FS_BASE, MSR_GS_BASE */
        write_base(0xc0000101, t->gs_base);
    }
}

/* CR0.TS, so that nobody reads another's FPU state. */
static inline void arch_fpu_trap(bool on)
{
    if (on) {
        if (cpu.fpu_trapped)
            return;
        cpu.fpu_trapped = true;
        __asm__ volatile("mov %0, %%cr0" : : "r"(cr0_trapping) : "memory");
    } else if (cpu.fpu_trapped) {
        cpu.fpu_trapped = false;
        __asm__ volatile("clts" : : : "memory");
    }
}

static inline void enter_space(const struct tcb *t)
{
    tss.rsp[0] = (uintptr_t)(&t->regs + 1);
    arch_load_space((hpa_t){ t->vspace.obj });
    arch_fpu_trap(cpu.fpu_owner != t->fpu);
}

static inline void arch_thread_enter(const struct tcb *t)
{
    enter_space(t);
    load_bases(t);
}

static inline void arch_thread_switch(struct tcb *from, const struct tcb *to)
{
    enter_space(to);
    if (__builtin_expect(!has_fsgsbase, false)) {
        load_bases(to);
        return;
    }
    __asm__ volatile("rdfsbase %0" : "=r"(from->fs_base));
    __asm__ volatile("rdgsbase %0" : "=r"(from->gs_base));
    __asm__ volatile("wrfsbase %0" : : "r"(to->fs_base));
    __asm__ volatile("wrgsbase %0" : : "r"(to->gs_base));
}

#endif
