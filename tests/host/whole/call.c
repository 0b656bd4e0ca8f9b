/* SPDX-License-Identifier: BSD-2-Clause */
/* A hostile thread's next system call: mostly of a capability that it has, with arguments of the right kind,
 * sometimes anything. reply.c makes the answers to exits. */
#include "call.h"
#include <string.h>

struct argument_words words;

void word(uint64_t w)
{
    if (words.n < MSG_WORDS_MAX)
        words.w[words.n++] = one_in(48) ? wild() : w;
}

/* --- what a thread can name --- */

static unsigned slot_count(const struct cap *cnode)
{
    return cnode->type == OBJ_CNODE ? 1u << cnode->bits : 0;
}

unsigned named(const struct tcb *t, bool (*fits)(const struct cap *c, const void *what), const void *what,
               cptr_t *list, unsigned max)
{
    unsigned n = 0;

    for (unsigned i = 1; i < t->slot_count && n < max; i++) {
        const struct cap *c = &t->slots[i], *sub = cap_object(c);
        if (c->type != OBJ_NULL && fits(c, what))
            list[n++] = i;
        if (sub == t->slots)
            continue;
        for (unsigned k = 1; k < slot_count(c) && n < max; k++)
            if (sub[k].type != OBJ_NULL && fits(&sub[k], what))
                list[n++] = CPTR_SUB(i, k);
    }
    return n;
}

static bool is_type(const struct cap *c, const void *type)
{
    return !*(const unsigned *)type || c->type == *(const unsigned *)type;
}

cptr_t pick_cap(const struct tcb *t, unsigned type)
{
    static cptr_t list[1024];

    if (one_in(40))
        return one_in(2) ? (cptr_t)wild() : pick(80);
    unsigned n = named(t, is_type, &type, list, 1024);
    return n ? list[pick(n)] : 0;
}

/* An index into the CNode at p, of a slot that is full, or empty. */
static uint64_t pick_index(const struct tcb *t, cptr_t p, bool full)
{
    const struct cap *c = cspace_slot(t, p), *first;
    unsigned n = c ? slot_count(c) : 0;

    if (!n || one_in(40))
        return pick(70);
    first = cap_object(c);
    unsigned from = n > 256 && !full ? 256 + pick(256) : pick(n);
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (from + i) % n;
        if (at && (first[at].type != OBJ_NULL) == full)
            return at;
    }
    return from;
}

static uint64_t empty_here(const struct tcb *t)
{
    const struct cap *first = t->slots;
    unsigned n = t->slot_count;

    for (unsigned i = n > 256 ? 256 : 1; i < n; i++)
        if (first[i].type == OBJ_NULL)
            return i;
    return pick(64);
}

static uint64_t some_rights(void)
{
    return one_in(3) ? pick(16) : RIGHT_ALL;
}

/* --- methods --- */

static void retype(const struct tcb *t)
{
    static const struct {
        uint8_t type, low, high;
    } kinds[] = { { OBJ_UNTYPED, 6, 14 },     { OBJ_CNODE, 1, 4 },      { OBJ_ENDPOINT, 0, 0 },
                  { OBJ_NOTIFICATION, 0, 0 }, { OBJ_TIMER, 0, 0 },      { OBJ_TCB, 0, 0 },
                  { OBJ_SCHED, 0, 0 },        { OBJ_REPLY, 0, 0 },      { OBJ_FRAME, 12, 12 },
                  { OBJ_VSPACE, 0, 0 },       { OBJ_PAGETABLE, 0, 0 },  { OBJ_RANGE, 12, 13 },
                  { OBJ_SHADOW, 0, 0 },       { OBJ_GUESTSPACE, 0, 0 }, { OBJ_VM, 0, 1 },
                  { OBJ_VCPU, 0, 0 },         { OBJ_FRAME, 21, 21 },    { OBJ_RANGE, 21, 21 } };
    unsigned k = pick(sizeof(kinds) / sizeof(kinds[0]));
    cptr_t cnode = pick_cap(t, OBJ_CNODE);

    word(kinds[k].type);
    word(kinds[k].low + pick(kinds[k].high - kinds[k].low + 1u));
    word(cnode);
    word(pick_index(t, cnode, false));
    word(one_in(4) ? 1 + pick(4) : 1);
}

static void cnode(const struct tcb *t, cptr_t p, unsigned method)
{
    bool takes = method == CNODE_DELETE || method == CNODE_REVOKE;
    uint64_t at = pick_index(t, p, takes);
    const struct cap *c = cspace_slot(t, p);

    /* Of what boot made, or a process's memory, only seldom: little would be left. */
    if (takes && c && cap_object(c) == boot_slots() && !one_in(64))
        at = at < 150 ? 256 + pick(200) : at;
    word(at);
    if (takes)
        return;
    word(pick_cap(t, 0));
    if (method != CNODE_MOVE)
        word(some_rights());
    if (method == CNODE_MINT)
        word(one_in(2) ? 0 : 1 + pick(200));
}

static void tcb(const struct tcb *t, unsigned method)
{
    switch (method) {
    case TCB_CONFIGURE:
        word(pick_cap(t, OBJ_CNODE));
        word(pick_cap(t, OBJ_VSPACE));
        word(one_in(4) ? 0 : pick_cap(t, OBJ_FRAME));
        word(one_in(4) ? 0 : pick_cap(t, OBJ_ENDPOINT));
        break;
    case TCB_SET_SCHED:
        word(pick_cap(t, OBJ_SCHED));
        word(COMMON_PRIORITY + pick(8) - 4);
        break;
    case TCB_WRITE_REGS:
        word(one_in(4) ? wild() : one_in(3) ? SYSCALL_AT : 0x500000);
        for (unsigned i = 0; i < 5; i++)
            word(i == 4 ? pick(4096) : wild());
        break;
    case TCB_BIND_NOTIFICATION:
        word(one_in(4) ? 0 : pick_cap(t, OBJ_NOTIFICATION));
        break;
    default:
        for (unsigned i = 0; i < 3; i++)
            word(one_in(2) ? wild() : 0x500000);
    }
}

static uint64_t some_deadline(void)
{
    return one_in(8) ? wild() : fake.now + pick(60) * 100;
}

static void sched(const struct tcb *t, unsigned method)
{
    uint64_t period = 1000 + pick(30) * 300;

    if (method != SCHED_CONFIGURE)
        return;
    word(pick_cap(t, OBJ_SCHEDCONTROL));
    word(one_in(2) ? period : 1000 + pick(10) * 100);
    word(period);
    word(one_in(4) ? pick(256) : 100);
}

static uint64_t some_address(void)
{
    uint64_t far = pick(3) << 39 | (one_in(2) ? pick(3) << 30 : 0);

    return (one_in(3) ? far : 0) | (one_in(4) ? pick(3) << 21 : 0) | pick(24) << 12;
}

static uint64_t aligned(uint64_t address, unsigned level)
{
    return one_in(16) ? address : address & ~(level_bytes(level) - 1);
}

/* Where a table is missing on the way to some address. */
static void map_table(const struct tcb *t)
{
    cptr_t p = pick_cap(t, one_in(2) ? OBJ_VSPACE : OBJ_GUESTSPACE);
    uint64_t address = some_address();
    unsigned level = 1 + pick(3);
    struct space s;

    if (!one_in(8) && space_argument(t, p, true, &s) == ERR_OK)
        for (unsigned l = s.top - 1; l > 0; l--) {
            const uint64_t *e = space_walk(&s, address, l + 1);
            if (e && !(*e & PTE_P))
                level = l;
        }
    word(p);
    word(aligned(address, level + 1));
    word(level);
}

static void guestspace(const struct tcb *t, unsigned method)
{
    static const uint16_t gfns[] = { 0, 0, 4, 12, 16, 20, 512, 512, 600, 1016, 1024 };

    if (method != GUESTSPACE_CHANGE) {
        word(method == GUESTSPACE_VIEW ? empty_here(t) : pick(20) * 64);
        word(method == GUESTSPACE_VIEW ? some_rights() : 1 + pick(17));
        return;
    }
    for (unsigned n = 1 + (one_in(3) ? pick(3) : 0); n; n--) {
        unsigned op = 1 + pick(4);
        uint64_t gfn = gfns[pick(sizeof(gfns) / sizeof(gfns[0]))] + (op != CHANGE_MAP_2M ? pick(8) : 0);
        word(CHANGE_W0(pick_cap(t, OBJ_RANGE), op, one_in(3) ? pick(16) : RIGHT_READ | RIGHT_WRITE,
                       op == CHANGE_MAP_2M ? 512 : 1 + pick(6)));
        word(CHANGE_W1(gfn, op == CHANGE_MAP_2M ? 0 : one_in(2) ? gfn : pick(16)));
    }
}

static void ioport(const struct tcb *t, unsigned method)
{
    if (method == IOPORT_NARROW)
        word(empty_here(t));
    word(0x3f8 + pick(8));
    word(method == IOPORT_NARROW ? 0x3f8 + pick(10) : 1u << pick(3));
    word(pick(256));
}

static void kernel_methods(const struct tcb *t, unsigned method)
{
    word(method == KERNEL_AUDIT    ? pick_cap(t, OBJ_VCPU)
         : method == KERNEL_FRAMES ? pick_cap(t, OBJ_GUESTSPACE)
         : method == KERNEL_DUMP   ? pick_cap(t, 0)
                                   : pick(20));
    word(pick(600));
    word(1 + pick(60));
}

static bool is_window(const struct tcb *t, cptr_t p)
{
    const struct cap *c = cspace_slot(t, p);

    return c && c->type == OBJ_VIEW && c->kind == VIEW_WINDOW;
}

static const uint8_t methods[OBJ_TYPES] = {
    [OBJ_UNTYPED] = UNTYPED_RETYPE,
    [OBJ_CNODE] = CNODE_REVOKE,
    [OBJ_TCB] = TCB_SET_FIXUP,
    [OBJ_SCHED] = SCHED_CONSUMED,
    [OBJ_TIMER] = TIMER_BIND,
    [OBJ_FRAME] = FRAME_UNMAP,
    [OBJ_PAGETABLE] = PAGETABLE_UNMAP,
    [OBJ_GUESTSPACE] = GUESTSPACE_HARVEST,
    [OBJ_VM] = VM_RENEW,
    [OBJ_VCPU] = VCPU_SYNC,
    [OBJ_SHADOW] = SHADOW_READ_BITS,
    [OBJ_VIEW] = VIEW_UNMAP,
    [OBJ_IRQ] = IRQ_ACK,
    [OBJ_IRQCONTROL] = IRQCONTROL_GET,
    [OBJ_IOPORT] = IOPORT_NARROW,
    [OBJ_KERNEL] = KERNEL_TLB,
};

static void arguments(const struct tcb *t, cptr_t p, unsigned type, unsigned method)
{
    switch (type) {
    case OBJ_UNTYPED:
        retype(t);
        break;
    case OBJ_CNODE:
        cnode(t, p, method);
        break;
    case OBJ_TCB:
        tcb(t, method);
        break;
    case OBJ_SCHED:
        sched(t, method);
        break;
    case OBJ_TIMER:
        word(method == TIMER_BIND ? pick_cap(t, OBJ_NOTIFICATION) : some_deadline());
        break;
    case OBJ_FRAME:
        word(pick_cap(t, OBJ_VSPACE));
        word(some_address());
        word(one_in(2) ? RIGHT_READ | RIGHT_WRITE : pick(16));
        break;
    case OBJ_PAGETABLE:
        map_table(t);
        break;
    case OBJ_GUESTSPACE:
        guestspace(t, method);
        break;
    case OBJ_VM:
        word(method == VM_BIND ? pick_cap(t, OBJ_GUESTSPACE) : empty_here(t));
        break;
    case OBJ_VCPU:
        word(method == VCPU_BIND                ? pick_cap(t, OBJ_VM)
             : method == VCPU_BIND_NOTIFICATION ? one_in(4) ? 0 : pick_cap(t, OBJ_NOTIFICATION)
             : method == VCPU_VIEW ? empty_here(t)
                                                : pick(STATE_ALL + 2));
        word(pick(2));
        break;
    case OBJ_SHADOW:
        word(method == SHADOW_BIND ? pick_cap(t, OBJ_VM) : pick(512));
        word(1 + pick(60));
        break;
    case OBJ_VIEW:
        word(pick_cap(t, OBJ_VSPACE));
        word(aligned(some_address(), is_window(t, p) ? 4 : 1));
        break;
    case OBJ_IRQ:
        word(pick_cap(t, OBJ_NOTIFICATION));
        break;
    case OBJ_IRQCONTROL:
        word(pick(17));
        word(empty_here(t));
        break;
    case OBJ_IOPORT:
        ioport(t, method);
        break;
    default:
        kernel_methods(t, method);
    }
}

static void put_call(struct tcb *t, cptr_t p, unsigned method)
{
    t->regs.rdi = p;
    t->regs.rsi = TAG(method, words.n);
    t->regs.rdx = words.w[0];
    t->regs.r10 = words.w[1];
    t->regs.r8 = words.w[2];
    t->regs.r9 = words.w[3];
    for (unsigned i = MSG_REGISTERS; i < words.n && t->buffer; i++)
        t->buffer->words[i] = words.w[i];
}

static bool has_methods(const struct cap *c, const void *what)
{
    (void)what;
    return c->type < OBJ_TYPES && methods[c->type];
}

/* A capability to invoke: any, or one of any type. */
static cptr_t pick_invoked(const struct tcb *t)
{
    static cptr_t list[1024];
    unsigned type = 1 + pick(OBJ_TYPES - 1u), n = 0;

    if (one_in(30))
        return pick_cap(t, 0);
    if (methods[type] && !one_in(3))
        n = named(t, is_type, &type, list, 1024);
    if (!n)
        n = named(t, has_methods, NULL, list, 1024);
    return n ? list[pick(n)] : 0;
}

/* What is mapped is unmapped, or the other way round; mostly. */
static unsigned mapping_method(const struct cap *c)
{
    BUILD_ASSERT((int)FRAME_MAP == PAGETABLE_MAP && (int)FRAME_MAP == VIEW_MAP);
    return (c->d1 != 0) == !one_in(8) ? FRAME_UNMAP : FRAME_MAP;
}

static void choose_invocation(struct tcb *t)
{
    cptr_t p = pick_invoked(t);
    const struct cap *c = cspace_slot(t, p);
    unsigned type = c ? c->type : 0;
    unsigned method = 1 + pick(type < OBJ_TYPES && methods[type] ? methods[type] : 3u);

    if (type == OBJ_FRAME || type == OBJ_PAGETABLE || type == OBJ_VIEW)
        method = mapping_method(c);
    if (type == OBJ_PAGETABLE && method == PAGETABLE_UNMAP && !one_in(4)) /* or little would be mapped */
        method = PAGETABLE_MAP;
    if (type == OBJ_CNODE && method >= CNODE_DELETE && one_in(2)) /* or little would grow */
        method = CNODE_COPY;
    words.n = 0;
    arguments(t, p, type, method);
    if (one_in(40))
        words.n = pick(MSG_WORDS_MAX);
    put_call(t, p, one_in(60) ? pick(20) : method);
    if (type == OBJ_ENDPOINT && t == init_thread())
        t->regs.rax = (uint64_t)SYS_POLL; /* it never waits: somebody has to go on */
}

static bool is_cspace(const struct cap *c, const void *slots)
{
    return c->type == OBJ_CNODE && cap_object(c) == slots;
}

static bool is_this(const struct cap *c, const void *what)
{
    return c == what;
}

/* What is above a CNode that some thread has begun to empty, if t can name it. */
static cptr_t above_the_dying(const struct tcb *t)
{
    cptr_t p = 0;

    for
        EACH_OBJECT(o, OBJ_TCB)
        {
            const struct cap *z = next_dying(&((struct tcb *)phys((hpa_t){ o->at }))->dying, NULL);
            if (z && z->parent &&
                named(t, is_this, one_in(2) && z->parent->parent ? z->parent->parent : z->parent, &p, 1))
                return p;
        }
    return 0;
}

/* Something that others depend on goes; but seldom what a whole process depends on. */
static void choose_removal(struct tcb *t)
{
    static cptr_t list[1024];
    static const uint8_t types[] = { OBJ_UNTYPED, OBJ_CNODE, OBJ_CNODE,        OBJ_ENDPOINT, OBJ_REPLY,
                                     OBJ_FRAME,   OBJ_VCPU,  OBJ_NOTIFICATION, OBJ_SCHED,    OBJ_RANGE,
                                     OBJ_SHADOW,  OBJ_VM,    OBJ_GUESTSPACE,   OBJ_TCB,      OBJ_IRQ };
    const unsigned type = types[pick(sizeof(types))];
    unsigned n = named(t, is_type, &type, list, 1024);
    cptr_t p = n ? list[pick(n)] : 0, cspace = 0;
    const struct cap *c = cspace_slot(t, p);

    words.n = 0;
    named(t, is_cspace, t->slots, &cspace, 1);
    cptr_t urgent = one_in(2) ? above_the_dying(t) : 0;
    if (c && c->type == OBJ_UNTYPED && c->bits > 14 && !one_in(64))
        p = 0;
    if (c && c->type == OBJ_CNODE && c->bits > 5 && !one_in(32))
        p = 0;
    p = urgent ? urgent : p;
    word(p >> 16 ? (p >> 16) - 1 : p);
    put_call(t, p >> 16 ? p & 0xffff : cspace, one_in(2) ? CNODE_REVOKE : CNODE_DELETE);
}

void choose_revival(struct tcb *t)
{
    cptr_t p = threads[pick(thread_count)];
    const struct cap *c = cspace_slot(t, p);
    const struct tcb *other = c && c->type == OBJ_TCB ? cap_object(c) : NULL;

    if (other && other->state == THREAD_REPLY && !one_in(4)) { /* it may be answered */
        t->regs.rax = (uint64_t)SYS_YIELD;
        return;
    }
    bool stopped = other && (other->state == THREAD_INACTIVE || other->state == THREAD_FAULTED);

    words.n = 0;
    t->regs.rax = (uint64_t)SYS_CALL;
    if (stopped && other->regs.rip == SYSCALL_AT)
        for (unsigned i = 0; i < 6; i++)
            word(i ? 0 : 0x500000);
    put_call(t, p, words.n ? TCB_WRITE_REGS : stopped ? TCB_RESUME : TCB_SUSPEND);
}

/* --- messages --- */

static void choose_message(struct tcb *t)
{
    uint64_t tag = TAG(pick(5), one_in(3) ? pick(MSG_WORDS_MAX + 3) : pick(5));
    struct umbra_ipc_buffer *b = t->buffer;

    if (one_in(3))
        tag |= TAG_CAPS(pick(5));
    if (one_in(20))
        tag |= BIT(11 + pick(21));
    t->regs.rsi = tag;
    t->regs.rdx = one_in(4) ? wild() : 0x500000;
    t->regs.r10 = wild();
    t->regs.r8 = t->regs.r9 = pick(256);
    if (!b)
        return;
    for (unsigned i = 0; i < MSG_CAPS_MAX; i++)
        b->caps[i] = pick_cap(t, one_in(2) ? 0 : OBJ_NOTIFICATION);
    b->recv_slot = one_in(4) ? pick(70) : empty_here(t);
    b->recv_limit = pick(5);
    b->recv_sub = one_in(4) ? pick_cap(t, OBJ_CNODE) : 0;
}

static bool has_caller(const struct cap *c, const void *what)
{
    (void)what;
    return c->type == OBJ_REPLY && ((const struct reply *)cap_object(c))->caller;
}

static bool has_waiter(const struct cap *c, const void *state)
{
    const struct tcb *first =
        c->type == OBJ_ENDPOINT ? ((const struct endpoint *)cap_object(c))->queue.head : NULL;

    return first && first->state == *(const unsigned *)state;
}

/* Mostly one that fits, else one of the type. */
static cptr_t likely(const struct tcb *t, bool (*fits)(const struct cap *c, const void *what), unsigned state,
                     unsigned type)
{
    cptr_t list[64];
    unsigned n = one_in(3) ? 0 : named(t, fits, &state, list, 64);

    return n ? list[pick(n)] : pick_cap(t, type);
}

static uint64_t receiver(const struct tcb *t, int64_t number)
{
    bool answers = number == SYS_REPLY_RECV;
    cptr_t p = one_in(3) && !answers ? pick_cap(t, OBJ_NOTIFICATION)
                                     : likely(t, has_waiter, THREAD_SEND, OBJ_ENDPOINT);
    cptr_t reply = answers ? likely(t, has_caller, 0, OBJ_REPLY) : pick_cap(t, OBJ_REPLY);

    return p | (uint64_t)(one_in(6) ? 0 : reply) << 32;
}

static void choose_ipc(struct tcb *t)
{
    static const int8_t numbers[] = { SYS_CALL,   SYS_CALL,   SYS_CALL,   SYS_REPLY_RECV, SYS_REPLY_RECV,
                                      SYS_RECV,   SYS_RECV,   SYS_POLL,   SYS_SEND,       SYS_REPLY,
                                      SYS_SIGNAL, SYS_SIGNAL, SYS_SIGNAL, SYS_YIELD,      SYS_NULL,
                                      -77,        12 };
    int64_t number = numbers[pick(sizeof(numbers))];

    if (t == init_thread() && number != SYS_SIGNAL && number != SYS_YIELD && number != SYS_REPLY)
        number = SYS_POLL;
    choose_message(t);
    t->regs.rax = (uint64_t)number;
    t->regs.rdi = number == SYS_CALL || number == SYS_SEND ? likely(t, has_waiter, THREAD_RECV, OBJ_ENDPOINT)
                  : number == SYS_SIGNAL                   ? pick_cap(t, OBJ_NOTIFICATION)
                  : number == SYS_REPLY                    ? likely(t, has_caller, 0, OBJ_REPLY)
                                                           : receiver(t, number);
}

void choose_call(struct tcb *t)
{
    cptr_t vcpu = one_in(2) && t != init_thread() ? pick_cap(t, OBJ_VCPU) : 0;

    t->regs.rax = (uint64_t)SYS_CALL;
    if (vcpu && one_in(3)) {
        t->regs.rax = (uint64_t)SYS_RECV;
        t->regs.rdi = vcpu;
    } else if (vcpu) {
        choose_answer(t, vcpu);
    } else if (one_in(3)) {
        choose_ipc(t);
    } else if (one_in(8)) {
        choose_removal(t);
    } else {
        choose_invocation(t);
    }
}
