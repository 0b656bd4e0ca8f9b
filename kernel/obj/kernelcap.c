/* SPDX-License-Identifier: BSD-2-Clause */
/* The Kernel capability: log, dumps, counters, the tables behind audits. Held by init; changes nothing. */
#include "arch/pte.h"
#include "invoke.h"
#include "softtlb.h"
#include "stretch.h"

#define LOG_BYTES_MAX 480u

static err_t log_text(const struct invocation *v)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    uint64_t n = arg(v, 0);
    if (n > LOG_BYTES_MAX)
        return ERR_RANGE;
    if (v->words < 1 + (n + 7) / 8)
        return ERR_SHORT_MESSAGE;
    for (uint64_t i = 0; i < n; i++)
        log_char(arg(v, 1 + i / 8) >> i % 8 * 8 & 0xff);
    return ERR_OK;
}

static err_t dump(const struct invocation *v)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    const struct cap *c = cspace_slot(v->caller, (cptr_t)arg(v, 0));
    if (!c || c->type == OBJ_NULL)
        return ERR_NO_CAP;
    object_dump(c);
    return ERR_OK;
}

static err_t frames(struct invocation *v)
{
    struct cap *g;

    if (v->words < 3)
        return ERR_SHORT_MESSAGE;
    uint64_t gfn = arg(v, 1), n = arg(v, 2);
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_GUESTSPACE, RIGHT_READ, &g);
    if (e != ERR_OK)
        return e;
    if (n == 0 || n > 60 || gfn >= GUEST_FRAMES_MAX || n > GUEST_FRAMES_MAX - gfn)
        return ERR_RANGE;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t pte = guestspace_lookup(cap_object(g), gfn + i);
        result(v, pte ? hfn_of(pte_hpa(pte)).v : UINT64_MAX);
    }
    return ERR_OK;
}

static err_t counters(struct invocation *v)
{
    for (unsigned i = 0; i < COUNT_KERNEL_MAX; i++)
        result(v, cpu.count[i]);
    return ERR_OK;
}

static err_t stretches(struct invocation *v)
{
    uint64_t found[3];

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    if (arg(v, 0) & KERNEL_STRETCHES_LOG)
        stretch_log();
    stretch_read(found, arg(v, 0) & KERNEL_STRETCHES_FORGET);
    for (unsigned i = 0; i < 3; i++)
        result(v, found[i]);
    return ERR_OK;
}

static err_t tlb(struct invocation *v)
{
    uint64_t count[TLB_COUNTS];

    softtlb_read(count);
    for (unsigned i = 0; i < TLB_COUNTS; i++)
        result(v, count[i]);
    return ERR_OK;
}

err_t kernelcap_invoke(struct invocation *v)
{
    switch (v->label) {
    case KERNEL_LOG:
        return log_text(v);
    case KERNEL_DUMP:
        return dump(v);
    case KERNEL_COUNTERS:
        return counters(v);
    case KERNEL_FRAMES:
        return frames(v);
    case KERNEL_ERRORS:
        errors_dump();
        return ERR_OK;
    case KERNEL_AUDIT:
        return kernel_audit(v);
    case KERNEL_STRETCHES:
        return stretches(v);
    case KERNEL_TLB:
        return tlb(v);
    case KERNEL_GRAPH:
        return kernel_graph(v);
    case KERNEL_SPACE:
        return kernel_space(v);
    default:
        return ERR_BAD_METHOD;
    }
}
