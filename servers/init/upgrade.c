/* SPDX-License-Identifier: BSD-2-Clause */
/* Another program for a guest's VMM, while the guest runs (docs/management.md).
 *
 * The file comes in pieces into memory of init's own and is kept there as a boot module is. The incarnation
 * that waits is built from it; only when that has looked at the guest's saved state and is ready does the
 * guest go over to it. Whatever is wrong before leaves the old one as it is. Invariant: an image is written
 * only while no component is built from it. */
#include "init.h"
#include "management_server.h"
#include "management_types.h"
#include <stdio.h>
#include <string.h>

#define PLACE_BYTES (1ul << FRAME_2M)
BUILD_ASSERT(UPGRADE_IMAGE_MAX == PLACE_BYTES);

static void say(struct component *c, upgrade_phase_t phase, const char *text)
{
    c->upgrade_phase = phase;
    snprintf(c->upgrade_text, sizeof(c->upgrade_text), "%s", text);
}

/* The process that is not now. */
static struct process *other(struct component *c)
{
    return &c->process[c->now == &c->process[0]];
}

/* --- places for images --- */

static bool in_use(const struct init *in, const uint8_t *place)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *c = &in->component[i];
        if (c->image.file == place || c->before.file == place || (c->upgrading && c->offered.file == place))
            return true;
    }
    return false;
}

/* A place that nobody is built from; NULL: there is no memory for another one. */
static uint8_t *place_for(struct init *in)
{
    for (uint32_t i = 0; i < in->images; i++)
        if (!in_use(in, (const uint8_t *)(INIT_IMAGES + i * PLACE_BYTES)))
            return (uint8_t *)(INIT_IMAGES + i * PLACE_BYTES);
    if (in->images == IMAGES_MAX || !pool_possible(in, 2 * PLACE_BYTES)) /* and the page tables */
        return NULL;
    uint64_t address = INIT_IMAGES + in->images++ * PLACE_BYTES;
    space_memory(in, &in->space, address, PLACE_BYTES, RIGHT_READ | RIGHT_WRITE);
    return (uint8_t *)address;
}

/* --- the interface --- */

static bool may_upgrade(const struct component *c)
{
    return !c->ended && !c->paused && c->now->state == PROCESS_READY;
}

bool upgrade_on_trial(struct init *in, const struct component *c)
{
    return c->upgrade_phase == UPGRADE_PHASE_DONE && restart_answered(in, c) == c->upgraded_at;
}

err_t management_upload_impl(void *self, uint64_t badge, uint32_t number, uint32_t size, uint32_t crc)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (!c->restartable)
        return ERR_NO_SUPPORT;
    if (!may_upgrade(c) || upgrade_on_trial(in, c))
        return ERR_WRONG_STATE;
    if (c->upgrading)
        upgrade_refused(in, c, "another upload began");
    if (in->upload.of)
        say(in->upload.of, UPGRADE_PHASE_REFUSED, "another upload began");
    c->before = (struct image){ NULL, 0 };
    in->upload = (struct upload){ .to = place_for(in), .size = size, .wanted = crc };
    if (!in->upload.to)
        return ERR_NO_MEMORY;
    in->upload.of = c;
    say(c, UPGRADE_PHASE_UPLOADING, "");
    return ERR_OK;
}

err_t management_piece_impl(void *self, uint64_t badge, uint32_t offset, const uint8_t *data,
                            uint32_t data_len)
{
    struct upload *u = &((struct init *)self)->upload;

    (void)badge;
    if (!u->of)
        return ERR_WRONG_STATE;
    if (offset != u->got || data_len > u->size - u->got)
        return ERR_RANGE;
    memcpy(u->to + u->got, data, data_len);
    u->crc = desc_crc32(u->crc, data, data_len);
    u->got += data_len;
    return ERR_OK;
}

static const char *refusal(struct init *in, const struct component *c, const struct upload *u)
{
    struct image image = { u->to, u->size };

    if (u->got != u->size)
        return "the file did not come whole";
    if (u->crc != u->wanted)
        return "the checksum does not fit";
    return build_refuses(in, c, &image);
}

err_t management_upgrade_impl(void *self, uint64_t badge, uint32_t number)
{
    struct init *in = self;
    struct component *c = manage_guest(in, number);
    struct upload u = in->upload;

    (void)badge;
    if (!c)
        return ERR_RANGE;
    if (u.of != c || !may_upgrade(c) ||
        restart_answered(in, c) == 0) /* before, there is no state to look at */
        return ERR_WRONG_STATE;
    in->upload.of = NULL;
    const char *wrong = refusal(in, c, &u);
    if (!wrong && !build_possible(in, c, other(c)))
        wrong = "there is too little memory for a second VMM";
    if (wrong) {
        say(c, UPGRADE_PHASE_REFUSED, wrong);
        return ERR_OK;
    }
    c->offered = (struct image){ u.to, u.size };
    c->upgrading = true;
    say(c, UPGRADE_PHASE_PREPARING, "");
    restart_other(in, c);
    return ERR_OK;
}

err_t management_upgraded_impl(void *self, uint64_t badge, uint32_t number, upgrade_phase_t *phase,
                               char text[96])
{
    struct component *c = manage_guest(self, number);

    (void)badge;
    if (!c)
        return ERR_RANGE;
    *phase = c->upgrade_phase;
    snprintf(text, sizeof(c->upgrade_text), "%s", c->upgrade_text);
    return ERR_OK;
}

/* --- how it goes on --- */

void upgrade_refused(struct init *in, struct component *c, const char *text)
{
    c->upgrading = false;
    say(c, UPGRADE_PHASE_REFUSED, text);
    printf("init: %s: upgrade refused: %s\n", c->name, text);
    process_free(in, c, other(c));
    share_whole(in, c);
}

void upgrade_ready(struct init *in, struct component *c)
{
    c->upgrading = false;
    c->before = c->image;
    c->image = c->offered;
    printf("init: %s: upgrade from \"%s\" to \"%s\"\n", c->name, c->now->program, other(c)->program);
    if (!restart_planned(in, c)) {
        supervise_end(in, c, false, "internal error", "it cannot be handed over");
        return;
    }
    c->upgraded_at = c->stopped_exit;
    c->failures = 0; /* they were the other program's */
    say(c, UPGRADE_PHASE_DONE, "");
}

void upgrade_gives_way(struct init *in, struct component *c, uint64_t answered, const char *how)
{
    char text[sizeof(c->upgrade_text)];

    if (c->upgrade_phase != UPGRADE_PHASE_DONE || answered != c->upgraded_at)
        return;
    c->image = c->before;
    process_free(in, c, other(c)); /* it is the new program, too */
    snprintf(text, sizeof(text), "the new program %s before it answered an exit", how);
    say(c, UPGRADE_PHASE_REFUSED, text);
}
