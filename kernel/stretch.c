/* SPDX-License-Identifier: BSD-2-Clause */
/* See stretch.h. */
#include "stretch.h"
#include "cpu.h"
#include "log.h"

#if UMBRA_DEBUG
static struct {
    uint64_t since, timer;
    unsigned row;
    uint32_t longest[STRETCH_ROWS];
} stretch;

void stretch_begin(unsigned row)
{
    stretch.row = row;
    stretch.since = arch_now();
}

void stretch_is(unsigned row)
{
    stretch.row = row;
}

void stretch_end(void)
{
    uint64_t ticks = arch_now() - stretch.since;

    if (ticks > stretch.longest[stretch.row])
        stretch.longest[stretch.row] = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

void stretch_timer(void)
{
    stretch.timer = arch_now();
}

static unsigned longest_row(void)
{
    unsigned best = 0;

    for (unsigned i = 1; i < STRETCH_ROWS; i++)
        if (stretch.longest[i] > stretch.longest[best])
            best = i;
    return best;
}

void stretch_read(uint64_t to[3], bool forget)
{
    unsigned row = longest_row();

    to[0] = stretch.longest[row];
    to[1] = row;
    to[2] = stretch.timer;
    for (unsigned i = 0; i < STRETCH_ROWS && forget; i++)
        stretch.longest[i] = 0;
}

static void log_row(unsigned row)
{
    static const char *const kinds[] = EXIT_KIND_NAMES;
    unsigned long ticks = stretch.longest[row];

    if (row < STRETCH_SYSCALL)
        log_printf("stretch %lu call %s %u\n", ticks, object_name(row / STRETCH_METHODS),
                   row % STRETCH_METHODS);
    else if (row < STRETCH_FAULT)
        log_printf("stretch %lu syscall %u\n", ticks, row - STRETCH_SYSCALL);
    else if (row < STRETCH_LINE)
        log_printf("stretch %lu fault %u\n", ticks, row - STRETCH_FAULT);
    else if (row < STRETCH_EXIT)
        log_printf("stretch %lu %s\n", ticks,
                   row == STRETCH_LINE    ? "line"
                   : row == STRETCH_TIMER ? "timer"
                                          : "idle");
    else
        log_printf("stretch %lu exit %s\n", ticks,
                   row == STRETCH_EXIT ? "interrupt" : kinds[row - STRETCH_EXIT]);
}

void stretch_log(void)
{
    uint32_t least = stretch.longest[longest_row()] / 4;

    for (unsigned i = 0; i < STRETCH_ROWS; i++)
        if (stretch.longest[i] && stretch.longest[i] >= least)
            log_row(i);
}
#endif
