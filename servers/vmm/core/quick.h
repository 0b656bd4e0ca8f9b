/* SPDX-License-Identifier: BSD-2-Clause */
/* What the short ways (quick.c, quick_memory.c) have in common. */
#ifndef VMM_CORE_QUICK_H
#define VMM_CORE_QUICK_H

#include "servers/vmm/core/vmm.h"

#define CS_LONG BIT(9)
#define NOWHERE UINT64_MAX
#define ROOM    16 /* bytes up to the page's end: more than any encoding below */

/* quick.c: where the processor's tables lead for RIP, by a search; NOWHERE. By value: code() keeps it in a
 * register. */
gpa_t vmm_code_place(const struct vmm *v);

/* 64-bit code without single-stepping or RF, its bytes within one page: the first eight of them. */
static inline bool code(const struct vmm *v, uint64_t *bytes)
{
    const struct umbra_exit_page *x = v->exit;
    gpa_t at;

    if (!(v->state->efer & EFER_LMA) || !(x->seg[SEG_CS].attributes & CS_LONG) ||
        (x->rflags & (X86_FLAG_TF | X86_FLAG_RF)) || (x->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - ROOM)
        return false;
    if (!shadow_holds_last(v->shadow, (gva_t){ x->rip }, &at)) {
        at = vmm_code_place(v);
        if (at.v == NOWHERE)
            return false;
    }
    return gmem_read64(&v->mem, at, bytes) == GMEM_OK;
}

static inline bool retired(struct vmm *v, unsigned length)
{
    struct umbra_reply_page *reply = v->reply;

    reply->rip = v->exit->rip + length;
    reply->shadow = 0;
    reply->groups |= STATE_RIP;
    return true;
}

static inline void set_gpr(struct vmm *v, unsigned i, uint64_t value)
{
    v->reply->gpr[i] = value;
    v->reply->gpr_mask = (uint16_t)(1u << i);
    v->reply->groups |= STATE_GPRS;
}

#endif
