/* SPDX-License-Identifier: BSD-2-Clause */
/* GDT, TSS, IDT, the system call registers; and what happens when the kernel itself is interrupted. */
#include "cpu.h"
#include "log.h"
#include "x86.h"

#define IST_STACK_BYTES 4096

struct __attribute__((packed)) table_pointer {
    uint16_t limit;
    uint64_t base;
};
struct gate {
    uint16_t low, selector;
    uint8_t ist, type;
    uint16_t middle;
    uint32_t high, zero;
};

struct tss tss;
struct gate idt[256];
static uint64_t gdt[8] = {
    0,
    0x00af9a000000ffff, /* 08 kernel code */
    0x00cf92000000ffff, /* 10 kernel data */
    0,                  /* 18 SYSRET counts from here; without code of 32 bits no compatibility mode */
    0x00cff2000000ffff, /* 20 user data */
    0x00affa000000ffff, /* 28 user code */
};
static uint8_t ist_stacks[4][IST_STACK_BYTES] __attribute__((aligned(16)));

#define STUBS_IN_ORDER 48
extern const uint8_t entry_stubs[STUBS_IN_ORDER + 2][16];
BUILD_ASSERT(sizeof(struct regs) == 176 && offsetof(struct regs, vector) == 120); /* entry.S */
BUILD_ASSERT(offsetof(struct tss, rsp) == 4 && offsetof(struct cpu, user_rsp) == 0);
#define IST_DEBUG 4
BUILD_ASSERT(sizeof(struct gate) == 16 && offsetof(struct gate, ist) == 4);
extern const uint8_t svm_behind[], svm_done[]; /* entry.S: between VMRUN and STGI */
extern const uint8_t step_landed[];
void syscall_entry(void), step_probe(void), svm_run(void), svm_run_steps(void);
void (*svm_switch)(void) = svm_run; /* svm.c */
static bool syscall_steps;
void kernel_interrupted(struct regs *r, uint64_t address);

static void gate_set(unsigned vector, unsigned stub, unsigned ist)
{
    uint64_t a = (uintptr_t)entry_stubs[stub];

    idt[vector] =
        (struct gate){ .low = a,
                       .selector = 8,
                       .ist = ist,
                       .type = vector == 3 ? 0xee : 0x8e, /* INT3 is allowed to user code, no other */
                       .middle = a >> 16,
                       .high = a >> 32 };
}

/* Processors go by the TF behind SYSCALL, which is masked. bochs goes by the one before: a thread that steps
 * over a system call traps at syscall_entry, where the stack is still whatever it chose. There #DB gets a
 * stack of its own, but during world switches. */
static void find_steps(void)
{
    __asm__ volatile("sub $128, %%rsp; call step_probe; add $128, %%rsp" : : : "rcx", "r11", "cc", "memory");
    if (!syscall_steps)
        return;
    log_printf("umbra: SYSCALL does not mask a single step here\n");
    idt[1].ist = IST_DEBUG;
    svm_switch = svm_run_steps;
}

void tables_init(void)
{
    uint64_t t = (uintptr_t)&tss;

    tss.iomap = sizeof(tss);
    for (unsigned i = 0; i < 4; i++)
        tss.ist[i] = (uintptr_t)ist_stacks[i] + IST_STACK_BYTES;
    gdt[6] = (sizeof(tss) - 1) | (t & 0xffffff) << 16 | 0x89ull << 40 | (t >> 24 & 0xff) << 56;
    gdt[7] = t >> 32;
    for (unsigned v = 0; v < STUBS_IN_ORDER; v++)
        gate_set(v, v, v == 2 ? 1 : v == 8 ? 2 : v == 18 ? 3 : 0);
    gate_set(VECTOR_TIMER, STUBS_IN_ORDER, 0);
    gate_set(VECTOR_SPURIOUS, STUBS_IN_ORDER + 1, 0);
    struct table_pointer g = { sizeof(gdt) - 1, (uintptr_t)gdt }, i = { sizeof(idt) - 1, (uintptr_t)idt };
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(g), "m"(i), "r"(0x30) : "memory");
    __asm__ volatile(
        "push $8; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: mov %0, %%ds; mov %0, %%es; mov %0, %%ss"
        :
        : "r"(0x10)
        : "rax", "memory");
    __asm__ volatile("mov %0, %%db7" : : "r"(0x400ul)); /* no breakpoints: DR0..DR3 are a guest's */
    wrmsr(MSR_GS_BASE, 0);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    wrmsr(MSR_STAR, 0x08ull << 32 | 0x18ull << 48);
    wrmsr(MSR_LSTAR, (uintptr_t)step_landed);
    wrmsr(MSR_CSTAR, (uintptr_t)syscall_entry); /* compatibility mode is never entered by user code */
    wrmsr(MSR_SFMASK, 0x47700);                 /* AC NT IOPL... DF IF TF */
    wrmsr(MSR_SYSENTER_CS, 0);
    find_steps();
    wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
}

void arch_regs_init(struct regs *r)
{
    *r = (struct regs){ .cs = 0x2b, .ss = 0x23, .rflags = 0x202 };
}

/* A guest's single step over an intercepted instruction must not be seen here (APM vol. 2, 15.5.1), but bochs
 * lets it arrive behind VMRUN. The step is the VMM's to make; this one is dropped (I9). So is a thread's over
 * SYSCALL: it comes behind the instruction after it, as on processors. */
static bool is_stray_step(const struct regs *r)
{
    if (r->vector != 1)
        return false;
    if (r->rip == (uintptr_t)step_landed)
        syscall_steps = true;
    return r->rip == (uintptr_t)step_landed || r->rip == (uintptr_t)syscall_entry ||
           r->rip - (uintptr_t)svm_behind < (uint64_t)(svm_done - svm_behind);
}

/* The kernel allows interrupts in two places; anything else here is a fault of the kernel. */
void kernel_interrupted(struct regs *r, uint64_t address)
{
    if (r->vector == 2 || is_stray_step(r))
        return; /* NMI: nobody uses it yet */
    if (r->vector >= 32) {
        arch_interrupt(r->vector);
        return;
    }
    PANIC("exception %lu error %lx at %lx, address %lx, rsp %lx", r->vector, r->error, r->rip, address,
          r->rsp);
}
