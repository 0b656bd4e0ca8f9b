/* SPDX-License-Identifier: BSD-2-Clause */
/* Capabilities, the slots they lie in, and the derivation tree.
 *
 * Invariants (tests/host/kernel/test_cap.c walks the tree after random operations):
 *  - every capability but those made at boot has a parent; rights only shrink from parent to child;
 *  - exactly one capability of an object is the original (CAP_ORIGINAL); all others descend from it. Deleting
 * a capability deletes its descendants first, so an object lives exactly as long as its original: no counts;
 *  - slot 0 of a CNode is the kernel's: a dying CNode's original waits there until the CNode is empty.
 * What an object does when it dies is in kernel/obj. */
#ifndef KERNEL_CAP_H
#define KERNEL_CAP_H

#include <umbra/object.h>

enum {
    CAP_ORIGINAL = 1,   /* deleting it ends the object */
    CAP_DEVICE = 2,     /* Untyped, Frame: device memory */
    CAP_BADGED = 4,     /* d0 is a badge that was minted; it cannot be minted again */
    CAP_ZOMBIE = 8,     /* the original of a CNode that is being emptied */
    CAP_LARGE = 16,     /* Frame: 2 MB */
    CAP_CONDEMNED = 32, /* Untyped: a CNode made of it is being emptied and not its child any more */
};

struct cap {
    uint8_t type;   /* enum object_type */
    uint8_t rights; /* RIGHT_* */
    uint8_t flags;  /* CAP_* */
    uint8_t bits;   /* size of the object, log2; CNode: log2 of slots */
    uint8_t depth;  /* ancestors */
    uint8_t holder; /* type of the object that this slot is part of; 0: a CNode's slot */
    uint8_t kind;   /* View: enum view_kind; PageTable: level */
    uint8_t pad;
    uint64_t obj; /* hpa of the object; IOPort: first port; IRQ: line; zombie: previous of its list */
    uint64_t d0;  /* badge | mapped address | Untyped: bytes used | IOPort: last port | zombie: cursor */
    uint64_t d1;  /* id of the space it is mapped in, 0 none | Untyped: bytes known to be zero | zombie: next
                     of its list */
    struct cap *parent, *child, *next, *prev; /* first child; siblings, not circular */
};
BUILD_ASSERT(sizeof(struct cap) == 1 << BITS_SLOT);

enum view_kind { VIEW_WINDOW, VIEW_EXIT, VIEW_REPLY, VIEW_PUBLIC };

/* Internal result of long operations: run the system call again; the progress is kept. */
#define PREEMPTED ((err_t)-1)

/* cap_insert - a new capability as a child of parent (NULL: none). dest must be empty; its tree links are
 * set. */
void cap_insert(struct cap *dest, struct cap *parent);
/* The same for n in a row. */
void cap_insert_row(struct cap *first, unsigned n, struct cap *parent);
/* cap_derive - make in dest a child of src with rights narrowed, as cap_derive_check (obj/derive.h) allows
 * it. badge 0: none. */
void cap_derive(struct cap *dest, struct cap *src, uint8_t rights, uint64_t badge);
/* cap_move - dest, empty, takes the place of src, which has no children, in the tree; src is empty then. */
void cap_move(struct cap *dest, struct cap *src);
/* cap_revoke, cap_delete - take away all descendants (and the capability). OK or PREEMPTED. */
err_t cap_revoke(struct cap *slot);
err_t cap_delete(struct cap *slot);
/* Around them: the list of the thread that calls. At the end a little is done for threads that ended
 * themselves. */
void cap_work_begin(struct cap *own);
void cap_work_end(err_t e);
/* The thread that ends another finishes what that one began. */
void cap_work_inherit(struct cap *from);
/* cap_clear - unlink a childless internal slot without telling its holder. */
void cap_clear(struct cap *slot);

/* For kernel/obj: what a type does when a childless capability goes; OK, or PREEMPTED when there is more to
 * do. */
err_t object_finalise(struct cap *cap);
/* The slot is part of an object (holder): that object loses what the slot named. */
void holder_lost(struct cap *slot);

/* Debug builds: the capability behind c when all are visited, parents before children; c NULL: the first.
 * NULL after the last. And how often anything of that order changed. */
#if UMBRA_DEBUG
const struct cap *cap_next_of(const struct cap *c);
extern uint64_t cap_changes;
#endif

void cap_dump(const struct cap *cap);
const char *object_name(unsigned type);

#endif
