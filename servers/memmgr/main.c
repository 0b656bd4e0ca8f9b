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
#include "memory_server.h"
#include "servers/memmgr/inject.h"
#include "servers/memmgr/memmgr.h"
#include "supervisor.h"

/* --- objects --- */

static err_t make(struct memmgr *m, cptr_t from, unsigned type, unsigned bits, uint32_t n, cptr_t *out)
{
    if (n > CAP_FREE + FREE_SLOTS - m->next_slot)
        return ERR_NO_MEMORY;
    for (uint32_t done = 0, now; done < n && !m->made; done += now) {
        now = n - done < RETYPE_MAX ? n - done : RETYPE_MAX;
        err_t e = sys_retype(ipc, from, type, bits, CAP_CNODE, m->next_slot + done, now);
        state->told.done++;
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

/* --- the interface --- */

static struct client *client_of(struct memmgr *m, uint64_t badge)
{
    uint32_t i = DESC_BADGE_CLIENT(badge);

    if (i >= m->clients)
        return NULL;
    m->client[i].quota = __atomic_load_n(&m->quota[i], __ATOMIC_ACQUIRE);
    return &m->client[i];
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

/* They may be given to anybody then. Of a kernel that refuses they would be lost, no more. */
static void scrub(struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    if (change_zero(m, frames, n) != ERR_OK)
        return;
    for (uint32_t i = 0; i < n; i++)
        if (frame_zeroed(&m->pool, frames[i]))
            pool_back(&m->pool, frames[i]);
}

/* Those that a memmgr that died may have left as they were. */
static err_t zero_dirty(struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    uint32_t dirty[RECORDS_MAX], k = 0;

    for (uint32_t i = 0; i < n; i++)
        if (frame_is_dirty(&m->pool, frames[i]))
            dirty[k++] = frames[i];
    if (!k)
        return ERR_OK;
    err_t e = change_zero(m, dirty, k);
    for (uint32_t i = 0; i < k && e == ERR_OK; i++)
        frame_zeroed(&m->pool, dirty[i]);
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
            if (client_take(c, &m->pool, gfn + done + i) == POOL_NO_FRAME)
                return ERR_NO_MEMORY;
        e = zero_dirty(m, frames, n);
        for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
            const struct range *r = range_of(m, frames[i]);
            if (!frame_given(&m->pool, frames[i]))
                return ERR_WRONG_STATE;
            e = list_add(space, &l, CHANGE_W0(r->cap, CHANGE_MAP, rights, 1),
                         CHANGE_W1(gfn + done + i, frames[i] - r->first));
        }
        if (e == ERR_OK)
            e = list_send(space, &l);
    }
    return e;
}

/* Pages that are not mapped in the client's guest any more. */
static void forget(struct memmgr *m, struct client *c, uint64_t gfn, uint32_t pages)
{
    uint32_t frames[RECORDS_MAX], n = 0;

    for (uint32_t i = 0; i < pages; i++) {
        uint32_t f = client_drop(c, &m->pool, gfn + i);
        if (f == POOL_NO_FRAME)
            continue;
        frames[n++] = f;
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

/* --- guests that are gone --- */

#define RECLAIM_PAGES                                                                                        \
    480u /* chosen: some milliseconds; then others have the processor until init says it again */

/* Of the first client that may have nothing any more and still has something, a part comes back. */
static void reclaim(struct memmgr *m)
{
    for (uint32_t i = 0; i < m->clients; i++) {
        struct client *c = &m->client[i];
        if (!c->mapped || __atomic_load_n(&m->quota[i], __ATOMIC_ACQUIRE))
            continue;
        uint32_t gfn = 0, end;
        while (gfn < c->gfns && c->frame_of[gfn] == POOL_NO_FRAME)
            gfn++;
        end = c->gfns - gfn < RECLAIM_PAGES ? c->gfns : gfn + RECLAIM_PAGES;
        if (change_range(CAP_SPACES + i, CHANGE_UNMAP, 0, gfn, end - gfn) == ERR_OK)
            forget(m, c, gfn, end - gfn);
        return;
    }
}

static void tell(const struct memmgr *m)
{
    for (uint32_t i = 0; i < m->clients; i++)
        __atomic_store_n(&state->told.mapped[i], m->client[i].mapped, __ATOMIC_RELEASE);
    __atomic_store_n(&state->told.turns, state->told.turns + 1, __ATOMIC_RELEASE);
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
    m->quota = info->quota;
    m->next_slot = CAP_FREE;
    m->made = info->incarnation != 0;
    if (m->made && !learn_possible())
        die("the memmgr before this one was not set up, or its state is damaged");
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        tables += tables_of(config->spaces_pages[i]);
    if (m->clients > CLIENTS_MAX || tables > PIECE_FRAMES || config->pool_pieces == 0)
        die("too many clients, or too little memory for page tables");
    if (tables && make(m, CAP_POOL, OBJ_PAGETABLE, 0, tables, &m->table) != ERR_OK)
        die("no memory for page tables");
    m->tables_end = m->table + tables;
    if (m->made)
        learn_tables(m);
    if (ensure_tables(m, CAP_SPACES_SCRUB, 0, 1) != ERR_OK)
        die("no page tables for zeroing");
    for (uint32_t i = 0; i < config->pool_pieces; i++)
        if (make_ranges(m, CAP_POOL + i, i ? 0 : tables) != ERR_OK)
            die("a piece of the pool does not become ranges");
    uint32_t *back = malloc(m->frames * sizeof(*back) + 1);
    uint8_t *place = malloc(m->frames + 1);
    if (!back || !place)
        die("the heap is too small for the pool's tables");
    pool_init(&m->pool, seed, m->frames, back, place);
    for (uint32_t i = 0; i < m->clients; i++) {
        uint32_t gfns = config->spaces_pages[i] < GFN_LIMIT ? config->spaces_pages[i] : GFN_LIMIT;
        uint32_t *frame_of = malloc(gfns * sizeof(*frame_of) + 1);
        if (!frame_of)
            die("the heap is too small for the clients' tables");
        client_init(&m->client[i], m->quota[i], frame_of, gfns);
    }
    if ((m->made ? learn_frames(m) : learn_ranges(m)) != ERR_OK)
        die("the kernel does not say where the frames are");
    printf("memmgr: %u frames in %u ranges, %u free, seed %lu\n", m->frames, m->ranges, pool_left(&m->pool),
           seed);
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
        tell(&m);
        /* whom a memmgr before this one had not answered hears now that its call is cancelled */
        if (component_receive(CAP_ENDPOINT, CAP_REPLY, &message) != ERR_OK)
            die("the endpoint is gone");
        state->told.done++;
        inject_step();
        if (message.tag & TAG_SIGNAL) {
            reclaim(&m);
            continue;
        }
        memmgr_serve(&message, self);
        inject_step();
        component_answer(CAP_REPLY, &message);
    }
}
