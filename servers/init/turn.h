/* SPDX-License-Identifier: BSD-2-Clause */
/* How a guest's component's processor time is divided while somebody is built for it. No system calls. */
#ifndef SERVERS_INIT_TURN_H
#define SERVERS_INIT_TURN_H

#include <stdbool.h>
#include <stdint.h>

/* A budget in each period, in ticks: 0 < budget <= period, as SCHED_CONFIGURE takes it. A budget equal to its
 * period is never used up: it is the length of a turn. */
struct turn {
    uint64_t budget, period;
};

/* turn_serving, turn_building - the parts of who serves and of who builds, or sets itself up.
 *   whole what the component has undivided
 *   us    ticks of a microsecond
 * The builder's turn is no longer than the component's own (or TURN_US); it has an eighth of the processor at
 * least, since init hears nobody meanwhile (docs/limits.md, "Management"). */
#define TURN_US    100u  /* chosen: guests hardly notice */
#define TURN_LEAST 1000u /* ticks: the kernel takes no smaller budget */
struct turn turn_serving(struct turn whole);
struct turn turn_building(struct turn whole, uint64_t us);
/* turn_of_server - of who builds a server, whose own part is nobody's to divide: an eighth, in turns of
 * TURN_US. */
struct turn turn_of_server(uint64_t us);

#endif
