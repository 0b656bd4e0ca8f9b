/* SPDX-License-Identifier: BSD-2-Clause */
/* The root task's world as the kernel hands it over. */
#include "support/harness.h"

TEST(bootinfo_is_complete)
{
    CHECK_EQ(boot->magic, BOOT_MAGIC);
    CHECK(boot->untyped_count > 0);
    CHECK(boot->memory_bytes > 64ul << 20);
    CHECK(boot->tsc_hz > 1000000);
    CHECK(boot->module_count >= 1);
}

TEST(null_call_returns)
{
    sys_null();
    CHECK_EQ(sys_simple(-100, 0), ERR_BAD_SYSCALL);
}
