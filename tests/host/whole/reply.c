/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of a VMM that means harm: any reply page, with operations on tables that it has, mostly such as
 * the kernel takes. */
#include "call.h"
#include <string.h>

struct wanted {
    const struct vm *vm;
    unsigned level, format; /* level 0: any */
    bool current, unused;   /* of this epoch; not, or nothing leads to it */
};

static bool is_table(const struct cap *c, const void *what)
{
    const struct wanted *w = what;
    const struct frame_meta *m;

    if (c->type != OBJ_SHADOW)
        return false;
    m = meta_of((hpa_t){ c->obj });
    if (META_HFN(m->owner).v != phys_to_hpa(w->vm).v >> PAGE_SHIFT)
        return false;
    if (w->current && !(w->vm->space && m->stamp == w->vm->space->epoch))
        return false;
    if (w->unused && w->vm->space && m->stamp == w->vm->space->epoch && META_SHADOW_LINKS(m->owner))
        return false;
    return !w->level || ((m->owner >> 32 & 15) == w->level && (m->owner >> 36 & 3) == w->format);
}

static cptr_t table(const struct tcb *t, const struct vm *vm, unsigned level, unsigned format, bool current)
{
    struct wanted w = { vm, level, format, current, false };
    cptr_t list[64];

    if (!vm || one_in(24))
        return pick_cap(t, OBJ_SHADOW);
    unsigned n = named(t, is_table, &w, list, 64);
    return n ? list[pick(n)] : pick_cap(t, OBJ_SHADOW);
}

static unsigned format_of(const struct vcpu *v)
{
    return v->nested ? SHADOW_NESTED : v->format == GUEST_PAE || one_in(30) ? SHADOW_PAE : SHADOW_LONG;
}

static void put(struct umbra_reply_page *r, uint64_t w)
{
    if (r->op_words < REPLY_OPS_MAX)
        r->ops[r->op_words++] = w;
}

static uint64_t some_gfn(void)
{
    return one_in(3) ? 512 + pick(520) : pick(20);
}

static void operation(const struct tcb *t, const struct vcpu *v, struct umbra_reply_page *r)
{
    unsigned format = format_of(v), top = format == SHADOW_PAE ? 2 : 4, level = 1 + pick(top);
    unsigned code = 1 + pick(OP_CODES - 1u), index = one_in(2) ? pick(4) : pick(512);
    unsigned rights = one_in(3) ? pick(64) : SH_READ | SH_WRITE | SH_USER | SH_EXEC;
    const struct vm *vm = v->vm;

    if (one_in(3))
        code = one_in(2) ? OP_FILL_RUN : one_in(2) ? OP_ROOT_LIST : OP_SET_ROOT;
    switch (code) {
    case OP_SETUP:
        put(r, OP_W0(code, 0, SHADOW_KIND(format, level), table(t, vm, 0, 0, false)));
        break;
    case OP_LINK:
        level = level < 2 ? 2 : level;
        put(r, OP_W0(code, rights, index, table(t, vm, level, format, true)));
        put(r, table(t, vm, level - 1, format, true));
        break;
    case OP_FILL:
    case OP_FILL_RUN:
        level = one_in(4) ? 2 : 1;
        put(r, OP_W0(code, level == 2 ? rights | SH_LARGE : rights & ~(unsigned)SH_LARGE, index,
                     table(t, vm, level, format, true)));
        put(r, level == 2 ? 512 : some_gfn());
        if (code == OP_FILL_RUN)
            r->ops[r->op_words - 1] |= (1 + (one_in(2) ? pick(8) : 0)) << 48;
        break;
    case OP_DOWNGRADE:
        put(r, OP_W0(code, rights, pick(2), table(t, vm, one_in(2) ? level : 0, format, true)));
        for (unsigned i = 0; i < 8; i++)
            put(r, one_in(2) ? UINT64_MAX : wild());
        break;
    case OP_SET_ROOT:
        put(r, OP_W0(code, 0, format == SHADOW_PAE ? pick(4) : 0,
                     one_in(12) ? 0 : table(t, vm, top, format, true)));
        break;
    case OP_ROOT_LIST:
        put(r, OP_W0(code, 0, pick(3), one_in(6) ? 0 : table(t, vm, top, format, true)));
        put(r, pick(4) * PAGE_BYTES);
        break;
    default:
        put(r, OP_W0(code, rights, index, table(t, vm, one_in(2) ? level : 0, format, true)));
    }
}

/* A table to stand at this level: one that does already, or one that is set up. 0: none. */
static cptr_t step_of_ladder(const struct tcb *t, const struct vcpu *v, unsigned format, unsigned level,
                             struct umbra_reply_page *r)
{
    struct wanted stands = { v->vm, level, format, true, false }, unused = { v->vm, 0, 0, false, true };
    cptr_t list[64];
    unsigned n = one_in(3) ? 0 : named(t, is_table, &stands, list, 64);

    if (n)
        return list[pick(n)];
    n = named(t, is_table, &unused, list, 64);
    if (!n)
        return 0;
    cptr_t p = list[pick(n)];
    put(r, OP_W0(OP_SETUP, 0, SHADOW_KIND(format, level), p));
    return p;
}

/* A whole way down to a leaf, as a VMM that works would build it. */
static void ladder(const struct tcb *t, const struct vcpu *v, struct umbra_reply_page *r)
{
    unsigned format = format_of(v), top = format == SHADOW_PAE ? 2 : 4;
    cptr_t p[5] = { 0 };

    if (!v->vm)
        return;
    for (unsigned level = top; level > 0; level--) {
        p[level] = step_of_ladder(t, v, format, level, r);
        if (!p[level] || (level < top && p[level] == p[level + 1]))
            return;
        if (level == top)
            continue;
        put(r, OP_W0(OP_LINK, SH_READ | SH_WRITE | SH_USER | SH_EXEC, pick(3), p[level + 1]));
        put(r, p[level]);
    }
    put(r, OP_W0(OP_FILL_RUN, SH_READ | SH_WRITE | SH_USER, pick(500), p[1]));
    put(r, some_gfn() | (1 + pick(4)) << 48);
    if (one_in(3) && format == SHADOW_LONG) {
        put(r, OP_W0(OP_ROOT_LIST, 0, pick(3), p[top]));
        put(r, pick(4) * PAGE_BYTES);
    }
    if (!one_in(3))
        put(r, OP_W0(OP_SET_ROOT, 0, 0, p[top]));
}

/* More than one look at interrupts is apart. */
static void long_work(const struct tcb *t, const struct vcpu *v, struct umbra_reply_page *r)
{
    cptr_t p = table(t, v->vm, 0, 0, true);

    for (unsigned i = 0; i < 20; i++)
        put(r, OP_W0(OP_CLEAR, 0, 0, p));
}

/* What only the complete path takes. */
static void state(struct umbra_reply_page *r)
{
    r->groups = one_in(2) ? pick(STATE_ALL + 1) : STATE_CONTROL;
    r->flags = one_in(4) ? pick(4) : 0;
    r->want = one_in(20) ? (uint32_t)wild() : pick(STATE_ALL + 1);
    r->spare = pick(1u << 10);
    r->cr0 = one_in(30) ? wild() : BIT(31);
    r->efer = one_in(8) ? 0 : BIT(10);
    r->cr3 = r->cr4 = wild();
}

void choose_answer(struct tcb *t, cptr_t p)
{
    const struct cap *c = cspace_slot(t, p);

    t->regs.rax = (uint64_t)SYS_REPLY_RECV;
    t->regs.rdi = p;
    if (!c || c->type != OBJ_VCPU)
        return;
    struct vcpu *v = cap_object(c);
    struct umbra_reply_page *r = &v->reply;
    r->seq = one_in(16) ? wild() : v->exit.seq;
    r->groups = pick(16);
    r->flags = 0;
    r->want = v->want;
    r->spare = v->spare;
    r->gpr_mask = pick(65536);
    r->event = one_in(6) ? EVENT_MAKE(pick(256), pick(8)) : 0;
    r->op_words = 0;
    if (one_in(3) || (v->exit.kind == EXIT_START && !one_in(3)))
        state(r);
    if (one_in(3))
        ladder(t, v, r);
    if (one_in(24))
        long_work(t, v, r);
    for (unsigned n = one_in(2) ? pick(4) : 0; n; n--)
        operation(t, v, r);
    if (one_in(40))
        r->op_words = (uint32_t)wild();
}
