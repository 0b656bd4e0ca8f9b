/* SPDX-License-Identifier: BSD-2-Clause */
/* How long the kernel runs without a chance for others, by KERNEL_STRETCHES: what is none of its paths. Ticks
 * are instructions, so that the load of the host does not show. */
// ICOUNT: yes
#include "support/vm.h"

#define CR3    0x5000ul
#define RUN    256u /* entries of an operation */
#define OPS    64u
#define ROUNDS 1000000ul /* of the guest's loop, two instructions each */

/* The longest path of the kernel is not what the guest does behind a load of CR3 that was served. */
TEST(the_guest_behind_a_served_load_is_no_stretch_of_the_kernel)
{
    /* mov cr3, rax; mov ecx, ROUNDS; dec ecx; jnz back; hlt */
    static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0xb9, 0x40, 0x42, 0x0f,
                                    0x00, 0xff, 0xc9, 0x75, 0xfc, 0xf4 };
    struct sys_message m = { .tag = TAG(KERNEL_STRETCHES, 1), .w = { KERNEL_STRETCHES_FORGET } };
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
    op(&v, OP_W0(OP_ROOT_LIST, 0, 0, v.table[2]));
    op(&v, CR3);
    vm_long_mode(&v, 0x1000, 0x8000, false);
    v.r->gpr_mask |= 1u << RAX;
    v.r->gpr[RAX] = CR3;
    CHECK_OK(sys_call(SLOT_KERNEL, &m));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->cr3_loads, 1);
    m = (struct sys_message){ .tag = TAG(KERNEL_STRETCHES, 1) };
    CHECK_OK(sys_call(SLOT_KERNEL, &m));
    CHECK(m.w[0] < ROUNDS);
    CHECK_EQ(m.w[0] != 0, boot->debug);
}

/* The kernel's longest path in a reply that writes the same entries over and over, from one frame on or two.
 */
static uint64_t longest_reply(struct vm_test *v, bool other_frames)
{
    struct sys_message m = { .tag = TAG(KERNEL_STRETCHES, 1), .w = { KERNEL_STRETCHES_FORGET } };

    for (unsigned i = 0; i < OPS; i++) {
        op(v, OP_W0(OP_FILL_RUN, RWXU, RUN, v->table[5]));
        op(v, OP_W1_RUN(RUN << (other_frames && i % 2), RUN));
    }
    v->r->groups |= STATE_RIP;
    v->r->rip = 0x1000;
    if (sys_call(SLOT_KERNEL, &m) != ERR_OK || vm_reply(v, NULL) != ERR_OK || v->x->kind != EXIT_HLT)
        return 0;
    m = (struct sys_message){ .tag = TAG(KERNEL_STRETCHES, 1) };
    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? m.w[0] : 0;
}

/* I9: an entry that takes another's place is more work, so there are fewer between two looks at interrupts.
 */
TEST(replaced_entries_keep_interrupts_off_for_no_longer_than_others)
{
    static const uint8_t hlt[] = { 0xf4 };
    struct vm_test v;

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, hlt, sizeof(hlt));
    CHECK_OK(vm_recv(&v));
    vm_long_tables(&v);
    op(&v, OP_W0(OP_FILL_RUN, RWXU, 0, v.table[5]));
    op(&v, OP_W1_RUN(0, 16));
    vm_long_mode(&v, 0x1000, 0x8000, false);
    uint64_t same = longest_reply(&v, false), other = longest_reply(&v, true);
    CHECK((same != 0 && other != 0) || !boot->debug);
    CHECK(other <= same + same / 2);
    CHECK(vm_audit(&v));
}
