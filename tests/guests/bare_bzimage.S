/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of a Linux kernel image as QEMU's -kernel wants; its real-mode entry says the time-stamp counter in hexadecimal
 * on the serial port and leaves: the ticks that the firmware needs before the first instruction of a bzImage. */
#include "bzimage.inc"
entry:
#include "say_tsc.inc"
        .org 0x600
