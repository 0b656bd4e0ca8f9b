/* SPDX-License-Identifier: BSD-2-Clause */
/* memmgr: owns the memory meant for guests and the guest spaces, and maps frames into them by quota.
 *
 * Which frame is pool.c's choice; here the choice becomes MemoryRanges, page tables and GUESTSPACE_CHANGE
 * lists. The memory is zeroed by the kernel when a range is made, and here, through a window of memmgr's own,
 * when a client gives it back (I6; tests/system/test_ctl.py). One request is done before the next is read;
 * nothing here waits on a client.
 *
 * Its capabilities outlive it. The next memmgr asks the kernel which frames the guests have; all others are
 * free, and zeroed before anybody gets them, whatever the one before did (tests/system/test_servers.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "component/component.h"
#include "memmgr_component.h"
#include "memory_server.h"
#include "pool.h"
#include "servers/memmgr/inject.h"
#include "supervisor.h"
#include "sys/sys.h"

#define PIECE_BITS   24 /* one untyped of the pool: 16 MB */
#define PIECE_FRAMES (1u << (PIECE_BITS - PAGE_SHIFT))
#define RECORDS_MAX  30 /* of a GUESTSPACE_CHANGE: two words each */
#define CLIENTS_MAX  16
#define TABLE_PAGES  512u
#define GFN_LIMIT    0x80000u /* 2 GB: guests' memory lies below the device hole */
#define RANGES_MAX   288u
#define FREE_SLOTS   8192u                /* components.idl: cnode */
#define FRAMES_ASKED 60u                  /* KERNEL_FRAMES: at once */
#define FAR_ADDRESS  (1ull << 38)         /* no guest has memory there, nor tables */
#define STATE_MAGIC  0x313030544d4d4255ul /* "UBMMT001" */

/* Frame f of the pool lies in the range with the largest first <= f. */
struct range {
    cptr_t cap;
    uint32_t first;
};

/* The segment: what is known once the ranges are made, and does not change any more. */
struct memmgr_state {
    uint64_t done; /* init looks whether it grows */
    uint64_t magic;
    uint32_t ranges, crc;       /* crc: of frame */
    uint64_t frame[RANGES_MAX]; /* the kernel's number of each range's first frame */
};

static struct memmgr_state *const state = (struct memmgr_state *)STATE_ADDRESS;

struct memmgr {
    struct pool pool;
    uint8_t *dirty; /* frame f must be zeroed before it is given; NULL: none */
    struct client client[CLIENTS_MAX];
    uint32_t clients;
    struct range range[RANGES_MAX];
    uint32_t ranges, frames;
    bool made; /* by the memmgr before this one: objects are counted, not made */
    cptr_t next_slot;
    cptr_t table, tables_end; /* page tables made at the beginning: the next one, and behind the last */
};

static struct umbra_ipc_buffer *const ipc = (void *)BOOT_IPC_ADDRESS;

/* --- objects --- */

static err_t make(struct memmgr *m, cptr_t from, unsigned type, unsigned bits, uint32_t n, cptr_t *out)
{
    if (n > CAP_FREE + FREE_SLOTS - m->next_slot)
        return ERR_NO_MEMORY;
    for (uint32_t done = 0, now; done < n && !m->made; done += now) {
        now = n - done < RETYPE_MAX ? n - done : RETYPE_MAX;
        err_t e = sys_retype(ipc, from, type, bits, CAP_CNODE, m->next_slot + done, now);
        if (e != ERR_OK)
            return e;
    }
    *out = m->next_slot;
    m->next_slot += n;
    return ERR_OK;
}

/* One table for gfn; there may be one already. */
static err_t ensure_table(struct memmgr *m, cptr_t space, uint64_t gfn, unsigned level)
{
    uint64_t pages = (uint64_t)TABLE_PAGES << 9 * (level - 1), address = gfn / pages * pages << PAGE_SHIFT;

    if (m->table == m->tables_end)
        return ERR_NO_MEMORY;
    err_t e = sys_invoke3(m->table, PAGETABLE_MAP, space, address, level);
    if (e == ERR_OK)
        m->table++;
    return e == ERR_ALREADY_MAPPED ? ERR_OK : e;
}

static err_t ensure_tables(struct memmgr *m, cptr_t space, uint64_t gfn, uint32_t pages)
{
    for (uint64_t g = gfn / TABLE_PAGES * TABLE_PAGES; g < gfn + pages; g += TABLE_PAGES) {
        err_t e = ERR_OK;
        if (g == gfn / TABLE_PAGES * TABLE_PAGES || g % (TABLE_PAGES * TABLE_PAGES) == 0)
            e = ensure_table(m, space, g, 2);
        if (e == ERR_OK)
            e = ensure_table(m, space, g, 1);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* --- change lists --- */

struct list {
    uint64_t word[2 * RECORDS_MAX];
    uint32_t records;
};

static err_t send(cptr_t space, struct list *l)
{
    struct sys_message m = { .tag = TAG(GUESTSPACE_CHANGE, 2 * l->records) };

    if (!l->records)
        return ERR_OK;
    for (unsigned i = 0; i < 2 * l->records; i++) {
        if (i < MSG_REGISTERS)
            m.w[i] = l->word[i];
        else
            ipc->words[i] = l->word[i];
    }
    l->records = 0;
    state->done++;
    inject_step();
    err_t e = sys_call(space, &m);
    inject_step();
    return e;
}

static err_t add(cptr_t space, struct list *l, uint64_t w0, uint64_t w1)
{
    l->word[2 * l->records] = w0;
    l->word[2 * l->records + 1] = w1;
    return ++l->records == RECORDS_MAX ? send(space, l) : ERR_OK;
}

/* Pages of neighbouring gfns in one record as far as the kernel allows. */
static err_t change_range(cptr_t space, unsigned op, unsigned rights, uint64_t gfn, uint32_t pages)
{
    for (uint32_t done = 0; done < pages; done += CHANGE_PAGES_MAX) {
        struct list l = { .records = 0 };
        uint32_t n = pages - done < CHANGE_PAGES_MAX ? pages - done : CHANGE_PAGES_MAX;
        err_t e = add(space, &l, CHANGE_W0(0, op, rights, n), CHANGE_W1(gfn + done, 0));
        if (e == ERR_OK)
            e = send(space, &l);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* --- the interface --- */

static const struct range *range_of(const struct memmgr *m, uint32_t frame)
{
    uint32_t low = 0, high = m->ranges;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (m->range[middle].first <= frame)
            low = middle;
        else
            high = middle;
    }
    return &m->range[low];
}

static struct client *client_of(struct memmgr *m, uint64_t badge)
{
    uint32_t i = DESC_BADGE_CLIENT(badge);
    return i < m->clients ? &m->client[i] : NULL;
}

static err_t error_of(enum pool_answer a)
{
    switch (a) {
    case POOL_OK:
        return ERR_OK;
    case POOL_RANGE:
        return ERR_RANGE;
    case POOL_QUOTA:
        return MEMORY_ERR_QUOTA;
    case POOL_EMPTY:
        return ERR_NO_MEMORY;
    case POOL_MAPPED:
        return ERR_ALREADY_MAPPED;
    default:
        return ERR_NOT_MAPPED;
    }
}

/* Frames that no guest can reach. */
static err_t zero(const struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    struct list l = { .records = 0 };
    err_t e = ERR_OK;

    for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
        const struct range *r = range_of(m, frames[i]);
        e = add(CAP_SPACES_SCRUB, &l, CHANGE_W0(r->cap, CHANGE_MAP, RIGHT_READ | RIGHT_WRITE, 1),
                CHANGE_W1(i, frames[i] - r->first));
    }
    if (e == ERR_OK)
        e = send(CAP_SPACES_SCRUB, &l);
    for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
        memset((void *)(SPACES_SCRUB_ADDRESS + ((uint64_t)i << PAGE_SHIFT)), 0, PAGE_BYTES);
        inject_step();
    }
    err_t taken = change_range(CAP_SPACES_SCRUB, CHANGE_UNMAP, 0, 0, n);
    if (e != ERR_OK || taken != ERR_OK)
        printf("memmgr: zeroing %u pages: kernel errors %d, %d\n", n, e, taken);
    return e != ERR_OK ? e : taken;
}

/* They may be given to anybody then. Of a kernel that refuses they would be lost, no more. */
static void scrub(struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    if (zero(m, frames, n) != ERR_OK)
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (m->dirty)
            m->dirty[frames[i]] = false;
        pool_back(&m->pool, frames[i]);
    }
}

/* Those that a memmgr that died may have left as they were. */
static err_t zero_dirty(struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    uint32_t dirty[RECORDS_MAX], k = 0;

    for (uint32_t i = 0; i < n && m->dirty; i++)
        if (m->dirty[frames[i]])
            dirty[k++] = frames[i];
    if (!k)
        return ERR_OK;
    err_t e = zero(m, dirty, k);
    for (uint32_t i = 0; i < k && e == ERR_OK; i++)
        m->dirty[dirty[i]] = false;
    return e;
}

static err_t map_frames(struct memmgr *m, struct client *c, cptr_t space, uint64_t gfn, uint32_t pages,
                        unsigned rights)
{
    err_t e = ERR_OK;

    for (uint32_t done = 0, n; done < pages && e == ERR_OK; done += n) {
        struct list l = { .records = 0 };
        uint32_t *frames = &c->frame_of[gfn + done];
        n = pages - done < RECORDS_MAX ? pages - done : RECORDS_MAX;
        for (uint32_t i = 0; i < n; i++)
            frames[i] = pool_take(&m->pool);
        c->mapped += n;
        e = zero_dirty(m, frames, n);
        for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
            const struct range *r = range_of(m, frames[i]);
            e = add(space, &l, CHANGE_W0(r->cap, CHANGE_MAP, rights, 1),
                    CHANGE_W1(gfn + done + i, frames[i] - r->first));
        }
        if (e == ERR_OK)
            e = send(space, &l);
    }
    return e;
}

/* Pages that are not mapped in the client's guest any more. */
static void forget(struct memmgr *m, struct client *c, uint64_t gfn, uint32_t pages)
{
    uint32_t frames[RECORDS_MAX], n = 0;

    for (uint32_t i = 0; i < pages; i++) {
        if (c->frame_of[gfn + i] == POOL_NO_FRAME)
            continue;
        frames[n++] = c->frame_of[gfn + i];
        c->frame_of[gfn + i] = POOL_NO_FRAME;
        c->mapped--;
        if (n == RECORDS_MAX) {
            scrub(m, frames, n);
            n = 0;
        }
    }
    if (n)
        scrub(m, frames, n);
}

err_t memory_map_impl(void *self, uint64_t badge, uint64_t first_gfn, uint32_t pages, memory_rights_t rights)
{
    struct memmgr *m = self;
    struct client *c = client_of(m, badge);

    if (!c)
        return ERR_RANGE;
    cptr_t space = CAP_SPACES + DESC_BADGE_CLIENT(badge);
    err_t e = error_of(client_may_map(c, &m->pool, first_gfn, pages));
    if (e == ERR_OK)
        e = ensure_tables(m, space, first_gfn, pages);
    if (e != ERR_OK)
        return e == MEMORY_ERR_QUOTA || e == ERR_RANGE || e == ERR_ALREADY_MAPPED ? e : ERR_NO_MEMORY;
    e = map_frames(m, c, space, first_gfn, pages, rights);
    if (e == ERR_OK)
        return ERR_OK;
    printf("memmgr: mapping %u pages at gfn %llx: kernel error %d\n", pages, (unsigned long long)first_gfn,
           e);
    change_range(space, CHANGE_UNMAP, 0, first_gfn, pages);
    forget(m, c, first_gfn, pages);
    return ERR_NO_MEMORY;
}

err_t memory_protect_impl(void *self, uint64_t badge, uint64_t first_gfn, uint32_t pages,
                          memory_rights_t rights)
{
    struct client *c = client_of(self, badge);

    if (!c)
        return ERR_RANGE;
    err_t e = error_of(client_has_all(c, first_gfn, pages));
    return e == ERR_OK
               ? change_range(CAP_SPACES + DESC_BADGE_CLIENT(badge), CHANGE_PROTECT, rights, first_gfn, pages)
               : e;
}

err_t memory_release_impl(void *self, uint64_t badge, uint64_t first_gfn, uint32_t pages, uint32_t *released)
{
    struct memmgr *m = self;
    struct client *c = client_of(m, badge);

    if (!c || first_gfn >= c->gfns || pages > c->gfns - first_gfn)
        return ERR_RANGE;
    uint32_t before = c->mapped;
    err_t e = change_range(CAP_SPACES + DESC_BADGE_CLIENT(badge), CHANGE_UNMAP, 0, first_gfn, pages);
    if (e != ERR_OK)
        return e;
    forget(m, c, first_gfn, pages);
    *released = before - c->mapped;
    return ERR_OK;
}

err_t memory_info_impl(void *self, uint64_t badge, struct memory_info *info)
{
    struct client *c = client_of(self, badge);

    if (!c)
        return ERR_RANGE;
    info->quota_pages = c->quota;
    info->mapped_pages = c->mapped;
    client_shape(c, &info->runs, &info->splits);
    return ERR_OK;
}

/* --- after a memmgr that died --- */

static err_t ask_frames(cptr_t space, uint64_t gfn, uint32_t n, uint64_t *frames)
{
    struct sys_message m = { .tag = TAG(KERNEL_FRAMES, 3), .w = { space, gfn, n } };
    err_t e = sys_call(CAP_LOG, &m);

    for (uint32_t i = 0; i < n && e == ERR_OK; i++)
        frames[i] = i < MSG_REGISTERS ? m.w[i] : ipc->words[i];
    return e;
}

/* Where the ranges lie, seen through the space for zeroing while nobody has any of their frames. */
static err_t note_ranges(const struct memmgr *m)
{
    for (uint32_t done = 0, n; done < m->ranges; done += n) {
        struct list l = { .records = 0 };
        err_t e = ERR_OK;
        n = m->ranges - done < RECORDS_MAX ? m->ranges - done : RECORDS_MAX;
        for (uint32_t i = 0; i < n && e == ERR_OK; i++)
            e = add(CAP_SPACES_SCRUB, &l, CHANGE_W0(m->range[done + i].cap, CHANGE_MAP, RIGHT_READ, 1),
                    CHANGE_W1(i, 0));
        if (e == ERR_OK)
            e = send(CAP_SPACES_SCRUB, &l);
        if (e == ERR_OK)
            e = ask_frames(CAP_SPACES_SCRUB, 0, n, &state->frame[done]);
        if (e == ERR_OK)
            e = change_range(CAP_SPACES_SCRUB, CHANGE_UNMAP, 0, 0, n);
        if (e != ERR_OK)
            return e;
    }
    state->ranges = m->ranges;
    state->crc = desc_crc32(0, (const uint8_t *)state->frame, sizeof(state->frame));
    state->magic = STATE_MAGIC;
    return ERR_OK;
}

/* The pool's number of a frame that the kernel names, or POOL_NO_FRAME. */
static uint32_t number_of(const struct memmgr *m, uint64_t hfn)
{
    for (uint32_t i = 0; i < m->ranges; i++) {
        uint32_t end = i + 1 < m->ranges ? m->range[i + 1].first : m->frames;
        if (hfn - state->frame[i] < end - m->range[i].first)
            return m->range[i].first + (uint32_t)(hfn - state->frame[i]);
    }
    return POOL_NO_FRAME;
}

/* What the client's guest has. */
static err_t learn_client(struct memmgr *m, uint32_t number, uint8_t *used)
{
    struct client *c = &m->client[number];
    uint64_t frames[FRAMES_ASKED];

    for (uint32_t gfn = 0, n; gfn < c->gfns; gfn += n) {
        n = c->gfns - gfn < FRAMES_ASKED ? c->gfns - gfn : FRAMES_ASKED;
        err_t e = ask_frames(CAP_SPACES + number, gfn, n, frames);
        if (e != ERR_OK)
            return e;
        state->done++;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t f = frames[i] == UINT64_MAX ? POOL_NO_FRAME : number_of(m, frames[i]);
            if (f == POOL_NO_FRAME)
                continue;
            c->frame_of[gfn + i] = f;
            c->mapped++;
            used[f] = true;
        }
    }
    return ERR_OK;
}

/* Page tables are used in their order; a table that is mapped cannot be mapped again, wherever. */
static void pass_used_tables(struct memmgr *m)
{
    while (m->table != m->tables_end &&
           sys_invoke3(m->table, PAGETABLE_MAP, CAP_SPACES_SCRUB, FAR_ADDRESS, 1) == ERR_ALREADY_MAPPED)
        m->table++;
}

/* The kernel knows which frames the guests have. Of the others nothing is known: all are dirty. */
static err_t learn(struct memmgr *m)
{
    err_t e = change_range(CAP_SPACES_SCRUB, CHANGE_UNMAP, 0, 0, RECORDS_MAX);

    m->dirty = calloc(m->frames + 1, 1);
    if (!m->dirty)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < m->clients && e == ERR_OK; i++)
        e = learn_client(m, i, m->dirty); /* for the moment: what is used */
    if (e != ERR_OK)
        return e;
    pool_leave(&m->pool, m->dirty);
    for (uint32_t i = 0; i < m->frames; i++)
        m->dirty[i] = !m->dirty[i];
    return ERR_OK;
}

/* --- the beginning --- */

static void die(const char *text)
{
    struct guest_state none = { 0 };

    supervisor_ended(CAP_SUPERVISOR, END_REASON_INTERNAL, 0, text, &none);
    exit(1);
}

/* Page tables that a guest needs, one of each level more than its memory from 0 on. */
static uint32_t tables_of(uint32_t pages)
{
    uint32_t leaves = (pages + TABLE_PAGES - 1) / TABLE_PAGES;
    return pages ? leaves + leaves / TABLE_PAGES + 2 : 0;
}

/* What is left of a piece behind so many pages becomes ranges, the largest that alignment allows. */
static err_t make_ranges(struct memmgr *m, cptr_t piece, uint32_t used_pages)
{
    for (uint32_t at = used_pages; at < PIECE_FRAMES;) {
        unsigned bits = at ? (unsigned)__builtin_ctz(at) : PIECE_BITS - PAGE_SHIFT;
        cptr_t cap;
        err_t e =
            m->ranges < RANGES_MAX ? make(m, piece, OBJ_RANGE, bits + PAGE_SHIFT, 1, &cap) : ERR_NO_MEMORY;
        if (e != ERR_OK)
            return e;
        m->range[m->ranges++] = (struct range){ cap, m->frames };
        m->frames += 1u << bits;
        at += 1u << bits;
    }
    return ERR_OK;
}

/* The first piece of the pool begins with the page tables; all else becomes ranges. */
static void begin(struct memmgr *m, const struct component_info *info)
{
    const struct memmgr_config *config = memmgr_config(info);
    uint64_t seed = info->seed ? info->seed : config->seed;
    uint32_t tables = 2; /* of the space for zeroing */

    m->clients = config->memory_clients;
    m->next_slot = CAP_FREE;
    m->made = info->incarnation != 0;
    if (m->made && (state->magic != STATE_MAGIC ||
                    state->crc != desc_crc32(0, (const uint8_t *)state->frame, sizeof(state->frame))))
        die("the memmgr before this one was not set up, or its state is damaged");
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        tables += tables_of(config->spaces_pages[i]);
    if (m->clients > CLIENTS_MAX || tables > PIECE_FRAMES || config->pool_pieces == 0)
        die("too many clients, or too little memory for page tables");
    if (tables && make(m, CAP_POOL, OBJ_PAGETABLE, 0, tables, &m->table) != ERR_OK)
        die("no memory for page tables");
    m->tables_end = m->table + tables;
    if (m->made)
        pass_used_tables(m);
    if (ensure_tables(m, CAP_SPACES_SCRUB, 0, 1) != ERR_OK)
        die("no page tables for zeroing");
    for (uint32_t i = 0; i < config->pool_pieces; i++)
        if (make_ranges(m, CAP_POOL + i, i ? 0 : tables) != ERR_OK)
            die("a piece of the pool does not become ranges");
    uint32_t *back = malloc(m->frames * sizeof(*back) + 1);
    if (!back)
        die("the heap is too small for the frames that come back");
    pool_init(&m->pool, seed, m->frames, back);
    for (uint32_t i = 0; i < m->clients; i++) {
        uint32_t gfns = config->spaces_pages[i] < GFN_LIMIT ? config->spaces_pages[i] : GFN_LIMIT;
        uint32_t *frame_of = malloc(gfns * sizeof(*frame_of) + 1);
        if (!frame_of)
            die("the heap is too small for the clients' tables");
        client_init(&m->client[i], config->spaces_pages[i], frame_of, gfns);
    }
    if ((m->made ? learn(m) : note_ranges(m)) != ERR_OK)
        die("the kernel does not say where the frames are");
    printf("memmgr: %u frames in %u ranges, seed %lu, %u free\n", m->frames, m->ranges, seed,
           pool_left(&m->pool));
}

int main(void)
{
    static struct memmgr m;
    static struct umbra_message message;
    void *self[MEMMGR_PORTS] = { [PORT_MEMORY] = &m };
    const struct component_info *info = memmgr_info();

    if (!info)
        die("this program was built for another system description");
    BUILD_ASSERT(sizeof(*state) <= STATE_BYTES);
    begin(&m, info);
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    inject_open(memmgr_config(info), info->incarnation);
    for (;;) {
        /* whom a memmgr before this one had not answered hears now that its call is cancelled */
        if (component_receive(CAP_ENDPOINT, CAP_REPLY, &message) != ERR_OK)
            die("the endpoint is gone");
        state->done++;
        inject_step();
        memmgr_serve(&message, self);
        inject_step();
        component_answer(CAP_REPLY, &message);
    }
}
