/* SPDX-License-Identifier: BSD-2-Clause */
/* Time over a VMM's death: the page of the clock that a guest reads in its memory is written once whoever
 * dies, and the ticks that nobody served are hidden. */
// USES: servers/vmm/core/*.c servers/vmm/shadow/*.c servers/vmm/x86/*.c servers/vmm/dev/*.c
// USES: servers/vmm/boot/*.c servers/vmm/boot/*.S servers/vmm/policy/*.c tests/host/support/gmem_host.c
// USES: tests/host/core/lasting.c
#include "lasting.h"

#include <string.h>

/* --- the clock that a guest reads in its memory --- */

#define CLOCK_AT 0x5000ull
#define WALL_AT  0x5840ull

static void wrmsr_exit(uint32_t msr, uint64_t value)
{
    static const uint8_t wrmsr[] = { 0x0f, 0x30 };

    memcpy(now_->memory + CODE, wrmsr, sizeof(wrmsr));
    now_->exit.rip = CODE;
    now_->exit.gpr[RCX] = msr;
    now_->exit.gpr[RAX] = (uint32_t)value;
    now_->exit.gpr[RDX] = value >> 32;
    next_exit(EXIT_MSR, 1, 0);
}

/* As a guest computes it (Linux, arch/x86/include/asm/pvclock.h), from the bytes of the page. */
static uint64_t clock_says(uint64_t tsc)
{
    const uint8_t *p = now_->memory + CLOCK_AT;
    int8_t shift = (int8_t)p[28];
    uint64_t delta = tsc - get64(CLOCK_AT + 8);
    uint32_t multiplier;

    memcpy(&multiplier, p + 24, 4);
    delta = shift < 0 ? delta >> -shift : delta << shift;
    return get64(CLOCK_AT + 16) + (uint64_t)((unsigned __int128)delta * multiplier >> 32);
}

static uint32_t version_at(uint64_t at)
{
    uint32_t version;

    memcpy(&version, now_->memory + at, 4);
    return version;
}

TEST(clock_page_is_written_once_whoever_dies_and_again_when_the_tsc_is_set)
{
    cpuid.enlighten = 1;
    begin();
    memset(now_->memory + CLOCK_AT, 0x55, 64);
    wrmsr_exit(0x4b564d01, CLOCK_AT | 1);
    vmm_begin(&vmm);
    CHECK_EQ(vmm_handle(&vmm), VMM_RUNS);
    uint64_t tsc = vmm.now + now_->segment.state.tsc_offset, page[4];
    memcpy(page, now_->memory + CLOCK_AT, sizeof(page));
    CHECK_EQ(clock_says(tsc), tsc); /* a nanosecond a tick, since the guest began */
    CHECK_EQ(clock_says(tsc + 123456789), tsc + 123456789);
    CHECK_EQ(version_at(CLOCK_AT) & 1, 0);
    CHECK_EQ(now_->memory[CLOCK_AT + 29], 1);
    incarnate(); /* it died */
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 5000), VMM_CONTINUES);
    CHECK_EQ(get64(CLOCK_AT + 8), 0x5555555555555555);
    handle();
    CHECK_MEM_EQ(now_->memory + CLOCK_AT, page, sizeof(page));
    uint32_t version = version_at(CLOCK_AT);
    now_->exit.tsc += 5000; /* as long as nobody served it */
    wrmsr_exit(0x10, 77);   /* the guest sets its TSC: time goes on */
    handle();
    uint64_t set = vmm.now + now_->segment.state.tsc_offset;
    CHECK_EQ(set, 77);
    CHECK_LT(tsc, clock_says(set));
    CHECK_LT(clock_says(set), tsc + 10000);
    CHECK(version_at(CLOCK_AT) != version && !(version_at(CLOCK_AT) & 1));
    wrmsr_exit(0x4b564d01, 0);
    handle();
    memcpy(page, now_->memory + CLOCK_AT, sizeof(page));
    wrmsr_exit(0x10, 78);
    handle();
    CHECK_MEM_EQ(now_->memory + CLOCK_AT, page, sizeof(page)); /* not any more */
    cpuid.enlighten = 0;
}

TEST(clock_pages_lie_in_memory_or_the_write_is_refused)
{
    uint32_t seconds;

    cpuid.enlighten = 1;
    begin();
    wrmsr_exit(0x4b564d00, WALL_AT);
    handle();
    memcpy(&seconds, now_->memory + WALL_AT + 4, 4);
    CHECK_EQ(seconds, 1767225600);
    CHECK_EQ(version_at(WALL_AT) & 1, 0);
    for (unsigned i = 0; i < 2; i++) {
        wrmsr_exit(0x4b564d00 + i, MEMORY_PAGES * PAGE_BYTES + i);
        handle();
        CHECK_EQ(now_->reply.event, EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
    }
    cpuid.enlighten = 0;
    wrmsr_exit(0x4b564d00, WALL_AT);
    handle();
    CHECK_EQ(now_->reply.event, EVENT_MAKE(13, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
}

/* --- clocks --- */

TEST(ticks_without_a_vmm_are_hidden_from_the_guest)
{
    begin();
    io_exit(true, 0x40, 0);
    uint64_t guest_tsc = now_->exit.tsc - vmm.state->hidden + vmm.state->tsc_offset;
    incarnate();
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 123456), VMM_CONTINUES);
    handle();
    CHECK_EQ(vmm.state->hidden, 123456);
    CHECK(now_->reply.groups & STATE_TSC);
    CHECK_EQ(now_->exit.tsc + 123456 + now_->reply.tsc_offset, guest_tsc);
    CHECK_EQ(vmm_wake(&vmm), vmm.deadline == DEV_NEVER ? DEV_NEVER : vmm.deadline + 123456);
}

/* No exit was pending when the guest was stopped: the one that comes is later than the end of its time. */
TEST(ticks_after_a_stop_are_hidden_although_the_exit_came_later)
{
    begin();
    io_exit(true, 0x40, 0);
    handle();
    uint64_t stopped = now_->exit.tsc + 1000, offset = vmm.state->tsc_offset;
    io_exit(true, 0x40, 0);
    now_->exit.tsc = stopped + 5000000;
    incarnate();
    setup.stopped_at = stopped;
    CHECK_EQ(vmm_resume(&vmm, &setup, now_->exit.tsc + 700), VMM_CONTINUES);
    setup.stopped_at = 0;
    handle();
    CHECK_EQ(vmm.now, stopped);
    CHECK_EQ(vmm.state->hidden, 5000700);
    CHECK_EQ(now_->reply.tsc_offset, offset - 5000700);
}
