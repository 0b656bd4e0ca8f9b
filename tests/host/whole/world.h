/* SPDX-License-Identifier: BSD-2-Clause */
/* For those who build the world. */
#ifndef TESTS_WHOLE_WORLD_H
#define TESTS_WHOLE_WORLD_H

#include "whole.h"

#define COMMON_PRIORITY 60u

/* build.c: by init's system calls. The Untyped of the process that nobody but init can reach. */
const struct cap *build_world(void);
/* Those that run, by init's addresses: all but init and the victim's. */
#define THREADS_MAX 8u
extern cptr_t threads[THREADS_MAX];
extern unsigned thread_count;

/* end.c */
void check_told(void);
void take_everything(void);

#endif
