/* SPDX-License-Identifier: BSD-2-Clause */
/* The only file that is compiled anew for each commit. */
#include "boot.h"

#ifndef UMBRA_VERSION
#define UMBRA_VERSION "0"
#endif
#ifndef UMBRA_COMMIT
#define UMBRA_COMMIT "unknown"
#endif

#if UMBRA_DEBUG
#define UMBRA_PROFILE_NAME "debug"
#else
#define UMBRA_PROFILE_NAME "release"
#endif

const char *version_text(void)
{
    return UMBRA_VERSION " (" UMBRA_COMMIT ", " UMBRA_PROFILE_NAME ")";
}
