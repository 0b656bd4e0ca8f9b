/* SPDX-License-Identifier: BSD-2-Clause */
/* Refusals that all objects share: a method that is not there, a capability without the right, a message that
 * is too short. tests/procs/expected_errors.txt lists all refusals; those not here are in the tests of their
 * objects. */
#include "support/harness.h"

struct method {
    uint8_t type, bits, method, words;
};
static const struct method methods[] = {
    { OBJ_UNTYPED, 12, UNTYPED_RETYPE, 5 },
    { OBJ_CNODE, 4, CNODE_COPY, 3 },
    { OBJ_CNODE, 4, CNODE_MINT, 4 },
    { OBJ_CNODE, 4, CNODE_MOVE, 2 },
    { OBJ_CNODE, 4, CNODE_DELETE, 1 },
    { OBJ_CNODE, 4, CNODE_REVOKE, 1 },
    { OBJ_TCB, 0, TCB_CONFIGURE, 4 },
    { OBJ_TCB, 0, TCB_SET_SCHED, 2 },
    { OBJ_TCB, 0, TCB_WRITE_REGS, 6 },
    { OBJ_TCB, 0, TCB_READ_REGS, 0 },
    { OBJ_TCB, 0, TCB_RESUME, 0 },
    { OBJ_TCB, 0, TCB_SUSPEND, 0 },
    { OBJ_TCB, 0, TCB_BIND_NOTIFICATION, 1 },
    { OBJ_TCB, 0, TCB_SET_HANDLER, 1 },
    { OBJ_TCB, 0, TCB_SET_TLS, 1 },
    { OBJ_TCB, 0, TCB_SET_FIXUP, 3 },
    { OBJ_SCHED, 0, SCHED_CONFIGURE, 4 },
    { OBJ_SCHED, 0, SCHED_CONSUMED, 0 },
    { OBJ_TIMER, 0, TIMER_SET, 1 },
    { OBJ_TIMER, 0, TIMER_CANCEL, 0 },
    { OBJ_TIMER, 0, TIMER_BIND, 1 },
    { OBJ_FRAME, 12, FRAME_MAP, 3 },
    { OBJ_PAGETABLE, 0, PAGETABLE_MAP, 3 },
    { OBJ_IRQCONTROL, 0, IRQCONTROL_GET, 2 },
    { OBJ_IRQ, 0, IRQ_BIND, 1 },
    { OBJ_IRQ, 0, IRQ_ACK, 0 },
    { OBJ_IOPORT, 0, IOPORT_IN, 2 },
    { OBJ_IOPORT, 0, IOPORT_OUT, 3 },
    { OBJ_IOPORT, 0, IOPORT_NARROW, 3 },
    { OBJ_KERNEL, 0, KERNEL_LOG, 1 },
    { OBJ_KERNEL, 0, KERNEL_DUMP, 1 },
    { OBJ_KERNEL, 0, KERNEL_COUNTERS, 0 },
    { OBJ_KERNEL, 0, KERNEL_FRAMES, 3 },
    { OBJ_KERNEL, 0, KERNEL_ERRORS, 0 },
    { OBJ_KERNEL, 0, KERNEL_AUDIT, 1 },
    { OBJ_KERNEL, 0, KERNEL_STRETCHES, 1 },
    { OBJ_KERNEL, 0, KERNEL_TLB, 0 },
    { OBJ_KERNEL, 0, KERNEL_GRAPH, 1 },
    { OBJ_KERNEL, 0, KERNEL_SPACE, 2 },
    { OBJ_GUESTSPACE, 0, GUESTSPACE_CHANGE, 2 },
    { OBJ_GUESTSPACE, 0, GUESTSPACE_VIEW, 2 },
    { OBJ_GUESTSPACE, 0, GUESTSPACE_HARVEST, 2 },
    { OBJ_VM, 0, VM_BIND, 1 },
    { OBJ_VM, 0, VM_STATUS, 0 },
    { OBJ_VM, 0, VM_VIEW, 1 },
    { OBJ_VM, 0, VM_RENEW, 0 },
    { OBJ_VCPU, 0, VCPU_BIND, 1 },
    { OBJ_VCPU, 0, VCPU_BIND_NOTIFICATION, 1 },
    { OBJ_VCPU, 0, VCPU_VIEW, 2 },
    { OBJ_VCPU, 0, VCPU_SYNC, 1 },
    { OBJ_SHADOW, 0, SHADOW_BIND, 1 },
    { OBJ_SHADOW, 0, SHADOW_READ_BITS, 2 },
};
#define METHODS (sizeof(methods) / sizeof(methods[0]))

/* Objects without methods. */
static const uint8_t silent[] = { OBJ_REPLY, OBJ_NOTIFICATION, OBJ_VSPACE, OBJ_SCHEDCONTROL, OBJ_RANGE };

static bool derivable(unsigned type)
{
    return type != OBJ_UNTYPED && type != OBJ_RANGE && type != OBJ_VIEW && type != OBJ_PAGETABLE &&
           type != OBJ_IRQCONTROL && type != OBJ_REPLY;
}

static cptr_t make(unsigned type, unsigned bits)
{
    static const cptr_t boot_slots[OBJ_TYPES] = { [OBJ_IRQCONTROL] = SLOT_IRQCONTROL,
                                                  [OBJ_IOPORT] = SLOT_IOPORT,
                                                  [OBJ_KERNEL] = SLOT_KERNEL,
                                                  [OBJ_SCHEDCONTROL] = SLOT_SCHEDCONTROL };
    if (type != OBJ_IRQ)
        return boot_slots[type] ? boot_slots[type] : new_object(type, bits);
    cptr_t s = new_slot();
    return sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 12, s) == ERR_OK ? s : 0;
}

static void drop(cptr_t c)
{
    if (c >= TEST_UNTYPED)
        delete_cap(c);
}

static void note(const struct method *m, err_t e)
{
    print_number("# type 0x", m->type, "");
    print_number(" method 0x", m->method, "");
    print_number(" gave 0x", e, "\n");
}

TEST(a_method_that_is_not_there_is_a_bad_method)
{
    static const uint32_t labels[] = { 0, 11, 15, 16, 99, 0xffffffff };

    for (unsigned i = 0; i < METHODS + sizeof(silent); i++) {
        struct method m = i < METHODS ? methods[i] : (struct method){ silent[i - METHODS], 12, 0, 0 };
        if (m.type == OBJ_CNODE)
            m.bits = 4;
        cptr_t c = make(m.type, m.type == OBJ_RANGE || i < METHODS ? m.bits : 0);
        CHECK(c);
        for (unsigned l = 0; l < sizeof(labels) / sizeof(labels[0]); l++) {
            err_t e = sys_invoke4(c, labels[l], 1, 1, 1, 1);
            if (e != ERR_BAD_METHOD)
                note(&m, e);
            CHECK_EQ(e, ERR_BAD_METHOD);
        }
        drop(c);
    }
}

TEST(a_message_that_is_too_short_is_refused)
{
    for (unsigned i = 0; i < METHODS; i++) {
        cptr_t c = make(methods[i].type, methods[i].bits);
        CHECK(c);
        for (unsigned words = 0; words < methods[i].words; words++) {
            err_t e = sys_invoke(c, methods[i].method, words, 0, 0, 0, 0, NULL);
            if (e != ERR_SHORT_MESSAGE)
                note(&methods[i], e);
            CHECK_EQ(e, ERR_SHORT_MESSAGE);
        }
        drop(c);
    }
}

TEST(without_the_right_to_write_no_method_is_invoked)
{
    for (unsigned i = 0; i < METHODS; i++) {
        if (!derivable(methods[i].type) || methods[i].type == OBJ_FRAME)
            continue;
        cptr_t c = make(methods[i].type, methods[i].bits), weak = copy_cap(c, RIGHT_ALL & ~RIGHT_WRITE);
        CHECK(c && weak);
        struct sys_message m = { .tag = TAG(methods[i].method, methods[i].words) };
        err_t e = sys_call(weak, &m);
        if (e != ERR_NO_RIGHT)
            note(&methods[i], e);
        CHECK_EQ(e, ERR_NO_RIGHT);
        drop(weak);
        drop(c);
    }
}

TEST(endpoints_take_messages_not_invocations)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0);
    struct sys_message m = { .tag = TAG(1, 0) };

    CHECK_EQ(sys_send(n, &m), ERR_WRONG_TYPE);
    CHECK_EQ(sys_call(n, &m), ERR_BAD_METHOD);
    CHECK_EQ(sys_simple(-10, 0), ERR_BAD_SYSCALL);
    CHECK_EQ(sys_simple((int64_t)(1ul << 63), 0), ERR_BAD_SYSCALL);
}

/* Random words at every object that a process may hold. Nothing may come of it but errors. */
TEST(random_invocations_are_survived)
{
    uint64_t random = 88172645463325252ul;
    cptr_t objects[32];
    unsigned n = 0;

    cptr_t cnode = new_object(OBJ_CNODE, 6);
    for (unsigned i = 0; i < METHODS; i++)
        if ((i == 0 || methods[i].type != methods[i - 1].type) && methods[i].type != OBJ_KERNEL &&
            methods[i].type != OBJ_IOPORT && methods[i].type != OBJ_IRQ && methods[i].type != OBJ_IRQCONTROL)
            objects[n++] = make(methods[i].type, methods[i].type == OBJ_UNTYPED ? 20 : methods[i].bits);
    objects[n++] = cnode;
    for (cptr_t s = SLOT_CNODE; s <= SLOT_KERNEL; s++)
        copy_cap(s, 0); /* what has children cannot be moved away from under the harness */
    for (unsigned round = 0; round < 20000; round++) {
        struct sys_message m;
        uint64_t w[6];
        for (unsigned i = 0; i < 6; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            switch (random >> 60) {
            case 0 ... 3:
                w[i] = random & 63;
                break;
            case 4 ... 7:
                w[i] = objects[random % n];
                break;
            case 8 ... 10:
                w[i] = CPTR_SUB(cnode, random & 63);
                break;
            case 11:
                w[i] = 1ul << (random & 63);
                break;
            case 12:
                w[i] = random & 0x7ffffffff000;
                break;
            default:
                w[i] = random;
            }
        }
        m = (struct sys_message){ .tag = TAG(random & 15, random >> 8 & 7), .w = { w[0], w[1], w[2], w[3] } };
        IPC->words[4] = w[4];
        IPC->words[5] = w[5];
        sys_call(objects[(random >> 32) % n], &m);
    }
}
