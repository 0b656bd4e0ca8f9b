/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM's core with a guest in 64-bit mode at CPL 0, the first 2 MB mapped 1:1 by the 4 KiB entries of a
 * table at 4000h; a second root at 8000h is a copy of the first. The test plays the processor: it makes the
 * exits. */
#ifndef TESTS_HOST_CORE_RIG_H
#define TESTS_HOST_CORE_RIG_H

#include "check.h"
#include "servers/vmm/core/vmm.h"
#include "tests/host/support/gmem_host.h"

#define PAGES  64u
#define TABLES 32u
#define CODE   0x20000ull /* rip of the instruction */
#define DATA   0x30000ull

struct rig {
    struct gmem *mem;
    struct vmm vmm;
    struct vmm_segment segment;
    struct umbra_exit_page exit;
    struct umbra_reply_page reply;
    struct cpuid_host cpuid;
    cptr_t caps[TABLES];
    void *shadow;
};

struct rig *rig_new(void);
void rig_free(struct rig *r);

/* put - 8 bytes of guest memory. */
void put(struct rig *r, uint64_t gpa, uint64_t value);

/* set_exit - the next exit, by the instruction at CODE; what the kind needs besides is the caller's. */
void set_exit(struct rig *r, enum exit_kind kind);

/* handle - an exit from its beginning to the answer, whatever the end. */
enum vmm_end handle(struct vmm *v);

/* fetch_page - the processor fetches an instruction at rip: its page comes into the shadow tables. */
void fetch_page(struct rig *r, uint64_t rip);

#endif
