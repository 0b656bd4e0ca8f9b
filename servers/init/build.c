/* SPDX-License-Identifier: BSD-2-Clause */
/* Executes the description: one record, one step, in order; the checker (lib/desc) has said that each step's
 * names, groups, slots and addresses make sense. Grants exactly what the records say and nothing else. */
#include "init.h"
#include "turn.h"
#include <string.h>

#define IPC           ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)
#define TABLES_MAX    48u /* page tables of a component besides those of its heap */
#define OBJECTS_MAX   16u /* TCB, VSpace, SchedContext, IPC buffer, information page, ... */
#define LARGE_BYTES   (1ul << FRAME_2M)
#define PAGES(bytes)  (((bytes) + PAGE_BYTES - 1) / PAGE_BYTES)
#define IMAGE_LIMIT   0x100000000ul
#define TICKS_A_US(h) ((h) / 1000000)

BUILD_ASSERT(IMAGE_LIMIT <= DESC_HEAP);

static void must(struct init *in, err_t e, const char *what)
{
    if (e != ERR_OK)
        fail(in, e, "%s", what);
}

cptr_t group_cap(const struct group *g, uint32_t i)
{
    return g->sub ? CPTR_SUB(g->cap, 1 + i) : g->cap + i;
}

cptr_t derived(struct init *in, struct slots *s, cptr_t from, unsigned rights, uint64_t badge)
{
    cptr_t to = slot_new(in, s);
    err_t e = badge ? sys_invoke4(slot_cnode(s), CNODE_MINT, slot_index(to), from, rights, badge)
                    : sys_invoke3(slot_cnode(s), CNODE_COPY, slot_index(to), from, rights);

    must(in, e, "derive a capability");
    return to;
}

/* --- objects of the system --- */

static void do_objects(struct init *in, const struct desc_objects *r)
{
    struct group *g = &in->group[r->group];

    *g = (struct group){ .count = r->count, .sub = r->count > 1 };
    struct slots own, *s = &in->slots;
    if (g->sub) {
        own = slots_new(in, NULL, r->count);
        s = &own;
    }
    if (r->type == OBJ_VCPU)
        g->pool = pool_new(in, 1ul << desc_object_bits(OBJ_VCPU, 0));
    cptr_t first = objects_new(in, g->pool.cap ? &g->pool : NULL, s, r->type, r->bits, r->count);
    g->cap = g->sub ? s->sub : first;
}

static void single(struct init *in, uint32_t group, cptr_t cap)
{
    in->group[group] = (struct group){ .cap = cap, .count = 1 };
}

static void do_irq(struct init *in, const struct desc_irq *r)
{
    cptr_t irq = slot_new(in, &in->slots);
    cptr_t signal = derived(in, &in->slots, in->group[r->notification].cap, RIGHT_WRITE, r->badge);

    must(in, sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, r->line, irq), "get the interrupt line");
    must(in, sys_invoke1(irq, IRQ_BIND, signal), "bind the interrupt line");
    single(in, r->group, irq);
}

static void do_ioport(struct init *in, const struct desc_ioport *r)
{
    cptr_t ports = slot_new(in, &in->slots);

    must(in, sys_invoke3(SLOT_IOPORT, IOPORT_NARROW, ports, r->first, r->last), "narrow the I/O ports");
    single(in, r->group, ports);
}

static void do_timer(struct init *in, const struct desc_timer *r)
{
    cptr_t signal = derived(in, &in->slots, in->group[r->notification].cap, RIGHT_WRITE, r->badge);
    must(in, sys_invoke1(in->group[r->timer].cap, TIMER_BIND, signal), "bind the timer");
}

static void bind_vcpu(struct init *in, const struct desc_guest *r)
{
    cptr_t vm = in->group[r->vm].cap, vcpu = in->group[r->vcpu].cap;

    must(in, sys_invoke1(vcpu, VCPU_BIND, vm), "bind the vCPU");
    must(in, sys_invoke1(vcpu, VCPU_BIND_NOTIFICATION, in->group[r->notification].cap),
         "bind the notification");
}

static void do_guest(struct init *in, const struct desc_guest *r)
{
    cptr_t vm = in->group[r->vm].cap;
    const struct group *shadow = &in->group[r->shadow];

    must(in, sys_invoke1(vm, VM_BIND, in->group[r->space].cap), "bind guest memory to the VM");
    bind_vcpu(in, r);
    for (uint32_t i = 0; i < shadow->count; i++)
        must(in, sys_invoke1(group_cap(shadow, i), SHADOW_BIND, vm), "bind a shadow table");
    in->component[r->owner].guest = r;
}

/* --- a component --- */

/* Of one that is not named yet, as many as the largest has. */
static uint32_t module_frames(struct init *in, const struct desc_module *r)
{
    const char *name = desc_name(&in->desc, r->name);
    uint32_t most = 0;

    if (*name)
        return in->boot->module[module_find(in, name)].frames;
    for (uint32_t i = 0; i < in->boot->module_count; i++)
        most = in->boot->module[i].frames > most ? in->boot->module[i].frames : most;
    return most;
}

/* How many slots init needs for what it holds for component i: frames, copies of frames, tables, objects. */
static uint32_t slots_needed(struct init *in, const struct desc_component *d, uint64_t image_pages)
{
    uint64_t n = image_pages + PAGES(d->stack_bytes) + d->heap_bytes / LARGE_BYTES +
                 PAGES(d->heap_bytes % LARGE_BYTES) + d->heap_bytes / LARGE_BYTES / 512 + TABLES_MAX +
                 OBJECTS_MAX;

    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        if (r->component != d->head.component)
            continue;
        if (r->op == DESC_OP_MAP)
            n += ((const struct desc_map *)(const void *)r)->count;
        if (r->op == DESC_OP_VIEW)
            n++;
        if (r->op == DESC_OP_MODULE)
            n += module_frames(in, (const void *)r);
    }
    if (n >= 1u << CNODE_BITS_MAX)
        fail(in, ERR_OK, "%lu frames and tables are more than a CNode holds", n);
    return (uint32_t)n;
}

static uint64_t quota_bytes(const struct desc_component *d, uint64_t image_pages, uint32_t slots)
{
    uint64_t cnode = 1ul << (d->cnode_bits + BITS_SLOT), own = ((uint64_t)slots + 1) * 2 << BITS_SLOT;
    uint64_t pages = image_pages + PAGES(d->stack_bytes) + PAGES(d->heap_bytes) + TABLES_MAX + OBJECTS_MAX +
                     d->heap_bytes / LARGE_BYTES;

    uint64_t gap = d->heap_bytes >= LARGE_BYTES ? LARGE_BYTES : 0; /* before the first large frame */
    return pages * PAGE_BYTES + 2 * cnode + own + gap;
}

static const char *read_image(const struct desc_component *d, const struct image *image,
                              struct image_segment *segments, unsigned *n, uint64_t *entry)
{
    const char *wrong = image_read(image->file, image->bytes, IMAGE_LIMIT, segments, n, entry);
    uint64_t pages = 0;

    for (unsigned i = 0; i < *n && !wrong; i++)
        pages += PAGES(segments[i].address % PAGE_BYTES + segments[i].memory_bytes);
    return !wrong && pages > PAGES(d->image_bytes) ? "it takes more memory than is described" : wrong;
}

const char *build_refuses(struct init *in, const struct component *c, const struct image *image)
{
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
    unsigned n;
    uint64_t entry;

    (void)in;
    return read_image(c->d, image, segments, &n, &entry);
}

static void load_image(struct init *in, struct process *p, const struct image_segment *segments, unsigned n)
{
    uint64_t done = 0; /* pages below are mapped */

    for (unsigned i = 0; i < n; i++) {
        uint64_t at = segments[i].address & ~(PAGE_BYTES - 1),
                 end = segments[i].address + segments[i].memory_bytes;
        for (at = at < done ? done : at; at < end; at += PAGE_BYTES) {
            cptr_t frame = objects_new(in, &p->quota, &p->slots, OBJ_FRAME, FRAME_4K, 1);
            scratch_open(in, frame);
            image_page_fill(segments, n, at, (uint8_t *)INIT_SCRATCH);
            scratch_close(in, frame);
            space_frame(in, &p->space, frame, FRAME_4K, at, image_page_rights(segments, n, at));
            done = at + PAGE_BYTES;
        }
    }
}

/* The information page: written here, read-only there. Its frame is init's: one for each of the two places.
 */
static void make_info(struct init *in, struct component *c, struct process *p)
{
    const struct desc_component *d = c->d;
    uint64_t address = INIT_INFO + (2 * d->head.component + (p == &c->process[1])) * PAGE_BYTES;

    if (!p->info_frame)
        p->info_frame = space_page(in, &in->space, address, RIGHT_READ | RIGHT_WRITE);
    struct component_info *info = (struct component_info *)address;

    *info = (struct component_info){
        .magic = COMPONENT_INFO_MAGIC,
        .identity = d->identity,
        .index = d->head.component,
        .incarnation = c->incarnations++,
        .debug = in->boot->debug,
        .tsc_hz = in->boot->tsc_hz,
        .seed = in->seed,
        .heap_address = DESC_HEAP,
        .heap_bytes = d->heap_bytes,
        .stack_bytes = d->stack_bytes,
        .config_bytes = d->config_bytes,
        .left = { c->left_rip, c->left_rdx },
        .stopped_at = c->stopped_at,
    };
    strncpy(info->name, c->name, DESC_NAME_MAX);
    memcpy(info->config, desc_bytes(&in->desc, d->config), d->config_bytes);
    create_configure(c, info);
    create_quotas(in, c, info);
    p->info = info;
    space_frame(in, &p->space, derived(in, &p->slots, p->info_frame, RIGHT_READ, 0), FRAME_4K,
                BOOT_INFO_ADDRESS, RIGHT_READ);
}

static void make_memory(struct init *in, const struct desc_component *d, struct process *p)
{
    uint64_t stack = PAGES(d->stack_bytes) * PAGE_BYTES;

    space_memory(in, &p->space, DESC_HEAP, PAGES(d->heap_bytes) * PAGE_BYTES, RIGHT_READ | RIGHT_WRITE);
    p->stack = CPTR_SUB(p->slots.sub, p->slots.next);
    space_memory(in, &p->space, BOOT_STACK_TOP - stack, stack, RIGHT_READ | RIGHT_WRITE);
}

static cptr_t make_sched(struct init *in, const struct desc_component *d, struct pool *pool,
                         struct slots *slots, struct turn t)
{
    cptr_t sched = objects_new(in, pool, slots, OBJ_SCHED, 0, 1);

    must(in, sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, t.budget, t.period, d->priority),
         "configure the scheduling context");
    return sched;
}

static struct turn described(const struct init *in, const struct desc_component *d)
{
    uint64_t us = TICKS_A_US(in->boot->tsc_hz);

    return (struct turn){ d->budget_us * us, d->period_us * us };
}

/* What an incarnation has besides the component's time: a guest's VMM nothing, also if it goes on though it
 * is to wait. */
static struct turn own_turn(const struct init *in, const struct component *c)
{
    return c->guest ? (struct turn){ TURN_LEAST, BIT(48) } : described(in, c->d);
}

/* Which incarnation a fault or a call is of stands in the badge. */
static uint64_t badge_of(const struct component *c, const struct process *p, uint64_t badge)
{
    return p == &c->process[1] ? badge | INIT_BADGE_OTHER : badge;
}

static void make_thread(struct init *in, struct component *c, struct process *p, cptr_t ipc, uint64_t entry)
{
    const struct desc_component *d = c->d;
    cptr_t fault =
        derived(in, &p->slots, in->group[d->fault].cap, RIGHT_WRITE, badge_of(c, p, d->fault_badge));
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6),
                             .w = { entry, BOOT_STACK_TOP - 8, BOOT_INFO_ADDRESS, 0 } };

    p->sched = make_sched(in, d, &p->quota, &p->slots, own_turn(in, c));
    must(in, sys_invoke4(p->tcb, TCB_CONFIGURE, p->cnode, p->space.vspace, ipc, fault),
         "configure the thread");
    IPC->words[4] = IPC->words[5] = 0;
    must(in, sys_call(p->tcb, &m), "set the thread's registers");
}

static struct image present_image(struct init *in, const struct component *c)
{
    if (c->image.file)
        return c->image;
    uint32_t module = module_find(in, desc_name(&in->desc, c->d->module));
    return (struct image){ module_map(in, module), in->boot->module[module].bytes };
}

static struct image image_of(struct init *in, const struct component *c)
{
    return c->upgrading ? c->offered : present_image(in, c);
}

/* Memory for p, unless it has some from before. Returns how many slots it needs. */
static uint32_t reserve(struct init *in, const struct desc_component *d, struct process *p)
{
    uint32_t slots = slots_needed(in, d, PAGES(d->image_bytes));

    if (!p->quota.cap)
        p->quota = pool_new(in, quota_bytes(d, PAGES(d->image_bytes), slots));
    if (!p->slots_place)
        p->slots_place = slot_new(in, &in->slots);
    return slots;
}

static void do_component(struct init *in, struct component *c, struct process *p)
{
    const struct desc_component *d = c->d;
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
    struct image image = image_of(in, c);
    unsigned n;
    uint64_t entry;

    const char *wrong = read_image(d, &image, segments, &n, &entry);
    if (wrong)
        fail(in, ERR_OK, "boot module \"%s\": %s", desc_name(&in->desc, d->module), wrong);
    uint32_t slots = reserve(in, d, p);
    p->slots = slots_at(in, &p->quota, slots, p->slots_place);
    p->program[0] = 0;
    p->image = image;
    p->cnode = c->cnode ? c->cnode : objects_new(in, &p->quota, &p->slots, OBJ_CNODE, d->cnode_bits, 1);
    p->tcb = objects_new(in, &p->quota, &p->slots, OBJ_TCB, 0, 1);
    p->space = (struct space){ .pool = &p->quota, .slots = &p->slots };
    p->space.vspace = objects_new(in, &p->quota, &p->slots, OBJ_VSPACE, 0, 1);
    make_memory(in, d, p);
    load_image(in, p, segments, n);
    make_info(in, c, p);
    make_thread(in, c, p, space_page(in, &p->space, BOOT_IPC_ADDRESS, RIGHT_READ | RIGHT_WRITE), entry);
    p->state = PROCESS_BUILT;
}

static void do_cap(struct init *in, struct component *c, struct process *p, const struct desc_cap *r)
{
    bool to_init = r->group == c->d->fault;
    uint64_t badge = to_init ? badge_of(c, p, r->badge) : r->badge;

    if (c->cnode && c->incarnations > 1 && r->group != DESC_OWN_TCB)
        return; /* it is still there */
    for (uint32_t i = 0; i < r->count; i++) {
        cptr_t from = r->group == DESC_OWN_CNODE    ? p->cnode
                      : r->group == DESC_OWN_TCB    ? p->tcb
                      : r->group == DESC_OWN_KERNEL ? (cptr_t)SLOT_KERNEL
                                                    : group_cap(&in->group[r->group], r->first + i);
        unsigned type = r->group < DESC_GROUPS_MAX ? in->desc.group[r->group].type : OBJ_NULL;
        /* what cannot be derived goes over as it is */
        err_t e = type == OBJ_UNTYPED || type == OBJ_REPLY
                      ? sys_invoke2(p->cnode, CNODE_MOVE, r->slot + i, from)
                  : badge ? sys_invoke4(p->cnode, CNODE_MINT, r->slot + i, from, r->rights, badge)
                          : sys_invoke3(p->cnode, CNODE_COPY, r->slot + i, from, r->rights);
        if (e != ERR_OK)
            fail(in, e, "grant capability %u of slot %u", i, r->slot);
    }
}

static void do_map(struct init *in, struct process *p, const struct desc_map *r)
{
    unsigned bits = in->desc.group[r->group].bits;

    for (uint32_t i = 0; i < r->count; i++) {
        cptr_t frame = derived(in, &p->slots, group_cap(&in->group[r->group], r->first + i), r->rights, 0);
        space_frame(in, &p->space, frame, bits, r->address + ((uint64_t)i << bits), r->rights);
    }
}

static void do_view(struct init *in, struct process *p, const struct desc_view *r)
{
    cptr_t of = in->group[r->group].cap, made = in->scratch_slot, view = slot_new(in, &p->slots);
    err_t e = ERR_OK;

    switch (r->kind) {
    case DESC_VIEW_WINDOW:
        e = sys_invoke2(of, GUESTSPACE_VIEW, made, r->rights);
        break;
    case DESC_VIEW_EXIT:
    case DESC_VIEW_REPLY:
        e = sys_invoke2(of, VCPU_VIEW, made, r->kind == DESC_VIEW_REPLY);
        break;
    default:
        e = sys_invoke1(of, VM_VIEW, made);
    }
    must(in, e, "make a view");
    must(in, sys_invoke2(p->slots.sub, CNODE_MOVE, slot_index(view), made), "move a view");
    space_view(in, &p->space, view, r->kind == DESC_VIEW_WINDOW, r->address);
}

static void do_module(struct init *in, struct component *c, struct process *p, const struct desc_module *r)
{
    const char *name = desc_name(&in->desc, r->name);
    uint32_t module = *name ? module_find(in, name) : c->created.module[r->which];
    const struct umbra_boot_module *m = &in->boot->module[module];

    if (!module)
        return;
    for (uint32_t i = 0; i < m->frames; i++)
        space_frame(in, &p->space, derived(in, &p->slots, m->cap + i, RIGHT_READ, 0), FRAME_2M,
                    r->address + i * LARGE_BYTES, RIGHT_READ);
    p->info->module[r->which].address = r->address;
    p->info->module[r->which].bytes = m->bytes;
}

void start_process(struct init *in, struct process *p)
{
    p->state = PROCESS_STARTED;
    must(in, sys_invoke0(p->tcb, TCB_RESUME), "start the thread");
}

/* The first incarnation runs on the component's own budget at once; the others take it over. */
static void do_start(struct init *in, struct component *c, struct process *p, const struct desc_start *r)
{
    bool first = p == c->now;

    if (r->later && c->waits)
        return;

    must(in, sys_invoke2(p->tcb, TCB_SET_SCHED, first ? c->sched : p->sched, c->d->priority),
         "give the thread its scheduling context");
    if (!first)
        c->preparing = c->looks = 0;
    start_process(in, p);
}

/* --- records --- */

static void do_system_record(struct init *in, const struct desc_record *r)
{
    switch (r->op) {
    case DESC_OP_OBJECTS:
        do_objects(in, (const void *)r);
        break;
    case DESC_OP_IRQ:
        do_irq(in, (const void *)r);
        break;
    case DESC_OP_IOPORT:
        do_ioport(in, (const void *)r);
        break;
    case DESC_OP_TIMER:
        do_timer(in, (const void *)r);
        break;
    case DESC_OP_GUEST:
        do_guest(in, (const void *)r);
        break;
    }
}

static void do_component_record(struct init *in, struct component *c, struct process *p,
                                const struct desc_record *r)
{
    switch (r->op) {
    case DESC_OP_COMPONENT:
        do_component(in, c, p);
        break;
    case DESC_OP_CAP:
        do_cap(in, c, p, (const void *)r);
        break;
    case DESC_OP_MAP:
        do_map(in, p, (const void *)r);
        break;
    case DESC_OP_VIEW:
        do_view(in, p, (const void *)r);
        break;
    case DESC_OP_MODULE:
        do_module(in, c, p, (const void *)r);
        break;
    case DESC_OP_NOTIFY:
        if (p != c->now) /* it gets its events when it takes over */
            break;
        must(in,
             sys_invoke1(p->tcb, TCB_BIND_NOTIFICATION,
                         in->group[((const struct desc_notify *)(const void *)r)->notification].cap),
             "bind the notification");
        break;
    case DESC_OP_START:
        do_start(in, c, p, (const void *)r);
        break;
    }
}

static const char *const op_names[DESC_OP_END] = { "",        "objects",   "interrupt", "I/O ports",
                                                   "timer",   "guest",     "component", "capability",
                                                   "mapping", "view",      "module",    "notification",
                                                   "start",   "connection" };

void build_process(struct init *in, struct component *c, struct process *p)
{
    in->subject = c->name;
    in->graph_due = in->graph;
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        in->step = op_names[r->op];
        if (r->component == c->d->head.component)
            do_component_record(in, c, p, r);
    }
    in->step = "supervision";
    in->subject = "system";
}

void build_renew(struct init *in, struct component *c)
{
    struct group *g = &in->group[c->guest->vcpu];
    struct slots place = { 0, g->cap, g->cap + 1 };

    in->subject = c->name;
    in->step = "another vCPU";
    must(in, sys_invoke1(SLOT_CNODE, CNODE_REVOKE, g->pool.cap), "end the vCPU");
    g->pool.used = 0;
    objects_new(in, &g->pool, &place, OBJ_VCPU, 0, 1);
    bind_vcpu(in, c->guest);
    must(in, sys_invoke0(in->group[c->guest->vm].cap, VM_RENEW), "forget the shadow tables");
    if (c->restartable)
        watch_exits(in, c);
}

void build_again(struct init *in, struct component *c)
{
    build_renew(in, c);
    build_process(in, c, c->now);
}

void build_start(struct init *in, struct component *c)
{
    static const struct desc_start now = { .later = 0 };

    do_start(in, c, c->now, &now);
}

bool build_possible(struct init *in, const struct component *c, const struct process *p)
{
    uint64_t pages = PAGES(c->d->image_bytes);

    return p->quota.cap || pool_possible(in, quota_bytes(c->d, pages, slots_needed(in, c->d, pages)));
}

const char *component_image(struct init *in, const struct component *c, const struct process *p,
                            struct image_segment *segments, unsigned *n)
{
    uint64_t entry;

    image_read(p->image.file, p->image.bytes, IMAGE_LIMIT, segments, n, &entry);
    return desc_name(&in->desc, c->d->module);
}

/* What the records say of a component before any of them is executed. */
static void know_component(struct init *in, struct component *c, const struct desc_component *d)
{
    c->d = d;
    c->name = desc_name(&in->desc, d->name);
    c->now = &c->process[0];
    c->waits = true;
    c->budget_us = d->budget_us;
}

/* A place for created guests has its memory from the beginning, and nobody in it. */
static void keep_free(struct init *in, struct component *c)
{
    reserve(in, c->d, &c->process[0]);
    reserve(in, c->d, &c->process[1]);
    c->ended = c->clean = true;
}

static void know_record(struct init *in, const struct desc_record *r)
{
    const struct desc_map *m = (const void *)r;

    if (r->op == DESC_OP_MAP && m->address >= DESC_SEGMENT && m->address < DESC_MODULE)
        in->component[r->component].restartable = true;
}

/* What a server made of its memory, and whom it owes an answer, are capabilities that cannot be derived. */
static void keep_cnode(struct init *in, struct component *c)
{
    if (c->restartable && c->d->kind == DESC_SERVER)
        c->cnode = objects_new(in, NULL, &in->slots, OBJ_CNODE, c->d->cnode_bits, 1);
}

/* Whom others are connected with is needed. */
static void know_connection(struct init *in, const struct desc_connection *r)
{
    if (r->to == DESC_SYSTEM)
        return;
    in->component[r->head.component].needed = in->component[r->to].needed = true;
}

void build_system(struct init *in)
{
    in->scratch_slot = slot_new(in, &in->slots);
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        know_component(in, &in->component[i], desc_component(&in->desc, i));
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r))
        know_record(in, r);
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        keep_cnode(in, &in->component[i]);
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        in->step = op_names[r->op];
        in->subject = r->component == DESC_SYSTEM ? "system" : in->component[r->component].name;
        if (r->component == DESC_SYSTEM) {
            do_system_record(in, r);
            continue;
        }
        struct component *c = &in->component[r->component];
        if (r->op == DESC_OP_CONNECTION)
            know_connection(in, (const void *)r);
        if (r->op == DESC_OP_COMPONENT)
            c->sched = make_sched(in, c->d, NULL, &in->slots, described(in, c->d));
        if (c->guest && c->guest->spare) {
            if (r->op == DESC_OP_COMPONENT)
                keep_free(in, c);
            continue;
        }
        do_component_record(in, c, c->now, r);
    }
    in->endpoint = in->group[desc_component(&in->desc, 0)->fault].cap;
    in->graph_due = in->graph;
    in->step = "supervision";
    in->subject = "system";
    rings_map(in);
}
