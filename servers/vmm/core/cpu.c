/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's registers between exit page, struct x86_cpu and reply page: only what changed is answered. */
#include "servers/vmm/core/vmm.h"

void vmm_cpu_load(struct vmm *v)
{
    const volatile struct umbra_exit_page *x = v->exit;
    struct x86_cpu *c = &v->cpu;

    if (v->loaded)
        return;
    for (unsigned i = 0; i < GPRS; i++)
        c->gpr[i] = x->gpr[i];
    c->rip = x->rip;
    c->rflags = x->rflags;
    c->cr0 = v->state->cr0;
    c->cr2 = x->cr2;
    c->cr3 = v->state->cr3;
    c->cr4 = v->state->cr4;
    c->cr8 = v->state->cr8;
    c->efer = v->state->efer;
    for (unsigned i = 0; i < 4; i++)
        c->dr[i] = x->dr[i];
    c->dr6 = x->dr6;
    c->dr7 = x->dr7;
    for (unsigned i = 0; i < SEGS; i++) {
        c->seg[i].selector = x->seg[i].selector;
        c->seg[i].attributes = x->seg[i].attributes;
        c->seg[i].limit = x->seg[i].limit;
        c->seg[i].base = x->seg[i].base;
    }
    c->cpl = x->cpl;
    c->shadow = x->shadow;
    v->before = *c;
    v->loaded = true;
}

static bool segments_differ(const struct x86_cpu *a, const struct x86_cpu *b)
{
    for (unsigned i = 0; i < SEGS; i++)
        if (a->seg[i].selector != b->seg[i].selector || a->seg[i].attributes != b->seg[i].attributes ||
            a->seg[i].limit != b->seg[i].limit || a->seg[i].base != b->seg[i].base)
            return true;
    return false;
}

static void store_debug(struct umbra_reply_page *r, const struct x86_cpu *c, const struct x86_cpu *b)
{
    bool differ = c->dr6 != b->dr6 || c->dr7 != b->dr7;

    for (unsigned i = 0; i < 4; i++) {
        differ |= c->dr[i] != b->dr[i];
        r->dr[i] = c->dr[i];
    }
    r->dr6 = c->dr6;
    r->dr7 = c->dr7;
    if (differ)
        r->groups |= STATE_DEBUG;
}

void vmm_cpu_store(struct vmm *v)
{
    struct umbra_reply_page *r = v->reply;
    const struct x86_cpu *c = &v->cpu, *b = &v->before;

    if (!v->loaded)
        return;
    for (unsigned i = 0; i < GPRS; i++)
        if (c->gpr[i] != b->gpr[i]) {
            r->gpr[i] = c->gpr[i];
            r->gpr_mask |= 1u << i;
            r->groups |= STATE_GPRS;
        }
    if (c->rip != b->rip || c->shadow != b->shadow) {
        r->rip = c->rip;
        r->shadow = c->shadow;
        r->groups |= STATE_RIP;
    }
    if (c->rflags != b->rflags) {
        r->rflags = c->rflags;
        r->groups |= STATE_RFLAGS;
    }
    if (c->cr2 != b->cr2) {
        r->cr2 = c->cr2;
        r->groups |= STATE_CR2;
    }
    if (c->cr0 != b->cr0 || c->cr4 != b->cr4 || c->efer != b->efer) {
        r->cr0 = c->cr0;
        r->cr4 = c->cr4;
        r->efer = c->efer;
        r->groups |= STATE_CONTROL;
    }
    if (segments_differ(c, b)) {
        for (unsigned i = 0; i < SEGS; i++)
            r->seg[i] = c->seg[i];
        r->groups |= STATE_SEGMENTS;
    }
    store_debug(r, c, b);
    v->state->cr0 = c->cr0;
    v->state->cr3 = c->cr3;
    v->state->cr4 = c->cr4;
    v->state->cr8 = c->cr8;
    v->state->efer = c->efer;
}
