/* SPDX-License-Identifier: BSD-2-Clause */
/* See audit.h. */
#include "servers/vmm/audit.h"
#include <stdio.h>

static void note_first(void *context, const struct shadow_finding *f)
{
    struct audit_result *r = context;

    if (!r->first[0])
        snprintf(r->first, sizeof(r->first), "table %u entry %u: %s (%#llx, the guest's %#llx)", f->table,
                 f->index, f->what, (unsigned long long)f->entry, (unsigned long long)f->guest);
}

struct audit_result audit_shadow(const struct vmm *v)
{
    struct audit_result r = { .looked = shadow_audited(v->shadow) };

    r.differences = shadow_audit(v->shadow, note_first, &r);
    return r;
}
