/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers and their bases in 64-bit code: FS and GS differ in every thread. */
#pragma once
#include "base.h"
#include "state.h"

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

static uint64_t read_gs(uint64_t offset)
{
    uint64_t value;
    __asm__ volatile("movq %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

static void *segment_thread(void *argument)
{
    uint64_t number = (uint64_t)argument, own[8], fs = 0, gs = 0, first_fs = 0;

    for (unsigned i = 0; i < 8; i++)
        own[i] = number * 100 + i;
    REQUIRE(!syscall(SYS_arch_prctl, ARCH_SET_GS, own), "arch_prctl: %s", strerror(errno));
    REQUIRE(!syscall(SYS_arch_prctl, ARCH_GET_FS, &first_fs), "arch_prctl: %s", strerror(errno));
    for (unsigned n = scaled(100); n; n--) {
        sched_yield();
        for (unsigned i = 0; i < 8; i++)
            REQUIRE(read_gs(i * 8) == number * 100 + i, "thread %llu reads %llu through gs",
                    (unsigned long long)number, (unsigned long long)read_gs(i * 8));
        REQUIRE(!syscall(SYS_arch_prctl, ARCH_GET_FS, &fs) && !syscall(SYS_arch_prctl, ARCH_GET_GS, &gs),
                "arch_prctl: %s", strerror(errno));
        REQUIRE(fs == first_fs && gs == (uint64_t)own, "thread %llu: fs %#llx gs %#llx",
                (unsigned long long)number, (unsigned long long)fs, (unsigned long long)gs);
    }
    return NULL;
}

static void part_segments(void)
{
    uint16_t cs, ss, ds, fs;
    pthread_t threads[6];

    __asm__("mov %%cs, %0\n mov %%ss, %1\n mov %%ds, %2\n mov %%fs, %3"
            : "=r"(cs), "=r"(ss), "=r"(ds), "=r"(fs));
    REQUIRE(cs == 0x33 && ss == 0x2b && ds == 0 && fs == 0, "selectors cs %#x ss %#x ds %#x fs %#x", cs, ss,
            ds, fs);
    for (uint64_t i = 0; i < COUNT(threads); i++)
        threads[i] = start_thread(segment_thread, (void *)(i + 1));
    for (unsigned i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    pid_t pid = spawn();
    if (!pid) {
        segment_thread((void *)77);
        _exit(0);
    }
    segment_thread((void *)78);
    expect_exit(pid, 0);
}
