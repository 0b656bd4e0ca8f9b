/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's registers between exit page, struct x86_cpu and reply page: only what changed is answered. */
#include "servers/vmm/core/vmm.h"

void vmm_cpu_load(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    struct x86_cpu *c = &v->cpu;

    if (v->loaded)
        return;
    if (v->sync && !(x->valid & STATE_SEGMENTS))
        v->sync();
    for (unsigned i = 0; i < GPRS; i++)
        c->gpr[i] = x->gpr[i];
    c->rip = x->rip;
    c->rflags = x->rflags;
    c->cr0 = v->state->cr0;
    c->cr2 = x->cr2;
    c->cr3 = v->state->cr3;
    c->cr4 = v->state->cr4;
    c->cr8 = v->state->machine.lapic.tpr >> 4;
    c->efer = v->state->efer;
    for (unsigned i = 0; i < 4; i++)
        c->dr[i] = v->state->dr[i];
    c->dr6 = v->state->dr6;
    c->dr7 = v->state->dr7;
    __builtin_memcpy(c->seg, x->seg, sizeof(c->seg));
    c->cpl = x->cpl;
    c->shadow = x->shadow;
    v->loaded = true;
}

static bool segments_differ(const struct umbra_segment *a, const struct umbra_segment *b)
{
    uint64_t differ = 0, left[2], right[2];

    BUILD_ASSERT(sizeof(left) == sizeof(*a));
    for (unsigned i = 0; i < SEGS; i++) {
        __builtin_memcpy(left, &a[i], sizeof(left));
        __builtin_memcpy(right, &b[i], sizeof(right));
        differ |= (left[0] ^ right[0]) | (left[1] ^ right[1]);
    }
    return differ;
}

/* The guest cannot change its debug registers without an exit: the state segment has them. */
static void store_debug(struct vmm *v)
{
    struct umbra_reply_page *r = v->reply;
    const struct x86_cpu *c = &v->cpu;
    const struct vmm_state *s = v->state;
    uint64_t differ = (c->dr6 ^ s->dr6) | (c->dr7 ^ s->dr7);

    for (unsigned i = 0; i < 4; i++)
        differ |= c->dr[i] ^ s->dr[i];
    if (!differ)
        return;
    for (unsigned i = 0; i < 4; i++) {
        r->dr[i] = c->dr[i];
        VMM_SET(v, dr[i], c->dr[i]);
    }
    r->dr6 = c->dr6;
    r->dr7 = c->dr7;
    VMM_SET(v, dr6, c->dr6);
    VMM_SET(v, dr7, c->dr7);
    r->groups |= STATE_DEBUG;
}

static void store_control(struct vmm *v)
{
    struct umbra_reply_page *r = v->reply;
    const struct x86_cpu *c = &v->cpu;
    const struct vmm_state *s = v->state;

    if (c->cr0 != s->cr0 || c->cr4 != s->cr4 || c->efer != s->efer || (v->nested && c->cr3 != s->cr3)) {
        r->cr0 = c->cr0;
        r->cr4 = c->cr4;
        r->efer = c->efer;
        r->cr3 = v->nested ? c->cr3 : 0;
        r->groups |= STATE_CONTROL;
        vmm_set_want(v, c->efer);
        VMM_SET(v, cr0, c->cr0);
        VMM_SET(v, cr4, c->cr4);
        VMM_SET(v, efer, c->efer);
    }
    if (s->cr3 != c->cr3)
        VMM_SET(v, cr3, c->cr3);
}

/* After every load of control registers: the shadow MMU's are lost with this process. */
void vmm_store_pdptes(struct vmm *v)
{
    const uint64_t *latched = shadow_pdptes(v->shadow);

    for (unsigned i = 0; i < 4; i++)
        if (v->state->pdpte[i] != latched[i])
            VMM_SET(v, pdpte[i], latched[i]);
}

void vmm_cpu_store(struct vmm *v)
{
    struct umbra_reply_page *r = v->reply;
    const struct umbra_exit_page *x = v->exit;
    const struct x86_cpu *c = &v->cpu;
    unsigned mask = 0;

    if (!v->loaded)
        return;
    for (unsigned i = 0; i < GPRS; i++)
        if (c->gpr[i] != x->gpr[i]) {
            r->gpr[i] = c->gpr[i];
            mask |= 1u << i;
        }
    if (mask) {
        r->gpr_mask = (uint16_t)mask;
        r->groups |= STATE_GPRS;
    }
    if (c->rip != x->rip || c->shadow != x->shadow) {
        r->rip = c->rip;
        r->shadow = c->shadow;
        r->groups |= STATE_RIP;
    }
    if (c->rflags != x->rflags) {
        r->rflags = c->rflags;
        r->groups |= STATE_RFLAGS;
    }
    if (c->cr2 != x->cr2) {
        r->cr2 = c->cr2;
        r->groups |= STATE_CR2;
    }
    if (segments_differ(c->seg, x->seg)) {
        __builtin_memcpy(r->seg, c->seg, sizeof(r->seg));
        r->groups |= STATE_SEGMENTS;
    }
    store_control(v);
    store_debug(v);
}
