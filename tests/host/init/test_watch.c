/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/watch.c
/* Which VMM hangs, of one that has used much processor time since the last look. A system call here has a
 * number that the host refuses: nobody uses any more. */
#include "check.h"
#include "servers/init/init.h"
#include <umbra/vcpu.h>
#include <stdlib.h>

static uint64_t answered;

void fail(const struct init *in, err_t e, const char *format, ...)
{
    (void)in, (void)e, (void)format;
    abort();
}

cptr_t objects_new(struct init *in, struct pool *p, struct slots *s, unsigned type, unsigned bits,
                   uint32_t count)
{
    (void)in, (void)p, (void)s, (void)type, (void)bits, (void)count;
    abort();
}

cptr_t slot_new(struct init *in, struct slots *s)
{
    (void)in, (void)s;
    abort();
}

cptr_t derived(struct init *in, struct slots *s, cptr_t from, unsigned rights, uint64_t badge)
{
    (void)in, (void)s, (void)rights, (void)badge;
    return from;
}

void space_view(struct init *in, struct space *s, cptr_t view, bool write, uint64_t address)
{
    (void)in, (void)s, (void)view, (void)write, (void)address;
}

void share_preparing(struct component *c)
{
    (void)c;
}

void restart_ping(struct init *in, struct component *c)
{
    (void)in, (void)c;
}

uint64_t restart_answered(struct init *in, const struct component *c)
{
    (void)in, (void)c;
    return answered;
}

static struct init in;
static struct umbra_bootinfo boot = { .tsc_hz = 1000 };
static struct umbra_exit_page page;
static struct desc_guest guest;

/* Whether a VMM hangs that has used a second for exit `busy`; it began when `began` were answered. */
static bool hangs(uint64_t began, uint64_t done, uint64_t exit, uint64_t busy, bool audits)
{
    struct component *c = &in.component[0];
    struct process *p;

    in.boot = &boot;
    in.desc.header.components = 1;
    in.watch_place = 0;
    page.seq = exit;
    answered = done;
    *c = (struct component){ .guest = &guest, .restartable = true, .now = &c->process[0], .exit = &page };
    c->process[0].state = PROCESS_READY;
    c->began_at = began;
    c->watched = busy;
    c->spent = 1000;
    c->audited.asked = audits;
    return watch_next(&in, &p) == c;
}

TEST(watch_time_on_a_pending_exit_is_its_vmms)
{
    CHECK(hangs(3, 7, 8, 8, false));
    CHECK(!hangs(3, 7, 8, 7, false)); /* it was spent on the one before */
    CHECK(!hangs(3, 7, 8, 8, true));  /* audits may take longer */
}

TEST(watch_time_of_a_guest_that_runs_is_nobodys_fault)
{
    CHECK(!hangs(3, 7, 7, 8, false));
    CHECK(!hangs(3, 7, 7, ~0ull, false));
}

/* It took over while no exit was pending, and does not receive; or began and never does. */
TEST(watch_time_before_the_first_answer_is_its_vmms)
{
    CHECK(hangs(7, 7, 7, 8, false));
    CHECK(hangs(0, 0, 0, 1, false));
    CHECK(hangs(7, 7, 8, 8, false));
}
