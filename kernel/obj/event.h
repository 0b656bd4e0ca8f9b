/* SPDX-License-Identifier: BSD-2-Clause */
/* Which events may be injected into a guest. Pure; proved by WP (docs/assurance.md, kernel.events). */
#ifndef KERNEL_EVENT_H
#define KERNEL_EVENT_H

#include <umbra/errors.h>
#include <umbra/vcpu.h>

/* An event to inject is one that a processor can inject: BAD_STATE_VALUE. */
/*@ assigns \nothing;
    ensures injectable: \result == ERR_OK <==> event == 0 ||
        ((event & EVENT_VALID) != 0 && EVENT_TYPE(event) != 1 && EVENT_TYPE(event) <= EVENT_SOFTWARE &&
         (EVENT_TYPE(event) == EVENT_EXCEPTION ==> EVENT_VECTOR(event) <= 31 && EVENT_VECTOR(event) != 2)); */
static inline err_t vcpu_check_event(uint64_t event)
{
    unsigned type = EVENT_TYPE(event);

    if (!event)
        return ERR_OK;
    if (!(event & EVENT_VALID) || type == 1 || type > EVENT_SOFTWARE)
        return ERR_BAD_STATE_VALUE;
    if (type == EVENT_EXCEPTION && (EVENT_VECTOR(event) > 31 || EVENT_VECTOR(event) == 2))
        return ERR_BAD_STATE_VALUE;
    return ERR_OK;
}

#endif
