/* SPDX-License-Identifier: BSD-2-Clause */
/* Which right of the capability each message and signal needs, and that capabilities travel only by one with
 * the right to grant: all rights, both paths. A sends, B serves and is more urgent, a third one is idle. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c
#include "kernel/fastpath.h"
#include "kernel/invoke.h"
#include "kernel/ipc.h"
#undef CHECK
#include "check.h"
#include "fake_arch.h"
#include <string.h>

enum { IDLE, A, B, THREADS };
enum { SLOT_EP = 1, SLOT_EP_ALL, SLOT_REPLY, SLOT_REPLY_ALL, SLOT_NOTE, SLOT_GIFT, SLOT_TO_A, SLOT_TO_B };
enum {
    PAGE_CNODE,
    PAGE_SMALL,
    PAGE_TCBS,
    PAGE_BUFFERS = PAGE_TCBS + THREADS,
    PAGES = PAGE_BUFFERS + THREADS
};
#define BITS      4u
#define RIGHTS    16u
#define VECTOR_UD 6

static _Alignas(PAGE_BYTES) unsigned char memory[PAGES * PAGE_BYTES];

static struct tcb *thread(unsigned i)
{
    return (struct tcb *)(void *)(memory + (PAGE_TCBS + i) * PAGE_BYTES);
}

static struct cap *slot(unsigned i)
{
    return (struct cap *)(void *)memory + i;
}

static void put(unsigned at, unsigned type, unsigned object, unsigned rights)
{
    *slot(at) = (struct cap){ .type = type, .rights = rights, .obj = PAGE_SMALL * PAGE_BYTES + object * 128 };
    cap_insert(slot(at), NULL);
}

static void make_thread(unsigned i)
{
    struct tcb *t = thread(i);
    struct sched *s = (struct sched *)(void *)(memory + PAGE_SMALL * PAGE_BYTES + (8 + i) * 128);

    arch_regs_init(&t->regs);
    t->cspace = (struct cap){ .type = OBJ_CNODE, .rights = RIGHT_ALL, .bits = BITS };
    t->vspace = (struct cap){ .type = OBJ_VSPACE, .obj = (100 + i) * PAGE_BYTES };
    t->buffer = (void *)(memory + (PAGE_BUFFERS + i) * PAGE_BYTES);
    t->buffer->caps[0] = SLOT_GIFT;
    t->buffer->recv_slot = i == A ? SLOT_TO_A : SLOT_TO_B;
    t->buffer->recv_limit = 1;
    tcb_set_slots(t);
    *s = (struct sched){
        .tcb = t, .budget = 1000000, .period = 1000000, .remaining = 1000000, .ceiling = 255
    };
    s->refill.kind = DEADLINE_REFILL;
    t->sc = s;
    t->priority = i * 10;
    thread_ready(t);
}

/* The capabilities that are tried have these rights. B is chosen. */
static void begin(unsigned rights)
{
    log_refusals = false;
    phys_base_host = memory;
    memset(memory, 0, sizeof(memory));
    cpu = (struct cpu){ .user_rsp = 0 };
    fake = (struct fake_arch){ .now = 1000000 };
    put(SLOT_EP, OBJ_ENDPOINT, 0, rights);
    put(SLOT_EP_ALL, OBJ_ENDPOINT, 0, RIGHT_ALL);
    put(SLOT_REPLY, OBJ_REPLY, 1, rights);
    put(SLOT_REPLY_ALL, OBJ_REPLY, 1, RIGHT_ALL);
    put(SLOT_NOTE, OBJ_NOTIFICATION, 2, rights);
    put(SLOT_GIFT, OBJ_ENDPOINT, 3, RIGHT_ALL);
    for (unsigned i = 0; i < THREADS; i++)
        make_thread(i);
    kernel_leave();
    CHECK(cpu.current == thread(B));
}

/* The chosen thread's system call; what it is told, if it goes on. */
static err_t act(bool quick, unsigned who, int64_t number, uint64_t at, uint64_t tag)
{
    struct tcb *t = thread(who);

    CHECK(cpu.current == t);
    t->regs.rax = (uint64_t)number;
    t->regs.rdi = at;
    t->regs.rsi = tag;
    t->regs.vector = VECTOR_SYSCALL;
    if (quick)
        kernel_syscall();
    else
        syscall_complete(t);
    return (err_t)t->regs.rax;
}

static uint64_t with_reply(unsigned ep, unsigned reply)
{
    return ep | (uint64_t)reply << 32;
}

#define EACH_CASE(quick, rights)                                                                             \
    for (unsigned quick = 0; quick < 2; quick++)                                                             \
        for (unsigned rights = 0; rights < RIGHTS; rights++)

TEST(a_message_needs_the_right_to_write_and_capabilities_that_to_grant)
{
    static const int64_t numbers[] = { SYS_CALL, SYS_SEND };

    EACH_CASE(quick, rights)
    for (unsigned k = 0; k < 2; k++)
        for (unsigned caps = 0; caps < 2; caps++) {
            bool may = (rights & RIGHT_WRITE) && (!caps || (rights & RIGHT_GRANT));
            begin(rights);
            act(quick, B, SYS_RECV, with_reply(SLOT_EP_ALL, SLOT_REPLY_ALL), 0);
            CHECK_EQ(thread(B)->state, THREAD_RECV);
            check_note("way %u rights %x number %ld capabilities %u", quick, rights, (long)numbers[k], caps);
            err_t e = act(quick, A, numbers[k], SLOT_EP, TAG(1, 0) | TAG_CAPS(caps));
            CHECK_EQ(thread(B)->state, may ? THREAD_READY : THREAD_RECV);
            CHECK(cpu.current == thread(may ? B : A));
            CHECK(may || e == ERR_NO_RIGHT);
            CHECK_EQ(slot(SLOT_TO_B)->type, may && caps ? OBJ_ENDPOINT : OBJ_NULL);
        }
}

TEST(an_answer_brings_capabilities_to_who_called_with_the_right_to_grant)
{
    static const int64_t numbers[] = { SYS_REPLY, SYS_REPLY_RECV };

    EACH_CASE(quick, rights)
    for (unsigned k = 0; k < 2 && (rights & RIGHT_WRITE); k++) {
        begin(rights);
        act(quick, B, SYS_RECV, with_reply(SLOT_EP_ALL, SLOT_REPLY_ALL), 0);
        act(quick, A, SYS_CALL, SLOT_EP, TAG(1, 0));
        check_note("way %u rights %x number %ld", quick, rights, (long)numbers[k]);
        act(quick, B, numbers[k], k ? with_reply(SLOT_EP_ALL, SLOT_REPLY_ALL) : SLOT_REPLY_ALL,
            TAG(1, 0) | TAG_CAPS(1));
        CHECK_EQ(thread(A)->state, THREAD_READY);
        CHECK_EQ(slot(SLOT_TO_A)->type, rights & RIGHT_GRANT ? OBJ_ENDPOINT : OBJ_NULL);
        CHECK_EQ(TAG_NCAPS(thread(A)->regs.rsi), rights & RIGHT_GRANT ? 1u : 0u);
    }
}

TEST(who_receives_needs_the_right_to_read_and_who_signals_that_to_write)
{
    static const struct {
        int64_t number;
        uint64_t at;
        unsigned needs;
    } cases[] = {
        { SYS_RECV, SLOT_EP, RIGHT_READ },
        { SYS_POLL, SLOT_EP, RIGHT_READ },
        { SYS_RECV, SLOT_NOTE, RIGHT_READ },
        { SYS_POLL, SLOT_NOTE, RIGHT_READ },
        { SYS_SIGNAL, SLOT_NOTE, RIGHT_WRITE },
        { SYS_RECV, SLOT_EP_ALL | (uint64_t)SLOT_REPLY << 32, RIGHT_WRITE },
    };

    EACH_CASE(quick, rights)
    for (unsigned k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        begin(rights);
        check_note("way %u rights %x case %u", quick, rights, k);
        err_t e = act(quick, B, cases[k].number, cases[k].at, 0);
        if (rights & cases[k].needs) {
            CHECK(thread(B)->state != THREAD_READY || e == ERR_OK || e == ERR_WOULD_BLOCK);
            continue;
        }
        CHECK_EQ(e, ERR_NO_RIGHT);
        CHECK_EQ(thread(B)->state, THREAD_READY);
        CHECK(!((struct notification *)cap_object(slot(SLOT_NOTE)))->bits);
    }
}

TEST(who_answers_needs_the_right_to_write)
{
    EACH_CASE(quick, rights)
    for (unsigned k = 0; k < 2; k++) {
        begin(rights);
        act(quick, B, SYS_RECV, with_reply(SLOT_EP_ALL, SLOT_REPLY_ALL), 0);
        act(quick, A, SYS_CALL, SLOT_EP_ALL, TAG(1, 0));
        check_note("way %u rights %x with receiving %u", quick, rights, k);
        err_t e = act(quick, B, k ? SYS_REPLY_RECV : SYS_REPLY,
                      k ? with_reply(SLOT_EP_ALL, SLOT_REPLY) : SLOT_REPLY, TAG(1, 0));
        CHECK_EQ(thread(A)->state, rights & RIGHT_WRITE ? THREAD_READY : THREAD_REPLY);
        CHECK(rights & RIGHT_WRITE || e == ERR_NO_RIGHT);
    }
}

TEST(a_fault_is_told_by_a_capability_with_the_right_to_write)
{
    EACH_CASE(quick, rights)
    {
        begin(rights);
        act(quick, B, SYS_RECV, with_reply(SLOT_EP_ALL, SLOT_REPLY_ALL), 0);
        struct tcb *a = thread(A);
        CHECK(cpu.current == a);
        a->fault = *slot(SLOT_EP);
        a->regs.vector = VECTOR_UD;
        check_note("way %u rights %x", quick, rights);
        if (quick) {
            kernel_entry(0);
        } else {
            ipc_fault(a, FAULT_EXCEPTION, VECTOR_UD, 0);
            kernel_leave();
        }
        CHECK_EQ(a->state, rights & RIGHT_WRITE ? THREAD_REPLY : THREAD_FAULTED);
        CHECK_EQ(thread(B)->state, rights & RIGHT_WRITE ? THREAD_READY : THREAD_RECV);
    }
}
