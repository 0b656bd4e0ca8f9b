/* SPDX-License-Identifier: BSD-2-Clause */
/* Running, writing down, and shortening what random guests do. See steps.h. */
#include "steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <tests/host/support/gmem_host.h>

#define CR0_PG_  BIT(31)
#define CR0_PE_  BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)

static void access_run(struct world *w, const struct step *s)
{
    struct world_access a = { .va = w->cpu.efer & EFER_LMA ? s->a : s->a & 0xffffffff,
                              .write = s->flags & STEP_WRITE,
                              .exec = s->flags & STEP_EXEC,
                              .user = s->flags & STEP_USER,
                              .ac = s->flags & STEP_AC,
                              .implicit = s->flags & STEP_IMPLICIT,
                              .delivering = s->flags & STEP_DELIVERING,
                              .not_emulated = s->flags & STEP_NOT_EMULATED,
                              .len = s->flags >> 8,
                              .value = s->b };
    if (a.va + BIT(47) < BIT(48))
        world_access(w, a);
}

/* What MOV CR0, MOV CR4 and WRMSR refuse (APM vol. 2, 3.1, 14.6) is left out; LMA follows. */
static void flip_run(struct world *w, const struct step *s)
{
    uint64_t cr0 = w->cpu.cr0 ^ s->a, cr4 = w->cpu.cr4 ^ s->b, efer = w->cpu.efer ^ s->c;
    bool pg = cr0 & CR0_PG_, was_pg = w->cpu.cr0 & CR0_PG_;

    if ((pg && !(cr0 & CR0_PE_)) || (pg && was_pg && (s->c & EFER_LME)) ||
        (pg && (efer & EFER_LME) && !(cr4 & CR4_PAE_)))
        return;
    efer = pg && (efer & EFER_LME) ? efer | EFER_LMA : efer & ~EFER_LMA;
    world_mode(w, cr0, cr4, efer);
}

void step_run(struct world *w, const struct step *s)
{
    w->random = s->random | 1;
    if (w->j.full)
        world_cr3(w, w->cpu.cr3);
    switch (s->kind) {
    case STEP_ACCESS:
        access_run(w, s);
        break;
    case STEP_DMA:
        world_dma(w, s->a, s->flags, s->b);
        break;
    case STEP_CR3:
        world_cr3(w, s->a);
        break;
    case STEP_FLIP:
        flip_run(w, s);
        break;
    case STEP_INVLPG:
        world_invlpg(w, w->cpu.efer & EFER_LMA ? s->a : s->a & 0xffffffff);
        break;
    case STEP_EXTEND:
        machine_extend(w->m, w->cpu.efer & EFER_LMA ? s->a : s->a & 0xffffffff);
        break;
    case STEP_EPOCH:
        world_new_epoch(w);
        break;
    case STEP_HOLE:
        world_hole(w, s->a);
        break;
    case STEP_ROOM:
        w->ops_max = (uint32_t)s->a;
        break;
    case STEP_LOSE:
        gmem_host_fail_cas(w->mem, (unsigned)s->a);
        break;
    default:
        world_audit(w);
    }
}

void step_print(FILE *to, const struct step *s)
{
    fprintf(to, "step %u %#x %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64 "\n", s->kind, s->flags, s->a,
            s->b, s->c, s->random);
}

bool step_parse(const char *line, struct step *s)
{
    const char *at = strstr(line, "step ");
    uint64_t n[6];
    if (!at)
        return false;
    at += 5;
    for (unsigned i = 0; i < 6; i++) {
        char *end;
        n[i] = strtoull(at, &end, 0);
        if (end == at)
            return false;
        at = end;
    }
    *s = (struct step){ (uint32_t)n[0], (uint32_t)n[1], n[2], n[3], n[4], n[5] };
    return s->kind < STEP_KINDS;
}

/* ---- shorter lists ---- */

static void without(struct steps *to, const struct steps *list, uint32_t from, uint32_t n)
{
    to->count = list->count - n;
    memcpy(to->step, list->step, from * sizeof(struct step));
    memcpy(to->step + from, list->step + from + n, (list->count - from - n) * sizeof(struct step));
}

/* Pieces of n steps are left out, from the end. Returns whether any could be. */
static bool leave_out(struct steps *list, uint32_t n, steps_fail *fails, void *context, uint32_t *tries)
{
    struct steps *shorter = malloc(sizeof(*shorter));
    bool any = false;

    for (uint32_t end = list->count; end >= n && *tries > 0; end = end > list->count ? list->count : end) {
        without(shorter, list, end - n, n);
        --*tries;
        if (fails(context, shorter)) {
            memcpy(list, shorter, sizeof(*list));
            any = true;
        }
        end -= n;
    }
    free(shorter);
    return any;
}

uint32_t steps_shrink(struct steps *list, steps_fail *fails, void *context, uint32_t tries)
{
    uint32_t left = tries;

    for (uint32_t n = list->count / 2; n >= 1 && left > 0;) {
        bool any = leave_out(list, n, fails, context, &left);
        if (n == 1 && !any)
            break;
        n = n > 1 ? n / 2 : 1;
    }
    return tries - left;
}
