/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree with its one private variable in the open. */
#include "kernel/obj/cap.c"

struct cap *first_dying(void);
struct cap *first_dying(void)
{
    return dying;
}
