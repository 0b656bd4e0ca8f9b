/* SPDX-License-Identifier: BSD-2-Clause */
/* The first process of a measured boot: says at which tick it began, then powers off.
 * Nothing stands between the kernel and this program, so the figure is the kernel's boot alone. */
#include <stdint.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

static uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

int main(void)
{
    uint64_t now = ticks();
    printf("MARK init %llu\n", (unsigned long long)now);
    fflush(stdout);
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
