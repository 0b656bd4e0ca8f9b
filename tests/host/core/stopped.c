/* SPDX-License-Identifier: BSD-2-Clause */
/* Stopping a VMM and taking over from it; see stopped.h. */
#include "stopped.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that handles the pending exit, stopped before its first instruction. */
static pid_t child_begins(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        handle();
        _exit(0);
    }
    waitpid(child, &status, 0);
    CHECK(WIFSTOPPED(status));
    return child;
}

bool child_steps(pid_t child, unsigned n)
{
    int status = 0;

    for (unsigned i = 0; i < n; i++) {
        ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
        waitpid(child, &status, 0);
        if (!WIFSTOPPED(status))
            return false;
    }
    return true;
}

static void check_same(unsigned n)
{
    check_note("stopped after %u instructions of exit %llu, kind %u", n, (unsigned long long)now_->exit.seq,
               now_->exit.kind);
    CHECK_MEM_EQ(&now_->segment.state, &after->segment.state, VMM_STATE_WORDS * 8);
    CHECK_MEM_EQ(now_->memory, after->memory, sizeof(now_->memory));
    CHECK_MEM_EQ(now_->reply.gpr, after->reply.gpr, sizeof(now_->reply.gpr));
    CHECK_EQ(now_->reply.rip, after->reply.rip);
    CHECK_EQ(now_->reply.event, after->reply.event);
}

/* What the child has left up to now, in another place, is taken over. A new incarnation may first have to
 * show the guest its memory again: then the guest makes the same exit once more. */
void take_over(unsigned n)
{
    another_continues();
    handle();
    for (unsigned again = 0; again < 3 && now_->exit.kind == EXIT_PAGE && !(now_->reply.groups & STATE_RIP);
         again++) {
        now_->exit.seq++;
        handle();
    }
    check_same(n);
}

unsigned try_exit(unsigned step)
{
    struct lasting *shared_one = now_;
    unsigned n = 0;

    *before = *now_;
    pid_t child = child_begins();
    handle();
    *after = *now_;
    *now_ = *before;
    now_ = copy;
    do {
        *copy = *shared_one;
        take_over(n);
        n += step;
    } while (child_steps(child, step));
    now_ = shared_one;
    *now_ = *after; /* whoever comes goes on from there */
    incarnate();
    next_exit(EXIT_EVENT, 0, 0);
    CHECK(vmm_resume(&vmm, &setup, now_->exit.tsc) == VMM_CONTINUES);
    handle();
    return n / step;
}
