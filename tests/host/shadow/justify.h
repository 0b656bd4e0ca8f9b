/* SPDX-License-Identifier: BSD-2-Clause */
/* What an architecture's TLB may hold: for each address of a small universe, the set of all partial and
 * complete walks that the guest's tables have allowed at some time since the guest's last flush of it.
 *
 * A shadow walk is justified if each access that it admits is admitted by a member of this set with the same
 * frame. Built on the reference walk only. */
#ifndef TESTS_HOST_SHADOW_JUSTIFY_H
#define TESTS_HOST_SHADOW_JUSTIFY_H

#include <tests/model/walk.h>

#define JUSTIFY_VAS 64u
#define JUSTIFY_SET 48u

struct justify_walk {
    uint64_t at;    /* table's gpa, or page's gpa */
    uint64_t bytes; /* of the page; 0: a table */
    bool user, write, exec, dirty;
};

struct justify_va {
    uint64_t va;
    struct justify_walk part[5][JUSTIFY_SET]; /* by level of the table; 0: complete */
    unsigned count[5];
};

struct justify {
    const struct model_cpu *cpu;
    unsigned vas;
    struct justify_va va[JUSTIFY_VAS];
    bool (*fixed)(void *context, uint64_t gpa); /* memory that ignores writes: A and D count as set */
    void *context;
    bool full; /* a set ran over: the guest must flush before the sets mean anything again */
};

/* Every kind of access, as a bit. */
enum {
    CAN_USER_READ = 1,
    CAN_USER_WRITE = 2,
    CAN_USER_EXEC = 4,
    CAN_READ = 8,
    CAN_READ_AC = 16,
    CAN_WRITE = 32,
    CAN_WRITE_AC = 64,
    CAN_EXEC = 128,
    CAN_KINDS = 8
};
struct model_access justify_kind(unsigned kind, uint64_t va); /* kind 0..CAN_KINDS-1 */

void justify_init(struct justify *j, const struct model_cpu *cpu);
void justify_add(struct justify *j, uint64_t va);
/* justify_note - memory or mode changed: whatever can be walked now joins the sets. */
void justify_note(struct justify *j);
void justify_flush(struct justify *j);                                    /* everything */
void justify_flush_page(struct justify *j, uint64_t va);                  /* INVLPG */
unsigned justify_mask(const struct justify *j, unsigned i, uint64_t gfn); /* CAN_* admitted */

#endif
