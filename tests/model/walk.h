/* SPDX-License-Identifier: BSD-2-Clause */
/* The reference page walk, written from the manual (AMD APM vol. 2, chapter 5) and from nothing else.
 *
 * One plain function: (guest memory, control registers, access) to a translation or a fault. It changes
 * nothing, knows no shadow tables and shares no code with them; slow and obvious on purpose. */
#ifndef TESTS_MODEL_WALK_H
#define TESTS_MODEL_WALK_H

#include <stdbool.h>
#include <stdint.h>

struct model_cpu {
    uint64_t cr0, cr3, cr4, efer; /* EFER.LMA decides long mode */
    uint64_t pdpte[4];            /* PAE: as latched at the last load */
    unsigned phys_bits;           /* MAXPHYADDR */
    bool amd_reserves_g;          /* G in non-leaf PML4 and PDP entries is reserved */
    /* The table entry of bytes (4 or 8) at gpa; a hole reads as ones. */
    uint64_t (*read)(void *context, uint64_t gpa, unsigned bytes);
    void *context;
};

struct model_access {
    uint64_t va;
    bool write, exec, user;
    bool implicit; /* supervisor access of the processor itself: SMAP ignores AC */
    bool ac;
};

enum model_outcome { MODEL_OK, MODEL_PAGE_FAULT, MODEL_NOT_CANONICAL };

#define MODEL_LEVELS 4
struct model_walk {
    enum model_outcome outcome;
    unsigned error;   /* page fault */
    uint64_t gpa;     /* of the byte */
    uint64_t bytes;   /* size of the page; 0: no paging */
    bool user, write; /* what all entries together allow, CR0.WP aside */
    bool exec;
    bool accessed, dirty; /* A set in all entries, D in the last */
    unsigned levels;      /* entries read */
    uint64_t entry_gpa[MODEL_LEVELS], entry[MODEL_LEVELS];
    unsigned entry_bytes;
};

enum { MODEL_A = 0x20, MODEL_D = 0x40 };

/* model_walk - the whole translation of one access. */
struct model_walk model_walk(const struct model_cpu *cpu, const struct model_access *access);

/* The walk in steps, for models of what a processor may cache on the way. model_start gives the level of the
 * first table and its address, or level 0: no tables (w is finished). model_step reads one entry; permission
 * is not judged. model_allowed: may the access use a page with these combined rights (5.6)? */
enum model_step { MODEL_NEXT, MODEL_PAGE, MODEL_FAULT };
unsigned model_start(const struct model_cpu *cpu, const struct model_access *a, struct model_walk *w,
                     uint64_t *table);
enum model_step model_step(struct model_walk *w, const struct model_cpu *cpu, const struct model_access *a,
                           unsigned level, uint64_t *table);
bool model_allowed(const struct model_cpu *cpu, const struct model_access *a, const struct model_walk *w);

/* model_pdptes_ok - whether a load of these PDPT entries is accepted (5.3.4), else #GP. */
bool model_pdptes_ok(const struct model_cpu *cpu, const uint64_t pdpte[4]);

#endif
