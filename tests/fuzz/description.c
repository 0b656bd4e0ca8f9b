/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the reader of system descriptions, with the checksum made right so that what lies behind it is
 * reached.
 *
 * Oracles: nothing is read behind the description; what is accepted is so again, cut short is refused, has as
 * many records as it says, each of its own size and inside; names end, groups and components that records
 * name are there. */
// USES: lib/desc/*.c
#include "support/fuzz.h"

#include "check.h"
#include "lib/desc/desc.h"

#include <stdlib.h>
#include <string.h>

static struct desc once, twice;

static void mend(uint8_t *p, size_t n)
{
    struct desc_header h;

    memcpy(&h, p, sizeof(h));
    h.magic = DESC_MAGIC;
    h.version = DESC_VERSION;
    h.header_bytes = sizeof(h);
    h.bytes = n;
    h.crc = desc_crc32(0, p + sizeof(h), n - sizeof(h));
    memcpy(p, &h, sizeof(h));
}

static void check_name(uint32_t offset)
{
    CHECK_LT(offset, once.header.data_bytes);
    CHECK_LE(strnlen(desc_name(&once, offset), once.header.data_bytes - offset), DESC_NAME_MAX);
}

static void check_range(uint32_t group, uint32_t first, uint32_t count)
{
    if (group >= DESC_OWN_CNODE) /* the component's own: one each */
        return;
    CHECK_LT(group, once.header.groups);
    CHECK(first <= once.group[group].count && count <= once.group[group].count - first);
}

static void check_record(const struct desc_record *r)
{
    CHECK(r->component == DESC_SYSTEM || r->component < once.header.components);
    if (r->op == DESC_OP_CAP) {
        const struct desc_cap *c = (const void *)r;
        check_range(c->group, c->first, c->count);
    } else if (r->op == DESC_OP_MAP) {
        const struct desc_map *m = (const void *)r;
        check_range(m->group, m->first, m->count);
        CHECK(m->address >= DESC_LOW && m->address < DESC_HIGH && m->address % PAGE_BYTES == 0);
    } else if (r->op == DESC_OP_COMPONENT) {
        const struct desc_component *c = (const void *)r;
        check_name(c->name);
        check_name(c->module);
        CHECK(c->config <= once.header.data_bytes && c->config_bytes <= once.header.data_bytes - c->config);
        CHECK_LE(c->config_bytes, COMPONENT_CONFIG_MAX);
    } else if (r->op == DESC_OP_GUEST) {
        const struct desc_guest *g = (const void *)r;
        check_range(g->vm, 0, 1);
        check_range(g->vcpu, 0, 1);
        check_range(g->space, 0, 1);
        CHECK_LT(g->owner, once.header.components);
        check_name(g->name);
    } else if (r->op == DESC_OP_OBJECTS) {
        check_name(((const struct desc_objects *)(const void *)r)->name);
    }
}

static void check_all(const uint8_t *p, size_t n)
{
    uint32_t records = 0;

    for (const struct desc_record *r = desc_next(&once, NULL); r; r = desc_next(&once, r), records++) {
        CHECK((const uint8_t *)r >= p + sizeof(struct desc_header));
        CHECK((const uint8_t *)r + r->bytes <= p + once.header.data_offset);
        check_record(r);
    }
    CHECK_EQ(records, once.header.record_count);
    CHECK(once.header.bytes <= n && once.header.components <= DESC_COMPONENTS_MAX);
    for (uint32_t i = 0; i < once.header.components; i++)
        CHECK_EQ(desc_component(&once, i)->head.component, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 1)
        return 0;
    size_t n = size - 1;
    uint8_t *p = aligned_alloc(8, (n + 7) & ~(size_t)7);
    memcpy(p, bytes + 1, n);
    n = bytes[0] & 1 ? n : n & ~(size_t)7;
    uint8_t *exact = realloc(p, n ? n : 1);
    if (n >= sizeof(struct desc_header) && !(bytes[0] & 2))
        mend(exact, n);
    enum desc_why why = desc_open(&once, exact, n);
    CHECK_LT(why, DESC_WHYS);
    CHECK_EQ(desc_open(&twice, exact, n), why);
    if (why == DESC_OK) {
        check_all(exact, n);
        CHECK_NE(desc_open(&twice, exact, once.header.bytes - 1), DESC_OK);
    }
    free(exact);
    return 0;
}
