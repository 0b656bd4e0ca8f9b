/* SPDX-License-Identifier: BSD-2-Clause */
/* Object types, rights and methods: the words of every invocation (kernel-api.md has a section an object).
 *
 * A method is invoked by SYS_CALL on the object's capability with label = method and the words named behind
 * it; "slot" is an index into the CNode named before it, "cap" a cptr_t of the caller's CSpace. Results come
 * back as words. Every method needs RIGHT_WRITE unless said otherwise. */
#ifndef UMBRA_OBJECT_H
#define UMBRA_OBJECT_H

#include <umbra/syscall.h>

enum object_type {
    OBJ_NULL,
    OBJ_UNTYPED,
    OBJ_CNODE,
    OBJ_TCB,
    OBJ_SCHED,
    OBJ_ENDPOINT,
    OBJ_REPLY,
    OBJ_NOTIFICATION,
    OBJ_TIMER,
    OBJ_FRAME,
    OBJ_RANGE,
    OBJ_VSPACE,
    OBJ_PAGETABLE,
    OBJ_GUESTSPACE,
    OBJ_VM,
    OBJ_VCPU,
    OBJ_SHADOW,
    OBJ_VIEW,         /* derived from a GuestSpace, vCPU or VM by *_VIEW */
    OBJ_IRQ,          /* one interrupt line; made by IRQCONTROL_GET */
    OBJ_IRQCONTROL,   /* boot only: all lines */
    OBJ_IOPORT,       /* a range of I/O ports; narrowed by IOPORT_NARROW */
    OBJ_SCHEDCONTROL, /* boot only: the right to hand out processor time */
    OBJ_KERNEL,       /* boot only: log, dumps, counters */
    OBJ_TYPES
};

#define OBJECT_TYPE_NAMES                                                                                    \
    {                                                                                                        \
        "null", "untyped", "cnode", "tcb", "sched", "endpoint", "reply", "notification", "timer", "frame",   \
            "range", "vspace", "pagetable", "guestspace", "vm", "vcpu", "shadow", "view", "irq",             \
            "irqcontrol", "ioport", "schedcontrol", "kernel"                                                 \
    }

enum {
    RIGHT_READ = 1,  /* Endpoint, Notification: receive. Frame, View: map readable */
    RIGHT_WRITE = 2, /* Endpoint, Notification: send. Frame, View: map writable. Others: invoke */
    RIGHT_GRANT = 4, /* Endpoint: messages may carry capabilities */
    RIGHT_EXEC = 8,  /* Frame: map executable */
    RIGHT_ALL = 15,
};

/* Sizes in bits of the objects that have one size; Untyped, CNode, Frame and MemoryRange take theirs as
 * argument. */
enum {
    BITS_TCB = 11,
    BITS_SCHED = 7,
    BITS_ENDPOINT = 6,
    BITS_REPLY = 6,
    BITS_NOTIFICATION = 7,
    BITS_TIMER = 7,
    BITS_VSPACE = 12,
    BITS_PAGETABLE = 12,
    BITS_GUESTSPACE = 13,
    BITS_VM = 13,
    BITS_VCPU = 14,
    BITS_SHADOW = 12,
    BITS_SLOT = 6, /* one slot of a CNode */
    CNODE_BITS_MAX = 16,
    UNTYPED_BITS_MIN = 6,
    UNTYPED_BITS_MAX = 38,
    FRAME_4K = 12,
    FRAME_2M = 21,
    RANGE_BITS_MAX = 30,
    RETYPE_MAX = 256, /* objects a call */
    DERIVE_DEPTH_MAX = 64,
};

enum {
    /* type, size in bits (0 where fixed; of a VM VM_PAGING_*), CNode cap, first slot, count. The new
     * capabilities are children of the Untyped; a part that has no children left is reused only when the
     * whole Untyped has none. */
    UNTYPED_RETYPE = 1,

    CNODE_COPY = 1, /* dest slot, source cap, rights: derive a child of the source */
    CNODE_MINT,     /* dest slot, source cap, rights, badge: as COPY; Endpoint and Notification take a badge
                       (once) */
    CNODE_MOVE,     /* dest slot, source cap: it must have no children */
    CNODE_DELETE,   /* slot: everything derived from it goes first; deleting the original ends the object */
    CNODE_REVOKE,   /* slot: everything derived from it */

    TCB_CONFIGURE = 1, /* CSpace CNode cap, VSpace cap, IPC buffer frame cap or 0, fault Endpoint cap or 0 */
    TCB_SET_SCHED,     /* SchedContext cap, priority 0..255 */
    TCB_WRITE_REGS,    /* RIP, RSP, RDI, RSI, RFLAGS (condition flags only), FS base */
    TCB_READ_REGS,     /* -> RIP, RSP, RFLAGS, FS base, RAX, RBX .. R15 in encoding order from word 4 */
    TCB_RESUME,        /* start or continue */
    TCB_SUSPEND,       /* stop; a wait in progress ends as if never begun and is repeated on RESUME */
    TCB_BIND_NOTIFICATION, /* Notification cap: its signals also end this thread's Recv on an Endpoint; 0
                              unbinds */
    TCB_SET_HANDLER,       /* address of the handler for Linux system calls, 0 none */
    TCB_SET_TLS,           /* FS base */
    TCB_SET_FIXUP, /* start, bytes, landing: a page fault at an instruction in there continues at landing */

    SCHED_CONFIGURE =
        1,          /* SchedControl cap, budget, period (TSC ticks; budget <= period), priority ceiling */
    SCHED_CONSUMED, /* -> ticks consumed since the last call */

    TIMER_SET = 1, /* deadline (TSC); replaces an earlier one */
    TIMER_CANCEL,
    TIMER_BIND, /* Notification cap; its badge is signalled at the deadline */

    FRAME_MAP = 1, /* VSpace cap, address, rights: narrowed by the capability's */
    FRAME_UNMAP,

    PAGETABLE_MAP = 1, /* VSpace or GuestSpace cap, address, level 1..3 of the table's own entries */
    PAGETABLE_UNMAP,

    GUESTSPACE_CHANGE = 1, /* records of two words, see CHANGE_*; at most CHANGE_PAGES_MAX pages in all.
                              -> number of records done */
    GUESTSPACE_VIEW, /* slot of the caller's root CNode, rights: a View of all memory, to map at 512 GB bounds
                      */
    GUESTSPACE_HARVEST, /* first gfn, words n <= 60: read and clear D bits -> n words of 64 pages each */

    VM_PAGING_SHADOW = 0, /* for life: shadow tables of long and PAE format, */
    VM_PAGING_NESTED,     /* or of nested format, which lead from gfn to frame */

    VM_BIND = 1, /* GuestSpace cap */
    VM_STATUS,   /* -> epoch, downgrades, last answered exit of vCPU 0 */
    VM_VIEW,     /* slot: a read-only View of the VM's public page */
    VM_RENEW,    /* a new epoch: whoever serves the VM next begins without shadow tables. -> epoch */

    VCPU_BIND = 1,          /* VM cap */
    VCPU_BIND_NOTIFICATION, /* Notification cap or 0 */
    VCPU_VIEW,              /* slot, 0 exit page (read-only) or 1 reply page */
    VCPU_SYNC,              /* mask of STATE_*: copy these groups of the pending exit into the exit page */

    SHADOW_BIND = 1,  /* VM cap */
    SHADOW_READ_BITS, /* first entry, count <= 60 -> a word an entry: PTE flags, no addresses */

    VIEW_MAP = 1, /* VSpace cap, address */
    VIEW_UNMAP,

    IRQCONTROL_GET = 1, /* line 0..15, slot of the caller's root CNode */
    IRQ_BIND = 1,       /* Notification cap */
    IRQ_ACK,            /* let the line interrupt again */

    IOPORT_IN = 1, /* port, width 1 2 4 -> value */
    IOPORT_OUT,    /* port, width, value */
    IOPORT_NARROW, /* slot of the caller's root CNode, first port, last port: a derived capability */

    KERNEL_LOG = 1,  /* bytes n <= 480, words: text for the kernel's log */
    KERNEL_DUMP,     /* cap: the object's dump goes to the log */
    KERNEL_COUNTERS, /* -> the counters of enum counter */
    KERNEL_FRAMES, /* GuestSpace cap, first gfn, n <= 60 -> host frame number or -1 each; for audits and tests
                    */
    KERNEL_ERRORS, /* log which (object, method, error) were returned; debug builds */
    KERNEL_AUDIT,  /* vCPU cap -> violations of I1, I2, I6 (each a line in the log), shadow tables of this
                      epoch, links  counted in them, links found in entries and in this vCPU's roots,
                      present entries looked at */
    KERNEL_STRETCHES, /* KERNEL_STRETCHES_* -> ticks of the longest stretch that nothing preempted, its kind
                         (kernel/stretch.h), when the timer's last interrupt came in; 0 in release builds */
    KERNEL_TLB,       /* -> what the TLB model counted, enum tlb_count; 0 in release builds */
    KERNEL_GRAPH,     /* 0 begin, 1 go on: some lines in the log of all capabilities there are -> 1: more of
                         them; debug builds */
    KERNEL_SPACE,     /* VSpace or GuestSpace cap, address: some lines in the log of the entries from there on
                         -> address to go on at, or -1; debug builds */
};

/* GUESTSPACE_CHANGE: word 0 = range cap 0..31, operation 32..35, rights 36..39, pages 40..63;
 * word 1 = gfn 0..31, offset in the range in pages 32..63. With 2M pages gfn and offset are multiples of 512.
 */
enum { CHANGE_MAP = 1, CHANGE_UNMAP, CHANGE_PROTECT, CHANGE_MAP_2M };
#define CHANGE_PAGES_MAX 512u
#define CHANGE_W0(range, op, rights, pages)                                                                  \
    ((uint64_t)(range) | (uint64_t)(op) << 32 | (uint64_t)(rights) << 36 | (uint64_t)(pages) << 40)
#define CHANGE_W1(gfn, offset) ((uint64_t)(gfn) | (uint64_t)(offset) << 32)
#define GUEST_FRAMES_MAX       BIT(27) /* 512 GB */

enum { KERNEL_STRETCHES_LOG = 1, KERNEL_STRETCHES_FORGET = 2 };

enum counter {
    COUNT_SYSCALLS,
    COUNT_EXITS,      /* world switches */
    COUNT_EXITS_SENT, /* exits that reached a VMM */
    COUNT_CR3_LOADS,  /* host address space switches */
    COUNT_FPU_SWITCHES,
    COUNT_INTERRUPTS,
    COUNT_EPOCHS,
    COUNT_FLUSHES,    /* guest entries with a TLB flush */
    COUNT_SWITCHES,   /* thread switches */
    COUNT_CR3_SERVED, /* loads of a guest's CR3 that no VMM heard of */
    COUNT_KERNEL_MAX
};

/* Of the software TLB model (kernel/softtlb.h). */
enum tlb_count {
    TLB_ENTRIES,  /* guest entries that were judged */
    TLB_LOSSES,   /* changes that left less of a shadow entry, or of a table's */
    TLB_BEGUN,    /* entries on an ASID that held nothing: */
    TLB_EMPTIED,  /* by a flush of all of them */
    TLB_OWED,     /* the same root had another one, and its VM's tables lost something since */
    TLB_NEEDLESS, /* the same, and they had lost nothing */
    TLB_SAMPLED,  /* of the owed ones, looked at closely: */
    TLB_SPARED,   /* the root reached nothing of what was lost */
    TLB_COUNTS
};

/* User addresses end a page below the canonical hole. */
#define USER_END 0x7ffffffff000ul

#endif
