/* SPDX-License-Identifier: BSD-2-Clause */
/* The layout of every kernel object. What they do is in obj/, one file a type.
 *
 * Slots inside objects (holder set) are capabilities like any other: revoking what they derive from empties
 * them and the object loses it (holder_lost). So no object points to another that could go away unseen. */
#ifndef KERNEL_OBJECTS_H
#define KERNEL_OBJECTS_H

#include "arch/arch.h"
#include "cap.h"

/* A moment at which something happens: node of the processor's deadline heap (deadline.c). */
struct deadline {
    uint64_t when;
    struct deadline *left, *right, *up;
    uint32_t rank;
    uint8_t kind, queued;
};
enum { DEADLINE_TIMER, DEADLINE_REFILL };

enum thread_state {
    THREAD_INACTIVE,
    THREAD_READY, /* running or in a ready queue, or waiting for budget */
    THREAD_GUEST, /* as READY, but what runs is the guest of vcpu */
    THREAD_SEND,
    THREAD_RECV,
    THREAD_REPLY, /* called, waits for the answer */
    THREAD_NOTIFICATION,
    THREAD_PARKED,  /* receives on a vCPU whose guest waits for an event */
    THREAD_FAULTED, /* a fault that nobody handles */
};

struct tcb {
    struct regs regs; /* first: entry.S; its end is 16-byte aligned */
    uint64_t fs_base, gs_base;
    uint64_t handler;                           /* Linux system calls */
    uint64_t fixup_start, fixup_bytes, landing; /* accessors: a page fault in them continues at landing */
    struct cap cspace, vspace, ipc_buffer, fault, sched, notification;
    struct cap dying;    /* no capability: CNodes that its calls have yet to empty (cap.c) */
    struct cap *slots;   /* of cspace, for the short paths: */
    uint32_t slot_count; /* 0 without one */
    struct umbra_ipc_buffer *buffer;
    struct tcb *next, *prev; /* the queue it is in */
    void *queue;             /* endpoint or notification it waits on */
    struct reply *reply;     /* RECV: will hold the caller; REPLY: holds this thread; else meaningless */
    struct vcpu *vcpu;       /* GUEST, PARKED */
    struct sched *sc;
    struct notification *bound;
    uint64_t badge; /* of the capability it sends with */
    uint8_t state, priority, queued, calling;
    uint8_t sent_rights; /* of the capability it sends or called with */
    uint8_t faulting;    /* waits, or would, for the answer to a fault */
    uint32_t fault_label;
    uint64_t fault_words[4];
    _Alignas(64) uint8_t fpu[FPU_BYTES];
};
BUILD_ASSERT(sizeof(struct tcb) <= 1 << BITS_TCB);
BUILD_ASSERT(sizeof(struct regs) % 16 == 0);

struct sched {
    struct deadline refill;
    struct tcb *tcb;
    uint64_t budget, period, remaining, period_start;
    uint64_t consumed, overrun;
    uint32_t ceiling;
};
BUILD_ASSERT(sizeof(struct sched) <= 1 << BITS_SCHED);

struct thread_queue {
    struct tcb *head, *tail;
};

struct endpoint {
    struct thread_queue queue; /* all SEND (and calls), or all RECV */
};
BUILD_ASSERT(sizeof(struct endpoint) <= 1 << BITS_ENDPOINT);

struct reply {
    struct tcb *caller;   /* waits for this answer */
    struct tcb *receiver; /* is in Recv with this object */
};
BUILD_ASSERT(sizeof(struct reply) <= 1 << BITS_REPLY);

struct notification {
    uint64_t bits;
    struct thread_queue queue;
    struct tcb *tcb;   /* bound: slot tcb->notification */
    struct vcpu *vcpu; /* bound: slot vcpu->notification */
};
BUILD_ASSERT(sizeof(struct notification) <= 1 << BITS_NOTIFICATION);

struct timer {
    struct deadline deadline;
    struct cap notification;
};
BUILD_ASSERT(sizeof(struct timer) <= 1 << BITS_TIMER);

/* The authority over a guest's memory: gfn -> frame, in the host's paging format (level 3 is the root: 512
 * GB). */
struct guestspace {
    uint64_t epoch; /* unique over all guest spaces and all time (I3) */
    _Alignas(PAGE_BYTES) uint64_t table[512];
};
BUILD_ASSERT(sizeof(struct guestspace) == 1 << BITS_GUESTSPACE);

struct vm {
    struct cap guestspace;
    struct guestspace *space; /* NULL: cannot run */
    struct vcpu *vcpus;       /* linked by next */
    uint64_t downgrades;
    bool nested; /* for life */
    _Alignas(PAGE_BYTES) struct umbra_vm_public public;
};
BUILD_ASSERT(sizeof(struct vm) == 1 << BITS_VM);

struct shadow_root {
    hpa_t table[4]; /* long, nested: [0]; PAE: the four PDPT entries, 0 = none */
    uint64_t epoch; /* 0: no root */
    struct {
        uint64_t asid, downgrades; /* svm.c; the VM's count at the last flush */
    } tlb;
    uint64_t format;
};
BUILD_ASSERT(sizeof(struct shadow_root) == 64); /* an index is a shift */

#define ROOT_LIST_MAX 16
#define NO_CR3        UINT64_MAX
#define VCPUS_MAX     64 /* of a VM: its loss of guest memory stops them all in one step */

enum {
    ODD_ENTRY = 1,  /* anything */
    ODD_EVENT = 2,  /* alone: an event that is no interrupt, or that it goes again */
    ODD_FORMAT = 4, /* as long as its root is not a long one */
};

struct vcpu {
    /* page 0: the kernel's */
    struct cap vm_slot, notification;
    struct vm *vm;
    struct vcpu *next;
    struct notification *bound;
    struct tcb *thread; /* that receives on it: GUEST or PARKED */
    uint64_t open;      /* exit.seq while the short path may answer it, else 0 */
    uint8_t pending;    /* an exit waits to be received or answered */
    uint8_t parked, window, started;
    uint8_t nested; /* as the VM is */
    union {
        struct {
            uint8_t odd; /* ODD_*: the next entry is not only registers */
            uint8_t force_flush;
        };
        uint16_t unusual;
    };
    uint32_t ops_done; /* words of the reply's operations that are done, while the answer is preempted */
    uint32_t want, spare;
    uint64_t event;          /* to be injected at the next entry */
    uint64_t virtual;        /* was, as a virtual interrupt, at the last odd one */
    uint64_t cr0, cr4, efer; /* what the guest believes */
    uint64_t format;         /* enum guest_format of a root that its mode can run on */
    uint64_t dr[4];
    struct shadow_root root;
    struct shadow_root list[ROOT_LIST_MAX];
    struct shadow_root former; /* the last root that was not listed: what it owes to the TLB; no link */
    uint64_t list_cr3[ROOT_LIST_MAX + 1]; /* of list[]; NO_CR3: empty. The last ends a search */
    uint64_t left;  /* the place on the list of the root before the present one, or any place */
    uint64_t place; /* of the root on the list, plus 1: its link is counted there; 0: it has its own */
    hpa_t vmcb_hpa;
    _Alignas(64) uint8_t fpu[FPU_BYTES];
    _Alignas(PAGE_BYTES) uint8_t vmcb[PAGE_BYTES];
    _Alignas(PAGE_BYTES) struct umbra_exit_page exit;
    _Alignas(PAGE_BYTES) struct umbra_reply_page reply;
};
BUILD_ASSERT(sizeof(struct vcpu) <= 1 << BITS_VCPU);

/* Metadata of a physical frame: what the kernel must know of memory that it handed out.
 *   META_GUEST:  owner = kind | guest space hfn << 4 | gfn << 32 | META_LARGE: mapped there, at no other
 * place (I6) META_SHADOW: owner = kind | VM hfn << 4 | level << 32 | format << 36 | flags | links << 48,
 * stamp = epoch META_VSPACE, META_GUESTSPACE: stamp = id of the space whose object begins here; META_GUEST:
 * of that guest space */
struct frame_meta {
    uint64_t owner, stamp;
};
enum { META_NONE, META_GUEST, META_SHADOW, META_VSPACE, META_GUESTSPACE, META_VM };
#define META_LARGE        BIT(63) /* 512 frames from here */
#define META_KIND(o)      ((unsigned)((o)&15))
#define META_HFN(o)       ((hfn_t){ (o) >> 4 & 0xfffffff })
#define META_GUEST_GFN(o) ((gfn_t){ (o) >> 32 & 0x7ffffff })
#define META_SHADOW_USED  BIT(39) /* was linked or a root in its epoch */
#define META_SHADOW_BLOCK(i)                                                                                 \
    BIT(40 + (i) / 64) /* entries 64k..64k + 63: one was written since they were cleared */
#define META_SHADOW_BLOCKS(o) ((o) >> 40 & 0xff)
#define META_SHADOW_LINK      BIT(48)
#define META_SHADOW_LINKS(o)  ((o) >> 48)
#define MEMORY_FRAMES_MAX     BIT(28) /* 1 TB */

extern struct frame_meta *frame_meta;
extern uint64_t frame_meta_count;
/* NULL for a frame that is not RAM. */
static inline struct frame_meta *meta_of(hpa_t a)
{
    return a.v >> PAGE_SHIFT < frame_meta_count ? &frame_meta[a.v >> PAGE_SHIFT] : NULL;
}
/* Ids and epochs come from one counter, so none is ever seen twice. */
uint64_t unique_number(void);

static inline void *cap_object(const struct cap *c)
{
    return phys((hpa_t){ c->obj });
}

/* The thread's CSpace has changed. */
static inline void tcb_set_slots(struct tcb *t)
{
    t->slots = cap_object(&t->cspace);
    t->slot_count = t->cspace.type == OBJ_CNODE ? 1u << t->cspace.bits : 0;
}

#endif
