/* SPDX-License-Identifier: BSD-2-Clause */
/* The checker and reader of system descriptions: no allocation, no recursion, loops bounded by the header's
 * checked counts. A description comes from a boot module and is not trusted until desc_open said DESC_OK.
 * Held by tests/host/desc/ (every refusal; random bytes) and tests/idl/test_idl_description.py (content). */
#include "lib/desc/desc.h"
#include <string.h>

static const uint16_t record_bytes[DESC_OP_END] = {
    [DESC_OP_OBJECTS] = sizeof(struct desc_objects),
    [DESC_OP_IRQ] = sizeof(struct desc_irq),
    [DESC_OP_IOPORT] = sizeof(struct desc_ioport),
    [DESC_OP_TIMER] = sizeof(struct desc_timer),
    [DESC_OP_GUEST] = sizeof(struct desc_guest),
    [DESC_OP_COMPONENT] = sizeof(struct desc_component),
    [DESC_OP_CAP] = sizeof(struct desc_cap),
    [DESC_OP_MAP] = sizeof(struct desc_map),
    [DESC_OP_VIEW] = sizeof(struct desc_view),
    [DESC_OP_MODULE] = sizeof(struct desc_module),
    [DESC_OP_NOTIFY] = sizeof(struct desc_notify),
    [DESC_OP_START] = sizeof(struct desc_start),
    [DESC_OP_CONNECTION] = sizeof(struct desc_connection),
};

/* What is known while the records are walked. */
struct walk {
    struct desc *d;
    const struct desc_record *first;
    uint32_t groups, components;
    bool open[DESC_COMPONENTS_MAX]; /* described, not started */
};

uint32_t desc_crc32(uint32_t before, const uint8_t *p, uint64_t n)
{
    uint32_t crc = ~before;
    for (uint64_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

uint32_t desc_object_bits(uint32_t type, uint32_t bits)
{
    static const uint8_t fixed[OBJ_TYPES] = {
        [OBJ_TCB] = BITS_TCB,
        [OBJ_SCHED] = BITS_SCHED,
        [OBJ_ENDPOINT] = BITS_ENDPOINT,
        [OBJ_REPLY] = BITS_REPLY,
        [OBJ_NOTIFICATION] = BITS_NOTIFICATION,
        [OBJ_TIMER] = BITS_TIMER,
        [OBJ_VSPACE] = BITS_VSPACE,
        [OBJ_PAGETABLE] = BITS_PAGETABLE,
        [OBJ_GUESTSPACE] = BITS_GUESTSPACE,
        [OBJ_VM] = BITS_VM,
        [OBJ_VCPU] = BITS_VCPU,
        [OBJ_SHADOW] = BITS_SHADOW,
    };
    return type < OBJ_TYPES && fixed[type] ? fixed[type] : bits;
}

static bool name_ok(const struct desc *d, uint32_t offset)
{
    const struct desc_header *h = &d->header;
    if (offset >= h->data_bytes)
        return false;
    uint32_t room = h->data_bytes - offset;
    const char *s = desc_name(d, offset);
    return memchr(s, 0, room < DESC_NAME_MAX + 1 ? room : DESC_NAME_MAX + 1) != NULL;
}

/* Group g exists, has this type, and has objects first .. first + count. */
static bool group_ok(const struct walk *w, uint32_t g, uint32_t type, uint32_t first, uint32_t count)
{
    if (g >= w->groups)
        return false;
    const struct desc_group *group = &w->d->group[g];
    return group->type == type && first <= group->count && count <= group->count - first && count > 0;
}

static enum desc_why make_group(struct walk *w, uint32_t g, uint32_t type, uint32_t bits, uint32_t count)
{
    if (g != w->groups || g >= w->d->header.groups)
        return DESC_BAD_GROUP;
    w->d->group[w->groups++] =
        (struct desc_group){ .type = (uint16_t)type, .bits = (uint16_t)bits, .count = count };
    return DESC_OK;
}

static bool bits_ok(uint32_t type, uint32_t bits)
{
    switch (type) {
    case OBJ_UNTYPED:
        return bits >= UNTYPED_BITS_MIN && bits <= UNTYPED_BITS_MAX;
    case OBJ_FRAME:
        return bits == FRAME_4K || bits == FRAME_2M;
    case OBJ_VM:
        return bits <= DESC_PAGING_NESTED;
    case OBJ_ENDPOINT:
    case OBJ_REPLY:
    case OBJ_NOTIFICATION:
    case OBJ_TIMER:
    case OBJ_GUESTSPACE:
    case OBJ_VCPU:
    case OBJ_SHADOW:
        return bits == 0;
    default: /* made by init itself, or not at all */
        return false;
    }
}

static enum desc_why check_objects(struct walk *w, const struct desc_record *r)
{
    const struct desc_objects *o = (const void *)r;
    if (!bits_ok(o->type, o->bits) || o->count == 0 || o->count > BIT(CNODE_BITS_MAX))
        return DESC_BAD_VALUE;
    if (!name_ok(w->d, o->name))
        return DESC_BAD_STRING;
    uint32_t bits = o->type == OBJ_VM ? o->bits : desc_object_bits(o->type, o->bits);
    return make_group(w, o->group, o->type, bits, o->count);
}

static enum desc_why check_irq(struct walk *w, const struct desc_record *r)
{
    const struct desc_irq *i = (const void *)r;
    if (i->line > 15 || i->badge == 0)
        return DESC_BAD_VALUE;
    if (!group_ok(w, i->notification, OBJ_NOTIFICATION, 0, 1))
        return DESC_BAD_GROUP;
    if (!name_ok(w->d, i->name))
        return DESC_BAD_STRING;
    return make_group(w, i->group, OBJ_IRQ, 0, 1);
}

static enum desc_why check_ioport(struct walk *w, const struct desc_record *r)
{
    const struct desc_ioport *p = (const void *)r;
    if (p->first > p->last)
        return DESC_BAD_VALUE;
    if (p->zero != 0)
        return DESC_BAD_RECORD;
    if (!name_ok(w->d, p->name))
        return DESC_BAD_STRING;
    return make_group(w, p->group, OBJ_IOPORT, 0, 1);
}

static enum desc_why check_timer(struct walk *w, const struct desc_record *r)
{
    const struct desc_timer *t = (const void *)r;
    if (!group_ok(w, t->timer, OBJ_TIMER, 0, 1) || !group_ok(w, t->notification, OBJ_NOTIFICATION, 0, 1))
        return DESC_BAD_GROUP;
    return t->badge != 0 ? DESC_OK : DESC_BAD_VALUE;
}

/* What a created guest is given has its places in the configuration, and somebody gives it memory. */
static bool spare_ok(const struct desc_guest *g)
{
    return g->config_pages <= COMPONENT_CONFIG_MAX - 4 && g->config_line <= COMPONENT_CONFIG_MAX &&
           g->config_line_bytes <= COMPONENT_CONFIG_MAX - g->config_line &&
           (!g->spare || (g->manager != DESC_NONE && g->config_line_bytes));
}

static enum desc_why check_guest(struct walk *w, const struct desc_record *r)
{
    const struct desc_guest *g = (const void *)r;
    if (!group_ok(w, g->vm, OBJ_VM, 0, 1) || !group_ok(w, g->vcpu, OBJ_VCPU, 0, 1) ||
        !group_ok(w, g->space, OBJ_GUESTSPACE, 0, 1) || !group_ok(w, g->shadow, OBJ_SHADOW, 0, 1) ||
        !group_ok(w, g->notification, OBJ_NOTIFICATION, 0, 1))
        return DESC_BAD_GROUP;
    if (g->pages == 0 || g->pages > GUEST_FRAMES_MAX || g->paging > DESC_PAGING_NESTED ||
        w->d->group[g->vm].bits != g->paging)
        return DESC_BAD_VALUE;
    if (g->owner >= w->d->header.components ||
        (g->manager != DESC_NONE && g->manager >= w->d->header.components))
        return DESC_BAD_COMPONENT;
    if (g->spare > 1 || g->client >= DESC_QUOTAS || !spare_ok(g))
        return DESC_BAD_VALUE;
    return name_ok(w->d, g->name) ? DESC_OK : DESC_BAD_STRING;
}

static enum desc_why check_component_values(const struct desc_component *c)
{
    const uint64_t space = DESC_LOW - DESC_HEAP;
    if (c->kind > DESC_CONTROL || c->cnode_bits < 5 || c->cnode_bits > CNODE_BITS_MAX)
        return DESC_BAD_VALUE;
    if (c->heap_bytes % PAGE_BYTES || c->stack_bytes % PAGE_BYTES || c->image_bytes % PAGE_BYTES)
        return DESC_BAD_VALUE;
    if (c->heap_bytes > space || c->stack_bytes == 0 || c->stack_bytes > BIT(30) || c->image_bytes > BIT(30))
        return DESC_BAD_VALUE;
    if (c->budget_us == 0 || c->budget_us > c->period_us || c->period_us > 1000000000)
        return DESC_BAD_VALUE;
    return c->zero == 0 ? DESC_OK : DESC_BAD_RECORD;
}

static enum desc_why check_component(struct walk *w, const struct desc_record *r)
{
    const struct desc_component *c = (const void *)r;
    struct desc *d = w->d;
    if (r->component != w->components || w->components >= d->header.components)
        return DESC_BAD_COMPONENT;
    enum desc_why why = check_component_values(c);
    if (why != DESC_OK)
        return why;
    if (!name_ok(d, c->name) || !name_ok(d, c->module))
        return DESC_BAD_STRING;
    if (c->config > d->header.data_bytes || c->config_bytes > d->header.data_bytes - c->config ||
        c->config_bytes > COMPONENT_CONFIG_MAX)
        return DESC_BAD_STRING;
    if (!group_ok(w, c->fault, OBJ_ENDPOINT, 0, 1))
        return DESC_BAD_GROUP;
    d->component_offset[w->components] = (uint32_t)((const uint8_t *)r - d->base);
    w->open[w->components++] = true;
    return DESC_OK;
}

static const struct desc_record *following(const struct desc_record *r)
{
    return (const void *)((const uint8_t *)r + r->bytes);
}

/* Half-open ranges [a, a + n) and [b, b + m); no sum wraps as all were checked. */
static bool overlap(uint64_t a, uint64_t n, uint64_t b, uint64_t m)
{
    return a < b + m && b < a + n;
}

static enum desc_why cap_group_ok(const struct walk *w, const struct desc_cap *c)
{
    if (c->group >= DESC_OWN_CNODE && c->group <= DESC_OWN_KERNEL)
        return c->first == 0 && c->count == 1 && c->badge == 0 ? DESC_OK : DESC_BAD_GROUP;
    if (c->group >= w->groups || !group_ok(w, c->group, w->d->group[c->group].type, c->first, c->count))
        return DESC_BAD_GROUP;
    uint16_t type = w->d->group[c->group].type;
    bool may_badge = type == OBJ_ENDPOINT || type == OBJ_NOTIFICATION;
    return c->badge == 0 || may_badge ? DESC_OK : DESC_BAD_VALUE;
}

static enum desc_why check_cap(struct walk *w, const struct desc_record *r)
{
    const struct desc_cap *c = (const void *)r;
    enum desc_why why = cap_group_ok(w, c);
    if (why != DESC_OK)
        return why;
    if (c->rights == 0 || c->rights & ~(uint32_t)RIGHT_ALL)
        return DESC_BAD_VALUE;
    if (c->zero != 0)
        return DESC_BAD_RECORD;
    uint64_t slots = BIT(desc_component(w->d, r->component)->cnode_bits);
    if (c->slot == 0 || c->slot >= slots || c->count > slots - c->slot)
        return DESC_BAD_SLOT;
    for (const struct desc_record *o = w->first; o != r; o = following(o)) {
        const struct desc_cap *other = (const void *)o;
        if (o->op == DESC_OP_CAP && o->component == r->component &&
            overlap(c->slot, c->count, other->slot, other->count))
            return DESC_BAD_SLOT;
    }
    return DESC_OK;
}

/* The addresses that a record takes of its component's space; *n 0: none. */
static uint64_t mapped_range(const struct walk *w, const struct desc_record *r, uint64_t *n)
{
    *n = 0;
    if (r->op == DESC_OP_MAP) {
        const struct desc_map *m = (const void *)r;
        *n = (uint64_t)m->count << w->d->group[m->group].bits;
        return m->address;
    }
    if (r->op == DESC_OP_VIEW) {
        const struct desc_view *v = (const void *)r;
        *n = v->kind == DESC_VIEW_WINDOW ? GUEST_FRAMES_MAX * PAGE_BYTES : PAGE_BYTES;
        return v->address;
    }
    if (r->op == DESC_OP_MODULE) {
        *n = DESC_MODULE_STEP;
        return ((const struct desc_module *)(const void *)r)->address;
    }
    return 0;
}

/* The range that r maps is aligned, inside the area for mappings, and free. */
static enum desc_why check_range(const struct walk *w, const struct desc_record *r, uint64_t align)
{
    uint64_t n, address = mapped_range(w, r, &n);
    if (address % align || address < DESC_LOW || address >= DESC_HIGH || n > DESC_HIGH - address)
        return DESC_BAD_ADDRESS;
    for (const struct desc_record *o = w->first; o != r; o = following(o)) {
        uint64_t m, other = mapped_range(w, o, &m);
        if (m != 0 && o->component == r->component && overlap(address, n, other, m))
            return DESC_BAD_ADDRESS;
    }
    return DESC_OK;
}

static enum desc_why check_map(struct walk *w, const struct desc_record *r)
{
    const struct desc_map *m = (const void *)r;
    if (!group_ok(w, m->group, OBJ_FRAME, m->first, m->count))
        return DESC_BAD_GROUP;
    if ((m->rights & RIGHT_READ) == 0 || m->rights & ~(uint32_t)(RIGHT_READ | RIGHT_WRITE))
        return DESC_BAD_VALUE;
    return check_range(w, r, BIT(w->d->group[m->group].bits));
}

static enum desc_why check_view(struct walk *w, const struct desc_record *r)
{
    static const uint16_t types[] = { [DESC_VIEW_WINDOW] = OBJ_GUESTSPACE,
                                      [DESC_VIEW_EXIT] = OBJ_VCPU,
                                      [DESC_VIEW_REPLY] = OBJ_VCPU,
                                      [DESC_VIEW_PUBLIC] = OBJ_VM };
    const struct desc_view *v = (const void *)r;
    if (v->kind > DESC_VIEW_PUBLIC)
        return DESC_BAD_VALUE;
    if (!group_ok(w, v->group, types[v->kind], 0, 1))
        return DESC_BAD_GROUP;
    bool writable = v->kind == DESC_VIEW_WINDOW || v->kind == DESC_VIEW_REPLY;
    if (v->rights != (uint32_t)(writable ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ))
        return DESC_BAD_VALUE;
    if (v->zero != 0)
        return DESC_BAD_RECORD;
    return check_range(w, r, v->kind == DESC_VIEW_WINDOW ? GUEST_FRAMES_MAX * PAGE_BYTES : PAGE_BYTES);
}

static enum desc_why check_module(struct walk *w, const struct desc_record *r)
{
    const struct desc_module *m = (const void *)r;
    if (m->which >= DESC_MODULE_KINDS)
        return DESC_BAD_VALUE;
    if (!name_ok(w->d, m->name))
        return DESC_BAD_STRING;
    return check_range(w, r, BIT(FRAME_2M));
}

static enum desc_why check_notify(struct walk *w, const struct desc_record *r)
{
    const struct desc_notify *n = (const void *)r;
    if (n->zero != 0)
        return DESC_BAD_RECORD;
    return group_ok(w, n->notification, OBJ_NOTIFICATION, 0, 1) ? DESC_OK : DESC_BAD_GROUP;
}

static enum desc_why check_start(struct walk *w, const struct desc_record *r)
{
    const struct desc_start *s = (const void *)r;
    if (s->later > 1)
        return DESC_BAD_VALUE;
    if (s->zero != 0)
        return DESC_BAD_RECORD;
    w->open[r->component] = false;
    return DESC_OK;
}

static enum desc_why check_connection(struct walk *w, const struct desc_record *r)
{
    const struct desc_connection *c = (const void *)r;
    if (r->component >= w->components || (c->to >= w->components && c->to != DESC_SYSTEM))
        return DESC_BAD_COMPONENT;
    if (c->kind > DESC_CONNECT_DATAPORT)
        return DESC_BAD_VALUE;
    return name_ok(w->d, c->from_port) && name_ok(w->d, c->to_port) ? DESC_OK : DESC_BAD_STRING;
}

static enum desc_why check_record(struct walk *w, const struct desc_record *r)
{
    static enum desc_why (*const check[DESC_OP_END])(struct walk *, const struct desc_record *) = {
        [DESC_OP_OBJECTS] = check_objects,
        [DESC_OP_IRQ] = check_irq,
        [DESC_OP_IOPORT] = check_ioport,
        [DESC_OP_TIMER] = check_timer,
        [DESC_OP_GUEST] = check_guest,
        [DESC_OP_COMPONENT] = check_component,
        [DESC_OP_CAP] = check_cap,
        [DESC_OP_MAP] = check_map,
        [DESC_OP_VIEW] = check_view,
        [DESC_OP_MODULE] = check_module,
        [DESC_OP_NOTIFY] = check_notify,
        [DESC_OP_START] = check_start,
        [DESC_OP_CONNECTION] = check_connection,
    };
    bool of_system = r->op < DESC_OP_COMPONENT;
    bool inside = r->op > DESC_OP_COMPONENT && r->op < DESC_OP_CONNECTION;
    if (of_system != (r->component == DESC_SYSTEM))
        return DESC_BAD_COMPONENT;
    if (inside && (r->component >= w->components || !w->open[r->component]))
        return DESC_BAD_COMPONENT;
    return check[r->op](w, r);
}

static enum desc_why check_header(struct desc *d, size_t n)
{
    const struct desc_header *h = &d->header;
    if (h->magic != DESC_MAGIC)
        return DESC_BAD_MAGIC;
    if (h->version != DESC_VERSION)
        return DESC_BAD_VERSION;
    if (h->header_bytes != sizeof *h || h->bytes > n || h->bytes > BIT(30) || h->data_offset > h->bytes ||
        h->data_offset < sizeof *h || h->data_offset % 8 || h->data_bytes != h->bytes - h->data_offset)
        return DESC_BAD_SIZE;
    if (desc_crc32(0, d->base + sizeof *h, h->bytes - sizeof *h) != h->crc)
        return DESC_BAD_CRC;
    if (h->zero != 0)
        return DESC_BAD_RECORD;
    if (h->record_count > DESC_RECORDS_MAX || h->groups > DESC_GROUPS_MAX ||
        h->components > DESC_COMPONENTS_MAX)
        return DESC_BAD_COUNT;
    return name_ok(d, h->name) ? DESC_OK : DESC_BAD_STRING;
}

static enum desc_why check_records(struct walk *w)
{
    struct desc *d = w->d;
    uint32_t at = sizeof(struct desc_header);
    for (d->record = 0; d->record < d->header.record_count; d->record++) {
        uint32_t room = d->header.data_offset - at;
        const struct desc_record *r = (const void *)(d->base + at);
        if (room < sizeof *r)
            return DESC_BAD_SIZE;
        if (r->op == 0 || r->op >= DESC_OP_END || r->bytes != record_bytes[r->op] || r->zero != 0)
            return DESC_BAD_RECORD;
        if (r->bytes > room)
            return DESC_BAD_SIZE;
        enum desc_why why = check_record(w, r);
        if (why != DESC_OK)
            return why;
        at += r->bytes;
    }
    return at == d->header.data_offset ? DESC_OK : DESC_BAD_SIZE;
}

enum desc_why desc_open(struct desc *d, const void *bytes, size_t n)
{
    d->base = bytes;
    d->record = 0;
    if (n < sizeof d->header || (uintptr_t)bytes % 8)
        return DESC_BAD_SIZE;
    memcpy(&d->header, bytes, sizeof d->header);
    enum desc_why why = check_header(d, n);
    if (why != DESC_OK)
        return why;
    struct walk w = { .d = d, .first = (const void *)(d->base + sizeof d->header) };
    why = check_records(&w);
    if (why != DESC_OK)
        return why;
    if (w.groups != d->header.groups || w.components != d->header.components)
        return DESC_BAD_COUNT;
    for (uint32_t i = 0; i < w.components; i++)
        if (w.open[i])
            return DESC_BAD_COMPONENT;
    return DESC_OK;
}

const struct desc_record *desc_next(const struct desc *d, const struct desc_record *at)
{
    const uint8_t *next = at ? (const uint8_t *)following(at) : d->base + sizeof d->header;
    return next == d->base + d->header.data_offset ? NULL : (const void *)next;
}

const char *desc_name(const struct desc *d, uint32_t offset)
{
    return (const char *)d->base + d->header.data_offset + offset;
}

const void *desc_bytes(const struct desc *d, uint32_t offset)
{
    return d->base + d->header.data_offset + offset;
}

const struct desc_component *desc_component(const struct desc *d, uint32_t index)
{
    return (const void *)(d->base + d->component_offset[index]);
}
