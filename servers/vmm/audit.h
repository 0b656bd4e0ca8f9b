/* SPDX-License-Identifier: BSD-2-Clause */
/* An audit of a running guest's shadow tables, when the management channel asks for it (docs/management.md):
 * at the beginning of an exit, when nothing is half done. */
#ifndef SERVERS_VMM_AUDIT_H
#define SERVERS_VMM_AUDIT_H

#include "servers/vmm/core/vmm.h"

struct audit_result {
    struct shadow_audited looked;
    uint32_t differences;
    char first[96]; /* of them, "": none */
};

struct audit_result audit_shadow(const struct vmm *v);

#endif
