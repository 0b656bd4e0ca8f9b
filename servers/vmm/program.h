/* SPDX-License-Identifier: BSD-2-Clause */
/* Which program this is: version and commit, of the build. */
#ifndef SERVERS_VMM_PROGRAM_H
#define SERVERS_VMM_PROGRAM_H

extern const char vmm_program[]; /* at most 47 characters */

#endif
