/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/timed.c
/* Whom a tick of the timer of deaths stops. A system call here has a number that the host refuses. */
#include "check.h"
#include "servers/init/init.h"
#include "servers/init/report.h"
#include <stdlib.h>

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

cptr_t derived(struct init *in, struct slots *s, cptr_t from, unsigned rights, uint64_t badge)
{
    (void)in, (void)s, (void)rights, (void)badge;
    return from;
}

void restart_hang(struct init *in, struct component *c)
{
    (void)in, (void)c;
}

uint64_t restart_answered(struct init *in, const struct component *c)
{
    (void)in, (void)c;
    return 2;
}

bool report_regs(const struct process *p, struct report_regs *r)
{
    (void)p, (void)r;
    return false;
}

static struct init in;
static struct umbra_exit_page page;

/* The first component's VMM serves; its tick has come. */
static struct component *due(uint64_t period)
{
    struct component *c = &in.component[0];

    in.desc.header.components = 1;
    in.stop_timer = 1;
    *c = (struct component){ .name = "vmm0", .now = &c->process[0], .exit = &page };
    c->process[0].state = PROCESS_READY;
    c->stop = (struct stop){ .from = 1, .at = 1, .period = period, .left = 1 };
    return c;
}

static struct component *stopped(void)
{
    char text[256];
    return timed_next(&in, text, sizeof(text));
}

TEST(timed_deaths_take_a_vmm_that_serves)
{
    struct component *c = due(0);

    CHECK(stopped() == c);
    CHECK_EQ(c->stop.at, 0);
    c = due(UINT64_MAX / 2);
    CHECK(stopped() == c);
    CHECK_EQ(c->stop.left, 0);
}

/* Its successor would enter the guest. */
TEST(timed_deaths_leave_a_paused_guest_alone)
{
    struct component *c = due(0);

    c->paused = true;
    CHECK(!stopped());
    CHECK_EQ(c->stop.at, 0);
    c = due(UINT64_MAX / 2);
    c->paused = true;
    CHECK(!stopped());
    CHECK_EQ(c->stop.left, 1);
}
