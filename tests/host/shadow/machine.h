/* SPDX-License-Identifier: BSD-2-Clause */
/* A simulated kernel and processor for the shadow MMU: applies reply operations to hardware tables with the
 * kernel's checks (I1, I2, link counts, epochs), holds a TLB that is a SET of partial and complete walks, and
 * performs accesses as the hardware does.
 *
 * The TLB loses a root's walks only when the kernel promises a flush: before a root runs after a downgrade,
 * at OP_FLUSH, and when the epoch changes. Knows nothing of the shadow library but the operations it emits.
 */
#ifndef TESTS_HOST_SHADOW_MACHINE_H
#define TESTS_HOST_SHADOW_MACHINE_H

#include <servers/vmm/gmem/gmem.h>
#include <umbra/vcpu.h>

#define MACHINE_SLOTS    4u
#define MACHINE_LIST     16u
#define MACHINE_TLB      2048u
#define MACHINE_CPTR     100u /* capability of table 0 */
#define MACHINE_NO_TABLE ~0u

struct hw_entry {
    bool present, link;
    uint8_t rights;  /* after the intersection with the GuestSpace's */
    uint64_t target; /* gfn, or table */
};

struct hw_table {
    bool set_up, ever_used;
    uint32_t format, level, links, epoch;
    struct hw_entry entry[512];
};

/* A walk that ended in a leaf (level 0) or stopped at a table of the level. */
struct hw_cached {
    uint32_t root, level;
    uint64_t va; /* page, or the part of va above the level */
    uint64_t target;
    uint8_t rights;
};

struct machine {
    struct gmem *mem;
    const struct gmem_map *map;
    const uint8_t *read_only; /* a byte a gfn: the GuestSpace gives it without W; NULL: none */
    uint32_t tables;
    struct hw_table *table;
    uint32_t format;              /* of the guest's present mode: SHADOW_* */
    uint32_t root[MACHINE_SLOTS]; /* MACHINE_NO_TABLE: none */
    struct {
        uint32_t table;
        uint64_t cr3;
    } list[MACHINE_LIST];
    uint32_t epoch;
    uint64_t downgrades, *flushed_at; /* by root; the last is the one of all PAE roots */
    struct hw_cached tlb[MACHINE_TLB];
    uint32_t tlb_count;
    bool smep, smap; /* as the guest's CR4 and mode have them */
    uint64_t ops_done, flushes;
    char refusal[160]; /* why the last operation was refused */
};

struct machine *machine_new(struct gmem *mem, const struct gmem_map *map, uint32_t tables);
void machine_free(struct machine *m);

/* machine_apply - executes the words. False: refused, m->refusal says why; the rest is not executed. */
bool machine_apply(struct machine *m, const uint64_t *word, uint32_t count);

/* machine_new_epoch - something was taken from the GuestSpace: all tables are stale, no root is left. */
void machine_new_epoch(struct machine *m);

/* machine_list_switch - a CR3 load as the kernel serves it. False: not on the list. */
bool machine_list_switch(struct machine *m, uint64_t cr3);

struct hw_access {
    uint64_t va;
    bool write, exec, user, implicit, ac;
};

enum hw_outcome { HW_OK, HW_FAULT, HW_NO_ROOT };

struct hw_result {
    enum hw_outcome outcome;
    uint32_t error; /* of the fault */
    uint64_t gfn;
    uint8_t rights;
};

/* machine_walk - a walk through the tables as they are now, for any access: HW_FAULT means not present. */
struct hw_result machine_walk(struct machine *m, uint64_t va);

/* machine_allows - whether combined rights admit the access on hardware: CR0.WP = 1, NXE = 1. */
bool machine_allows(const struct machine *m, const struct hw_access *a, uint8_t rights);

/* machine_access - one access; choice picks among the cached walks that fit and the walk itself. */
struct hw_result machine_access(struct machine *m, const struct hw_access *a, uint32_t choice);

/* machine_extend - the processor walks va on its own and caches the walk and its parts. */
void machine_extend(struct machine *m, uint64_t va);

/* machine_enter - before the guest runs: the flushes that the kernel owes. */
void machine_enter(struct machine *m);

#endif
