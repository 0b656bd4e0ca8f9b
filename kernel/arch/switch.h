/* SPDX-License-Identifier: BSD-2-Clause */
/* What a switch between two threads needs of a processor: the short paths want it inline. */
#ifndef KERNEL_SWITCH_H
#define KERNEL_SWITCH_H

#include "arch/arch.h"

#if UMBRA_HOST
uint64_t arch_now(void);
void arch_thread_leave(struct tcb *t);       /* save what only it may have changed: FS and GS base */
void arch_thread_enter(const struct tcb *t); /* its entry stack, address space, FPU trap, FS and GS base */
void arch_thread_switch(struct tcb *from, const struct tcb *to); /* leave, enter */
void arch_load_space(hpa_t root);                                /* CR3 */
#else
#include "arch/x86_64/switch.h"
#endif

#endif
