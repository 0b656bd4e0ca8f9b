/* SPDX-License-Identifier: BSD-2-Clause */
/* An answer's operations on shadow tables, while they are done: on tables (shadow.c) and on roots (root.c).
 * Only these two include this. */
#ifndef KERNEL_OBJ_SHADOW_OPS_H
#define KERNEL_OBJ_SHADOW_OPS_H

#include "objects.h"

struct table {
    struct frame_meta *meta;
    uint64_t *entries;
    hpa_t hpa;
    unsigned level, format;
};

struct batch {
    struct vcpu *v;
    struct vm *vm;
    struct tcb *t;
    unsigned work; /* entries written since the last look at interrupts */
    bool downgraded;
    cptr_t known_p; /* the capability whose table is known; 0: none. No operation changes a capability. */
    struct table known;
};

static inline unsigned top_level(unsigned format)
{
    return format == SHADOW_PAE ? 2 : 4;
}

/* The table, if it is the VM's and of the current epoch. */
err_t current_table(struct batch *b, cptr_t p, struct table *out);
err_t op_set_root(struct batch *b, unsigned index, cptr_t p);
err_t op_root_list(struct batch *b, unsigned index, cptr_t p, uint64_t cr3);

#endif
