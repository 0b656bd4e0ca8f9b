/* SPDX-License-Identifier: BSD-2-Clause */
/* What the management channel asks of init, by the interface that only `control` has (docs/management.md).
 *
 * Every call is checked, done and answered at once: nobody waits in here. Guests are numbered among the
 * components that run one. */
#include "init.h"
#include "init_component.h"
#include "management_server.h"
#include "management_types.h"
#include <stdio.h>
#include <string.h>

struct component *manage_guest(struct init *in, uint32_t number)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].guest && number-- == 0)
            return &in->component[i];
    return NULL;
}

err_t management_guests_impl(void *self, uint64_t badge, uint32_t *count)
{
    struct init *in = self;

    (void)badge;
    *count = 0;
    while (manage_guest(in, *count))
        ++*count;
    return ERR_OK;
}

static guest_phase_t phase_of(const struct component *c)
{
    if (c->created.leaving)
        return GUEST_PHASE_DESTROYING;
    if (create_vacant(c))
        return GUEST_PHASE_VACANT;
    if (c->ended)
        return c->stopped ? GUEST_PHASE_STOPPED : GUEST_PHASE_ENDED;
    if (c->paused)
        return GUEST_PHASE_PAUSED;
    if (c->now->state == PROCESS_BUILT)
        return GUEST_PHASE_WAITING;
    return c->now->state == PROCESS_READY ? GUEST_PHASE_RUNNING : GUEST_PHASE_STARTING;
}

err_t management_guest_impl(void *self, uint64_t badge, uint32_t number, struct guest_info *info)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    const struct process *next = &c->process[c->now == &c->process[0]];
    snprintf(info->name, sizeof(info->name), "%s", create_vacant(c) ? "" : c->name);
    snprintf(info->ended, sizeof(info->ended), "%s", c->why);
    info->phase = phase_of(c);
    info->incarnation = c->now->info ? c->now->info->incarnation : 0;
    info->restarts = c->restarts;
    info->answered = restart_answered(in, c);
    info->cpu_us = watch_used(c) / (in->boot->tsc_hz / 1000000);
    info->memory_pages = c->guest->spare ? c->created.pages : (uint32_t)c->guest->pages;
    info->vmm_pages = c->ended ? 0 : (uint32_t)(c->now->quota.used >> PAGE_SHIFT);
    info->successor = next->state == PROCESS_WAITING;
    snprintf(info->program, sizeof(info->program), "%s", c->now->program);
    snprintf(info->next, sizeof(info->next), "%s", info->successor ? next->program : "");
    return ERR_OK;
}

static struct component *find_server(struct init *in, uint32_t number)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (!in->component[i].guest && number-- == 0)
            return &in->component[i];
    return NULL;
}

err_t management_server_impl(void *self, uint64_t badge, uint32_t number, struct server_info *info)
{
    struct init *in = self;
    struct component *c = find_server(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    snprintf(info->name, sizeof(info->name), "%s", c->name);
    snprintf(info->why, sizeof(info->why), "%s", c->why);
    info->running = !c->ended && c->now->state == PROCESS_READY;
    info->ended = c->ended;
    info->successor = c->process[c->now == &c->process[0]].state == PROCESS_WAITING;
    info->incarnation = c->now->info ? c->now->info->incarnation : 0;
    info->restarts = c->restarts + c->rebuilds;
    info->cpu_us = watch_used(c) / (in->boot->tsc_hz / 1000000);
    info->pages = c->ended ? 0 : (uint32_t)(c->now->quota.used >> PAGE_SHIFT);
    return ERR_OK;
}

static err_t report_piece(struct init *in, const struct component *c, uint32_t offset,
                          uint8_t text[REPORT_PIECE_MAX], uint32_t *text_len)
{
    size_t bytes;

    if (!c)
        return ERR_RANGE;
    const char *all = report_text(in, c, &bytes);
    if (offset > bytes)
        return ERR_RANGE;
    *text_len = bytes - offset < REPORT_PIECE_MAX ? (uint32_t)(bytes - offset) : REPORT_PIECE_MAX;
    memcpy(text, all + offset, *text_len);
    return ERR_OK;
}

err_t management_report_impl(void *self, uint64_t badge, uint32_t number, uint32_t offset,
                             uint8_t text[REPORT_PIECE_MAX], uint32_t *text_len)
{
    (void)badge;
    return report_piece(self, manage_guest(self, number), offset, text, text_len);
}

err_t management_server_report_impl(void *self, uint64_t badge, uint32_t number, uint32_t offset,
                                    uint8_t text[REPORT_PIECE_MAX], uint32_t *text_len)
{
    (void)badge;
    return report_piece(self, find_server(self, number), offset, text, text_len);
}

err_t management_server_restart_impl(void *self, uint64_t badge, uint32_t number)
{
    struct init *in = self;
    struct component *c = find_server(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (!c->restartable)
        return ERR_NO_SUPPORT;
    if (c->ended || c->now->state != PROCESS_READY)
        return ERR_WRONG_STATE;
    printf("init: %s: told to replace it\n", c->name);
    c->died_at = ~0ull; /* this is no death */
    if (!restart(in, c))
        supervise_end(in, c, false, "internal error", "it cannot be handed over");
    return ERR_OK;
}

/* --- what is done to a guest --- */

/* Whoever takes over lets the guest go on: nobody may before it is told to. */
static err_t pause(struct init *in, struct component *c)
{
    if (c->upgrading)
        upgrade_refused(in, c, "the guest was paused");
    restart_pause(in, c);
    c->paused = true;
    return ERR_OK;
}

static err_t stop(struct init *in, struct component *c)
{
    c->paused = false;
    c->stopped = true; /* before: the machine does not end with the last guest that was stopped */
    supervise_end(in, c, true, "stopped", "");
    return ERR_OK;
}

/* The next incarnation takes over; as all of them do, it hides from its guest how long that took. */
static err_t go_on(struct init *in, struct component *c)
{
    c->paused = false;
    if (restart_planned(in, c))
        return ERR_OK;
    supervise_end(in, c, false, "internal error", "it cannot be handed over");
    return ERR_NO_MEMORY;
}

/* Its memory is still memmgr's to give, the same frames or others, zeroed: the new VMM asks for it. */
static err_t start(struct init *in, struct component *c)
{
    c->waits = false;
    if (!c->ended) {
        build_start(in, c);
        return ERR_OK;
    }
    printf("init: %s: told to start again\n", c->name);
    c->ended = c->clean = c->stopped = false;
    supervise_goes_on(in);
    c->deaths = c->failures = 0;
    c->stopped_at = c->watched = c->spent = 0;
    c->upgraded_at = ~0ull;
    c->audited = (struct audited){ .asked = false }; /* whoever was asked is no more */
    c->why[0] = 0;
    restart_again(in, c);
    return ERR_OK;
}

static err_t perform(struct init *in, struct component *c, guest_action_t action)
{
    switch (action) {
    case GUEST_ACTION_PAUSE:
        return pause(in, c);
    case GUEST_ACTION_STOP:
        return stop(in, c);
    case GUEST_ACTION_START:
        return start(in, c);
    case GUEST_ACTION_RESUME:
        return go_on(in, c);
    case GUEST_ACTION_RESTART:
    case GUEST_ACTION_KILL:
        printf("init: %s: told to %s its VMM\n", c->name, action == GUEST_ACTION_KILL ? "kill" : "replace");
        return go_on(in, c);
    case GUEST_ACTION_HANG:
        if (!in->boot->debug)
            return ERR_NO_SUPPORT;
        restart_hang(in, c);
        return ERR_OK;
    default:
        return ERR_NO_SUPPORT;
    }
}

static bool fits(const struct component *c, guest_action_t action)
{
    guest_phase_t phase = phase_of(c);

    switch (action) {
    case GUEST_ACTION_STOP:
        return phase == GUEST_PHASE_RUNNING || phase == GUEST_PHASE_PAUSED || phase == GUEST_PHASE_STARTING;
    case GUEST_ACTION_RESUME:
        return phase == GUEST_PHASE_PAUSED;
    case GUEST_ACTION_START:
        return phase == GUEST_PHASE_WAITING || phase == GUEST_PHASE_STOPPED || phase == GUEST_PHASE_ENDED;
    default:
        return phase == GUEST_PHASE_RUNNING;
    }
}

err_t management_act_impl(void *self, uint64_t badge, uint32_t number, guest_action_t action)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (!fits(c, action))
        return ERR_WRONG_STATE;
    if (!c->restartable && action != GUEST_ACTION_STOP && phase_of(c) != GUEST_PHASE_WAITING)
        return ERR_NO_SUPPORT; /* nothing of its guest outlives it */
    return perform(in, c, action);
}

err_t management_audit_impl(void *self, uint64_t badge, uint32_t number)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (!c->restartable)
        return ERR_NO_SUPPORT; /* a component without a shadow MMU of ours */
    if (phase_of(c) != GUEST_PHASE_RUNNING && phase_of(c) != GUEST_PHASE_STARTING) /* then a little later */
        return ERR_WRONG_STATE;
    c->audited = (struct audited){ .asked = true };
    restart_audit(in, c);
    return ERR_OK;
}

err_t management_audited_impl(void *self, uint64_t badge, uint32_t number, struct audit_info *info)
{
    struct component *c = manage_guest(self, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (!c->audited.asked || (!c->audited.finished && c->ended))
        return ERR_WRONG_STATE;
    info->finished = c->audited.finished;
    info->number = c->audited.exit;
    info->incarnation = c->audited.incarnation;
    info->entries = c->audited.entries;
    info->unsynced = c->audited.unsynced;
    info->differences = c->audited.differences;
    snprintf(info->first, sizeof(info->first), "%s", c->audited.first);
    const struct kernel_found *k = &c->audited.kernel;
    info->kernel_tables = k->tables;
    info->kernel_entries = k->entries;
    info->violations = k->violations;
    info->tlb_entries = k->tlb[TLB_ENTRIES];
    info->tlb_losses = k->tlb[TLB_LOSSES];
    info->tlb_begun = k->tlb[TLB_BEGUN];
    info->tlb_emptied = k->tlb[TLB_EMPTIED];
    info->tlb_owed = k->tlb[TLB_OWED];
    info->tlb_needless = k->tlb[TLB_NEEDLESS];
    info->tlb_sampled = k->tlb[TLB_SAMPLED];
    info->tlb_spared = k->tlb[TLB_SPARED];
    return ERR_OK;
}
