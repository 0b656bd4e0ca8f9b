/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the shadow MMU: its state, and which file does what.
 *
 * One metadata word stands for each hardware entry (what it was given and its place in a reverse map); it is
 * valid only where the table's `filled` bit is set, so that tables and frames need no clearing. References
 * between objects are small indices, chains are singly linked and bounded (WRITERS_MAX, PARENTS_MAX). */
#ifndef SHADOW_INTERNAL_H
#define SHADOW_INTERNAL_H

#include "pte.h"
#include "shadow.h"

#include <umbra/object.h> /* GUEST_FRAMES_MAX */

#define ENTRIES       512u
#define MASK_WORDS    8u
#define NO_TABLE      0xffffu
#define TOPS          4u   /* PAE: four tables stand for one root */
#define UNSYNC_MAX    32u  /* guest tables out of sync at a time; chosen: a CLEAR each fits a batch */
#define WRITERS_MAX   32u  /* entries that may write one frame; chosen: their downgrades fit a batch */
#define PARENTS_MAX   128u /* links to one table; chosen: more than cached roots of an ordinary guest */
#define ROLES_MAX     24u  /* shadows of one guest frame */
#define LIST_SLOTS    16u  /* the kernel's root list (OP_ROOT_LIST) */
#define RESERVE       1u   /* tables that fills leave free, so that a CR3 load finds one */
#define CHAIN_MAX     4u   /* tables that one fill can need */
#define ORPHANS_BATCH 64u  /* tables without parents that one call ends */

/* A place in a hardware table: table index and entry, plus 1; 0 is the end of a chain. */
typedef uint32_t ref_t;
#define REF(t, i)    ((ref_t)((t) << 9 | (i)) + 1)
#define REF_TABLE(r) (((r)-1) >> 9)
#define REF_INDEX(r) (((r)-1) & 511)

/* Metadata of one entry, laid out so that it can be compared with a guest's entry: rights as given to the
 * kernel (SH_READ, SH_WRITE, SH_USER 0..2, SH_DIRTY 4, not SH_EXEC 63), MAY_WRITE 6, LINK 7, CHAINED 8, gfn
 * or child 12..38, next 40..62. MAY_WRITE: the guest lets this leaf be written, W is withheld only while the
 * frame holds a synced table; then it is WITHHELD 39, an address bit that no leaf of memory has, so that it
 * compares unequal. CHAINED: the leaf is in its frame's chain of writers; it stays there when only the
 * guest's right goes. Links are in the child's chain of parents. */
#define ENTRY_MAY_WRITE BIT(6)
#define ENTRY_LINK      BIT(7)
#define ENTRY_CHAINED   BIT(8)
#define ENTRY_WITHHELD  BIT(39)
#define ENTRY_WRITER    (ENTRY_MAY_WRITE | ENTRY_CHAINED)
/* all that goes with the guest's right */
#define ENTRY_WRITES (ENTRY_MAY_WRITE | ENTRY_WITHHELD | SH_WRITE | SH_DIRTY)
#define ENTRY_RIGHTS(e)                                                                                      \
    ((uint32_t)((e) & (SH_READ | SH_WRITE | SH_USER | SH_DIRTY)) | ((uint32_t)(~(e) >> 60) & SH_EXEC))
#define ENTRY_GFN(e)   ((uint64_t)(e) >> 12 & (GUEST_FRAMES_MAX - 1))
#define ENTRY_CHILD(e) ((uint32_t)ENTRY_GFN(e))
#define ENTRY_NEXT_AT  40
#define ENTRY_NEXT(e)  ((ref_t)((e) >> ENTRY_NEXT_AT & 0x7fffff))
static inline uint64_t entry_make(uint64_t gfn, uint32_t rights, uint64_t flags, ref_t next)
{
    BUILD_ASSERT(SH_EXEC == BIT(3) && SH_LARGE == BIT(5) && GUEST_FRAMES_MAX == BIT(27));
    return gfn << 12 | (rights & ~(uint32_t)SH_EXEC) | (uint64_t)(~rights & SH_EXEC) << 60 | flags |
           (uint64_t)next << ENTRY_NEXT_AT;
}

enum {
    TABLE_LIVE = 1,
    TABLE_TOP = 2,    /* in the list of roots: lives without parents */
    TABLE_QUEUED = 4, /* in the queue of orphans */
    TABLE_ROM = 8,    /* the guest's table cannot be written: its A and D count as set */
};

struct table {
    uint64_t filled[MASK_WORDS];
    uint64_t gfn; /* the guest's table; direct: the frame of entry 0 */
    struct role role;
    uint16_t hash_next;
    uint16_t prev, next; /* list of roots; next: free list, orphan queue */
    uint16_t orphan_next;
    uint16_t parents;  /* links to this table */
    ref_t parent;      /* their chain */
    uint32_t interval; /* s->interval of the last write */
    uint32_t mark;     /* list.c: visited */
    uint64_t shape;    /* list.c: s->shape when reaches was found out */
    uint32_t changes;  /* struct chain; outlives the table */
    uint16_t live;     /* filled entries */
    uint8_t flags, writes, zeros, recent;
    uint8_t streak; /* intervals one after the other with a write, up to that one */
    bool reaches;   /* list.c: it may lead to a table out of sync */
    uint8_t unused[12];
};
BUILD_ASSERT(sizeof(struct table) == 128); /* an index is a shift */

/* What is known of a guest frame; exists for RAM. All zero is "nothing". */
struct frame {
    ref_t writer;     /* chain of leaves that may write it */
    uint8_t writers;  /* length of the chain */
    uint8_t shadows;  /* tables that shadow it; direct ones do not count */
    uint8_t unsynced; /* they are out of sync, the page is writable */
    uint8_t upper;    /* how many of them are above level 1 */
};

struct unsynced {
    uint64_t gfn;
    uint32_t quiet;    /* sync points without a change */
    uint32_t patience; /* so many of them, and it is protected again */
    bool upper;        /* above level 1: a last resort, ends at the next sync point */
};

struct list_slot {
    uint64_t cr3;
    uint16_t table; /* NO_TABLE: empty */
};

/* shadow_held: forgotten whenever an entry goes or another root comes. */
#define NOTHING_HELD (~0ull)

/* The last fills' ways down in long mode: for a region of 2 MB the tables that the links for the guest's
 * entries lead through, and what these entries allow. Forgotten when a link goes, a table above level 1 is
 * written, or a use must be seen (changes). */
struct chain {
    uint64_t region;  /* va >> 21 */
    uint64_t large;   /* a large page's entry, else 0 */
    uint32_t changes; /* of the tables, together */
    uint32_t bits;    /* PTE_RW, PTE_US, PTE_NX of the entries above the last */
    uint16_t top;
    struct table *table[4]; /* levels 1 to 4 */
};
#define CHAINS 16u /* chosen */

/* Control registers and what follows from them. */
struct control {
    struct shadow_control regs;
    uint64_t pdpte[4]; /* PAE: latched */
    enum guest_format format;
    uint32_t hw;      /* SHADOW_LONG, SHADOW_PAE, SHADOW_NESTED */
    struct role role; /* of a top table, quadrant 0 */
    struct pte_format pte;
};

struct shadow {
    struct shadow_held held; /* first: shadow_holds_last() */
    struct shadow_config config;
    uint64_t ram_first, ram_frames; /* the map's last region, if it is memory */
    struct shadow_counters counters;
    struct control control;
    struct table *table;
    uint64_t (*entry)[ENTRIES];
    struct frame *frame;
    uint16_t *bucket;
    uint32_t bucket_mask;
    uint16_t free_head, orphan_head, root_newest, root_oldest;
    uint32_t free_count, hand, interval;
    uint16_t top[TOPS]; /* the present root; NO_TABLE where not made yet */
    uint32_t unsynced_count, unsynced_upper;
    struct unsynced unsynced[UNSYNC_MAX];
    struct list_slot list[LIST_SLOTS];
    uint32_t list_next, listed, mark; /* listed: slots that are not empty */
    uint64_t shape;    /* counts changes of links, and of which tables are out of sync; never 0 */
    uint64_t given_up; /* frame of the last write that was not emulated */
    struct chain chain[CHAINS];
    uint32_t changes;                        /* of the whole */
    gva_t invlpg_va;                         /* the last one */
    uint64_t spurious_va;                    /* the last fault that found nothing to do */
    uint32_t spurious_kind, spurious_before; /* 0: it was none */
};

static inline bool mask_test(const uint64_t *mask, uint32_t i)
{
    return mask[i / 64] >> i % 64 & 1;
}
static inline void mask_set(uint64_t *mask, uint32_t i)
{
    mask[i / 64] |= BIT(i % 64);
}
static inline void mask_clear(uint64_t *mask, uint32_t i)
{
    mask[i / 64] &= ~BIT(i % 64);
}

/* The frame's record, or NULL: not RAM, never a table that needs protection. */
static inline struct frame *frame_of(const struct shadow *s, uint64_t gfn)
{
    return gfn < s->config.frames ? &s->frame[gfn] : NULL;
}
/* Does the frame hold a table that is in sync, so that nothing may write it? */
static inline bool frame_protected(const struct frame *f)
{
    return f->shadows > 0 && !f->unsynced;
}
/* How many frames from this one on are ordinary memory, at least, if it is; most of it is the last region. */
static inline uint64_t ram_from(const struct shadow *s, uint64_t gfn)
{
    if (gfn - s->ram_first < s->ram_frames)
        return s->ram_first + s->ram_frames - gfn;
    return gmem_kind(s->config.map, (gfn_t){ gfn }) == GMEM_RAM;
}
static inline bool is_direct(const struct table *t)
{
    return t->role.guest == GUEST_DIRECT;
}
static inline uint32_t table_id(const struct shadow *s, const struct table *t)
{
    return (uint32_t)(t - s->table);
}

/* ops.c: the encoders. Each appends or extends one operation; room was checked by the caller. */
#define OPS_SETUP     1u
#define OPS_LINK      2u
#define OPS_FILL      2u
#define OPS_DOWNGRADE 9u
#define ROOM_TO_SYNC                                                                                         \
    (2 * OPS_DOWNGRADE + UNSYNC_MAX * 4) /* to resync one table by entries, the rest by CLEAR */
#define OPS_SPARE ROOM_TO_SYNC           /* left free by what is only an optimization */
void op_setup(struct shadow_ops *ops, cptr_t cap, struct role role);
void op_link(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, cptr_t child);
void op_fill(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, uint64_t gfn);
void op_fill_run(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, uint64_t gfn,
                 uint32_t n);
void op_downgrade(struct shadow_ops *ops, cptr_t cap, const uint64_t mask[MASK_WORDS], uint32_t rights);
void op_drop(struct shadow_ops *ops, cptr_t cap, uint32_t index);
void op_clear(struct shadow_ops *ops, cptr_t cap);
void op_set_root(struct shadow_ops *ops, cptr_t cap, uint32_t index);
void op_root_list(struct shadow_ops *ops, uint32_t slot, cptr_t cap, uint64_t cr3);
void op_flush(struct shadow_ops *ops);

/* hash.c: identity (gfn, role), the pool, the list of roots. */
struct table *table_find(const struct shadow *s, uint64_t gfn, struct role role);
struct table *table_first(const struct shadow *s,
                          uint64_t gfn); /* shadows of a frame; direct ones left out */
struct table *table_next(const struct shadow *s, const struct table *t);
struct table *table_take(struct shadow *s, uint64_t gfn, struct role role); /* from the pool, which has one */
void table_give(struct shadow *s, struct table *t);                         /* empty and unlinked */
void roots_insert(struct shadow *s, struct table *t);
void roots_remove(struct shadow *s, struct table *t);
void roots_touch(struct shadow *s, struct table *t);
bool is_current_top(const struct shadow *s, const struct table *t);

/* rmap.c: entries and the chains through them; the only file that writes s->entry and the chain heads. */
#define OPS_LEAF   (2 * OPS_FILL + OPS_DOWNGRADE) /* one leaf, what it replaces, one evicted writer */
#define OPS_LINKED (OPS_LINK + 2 * OPS_DOWNGRADE) /* one link, what it replaces, one evicted parent */
void leaf_set(struct shadow *s, struct table *t, uint32_t index, uint64_t gfn, uint32_t rights,
              bool may_write, struct shadow_ops *ops);
/* Leaves for n frames in order, entries that are not filled, one bitmap word; stops at a frame that needs
 * leaf_set. How many it set; room as for one. */
uint32_t leaf_run(struct shadow *s, struct table *t, uint32_t index, uint64_t gfn, uint32_t rights,
                  bool may_write, uint32_t n, struct shadow_ops *ops);
void orphan_push(struct shadow *s, struct table *t); /* it has no parents: it ends with the others */
void link_set(struct shadow *s, struct table *t, uint32_t index, struct table *child, uint32_t rights,
              struct shadow_ops *ops);
void entry_forget(struct shadow *s, struct table *t, uint32_t index); /* no operation emitted */
void entries_forget(struct shadow *s, struct table *t);
void entry_drop(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops);
void leaf_lost_write(struct shadow *s, struct table *t, uint32_t index); /* no operation emitted */
void leaves_lost_write(struct shadow *s, struct table *t, uint32_t k, uint64_t mask); /* the same, a word */
bool frame_protect(struct shadow *s, uint64_t gfn,
                   struct shadow_ops *ops); /* false: no room, some still write */
void frame_release(struct shadow *s, uint64_t gfn,
                   struct shadow_ops *ops); /* give W back where there is room */

/* make.c: making and ending tables. */
struct table *table_make(struct shadow *s, uint64_t gfn, struct role role, struct shadow_ops *ops);
bool table_unlink(struct shadow *s, struct table *t, struct shadow_ops *ops);
void table_empty(struct shadow *s, struct table *t, struct shadow_ops *ops); /* one word */
void table_end(struct shadow *s, struct table *t, struct shadow_ops *ops);   /* it has no parents */
void orphans_end(struct shadow *s, uint32_t limit, struct shadow_ops *ops);
bool frame_zap(struct shadow *s, uint64_t gfn, struct shadow_ops *ops);

/* reclaim.c */
bool reclaim(struct shadow *s, uint32_t want, struct shadow_ops *ops);

/* sync.c */
bool frame_unsync(struct shadow *s, uint64_t gfn, struct shadow_ops *ops);
void frame_begin_unsynced(struct shadow *s, uint64_t gfn); /* no listed root leads to it, there is a place */
void frame_forget_unsynced(struct shadow *s, uint64_t gfn);
void sync_frame(struct shadow *s, uint64_t gfn, struct shadow_ops *ops);
void sync_all(struct shadow *s, struct shadow_ops *ops);
void sync_point(struct shadow *s, struct shadow_ops *ops);
void sync_below(struct shadow *s, struct table *t, struct shadow_ops *ops); /* before a new link to t */

/* resync.c; table_resync returns whether anything had changed. */
void entry_revalidate(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops);
bool table_resync(struct shadow *s, struct table *t, struct shadow_ops *ops);

/* write.c: a write fault on a frame; FILL_OK: nothing withholds W. */
struct guest_walk;
enum fill_result table_write(struct shadow *s, const struct shadow_access *a, const struct guest_walk *w,
                             struct shadow_ops *ops);

/* Whether entry e of t is the link that a long-mode guest's entry for a table asks for: what want_of says in
 * the usual case, by comparing whole words. */
static inline bool link_is_current(const struct shadow *s, const struct table *t, uint64_t e, uint64_t raw)
{
    const struct pte_format *f = &s->control.pte;
    const struct table *child = &s->table[ENTRY_CHILD(e)];
    uint32_t rights = SH_READ | ((uint32_t)raw & (SH_WRITE | SH_USER)) | (raw & f->nx ? 0 : SH_EXEC);
    uint32_t role = role_bits(t->role);

    BUILD_ASSERT((unsigned)SH_WRITE == PTE_RW && (unsigned)SH_USER == PTE_US);
    if (t->role.guest != GUEST_LONG || (raw & PTE_LARGE) || !(e & ENTRY_LINK))
        return false;
    if (t->role.wp0) {
        rights |= SH_WRITE;
        role &= ~((raw & PTE_RW ? 0 : ROLE_FOLD_RW) | (raw & PTE_US ? 0 : ROLE_FOLD_US));
    }
    return ENTRY_RIGHTS(e) == rights && child->gfn == (raw & f->frame_mask) >> PAGE_SHIFT &&
           role_bits(child->role) == role - ROLE_LEVEL;
}

/* fill.c: before link_set. If the child is out of sync, roots that lead to t leave the kernel's list. False:
 * no room; a child without parents goes. */
bool may_link(struct shadow *s, const struct table *t, struct table *child, struct shadow_ops *ops);

/* usual.c: the fill that most page faults need, and the page faults that the guest must see. */
#define NOT_USUAL -1 /* nothing was done but A and D, take the complete way */
int usual_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out, struct shadow_ops *ops);
/* An INVLPG of a page whose table is remembered and whose entry is none, or hot. False: another. */
bool usual_invlpg(struct shadow *s, uint64_t va, struct shadow_ops *ops);
/* The table at level 1 that the links lead to for va, if a fill has remembered it. */
struct table *usual_last(struct shadow *s, uint64_t va);
static inline void usual_forget(struct shadow *s)
{
    s->changes++;
}

/* prefetch.c */
/* What want_of asks of an entry before anything else: it is used, and if writable dirty. */
static inline bool may_be_hot(uint64_t raw, bool fixed_bits)
{
    uint64_t need = fixed_bits ? PTE_P : PTE_P | PTE_A | (raw & PTE_RW ? PTE_D : 0);
    return (raw & need) == need;
}
/* After a usual fill (usual.c) with a hot neighbour: the block between the nearest filled ones. */
void prefetch_usual(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops);
void prefetch(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops);
void prefetch_direct(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops);
bool prefetch_one(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops);
/* A filled leaf whose guest entry now allows writing. */
void prefetch_more(struct shadow *s, struct table *t, uint32_t index, struct want *want,
                   struct shadow_ops *ops);

/* root.c */
void control_set(struct shadow *s, const struct shadow_control *c);               /* PDPT entries apart */
struct table *root_make(struct shadow *s, uint32_t slot, struct shadow_ops *ops); /* all is in sync */

/* list.c: the roots that the kernel may switch to by itself */
void list_add(struct shadow *s, struct table *t, uint64_t cr3, struct shadow_ops *ops);
bool list_drop_above(struct shadow *s, uint64_t gfn, struct shadow_ops *ops); /* false: no room */
bool reaches_unsynced(struct shadow *s, struct table *t);                     /* or may reach one */
void list_empty(struct shadow *s, struct shadow_ops *ops);
void list_remove(struct shadow *s, const struct table *t, struct shadow_ops *ops);

#endif
