/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM with one guest space, one vCPU and a shadow table of each level, in memory small enough to compare
 * after each step. For tests that go through all inputs of what writes shadow entries. */
#ifndef TESTS_KERNEL_TABLES_H
#define TESTS_KERNEL_TABLES_H

#include "kernel/arch/pte.h"
#include "kernel/invoke.h"
#include "kernel/obj/shadow_ops.h"
#include "kernel/shadow.h"
#include "kernel/softtlb.h"
#undef CHECK
#include "check.h"

#define TABLES_BYTES (64 * PAGE_BYTES)
#define FRAMES_MAX   4096u /* frames that metadata is there for: 16 MB */
#define SMALL_GFN    0u    /* where the guest space has a page of 4 KiB, */
#define SMALL_FRAME  0x777000ul
#define LARGE_GFN    512u /* and 2 MB */
#define LARGE_FRAME  0x800000ul
#define NOWHERE      3000u /* a gfn that it has nothing at */

/* CPtrs. Shadow tables: their level; one more of level 1. */
enum { CPTR_SPARE = 5, CPTR_RANGE, CPTR_UNBOUND, CPTRS };

extern struct tcb caller;
struct vcpu *the_vcpu(void);
struct vm *the_vm(void);
struct guestspace *the_space(void);
uint64_t *shadow_entry(cptr_t table, unsigned index);
struct frame_meta *shadow_meta(cptr_t table);
/* The guest space's entry for SMALL_GFN, for LARGE_GFN and what follows. */
uint64_t *small_page(void);
uint64_t *large_page(void);

/* Everything as at the beginning: tables of the current epoch and the long format, empty, not linked. */
void tables_init(void);
/* One answer's operations. */
err_t apply(const uint64_t *ops, unsigned words);

#endif
