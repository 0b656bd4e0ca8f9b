/* SPDX-License-Identifier: BSD-2-Clause */
/* Seconds since 1970 to and from the Gregorian date. Pure; years 1970 to 9999. */
#ifndef VMM_DEV_CALENDAR_H
#define VMM_DEV_CALENDAR_H

#include <stdint.h>

struct calendar {
    int year, month, day;     /* 1970.., 1..12, 1..31 */
    int hour, minute, second; /* 0..23, 0..59, 0..59 */
    int weekday;              /* 1 Sunday .. 7 */
};

struct calendar calendar_of(int64_t seconds);

/* calendar_seconds - the inverse; fields beyond their range carry over, weekday is ignored. */
int64_t calendar_seconds(const struct calendar *c);

#endif
