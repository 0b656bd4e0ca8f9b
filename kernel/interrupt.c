/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts that were recorded (cpu.pending_*) are handled here, on the way out of the kernel. A line is
 * masked by then, until its handler acknowledges it. */
#include "cpu.h"
#include "ipc.h"

static void line_interrupt(unsigned line)
{
    struct cap *c = &cpu.irq[line];

    if (c->type == OBJ_NOTIFICATION)
        notification_signal(cap_object(c), c->d0 ? c->d0 : 1);
}

void interrupts_handle(void)
{
    if (cpu.pending_timer) {
        cpu.pending_timer = false;
        COUNT(INTERRUPTS);
        cpu.timer_armed = 0;
        cpu.reschedule = true;
        deadline_expire(arch_now());
    }
    while (cpu.pending_lines) {
        unsigned line = __builtin_ctz(cpu.pending_lines);
        cpu.pending_lines &= cpu.pending_lines - 1;
        COUNT(INTERRUPTS);
        line_interrupt(line);
    }
}
