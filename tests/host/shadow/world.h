/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest on the simulated machine, its page faults handled by the shadow MMU, every step held against the
 * reference: results of accesses against tests/model, the hardware tables and TLB against what is justified,
 * the library's state against the machine's. A difference ends the test with the seed and the last steps. */
#ifndef TESTS_HOST_SHADOW_WORLD_H
#define TESTS_HOST_SHADOW_WORLD_H

#include "justify.h"
#include "machine.h"

#include <servers/vmm/shadow/shadow.h>

#define WORLD_RAM    48u /* the usual size: gfns 0..47 */
#define WORLD_TABLES 12u /* gfns 1..12 are used as tables */
#define WORLD_HOLES  4u

struct world {
    struct gmem *mem;
    struct gmem_map map;
    struct machine *m;
    struct shadow *s;
    void *memory;
    cptr_t caps[256];
    struct model_cpu cpu;
    struct justify j;
    bool changed;       /* guest memory since the last justify_note */
    uint64_t recent[8]; /* addresses that faulted last */
    uint32_t recent_next;
    uint64_t words[REPLY_OPS_MAX];
    struct shadow_ops ops;
    uint32_t ops_max;
    uint64_t exits;
    uint64_t untold;            /* loads of CR3 that the kernel served since the last exit */
    uint64_t rom, end;          /* RAM below rom, two frames of ROM, MMIO from end on */
    uint8_t *read_only;         /* frames that the GuestSpace gives without W */
    uint64_t hole[WORLD_HOLES]; /* 0: none */
    uint64_t random;
    uint32_t log_next;
    char log[24][160];
};

struct world *world_new(uint32_t tables, const struct shadow_tuning *tuning, uint64_t seed, uint64_t ram);
void world_set_readonly(struct world *w, uint64_t gfn);
void world_free(struct world *w);
uint64_t world_random(struct world *w);
bool world_percent(struct world *w, uint32_t percent);
void world_log(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Control bits of the usual modes. */
#define CR0_PAGED (BIT(31) | BIT(16) | BIT(0))
#define CR0_WP_   BIT(16)
#define CR4_PSE_  BIT(4)
#define CR4_PAE_  BIT(5)
#define CR4_PGE_  BIT(7)
#define CR4_SMEP_ BIT(20)
#define CR4_SMAP_ BIT(21)
#define EFER_LONG (BIT(8) | BIT(10))
#define EFER_NXE_ BIT(11)
struct shadow_control world_long(uint64_t cr3);
struct shadow_control world_pae(uint64_t cr3);
struct shadow_control world_32(uint64_t cr3);

/* What the guest does. Each applies the operations, then verifies everything. */
void world_load(struct world *w, struct shadow_control c);
void world_cr3(struct world *w, uint64_t cr3);
void world_mode(struct world *w, uint64_t cr0, uint64_t cr4, uint64_t efer);
void world_invlpg(struct world *w, uint64_t va);
void world_dma(struct world *w, uint64_t gpa, uint32_t len, uint64_t value);
void world_new_epoch(struct world *w);
/* A frame of RAM becomes a hole (its memory was taken away: a new epoch), or a hole becomes RAM. Not more
 * than WORLD_HOLES at once. */
void world_hole(struct world *w, uint64_t gfn);
/* Memory before the guest runs, or from nowhere: nobody is told. */
void world_poke(struct world *w, uint64_t gpa, uint64_t value);
uint64_t world_peek(struct world *w, uint64_t gpa);

enum world_outcome { ACCESS_OK, ACCESS_FAULT, ACCESS_MMIO, ACCESS_ABSENT };
struct world_access {
    uint64_t va;
    bool write, exec, user, ac, implicit, delivering;
    bool not_emulated; /* the emulator will give up on it */
    uint32_t len;      /* of a write; 0: 8 */
    uint64_t value;
};
struct world_result {
    enum world_outcome outcome;
    uint32_t error;
    uint64_t gpa;
    uint32_t exits;
    bool emulated;
};
struct world_result world_access(struct world *w, struct world_access a);

/* world_verify - hardware tables and TLB justified; world_audit - also the library's own audit, and its words
 * against the machine's entries. */
void world_verify(struct world *w);
void world_audit(struct world *w);

#endif
