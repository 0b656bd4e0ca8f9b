/* SPDX-License-Identifier: BSD-2-Clause */
/* The first process of a measured boot: says at which tick it began, then powers off.
 * Nothing stands between the kernel and this program, so the figure is the kernel's boot alone. As `mark
 * silent` it says nothing and resets the machine at once, so that counts of the whole run are the boot's. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <unistd.h>

static uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static void reset_at_once(void)
{
    if (!iopl(3))
        outb(0xfe, 0x64); /* the keyboard controller's reset line */
}

int main(int count, char **words)
{
    uint64_t now = ticks();
    if (count > 1 && !strcmp(words[1], "silent"))
        reset_at_once();
    printf("MARK init %llu\n", (unsigned long long)now);
    fflush(stdout);
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
