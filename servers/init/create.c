/* SPDX-License-Identifier: BSD-2-Clause */
/* Guests that no description names: created in a place that the description keeps free for them
 * (docs/management.md), as often as one likes.
 *
 * A place is a guest's component like any other: which capabilities it gets, and whom they connect, was
 * checked before boot. What comes with a guest is its name, memory, processor time, images and command line.
 * Everything is checked before anything changes. Invariant: a place is free only when nothing of the guest
 * before is left in it (tests/system/test_create.py). */
#include "init.h"
#include "libc/libc.h"
#include "management_server.h"
#include "management_types.h"
#include "servers/init/report.h"
#include <stdio.h>
#include <string.h>

#define PAGES_MIN  1024u /* 4 MiB: BOOT_MEMORY_MIN of the VMM */
#define RECLAIM_US 2000u /* chosen: as long as memmgr has for a part, others have too */
#define SHOW_MS    1000u /* chosen: a full ring takes 25; a line that nobody reads is not waited for */
#define NEVER_RUNS 1u    /* boot module 0 is init, 1 the description */

BUILD_ASSERT(CREATED_LINE_MAX == CREATE_LINE_MAX);

static bool is_place(const struct component *c)
{
    return c->guest && c->guest->spare;
}

/* --- what a guest is given --- */

void create_configure(const struct component *c, struct component_info *info)
{
    const struct desc_guest *g = c->guest;

    if (!is_place(c))
        return;
    memcpy(info->config + g->config_pages, &c->created.pages, sizeof(c->created.pages));
    memset(info->config + g->config_line, 0, g->config_line_bytes);
    strncpy((char *)info->config + g->config_line, c->created.line, g->config_line_bytes - 1);
}

static uint32_t quota_of(const struct component *c)
{
    return !is_place(c) ? (uint32_t)c->guest->pages : c->created.used ? c->created.pages : 0;
}

void create_quotas(const struct init *in, const struct component *c, struct component_info *info)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *of = &in->component[i];
        if (of->guest && of->guest->manager == c->d->head.component)
            __atomic_store_n(&info->quota[of->guest->client], quota_of(of), __ATOMIC_RELEASE);
    }
}

static struct component *manager_of(struct init *in, const struct component *c)
{
    return &in->component[c->guest->manager];
}

/* It may be dead just now: the next one begins with what is true then. */
static void tell_manager(struct init *in, const struct component *c)
{
    struct component *m = manager_of(in, c);

    if (m->now->info)
        create_quotas(in, m, m->now->info);
}

static const volatile struct manager_state *told_by_manager(struct init *in, const struct component *c)
{
    return (const volatile void *)manager_of(in, c)->done;
}

/* Pages of guest memory that it has, by what its manager says. */
static uint32_t mapped(struct init *in, const struct component *c)
{
    const volatile struct manager_state *s = told_by_manager(in, c);

    return s ? s->mapped[c->guest->client] : 0;
}

static uint64_t turn_of_manager(struct init *in, const struct component *c)
{
    const volatile struct manager_state *s = told_by_manager(in, c);

    return s ? __atomic_load_n(&s->turns, __ATOMIC_ACQUIRE) : 0;
}

/* Its manager has not waited for a message since it went: what it asked for may be granted yet. */
static bool may_be_served(struct init *in, const struct component *c)
{
    return told_by_manager(in, c) && turn_of_manager(in, c) == c->created.turn;
}

/* --- what is left of one --- */

/* Segments: device state, records, traces. */
static void segments_clear(struct init *in, const struct component *c)
{
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        const struct desc_map *m = (const void *)r;
        if (r->op != DESC_OP_MAP || r->component != c->d->head.component || m->address < DESC_SEGMENT ||
            m->address >= DESC_MODULE)
            continue;
        for (uint32_t i = 0; i < m->count; i++) {
            cptr_t frame = group_cap(&in->group[m->group], m->first + i);
            scratch_open(in, frame);
            memset((void *)INIT_SCRATCH, 0, PAGE_BYTES);
            scratch_close(in, frame);
        }
    }
}

/* What init knew of the guest. */
static void forget(struct init *in, struct component *c)
{
    watch_used(c);
    c->used = c->spent = c->watched = 0;
    c->ended = c->clean = true;
    c->paused = c->stopped = c->taken_over = false;
    c->incarnations = c->restarts = c->deaths = c->failures = 0;
    c->died_at = c->later = c->stopped_at = c->stopped_exit = c->upgraded_at = 0;
    c->audited = (struct audited){ .asked = false };
    c->stop = (struct stop){ .at = 0 };
    c->image = c->before = c->offered = (struct image){ NULL, 0 };
    c->upgrading = false;
    c->upgrade_phase = UPGRADE_PHASE_NONE;
    c->upgrade_text[0] = c->why[0] = 0;
    c->now = &c->process[0];
    if (in->upload.of == c)
        in->upload.of = NULL;
    if (c->report)
        memset(c->report, 0, sizeof(*c->report));
}

/* --- coming back --- */

static void make_timer(struct init *in)
{
    in->reclaim_timer = objects_new(in, NULL, &in->slots, OBJ_TIMER, 0, 1);
    cptr_t signal = derived(in, &in->slots, in->signal, RIGHT_WRITE, SIGNAL_RECLAIM);
    if (sys_invoke1(in->reclaim_timer, TIMER_BIND, signal) != ERR_OK)
        fail(in, ERR_OK, "bind the timer of what comes back");
}

void create_reclaim(struct init *in)
{
    bool more = false;

    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        if (!c->created.leaving)
            continue;
        if (may_be_served(in, c) || mapped(in, c) ||
            (!rings_empty(c) && libc_tsc() < c->created.shows_until)) {
            more = true;
            continue;
        }
        rings_pass(c);
        rings_clear(c);
        printf("init: place %s is free\n", desc_name(&in->desc, c->d->name));
        in->graph_due = in->graph;
        c->created = (struct created){ .used = false };
        c->name = desc_name(&in->desc, c->d->name);
    }
    if (!more)
        return;
    restart_ping_servers(in); /* the console shows what it has, memmgr takes back what it gave */
    if (!in->reclaim_timer)
        make_timer(in);
    sys_invoke1(in->reclaim_timer, TIMER_SET, libc_tsc() + in->boot->tsc_hz / 1000000 * RECLAIM_US);
}

bool create_vacant(const struct component *c)
{
    return is_place(c) && !c->created.used && !c->created.leaving;
}

/* --- create --- */

static bool good_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    return *name && strchr(first, *name) && strspn(name, all) == strlen(name);
}

static bool taken_name(struct init *in, const char *name)
{
    bool found = strcmp(name, "init") == 0 || strcmp(name, "kernel") == 0;

    for (uint32_t i = 0; i < in->desc.header.components && !found; i++)
        found = strcmp(in->component[i].name, name) == 0 ||
                strcmp(desc_name(&in->desc, in->component[i].d->name), name) == 0;
    return found;
}

/* Boot modules that a component is built from are nobody's kernel. */
static bool image_of(struct init *in, const char *name, uint32_t *module)
{
    *module = *name ? module_known(in, name) : 0;
    for (uint32_t i = 0; i < in->desc.header.components && *module; i++)
        if (module_known(in, desc_name(&in->desc, in->component[i].d->module)) == *module)
            *module = 0;
    if (*module <= NEVER_RUNS)
        *module = 0;
    return !*name || *module;
}

/* Pages that may still be given to guests in the places of c's manager. */
static uint64_t pages_left(const struct init *in, const struct component *c)
{
    uint64_t left = c->guest->spare_pages;

    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *of = &in->component[i];
        if (is_place(of) && of->guest->manager == c->guest->manager)
            left -= of->created.pages < left ? of->created.pages : left;
    }
    return left;
}

/* The first free place that is large enough, and why there is none. */
static struct component *place_for(struct init *in, uint32_t pages, uint32_t percent, err_t *why)
{
    *why = ERR_NO_SUPPORT;
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        if (!is_place(c))
            continue;
        if (pages < PAGES_MIN || pages > c->guest->pages) {
            *why = *why == ERR_NO_SUPPORT ? MANAGEMENT_ERR_SIZE : *why;
        } else if (c->d->period_us * percent / 100 > c->d->budget_us) {
            *why = MANAGEMENT_ERR_SHARE;
        } else if (!create_vacant(c)) {
            *why = MANAGEMENT_ERR_PLACE;
        } else if (pages > pages_left(in, c)) {
            *why = ERR_NO_MEMORY;
        } else {
            *why = ERR_OK;
            return c;
        }
    }
    return NULL;
}

static err_t decode_create(struct init *in, const char *name, uint32_t pages, uint32_t percent,
                           const char *kernel, const char *initrd, struct component **place,
                           struct created *g)
{
    err_t why;

    if (!good_name(name))
        return MANAGEMENT_ERR_NAME;
    if (taken_name(in, name))
        return MANAGEMENT_ERR_TAKEN;
    if (percent > 100)
        return MANAGEMENT_ERR_SHARE;
    if (!*kernel || !image_of(in, kernel, &g->module[DESC_MODULE_KERNEL]) ||
        !image_of(in, initrd, &g->module[DESC_MODULE_INITRD]))
        return MANAGEMENT_ERR_IMAGE;
    *place = place_for(in, pages, percent, &why);
    if (!*place)
        return why;
    g->used = true;
    g->pages = pages;
    g->budget_us = percent ? (*place)->d->period_us * percent / 100 : (*place)->d->budget_us;
    return g->budget_us ? ERR_OK : MANAGEMENT_ERR_SHARE;
}

static void perform_create(struct init *in, struct component *c, const struct created *g)
{
    c->created = *g;
    c->name = c->created.name;
    c->budget_us = g->budget_us;
    share_whole(in, c);
    tell_manager(in, c);
    rings_clear(c);
    c->ended = c->clean = c->waits = false;
    supervise_goes_on(in);
    printf("guest %s created in %s\n", c->name, desc_name(&in->desc, c->d->name));
    background_begin(in, c);
    build_process(in, c, c->now);
    background_end(in, c);
}

err_t management_create_impl(void *self, uint64_t badge, uint32_t pages, uint32_t percent, const char *name,
                             const char *kernel, const char *initrd, const char *line)
{
    struct init *in = self;
    struct created g = { .used = false };
    struct component *c;

    (void)badge;
    err_t e = decode_create(in, name, pages, percent, kernel, initrd, &c, &g);
    if (e != ERR_OK)
        return e;
    snprintf(g.name, sizeof(g.name), "%s", name);
    snprintf(g.line, sizeof(g.line), "%s", line);
    perform_create(in, c, &g);
    return ERR_OK;
}

/* --- destroy --- */

static void perform_destroy(struct init *in, struct component *c)
{
    c->stopped = true; /* the machine does not end with this guest before it is gone */
    if (!c->ended)
        supervise_end(in, c, true, "destroyed", "");
    background_begin(in, c);
    rings_drop_input(c); /* it has no reader any more */
    build_renew(in, c);
    segments_clear(in, c);
    background_end(in, c);
    forget(in, c);
    c->created.used = false;
    c->created.leaving = true;
    c->created.turn = turn_of_manager(in, c);
    c->created.shows_until = libc_tsc() + in->boot->tsc_hz / 1000 * SHOW_MS;
    tell_manager(in, c);
    printf("guest %s destroyed\n", c->name);
    in->graph_due = in->graph;
    create_reclaim(in);
    supervise_end_if_last(in);
}

err_t management_destroy_impl(void *self, uint64_t badge, uint32_t number)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);

    (void)badge;
    if (!c || create_vacant(c))
        return ERR_RANGE;
    if (!is_place(c))
        return ERR_NO_SUPPORT;
    if (c->created.leaving)
        return ERR_WRONG_STATE;
    perform_destroy(in, c);
    return ERR_OK;
}

err_t management_places_impl(void *self, uint64_t badge, struct places_info *info)
{
    struct init *in = self;

    (void)badge;
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *c = &in->component[i];
        if (!is_place(c))
            continue;
        info->places++;
        info->vacant += create_vacant(c);
        info->most_pages = c->guest->pages > info->most_pages ? (uint32_t)c->guest->pages : info->most_pages;
        info->pages = (uint32_t)c->guest->spare_pages;
        info->left_pages = (uint32_t)pages_left(in, c);
        info->mapped_pages += mapped(in, c);
    }
    return ERR_OK;
}
