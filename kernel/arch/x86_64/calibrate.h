/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of several measurements of the same stretch of time counts. An emulator or firmware that stands still
 * meanwhile makes one too long, never too short: the shortest counts, and another one must have come near it.
 * Pure: tests/host/kernel/test_calibrate.c. */
#ifndef KERNEL_CALIBRATE_H
#define KERNEL_CALIBRATE_H

#include <umbra/types.h>

#define CALIBRATE_TIMES 3
#define CALIBRATE_MAX   50 /* then the shortest counts unconfirmed */

struct calibration {
    uint64_t tsc, apic; /* of the shortest so far */
    unsigned taken;
    bool confirmed;
};

/* True: it is decided. */
/*@ requires \valid(c) && c->taken < CALIBRATE_MAX;
    assigns *c;
    ensures counted: c->taken == \old(c->taken) + 1;
    ensures shorter_taken: \old(c->taken) == 0 || tsc < \old(c->tsc) ==> c->tsc == tsc && c->apic == apic;
    ensures longer_left: \old(c->taken) != 0 && tsc >= \old(c->tsc) ==>
        c->tsc == \old(c->tsc) && c->apic == \old(c->apic);
    ensures not_too_early: \result ==> c->taken >= CALIBRATE_TIMES;
    ensures at_last: c->taken == CALIBRATE_MAX ==> \result;
    ensures when_confirmed: c->taken >= CALIBRATE_TIMES && c->confirmed ==> \result; */
static inline bool calibration_add(struct calibration *c, uint64_t tsc, uint64_t apic)
{
    bool first = c->taken++ == 0, shorter = first || tsc < c->tsc;
    uint64_t apart = first ? UINT64_MAX : shorter ? c->tsc - tsc : tsc - c->tsc;

    c->confirmed = (c->confirmed && !shorter) || apart < tsc / 64;
    if (shorter) {
        c->tsc = tsc;
        c->apic = apic;
    }
    return c->taken >= CALIBRATE_TIMES && (c->confirmed || c->taken >= CALIBRATE_MAX);
}

#endif
