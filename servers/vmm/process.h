/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM process: what its files share. Only servers/vmm/{main,setup,console,ending}.c include this. */
#ifndef SERVERS_VMM_PROCESS_H
#define SERVERS_VMM_PROCESS_H

#include "lib/vmm_env/env.h"
#include "servers/vmm/boot/image.h"
#include "servers/vmm/core/vmm.h"
#include "servers/vmm/flushed.h"
#include "supervisor.h"

struct process {
    struct vmm_env env;
    struct vmm vmm;
    struct cpuid_host cpuid;
    cptr_t *tables;
    uint64_t armed;  /* deadline of CAP_CLOCK */
    uint64_t until;  /* the exit at whose delivery this incarnation is to die, 0 never */
    bool took;       /* the ring, of the serial port, when this exit was handled */
    bool held;       /* the serial port had no room for all input */
    bool console;    /* its rings are not as the state says, or output waits in them */
    bool attend;     /* something is to be done before an answer: */
    bool taken_over; /* the first one since a predecessor died */
    struct flushed flushed;
};

/* setup.c. The core over what init built; a guest's memory, and its kernel in it. What fails ends the
 * process. */
void open_guest(struct process *p, struct vmm_setup *s);
void take_first_memory(struct process *p); /* of a guest whose first VMM this is */
void load_guest(struct process *p, struct boot_plan *plan);
void protect_rom(const struct process *p);

/* console.c: the guest's console, rings that the console server reads and fills. `room`: so many entries may
 * wait. */
void console_output(struct process *p, uint64_t room);
void console_announce(struct process *p);
void console_input(struct process *p);
void console_taken(const struct process *p);
void console_withdraw(const struct process *p);
void console_end(struct process *p);

/* ending.c: the last words. */
_Noreturn void report(const struct process *p, end_reason_t reason, const char *text);
_Noreturn void finish(struct process *p, enum vmm_end end);
_Noreturn void refused(const struct process *p, err_t e, uint64_t word); /* the kernel refuses an answer */

static inline uint64_t host_tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}

#endif
