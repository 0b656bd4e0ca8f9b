/* SPDX-License-Identifier: BSD-2-Clause */
/* VMs and vCPUs as objects: every refusal, values that no guest may have, and what goes away while a guest
 * runs. */
#include "support/vm.h"

#define RW        (RIGHT_READ | RIGHT_WRITE)
#define VCPUS_MAX 64 /* kernel/objects.h */

static const uint8_t spin[] = { 0xeb, 0xfe }, hlt[] = { 0xf4, 0xeb, 0xfd };

/* A guest in long mode at 0x1000 in `code`, at its first exit and ready to be answered. */
static bool begin(struct vm_test *v, const uint8_t *code, unsigned n)
{
    if (!vm_make(v))
        return false;
    vm_load(v, 0x1000, code, n);
    if (vm_recv(v) != ERR_OK)
        return false;
    vm_long_tables(v);
    vm_long_mode(v, 0x1000, 0x8000, false);
    op(v, OP_W0(OP_FILL_RUN, RWXU, 0, v->table[5]));
    op(v, OP_W1_RUN(0, 16));
    return true;
}

TEST(vm_refusals)
{
    cptr_t vm = new_object(OBJ_VM, 0), g = new_object(OBJ_GUESTSPACE, 0), none = new_slot();

    CHECK_EQ(sys_invoke0(vm, VM_RENEW), ERR_NOT_BOUND);
    CHECK_EQ(sys_invoke1(vm, VM_BIND, none), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(vm, VM_BIND, vm), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(vm, VM_BIND, copy_cap(g, RIGHT_WRITE)), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke1(vm, VM_BIND, copy_cap(g, RIGHT_READ)), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke1(vm, VM_BIND, deepest(g)), ERR_TOO_DEEP);
    CHECK_OK(sys_invoke1(vm, VM_BIND, g));
    CHECK_EQ(sys_invoke1(vm, VM_BIND, new_object(OBJ_GUESTSPACE, 0)), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_invoke1(vm, VM_VIEW, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke1(vm, VM_VIEW, 1u << ROOT_CNODE_BITS), ERR_RANGE);
    CHECK_EQ(sys_invoke1(vm, VM_VIEW, g), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke1(deepest(vm), VM_VIEW, none), ERR_TOO_DEEP);
}

TEST(vcpu_refusals)
{
    cptr_t c = new_object(OBJ_VCPU, 0), vm = new_object(OBJ_VM, 0), none = new_slot();

    CHECK_EQ(sys_invoke1(c, VCPU_BIND, none), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND, c), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND, copy_cap(vm, RIGHT_READ)), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND, deepest(vm)), ERR_TOO_DEEP);
    CHECK_OK(sys_invoke1(c, VCPU_BIND, vm));
    CHECK_EQ(sys_invoke1(c, VCPU_BIND, vm), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_invoke2(c, VCPU_VIEW, none, 2), ERR_RANGE);
    CHECK_EQ(sys_invoke2(c, VCPU_VIEW, 0, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke2(c, VCPU_VIEW, c, 0), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke2(deepest(c), VCPU_VIEW, none, 1), ERR_TOO_DEEP);
    CHECK_EQ(sys_invoke1(c, VCPU_SYNC, STATE_ALL + 1), ERR_RANGE);
    CHECK_EQ(sys_invoke1(c, VCPU_SYNC, BIT(40)), ERR_RANGE);
    CHECK_EQ(sys_invoke1(c, VCPU_SYNC, STATE_ALL), ERR_WRONG_STATE);
}

TEST(a_vm_has_so_many_vcpus_and_no_more)
{
    cptr_t vm = new_object(OBJ_VM, 0), c = new_objects(OBJ_VCPU, 0, VCPUS_MAX + 1);

    for (unsigned i = 0; i < VCPUS_MAX; i++)
        CHECK_OK(sys_invoke1(c + i, VCPU_BIND, vm));
    CHECK_EQ(sys_invoke1(c + VCPUS_MAX, VCPU_BIND, vm), ERR_RANGE);
    CHECK_OK(delete_cap(c + 7));
    CHECK_OK(sys_invoke1(c + VCPUS_MAX, VCPU_BIND, vm));
}

TEST(vcpu_audit_refusals)
{
    cptr_t c = new_object(OBJ_VCPU, 0), vm = new_object(OBJ_VM, 0);

    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_AUDIT, new_slot()), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_AUDIT, vm), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_AUDIT, copy_cap(c, RIGHT_WRITE)), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_AUDIT, c), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(c, VCPU_BIND, vm));
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_AUDIT, c), ERR_NOT_BOUND);
}

static void waiter(uint64_t notification)
{
    sys_wait((cptr_t)notification);
}

TEST(vcpu_notification_refusals)
{
    cptr_t c = new_object(OBJ_VCPU, 0), n = new_object(OBJ_NOTIFICATION, 0),
           used = new_object(OBJ_NOTIFICATION, 0);
    struct thread t;

    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, new_slot()), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, c), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, copy_cap(n, RIGHT_WRITE)), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, deepest(n)), ERR_TOO_DEEP);
    CHECK_OK(sys_invoke1(new_object(OBJ_VCPU, 0), VCPU_BIND_NOTIFICATION, used));
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, used), ERR_ALREADY_BOUND);
    CHECK_OK(root_priority(254));
    CHECK(thread_make(&t, waiter, n, 255, 0));
    CHECK_OK(root_priority(255)); /* it waits now */
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, n), ERR_ALREADY_BOUND);
    CHECK_OK(sys_invoke0(t.tcb, TCB_SUSPEND));
    CHECK_OK(sys_invoke1(c, VCPU_BIND_NOTIFICATION, n));
    CHECK_OK(sys_invoke1(c, VCPU_BIND_NOTIFICATION, n));
    CHECK_EQ(sys_invoke1(t.tcb, TCB_BIND_NOTIFICATION, n), ERR_ALREADY_BOUND);
    CHECK_OK(sys_invoke1(c, VCPU_BIND_NOTIFICATION, 0));
    CHECK_OK(sys_invoke1(c, VCPU_BIND_NOTIFICATION, 0));
    CHECK_OK(sys_invoke1(t.tcb, TCB_BIND_NOTIFICATION, n));
    CHECK_EQ(sys_invoke1(c, VCPU_BIND_NOTIFICATION, n), ERR_ALREADY_BOUND);
}

TEST(receive_and_reply_without_what_they_need)
{
    cptr_t c = new_object(OBJ_VCPU, 0), vm = new_object(OBJ_VM, 0), weak = copy_cap(c, RIGHT_READ);
    struct sys_message m = { 0 };

    CHECK_EQ(sys_recv(c, 0, &m), ERR_NOT_BOUND);
    CHECK_EQ(sys_reply_recv(c, 0, &m), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(c, VCPU_BIND, vm));
    CHECK_EQ(sys_recv(c, 0, &m), ERR_NOT_BOUND);
    CHECK_EQ(sys_reply_recv(c, 0, &m), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(vm, VM_BIND, new_object(OBJ_GUESTSPACE, 0)));
    CHECK_EQ(sys_reply_recv(c, 0, &m), ERR_WRONG_SEQUENCE);
    CHECK_EQ(sys_recv(weak, 0, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_reply_recv(weak, 0, &m), ERR_NO_RIGHT);
    CHECK_EQ(sys_poll(c, 0, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_send(c, &m), ERR_WRONG_TYPE);
    CHECK_OK(sys_recv(c, 0, &m));
    CHECK_EQ(m.badge, 1);
}

TEST(counts_and_groups_of_a_reply_are_bounded)
{
    struct vm_test v;

    CHECK(vm_make(&v));
    CHECK_OK(vm_recv(&v));
    v.words = REPLY_OPS_MAX + 1;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
    v.words = UINT32_MAX;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
    v.r->groups = STATE_ALL + 1;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
    v.r->want = 0x80000000;
    CHECK_EQ(vm_reply(&v, NULL), ERR_RANGE);
    v.r->want = 0;
    v.r->seq = v.x->seq + 1;
    struct sys_message m = { 0 };
    CHECK_EQ(sys_reply_recv(v.vcpu, 0, &m), ERR_WRONG_SEQUENCE);
}

/* --- values --- */

static bool event_is_good(uint64_t e)
{
    if (!e)
        return true;
    unsigned type = EVENT_TYPE(e), vector = EVENT_VECTOR(e);
    return (e & EVENT_VALID) &&
           (type == 0 || type == 2 || (type == 3 && vector < 32 && vector != 2) || type == 4);
}

/* Every vector and type, with and without error code and valid bit: what is injected goes through the guest's
 * vector table, all else is refused. */
TEST(every_event_is_injected_or_refused)
{
    struct vm_test v;
    static const uint64_t flags[] = { EVENT_VALID, EVENT_VALID | EVENT_HAS_ERROR | 0xffffffff00000000,
                                      0x7fff000 };

    CHECK(vm_make(&v));
    for (unsigned i = 0; i < 256; i++) { /* all vectors -> 0:9000h */
        v.memory[i * 4 + 1] = 0x90;
        v.memory[i * 4] = v.memory[i * 4 + 2] = v.memory[i * 4 + 3] = 0;
    }
    v.memory[0x9000] = 0xf4;
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 256);
    for (unsigned n = 0; n < 256 * 8 * 3; n++) {
        uint64_t event = (n & 255) | (uint64_t)(n >> 8 & 7) << 8 | flags[n >> 11];
        vm_real_mode(&v, 0x7c00);
        v.r->event = event;
        err_t e = vm_reply(&v, NULL), expected = event_is_good(event) ? ERR_OK : ERR_BAD_STATE_VALUE;
        bool taken = v.x->kind == EXIT_HLT && v.x->rip == 0x9000;
        bool thirty_one = EVENT_TYPE(event) == EVENT_EXCEPTION && EVENT_VECTOR(event) == 31;
        if (e != expected || (e == ERR_OK && !taken))
            print_number("# event 0x", event, "\n");
        CHECK_EQ(e, expected);
        CHECK(e != ERR_OK || taken ||
              (thirty_one && v.x->kind == EXIT_INVALID)); /* the emulator has 31 of them */
    }
}

struct value {
    unsigned offset; /* in the reply page */
    uint32_t groups;
    uint64_t value;
    err_t error;
};
#define AT(field) offsetof(struct umbra_reply_page, field)

TEST(register_values_are_refused_one_by_one)
{
    static const struct value list[] = {
        { AT(cr0), STATE_CONTROL, BIT(32) | 0x80000033, ERR_BAD_STATE_VALUE },
        { AT(cr0), STATE_CONTROL, 0x80000032, ERR_BAD_STATE_VALUE }, /* PG without PE */
        { AT(cr0), STATE_CONTROL, 0x33, ERR_BAD_STATE_VALUE },       /* LMA without PG */
        { AT(efer), STATE_CONTROL, 0x1d01, ERR_BAD_STATE_VALUE },    /* SVME */
        { AT(dr6), STATE_DEBUG, BIT(32), ERR_BAD_STATE_VALUE },
        { AT(dr7), STATE_DEBUG, BIT(63), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_ES].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_CS].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_SS].base), STATE_SEGMENTS, BIT(63), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_DS].base), STATE_SEGMENTS, BIT(48), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_FS].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_GS].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_GDTR].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_LDTR].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_IDTR].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(seg[SEG_TR].base), STATE_SEGMENTS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(msrs.lstar), STATE_MSRS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(msrs.cstar), STATE_MSRS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(msrs.kernel_gs_base), STATE_MSRS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(msrs.sysenter_esp), STATE_MSRS, BIT(47), ERR_BAD_STATE_VALUE },
        { AT(msrs.sysenter_eip), STATE_MSRS, BIT(47), ERR_BAD_STATE_VALUE },
        /* taken, in part or whole, and harmless */
        { AT(cr4), STATE_CONTROL, UINT64_MAX, ERR_OK },
        { AT(efer), STATE_CONTROL, UINT64_MAX & ~BIT(12), ERR_OK },
        { AT(cr0), STATE_CONTROL, 0xffffffff, ERR_OK },
        { AT(rflags), STATE_RFLAGS, UINT64_MAX, ERR_OK },
        { AT(rflags), STATE_RFLAGS, 0x20002, ERR_OK }, /* VM in long mode */
        { AT(rip), STATE_RIP, BIT(47), ERR_OK },
        { AT(rip), STATE_RIP, UINT64_MAX, ERR_OK },
        { AT(cr2), STATE_CR2, UINT64_MAX, ERR_OK },
        { AT(gpr[RSP]), STATE_GPRS, BIT(47), ERR_OK },
        { AT(dr7), STATE_DEBUG, 0xffffffff, ERR_OK },
        { AT(dr6), STATE_DEBUG, 0xffffffff, ERR_OK },
        { AT(dr[0]), STATE_DEBUG, UINT64_MAX, ERR_OK },
        { AT(tsc_offset), STATE_TSC, UINT64_MAX, ERR_OK },
        { AT(msrs.star), STATE_MSRS, UINT64_MAX, ERR_OK },
        { AT(msrs.sfmask), STATE_MSRS, UINT64_MAX, ERR_OK },
    };
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        const struct value *l = &list[i];
        for (unsigned k = 0; k < sizeof(v.r->msrs) / 8; k++)
            ((volatile uint64_t *)&v.r->msrs)[k] = 0;
        for (unsigned k = 0; k < 4; k++)
            v.r->dr[k] = 0;
        v.r->dr6 = 0xffff0ff0;
        v.r->dr7 = 0x400;
        vm_long_mode(&v, 0x1000, 0x8000, false);
        v.r->groups |= l->groups;
        *(volatile uint64_t *)((volatile uint8_t *)v.r + l->offset) = l->value;
        uint64_t seq = v.x->seq;
        err_t e = vm_reply(&v, NULL);
        if (e != l->error)
            print_number("# value ", i, " of the list\n");
        CHECK_EQ(e, l->error);
        CHECK_EQ(v.x->seq, seq + (e == ERR_OK));
        CHECK(v.x->kind != EXIT_BROKEN && v.x->kind < EXIT_KINDS);
        /* and back to a guest that halts */
        v.r->dr6 = 0xffff0ff0;
        v.r->dr7 = 0x400;
        vm_long_mode(&v, 0x1000, 0x8000, false);
        v.r->groups |= STATE_DEBUG;
        CHECK_OK(vm_reply(&v, NULL));
        CHECK_EQ(v.x->kind, EXIT_HLT);
    }
}

/* I4: a task switch loads CR3 from guest memory where the processor lets it through; such a guest never runs
 * again. */
TEST(a_task_switch_ends_the_guest)
{
    struct vm_test v;
    static const uint8_t code[] = { 0xea, 0, 0, 0, 0, 0x18, 0 };       /* ljmp $0x18, $0 */
    static const uint8_t tss[8] = { 0x67, 0, 0, 0x40, 0, 0x89, 0, 0 }; /* 4000h */
    static const uint8_t flat_code[8] = { 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0 };
    static const uint8_t flat_data[8] = { 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0 };

    CHECK(vm_make(&v));
    vm_load(&v, 0x1000, code, sizeof(code));
    vm_load(&v, 0x3008, flat_code, 8);
    vm_load(&v, 0x3010, flat_data, 8);
    vm_load(&v, 0x3018, tss, 8);
    v.memory[0x4000 + 0x21] = 0x10; /* EIP 1000h */
    v.memory[0x4000 + 0x4c] = 8;    /* CS */
    CHECK_OK(vm_recv(&v));
    vm_identity(&v, 16);
    vm_real_mode(&v, 0x1000);
    v.r->cr0 = 0x11;
    for (unsigned i = 0; i <= SEG_GS; i++) {
        v.r->seg[i].selector = i == SEG_CS ? 8 : 16;
        v.r->seg[i].attributes = i == SEG_CS ? 0xc9b : 0xc93;
        v.r->seg[i].limit = 0xffffffff;
    }
    v.r->seg[SEG_GDTR].base = 0x3000;
    v.r->seg[SEG_GDTR].limit = 0x1f;
    v.r->seg[SEG_TR].base = 0x2000;
    v.r->seg[SEG_TR].limit = 0x67;
    CHECK_OK(vm_reply(&v, NULL));
    CHECK(v.x->kind == EXIT_BROKEN || v.x->kind == EXIT_TASK_SWITCH);
    uint64_t seq = v.x->seq;
    if (v.x->kind == EXIT_BROKEN) {
        vm_real_mode(&v, 0x1000);
        CHECK_EQ(vm_reply(&v, NULL), ERR_WRONG_STATE);
        CHECK_OK(vm_recv(&v));
        CHECK_EQ(v.x->seq, seq);
    }
}

/* --- what goes away while the guest runs, or is parked --- */

static struct vm_test running;
static volatile err_t answer;
static volatile unsigned answers;

static void replier(uint64_t vcpu)
{
    struct sys_message m = { 0 };
    answer = sys_reply_recv((cptr_t)vcpu, 0, &m);
    answers++;
}

/* Others run for so long. */
static void let_run(unsigned ms)
{
    cptr_t timer = new_object(OBJ_TIMER, 0), n = new_object(OBJ_NOTIFICATION, 0);

    sys_invoke1(timer, TIMER_BIND, n);
    sys_invoke1(timer, TIMER_SET, now() + boot->tsc_hz / 1000 * ms);
    sys_wait(n);
}

/* A thread has answered, and its guest runs or is parked. */
static bool run_guest(struct thread *t, const uint8_t *code, unsigned n, unsigned flags)
{
    struct vm_test *v = &running;

    if (!begin(v, code, n))
        return false;
    v->r->seq = v->x->seq;
    v->r->op_words = v->words;
    v->r->flags = flags;
    v->r->rflags = 0x202; /* bochs ends no guest that has IF off; test_vm.c has one */
    v->words = 0;
    answer = 99;
    answers = 0;
    bool ok = thread_make(t, replier, v->vcpu, 100, 0);
    let_run(20);
    return ok && answers == 0;
}

enum victim {
    VCPU,
    OF_VM,
    SPACE,
    NOTIFICATION,
    ROOT,
    EXIT_VIEW,
    REPLY_VIEW,
    WINDOW,
    RANGE,
    THREAD,
    BUDGET,
    VICTIMS
};

static cptr_t victim(const struct thread *t, enum victim who)
{
    const cptr_t list[VICTIMS] = {
        running.vcpu,      running.vm,         running.space,  running.notification, running.table[2],
        running.exit_view, running.reply_view, running.window, running.range,        t->tcb,
        t->sched
    };
    return list[who];
}

static void finish(struct thread *t, enum victim who)
{
    let_run(20);
    switch (who) {
    case VCPU:
    case OF_VM:
    case SPACE:
        CHECK_EQ(answers, 1);
        CHECK_EQ(answer, ERR_CANCELLED);
        break;
    case ROOT:
    case RANGE:
        CHECK_EQ(answers, 1);
        CHECK_EQ(answer, ERR_OK);
        CHECK_EQ(running.x->kind, EXIT_ROOT);
        break;
    case THREAD:
    case BUDGET: {
        struct sys_message m = { 0 };
        CHECK_EQ(answers, 0);
        if (who == BUDGET)
            CHECK_OK(delete_cap(t->tcb));
        CHECK_OK(sys_signal(running.notification));
        CHECK_OK(sys_recv(running.vcpu, 0, &m)); /* another thread goes on with it */
        CHECK_EQ(running.x->kind, EXIT_EVENT);
        break;
    }
    default:
        CHECK_EQ(answers, 0); /* it runs on */
    }
}

static void check_victim(enum victim who)
{
    struct thread t;

    CHECK(run_guest(&t, spin, sizeof(spin), 0));
    CHECK_OK(delete_cap(victim(&t, who)));
    finish(&t, who);
}

TEST(vcpu_goes_while_the_guest_runs)
{
    check_victim(VCPU);
}

TEST(vm_goes_while_the_guest_runs)
{
    check_victim(OF_VM);
}

TEST(guest_space_goes_while_the_guest_runs)
{
    check_victim(SPACE);
}

TEST(notification_goes_while_the_guest_runs)
{
    check_victim(NOTIFICATION);
}

TEST(root_table_goes_while_the_guest_runs)
{
    check_victim(ROOT);
}

TEST(exit_view_goes_while_the_guest_runs)
{
    check_victim(EXIT_VIEW);
}

TEST(reply_view_goes_while_the_guest_runs)
{
    check_victim(REPLY_VIEW);
}

TEST(window_goes_while_the_guest_runs)
{
    check_victim(WINDOW);
}

TEST(memory_goes_while_the_guest_runs)
{
    check_victim(RANGE);
}

TEST(thread_goes_while_the_guest_runs)
{
    check_victim(THREAD);
}

TEST(budget_goes_while_the_guest_runs)
{
    check_victim(BUDGET);
}

TEST(a_second_thread_cannot_receive_on_a_running_vcpu)
{
    struct thread t;
    struct sys_message m = { 0 };

    CHECK(run_guest(&t, spin, sizeof(spin), 0));
    CHECK_EQ(sys_recv(running.vcpu, 0, &m), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_reply_recv(running.vcpu, 0, &m), ERR_WRONG_SEQUENCE);
    CHECK_EQ(sys_invoke1(running.vcpu, VCPU_SYNC, STATE_ALL), ERR_WRONG_STATE);
    CHECK_OK(sys_invoke0(t.tcb, TCB_SUSPEND)); /* its wait is as if it had not begun */
    CHECK_OK(sys_signal(running.notification));
    CHECK_OK(sys_recv(running.vcpu, 0, &m));
    CHECK_EQ(running.x->kind, EXIT_EVENT);
    CHECK_OK(sys_invoke0(t.tcb, TCB_RESUME));
    let_run(20);
    CHECK_EQ(answers, 1);
    CHECK_EQ(answer, ERR_OK);
    CHECK_EQ(running.x->kind, EXIT_EVENT);
}

TEST(a_parked_guest_wakes_by_another_notification_than_at_first)
{
    struct thread t;
    cptr_t other = new_object(OBJ_NOTIFICATION, 0);

    CHECK(run_guest(&t, spin, sizeof(spin), REPLY_PARK));
    CHECK_OK(delete_cap(running.notification));
    let_run(5);
    CHECK_EQ(answers, 0);
    CHECK_OK(sys_signal(other)); /* before it is bound */
    CHECK_OK(sys_invoke1(running.vcpu, VCPU_BIND_NOTIFICATION, other));
    let_run(20);
    CHECK_EQ(answers, 1);
    CHECK_EQ(running.x->kind, EXIT_EVENT);
    CHECK_EQ(running.x->events, 1);
}

TEST(a_parked_thread_is_told_that_its_guest_has_ended)
{
    for (unsigned i = 0; i < 3; i++) {
        struct thread t;
        CHECK(run_guest(&t, spin, sizeof(spin), REPLY_PARK));
        CHECK_OK(delete_cap(i == 0 ? running.vcpu : i == 1 ? running.vm : running.space));
        let_run(20);
        CHECK_EQ(answers, 1);
        CHECK_EQ(answer, ERR_CANCELLED);
        for (cptr_t s = running.space; s < running.space + 9; s++)
            CHECK_OK(delete_cap(s));
    }
}

/* I7: the pending exit outlives the thread that had it, its VM's memory, and Views mapped once more. */
TEST(a_pending_exit_stays_pending)
{
    struct vm_test v;
    cptr_t again = new_slots(2);

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    uint64_t seq = v.x->seq;
    CHECK_OK(sys_invoke2(v.vcpu, VCPU_VIEW, again, 0));
    CHECK_OK(sys_invoke2(v.vcpu, VCPU_VIEW, again + 1, 1));
    CHECK_OK(sys_invoke2(again, VIEW_MAP, SLOT_VSPACE, VM_PAGES_AT + 0x5000));
    CHECK_OK(sys_invoke2(again + 1, VIEW_MAP, SLOT_VSPACE, VM_PAGES_AT + 0x6000));
    v.r->rip = 0x1234;
    CHECK_EQ(((volatile struct umbra_reply_page *)(VM_PAGES_AT + 0x6000))->rip, 0x1234);
    CHECK_OK(delete_cap(v.exit_view));
    CHECK_EQ(((volatile struct umbra_exit_page *)(VM_PAGES_AT + 0x5000))->seq, seq);
    v.x = (const volatile void *)(VM_PAGES_AT + 0x5000);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, v.space));
    struct sys_message m = { 0 };
    CHECK_EQ(sys_recv(v.vcpu, 0, &m), ERR_NOT_BOUND);
    CHECK_EQ(vm_reply(&v, NULL), ERR_NOT_BOUND);
    CHECK_OK(sys_invoke1(v.vm, VM_BIND, v.space));
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->seq, seq);
    CHECK_EQ(v.x->kind, EXIT_HLT);
    vm_skip(&v, 0);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
}

/* Who takes a guest over finds the exit as it was, but in a new epoch: no table of before can be named. */
TEST(a_renewed_vm_begins_without_tables)
{
    struct vm_test v;
    uint64_t index, epoch = 0;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_OK(sys_invoke2(v.table[5], SHADOW_READ_BITS, 0, 1));
    uint64_t seq = v.x->seq, before = v.x->epoch, rip = v.x->rip, tsc = v.x->tsc;
    sys_invoke(v.vm, VM_RENEW, 0, 0, 0, 0, 0, &epoch);
    CHECK(epoch > before);
    CHECK_EQ(sys_invoke2(v.table[5], SHADOW_READ_BITS, 0, 1), ERR_STALE_TABLE);
    op(&v, OP_W0(OP_FILL, RWXU, 20, v.table[5]));
    op(&v, 1);
    CHECK_EQ(vm_reply(&v, &index), ERR_STALE_TABLE);
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->seq, seq);
    CHECK_EQ(v.x->kind, EXIT_HLT);
    CHECK_EQ(v.x->rip, rip);
    CHECK_EQ(v.x->tsc, tsc);
    CHECK_EQ(v.x->epoch, epoch);
    vm_skip(&v, 0);
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_ROOT);
    CHECK(vm_audit(&v));
}

/* The bits were taken from the Notification: who receives the exit again must find them in it. */
TEST(an_event_is_delivered_again_with_its_bits)
{
    struct vm_test v;

    CHECK(begin(&v, hlt, sizeof(hlt)));
    CHECK_OK(sys_signal(copy_cap(v.notification, RIGHT_WRITE)));
    CHECK_OK(vm_reply(&v, NULL));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
    uint64_t bits = v.x->events;
    CHECK(bits);
    CHECK_OK(vm_recv(&v));
    CHECK_EQ(v.x->kind, EXIT_EVENT);
    CHECK_EQ(v.x->events, bits);
}
