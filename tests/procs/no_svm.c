/* SPDX-License-Identifier: BSD-2-Clause */
/* What a processor without SVM refuses. tests/system/test_errors_reached.py boots it on one. */
#include "support/harness.h"

TEST(without_svm_there_are_no_vms)
{
    cptr_t s = new_slot();

    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, 0, SLOT_CNODE, s, 1), ERR_NO_SUPPORT);
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VCPU, 0, SLOT_CNODE, s, 1), ERR_NO_SUPPORT);
    CHECK_OK(sys_retype(IPC, TEST_UNTYPED, OBJ_GUESTSPACE, 0, SLOT_CNODE, s, 1));
}
