/* SPDX-License-Identifier: BSD-2-Clause */
/* What the portable kernel needs of a processor. The only header of arch/ that the rest of the kernel
 * includes (with pte.h, which is pure). Host tests put a fake behind it. */
#ifndef KERNEL_ARCH_H
#define KERNEL_ARCH_H

#include <umbra/types.h>
#include <umbra/vcpu.h>

/* All physical memory is mapped at PHYS_BASE, writable, never executable. */
#if UMBRA_HOST
extern unsigned char *phys_base_host;
#define PHYS_BASE ((uint64_t)(uintptr_t)phys_base_host)
#else
#define PHYS_BASE 0xffff800000000000ul
#endif
static inline void *phys(hpa_t a)
{
    return (void *)(uintptr_t)(PHYS_BASE + a.v);
}
static inline hpa_t phys_to_hpa(const void *p)
{
    return (hpa_t){ (uint64_t)(uintptr_t)p - PHYS_BASE };
}

/* A user thread's registers, in the order in which entry.S pushes them. vector: VECTOR_SYSCALL, or what
 * interrupted. */
struct regs {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
#define VECTOR_SYSCALL 0x100u

struct tcb;
struct vcpu;

#define FPU_BYTES                                                                                            \
    1088 /* x87, SSE, AVX with XSAVE header: CPUID.D:EBX with XCR0 = 7 is 832; checked at boot */

void arch_regs_init(struct regs *r);
void arch_fpu_init(void *area); /* reset values */
void arch_fpu_drop(void *area); /* its contents are about to vanish */
void arch_kernel_space(void);   /* the address space without user part */
bool arch_space_is_loaded(hpa_t root);
void arch_space_init(uint64_t *root); /* the kernel's half */
void arch_flush_address(hpa_t root, uint64_t address);
void arch_flush_space(void); /* all user translations of the loaded space */
uint64_t arch_tsc_hz(void);
void arch_timer_set(uint64_t deadline);              /* absolute TSC */
bool arch_exception(struct tcb *t, unsigned vector); /* true: dealt with, the thread goes on */
void arch_interrupt(unsigned vector);                /* record a host interrupt; its line is masked */
void arch_idle(void);                                /* wait for an interrupt; it is recorded, see cpu.h */
void arch_take_interrupts(void);                     /* let pending ones be recorded */
void arch_irq_mask(unsigned line);
void arch_irq_unmask(unsigned line);
uint64_t arch_port_in(uint16_t port, unsigned width);
void arch_port_out(uint16_t port, unsigned width, uint64_t value);
void arch_zero(void *p, uint64_t bytes); /* multiples of 8 */
uint64_t arch_random(void);
_Noreturn void arch_halt(unsigned status);

/* arch/switch.h has what every switch between threads does. */

/* The world switch (arch/x86_64/svm*.c). */
enum guest_format { GUEST_NONE, GUEST_LONG, GUEST_PAE, GUEST_NESTED };
bool arch_vm_supported(void);
bool arch_nested_supported(void);
void arch_vcpu_init(struct vcpu *v);
/* The vCPU comes to a VM with nested paging, or without. What it had of another VM's tables goes. */
void arch_vcpu_paging(struct vcpu *v, bool nested);
/* Run the guest once, for the current thread, which is loaded: fastpath_exited() gets EXIT_* with the exit
 * page filled, or EXIT_NONE after an interrupt of the host, on an empty stack. */
_Noreturn void arch_vcpu_run(struct vcpu *v);
/* For a dump: how the processor is told to run it. */
void arch_vcpu_dump(const struct vcpu *v);
/* Copy groups of guest state to the exit page, and from a local copy of the reply page. The check changes
 * nothing. */
void arch_vcpu_read(struct vcpu *v, uint32_t groups);
int arch_vcpu_check(const struct vcpu *v, const struct umbra_reply_page *r);
void arch_vcpu_write(struct vcpu *v, const struct umbra_reply_page *r);
/* General registers, RIP, RFLAGS and CR2, any of them, straight from the vCPU's reply page, each word read
 * once: there is no value of them that could be refused. arch_vcpu_go_on() also runs the guest, whose FPU
 * state is loaded, as arch_vcpu_run() does: so it does not return either, but whoever ends with it needs no
 * frame. */
void arch_vcpu_answer(struct vcpu *v, uint32_t groups);
struct regs *arch_vcpu_go_on(struct vcpu *v, uint32_t groups);

#endif
