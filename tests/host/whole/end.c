/* SPDX-License-Identifier: BSD-2-Clause */
/* What user code may read, and the end of a history: when all that was ever made is revoked, nothing is left
 * of it. */
#include "world.h"
#include <string.h>

/* A word of a page, or a register, that would tell where the kernel has its memory (I4). */
static bool tells(uint64_t word)
{
    return word - (uint64_t)(uintptr_t)phys_base_host < WHOLE_BYTES;
}

static void check_page(const void *page, size_t bytes)
{
    const uint64_t *words = page;

    for (size_t i = 0; i < bytes / sizeof(*words); i++)
        MUST_SAY(!tells(words[i]), "word %zu of a page says %#lx", i, words[i]);
}

void check_told(void)
{
    const struct tcb *t = cpu.current;

    for
        EACH_OBJECT(o, OBJ_VCPU)
    check_page(&((const struct vcpu *)phys((hpa_t){ o->at }))->exit, sizeof(struct umbra_exit_page));
    if (!t)
        return;
    for (unsigned i = 0; i < offsetof(struct regs, vector) / 8; i++)
        MUST(!tells(((const uint64_t *)&t->regs)[i]));
    if (t->buffer)
        check_page(t->buffer, sizeof(*t->buffer));
}

/* --- the end --- */

static struct cap *top_with_children(void)
{
    for (unsigned i = 0; i < census.nodes; i++)
        if (!census.node[i]->parent && census.node[i]->child)
            return census.node[i];
    return NULL;
}

static void revoke(struct cap *c)
{
    err_t e;

    do {
        cap_work_begin(&init_thread()->dying);
        e = cap_revoke(c);
        cap_work_end(e);
        MUST(e == ERR_OK || e == PREEMPTED);
    } while (e == PREEMPTED);
}

void take_everything(void)
{
    struct cap *top;

    while ((top = top_with_children())) {
        revoke(top);
        check_tree();
    }
    while (next_dying(NULL, NULL))
        cap_work_end(ERR_OK);
    check_tree();
    for (unsigned i = 0; i < census.nodes; i++)
        MUST_SAY(!census.node[i]->parent, "a %s is left", object_name(census.node[i]->type));
    for (uint64_t f = RAM_AT >> PAGE_SHIFT; f < frame_meta_count; f++)
        MUST_SAY(META_KIND(frame_meta[f].owner) == META_NONE, "metadata of frame %lx are left", f);
    for (unsigned i = 0; i < IRQ_LINES; i++)
        MUST(!cpu.irq_taken[i] && cpu.irq[i].type == OBJ_NULL);
    MUST(!cpu.highest && !fake.unmasked);
    check_spaces();
    check_guests();
    check_threads();
}
