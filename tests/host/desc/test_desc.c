/* SPDX-License-Identifier: BSD-2-Clause */
/* The reader of system descriptions: a small good description, each refusal by one change of it, random bytes
 * and random changes with a mended checksum. That the compiler's output is read as meant: tests/idl. */
// USES: lib/desc/*.c
#include "check.h"
#include "lib/desc/desc.h"
#include <stdlib.h>
#include <string.h>

/* A description with one record of each op: one component, number 0. */
struct good {
    struct desc_header header;
    struct desc_objects endpoint, notification, timer, frames, vm, vcpu, space, shadow, untyped;
    struct desc_irq irq;
    struct desc_ioport ioport;
    struct desc_timer bind;
    struct desc_guest guest;
    struct desc_component component;
    struct desc_cap cap[3];
    struct desc_map map[2];
    struct desc_view view[2];
    struct desc_module module;
    struct desc_notify notify;
    struct desc_start start;
    struct desc_connection connection;
    char data[64];
};

enum {
    G_ENDPOINT,
    G_NOTIFICATION,
    G_TIMER,
    G_FRAMES,
    G_VM,
    G_VCPU,
    G_SPACE,
    G_SHADOW,
    G_UNTYPED,
    G_IRQ,
    G_IOPORT,
    GROUPS
};
enum { NAME = 0, CONFIG = 8 };

static struct desc opened;

static uint32_t crc_of(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

#define HEAD(code, type, owner)                                                                              \
    {                                                                                                        \
        .op = DESC_OP_##code, .bytes = sizeof(struct desc_##type), .component = (owner)                      \
    }

static struct desc_objects objects(uint32_t group, uint16_t type, uint16_t bits, uint32_t count)
{
    return (struct desc_objects){ HEAD(OBJECTS, objects, DESC_SYSTEM), group, type, bits, count, NAME };
}

static struct good make_good(void)
{
    struct good g = {
        .endpoint = objects(G_ENDPOINT, OBJ_ENDPOINT, 0, 1),
        .notification = objects(G_NOTIFICATION, OBJ_NOTIFICATION, 0, 1),
        .timer = objects(G_TIMER, OBJ_TIMER, 0, 1),
        .frames = objects(G_FRAMES, OBJ_FRAME, FRAME_4K, 4),
        .vm = objects(G_VM, OBJ_VM, 0, 1),
        .vcpu = objects(G_VCPU, OBJ_VCPU, 0, 1),
        .space = objects(G_SPACE, OBJ_GUESTSPACE, 0, 1),
        .shadow = objects(G_SHADOW, OBJ_SHADOW, 0, 16),
        .untyped = objects(G_UNTYPED, OBJ_UNTYPED, 24, 2),
        .irq = { HEAD(IRQ, irq, DESC_SYSTEM), G_IRQ, 4, G_NOTIFICATION, NAME, 1 },
        .ioport = { HEAD(IOPORT, ioport, DESC_SYSTEM), G_IOPORT, 0x3f8, 0x3ff, NAME, 0 },
        .bind = { HEAD(TIMER, timer, DESC_SYSTEM), G_TIMER, G_NOTIFICATION, 2 },
        .guest = { HEAD(GUEST, guest, DESC_SYSTEM), G_VM, G_VCPU, G_SPACE, G_SHADOW, G_NOTIFICATION, 0, 0,
                   NAME, 512, 0, 1, 0, 0, 4, 12, 0 },
        .component = { HEAD(COMPONENT, component, 0), NAME, NAME, 7, 100, DESC_CONTROL, 6, 65536, 16384,
                       65536, 1000, 10000, G_ENDPOINT, CONFIG, 16, 0, DESC_BADGE_FAULT },
        .cap = { { HEAD(CAP, cap, 0), 2, DESC_OWN_TCB, 0, 1, RIGHT_WRITE, 0, 0 },
                 { HEAD(CAP, cap, 0), 16, G_ENDPOINT, 0, 1, RIGHT_WRITE, 0, 65536 },
                 { HEAD(CAP, cap, 0), 20, G_SHADOW, 0, 16, RIGHT_WRITE, 0, 0 } },
        .map = { { HEAD(MAP, map, 0), G_FRAMES, 0, 2, RIGHT_READ, DESC_DATAPORT },
                 { HEAD(MAP, map, 0), G_FRAMES, 2, 2, RIGHT_READ | RIGHT_WRITE,
                   DESC_DATAPORT + 2 * PAGE_BYTES } },
        .view = { { HEAD(VIEW, view, 0), DESC_VIEW_WINDOW, G_SPACE, RIGHT_READ | RIGHT_WRITE, 0,
                    DESC_WINDOW },
                  { HEAD(VIEW, view, 0), DESC_VIEW_EXIT, G_VCPU, RIGHT_READ, 0, DESC_EXIT } },
        .module = { HEAD(MODULE, module, 0), DESC_MODULE_KERNEL, NAME, DESC_MODULE },
        .notify = { HEAD(NOTIFY, notify, 0), G_NOTIFICATION, 0 },
        .start = { HEAD(START, start, 0) },
        .connection = { HEAD(CONNECTION, connection, 0), DESC_CONNECT_CALL, DESC_SYSTEM, NAME, NAME, 65536 },
        .data = "name",
    };
    g.header = (struct desc_header){
        .magic = DESC_MAGIC,
        .version = DESC_VERSION,
        .header_bytes = sizeof(struct desc_header),
        .bytes = sizeof g,
        .record_count = 25,
        .data_offset = offsetof(struct good, data),
        .data_bytes = sizeof g.data,
        .components = 1,
        .groups = GROUPS,
    };
    return g;
}

/* What desc_open says to g with its checksum made right. */
static enum desc_why open_good(struct good *g)
{
    g->header.crc = crc_of(&g->endpoint, sizeof *g - sizeof g->header);
    return desc_open(&opened, g, sizeof *g);
}

TEST(desc_a_good_description_is_read_record_by_record)
{
    struct good g = make_good();
    CHECK_EQ(open_good(&g), DESC_OK);
    uint32_t n = 0;
    for (const struct desc_record *r = desc_next(&opened, NULL); r != NULL; r = desc_next(&opened, r))
        n++;
    CHECK_EQ(n, 25);
    CHECK_EQ(opened.group[G_SHADOW].count, 16);
    CHECK_EQ(opened.group[G_VCPU].bits, BITS_VCPU);
    CHECK_STR_EQ(desc_name(&opened, desc_component(&opened, 0)->name), "name");
}

TEST(desc_zero_filling_behind_the_description_is_ignored)
{
    struct good g[2] = { make_good() };
    g[0].header.crc = crc_of(&g[0].endpoint, sizeof g[0] - sizeof g[0].header);
    CHECK_EQ(desc_open(&opened, g, sizeof g), DESC_OK);
    CHECK_EQ(desc_open(&opened, g, sizeof g[0] - 1), DESC_BAD_SIZE);
}

/* One change of the good description and the refusal it must meet. */
#define REFUSED(change, why)                                                                                 \
    do {                                                                                                     \
        struct good g = make_good();                                                                         \
        change;                                                                                              \
        check_note("%s", #change);                                                                           \
        CHECK_EQ(open_good(&g), why);                                                                        \
    } while (0)

TEST(desc_header_is_checked)
{
    REFUSED(g.header.magic++, DESC_BAD_MAGIC);
    REFUSED(g.header.version++, DESC_BAD_VERSION);
    REFUSED(g.header.header_bytes -= 8, DESC_BAD_SIZE);
    REFUSED(g.header.bytes++, DESC_BAD_SIZE);
    REFUSED(g.header.bytes = 0, DESC_BAD_SIZE);
    REFUSED(g.header.bytes = UINT64_MAX, DESC_BAD_SIZE);
    REFUSED(g.header.data_offset += 8, DESC_BAD_SIZE);
    REFUSED(g.header.data_offset = 0, DESC_BAD_SIZE);
    REFUSED(g.header.data_bytes++, DESC_BAD_SIZE);
    REFUSED(g.header.zero = 1, DESC_BAD_RECORD);
    REFUSED(g.header.name = 64, DESC_BAD_STRING);
    REFUSED(g.header.record_count = DESC_RECORDS_MAX + 1, DESC_BAD_COUNT);
    REFUSED(g.header.record_count++, DESC_BAD_SIZE);
    REFUSED(g.header.record_count--, DESC_BAD_SIZE);
    REFUSED(g.header.groups++, DESC_BAD_COUNT);
    REFUSED(g.header.groups--, DESC_BAD_GROUP);
    REFUSED(g.header.groups = DESC_GROUPS_MAX + 1, DESC_BAD_COUNT);
    REFUSED(g.header.components = 2, DESC_BAD_COUNT);
    REFUSED(g.header.components = 0, DESC_BAD_COMPONENT);
    struct good g = make_good();
    CHECK_EQ(open_good(&g), DESC_OK);
    g.data[40]++;
    CHECK_EQ(desc_open(&opened, &g, sizeof g), DESC_BAD_CRC);
    CHECK_EQ(desc_open(&opened, &g, sizeof g.header - 1), DESC_BAD_SIZE);
    CHECK_EQ(desc_open(&opened, (char *)&g + 4, sizeof g - 4), DESC_BAD_SIZE);
}

TEST(desc_record_heads_are_checked)
{
    REFUSED(g.irq.head.op = 0, DESC_BAD_RECORD);
    REFUSED(g.irq.head.op = DESC_OP_END, DESC_BAD_RECORD);
    REFUSED(g.irq.head.bytes -= 8, DESC_BAD_RECORD);
    REFUSED(g.irq.head.zero = 1, DESC_BAD_RECORD);
    REFUSED(g.irq.head.component = 0, DESC_BAD_COMPONENT);
    REFUSED(g.cap[0].head.component = DESC_SYSTEM, DESC_BAD_COMPONENT);
    REFUSED(g.cap[0].head.component = 1, DESC_BAD_COMPONENT);
    REFUSED(g.component.head.component = 1, DESC_BAD_COMPONENT);
}

TEST(desc_system_records_are_checked)
{
    REFUSED(g.endpoint.group = 1, DESC_BAD_GROUP);
    REFUSED(g.endpoint.type = OBJ_TCB, DESC_BAD_VALUE);
    REFUSED(g.endpoint.type = OBJ_KERNEL, DESC_BAD_VALUE);
    REFUSED(g.endpoint.type = OBJ_TYPES, DESC_BAD_VALUE);
    REFUSED(g.endpoint.bits = 6, DESC_BAD_VALUE);
    REFUSED(g.frames.bits = 13, DESC_BAD_VALUE);
    REFUSED(g.untyped.bits = UNTYPED_BITS_MAX + 1, DESC_BAD_VALUE);
    REFUSED(g.frames.count = 0, DESC_BAD_VALUE);
    REFUSED(g.frames.count = 1u << 17, DESC_BAD_VALUE);
    REFUSED(g.frames.name = 64, DESC_BAD_STRING);
    REFUSED(g.frames.name = UINT32_MAX, DESC_BAD_STRING);
    REFUSED(g.irq.line = 16, DESC_BAD_VALUE);
    REFUSED(g.irq.badge = 0, DESC_BAD_VALUE);
    REFUSED(g.irq.notification = G_TIMER, DESC_BAD_GROUP);
    REFUSED(g.irq.notification = G_IRQ, DESC_BAD_GROUP);
    REFUSED(g.irq.group = G_IOPORT, DESC_BAD_GROUP);
    REFUSED(g.irq.name = 99, DESC_BAD_STRING);
    REFUSED(g.ioport.first = 0x400, DESC_BAD_VALUE);
    REFUSED(g.ioport.zero = 1, DESC_BAD_RECORD);
    REFUSED(g.ioport.name = 99, DESC_BAD_STRING);
    REFUSED(g.bind.timer = G_NOTIFICATION, DESC_BAD_GROUP);
    REFUSED(g.bind.notification = GROUPS, DESC_BAD_GROUP);
    REFUSED(g.bind.badge = 0, DESC_BAD_VALUE);
}

TEST(desc_guests_are_checked)
{
    REFUSED(g.guest.vm = G_VCPU, DESC_BAD_GROUP);
    REFUSED(g.guest.vcpu = G_VM, DESC_BAD_GROUP);
    REFUSED(g.guest.space = G_VM, DESC_BAD_GROUP);
    REFUSED(g.guest.shadow = G_VM, DESC_BAD_GROUP);
    REFUSED(g.guest.notification = G_VM, DESC_BAD_GROUP);
    REFUSED(g.guest.paging = 2, DESC_BAD_VALUE);
    REFUSED(g.guest.paging = DESC_PAGING_NESTED, DESC_BAD_VALUE); /* its VM is made for shadow tables */
    REFUSED(g.vm.bits = VM_PAGING_NESTED, DESC_BAD_VALUE);
    REFUSED(g.vm.bits = 2, DESC_BAD_VALUE);
    REFUSED(g.guest.pages = 0, DESC_BAD_VALUE);
    REFUSED(g.guest.pages = GUEST_FRAMES_MAX + 1, DESC_BAD_VALUE);
    REFUSED(g.guest.manager = 1, DESC_BAD_COMPONENT);
    REFUSED(g.guest.client = DESC_QUOTAS, DESC_BAD_VALUE);
    REFUSED(g.guest.spare = 2, DESC_BAD_VALUE);
    REFUSED((g.guest.spare = 1, g.guest.manager = DESC_NONE), DESC_BAD_VALUE);
    REFUSED((g.guest.spare = 1, g.guest.config_line_bytes = 0), DESC_BAD_VALUE);
    REFUSED(g.guest.config_pages = COMPONENT_CONFIG_MAX - 3, DESC_BAD_VALUE);
    REFUSED(g.guest.config_line = COMPONENT_CONFIG_MAX + 1, DESC_BAD_VALUE);
    REFUSED(g.guest.config_line_bytes = COMPONENT_CONFIG_MAX - 3, DESC_BAD_VALUE);
    REFUSED(g.guest.owner = 1, DESC_BAD_COMPONENT);
    REFUSED(g.guest.name = 99, DESC_BAD_STRING);
}

TEST(desc_components_are_checked)
{
    REFUSED(g.component.kind = 2, DESC_BAD_VALUE);
    REFUSED(g.component.cnode_bits = 4, DESC_BAD_VALUE);
    REFUSED(g.component.cnode_bits = CNODE_BITS_MAX + 1, DESC_BAD_VALUE);
    REFUSED(g.component.heap_bytes = 1, DESC_BAD_VALUE);
    REFUSED(g.component.heap_bytes = DESC_LOW, DESC_BAD_VALUE);
    REFUSED(g.component.stack_bytes = 0, DESC_BAD_VALUE);
    REFUSED(g.component.stack_bytes = 100, DESC_BAD_VALUE);
    REFUSED(g.component.image_bytes = BIT(31), DESC_BAD_VALUE);
    REFUSED(g.component.budget_us = 0, DESC_BAD_VALUE);
    REFUSED(g.component.budget_us = 10001, DESC_BAD_VALUE);
    REFUSED(g.component.period_us = UINT64_MAX, DESC_BAD_VALUE);
    REFUSED(g.component.zero = 1, DESC_BAD_RECORD);
    REFUSED(g.component.module = 70, DESC_BAD_STRING);
    REFUSED(g.component.name = 70, DESC_BAD_STRING);
    REFUSED(g.component.config = 65, DESC_BAD_STRING);
    REFUSED(g.component.config_bytes = 60, DESC_BAD_STRING);
    REFUSED(g.component.config_bytes = UINT32_MAX, DESC_BAD_STRING);
    REFUSED(g.component.fault = G_TIMER, DESC_BAD_GROUP);
    REFUSED(memset(g.data, 'x', sizeof g.data), DESC_BAD_STRING);
}

TEST(desc_capabilities_are_checked)
{
    REFUSED(g.cap[0].group = DESC_OWN_KERNEL + 1, DESC_BAD_GROUP);
    REFUSED(g.cap[0].count = 2, DESC_BAD_GROUP);
    REFUSED(g.cap[0].badge = 1, DESC_BAD_GROUP);
    REFUSED(g.cap[1].group = GROUPS, DESC_BAD_GROUP);
    REFUSED(g.cap[1].count = 0, DESC_BAD_GROUP);
    REFUSED(g.cap[2].count = 17, DESC_BAD_GROUP);
    REFUSED(g.cap[2].first = 1, DESC_BAD_GROUP);
    REFUSED(g.cap[2].first = UINT32_MAX, DESC_BAD_GROUP);
    REFUSED(g.cap[2].badge = 1, DESC_BAD_VALUE);
    REFUSED(g.cap[1].rights = 0, DESC_BAD_VALUE);
    REFUSED(g.cap[1].rights = 16, DESC_BAD_VALUE);
    REFUSED(g.cap[1].zero = 1, DESC_BAD_RECORD);
    REFUSED(g.cap[1].slot = 0, DESC_BAD_SLOT);
    REFUSED(g.cap[1].slot = 2, DESC_BAD_SLOT);
    REFUSED(g.cap[1].slot = 64, DESC_BAD_SLOT);
    REFUSED(g.cap[2].slot = 49, DESC_BAD_SLOT);
    REFUSED(g.cap[2].slot = 1, DESC_BAD_SLOT);
}

TEST(desc_mappings_are_checked)
{
    REFUSED(g.map[0].group = G_VM, DESC_BAD_GROUP);
    REFUSED(g.map[0].count = 5, DESC_BAD_GROUP);
    REFUSED(g.map[0].rights = RIGHT_WRITE, DESC_BAD_VALUE);
    REFUSED(g.map[0].rights = RIGHT_READ | RIGHT_EXEC, DESC_BAD_VALUE);
    REFUSED(g.map[0].address += 1, DESC_BAD_ADDRESS);
    REFUSED(g.map[0].address = DESC_LOW - PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.map[0].address = DESC_HIGH - PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.map[0].address = 0 - PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.map[1].address -= PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.view[0].kind = 4, DESC_BAD_VALUE);
    REFUSED(g.view[0].group = G_VM, DESC_BAD_GROUP);
    REFUSED(g.view[0].rights = RIGHT_READ, DESC_BAD_VALUE);
    REFUSED(g.view[1].rights = RIGHT_READ | RIGHT_WRITE, DESC_BAD_VALUE);
    REFUSED(g.view[1].zero = 1, DESC_BAD_RECORD);
    REFUSED(g.view[0].address += PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.view[1].address = DESC_WINDOW, DESC_BAD_ADDRESS);
    REFUSED(g.module.which = DESC_MODULE_KINDS, DESC_BAD_VALUE);
    REFUSED(g.module.name = 64, DESC_BAD_STRING);
    REFUSED(g.module.address += PAGE_BYTES, DESC_BAD_ADDRESS);
    REFUSED(g.module.address = DESC_DATAPORT, DESC_BAD_ADDRESS);
    REFUSED(g.notify.notification = G_VM, DESC_BAD_GROUP);
    REFUSED(g.notify.zero = 1, DESC_BAD_RECORD);
}

TEST(desc_connections_and_ends_are_checked)
{
    REFUSED(g.connection.head.component = 1, DESC_BAD_COMPONENT);
    REFUSED(g.connection.to = 1, DESC_BAD_COMPONENT);
    REFUSED(g.connection.kind = 3, DESC_BAD_VALUE);
    REFUSED(g.connection.from_port = 64, DESC_BAD_STRING);
    REFUSED(g.connection.to_port = 64, DESC_BAD_STRING);
    REFUSED(g.start.later = 2, DESC_BAD_VALUE);
    REFUSED(g.start.zero = 1, DESC_BAD_RECORD);
    /* started twice; never started (the place of START is taken by another op of its size) */
    REFUSED(g.start.head.component = 1, DESC_BAD_COMPONENT);
    struct good g = make_good();
    g.header.record_count = 23;
    memmove(&g.start, &g.data, sizeof g.data);
    g.header.data_offset = offsetof(struct good, start);
    g.header.data_bytes = (uint32_t)(sizeof g - offsetof(struct good, start));
    CHECK_EQ(open_good(&g), DESC_BAD_COMPONENT);
}

TEST(desc_random_bytes_are_refused)
{
    static uint64_t bytes[512];
    srand(1);
    for (int n = 0; n < 20000; n++) {
        size_t size = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < size / 8 + 1 && i < 512; i++)
            bytes[i] = (uint64_t)rand() << (rand() % 40);
        struct desc_header *h = (void *)bytes;
        if (n % 2) {
            *h = (struct desc_header){ DESC_MAGIC,
                                       DESC_VERSION,
                                       sizeof *h,
                                       size,
                                       0,
                                       (uint32_t)rand() % 50,
                                       sizeof *h + ((uint32_t)rand() % 64) * 8,
                                       0,
                                       4,
                                       50,
                                       0,
                                       0,
                                       0 };
            h->data_bytes = (uint32_t)(size - h->data_offset);
            h->crc = size > sizeof *h ? crc_of(h + 1, size - sizeof *h) : 0;
        }
        CHECK_NE(desc_open(&opened, bytes, size), DESC_OK);
    }
}

TEST(desc_random_changes_never_escape_the_description)
{
    srand(2);
    unsigned accepted = 0;
    for (int n = 0; n < 200000; n++) {
        struct good g = make_good();
        for (int i = rand() % 3; i >= 0; i--) {
            size_t at = sizeof g.header + (size_t)rand() % (sizeof g - sizeof g.header);
            ((uint8_t *)&g)[at] = rand() & 1 ? (uint8_t)rand() : (uint8_t)(1 << rand() % 8);
        }
        if (open_good(&g) != DESC_OK)
            continue;
        accepted++;
        for (const struct desc_record *r = desc_next(&opened, NULL); r != NULL; r = desc_next(&opened, r))
            CHECK_LE((const char *)r + r->bytes, g.data);
    }
    CHECK_LT(0, accepted);
}
