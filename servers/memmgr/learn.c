/* SPDX-License-Identifier: BSD-2-Clause */
/* What a memmgr finds out after the death of another one. It believes the kernel, which knows what each guest
 * has, and nothing else but where its ranges begin (I6). See memmgr.h. */
#include "servers/memmgr/memmgr.h"

static err_t ask_frames(cptr_t space, uint64_t gfn, uint32_t n, uint64_t *frames)
{
    struct sys_message m = { .tag = TAG(KERNEL_FRAMES, 3), .w = { space, gfn, n } };
    err_t e = sys_call(CAP_LOG, &m);

    for (uint32_t i = 0; i < n && e == ERR_OK; i++)
        frames[i] = i < MSG_REGISTERS ? m.w[i] : ipc->words[i];
    return e;
}

/* Seen through the space for zeroing. */
err_t learn_ranges(const struct memmgr *m)
{
    for (uint32_t done = 0, n; done < m->ranges; done += n) {
        struct list l = { .records = 0 };
        err_t e = ERR_OK;
        n = m->ranges - done < RECORDS_MAX ? m->ranges - done : RECORDS_MAX;
        for (uint32_t i = 0; i < n && e == ERR_OK; i++)
            e = list_add(CAP_SPACES_SCRUB, &l, CHANGE_W0(m->range[done + i].cap, CHANGE_MAP, RIGHT_READ, 1),
                         CHANGE_W1(i, 0));
        if (e == ERR_OK)
            e = list_send(CAP_SPACES_SCRUB, &l);
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
static err_t learn_client(struct memmgr *m, uint32_t number)
{
    struct client *c = &m->client[number];
    uint64_t frames[FRAMES_ASKED];

    for (uint32_t gfn = 0, n; gfn < c->gfns; gfn += n) {
        n = c->gfns - gfn < FRAMES_ASKED ? c->gfns - gfn : FRAMES_ASKED;
        err_t e = ask_frames(CAP_SPACES + number, gfn, n, frames);
        if (e != ERR_OK)
            return e;
        state->told.done++;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t f = frames[i] == UINT64_MAX ? POOL_NO_FRAME : number_of(m, frames[i]);
            if (!pool_learned(&m->pool, f))
                continue;
            c->frame_of[gfn + i] = f;
            c->mapped++;
        }
    }
    return ERR_OK;
}

/* Page tables are used in their order; a table that is mapped cannot be mapped again, wherever. */
void learn_tables(struct memmgr *m)
{
    while (m->table != m->tables_end &&
           sys_invoke3(m->table, PAGETABLE_MAP, CAP_SPACES_SCRUB, FAR_ADDRESS, 1) == ERR_ALREADY_MAPPED)
        m->table++;
}

/* The kernel knows which frames the guests have. Of the others nothing is known. */
err_t learn_frames(struct memmgr *m)
{
    err_t e = change_range(CAP_SPACES_SCRUB, CHANGE_UNMAP, 0, 0, RECORDS_MAX);

    for (uint32_t i = 0; i < m->clients && e == ERR_OK; i++)
        e = learn_client(m, i);
    if (e == ERR_OK)
        pool_leave(&m->pool, &state->told.done);
    return e;
}

bool learn_possible(void)
{
    return state->magic == STATE_MAGIC &&
           state->crc == desc_crc32(0, (const uint8_t *)state->frame, sizeof(state->frame));
}
