/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM's core with a guest, and what outlives it: segment, exit page, reply page and guest memory are shared
 * memory, as on the target; all else is made anew by the next VMM, whether the one before died in this
 * process or in a child. One guest a test. */
#ifndef TESTS_HOST_CORE_LASTING_H
#define TESTS_HOST_CORE_LASTING_H

#include "check.h"
#include "servers/vmm/core/vmm.h"

#define MEMORY_PAGES 32u
#define START_TSC    1000000ull
#define CODE         0x10000ull
#define STORE        CODE          /* mov [rdi], rax */
#define EXCHANGE     (CODE + 0x20) /* xchg [rdi], rax */
#define PT           0x4000ull     /* the page table that maps all of memory */

/* What outlives a VMM. */
struct lasting {
    struct vmm_segment segment;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    uint8_t memory[MEMORY_PAGES * PAGE_BYTES];
};

extern struct lasting *now_;                  /* what the VMM works on */
extern struct lasting *before, *after, *copy; /* room for what it was */
extern struct cpuid_host cpuid;               /* of the guests from the next incarnate() on */
extern struct vmm vmm;                        /* the present one .. */
extern struct vmm_setup setup;                /* .. and what it was made with */
extern bool nesting;                          /* set before begin(): the guests are on nested paging */

/* begin - a guest in long mode with 2 MB mapped 1:1 by one table, in ring 0 at CODE. */
void begin(void);

/* incarnate - another VMM in place of the present one, with what lasts; it has not looked at it yet. */
void incarnate(void);

/* another_continues - another VMM takes over at the pending exit; the test ends if it does not go on. */
void another_continues(void);

/* next_exit - an exit, some time after the last one; io_exit - of IN or OUT of one byte. */
void next_exit(enum exit_kind kind, uint64_t info0, uint64_t info1);
void io_exit(bool in, uint16_t port, uint32_t rax);

/* handle - the pending exit, from the beginning to its answer. */
void handle(void);

/* Guest memory, without the VMM's knowledge. */
void put64(uint64_t at, uint64_t value);
uint64_t get64(uint64_t at);

#endif
