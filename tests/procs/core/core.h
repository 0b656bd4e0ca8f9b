/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM's core without servers: a root task that is memory manager and VMM of one guest at once. For
 * bring-up, and for benchmarks of the core alone; the sources that use it name servers/vmm in their USES
 * lines. */
#ifndef TEST_CORE_H
#define TEST_CORE_H

#include "servers/vmm/boot/bzimage.h"
#include "servers/vmm/boot/flat.h"
#include "servers/vmm/core/vmm.h"
#include "tests/procs/support/harness.h"

#define CORE_MEMORY_BITS 27
#define CORE_MEMORY      (1ul << CORE_MEMORY_BITS)

extern struct vmm vmm;
extern struct vmm_segment vmm_segment;
extern cptr_t core_vcpu;

void need(err_t e, const char *what); /* or leave */
/* All objects, memory 1:1, window, pages; vmm is ready. */
void core_make(void);
const uint8_t *core_module(unsigned i, uint64_t *bytes);
extern const struct boot_memory core_memory;
/* Start the guest and answer its exits until it ends. each: called after every exit, or NULL. */
enum vmm_end core_run(const struct boot_plan *plan, void (*each)(void));

#endif
