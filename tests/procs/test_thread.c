/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads: every TCB method and refusal, what is kept apart between threads, and threads that take away what
 * they stand on. */
#include "support/process.h"

static struct thread threads[3];
static volatile uint64_t marks[3];

static void settle(void)
{
    root_priority(1);
    root_priority(255);
}

static err_t configure(cptr_t tcb, cptr_t cspace, cptr_t vspace, cptr_t buffer, cptr_t fault)
{
    return sys_invoke4(tcb, TCB_CONFIGURE, cspace, vspace, buffer, fault);
}

TEST(configure_refusals)
{
    cptr_t t = new_object(OBJ_TCB, 0), ep = new_object(OBJ_ENDPOINT, 0), none = new_slot();
    cptr_t frame = new_object(OBJ_FRAME, FRAME_4K), device = new_slot();

    CHECK_OK(configure(t, SLOT_CNODE, SLOT_VSPACE, frame, ep));
    CHECK_EQ(configure(t, none, SLOT_VSPACE, 0, 0), ERR_NO_CAP);
    CHECK_EQ(configure(t, 0, SLOT_VSPACE, 0, 0), ERR_NO_CAP);
    CHECK_EQ(configure(t, SLOT_CNODE, none, 0, 0), ERR_NO_CAP);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, none, 0), ERR_NO_CAP);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, 0, none), ERR_NO_CAP);
    CHECK_EQ(configure(t, ep, SLOT_VSPACE, 0, 0), ERR_WRONG_TYPE);
    CHECK_EQ(configure(t, SLOT_CNODE, ep, 0, 0), ERR_WRONG_TYPE);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, ep, 0), ERR_WRONG_TYPE);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, 0, t), ERR_WRONG_TYPE);
    CHECK_EQ(configure(t, copy_cap(SLOT_CNODE, RIGHT_READ), SLOT_VSPACE, 0, 0), ERR_NO_RIGHT);
    CHECK_EQ(configure(t, SLOT_CNODE, copy_cap(SLOT_VSPACE, RIGHT_READ), 0, 0), ERR_NO_RIGHT);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, copy_cap(frame, RIGHT_READ), 0), ERR_NO_RIGHT);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, 0, copy_cap(ep, RIGHT_READ)), ERR_NO_RIGHT);
    for (unsigned i = 0; i < boot->untyped_count && boot->untyped[i].device == 0; i++)
        if (boot->untyped[i + 1].device)
            CHECK_OK(sys_retype(IPC, boot->untyped[i + 1].cap, OBJ_FRAME, FRAME_4K, SLOT_CNODE, device, 1));
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, device, 0), ERR_DEVICE_MEMORY);
    CHECK_EQ(configure(t, deepest(SLOT_CNODE), SLOT_VSPACE, 0, 0), ERR_TOO_DEEP);
    CHECK_EQ(configure(t, SLOT_CNODE, deepest(SLOT_VSPACE), 0, 0), ERR_TOO_DEEP);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, deepest(frame), 0), ERR_TOO_DEEP);
    CHECK_EQ(configure(t, SLOT_CNODE, SLOT_VSPACE, 0, deepest(ep)), ERR_TOO_DEEP);
    CHECK_EQ(configure(SLOT_TCB, SLOT_CNODE, SLOT_VSPACE, 0, 0), ERR_WRONG_STATE);
}

TEST(other_bindings_have_the_depth_limit_too)
{
    cptr_t t = new_object(OBJ_TCB, 0), n = new_object(OBJ_NOTIFICATION, 0), timer = new_object(OBJ_TIMER, 0);
    cptr_t s = new_object(OBJ_SCHED, 0);

    CHECK_EQ(sys_invoke2(t, TCB_SET_SCHED, deepest(s), 0), ERR_TOO_DEEP);
    CHECK_EQ(sys_invoke1(t, TCB_BIND_NOTIFICATION, deepest(n)), ERR_TOO_DEEP);
    CHECK_EQ(sys_invoke1(timer, TIMER_BIND, deepest(n)), ERR_TOO_DEEP);
    CHECK_EQ(sys_invoke1(t, TCB_BIND_NOTIFICATION, new_slot()), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(t, TCB_BIND_NOTIFICATION, t), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(t, TCB_BIND_NOTIFICATION, copy_cap(n, RIGHT_WRITE)), ERR_NO_RIGHT);
}

static err_t write_regs(cptr_t tcb, uint64_t rip, uint64_t flags, uint64_t fs)
{
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6), .w = { rip, 0x1000, 11, 12 } };

    IPC->words[4] = flags;
    IPC->words[5] = fs;
    return sys_call(tcb, &m);
}

TEST(registers_are_written_checked_and_read)
{
    cptr_t t = new_object(OBJ_TCB, 0);
    struct sys_message m = { .tag = TAG(TCB_READ_REGS, 0) };

    CHECK_EQ(write_regs(t, USER_END, 0, 0), ERR_RANGE);
    CHECK_EQ(write_regs(t, ~0ul, 0, 0), ERR_RANGE);
    CHECK_EQ(write_regs(t, 0, 0, USER_END), ERR_RANGE);
    CHECK_EQ(write_regs(SLOT_TCB, 0, 0, 0), ERR_WRONG_STATE);
    CHECK_OK(write_regs(t, USER_END - 1, ~0ul, USER_END - 8));
    CHECK_OK(sys_call(t, &m));
    CHECK_EQ(TAG_WORDS(m.tag), 19);
    CHECK_EQ(m.w[0], USER_END - 1);
    CHECK_EQ(m.w[1], 0x1000);
    CHECK_EQ(m.w[2], 0xcd5 | 0x202); /* condition flags; no IOPL, TF, NT; always IF */
    CHECK_EQ(m.w[3], USER_END - 8);
    CHECK_EQ(IPC->words[9], 12);  /* RSI */
    CHECK_EQ(IPC->words[10], 11); /* RDI */
    CHECK_OK(write_regs(t, 0, 0, 0));
    m.tag = TAG(TCB_READ_REGS, 0);
    CHECK_OK(sys_call(t, &m));
    CHECK_EQ(m.w[2], 0x202);
}

TEST(addresses_of_handlers_are_checked)
{
    cptr_t t = new_object(OBJ_TCB, 0);

    CHECK_EQ(sys_invoke1(t, TCB_SET_HANDLER, USER_END), ERR_RANGE);
    CHECK_EQ(sys_invoke1(t, TCB_SET_TLS, USER_END), ERR_RANGE);
    CHECK_EQ(sys_invoke1(t, TCB_SET_TLS, 1ul << 63), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, TCB_SET_FIXUP, 0, 10, USER_END), ERR_RANGE);
    CHECK_OK(sys_invoke1(t, TCB_SET_HANDLER, USER_END - 1));
}

TEST(resume_needs_a_stopped_and_configured_thread)
{
    cptr_t t = new_object(OBJ_TCB, 0), c = new_object(OBJ_CNODE, 2);

    CHECK_EQ(sys_invoke0(t, TCB_RESUME), ERR_NOT_BOUND);
    CHECK_EQ(sys_invoke0(SLOT_TCB, TCB_RESUME), ERR_WRONG_STATE);
    CHECK_OK(configure(t, c, SLOT_VSPACE, 0, 0));
    CHECK_OK(sys_invoke0(t, TCB_RESUME)); /* without a context it is ready, and never runs */
    CHECK_EQ(sys_invoke0(t, TCB_RESUME), ERR_WRONG_STATE);
    CHECK_EQ(configure(t, c, SLOT_VSPACE, 0, 0), ERR_WRONG_STATE);
    CHECK_OK(sys_invoke0(t, TCB_SUSPEND));
    CHECK_OK(sys_invoke0(t, TCB_SUSPEND));
    CHECK_OK(delete_cap(c));
    CHECK_EQ(sys_invoke0(t, TCB_RESUME), ERR_NOT_BOUND);
}

/* --- what is kept apart --- */

struct vector_state {
    uint64_t xmm[16][2], high[16][2];
    uint32_t mxcsr;
    uint16_t control;
    uint64_t fs, gs;
};

/* Load all of it, make a system call, store all of it. */
static void exchange(struct vector_state *s, int64_t call)
{
#define EACH(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define LOAD(n)                                                                                              \
    "vmovdqu " #n "*16(%[x]), %%xmm" #n "\n vinsertf128 $1, " #n "*16(%[h]), %%ymm" #n ", %%ymm" #n "\n"
#define STORE(n) "vmovdqu %%xmm" #n ", " #n "*16(%[x])\n vextractf128 $1, %%ymm" #n ", " #n "*16(%[h])\n"
    uint64_t rax = (uint64_t)call, rdi = 0;
    __asm__ volatile(
        "wrfsbase %[fs]\n wrgsbase %[gs]\n ldmxcsr %[m]\n fldcw %[c]\n" EACH(LOAD) "syscall\n" EACH(
            STORE) "fnstcw %[c]\n stmxcsr %[m]\n rdgsbase %[gs]\n rdfsbase %[fs]\n"
        : "+a"(rax), "+D"(rdi), [m] "+m"(s->mxcsr), [c] "+m"(s->control), [fs] "+r"(s->fs), [gs] "+r"(s->gs)
        : [x] "r"(s->xmm), [h] "r"(s->high)
        : "rcx", "r11", "rsi", "rdx", "r10", "r8", "r9", "memory");
}

static void keeps_state(uint64_t index)
{
    for (uint64_t round = 1; round <= 200; round++) {
        struct vector_state s;
        uint64_t base = index << 40 | round << 20;
        for (unsigned i = 0; i < 16; i++) {
            s.xmm[i][0] = base + i;
            s.xmm[i][1] = base + 100 + i;
            s.high[i][0] = base + 200 + i;
            s.high[i][1] = base + 300 + i;
        }
        s.mxcsr = 0x1f80 | index << 13;
        s.control = 0x37f & ~(index << 8 & 0x300);
        s.fs = 0x1000 * (index + 1) + round;
        s.gs = 0x100000 * (index + 1) + round;
        struct vector_state want = s;
        exchange(&s, SYS_YIELD);
        bool same = s.mxcsr == want.mxcsr && s.control == want.control && s.fs == want.fs && s.gs == want.gs;
        for (unsigned i = 0; i < 16; i++)
            same &= s.xmm[i][0] == want.xmm[i][0] && s.xmm[i][1] == want.xmm[i][1] &&
                    s.high[i][0] == want.high[i][0] && s.high[i][1] == want.high[i][1];
        if (!same) {
            marks[index] = round;
            thread_end();
        }
    }
    marks[index] = 1000;
}

TEST(vector_registers_and_bases_are_kept_apart)
{
    for (unsigned i = 0; i < 3; i++) {
        marks[i] = 0;
        CHECK(thread_make(&threads[i], keeps_state, i, 100, 0));
    }
    settle();
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(marks[i], 1000);
}

static volatile uint64_t first_xmm[16][2], first_gs, first_fs;
static volatile uint32_t first_mxcsr;
static void shows_first_state(uint64_t index)
{
#define FIRST(n) "movdqu %%xmm" #n ", " #n "*16(%[x])\n"
    uint64_t gs, fs;
    __asm__ volatile(EACH(FIRST) "stmxcsr %[m]\n rdgsbase %[gs]\n rdfsbase %[fs]"
                     : [m] "=m"(first_mxcsr), [gs] "=r"(gs), [fs] "=r"(fs)
                     : [x] "r"(first_xmm)
                     : "memory");
    first_gs = gs;
    first_fs = fs;
    marks[index] = 1;
}

TEST(a_new_thread_sees_nothing_of_others_registers)
{
    marks[0] = marks[1] = 0;
    CHECK(thread_make(&threads[0], keeps_state, 0, 100, 0));
    settle();
    CHECK_EQ(marks[0], 1000);
    CHECK(thread_make(&threads[1], shows_first_state, 1, 100, 0));
    settle();
    CHECK_EQ(marks[1], 1);
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(first_xmm[i][0] | first_xmm[i][1], 0);
    CHECK_EQ(first_mxcsr, 0x1f80);
    CHECK_EQ(first_gs | first_fs, 0);
}

TEST(a_tcb_in_reused_memory_starts_afresh)
{
    cptr_t u = new_object(OBJ_UNTYPED, 12), mine = new_slot();

    for (unsigned round = 0; round < 2; round++) {
        marks[0] = marks[1] = 0;
        CHECK_OK(sys_retype(IPC, u, OBJ_TCB, 0, SLOT_CNODE, mine, 1));
        CHECK(thread_make(&threads[round], NULL, 0, 100, 0));
        CHECK_OK(configure(mine, SLOT_CNODE, SLOT_VSPACE, 0, 0));
        CHECK_OK(delete_cap(threads[round].tcb));
        CHECK_OK(sys_invoke2(mine, TCB_SET_SCHED, threads[round].sched, 100));
        threads[round].tcb = mine;
        CHECK_OK(thread_start(&threads[round], round ? shows_first_state : keeps_state, round));
        settle(); /* the first leaves its state in the registers */
        CHECK_EQ(marks[round], round ? 1 : 1000);
        CHECK_OK(delete_cap(mine));
    }
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(first_xmm[i][0] | first_xmm[i][1], 0);
}

TEST(tls_is_set_from_inside_and_outside)
{
    uint64_t fs;

    CHECK_OK(sys_invoke1(SLOT_TCB, TCB_SET_TLS, 0x123456000));
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    CHECK_EQ(fs, 0x123456000);
    struct sys_message m = { .tag = TAG(TCB_READ_REGS, 0) };
    __asm__ volatile("wrfsbase %0" : : "r"(0x777000ul));
    CHECK_OK(sys_call(SLOT_TCB, &m));
    CHECK_EQ(m.w[3], 0x777000);
    __asm__ volatile("wrfsbase %0" : : "r"(0ul));
    marks[0] = 0;
    CHECK(thread_make(&threads[0], NULL, 0, 100, 0));
    CHECK_OK(thread_start(&threads[0], shows_first_state, 0));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_SET_TLS, 0x5000));
    settle();
    CHECK_EQ(first_fs, 0x5000);
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    CHECK_EQ(fs, 0);
}

/* --- what a thread stands on --- */

static cptr_t own_tcb;
static volatile uint64_t suspend_result;
static void suspends_itself(uint64_t index)
{
    suspend_result = sys_invoke0(own_tcb, TCB_SUSPEND);
    marks[index]++;
}

TEST(a_thread_suspends_itself)
{
    marks[0] = 0;
    CHECK(thread_make(&threads[0], NULL, 0, 100, 0));
    own_tcb = threads[0].tcb;
    CHECK_OK(thread_start(&threads[0], suspends_itself, 0));
    settle();
    CHECK_EQ(marks[0], 0);
    CHECK_OK(sys_invoke0(own_tcb, TCB_RESUME));
    settle();
    CHECK_EQ(marks[0], 1);
    CHECK_EQ(suspend_result, ERR_OK);
}

static bool all_free(cptr_t u, unsigned bits)
{
    return sys_retype(IPC, u, OBJ_UNTYPED, bits, SLOT_CNODE, new_slot(), 1) == ERR_OK;
}

static cptr_t home;
static bool make_home(struct process *p)
{
    home = new_object(OBJ_UNTYPED, 16);
    return home && process_make(p, home, 100, 0);
}

/* The process' own call removes what `slot` of its CSpace names; then its home must be free again after the
 * rest. */
static bool removes(struct process *p, unsigned method, unsigned slot)
{
    if (process_call(p, (uint64_t)SYS_CALL, 2, TAG(method, 1), slot, 0) != ERR_OK)
        return false;
    settle();
    return true;
}

TEST(a_process_makes_calls)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(process_call(&p, (uint64_t)SYS_NULL, 0, 0, 0, 0));
    settle();
    CHECK_EQ(p.script->result, ERR_OK);
    CHECK_EQ(p.script->done, 1);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, home));
    CHECK(all_free(home, 16));
}

TEST(a_thread_deletes_its_own_tcb)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, p.cspace, RIGHT_ALL));
    CHECK_OK(sys_invoke2(p.tcb, TCB_SET_SCHED, p.sched, 100));
    cptr_t cspace = p.cspace;
    CHECK_OK(process_call(&p, (uint64_t)SYS_CALL, 2, TAG(CNODE_DELETE, 1), 3, 0));
    CHECK_OK(sys_invoke2(cspace, CNODE_MOVE, 3, p.tcb));
    settle();
    CHECK_EQ(p.script->done, 0);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, CPTR_SUB(cspace, 3)), ERR_NO_CAP);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, home));
    CHECK(all_free(home, 16));
}

TEST(a_thread_deletes_its_own_cspace)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, p.cspace, RIGHT_ALL));
    CHECK_OK(sys_retype(IPC, TEST_UNTYPED, OBJ_ENDPOINT, 0, p.cspace, 4, 27));
    /* its last capability goes into itself: from now on only the process knows it */
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 3, SLOT_CNODE, RIGHT_ALL));
    CHECK_OK(process_call(&p, (uint64_t)SYS_CALL, 3, TAG(CNODE_DELETE, 1), p.cspace, 0));
    settle();
    CHECK_EQ(p.script->done, 0);
    CHECK_EQ(sys_invoke0(p.tcb, TCB_RESUME), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, home));
    CHECK(all_free(home, 16));
}

TEST(a_thread_revokes_the_memory_it_lives_in)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, SLOT_CNODE, RIGHT_ALL));
    CHECK(removes(&p, CNODE_REVOKE, home));
    CHECK_EQ(p.script->done, 0);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, home)); /* it may have stopped half way */
    CHECK(all_free(home, 16));
}

TEST(a_thread_deletes_its_own_address_space)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, SLOT_CNODE, RIGHT_ALL));
    CHECK(removes(&p, CNODE_DELETE, p.vspace));
    CHECK_EQ(p.script->done, 0);
    CHECK_EQ(sys_invoke0(p.tcb, TCB_RESUME), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, home));
    CHECK(all_free(home, 16));
}

TEST(a_thread_deletes_its_own_context)
{
    struct process p;

    CHECK(make_home(&p));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, SLOT_CNODE, RIGHT_ALL));
    CHECK(removes(&p, CNODE_DELETE, p.sched));
    CHECK_EQ(p.script->done, 0);
    cptr_t s = new_object(OBJ_SCHED, 0);
    CHECK_OK(sys_invoke4(s, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, 10000000, 10000000, 255));
    CHECK_OK(sys_invoke2(p.tcb, TCB_SET_SCHED, s, 100));
    settle();
    CHECK_EQ(p.script->result, ERR_OK); /* its call had been done */
}

TEST(a_running_threads_page_table_is_taken)
{
    struct process p;
    cptr_t ep = new_object(OBJ_ENDPOINT, 0), reply = new_object(OBJ_REPLY, 0);
    struct sys_message m = { 0 };

    home = new_object(OBJ_UNTYPED, 16);
    CHECK(home && process_make(&p, home, 100, ep));
    CHECK_OK(sys_invoke3(p.cspace, CNODE_COPY, 2, SLOT_CNODE, RIGHT_ALL));
    cptr_t victim = 0;
    for (cptr_t s = p.cspace + 1, end = new_slot(); s < end;
         s++) /* the last page table made is its own, of level 1 */
        if (sys_invoke3(s, PAGETABLE_MAP, p.vspace, 0, 9) == ERR_RANGE)
            victim = s;
    CHECK(victim);
    CHECK(removes(&p, CNODE_DELETE, victim));
    CHECK_OK(sys_recv(ep, reply, &m)); /* the next instruction is not there any more */
    CHECK_EQ(m.tag, TAG(FAULT_PAGE, 4));
    CHECK_EQ(p.script->done, 0);
}

/* --- long work --- */

#define MANY 60000
static cptr_t many_of;
static void revoker(uint64_t index)
{
    marks[index] = 1;
    marks[index + 1] = sys_invoke1(SLOT_CNODE, CNODE_REVOKE, many_of);
    marks[index] = 2;
}

static bool is_empty(cptr_t p)
{
    return sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, p) == ERR_NO_CAP;
}

/* A timer wakes the root task again and again while a thread of lower priority revokes, at ever longer
 * intervals: so that however slow the machine is, it looks at the middle, and lets the thread come to its
 * end. */
TEST(a_long_revoke_is_preempted)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0), timer = new_object(OBJ_TIMER, 0),
           c = new_object(OBJ_CNODE, 16);
    uint64_t interval = boot->tsc_hz / 100000;
    unsigned seen = 0;

    many_of = new_object(OBJ_NOTIFICATION, 0);
    marks[0] = 0;
    CHECK_OK(sys_invoke1(timer, TIMER_BIND, n));
    for (unsigned i = 1; i <= MANY; i++)
        CHECK_OK(sys_invoke3(c, CNODE_COPY, i, many_of, RIGHT_ALL));
    CHECK(thread_make(&threads[0], revoker, 0, 100, 0));
    for (; marks[0] != 2; interval += interval / 8 + 1) {
        CHECK_OK(sys_invoke1(timer, TIMER_SET, now() + interval));
        CHECK_EQ(sys_wait(n), 1);
        if (marks[0] == 1 && is_empty(CPTR_SUB(c, MANY)) &&
            !is_empty(CPTR_SUB(c, 1))) /* the youngest goes first */
            seen++;
    }
    CHECK_EQ(marks[1], ERR_OK);
    for (unsigned i = 1; i <= MANY; i++)
        CHECK(is_empty(CPTR_SUB(c, i)));
    print_number("# in the middle 0x", seen, " times\n");
    CHECK(seen > 0);
}
