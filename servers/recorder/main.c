/* SPDX-License-Identifier: BSD-2-Clause */
/* recorder: the bytes of one VMM's recording, from its ring to a port of the emulator (docs/replay.md).
 *
 * The ring is read once and checked: its VMM can spoil its own recording only. It is of a higher priority
 * than the VMM, so that a signal empties the ring. */
#include "component/component.h"
#include "recorder_component.h"
#include "recorder_types.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdio.h>

#define HOST_PORT 0x3e0 /* RECORD_PORT in idl/umbra_idl/guests.py */

static void drain(struct record_ring_layout *ring)
{
    uint64_t taken = ring->taken, produced = __atomic_load_n(&ring->produced, __ATOMIC_ACQUIRE);

    if (produced - taken > RECORD_RING_BYTES) /* the VMM broke its ring: begin anew */
        taken = produced;
    for (; taken != produced; taken++)
        sys_invoke3(CAP_HOST_PORT, IOPORT_OUT, HOST_PORT, 1, ring->data[taken % RECORD_RING_BYTES]);
    __atomic_store_n(&ring->taken, taken, __ATOMIC_RELEASE);
}

int main(void)
{
    if (!recorder_info()) {
        printf("recorder: this program was built for another system description\n");
        return 1;
    }
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    for (;;) {
        if (sys_wait(CAP_NOTIFICATION) == 0)
            return 1;
        drain(recorder_record());
    }
}
