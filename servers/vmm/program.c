/* SPDX-License-Identifier: BSD-2-Clause */
/* See program.h. The one file that is compiled anew with each commit. */
#include "servers/vmm/program.h"

const char vmm_program[] = "umbra " UMBRA_VERSION " " UMBRA_COMMIT;
_Static_assert(sizeof(vmm_program) <= 48, "supervisor.program takes 47 characters");
