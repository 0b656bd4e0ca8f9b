/* SPDX-License-Identifier: BSD-2-Clause */
/* The undo record: handling an exit is a transaction (I8).
 *
 * The record lies in the state segment, behind the state that it protects. Before the first change of a word
 * of that state, and before a write to guest memory, what stood there is written down with the number of the
 * exit. Answering the exit commits: the next one has another number. A new VMM that receives the same exit
 * rolls back what its predecessor had begun.
 *
 * Invariants (tests/host/core/test_restart.c stops in between): an entry counts only when it is whole, as
 * its check word says; a change is made only after its entry is whole; each word is written down once an
 * exit, so the record is never full. A weighted sum over the state, kept up to date by differences, tells a
 * state that somebody else wrote to; an exit that changes nothing leaves it as it is. Not thread-safe, no
 * globals, no system calls. */
#ifndef VMM_CORE_UNDO_H
#define VMM_CORE_UNDO_H

#include "servers/vmm/dev/dev.h"
#include "servers/vmm/gmem/gmem.h"

#define UNDO_WRITES 512 /* chosen: 64 iterations of a string instruction, each over two pages, need 256 */

struct undo_word {
    uint64_t index, old, check;
};

struct undo_write {
    uint64_t gpa, old, new, bytes, check;
};

/* The state's sum after the exit of this number. */
struct undo_sum {
    uint64_t seq, sum, check;
};

#define UNDO_RECORD(words)                                                                                   \
    struct {                                                                                                 \
        struct undo_sum sum[2]; /* the last committed one, and the one before or in the making */            \
        struct undo_write write[UNDO_WRITES];                                                                \
        struct undo_word word[words];                                                                        \
    }

/* Soft: of this incarnation. */
struct undo {
    struct dev_undo dev; /* first: what device models announce their changes to */
    uint64_t *state;
    uint32_t state_words;
    uint32_t last; /* in sums[]: of the last exit that changed the state */
    struct {
        uint32_t words, writes;
    } __attribute__((aligned(8))); /* entries of this exit */
    uint64_t seq;
    uint64_t sum; /* of the state before this exit */
    struct undo_sum *sums;
    struct undo_write *write;
    struct undo_word *word;
    uint64_t *noted; /* the exit in which each word was written down last */
};

enum undo_result {
    UNDO_CLEAN,       /* nothing was begun */
    UNDO_ROLLED_BACK, /* the predecessor had begun on this exit */
    UNDO_CORRUPT,     /* the state is not what any VMM left: the guest must not go on */
};

/* undo_recover - before exit seq is handled for the first time by this incarnation: roll back, verify. Guest
 * memory is restored only where the new value still stands. May itself be stopped anywhere and run again. */
enum undo_result undo_recover(struct undo *u, const struct gmem *mem, uint64_t seq);
/* undo_reset - the state is new: it is what exit seq left. */
void undo_reset(struct undo *u, uint64_t seq);
static inline void undo_begin(struct undo *u, uint64_t seq)
{
    u->seq = seq;
    u->words = u->writes = 0;
}
/* undo_note - [field, field + bytes) of the state is about to change. What lies outside is ignored. */
void undo_note(struct dev_undo *dev, void *field, size_t bytes);
/* undo_guest - guest memory is about to change; bytes 1..8, old and new as little-endian numbers. False: no
 * room, do not write. */
bool undo_guest(struct undo *u, gpa_t gpa, uint64_t old, uint64_t new, unsigned bytes);
/* undo_commit - the last change of this exit is made; answer it next. */
void undo_put_sum(struct undo *u);
static inline void undo_commit(struct undo *u)
{
    if (u->words)
        undo_put_sum(u);
}

#endif
