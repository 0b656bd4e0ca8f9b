/* SPDX-License-Identifier: BSD-2-Clause */
/* For 64-bit guests that measure themselves: row NUMBER's samples stand at SAMPLES + NUMBER pages, each the
 * ticks between two readings of the time-stamp counter around what is measured. What the readings themselves
 * cost is row 0. Before and after each sample an OUT tells the VMM, which counts crossings in between
 * (tests/procs/core/measure.c); one more, of which nobody makes anything, so that the sample begins after an
 * ordinary exit. The macros are in measure.inc; R8 to R10 belong to them. */
#ifndef GUEST_MEASURE_H
#define GUEST_MEASURE_H

#define SAMPLES    0x200000
#define PORT_BEGIN 0xe9
#define PORT_END   0xea
#define PORT_READY 0xeb

#endif
