/* SPDX-License-Identifier: BSD-2-Clause */
/* Running random guests where a failure can be looked at: in a child that writes down what it does. See
 * guest.h. */
#include "check.h"
#include "guest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES_MAX     4000u /* chosen: half a minute */
#define CHILD_SECONDS 100   /* of a processor: a hang */

/* Shared with the children. */
struct record {
    uint64_t seed;
    uint32_t at; /* steps that a replay began */
    struct steps steps;
};

struct trial {
    const struct guest_shape *shape;
    uint64_t seed;
    struct record *record;
};

uint64_t guest_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void replay_steps(const struct trial *t, const struct steps *list)
{
    struct world *w = guest_world(t->shape, t->seed);
    for (uint32_t i = 0; i < list->count; i++) {
        if (t->record)
            t->record->at = i + 1;
        step_run(w, &list->step[i]);
    }
    world_audit(w);
    world_free(w);
}

static bool child_failed(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return status != 0;
}

static pid_t quiet_child(void)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        setrlimit(RLIMIT_CPU, &(struct rlimit){ CHILD_SECONDS, CHILD_SECONDS });
    }
    return child;
}

static bool fails(void *context, struct steps *list)
{
    const struct trial *t = context;
    pid_t child = quiet_child();

    if (child == 0) {
        replay_steps(t, list);
        _exit(0);
    }
    if (!child_failed(child))
        return false;
    list->count = t->record->at; /* the last audit fails: all of them began */
    return true;
}

/* The guest of the seed fails. */
static _Noreturn void show(struct trial *t)
{
    struct steps *list = malloc(sizeof(*list));
    uint32_t before = t->record->steps.count;

    memcpy(list, &t->record->steps, sizeof(*list));
    if (!fails(t, list))
        FAIL("guest %s %" PRIu64 " fails, but not again: %u steps", t->shape->name, t->seed, before);
    uint32_t tries = steps_shrink(list, fails, t, TRIES_MAX);
    fprintf(stderr, "guest %s %" PRIu64 "\n", t->shape->name, t->seed);
    for (uint32_t i = 0; i < list->count; i++)
        step_print(stderr, &list->step[i]);
    check_note("guest %s %" PRIu64 ": %u of %u steps, after %u tries; they stand on standard error, and run "
               "again with UMBRA_REPLAY=FILE",
               t->shape->name, t->seed, list->count, before, tries);
    replay_steps(t, list);
    FAIL("the shortest list passes");
}

void guest_runs(const struct guest_shape *shape, uint64_t seed, uint64_t guests)
{
    struct record *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct trial t = { .shape = shape, .record = r };

    CHECK(r != MAP_FAILED);
    pid_t child = quiet_child();
    if (child == 0) {
        for (uint64_t i = 0; i < guests; i++) {
            r->seed = seed + i;
            r->steps.count = 0;
            struct world *w = guest_world(shape, r->seed);
            while (r->steps.count < GUEST_STEPS)
                guest_steps(w, shape, &r->steps);
            world_audit(w);
            world_free(w);
        }
        _exit(0);
    }
    if (!child_failed(child)) {
        munmap(r, sizeof(*r));
        return;
    }
    t.seed = r->seed;
    show(&t);
}

void guest_replay(FILE *from)
{
    static struct steps list;
    struct trial t = { .shape = NULL };
    char line[200], name[32];

    list.count = 0;
    while (fgets(line, sizeof(line), from)) {
        const char *at = strstr(line, "guest ");
        if (at && sscanf(at, "guest %31s %" SCNu64, name, &t.seed) == 2) {
            for (uint32_t i = 0; i < GUEST_SHAPES; i++)
                t.shape = strcmp(guest_shapes[i].name, name) ? t.shape : &guest_shapes[i];
        } else if (list.count < STEPS_MAX && step_parse(line, &list.step[list.count])) {
            list.count++;
        }
    }
    CHECK(t.shape != NULL);
    replay_steps(&t, &list);
}
