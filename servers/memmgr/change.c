/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists of changes to a guest's memory, and the zeroing of frames that come back, through a window of
 * memmgr's own. See memmgr.h. */
#include "servers/memmgr/memmgr.h"
#include "servers/memmgr/inject.h"
#include <stdio.h>
#include <string.h>

err_t list_send(cptr_t space, struct list *l)
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
    state->told.done++;
    inject_step();
    err_t e = sys_call(space, &m);
    inject_step();
    return e;
}

err_t list_add(cptr_t space, struct list *l, uint64_t w0, uint64_t w1)
{
    l->word[2 * l->records] = w0;
    l->word[2 * l->records + 1] = w1;
    return ++l->records == RECORDS_MAX ? list_send(space, l) : ERR_OK;
}

err_t change_range(cptr_t space, unsigned op, unsigned rights, uint64_t gfn, uint32_t pages)
{
    for (uint32_t done = 0; done < pages; done += CHANGE_PAGES_MAX) {
        struct list l = { .records = 0 };
        uint32_t n = pages - done < CHANGE_PAGES_MAX ? pages - done : CHANGE_PAGES_MAX;
        err_t e = list_add(space, &l, CHANGE_W0(0, op, rights, n), CHANGE_W1(gfn + done, 0));
        if (e == ERR_OK)
            e = list_send(space, &l);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

const struct range *range_of(const struct memmgr *m, uint32_t frame)
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

err_t change_zero(const struct memmgr *m, const uint32_t *frames, uint32_t n)
{
    struct list l = { .records = 0 };
    err_t e = ERR_OK;

    for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
        const struct range *r = range_of(m, frames[i]);
        e = list_add(CAP_SPACES_SCRUB, &l, CHANGE_W0(r->cap, CHANGE_MAP, RIGHT_READ | RIGHT_WRITE, 1),
                     CHANGE_W1(i, frames[i] - r->first));
    }
    if (e == ERR_OK)
        e = list_send(CAP_SPACES_SCRUB, &l);
    for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
        memset((void *)(SPACES_SCRUB_ADDRESS + ((uint64_t)i << PAGE_SHIFT)), 0, PAGE_BYTES);
        inject_step();
    }
    err_t taken = change_range(CAP_SPACES_SCRUB, CHANGE_UNMAP, 0, 0, n);
    if (e != ERR_OK || taken != ERR_OK)
        printf("memmgr: zeroing %u pages: kernel errors %d, %d\n", n, e, taken);
    return e != ERR_OK ? e : taken;
}
