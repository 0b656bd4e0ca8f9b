/* SPDX-License-Identifier: BSD-2-Clause */
/* The random guests of test_random.c, many more of them, all fresh. */
// LONG: a minute a test
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
// USES: tests/host/shadow/steps.c tests/host/shadow/guest.c tests/host/shadow/guest_run.c
#include "check.h"
#include "guest.h"

#include <time.h>

#define STEPS 1000000u /* chosen: 12 s a test, a minute on a busy machine */

static void many_guests(uint32_t shape)
{
    uint64_t guests = guest_environment("UMBRA_STEPS", STEPS) / GUEST_STEPS;
    uint64_t seed = guest_environment("UMBRA_SEED", (uint64_t)time(NULL) << 20);

    printf("# %s: from UMBRA_SEED=%lu on\n", guest_shapes[shape].name, (unsigned long)seed);
    guest_runs(&guest_shapes[shape], seed, guests);
}

TEST(many_random_guests_long)
{
    many_guests(0);
}

TEST(many_random_guests_pae)
{
    many_guests(1);
}

TEST(many_random_guests_32)
{
    many_guests(2);
}

TEST(many_random_guests_unpaged)
{
    many_guests(3);
}

TEST(many_random_guests_real)
{
    many_guests(4);
}

TEST(many_random_guests_all_modes)
{
    many_guests(5);
}
