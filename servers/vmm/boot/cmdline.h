/* SPDX-License-Identifier: BSD-2-Clause */
/* A Linux kernel's command line: the request's, with the guest's TSC rate in front of it. */
#ifndef VMM_BOOT_CMDLINE_H
#define VMM_BOOT_CMDLINE_H

#include "servers/vmm/boot/boot.h"

/* cmdline_length - bytes without the NUL, at most `most` + 1. */
uint64_t cmdline_length(const char *text, uint64_t most);

/* cmdline_say_tsc - plan->cmdline_extra: `tsc_early_khz=` with a space behind it, if khz is not 0, the line
 * does not say so itself, and room bytes are enough for it. Returns its length. In front, because behind `--`
 * it would be an argument of init. */
unsigned cmdline_say_tsc(struct boot_plan *plan, const char *cmdline, uint64_t khz, uint64_t room);

/* cmdline_write - both, and a NUL, at `at`. */
bool cmdline_write(const struct boot_plan *plan, const char *cmdline, uint64_t at,
                   const struct boot_memory *m);

#endif
