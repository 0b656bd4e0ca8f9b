/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/vmm/shadow/ops.c
/* Operations that become one, and those that must not. */
#include "check.h"
#include "servers/vmm/shadow/internal.h"

static uint64_t word[SHADOW_OPS_ROOM];
static struct shadow_ops ops;

static void downgrade(uint32_t rights)
{
    const uint64_t mask[MASK_WORDS] = { 1 };

    ops = (struct shadow_ops){ .word = word, .max = SHADOW_OPS_ROOM };
    op_downgrade(&ops, 7, mask, rights);
}

TEST(ops_a_drop_joins_only_entries_of_its_table_that_go)
{
    downgrade(0);
    op_drop(&ops, 7, 65);
    CHECK_EQ(ops.count, 1 + MASK_WORDS);
    CHECK_EQ(ops.word[1], 1);
    CHECK_EQ(ops.word[2], 2);
    op_drop(&ops, 8, 65);
    CHECK_EQ(ops.count, 2 + MASK_WORDS);
    CHECK_EQ(ops.word[1 + MASK_WORDS], OP_W0(OP_DROP, 0, 65, 8));
    downgrade(SH_READ | SH_USER | SH_EXEC);
    op_drop(&ops, 7, 65);
    CHECK_EQ(ops.count, 2 + MASK_WORDS);
    CHECK_EQ(ops.word[2], 0);
    CHECK_EQ(ops.word[1 + MASK_WORDS], OP_W0(OP_DROP, 0, 65, 7));
}
