/* SPDX-License-Identifier: BSD-2-Clause */
/* Gregorian date arithmetic: years that begin in March, so that the leap day is the last of its year. */
#include "servers/vmm/dev/calendar.h"

#define DAY_SECONDS  86400
#define DAYS_400Y    146097
#define DAYS_TO_1970 719468 /* from 0000-03-01 to 1970-01-01 */

/* Days from 0000-03-01 to the first of a month; month 0 is March. */
static int64_t days_before(int64_t year, int month)
{
    return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
}

struct calendar calendar_of(int64_t seconds)
{
    int64_t days = seconds / DAY_SECONDS + DAYS_TO_1970, rest = seconds % DAY_SECONDS;
    int64_t year = days * 400 / DAYS_400Y + 1; /* one or two too many, or right */
    while (days < days_before(year, 0))
        year--;
    int day = (int)(days - days_before(year, 0)), month = (5 * day + 2) / 153;
    return (struct calendar){
        .year = (int)(month < 10 ? year : year + 1),
        .month = month < 10 ? month + 3 : month - 9,
        .day = day - (153 * month + 2) / 5 + 1,
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
        .weekday = (int)((seconds / DAY_SECONDS + 4) % 7 + 1),
    };
}

int64_t calendar_seconds(const struct calendar *c)
{
    int month = (c->month + 9) % 12;
    int64_t year = c->month < 3 ? c->year - 1 : c->year;
    int64_t days = days_before(year, month) + c->day - 1 - DAYS_TO_1970;
    return days * DAY_SECONDS + c->hour * 3600 + c->minute * 60 + c->second;
}
