/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths by time, in debug builds: the VMM tells init at which tick it is to be stopped (the configuration's
 * stop_*; supervisor.stop_at and stop_every). For a tick within an exit it does so when the exit is
 * delivered, waits until the time that the call took is over, and handles the exit. Offsets count from
 * LEAD_TICKS before that. Exits count as for inject.h. */
#ifndef SERVERS_VMM_STOP_H
#define SERVERS_VMM_STOP_H

#include "supervisor.h"
#include "servers/vmm/core/vmm.h"
#include "vmm_component.h"

/* Kinds of exits within which a VMM is stopped at a tick: bits of stop_exits. */
enum stop_place {
    AT_CPUID,
    AT_IO,
    AT_MSR,
    AT_ABSENT,     /* #PF on what is not present: a fill, a fault of the guest's own, a device in memory */
    AT_TABLE,      /* #PF of the guest's kernel over a write to what is present: a table that is shadowed */
    AT_USER_WRITE, /* the same of a process: copy on write, a first write */
    AT_CR3,        /* written */
    AT_CR,         /* another, or read */
    AT_DR,
    AT_INVLPG,
    AT_HLT,
    AT_EVENT,
    AT_WINDOW,
    AT_EXCEPTION,
    AT_OTHER,
    AT_PLACES
};

BUILD_ASSERT(AT_PLACES <= STOP_PLACES);

#if UMBRA_DEBUG
/* at: the number of the first exit within which this incarnation is to be stopped. */
void stop_open(const struct vmm_config *c, uint32_t incarnation, uint64_t at);
/* An exit was delivered. */
void stop_within(const struct vmm *v);
#endif

#endif
