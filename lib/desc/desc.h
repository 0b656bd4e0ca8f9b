/* SPDX-License-Identifier: BSD-2-Clause */
/* The system description: what init executes, as the interface compiler writes it (idl/umbra_idl/desc.py).
 *
 * A little-endian binary: header, records, data area (strings, configuration). Records stand in the order in
 * which they are executed; desc_open refuses anything that is not well-formed, so whoever walks the records
 * afterwards needs no further checks. Records whose head.component is DESC_SYSTEM make objects that live as
 * long as the system (they belong to init); the others build one component and are executed again to rebuild
 * it. The values of this file are read by the compiler, too: they stand here only. */
#ifndef LIB_DESC_H
#define LIB_DESC_H

#include <umbra/object.h>

#define DESC_MAGIC          0x3143534544424d55ul /* "UMBDESC1" */
#define DESC_VERSION        2
#define DESC_GROUPS_MAX     1024
#define DESC_COMPONENTS_MAX 64
#define DESC_RECORDS_MAX    8192
#define DESC_SYSTEM         0xffff
#define DESC_NONE           0xffffffff
#define DESC_NAME_MAX       31

/* Fixed slots of every component's CNode; a slot that the component was not granted is empty. */
enum {
    DESC_SLOT_CNODE = 1,
    DESC_SLOT_TCB = 2,
    DESC_SLOT_ENDPOINT = 4,
    DESC_SLOT_REPLY = 5,
    DESC_SLOT_NOTIFICATION = 6,
    DESC_SLOT_LOG = 7, /* the kernel object: only where the description says "kernel log" */
    DESC_SLOT_VCPU = 8,
    DESC_SLOT_RECEIVE = 12, /* MSG_CAPS_MAX slots */
    DESC_SLOT_FIRST = 16,   /* ports and hardware, then free slots, then shadow tables */
};

/* The address space of a component. The ELF image lies below DESC_HEAP; what records map lies from DESC_LOW
 * to DESC_HIGH; stack, information page and IPC buffer as for the root task (umbra/bootinfo.h). */
#define DESC_HEAP          0x100000000000
#define DESC_LOW           0x400000000000
#define DESC_WINDOW        0x400000000000 /* guest memory; 512 GB bound */
#define DESC_WINDOW_STEP   0x8000000000   /* of a component with several windows */
#define DESC_DATAPORT      0x600000000000
#define DESC_SEGMENT       0x610000000000
#define DESC_MODULE        0x620000000000 /* each module has DESC_MODULE_STEP */
#define DESC_EXIT          0x630000000000
#define DESC_REPLY         0x630000002000
#define DESC_OBSERVED      0x640000000000 /* public pages, DESC_OBSERVED_STEP apart */
#define DESC_HIGH          0x700000000000
#define DESC_MODULE_STEP   0x100000000
#define DESC_OBSERVED_STEP 0x2000
#define DESC_MODULE_KINDS  2
#define DESC_QUOTAS        48 /* clients of a server that hands out guests' memory */

/* Badges on init's endpoint: a fault of component i, or a client (the low 32 bits) of a provided interface.
 */
#define DESC_BADGE_FAULT 0x8000000000000000ul
/* badge of a client: number of the provided interface + 1 in bits 16..31, number of the client in 0..15 */
#define DESC_BADGE_PORT(b)   ((uint32_t)((b) >> 16 & 0xffff) - 1)
#define DESC_BADGE_CLIENT(b) ((uint32_t)((b)&0xffff))

/* Event bits that no description gives: init signals them to the guest of a component. LOOK: nothing has
 * happened, but there is an exit. HANG: in debug builds its VMM spins over this one. AUDIT: it compares its
 * shadow tables with the guest's. */
#define DESC_EVENTS      61
#define DESC_EVENT_AUDIT 0x2000000000000000ul
#define DESC_EVENT_HANG  0x4000000000000000ul
#define DESC_EVENT_LOOK  0x8000000000000000ul

enum desc_op {
    DESC_OP_OBJECTS = 1, /* retype */
    DESC_OP_IRQ,         /* IRQCONTROL_GET, IRQ_BIND */
    DESC_OP_IOPORT,      /* IOPORT_NARROW */
    DESC_OP_TIMER,       /* TIMER_BIND */
    DESC_OP_GUEST,       /* VM_BIND, VCPU_BIND, VCPU_BIND_NOTIFICATION, SHADOW_BIND of each table */
    DESC_OP_COMPONENT,   /* CNode, VSpace, TCB, SchedContext, IPC buffer, stack, heap, information page, ELF
                            image */
    DESC_OP_CAP,         /* CNODE_MINT, or COPY where badge is 0 */
    DESC_OP_MAP,         /* FRAME_MAP of a copy of each frame */
    DESC_OP_VIEW,        /* *_VIEW and VIEW_MAP */
    DESC_OP_MODULE, /* maps a boot module read-only; address and size go into the information page; without a
                       name: what a created guest is given */
    DESC_OP_NOTIFY, /* TCB_BIND_NOTIFICATION */
    DESC_OP_START,  /* TCB_RESUME */
    DESC_OP_CONNECTION, /* says who is connected to whom; nothing to do */
    DESC_OP_END
};

struct desc_header {
    uint64_t magic;
    uint32_t version, header_bytes;
    uint64_t bytes;        /* of the whole description */
    uint32_t crc;          /* CRC-32 (IEEE 802.3) of what follows the header */
    uint32_t record_count; /* records lie from header_bytes to data_offset */
    uint32_t data_offset, data_bytes;
    uint32_t components, groups;
    uint64_t memory_bytes; /* what all objects and components need together */
    uint32_t name, zero;
};

struct desc_record {
    uint16_t op, bytes; /* bytes of this record, head included: fixed for each op */
    uint16_t component; /* index, or DESC_SYSTEM */
    uint16_t zero;
};

/* Names and configuration are offsets into the data area; names end with 0. */

/* A group is a run of equal objects; groups are numbered from 0 in the order of their records. */
struct desc_objects {
    struct desc_record head;
    uint32_t group;
    uint16_t type, bits; /* enum object_type; bits 0 where the type has one size */
    uint32_t count, name;
};

struct desc_irq { /* makes a group of one OBJ_IRQ */
    struct desc_record head;
    uint32_t group, line, notification, name;
    uint64_t badge;
};

struct desc_ioport { /* makes a group of one OBJ_IOPORT */
    struct desc_record head;
    uint32_t group;
    uint16_t first, last;
    uint32_t name, zero;
};

struct desc_timer {
    struct desc_record head;
    uint32_t timer, notification;
    uint64_t badge;
};

enum { DESC_PAGING_SHADOW = VM_PAGING_SHADOW, DESC_PAGING_NESTED = VM_PAGING_NESTED };
struct desc_guest {
    struct desc_record head;
    uint32_t vm, vcpu, space, shadow; /* groups */
    uint32_t notification, paging;
    uint32_t owner, name; /* the component that runs it */
    uint64_t pages;       /* guest memory, 4 KiB; of a spare one the most that it may have */
    uint32_t manager,
        client;     /* the server that hands out its memory, DESC_NONE: none, and its number there */
    uint32_t spare; /* 1: a place for guests that are created at run time; it is not built at boot */
    uint32_t config_pages, config_line,
        config_line_bytes; /* in the owner's configuration: memory, command line */
    uint64_t spare_pages;  /* what all spare guests of that manager may have together */
};

enum { DESC_SERVER, DESC_CONTROL };
struct desc_component {
    struct desc_record head;
    uint32_t name, module; /* module: file name of the ELF image among the boot modules */
    uint32_t identity;     /* of the component's generated header; the image carries the same */
    uint8_t priority, kind;
    uint16_t cnode_bits;
    uint64_t heap_bytes, stack_bytes, image_bytes, budget_us, period_us;
    uint32_t fault; /* group of the endpoint for faults */
    uint32_t config, config_bytes, zero;
    uint64_t fault_badge;
};

/* Groups that are not made by a record but stand for the component's own objects. */
enum { DESC_OWN_CNODE = 0x7ffffff0, DESC_OWN_TCB, DESC_OWN_KERNEL };
struct desc_cap {
    struct desc_record head;
    uint32_t slot, group, first, count; /* objects first .. of the group go to slots slot .. */
    uint32_t rights, zero;
    uint64_t badge;
};

struct desc_map {
    struct desc_record head;
    uint32_t group, first, count, rights;
    uint64_t address;
};

enum desc_view_kind { DESC_VIEW_WINDOW, DESC_VIEW_EXIT, DESC_VIEW_REPLY, DESC_VIEW_PUBLIC };
struct desc_view {
    struct desc_record head;
    uint32_t kind, group, rights, zero;
    uint64_t address;
};

enum { DESC_MODULE_KERNEL, DESC_MODULE_INITRD };
struct desc_module {
    struct desc_record head;
    uint32_t which, name;
    uint64_t address;
};

struct desc_notify {
    struct desc_record head;
    uint32_t notification, zero;
};

struct desc_start {
    struct desc_record head;
    uint32_t later, zero; /* later: 1: only when it is asked for */
};

enum { DESC_CONNECT_CALL, DESC_CONNECT_EVENT, DESC_CONNECT_DATAPORT };
struct desc_connection { /* from head.component to `to` */
    struct desc_record head;
    uint32_t kind, to, from_port, to_port;
    uint64_t badge;
};

/* The information page of a component, read-only at BOOT_INFO_ADDRESS; init writes it. The generated header
 * has the configuration's struct and the identity to compare with. */
#define COMPONENT_INFO_MAGIC 0x32464e4942524d55ul /* "UMRBINF2" */
struct component_info {
    uint64_t magic;
    uint32_t identity, index;
    uint32_t incarnation; /* 0, 1, ..: rebuilt after a crash */
    uint32_t debug;
    char name[DESC_NAME_MAX + 1];
    uint64_t tsc_hz;
    uint64_t seed; /* of the kernel's command line (seed=N), 0: not there */
    uint64_t heap_address, heap_bytes, stack_bytes;
    struct {
        uint64_t address, bytes; /* 0, 0: not there */
    } module[DESC_MODULE_KINDS];
    /* Registers of the incarnation before this one when it died; a guest's component gets none. */
    struct {
        uint64_t rip, rdx;
    } left;
    uint32_t quota[DESC_QUOTAS]; /* of a server that hands out memory: pages that client i may have now */
    uint64_t stopped_at; /* the TSC when init last stopped the guest, 0: never (servers/init/restart.c) */
    uint64_t config_bytes;
    uint8_t config[];
};
#define COMPONENT_CONFIG_MAX 3072

/* How the segment of a server that hands out guests' memory begins: init reads it. */
struct manager_state {
    uint64_t done;                /* grows with what it does */
    uint64_t turns;               /* grows when it waits for the next message: below is what is so by then */
    uint32_t mapped[DESC_QUOTAS]; /* pages that client i's guest has */
};

/* Why a description was refused. */
enum desc_why {
    DESC_OK,
    DESC_BAD_SIZE, /* too short, or lengths that do not add up */
    DESC_BAD_MAGIC,
    DESC_BAD_VERSION,
    DESC_BAD_CRC,
    DESC_BAD_RECORD,    /* unknown op, wrong length, a field that must be 0 is not */
    DESC_BAD_COUNT,     /* more or fewer records, groups or components than announced or allowed */
    DESC_BAD_STRING,    /* a name outside the data area, without an end, or too long */
    DESC_BAD_GROUP,     /* a group that is not made yet, of the wrong type, or too small */
    DESC_BAD_COMPONENT, /* a component that is not open, or a record of the wrong owner */
    DESC_BAD_SLOT,      /* a slot outside the CNode, or used twice */
    DESC_BAD_ADDRESS,   /* unaligned, outside the range, or overlapping */
    DESC_BAD_VALUE,     /* a type, right, priority, budget, line, port or size outside its range */
    DESC_WHYS
};
#define DESC_WHY_NAMES                                                                                       \
    {                                                                                                        \
        "ok", "bad size", "bad magic", "bad version", "bad checksum", "bad record", "bad count",             \
            "bad string", "bad group", "bad component", "bad slot", "bad address", "bad value"               \
    }

struct desc_group {
    uint16_t type, bits;
    uint32_t count;
};

struct desc {
    const uint8_t *base;
    struct desc_header header;
    uint32_t record; /* after a refusal: number of the record at fault */
    struct desc_group group[DESC_GROUPS_MAX];
    uint32_t component_offset[DESC_COMPONENTS_MAX]; /* of their COMPONENT records */
};

/* desc_open - check a whole description and prepare *d for reading it.
 *   bytes   8-byte aligned, not changed while *d is in use; n may exceed the description's size (zero
 * filling) Returns DESC_OK, or why it is refused (d->record says where); nothing of *d but record is to be
 * used then. */
enum desc_why desc_open(struct desc *d, const void *bytes, size_t n);

/* desc_next - the record behind `at` (NULL: the first); NULL after the last. Only after DESC_OK. */
const struct desc_record *desc_next(const struct desc *d, const struct desc_record *at);

/* The name at an offset, the bytes at an offset, component i's record. Only after DESC_OK, with checked
 * values. */
const char *desc_name(const struct desc *d, uint32_t offset);
const void *desc_bytes(const struct desc *d, uint32_t offset);
const struct desc_component *desc_component(const struct desc *d, uint32_t index);

/* The checksum of bytes behind others whose checksum is `before` (0: none). */
uint32_t desc_crc32(uint32_t before, const uint8_t *p, uint64_t n);

/* Size in bits of an object of this type; bits: of types that have no size of their own. */
uint32_t desc_object_bits(uint32_t type, uint32_t bits);

#endif
