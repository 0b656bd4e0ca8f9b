/* SPDX-License-Identifier: BSD-2-Clause */
/* See flushed.h. */
#include "servers/vmm/flushed.h"
#include <stdio.h>

#if UMBRA_DEBUG
struct place {
    const struct flushed *f;
    const struct umbra_exit_page *exit;
    gva_t va;
};

static void say(void *context, const struct shadow_finding *x)
{
    const struct place *p = context;

    if (p->f->left == 0)
        printf("a flush left %#llx at exit %llu: table %u entry %u: %s (%#llx, the guest's %#llx)\n",
               (unsigned long long)p->va.v, (unsigned long long)p->exit->seq, x->table, x->index, x->what,
               (unsigned long long)x->entry, (unsigned long long)x->guest);
}

static void look(struct flushed *f, const struct vmm *v, gva_t va)
{
    struct place p = { f, v->exit, va };

    f->looks++;
    f->left += shadow_audit_flushed(v->shadow, va, say, &p) != 0;
}

static void look_around(struct flushed *f, const struct vmm *v)
{
    if (f->turn++ % FLUSHED_EVERY)
        return;
    look(f, v, (gva_t){ v->exit->rip });
    look(f, v, (gva_t){ v->exit->gpr[RSP] });
    look(f, v, f->recent[f->turn / FLUSHED_EVERY % FLUSHED_RECENT]);
}

void flushed_check(struct flushed *f, const struct vmm *v)
{
    const struct shadow_counters *c = shadow_counters(v->shadow);
    uint64_t loads = c->cr3_known + c->cr3_new;

    if (v->exit->kind == EXIT_PAGE)
        f->recent[f->next++ % FLUSHED_RECENT].v = v->exit->info[0];
    else if (v->exit->kind == EXIT_CR && loads != f->loads)
        look_around(f, v);
    else if (v->exit->kind == EXIT_INVLPG && c->invlpgs != f->invlpgs)
        look(f, v, shadow_last_invlpg(v->shadow));
    f->loads = loads;
    f->invlpgs = c->invlpgs;
}
#endif
