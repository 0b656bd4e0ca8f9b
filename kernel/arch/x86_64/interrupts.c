/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8259 pair for device lines, the local APIC for the timer, and the clocks. An interrupt is recorded in
 * cpu.pending and its line masked here; interrupt.c acts on it. */
#include "calibrate.h"
#include "cpu.h"
#include "log.h"
#include "stretch.h"
#include "x86.h"

#define LAPIC         ((volatile uint32_t *)(KERNEL_OFFSET + 511 * 0x200000ul))
#define LAPIC_EOI     (0xb0 / 4)
#define LAPIC_SVR     (0xf0 / 4)
#define LAPIC_TIMER   (0x320 / 4)
#define LAPIC_LINT0   (0x350 / 4)
#define LAPIC_INITIAL (0x380 / 4)
#define LAPIC_CURRENT (0x390 / 4)
#define LAPIC_DIVIDE  (0x3e0 / 4)
#define PIT_HZ        1193182ul
#define CALIBRATE_HZ  100ul

static uint16_t line_mask = 0xffff;
static uint64_t tsc_hz, lapic_per_tsc; /* the latter 32.32 fixed point */

static void write_mask(void)
{
    out8(0x21, line_mask & 0xff);
    out8(0xa1, line_mask >> 8);
}

void arch_irq_mask(unsigned line)
{
    line_mask |= 1u << line;
    write_mask();
}

void arch_irq_unmask(unsigned line)
{
    line_mask &= ~(1u << line) & ~4u; /* with the cascade */
    write_mask();
}

static void pic_init(void)
{
    static const uint8_t master[] = { 0x20, 4, 1 }, slave[] = { 0x28, 2, 1 };

    out8(0x20, 0x11);
    out8(0xa0, 0x11);
    for (unsigned i = 0; i < 3; i++) {
        out8(0x21, master[i]);
        out8(0xa1, slave[i]);
    }
    write_mask();
}

/* Line 7 and 15 may be spurious: then the in-service bit is not set. */
static bool line_is_real(unsigned line)
{
    if (line != 7 && line != 15)
        return true;
    uint16_t port = line < 8 ? 0x20 : 0xa0;
    out8(port, 0x0b);
    bool real = in8(port) & 0x80;
    if (!real && line == 15)
        out8(0x20, 0x20);
    return real;
}

static void line_interrupt(unsigned line)
{
    if (!line_is_real(line))
        return;
    arch_irq_mask(line);
    if (line >= 8)
        out8(0xa0, 0x20);
    out8(0x20, 0x20);
    cpu.pending_lines |= 1u << line;
}

void arch_interrupt(unsigned vector)
{
    if (vector >= VECTOR_LINES && vector < VECTOR_LINES + IRQ_LINES) {
        line_interrupt(vector - VECTOR_LINES);
    } else if (vector == VECTOR_TIMER) {
        cpu.pending_timer = true;
        stretch_timer();
        LAPIC[LAPIC_EOI] = 0;
    }
}

/* Count TSC and APIC timer over a hundredth of a second of the 8254's channel 2. */
static uint64_t measure(uint64_t *apic)
{
    unsigned count = PIT_HZ / CALIBRATE_HZ;

    out8(0x61, (in8(0x61) & ~2u) | 1);
    out8(0x43, 0xb0);
    out8(0x42, count & 0xff);
    out8(0x42, count >> 8);
    uint8_t gate = in8(0x61) & ~1u;
    out8(0x61, gate);
    LAPIC[LAPIC_INITIAL] = 0xffffffff;
    uint64_t start = rdtsc(); /* before the gate opens: else it could be too short */
    out8(0x61, gate | 1);
    while (!(in8(0x61) & 0x20) && rdtsc() - start < BIT(34))
        ;
    uint64_t tsc = rdtsc() - start;
    *apic = 0xffffffff - LAPIC[LAPIC_CURRENT];
    LAPIC[LAPIC_INITIAL] = 0;
    return tsc;
}

static void calibrate(void)
{
    struct calibration c = { 0 };
    uint64_t tsc, apic;

    do
        tsc = measure(&apic);
    while (!calibration_add(&c, tsc, apic));
    CHECK(c.tsc && c.apic && c.tsc < BIT(34));
    tsc_hz = c.tsc * CALIBRATE_HZ;
    lapic_per_tsc = (c.apic << 32) / c.tsc;
}

void interrupts_init(void)
{
    pic_init();
    wrmsr(MSR_APIC_BASE, 0xfee00000 | BIT(11) | (rdmsr(MSR_APIC_BASE) & BIT(8)));
    LAPIC[LAPIC_SVR] = BIT(8) | VECTOR_SPURIOUS;
    LAPIC[LAPIC_LINT0] = 0x700; /* ExtINT: the 8259 */
    LAPIC[LAPIC_DIVIDE] = 0xb;  /* by 1 */
    LAPIC[LAPIC_TIMER] = BIT(16) | VECTOR_TIMER;
    calibrate();
    LAPIC[LAPIC_TIMER] = VECTOR_TIMER; /* one-shot */
}

uint64_t arch_tsc_hz(void)
{
    return tsc_hz;
}

void arch_timer_set(uint64_t deadline)
{
    uint64_t now = rdtsc(), delta = deadline > now ? deadline - now : 1;

    if (delta > BIT(31))
        delta = BIT(31); /* fires too early: harmless */
    uint64_t count = (delta * lapic_per_tsc) >> 32;
    LAPIC[LAPIC_INITIAL] = count == 0 ? 1 : count > 0xffffffff ? 0xffffffff : (uint32_t)count;
}

void arch_idle(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}
void arch_take_interrupts(void)
{
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

uint64_t arch_port_in(uint16_t port, unsigned width)
{
    uint32_t v = 0;

    if (width == 1)
        __asm__ volatile("inb %w1, %b0" : "+a"(v) : "Nd"(port));
    else if (width == 2)
        __asm__ volatile("inw %w1, %w0" : "+a"(v) : "Nd"(port));
    else
        __asm__ volatile("inl %w1, %0" : "+a"(v) : "Nd"(port));
    return v;
}

void arch_port_out(uint16_t port, unsigned width, uint64_t value)
{
    if (width == 1)
        __asm__ volatile("outb %b0, %w1" : : "a"((uint32_t)value), "Nd"(port));
    else if (width == 2)
        __asm__ volatile("outw %w0, %w1" : : "a"((uint32_t)value), "Nd"(port));
    else
        __asm__ volatile("outl %0, %w1" : : "a"((uint32_t)value), "Nd"(port));
}

/* Not for secrets: the VMM's source of variation, mixed from the clock by a linear congruential generator. */
uint64_t arch_random(void)
{
    static uint64_t state;

    state = (state ^ rdtsc()) * 0xd1342543de82ef95 + 1;
    return state ^ state >> 32;
}
