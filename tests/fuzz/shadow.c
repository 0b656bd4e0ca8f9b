/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the shadow MMU under a guest of tests/host/shadow that writes tables, loads CR3, changes
 * modes, flushes, touches memory, and loses some; each two bytes choose what it does next.
 *
 * Oracles are that world's, at each step: the reference walk for what an access does; every shadow walk is
 * justified by what the guest's tables allowed since its last flush; operations keep the kernel's checks; the
 * library's own audit. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
// USES: tests/host/shadow/steps.c tests/host/shadow/guest.c
#include "support/fuzz.h"

#include "tests/host/shadow/guest.h"

#define CHOICES_MAX 60u /* each a step, or a few that belong together */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct steps list;
    struct fuzz_input in = { bytes, bytes + n };
    const struct guest_shape *shape = &guest_shapes[fuzz_byte(&in) % GUEST_SHAPES];
    struct world *w = guest_world(shape, 1 + fuzz_byte(&in) % 24);

    for (unsigned i = 0; i < CHOICES_MAX && fuzz_left(&in); i++) {
        list.count = 0;
        w->random = (1 + fuzz_number(&in, 2)) * 0x9e3779b97f4a7c15ull;
        guest_steps(w, shape, &list);
    }
    world_audit(w);
    world_free(w);
    return 0;
}
