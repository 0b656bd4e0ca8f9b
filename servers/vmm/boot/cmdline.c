/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines. See cmdline.h. */
#include "servers/vmm/boot/cmdline.h"

#define TSC_WORD "tsc_early_khz="

uint64_t cmdline_length(const char *text, uint64_t most)
{
    uint64_t n = 0;
    while (n <= most && text[n])
        n++;
    return n;
}

static bool contains(const char *text, const char *word)
{
    for (; *text; text++) {
        unsigned i = 0;
        while (word[i] && text[i] == word[i])
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

unsigned cmdline_say_tsc(struct boot_plan *plan, const char *cmdline, uint64_t khz, uint64_t room)
{
    static const char prefix[] = TSC_WORD;
    char digits[20], *out = plan->cmdline_extra;
    unsigned n = 0, count = 0;

    out[0] = 0;
    if (!khz || contains(cmdline, TSC_WORD))
        return 0;
    for (; prefix[n]; n++)
        out[n] = prefix[n];
    for (; khz; khz /= 10)
        digits[count++] = (char)('0' + khz % 10);
    while (count)
        out[n++] = digits[--count];
    out[n++] = ' ';
    out[n] = 0;
    if (n > room)
        out[n = 0] = 0;
    return n;
}

bool cmdline_write(const struct boot_plan *plan, const char *cmdline, uint64_t at,
                   const struct boot_memory *m)
{
    uint64_t extra = cmdline_length(plan->cmdline_extra, sizeof(plan->cmdline_extra));

    return m->write(m->context, (gpa_t){ at }, plan->cmdline_extra, extra) &&
           m->write(m->context, (gpa_t){ at + extra }, cmdline, cmdline_length(cmdline, UINT64_MAX - 1) + 1);
}
