/* SPDX-License-Identifier: BSD-2-Clause */
/* Random guests: table writes, CR3 loads, INVLPG, accesses of all kinds, control bits, changes of mode, DMA,
 * memory that comes and goes, epochs, in every paging mode, with pools from tiny to ample. One fixed seed
 * and a fresh one.
 *
 * UMBRA_STEPS sets the number of steps of each test, UMBRA_SEED the first seed of the fresh guests,
 * UMBRA_REPLAY names a file with a list that a failure printed: replay_of_a_list runs it. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
// USES: tests/host/shadow/steps.c tests/host/shadow/guest.c tests/host/shadow/guest_run.c
#include "check.h"
#include "guest.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEPS 340000u /* chosen: all tests of this file take 15 s of a processor */

static void random_guests(uint32_t shape)
{
    uint64_t guests = guest_environment("UMBRA_STEPS", STEPS) / GUEST_STEPS, fresh = guests / 4;
    uint64_t seed = guest_environment("UMBRA_SEED", (uint64_t)time(NULL) << 16 | (uint64_t)clock() % 65536);

    guest_runs(&guest_shapes[shape], 1, guests - fresh);
    printf("# %s: fresh guests from UMBRA_SEED=%lu on\n", guest_shapes[shape].name, (unsigned long)seed);
    guest_runs(&guest_shapes[shape], seed, fresh);
}

TEST(random_guest_long)
{
    random_guests(0);
}

TEST(random_guest_pae)
{
    random_guests(1);
}

TEST(random_guest_32)
{
    random_guests(2);
}

TEST(random_guest_unpaged)
{
    random_guests(3);
}

TEST(random_guest_real)
{
    random_guests(4);
}

TEST(random_guest_all_modes)
{
    random_guests(5);
}

/* ---- the lists themselves ---- */

static uint64_t sum_of(const struct world *w)
{
    uint64_t sum = 0;
    const uint64_t *word = (const void *)w->mem->base, *counter = (const void *)shadow_counters(w->s);
    for (uint64_t i = 0; i < WORLD_RAM * 512; i++)
        sum = (sum ^ word[i]) * 0x100000001b3ull;
    for (uint64_t i = 0; i < sizeof(struct shadow_counters) / 8; i++)
        sum = (sum ^ counter[i]) * 0x100000001b3ull;
    return sum;
}

TEST(replay_of_a_list)
{
    static struct steps list;
    const char *name = getenv("UMBRA_REPLAY");
    FILE *file = name ? fopen(name, "r") : tmpfile();

    CHECK(file != NULL);
    if (!name) { /* a guest's steps, written and read, come to the same end */
        struct world *w = guest_world(&guest_shapes[5], 7), *again = guest_world(&guest_shapes[5], 7);
        while (list.count < GUEST_STEPS)
            guest_steps(w, &guest_shapes[5], &list);
        fprintf(file, "guest all 7\n");
        for (uint32_t i = 0; i < list.count; i++) {
            step_print(file, &list.step[i]);
            step_run(again, &list.step[i]);
        }
        CHECK_EQ(sum_of(w), sum_of(again));
        world_free(w);
        world_free(again);
        rewind(file);
    }
    guest_replay(file);
    fclose(file);
}

/* Fails if steps 100 and 700 are in the list, in this order, and one of 200..300. */
static bool three_fail(void *context, struct steps *list)
{
    unsigned seen = 0;
    ++*(uint32_t *)context;
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t a = list->step[i].a;
        seen = seen == 0 && a == 100               ? 1
               : seen == 1 && a >= 200 && a <= 300 ? 2
               : seen == 2 && a == 700             ? 3
                                                   : seen;
        if (seen == 3) {
            list->count = i + 1;
            return true;
        }
    }
    return false;
}

TEST(failing_list_becomes_as_short_as_can_be)
{
    static struct steps list;
    uint32_t calls = 0;

    for (list.count = 0; list.count < 2000; list.count++)
        list.step[list.count].a = list.count;
    CHECK_EQ(steps_shrink(&list, three_fail, &calls, 1000), calls);
    CHECK_EQ(list.count, 3);
    CHECK_EQ(list.step[0].a, 100);
    CHECK_EQ(list.step[2].a, 700);
    CHECK_LT(calls, 200);
}
