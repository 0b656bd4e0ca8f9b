/* SPDX-License-Identifier: BSD-2-Clause */
/* What there is when a history begins, made by init's system calls:
 *   two VMMs with a VM, vCPU, guest memory, window and shadow tables each: the first holds copies of init's
 *   capabilities and has two threads, the second the originals, more memory to make objects of, and a VM with
 *   nested paging; a server that receives with a Reply object and its clients; a driver with lines, ports and
 *   timers; and a victim: a process of whose objects nobody else has capabilities.
 * Every process has some memory, a buffer, notifications, and endpoint capabilities with several rights. */
#include "world.h"
#include <string.h>

#define VIEW_AT   0x10000ul
#define WINDOW_AT BIT(39)

struct process {
    cptr_t memory, cnode, own;     /* slots of init's: Untyped, CNode of the process, where originals lie */
    unsigned bits, next, own_next; /* of the CNode; its next empty slot, and the one where originals lie */
    cptr_t space, buffer;
};

static cptr_t next_slot, deep; /* a capability from which nothing more derives */
static struct {
    cptr_t endpoint, notification;
} common;
cptr_t threads[THREADS_MAX];
unsigned thread_count;

static err_t invoke_words(cptr_t cap, unsigned method, unsigned n, const uint64_t *w)
{
    struct tcb *t = init_thread();
    struct regs *r = &t->regs;

    for (unsigned i = MSG_REGISTERS; i < n; i++)
        t->buffer->words[i] = w[i];
    *r = (struct regs){
        .rax = (uint64_t)SYS_CALL, .rdi = cap, .rsi = TAG(method, n), .vector = VECTOR_SYSCALL
    };
    r->rdx = w[0];
    r->r10 = w[1];
    r->r8 = w[2];
    r->r9 = w[3];
    do {
        r->rip = SYSCALL_AT + SYSCALL_BYTES;
        MUST(enter(IN_SYSCALL, 0));
    } while (r->rip == SYSCALL_AT);
    return r->rax;
}

#define DO(cap, method, ...)                                                                                 \
    do {                                                                                                     \
        const uint64_t words[8] = { __VA_ARGS__ };                                                           \
        err_t got = invoke_words(cap, method, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, words);               \
        MUST_SAY(got == ERR_OK, "%u", got);                                                                  \
    } while (0)

static cptr_t make(cptr_t memory, unsigned type, unsigned bits)
{
    DO(memory, UNTYPED_RETYPE, type, bits, SLOT_CNODE, next_slot, 1);
    return next_slot++;
}

/* A new object among the process's originals: init's address of it. */
static cptr_t original(struct process *p, unsigned type, unsigned bits)
{
    DO(p->memory, UNTYPED_RETYPE, type, bits, p->own, p->own_next, 1);
    return CPTR_SUB(p->own, p->own_next++);
}

static void give(struct process *p, cptr_t cap, unsigned rights, uint64_t badge)
{
    DO(p->cnode, CNODE_MINT, p->next, cap, rights, badge);
    p->next++;
    if (p->own == p->cnode)
        p->own_next = p->next;
}

/* The same, for the process to hold as well. */
static cptr_t object(struct process *p, unsigned type, unsigned bits)
{
    cptr_t cap = original(p, type, bits);

    if (p->own == p->cnode)
        p->next = p->own_next;
    else
        give(p, cap, RIGHT_ALL, 0);
    return cap;
}

/* One that cannot be copied: it is the process's. */
static cptr_t its_own(struct process *p, unsigned type, unsigned bits)
{
    DO(p->memory, UNTYPED_RETYPE, type, bits, p->cnode, p->next, 1);
    cptr_t cap = CPTR_SUB(p->cnode, p->next++);

    if (p->own == p->cnode)
        p->own_next = p->next;
    return cap;
}

/* A view: it comes to init's CNode, and moves. */
static cptr_t view(struct process *p, cptr_t of, unsigned method, uint64_t word, uint64_t address)
{
    DO(of, method, next_slot, word);
    DO(p->cnode, CNODE_MOVE, p->next, next_slot);
    cptr_t cap = CPTR_SUB(p->cnode, p->next++);
    if (p->own == p->cnode)
        p->own_next = p->next;
    DO(cap, VIEW_MAP, p->space, address);
    return cap;
}

static struct process process(unsigned memory_bits, bool originals)
{
    struct process p = { .bits = 6, .next = 1, .own_next = 1 };

    p.memory = make(SLOT_RAM, OBJ_UNTYPED, memory_bits);
    cptr_t spare = make(p.memory, OBJ_UNTYPED, 14);
    p.cnode = make(p.memory, OBJ_CNODE, p.bits);
    p.own = originals ? p.cnode : make(p.memory, OBJ_CNODE, 5);
    give(&p, p.cnode, RIGHT_ALL, 0);
    DO(p.cnode, CNODE_MOVE, p.next++, spare);
    p.own_next = p.own == p.cnode ? p.next : p.own_next;
    p.space = object(&p, OBJ_VSPACE, 0);
    for (unsigned level = 3; level > 0; level--)
        DO(its_own(&p, OBJ_PAGETABLE, 0), PAGETABLE_MAP, p.space, 0, level);
    p.buffer = object(&p, OBJ_FRAME, FRAME_4K);
    DO(p.buffer, FRAME_MAP, p.space, 0x1000, RIGHT_READ | RIGHT_WRITE);
    return p;
}

static cptr_t thread(struct process *p, cptr_t buffer, cptr_t fault, unsigned more, uint64_t budget)
{
    cptr_t tcb = object(p, OBJ_TCB, 0), sched = object(p, OBJ_SCHED, 0);

    DO(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, budget, 8000, 100);
    DO(tcb, TCB_CONFIGURE, p->cnode, p->space, buffer, fault);
    DO(tcb, TCB_SET_SCHED, sched, COMMON_PRIORITY + more);
    DO(tcb, TCB_WRITE_REGS, 0x500000, 0x600000, 0, 0, 0, 0);
    return tcb;
}

static void give_common(struct process *p, uint64_t badge)
{
    give(p, common.endpoint, RIGHT_ALL, badge);
    give(p, common.endpoint, RIGHT_WRITE, badge + 1);
    give(p, common.notification, RIGHT_READ | RIGHT_WRITE, BIT(badge % 60));
    give(p, deep, RIGHT_ALL, 0);
    cptr_t notification = object(p, OBJ_NOTIFICATION, 0);
    DO(object(p, OBJ_TIMER, 0), TIMER_BIND, notification);
    object(p, OBJ_ENDPOINT, 0);
    give(p, object(p, OBJ_FRAME, FRAME_4K), RIGHT_READ | RIGHT_WRITE, 0);
    its_own(p, OBJ_CNODE, 3);
    its_own(p, OBJ_REPLY, 0);
}

/* A VM on a guest space, with a vCPU. */
static cptr_t vm(struct process *p, cptr_t space, cptr_t notification, unsigned paging, uint64_t views)
{
    cptr_t vm = object(p, OBJ_VM, paging), vcpu = object(p, OBJ_VCPU, 0);

    DO(vm, VM_BIND, space);
    DO(vcpu, VCPU_BIND, vm);
    if (notification)
        DO(vcpu, VCPU_BIND_NOTIFICATION, notification);
    view(p, vcpu, VCPU_VIEW, 0, views);
    view(p, vcpu, VCPU_VIEW, 1, views + PAGE_BYTES);
    view(p, vm, VM_VIEW, 0, views + 2 * PAGE_BYTES);
    return vm;
}

static void tables(struct process *p, cptr_t vm_cap, unsigned n)
{
    while (n--)
        DO(object(p, OBJ_SHADOW, 0), SHADOW_BIND, vm_cap);
}

/* Guest memory of 16 pages at 0, and a window. */
static cptr_t guest_space(struct process *p)
{
    cptr_t space = object(p, OBJ_GUESTSPACE, 0), range = its_own(p, OBJ_RANGE, 16);

    for (unsigned level = 2; level > 0; level--)
        DO(its_own(p, OBJ_PAGETABLE, 0), PAGETABLE_MAP, space, 0, level);
    DO(space, GUESTSPACE_CHANGE, CHANGE_W0(range, CHANGE_MAP, RIGHT_READ | RIGHT_WRITE, 16), CHANGE_W1(0, 0));
    view(p, space, GUESTSPACE_VIEW, RIGHT_READ | RIGHT_WRITE, WINDOW_AT);
    return space;
}

static cptr_t vmm(struct process *p, unsigned shadow_tables)
{
    cptr_t notification = object(p, OBJ_NOTIFICATION, 0), space = guest_space(p);

    tables(p, vm(p, space, notification, VM_PAGING_SHADOW, VIEW_AT), shadow_tables);
    return space;
}

static void first_vmm(void)
{
    struct process p = process(18, false);
    cptr_t space = vmm(&p, 7), range = next_slot++;

    DO(SLOT_BULK, UNTYPED_RETYPE, OBJ_RANGE, BULK_BITS, p.cnode, p.next, 1);
    DO(p.cnode, CNODE_COPY, p.next + 1, p.cnode, RIGHT_ALL);
    range = CPTR_SUB(p.cnode, p.next);
    p.next += 2;
    DO(space, GUESTSPACE_CHANGE, CHANGE_W0(range, CHANGE_MAP_2M, RIGHT_READ | RIGHT_WRITE, 512),
       CHANGE_W1(512, 0));
    cptr_t other_buffer = object(&p, OBJ_FRAME, FRAME_4K);
    threads[thread_count++] = thread(&p, p.buffer, common.endpoint, 0, 8000);
    give_common(&p, 10);
    threads[thread_count++] = thread(&p, other_buffer, 0, 0, 3000);
}

static void second_vmm(void)
{
    struct process p = process(18, true);
    cptr_t space = vmm(&p, 5);

    tables(&p, vm(&p, space, 0, VM_PAGING_NESTED, VIEW_AT + 8 * PAGE_BYTES), 3);
    threads[thread_count++] = thread(&p, p.buffer, common.endpoint, 0, 8000);
    give_common(&p, 20);
}

static void server(void)
{
    struct process p = process(16, true);

    give(&p, common.endpoint, RIGHT_READ, 0);
    threads[thread_count++] = thread(&p, p.buffer, 0, 1, 8000);
    give_common(&p, 30);
    its_own(&p, OBJ_REPLY, 0);
}

static void driver(void)
{
    struct process p = process(16, true);
    cptr_t tcb = thread(&p, p.buffer, common.endpoint, 2, 5000), bound = object(&p, OBJ_NOTIFICATION, 0);

    give_common(&p, 40);
    DO(tcb, TCB_BIND_NOTIFICATION, bound);
    DO(object(&p, OBJ_TIMER, 0), TIMER_BIND, bound);
    DO(object(&p, OBJ_TIMER, 0), TIMER_BIND, common.notification);
    DO(SLOT_IRQCONTROL, IRQCONTROL_GET, 3, next_slot);
    DO(next_slot, IRQ_BIND, bound);
    give(&p, next_slot++, RIGHT_ALL, 0);
    DO(SLOT_IOPORT, IOPORT_NARROW, next_slot, 0x3f8, 0x3ff);
    give(&p, next_slot++, RIGHT_ALL, 0);
    threads[thread_count++] = tcb;
}

/* It never runs, and nothing of it changes. */
static const struct cap *victim(void)
{
    struct process p = process(18, true);

    vmm(&p, 3);
    cptr_t endpoint = object(&p, OBJ_ENDPOINT, 0);
    thread(&p, p.buffer, endpoint, 0, 8000);
    return boot_slots() + p.memory;
}

const struct cap *build_world(void)
{
    next_slot = SLOT_FREE;
    common.endpoint = make(SLOT_RAM, OBJ_ENDPOINT, 0);
    common.notification = make(SLOT_RAM, OBJ_NOTIFICATION, 0);
    deep = common.notification;
    for (unsigned i = 2; i < DERIVE_DEPTH_MAX; i++) {
        DO(SLOT_CNODE, CNODE_COPY, next_slot, deep, RIGHT_ALL);
        deep = next_slot++;
    }
    server();
    driver();
    const struct cap *untouched = victim();
    first_vmm();
    second_vmm();
    for (unsigned i = 0; i < thread_count; i++)
        DO(threads[i], TCB_RESUME, 0);
    DO(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, COMMON_PRIORITY - 10); /* when the others wait */
    return untouched;
}
