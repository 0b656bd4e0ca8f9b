/* SPDX-License-Identifier: BSD-2-Clause */
/* How far a message reaches into IPC buffers. Proved by WP (docs/assurance.md, kernel.message-bounds). */
#ifndef KERNEL_MESSAGE_H
#define KERNEL_MESSAGE_H

#include <umbra/syscall.h>

/* The tag claims no more than a message can have. */
/*@ assigns \nothing;
    ensures bounds: \result <==> TAG_WORDS(tag) <= MSG_WORDS_MAX && TAG_NCAPS(tag) <= MSG_CAPS_MAX; */
static inline bool tag_fits(uint64_t tag)
{
    return TAG_WORDS(tag) <= MSG_WORDS_MAX && TAG_NCAPS(tag) <= MSG_CAPS_MAX;
}

/* The words that are not in registers; from is shared memory: each is read once. */
/*@ requires words <= MSG_WORDS_MAX && \valid(to) && \valid_read(from);
    assigns to->words[MSG_REGISTERS .. words - 1]; */
static inline void copy_buffer_words(struct umbra_ipc_buffer *to, const struct umbra_ipc_buffer *from,
                                     unsigned words)
{
    const volatile uint64_t *there = from->words;
    uint64_t *here = to->words;

    /*@ loop invariant MSG_REGISTERS <= i <= MSG_WORDS_MAX;
        loop assigns i, to->words[MSG_REGISTERS .. words - 1];
        loop variant words - i; */
    for (unsigned i = MSG_REGISTERS; i < words; i++)
        here[i] = there[i];
}

#endif
