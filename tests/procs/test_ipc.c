/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between threads: words, badges, capabilities; who is answered; what becomes of waits that end
 * early. */
#include "support/harness.h"

static struct thread threads[4];
static cptr_t ep, reply, note;
static volatile uint64_t seen_badge, seen_tag, ended[4], result[4];
static volatile unsigned order, came[4];

/* Answers every message with its words and label incremented. */
static void echo(uint64_t index)
{
    struct umbra_ipc_buffer *b = threads[index].buffer;
    struct sys_message m = { 0 };
    err_t e = sys_recv(ep, reply, &m);

    while (e == ERR_OK) {
        unsigned n = TAG_WORDS(m.tag);
        seen_badge = m.badge;
        seen_tag = m.tag;
        for (unsigned i = 0; i < 4; i++)
            m.w[i]++;
        for (unsigned i = 4; i < n; i++)
            b->words[i]++;
        m.tag = TAG(TAG_LABEL(m.tag) + 1, n);
        e = sys_reply_recv(ep, reply, &m);
    }
    result[index] = e;
    ended[index] = 1;
}

/* Calls once with its index; keeps the answer. */
static void caller(uint64_t index)
{
    struct sys_message m = { .tag = TAG(index, 1), .w = { index } };

    ended[index] = 0;
    result[index] = sys_call(ep, &m);
    came[index] = m.w[0];
    ended[index] = ++order;
}

static void sender(uint64_t index)
{
    struct sys_message m = { .tag = TAG(index, 1), .w = { index } };

    ended[index] = 0;
    result[index] = sys_send(ep, &m);
    ended[index] = 1;
}

static void receiver(uint64_t index)
{
    struct sys_message m = { 0 };

    ended[index] = 0;
    result[index] = sys_recv(ep, 0, &m);
    came[index] = m.w[0];
    ended[index] = 1;
}

static bool set_up(void)
{
    ep = new_object(OBJ_ENDPOINT, 0);
    reply = new_object(OBJ_REPLY, 0);
    order = 0;
    for (unsigned i = 0; i < 4; i++)
        ended[i] = result[i] = came[i] = 0;
    return ep && reply;
}

static bool start(unsigned i, void (*f)(uint64_t), unsigned priority)
{
    return thread_make(&threads[i], f, i, priority, 0);
}

/* Let everybody below run until they wait. */
static void settle(void)
{
    root_priority(1);
    root_priority(255);
}

/* The echo runs at 100: called from below it and from above it, messages take different paths in the kernel.
 */
static void calls_from(unsigned priority)
{
    CHECK(set_up() && start(0, echo, 100));
    cptr_t badged = new_slot();
    CHECK_OK(sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, ep, RIGHT_WRITE, 0xabcdef0123456789));
    settle();
    CHECK_OK(root_priority(priority));
    for (unsigned n = 0; n <= MSG_WORDS_MAX; n++) {
        struct sys_message m = { .tag = TAG(1000 + n, n), .w = { n, n + 1, n + 2, ~0ul } };
        for (unsigned i = 4; i < MSG_WORDS_MAX; i++)
            IPC->words[i] = i * n;
        CHECK_OK(sys_call(badged, &m));
        CHECK_EQ(seen_badge, 0xabcdef0123456789);
        CHECK_EQ(m.badge, 0);
        CHECK_EQ(m.tag, TAG(1001 + n, n));
        CHECK_EQ(m.w[0], n + 1);
        CHECK_EQ(m.w[3], 0);
        for (unsigned i = 4; i < MSG_WORDS_MAX; i++)
            CHECK_EQ(IPC->words[i], i * n + (i < n));
    }
    CHECK_OK(root_priority(255));
}

TEST(a_call_carries_words_label_and_badge)
{
    calls_from(255);
}

TEST(a_call_to_a_more_urgent_server_carries_the_same)
{
    calls_from(50);
}

TEST(two_callers_of_a_more_urgent_server_get_their_answers)
{
    CHECK(set_up() && start(0, echo, 100) && start(1, caller, 60) && start(2, caller, 61));
    for (unsigned round = 0; round < 20; round++) {
        settle();
        for (unsigned i = 1; i < 3; i++) {
            CHECK_EQ(result[i], ERR_OK);
            CHECK_EQ(came[i], i + 1);
            came[i] = 0;
            CHECK_OK(sys_invoke0(threads[i].tcb, TCB_SUSPEND));
            CHECK_OK(thread_start(&threads[i], caller, i));
        }
    }
}

TEST(a_receive_after_a_quick_answer_can_be_suspended)
{
    CHECK(set_up() && start(0, echo, 100));
    settle();
    CHECK_OK(root_priority(50));
    for (unsigned round = 0; round < 3; round++) {
        struct sys_message m = { .tag = TAG(5, 1), .w = { round } };
        CHECK_OK(sys_call(ep, &m));
        CHECK_EQ(m.w[0], round + 1);
        CHECK_OK(sys_invoke0(threads[0].tcb, TCB_SUSPEND));
        CHECK_OK(sys_invoke0(threads[0].tcb, TCB_RESUME));
    }
    CHECK_OK(delete_cap(threads[0].tcb));
    struct sys_message m = { 0 };
    CHECK_EQ(sys_poll(ep, reply, &m), ERR_WOULD_BLOCK); /* it is in no queue any more */
    CHECK_OK(root_priority(255));
}

TEST(a_bound_signal_comes_before_the_next_call)
{
    CHECK(set_up() && start(0, echo, 100));
    settle();
    note = new_object(OBJ_NOTIFICATION, 0);
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note));
    CHECK_OK(root_priority(50));
    struct sys_message m = { .tag = TAG(5, 1), .w = { 1 } };
    CHECK_OK(sys_call(ep, &m));
    CHECK_OK(sys_signal(note)); /* the echo takes it for a message and has nobody to answer */
    CHECK_OK(root_priority(255));
    CHECK_EQ(ended[0], 1);
    CHECK_EQ(result[0], ERR_NO_REPLY);
    CHECK(seen_tag & TAG_SIGNAL);
}

TEST(messages_that_do_not_fit_are_refused)
{
    CHECK(set_up() && start(0, echo, 100));
    cptr_t weak = copy_cap(ep, RIGHT_READ), no_grant = copy_cap(ep, RIGHT_WRITE);
    struct sys_message m = { .tag = TAG(1, 65) };
    CHECK_EQ(sys_call(ep, &m), ERR_RANGE);
    CHECK_EQ(sys_send(ep, &m), ERR_RANGE);
    m.tag = TAG(1, 255);
    CHECK_EQ(sys_call(ep, &m), ERR_RANGE);
    m.tag = TAG(1, 65);
    CHECK_EQ(sys_call(new_object(OBJ_CNODE, 4), &m), ERR_RANGE);
    m.tag = TAG(1, 0) | TAG_CAPS(5);
    CHECK_EQ(sys_call(ep, &m), ERR_RANGE);
    m.tag = TAG(1, 0) | TAG_CAPS(1);
    CHECK_EQ(sys_call(no_grant, &m), ERR_NO_RIGHT);
    m.tag = TAG(1, 0);
    CHECK_EQ(sys_call(weak, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_send(weak, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_recv(no_grant, 0, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_poll(no_grant, 0, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_call(new_slot(), &m), ERR_NO_CAP);
    CHECK_EQ(sys_send(new_slot(), &m), ERR_NO_CAP);
    CHECK_EQ(sys_recv(new_slot(), 0, &m), ERR_NO_CAP);
    CHECK_EQ(sys_poll(new_slot(), 0, &m), ERR_NO_CAP);
    CHECK_EQ(sys_send(SLOT_CNODE, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_recv(SLOT_CNODE, 0, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_poll(SLOT_CNODE, 0, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_signal(SLOT_CNODE), ERR_WRONG_TYPE);
    CHECK_EQ(sys_signal(new_slot()), ERR_NO_CAP);
}

TEST(reply_arguments_are_checked)
{
    CHECK(set_up());
    struct sys_message m = { 0 };
    CHECK_EQ(sys_recv(ep, new_slot(), &m), ERR_NO_CAP);
    CHECK_EQ(sys_recv(ep, ep, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_poll(ep, ep, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_poll(ep, new_slot(), &m), ERR_NO_CAP);
    CHECK_EQ(sys_reply(0, &m), ERR_NO_REPLY);
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
    CHECK_EQ(sys_reply(ep, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_reply(new_slot(), &m), ERR_NO_CAP);
    CHECK_EQ(sys_reply_recv(ep, 0, &m), ERR_NO_REPLY);
    CHECK_EQ(sys_reply_recv(ep, reply, &m), ERR_NO_REPLY);
    CHECK_EQ(sys_reply_recv(ep, ep, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_reply_recv(ep, new_slot(), &m), ERR_NO_CAP);
}

TEST(a_refused_answer_leaves_the_caller_waiting)
{
    CHECK(set_up() && start(0, caller, 100));
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, reply, &m));
    m.tag = TAG(0, 65);
    CHECK_EQ(sys_reply(reply, &m), ERR_RANGE);
    CHECK_EQ(sys_reply_recv(ep, reply, &m), ERR_RANGE);
    m.tag = TAG_CAPS(5);
    CHECK_EQ(sys_reply(reply, &m), ERR_RANGE);
    CHECK_EQ(ended[0], 0);
    m.tag = TAG(0, 1);
    m.w[0] = 44;
    CHECK_OK(sys_reply(reply, &m));
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
    settle();
    CHECK_EQ(ended[0], 1);
    CHECK_EQ(result[0], ERR_OK);
    CHECK_EQ(came[0], 44);
}

static volatile err_t bare_results[8];

/* A thread without an IPC buffer. */
static void without_buffer(uint64_t index)
{
    struct sys_message five = { .tag = TAG(1, 5) }, caps = { .tag = TAG_CAPS(1) }, m = { 0 };

    bare_results[0] = sys_call(ep, &five);
    bare_results[1] = sys_send(ep, &caps);
    bare_results[2] = sys_call(SLOT_CNODE, &five);
    bare_results[3] = sys_recv(ep, reply, &m);
    seen_tag = m.tag;
    bare_results[4] = sys_reply(reply, &five);
    bare_results[5] = sys_reply_recv(ep, reply, &five);
    m.tag = TAG(0, 2);
    bare_results[6] = sys_reply(reply, &m);
    ended[index] = 1;
}

TEST(long_messages_need_an_ipc_buffer)
{
    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0));
    CHECK_OK(sys_invoke4(threads[0].tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, 0, 0));
    CHECK_OK(thread_start(&threads[0], without_buffer, 0));
    struct sys_message m = { .tag = TAG(7, 30), .w = { 1, 2, 3, 4 } };
    CHECK_OK(sys_call(ep, &m));
    CHECK_EQ(m.tag, TAG(0, 2));
    settle();
    CHECK(ended[0]);
    static const err_t want[] = { ERR_NO_IPC_BUFFER,
                                  ERR_NO_IPC_BUFFER,
                                  ERR_NO_IPC_BUFFER,
                                  ERR_OK,
                                  ERR_NO_IPC_BUFFER,
                                  ERR_NO_IPC_BUFFER,
                                  ERR_OK };
    for (unsigned i = 0; i < 7; i++)
        CHECK_EQ(bare_results[i], want[i]);
    CHECK_EQ(seen_tag, TAG(7, 4)); /* what found room */
}

TEST(poll_does_not_wait)
{
    CHECK(set_up());
    struct sys_message m = { 0 };
    CHECK_EQ(sys_poll(ep, reply, &m), ERR_WOULD_BLOCK);
    CHECK_EQ(sys_poll(ep, 0, &m), ERR_WOULD_BLOCK);
    CHECK(start(0, caller, 100));
    settle();
    CHECK_OK(sys_poll(ep, reply, &m));
    m = (struct sys_message){ .tag = TAG(0, 1), .w = { 8 } };
    CHECK_OK(sys_reply(reply, &m));
    settle();
    CHECK_EQ(came[0], 8);
}

TEST(a_send_waits_for_a_receiver_and_expects_no_answer)
{
    CHECK(set_up() && start(0, sender, 100));
    settle();
    CHECK_EQ(ended[0], 0);
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_EQ(m.tag, TAG(0, 1));
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
    settle();
    CHECK_EQ(ended[0], 1);
    CHECK_EQ(result[0], ERR_OK);
}

TEST(senders_are_served_in_order)
{
    CHECK(set_up());
    for (unsigned i = 0; i < 4; i++)
        CHECK(start(i, sender, 100 - i));
    settle();
    for (unsigned i = 0; i < 4; i++) {
        struct sys_message m = { 0 };
        CHECK_OK(sys_recv(ep, 0, &m));
        CHECK_EQ(m.w[0], i);
    }
}

TEST(answers_reach_the_caller_they_are_for)
{
    cptr_t replies[3];

    CHECK(set_up());
    for (unsigned i = 0; i < 3; i++) {
        struct sys_message m = { 0 };
        replies[i] = new_object(OBJ_REPLY, 0);
        CHECK(start(i, caller, 100));
        CHECK_OK(sys_recv(ep, replies[i], &m));
        CHECK_EQ(m.w[0], i);
    }
    static const unsigned turn[] = { 1, 2, 0 };
    for (unsigned i = 0; i < 3; i++) {
        struct sys_message m = { .tag = TAG(0, 1), .w = { 50 + turn[i] } };
        CHECK_OK(sys_reply(replies[turn[i]], &m));
        settle();
        CHECK_EQ(order, i + 1); /* nobody else goes on */
        CHECK_EQ(ended[turn[i]], i + 1);
        CHECK_EQ(came[turn[i]], 50 + turn[i]);
    }
}

TEST(a_call_to_a_receiver_without_reply_object_is_told_so)
{
    CHECK(set_up() && start(0, receiver, 100) && start(1, caller, 90));
    settle();
    CHECK_EQ(ended[0], 1);
    CHECK_EQ(result[0], ERR_OK);
    CHECK_EQ(result[1], ERR_NO_REPLY);
}

TEST(a_reply_object_serves_one_receiver)
{
    CHECK(set_up() && start(0, echo, 100));
    settle();
    struct sys_message m = { 0 };
    CHECK_EQ(sys_recv(ep, reply, &m), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_poll(ep, reply, &m), ERR_ALREADY_BOUND);
}

TEST(receiving_again_gives_up_the_last_caller)
{
    CHECK(set_up() && start(0, caller, 100));
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_EQ(sys_poll(ep, reply, &m), ERR_WOULD_BLOCK);
    settle();
    CHECK_EQ(result[0], ERR_CANCELLED);
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
}

TEST(deleting_the_reply_object_cancels_the_caller)
{
    CHECK(set_up() && start(0, caller, 100));
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_OK(delete_cap(reply));
    settle();
    CHECK_EQ(result[0], ERR_CANCELLED);
}

TEST(deleting_the_reply_object_of_a_receiver)
{
    CHECK(set_up() && start(0, echo, 100));
    settle();
    CHECK_OK(delete_cap(reply));
    struct sys_message m = { .tag = TAG(0, 1) };
    CHECK_EQ(sys_call(ep, &m), ERR_NO_REPLY);
    settle();
    CHECK_EQ(result[0], ERR_NO_CAP); /* its ReplyRecv */
}

TEST(deleting_the_endpoint_cancels_who_waits_on_it)
{
    CHECK(set_up() && start(0, caller, 100) && start(1, sender, 100));
    settle();
    CHECK_OK(delete_cap(ep));
    settle();
    CHECK_EQ(result[0], ERR_CANCELLED);
    CHECK_EQ(result[1], ERR_CANCELLED);
    ep = new_object(OBJ_ENDPOINT, 0);
    CHECK(start(2, receiver, 100) && start(3, echo, 100));
    settle();
    CHECK_OK(delete_cap(ep));
    settle();
    CHECK_EQ(result[2], ERR_CANCELLED);
    CHECK_EQ(result[3], ERR_CANCELLED);
}

TEST(the_end_of_the_caller_empties_the_reply_object)
{
    CHECK(set_up() && start(0, caller, 100));
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_OK(delete_cap(threads[0].tcb));
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
}

TEST(the_end_of_waiting_threads_leaves_the_endpoint_usable)
{
    CHECK(set_up() && start(0, sender, 100) && start(1, sender, 99) && start(2, sender, 98));
    settle();
    CHECK_OK(delete_cap(threads[1].tcb)); /* from the middle, the head, and back to empty */
    CHECK_OK(delete_cap(threads[0].tcb));
    struct sys_message m = { 0 };
    CHECK_OK(sys_recv(ep, 0, &m));
    CHECK_EQ(m.w[0], 2);
    CHECK_EQ(sys_poll(ep, 0, &m), ERR_WOULD_BLOCK);
    CHECK(start(3, receiver, 100));
    settle();
    CHECK_OK(delete_cap(threads[3].tcb));
    CHECK_EQ(sys_poll(ep, 0, &m), ERR_WOULD_BLOCK);
}

TEST(a_suspended_call_is_repeated)
{
    CHECK(set_up() && start(0, caller, 100));
    struct sys_message m = { 0 };
    settle();
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_SUSPEND)); /* while it waits to send */
    CHECK_EQ(sys_poll(ep, reply, &m), ERR_WOULD_BLOCK);
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_RESUME));
    CHECK_OK(sys_recv(ep, reply, &m));
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_SUSPEND)); /* while it waits for the answer */
    m.tag = TAG(0, 1);
    CHECK_EQ(sys_reply(reply, &m), ERR_NO_REPLY);
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_RESUME));
    CHECK_OK(sys_recv(ep, reply, &m));
    m = (struct sys_message){ .tag = TAG(0, 1), .w = { 21 } };
    CHECK_OK(sys_reply(reply, &m));
    settle();
    CHECK_EQ(result[0], ERR_OK);
    CHECK_EQ(came[0], 21);
}

TEST(a_suspended_receive_is_repeated_without_a_second_answer)
{
    CHECK(set_up() && start(0, echo, 100));
    struct sys_message m = { .tag = TAG(5, 1), .w = { 1 } };
    CHECK_OK(sys_call(ep, &m)); /* the server is in the Recv half of ReplyRecv now */
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_SUSPEND));
    CHECK(start(1, caller, 90)); /* its message comes while the server is stopped */
    settle();
    CHECK_EQ(ended[1], 0);
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_RESUME));
    settle();
    CHECK_EQ(result[1], ERR_OK);
    CHECK_EQ(came[1], 2);
    CHECK_EQ(ended[0], 0);
}

static void waiter(uint64_t index)
{
    result[index] = sys_wait(note);
    ended[index] = 1;
}

TEST(a_suspended_wait_is_repeated)
{
    CHECK(set_up());
    note = new_object(OBJ_NOTIFICATION, 0);
    CHECK(start(0, waiter, 100));
    settle();
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_SUSPEND));
    CHECK_OK(sys_signal(note));
    settle();
    CHECK_EQ(ended[0], 0);
    CHECK_OK(sys_invoke0(threads[0].tcb, TCB_RESUME));
    settle();
    CHECK_EQ(result[0], 1);
}

/* --- capabilities in messages --- */

static cptr_t received;

static bool capability_set_up(void)
{
    if (!set_up() || !start(0, echo, 100))
        return false;
    received = new_slots(4);
    note = new_object(OBJ_NOTIFICATION, 0);
    threads[0].buffer->recv_slot = received;
    threads[0].buffer->recv_limit = 4;
    threads[0].buffer->recv_sub = 0;
    return note != 0;
}

/* Send n capabilities; how many arrived. */
static unsigned give(unsigned n, cptr_t a, cptr_t b)
{
    struct sys_message m = { .tag = TAG(0, 0) | TAG_CAPS(n) };

    IPC->caps[0] = a;
    IPC->caps[1] = b;
    IPC->caps[2] = IPC->caps[3] = a;
    return sys_call(ep, &m) == ERR_OK ? TAG_NCAPS(seen_tag) : 99;
}

TEST(capabilities_travel_with_a_message)
{
    CHECK(capability_set_up());
    cptr_t weak = copy_cap(note, RIGHT_READ), badged = new_slot();
    CHECK_OK(sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, note, RIGHT_WRITE, 64));
    CHECK_EQ(give(2, badged, weak), 2);
    CHECK_OK(sys_signal(received));
    CHECK_EQ(sys_signal(received + 1), ERR_NO_RIGHT); /* never more rights than the sender had */
    CHECK_EQ(sys_wait(received + 1), 64);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, badged)); /* they are the sender's children */
    CHECK_EQ(sys_signal(received), ERR_NO_CAP);
    CHECK_OK(delete_cap(received + 1));
    CHECK_EQ(give(4, note, note), 4);
}

TEST(capabilities_that_find_no_slot_stay)
{
    CHECK(capability_set_up());
    struct umbra_ipc_buffer *b = threads[0].buffer;
    b->recv_slot = 0;
    CHECK_EQ(give(2, note, note), 0);
    b->recv_slot = received;
    b->recv_limit = 1;
    CHECK_EQ(give(2, note, note), 1);
    CHECK_EQ(give(2, note, note), 0); /* occupied now */
    CHECK_OK(delete_cap(received));
    b->recv_limit = 4;
    CHECK_EQ(give(3, note, new_slot()), 1); /* stops at the first that is not there */
    CHECK_OK(delete_cap(received));
    CHECK_EQ(give(2, TEST_UNTYPED, note), 0); /* not derivable */
    b->recv_slot = 1u << ROOT_CNODE_BITS;
    CHECK_EQ(give(1, note, note), 0);
    b->recv_slot = 0xffffffff;
    b->recv_limit = 0xffffffff;
    CHECK_EQ(give(2, note, note), 0);
}

TEST(capabilities_can_go_to_a_cnode_below)
{
    CHECK(capability_set_up());
    struct umbra_ipc_buffer *b = threads[0].buffer;
    cptr_t c = new_object(OBJ_CNODE, 2);
    b->recv_sub = c;
    b->recv_slot = 1;
    CHECK_EQ(give(2, note, note), 2);
    CHECK_OK(sys_signal(CPTR_SUB(c, 2)));
    CHECK_EQ(give(1, note, note), 0);
    b->recv_slot = 3;
    CHECK_EQ(give(2, note, note), 1); /* the CNode ends */
    b->recv_sub = copy_cap(c, RIGHT_READ);
    CHECK_OK(delete_cap(c));
    b->recv_slot = received;
    CHECK_EQ(give(1, note, note), 0); /* no such CNode any more */
}

static volatile unsigned answer_caps;
static void giving_server(uint64_t index)
{
    struct sys_message m = { 0 };
    err_t e = sys_recv(ep, reply, &m);

    while (e == ERR_OK) {
        threads[index].buffer->caps[0] = note;
        m.tag = TAG_CAPS(1);
        e = sys_reply_recv(ep, reply, &m);
    }
}

TEST(an_answer_carries_capabilities_if_the_caller_may_take_them)
{
    CHECK(set_up() && start(0, giving_server, 100));
    note = new_object(OBJ_NOTIFICATION, 0);
    cptr_t no_grant = copy_cap(ep, RIGHT_WRITE), s = new_slot();
    struct sys_message m = { 0 };
    IPC->recv_slot = s;
    IPC->recv_limit = 1;
    IPC->recv_sub = 0;
    CHECK_OK(sys_call(no_grant, &m));
    CHECK_EQ(TAG_NCAPS(m.tag), 0);
    m.tag = 0;
    CHECK_OK(sys_call(ep, &m));
    IPC->recv_slot = 0;
    CHECK_EQ(TAG_NCAPS(m.tag), 1);
    CHECK_OK(sys_signal(s));
}

TEST(the_ipc_buffer_may_vanish)
{
    CHECK(set_up() && start(0, echo, 100));
    settle();
    CHECK_OK(delete_cap(threads[0].buffer_cap)); /* its mapping, and the kernel's use of it */
    struct sys_message m = { .tag = TAG(0, 20), .w = { 5 } };
    CHECK_OK(sys_call(ep, &m));
    CHECK_EQ(TAG_WORDS(m.tag), 4);
    CHECK_EQ(m.w[0], 6);
}

TEST(a_message_wakes_a_more_urgent_thread_at_once)
{
    CHECK(set_up() && start(0, receiver, 200));
    settle();
    CHECK_OK(root_priority(100));
    struct sys_message m = { .tag = TAG(0, 1), .w = { 3 } };
    CHECK_OK(sys_send(ep, &m));
    CHECK_EQ(ended[0], 1);
}

TEST(a_message_does_not_run_a_less_urgent_thread)
{
    CHECK(set_up() && start(0, receiver, 50));
    settle();
    struct sys_message m = { .tag = TAG(0, 1), .w = { 3 } };
    CHECK_OK(sys_send(ep, &m));
    CHECK_EQ(ended[0], 0);
    settle();
    CHECK_EQ(ended[0], 1);
}
