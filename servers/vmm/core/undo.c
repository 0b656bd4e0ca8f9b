/* SPDX-License-Identifier: BSD-2-Clause */
/* See undo.h. All stores to the segment go in program order: the processor keeps it for the next incarnation,
 * and written() keeps the compiler to it. */
#include "servers/vmm/core/undo.h"

/* Odd constants, so that multiplying loses nothing (chosen: from SplitMix64). */
#define MIX_SEQ   0x9e3779b97f4a7c15ull
#define MIX_PLACE 0xbf58476d1ce4e5b9ull
#define MIX_VALUE 0x94d049bb133111ebull

static inline void written(void)
{
    __asm__ volatile("" ::: "memory");
}

static uint64_t weight(uint32_t index)
{
    return (2 * (uint64_t)index + 1) * MIX_PLACE;
}

static uint64_t check_of_word(uint64_t seq, uint32_t k, const struct undo_word *w)
{
    return seq * MIX_SEQ ^ (w->index << 32 | k) * MIX_PLACE ^ w->old * MIX_VALUE;
}

static uint64_t check_of_write(uint64_t seq, uint32_t k, const struct undo_write *w)
{
    return seq * MIX_SEQ ^ (w->gpa << 16 ^ w->bytes << 12 ^ k) * MIX_PLACE ^ w->old * MIX_VALUE ^
           (w->new + 1) * MIX_SEQ * 3;
}

static uint64_t check_of_sum(const struct undo_sum *s)
{
    return s->seq * MIX_SEQ ^ s->sum * MIX_VALUE ^ MIX_PLACE;
}

static uint64_t sum_of(const struct undo *u)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < u->state_words; i++)
        sum += weight(i) * u->state[i];
    return sum;
}

/* Over the older one: the other counts until this exit is answered. */
static void put_sum(struct undo *u, uint64_t seq, uint64_t sum)
{
    struct undo_sum *s = &u->sums[u->last];

    if (s->seq != seq) {
        u->last ^= 1;
        s = &u->sums[u->last];
    }
    s->seq = seq;
    s->sum = sum;
    s->check = check_of_sum(s);
    written();
}

/* --- a new incarnation --- */

static uint32_t roll_back_words(struct undo *u, uint64_t seq)
{
    uint32_t k = 0;

    for (; k < u->state_words; k++) {
        const struct undo_word *w = &u->word[k];
        if (w->check != check_of_word(seq, k, w) || w->index >= u->state_words)
            break;
        u->state[w->index] = w->old;
    }
    return k;
}

static int read_guest(const struct gmem *m, const struct undo_write *w, uint64_t *value)
{
    *value = 0;
    return gmem_read_bytes(m, (gpa_t){ w->gpa }, value, w->bytes);
}

/* One store where an aligned one is possible: a table's entry is never seen half. */
static void restore_guest(const struct gmem *m, const struct undo_write *w)
{
    if (w->bytes == 8)
        gmem_write64(m, (gpa_t){ w->gpa }, w->old);
    else if (w->bytes == 4)
        gmem_write32(m, (gpa_t){ w->gpa }, (uint32_t)w->old);
    else
        gmem_write_bytes(m, (gpa_t){ w->gpa }, &w->old, w->bytes);
}

static uint32_t roll_back_guest(struct undo *u, const struct gmem *mem, uint64_t seq)
{
    uint32_t n = 0;
    uint64_t now;

    while (n < UNDO_WRITES && u->write[n].check == check_of_write(seq, n, &u->write[n]) &&
           u->write[n].bytes <= 8)
        n++;
    for (uint32_t k = n; k-- > 0;)
        if (read_guest(mem, &u->write[k], &now) == GMEM_OK && now == u->write[k].new)
            restore_guest(mem, &u->write[k]);
    written();
    for (uint32_t k = n; k-- > 0; written()) /* else they would count behind those of this incarnation */
        u->write[k].check = ~u->write[k].check;
    return n;
}

/* The sum of an exit before seq. */
static bool sum_counts(const struct undo_sum *s, uint64_t seq)
{
    return s->check == check_of_sum(s) && s->seq < seq;
}

enum undo_result undo_recover(struct undo *u, const struct gmem *mem, uint64_t seq)
{
    uint32_t n = roll_back_words(u, seq) + roll_back_guest(u, mem, seq);
    const struct undo_sum *s = u->sums;

    u->last = sum_counts(&s[1], seq) && (!sum_counts(&s[0], seq) || s[1].seq > s[0].seq);
    u->sum = sum_of(u);
    if (!sum_counts(&s[u->last], seq) || s[u->last].sum != u->sum)
        return UNDO_CORRUPT;
    return n ? UNDO_ROLLED_BACK : UNDO_CLEAN;
}

void undo_reset(struct undo *u, uint64_t seq)
{
    /* what is there is of another guest: its numbers mean nothing here */
    u->sums[0] = u->sums[1] = (struct undo_sum){ 0 };
    __builtin_memset(u->word, 0, u->state_words * sizeof(*u->word));
    __builtin_memset(u->write, 0, UNDO_WRITES * sizeof(*u->write));
    u->sum = sum_of(u);
    put_sum(u, seq, u->sum);
}

/* --- an exit --- */

static void note_word(struct undo *u, uint32_t i)
{
    if (u->noted[i] == u->seq)
        return;
    u->noted[i] = u->seq;
    struct undo_word *w = &u->word[u->words];
    w->index = i;
    w->old = u->state[i];
    written();
    w->check = check_of_word(u->seq, u->words++, w);
    written();
}

void undo_note(struct dev_undo *dev, void *field, size_t bytes)
{
    struct undo *u = (struct undo *)dev;
    uint64_t from = (uint64_t)((uint8_t *)field - (uint8_t *)u->state), limit = (uint64_t)u->state_words * 8;

    if (from >= limit || bytes - 1 >= limit - from)
        return;
    uint64_t i = from / 8, last = (from + bytes - 1) / 8;
    note_word(u, (uint32_t)i);
    while (__builtin_expect(i != last, false))
        note_word(u, (uint32_t)++i);
}

bool undo_guest(struct undo *u, gpa_t gpa, uint64_t old, uint64_t new, unsigned bytes)
{
    struct undo_write *w = &u->write[u->writes];

    if (u->writes == UNDO_WRITES)
        return false;
    if (UMBRA_DEBUG)
        dev_touch(&u->dev, w, 0); /* nothing of the state: for who counts stores (servers/vmm/inject.c) */
    w->gpa = gpa.v;
    w->old = old;
    w->new = new;
    w->bytes = bytes;
    written();
    w->check = check_of_write(u->seq, u->writes++, w);
    written();
    return true;
}

void undo_put_sum(struct undo *u)
{
    for (uint32_t k = 0; k < u->words; k++)
        u->sum += weight((uint32_t)u->word[k].index) * (u->state[u->word[k].index] - u->word[k].old);
    put_sum(u, u->seq, u->sum);
}
