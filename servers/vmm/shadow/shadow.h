/* SPDX-License-Identifier: BSD-2-Clause */
/* The shadow MMU: decides what a guest's hardware page tables hold.
 *
 * A pure library: no I/O, no system calls, no globals, no allocation. It reads and writes guest memory
 * through gmem.h and answers with operations for the reply page (OP_*, vcpu.h), which the kernel checks and
 * executes in order before the guest runs again. All state is soft: it can be thrown away (shadow_reset) at
 * any time.
 *
 * Invariants, each held by tests/host/shadow/:
 *  - a present shadow entry of a synced table grants no more than the guest's entry does now; one of an
 *    unsynced table no more than it did at some time since the last sync point;
 *  - an entry is present only if the guest's entry has A set, writable only if it has D set (large pages
 * too);
 *  - a page that holds a synced table is writable through no shadow entry;
 *  - before a link is made or widened, everything below it is made as current as the guest's tables;
 *  - what the operations did and what this state says agree whenever a function returns.
 * The kernel flushes what a downgrade makes stale before the guest runs; OP_FLUSH is emitted only against
 * spurious faults. Not thread-safe: one vCPU. */
#ifndef VMM_SHADOW_H
#define VMM_SHADOW_H

#include <servers/vmm/gmem/gmem.h>
#include <umbra/vcpu.h>

struct shadow; /* memory given by the caller */

/* The library works from 16 tables on. Give a guest 128 or more: one instruction can need 30 translations. */
#define SHADOW_TABLES_MIN 16u
#define SHADOW_TABLES_MAX 8192u

/* Heuristics in one place; each is a count. shadow_default_tuning() gives the measured or chosen defaults. */
struct shadow_tuning {
    uint32_t prefetch;        /* entries looked at around a fill, 1..64 */
    uint32_t prefetch_direct; /* the same in splintered large pages and unpaged mode, 1..512 */
    uint32_t quiet_syncs;     /* an unsynced table unchanged at so many sync points is protected again */
    uint32_t flood_writes;    /* writes to an upper table without a use of it until it counts as reused */
    uint32_t zero_writes;     /* consecutive zero writes until a table counts as reused */
    uint32_t unsync_writes; /* writes to an L1 table in one interval until it goes out of sync, at least 1 */
    uint32_t unsync_streak; /* intervals one after the other with a write: the next write too; 0: never so */
    uint32_t unsync_born;   /* a new L1 table begins out of sync while fewer are; at most half of 32 */
    uint32_t steady_syncs;  /* as quiet_syncs, of a table that went out of sync by a streak */
};

struct shadow_config {
    const struct gmem *mem;
    const struct gmem_map *map; /* all RAM and ROM of it must be in the GuestSpace; kept by reference */
    const cptr_t
        *tables; /* the pool: ShadowTable capabilities bound to the VM, none linked; kept by reference */
    uint32_t table_count; /* SHADOW_TABLES_MIN..SHADOW_TABLES_MAX */
    uint32_t phys_bits;   /* the guest's MAXPHYADDR, 32..52 */
    uint64_t frames;      /* gfns below this may be RAM; at most GUEST_FRAMES_MAX */
    bool nested; /* reference mode: tables of nested format lead from gfn to frame, the guest's own paging
                    runs before them: only shadow_fill_nested fills */
    struct shadow_tuning tuning;
};

/* Counters since shadow_init; a reset keeps them. */
struct shadow_counters {
    uint64_t fills, prefetches, spurious, guest_faults, mmio;
    uint64_t emulated_writes, unsyncs, resyncs, resynced_entries, protects, zaps, reclaims, resets;
    uint64_t cr3_known, cr3_new, invlpgs, tables_made, ops_full;
};

/* Operations go here. Functions append; the caller provides room and passes the words to the kernel in order.
 */
struct shadow_ops {
    uint64_t *word;
    uint32_t count; /* words */
    uint32_t last;  /* library's own: where the last operation begins, plus 1 */
    uint32_t max;   /* words */
};
/* Room, in words, that a function below needs at its start to do all its work; REPLY_OPS_MAX is enough for
 * one of them. With less, shadow_fill may return FILL_RETRY and the others use the shortest correct way. */
#define SHADOW_OPS_ROOM 256u

/* Least room for a shadow_table_written of up to 8 bytes: an emulated string instruction stops at an
 * iteration before less is left. */
#define SHADOW_WRITE_ROOM 64u

static inline uint32_t shadow_ops_room(const struct shadow_ops *ops)
{
    return ops->max - ops->count;
}

struct shadow_tuning shadow_default_tuning(void);

/* shadow_bytes - memory for a pool of so many tables and so many guest frames; 64-byte aligned. */
size_t shadow_bytes(uint32_t tables, uint64_t frames);

/* shadow_init - makes the state in memory (shadow_bytes() of it, any content). NULL if a limit of the config
 * is not kept. The guest is in unpaged mode until shadow_load. */
struct shadow *shadow_init(void *memory, const struct shadow_config *config);

/* shadow_reset - forgets every table: after a new epoch, when the kernel has unlinked and emptied them all.
 * Control registers are kept; shadow_root must follow. */
void shadow_reset(struct shadow *s);

/* shadow_root - emits the root for the present control registers: after shadow_reset, and at an EXIT_ROOT
 * (then without a reset unless the epoch changed). */
void shadow_root(struct shadow *s, struct shadow_ops *ops);

/* Control registers as the guest believes them; efer with LMA as the caller computed it. */
struct shadow_control {
    uint64_t cr0, cr3, cr4, efer;
};

enum shadow_status {
    SHADOW_OK,
    SHADOW_BAD_PDPT, /* PAE: a reserved bit in a present PDPT entry: #GP; nothing changed (APM vol. 2, 5.3.4)
                      */
};

/* Nested: the guest's CR3, which it loads by itself, is told by shadow_cr3; PDPT entries are read at each
 * walk.
 *
 * shadow_load - all control registers at once: start.
 * shadow_resume - the same at a restart: PAE keeps the PDPT entries that it had latched (shadow_pdptes).
 * shadow_cr3 - a MOV CR3 (sync point). shadow_mode - CR0, CR4 or EFER changed (sync point where the
 * architecture flushes; PAE: loads the PDPT entries where MOV CR0/CR4 does). Call them before the change
 * takes effect; on SHADOW_BAD_PDPT it must not. */
enum shadow_status shadow_load(struct shadow *s, const struct shadow_control *c, struct shadow_ops *ops);
void shadow_resume(struct shadow *s, const struct shadow_control *c, const uint64_t pdpte[4],
                   struct shadow_ops *ops);
enum shadow_status shadow_cr3(struct shadow *s, uint64_t cr3, struct shadow_ops *ops);
enum shadow_status shadow_mode(struct shadow *s, uint64_t cr0, uint64_t cr4, uint64_t efer,
                               struct shadow_ops *ops);

/* shadow_pdptes - the four PDPT entries as PAE paging last loaded them; else of no meaning. They are the
 * guest's state, nothing that can be read again. */
const uint64_t *shadow_pdptes(const struct shadow *s);

/* shadow_cr3_served - the kernel has served so many loads from its list by itself, the last of this value. To
 * be told before anything else of the exit that says so. False if the value is not on the list (the caller
 * then uses shadow_cr3). */
bool shadow_cr3_served(struct shadow *s, uint64_t cr3, uint64_t loads);

/* shadow_invlpg - an INVLPG of va (sync point for va). */
void shadow_invlpg(struct shadow *s, gva_t va, struct shadow_ops *ops);

/* What the guest attempted. */
struct shadow_access {
    gva_t va;
    bool write, exec;
    bool user;       /* CPL 3 and not implicit */
    bool implicit;   /* the processor's own supervisor access (descriptor tables): RFLAGS.AC does not help */
    bool ac;         /* RFLAGS.AC */
    bool delivering; /* the access belongs to the delivery of an event: it cannot be emulated as one write */
};

/* shadow_access_of_fault - from the error code of a #PF exit (APM vol. 2, 8.4.2). */
static inline struct shadow_access shadow_access_of_fault(gva_t va, uint64_t error, uint32_t cpl,
                                                          uint64_t rflags, bool delivering)
{
    bool user = (error & 4) != 0;
    return (struct shadow_access){ .va = va,
                                   .write = (error & 2) != 0,
                                   .exec = (error & 16) != 0,
                                   .user = user,
                                   .implicit = cpl == 3 && !user,
                                   .ac = (rflags & BIT(18)) != 0,
                                   .delivering = delivering };
}

enum fill_result {
    FILL_OK,            /* run the guest again */
    FILL_RETRY,         /* run the guest again; it may fault once more (no room, lost race, spurious fault) */
    FILL_GUEST_FAULT,   /* inject #PF with out->error, CR2 = va */
    FILL_MMIO,          /* out->gpa: device, hole, or a write to ROM; A and D are set */
    FILL_EMULATE_WRITE, /* out->gpa: emulate the writing instruction, then call shadow_table_written */
    FILL_ABSENT,        /* out->gpa: RAM by the map, but the GuestSpace does not give it (or not writable) */
};

struct fill_out {
    gpa_t gpa;
    uint32_t error;
    bool bits_set; /* FILL_EMULATE_WRITE: A and D are set, so that gpa is what a translation would give */
};

/* shadow_fill - a #PF exit: emits what makes the access succeed, and neighbours with it.
 * shadow_fill_nested - the same for a nested page fault. */
enum fill_result shadow_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out,
                             struct shadow_ops *ops);
enum fill_result shadow_fill_nested(struct shadow *s, gpa_t gpa, bool write, struct fill_out *out,
                                    struct shadow_ops *ops);

enum translate_result {
    TRANSLATE_OK,
    TRANSLATE_FAULT,         /* #PF with out->error */
    TRANSLATE_NOT_CANONICAL, /* #GP or #SS */
    TRANSLATE_ABSENT,        /* a table lies in RAM that the GuestSpace does not give: out->gpa */
    TRANSLATE_RETRY,         /* lost a race for A or D; nothing else happened */
};

/* shadow_translate - walks the guest's tables for the emulator. set_bits: also sets A, and D for a write, as
 * the access itself would. out->gpa is the byte that va names. */
enum translate_result shadow_translate(const struct shadow *s, const struct shadow_access *a, bool set_bits,
                                       struct fill_out *out);

/* shadow_holds - where the processor's tables lead for va: the byte that it has just fetched, say. False:
 * nowhere, or the translation that it used has gone meanwhile (then shadow_translate). */
bool shadow_holds(struct shadow *s, gva_t va, gpa_t *gpa);
/* The last answer, of the page with this number (none is -1): struct shadow begins with it. Most exits come
 * from the page that the last one came from: shadow_holds_last() is true for no other. */
struct shadow_held {
    uint64_t page, gfn;
};
static inline bool shadow_holds_last(const struct shadow *s, gva_t va, gpa_t *gpa)
{
    const struct shadow_held *h = (const struct shadow_held *)(const void *)s;

    if (__builtin_expect(va.v >> PAGE_SHIFT != h->page, false))
        return false;
    gpa->v = h->gfn << PAGE_SHIFT | (va.v & (PAGE_BYTES - 1));
    return true;
}

/* shadow_is_table - whether a write to this frame must be reported by shadow_table_written. */
bool shadow_is_table(const struct shadow *s, gfn_t gfn);

/* shadow_table_written - len (1..8; more for DMA) bytes at gpa were changed by emulation or DMA. Any frames:
 * those that are no tables are ignored. Old and new are the bytes as one little-endian number, 0 for len > 8.
 */
void shadow_table_written(struct shadow *s, gpa_t gpa, uint32_t len, uint64_t old, uint64_t new,
                          struct shadow_ops *ops);

/* shadow_not_emulated - the emulator gives up on a write to gpa that FILL_EMULATE_WRITE asked for: the page
 * becomes writable (now, or after a few more faults), and the guest runs again. False: the page is no table,
 * and this library can do nothing (a supervisor's write to a user read-only page with CR0.WP = 0 and SMAP on,
 * which no hardware entry expresses). */
bool shadow_not_emulated(struct shadow *s, gpa_t gpa, struct shadow_ops *ops);

/* shadow_let_write - instead of the emulation that FILL_EMULATE_WRITE asked for: a last table goes out of
 * sync, and the access may be tried again. False: it is none, or cannot; nothing changed but what shadow_fill
 * may change, too. */
bool shadow_let_write(struct shadow *s, gpa_t gpa, struct shadow_ops *ops);

/* One finding of the audit. */
struct shadow_finding {
    const char *what;
    uint32_t table, index; /* pool index, entry */
    uint64_t entry, guest; /* as kept here; the guest's entry */
};
typedef void shadow_report(void *context, const struct shadow_finding *finding);

/* shadow_audit - recomputes every live entry from the guest's tables and checks the reverse maps. Returns the
 * number of findings; report may be NULL. Slow: when somebody asks for it, and in tests. */
uint32_t shadow_audit(const struct shadow *s, shadow_report *report, void *context);
/* shadow_audit_flushed - the same of the entries on the processor's way to va, when the guest has just
 * flushed that, or everything, and has not run since: none may lag behind its tables then. */
uint32_t shadow_audit_flushed(const struct shadow *s, gva_t va, shadow_report *report, void *context);
/* The address of the last INVLPG. */
gva_t shadow_last_invlpg(const struct shadow *s);
/* How many entries it looks at, and how many of these are of tables out of sync, which may lag behind the
 * guest's: of them only the reverse maps are checked. */
struct shadow_audited {
    uint64_t entries, unsynced;
};
struct shadow_audited shadow_audited(const struct shadow *s);

const struct shadow_counters *shadow_counters(const struct shadow *s);

/* shadow_in_use - tables of the pool in use, for statistics. */
uint32_t shadow_in_use(const struct shadow *s);

#endif
