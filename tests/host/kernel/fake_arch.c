/* SPDX-License-Identifier: BSD-2-Clause */
/* A processor for the kernel's portable part on the host: memory that a test gives, a clock that a test
 * turns, no devices, no virtual machines. */
#include "fake_arch.h"
#include "kernel/cpu.h"
#include "kernel/log.h"
#include <stdlib.h>
#include <string.h>

unsigned char *phys_base_host;
struct fake_arch fake;

void arch_regs_init(struct regs *r)
{
    *r = (struct regs){ .cs = 0x2b, .ss = 0x23, .rflags = 0x202 };
}
void arch_thread_leave(struct tcb *t)
{
    (void)t;
}
void arch_thread_enter(const struct tcb *t)
{
    arch_load_space((hpa_t){ t->vspace.obj });
}
void arch_thread_switch(struct tcb *from, const struct tcb *to)
{
    (void)from;
    fake.switches++;
    arch_thread_enter(to);
}
void arch_fpu_init(void *area)
{
    memset(area, 0, FPU_BYTES);
}
void arch_fpu_drop(void *area)
{
    (void)area;
}
void arch_load_space(hpa_t root)
{
    fake.loaded = root.v;
}
void arch_kernel_space(void)
{
    fake.loaded = 0;
}
bool arch_space_is_loaded(hpa_t root)
{
    return fake.loaded == root.v;
}
void arch_space_init(uint64_t *root)
{
    for (unsigned i = 256; i < 512; i++)
        root[i] = FAKE_KERNEL_ENTRY;
}
void arch_flush_address(hpa_t root, uint64_t address)
{
    (void)root, (void)address;
}
void arch_flush_space(void) {}
uint64_t arch_now(void)
{
    return fake.now;
}
uint64_t arch_tsc_hz(void)
{
    return 1000000000;
}
void arch_timer_set(uint64_t deadline)
{
    fake.timer = deadline;
}
bool arch_exception(struct tcb *t, unsigned vector)
{
    (void)t, (void)vector;
    return false;
}
void arch_interrupt(unsigned vector)
{
    if (vector >= FAKE_LINES && vector < FAKE_LINES + IRQ_LINES)
        cpu.pending_lines |= 1u << (vector - FAKE_LINES);
}
void arch_idle(void)
{
    abort();
}
void arch_take_interrupts(void) {}
void arch_irq_mask(unsigned line)
{
    fake.unmasked &= ~(1u << line);
}
void arch_irq_unmask(unsigned line)
{
    fake.unmasked |= 1u << line;
}
uint64_t arch_port_in(uint16_t port, unsigned width)
{
    return port + width;
}
void arch_port_out(uint16_t port, unsigned width, uint64_t value)
{
    (void)port, (void)width, (void)value;
}
void arch_zero(void *p, uint64_t bytes)
{
    memset(p, 0, bytes);
}
uint64_t arch_random(void)
{
    return 4;
}
void arch_halt(unsigned status)
{
    (void)status;
    abort();
}
bool arch_vm_supported(void)
{
    return false;
}
bool arch_nested_supported(void)
{
    return false;
}
void arch_vcpu_init(struct vcpu *v)
{
    (void)v;
}
void arch_vcpu_paging(struct vcpu *v, bool nested)
{
    (void)v, (void)nested;
}
void arch_vcpu_run(struct vcpu *v)
{
    (void)v;
    abort();
}
void arch_vcpu_dump(const struct vcpu *v)
{
    (void)v;
}
void arch_vcpu_read(struct vcpu *v, uint32_t groups)
{
    (void)v, (void)groups;
}
int arch_vcpu_check(const struct vcpu *v, const struct umbra_reply_page *r)
{
    (void)v, (void)r;
    return 0;
}
void arch_vcpu_answer(struct vcpu *v, uint32_t groups)
{
    (void)v, (void)groups;
}
struct regs *arch_vcpu_go_on(struct vcpu *v, uint32_t groups)
{
    (void)v, (void)groups;
    abort();
}
void arch_vcpu_write(struct vcpu *v, const struct umbra_reply_page *r)
{
    (void)v, (void)r;
}
void log_char(char c)
{
    fputc(c, stderr);
}
