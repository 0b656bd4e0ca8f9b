/* SPDX-License-Identifier: BSD-2-Clause */
/* What a processor without XSAVE and FSGSBASE keeps apart between threads. tests/system/test_processors.py
 * boots it on one; the newer ways are in test_thread.c. */
#include "support/vm.h"

static struct thread threads[3];
static volatile uint64_t marks[3], tls[3][8] __attribute__((aligned(64)));

static void keeps_state(uint64_t index)
{
    for (uint64_t round = 1; round <= 200; round++) {
        uint64_t in[2] = { index << 32 | round, ~index << 32 | round }, out[2], base,
                 rax = (uint64_t)SYS_YIELD, rdi = 0;
        uint32_t control = 0x1f80 | index << 13, after;
        __asm__ volatile("movdqu %[in], %%xmm7; movdqu %[in], %%xmm15; ldmxcsr %[c]; fldz; syscall\n"
                         "fstp %%st; stmxcsr %[after]; pxor %%xmm7, %%xmm15; paddq %%xmm15, %%xmm7\n"
                         "movdqu %%xmm7, %[out]; mov %%fs:0, %[base]"
                         : "+a"(rax), "+D"(rdi), [out] "=m"(out), [after] "=m"(after), [base] "=&b"(base)
                         : [in] "m"(in), [c] "m"(control)
                         : "rcx", "r11", "rsi", "rdx", "r10", "r8", "r9", "xmm7", "xmm15", "memory");
        if (out[0] != in[0] || out[1] != in[1] || after != control || base != 100 + index) {
            marks[index] = round;
            thread_end();
        }
    }
    marks[index] = 1000;
}

TEST(sse_state_and_thread_pointers_are_kept_apart)
{
    for (unsigned i = 0; i < 3; i++) {
        marks[i] = 0;
        tls[i][0] = 100 + i;
        CHECK(thread_make(&threads[i], NULL, i, 100, 0));
        CHECK_OK(thread_start(&threads[i], keeps_state, i));
        CHECK_OK(sys_invoke1(threads[i].tcb, TCB_SET_TLS, (uint64_t)&tls[i]));
    }
    root_priority(1);
    root_priority(255);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(marks[i], 1000);
}

TEST(a_thread_sets_its_own_thread_pointer)
{
    uint64_t got;

    tls[0][0] = 4711;
    CHECK_OK(sys_invoke1(SLOT_TCB, TCB_SET_TLS, (uint64_t)&tls[0]));
    __asm__ volatile("mov %%fs:0, %0" : "=r"(got));
    CHECK_EQ(got, 4711);
}

/* A guest has another FS base; behind it the thread has its own again, by every way in and out. */
TEST(a_guest_leaves_the_thread_pointer_as_it_was)
{
    static const uint8_t code[] = { 0x0f, 0xa2, 0xeb, 0xfc }; /* cpuid; jmp back */
    struct vm_test v;
    uint64_t got, expected = 4711;

    tls[0][0] = expected;
    CHECK_OK(sys_invoke1(SLOT_TCB, TCB_SET_TLS, (uint64_t)&tls[0]));
    CHECK(vm_make(&v));
    vm_load(&v, 0x7c00, code, sizeof(code));
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    vm_real_mode(&v, 0x7c00);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_CPUID);
        __asm__ volatile("mov %%fs:0, %0" : "=r"(got));
        CHECK_EQ(got, expected);
        tls[i & 1][0] = ++expected; /* and what it is set to between two exits counts */
        CHECK_OK(sys_invoke1(SLOT_TCB, TCB_SET_TLS, (uint64_t)&tls[i & 1]));
        v.r->spare ^= i == 3 ? 1u << EXIT_NONE : 0; /* the complete path */
        vm_skip(&v, 2);
    }
}

/* Its SVM has no nested paging. */
TEST(vms_with_nested_paging_need_a_processor_that_has_it)
{
    cptr_t s = new_slot();

    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, VM_PAGING_NESTED, SLOT_CNODE, s, 1), ERR_NO_SUPPORT);
    CHECK_OK(sys_retype(IPC, TEST_UNTYPED, OBJ_VM, VM_PAGING_SHADOW, SLOT_CNODE, s, 1));
}
