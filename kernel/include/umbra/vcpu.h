/* SPDX-License-Identifier: BSD-2-Clause */
/* The exit ABI: exit page, reply page and reply operations of a vCPU (kernel-api.md, "vCPU").
 *
 * Exit codes are Umbra's own; no SVM number appears here. The exit page is written by the kernel only, the
 * reply page by the VMM only; the kernel reads each reply word once. A VMM never sees a host physical address
 * (I4). */
#ifndef UMBRA_VCPU_H
#define UMBRA_VCPU_H

#include <umbra/types.h>

/* General registers in encoding order (APM vol. 3, table 1-10). */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };

enum exit_kind {
    EXIT_NONE,
    EXIT_START,     /* first Recv of a vCPU: nothing ran yet */
    EXIT_PAGE,      /* #PF: info[0] address, info[1] error code */
    EXIT_EXCEPTION, /* info[0] vector, info[1] error code, or DR6 of a #DB; #DB #AC #DF #MC */
    EXIT_CPUID,
    EXIT_HLT,
    EXIT_IO,          /* info[0] EXIT_IO_*, info[1] RIP behind the instruction (0: not known) */
    EXIT_MSR,         /* info[0] 1 = write */
    EXIT_CR,          /* CR0 CR3 CR4 CR8, CLTS, LMSW: decode the instruction */
    EXIT_DR,          /* debug register: decode */
    EXIT_INVLPG,      /* decode; info[0] address where the processor gives it */
    EXIT_INSTRUCTION, /* info[0] INSN_*: another intercepted instruction */
    EXIT_WINDOW,      /* the guest can take an external interrupt now, as asked for */
    EXIT_EVENT,       /* the bound Notification was signalled: events */
    EXIT_SHUTDOWN,    /* triple fault or the like: register state as the processor left it */
    EXIT_ROOT,        /* there is no root of the current epoch: rebuild the shadow tables */
    EXIT_NPF,         /* nested page fault: info[0] gpa, info[1] error code; nested format only */
    EXIT_TASK_SWITCH,
    EXIT_INVALID, /* the processor refused the guest's state */
    EXIT_BROKEN,  /* the processor left a state that no VMM may continue: this guest ends */
    EXIT_KINDS
};

#define EXIT_KIND_NAMES                                                                                      \
    {                                                                                                        \
        "none", "start", "page", "exception", "cpuid", "hlt", "io", "msr", "cr", "dr", "invlpg",             \
            "instruction", "window", "event", "shutdown", "root", "npf", "task_switch", "invalid", "broken"  \
    }

enum {
    INSN_RDPMC = 1,
    INSN_INVD,
    INSN_WBINVD,
    INSN_MONITOR,
    INSN_MWAIT,
    INSN_XSETBV,
    INSN_SVM,
    INSN_RDTSCP,
    INSN_PUSHF,
    INSN_RSM,
    INSN_PAUSE,
    INSN_INVLPGA,
    INSN_RDPRU
};

#define EXIT_IO_IN       BIT(0)
#define EXIT_IO_STRING   BIT(2)
#define EXIT_IO_REP      BIT(3)
#define EXIT_IO_WIDTH(i) ((uint32_t)((i) >> 4 & 7)) /* 1, 2 or 4 bytes */
#define EXIT_IO_PORT(i)  ((uint32_t)((i) >> 16 & 0xffff))

/* An event: vector 0..7, type 8..10, error code valid 11, valid 31, error code 32..63 (as EVENTINJ, APM vol.
 * 2, 15.20; types 0 external interrupt, 2 NMI, 3 exception, 4 software interrupt). */
#define EVENT_VALID      BIT(31)
#define EVENT_HAS_ERROR  BIT(11)
#define EVENT_TYPE(e)    ((uint32_t)((e) >> 8 & 7))
#define EVENT_VECTOR(e)  ((uint32_t)((e)&0xff))
#define EVENT_MAKE(v, t) (EVENT_VALID | (uint64_t)(t) << 8 | (v))
enum { EVENT_INTERRUPT = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFTWARE = 4 };

enum segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_GDTR, SEG_LDTR, SEG_IDTR, SEG_TR, SEGS };

/* attributes: type 0..3, S 4, DPL 5..6, P 7, AVL 8, L 9, D/B 10, G 11 (APM vol. 2, 15.5.1: VMCB segment
 * format) */
struct umbra_segment {
    uint16_t selector, attributes;
    uint32_t limit;
    uint64_t base;
};

struct umbra_msrs {
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip;
};

/* State groups: which parts of the exit page are current, and which of the reply page are taken. RIP, RFLAGS,
 * GPRs, CR2, CPL, the interrupt shadow and CS but its base are in every exit; the others if the last reply
 * asked (want, but for exits of the kinds in spare) or by VCPU_SYNC. Segments' FS and GS bases live in their
 * umbra_segment. */
enum {
    STATE_GPRS = 1, /* reply: those of gpr_mask */
    STATE_RIP = 2,  /* RIP and the interrupt shadow */
    STATE_RFLAGS = 4,
    STATE_CR2 = 8,
    STATE_CONTROL =
        16, /* cr0 cr4 efer: what the guest believes; the kernel derives the processor's (platform table) */
    STATE_SEGMENTS = 32,
    STATE_MSRS = 64,
    STATE_DEBUG = 128, /* dr[0..3], dr6, dr7 */
    STATE_TSC = 256,   /* TSC offset */
    STATE_FPU =
        512, /* reply only: guest FPU state back to its reset values (APM vol. 2, table 14-1); XCR0 = 1 */
    STATE_RANDOM = 1024, /* exit page only: a new random word */
    STATE_ALL = 2047,
};

struct umbra_exit_page {
    uint32_t version; /* UMBRA_EXIT_VERSION */
    uint32_t kind;    /* EXIT_* */
    uint64_t seq;     /* 1, 2, ..; a pending exit is received again unchanged until answered (I7) */
    uint64_t info[3];
    uint64_t interrupted; /* an event whose delivery this exit broke off (EVENT_*), else 0 */
    uint64_t events;      /* EXIT_EVENT: the Notification's bits, taken */
    uint64_t epoch;  /* when the exit was delivered; the one field that a second delivery may find changed */
    uint64_t tsc;    /* host TSC at the exit: the VMM's only clock */
    uint64_t random; /* STATE_RANDOM: the VMM's only randomness */
    uint64_t
        cr3_loads;  /* since the last answer the kernel alone served so many loads of CR3 (OP_ROOT_LIST), */
    uint64_t cr3;   /* of which this was the last value; means nothing if there were none */
    uint32_t valid; /* STATE_* groups that are current */
    uint8_t cpl, shadow /* interrupt shadow */, ilen /* instruction length, 0 not known */, nbytes;
    uint8_t bytes[16]; /* nbytes instruction bytes where the processor gives them */
    uint64_t gpr[GPRS];
    uint64_t rip, rflags, cr2;
    uint64_t cr0, cr4, efer; /* STATE_CONTROL; guest-changed bits (CR0.TS never: it exits) merged in */
    uint64_t dr[4], dr6, dr7;
    uint64_t tsc_offset;
    struct umbra_segment seg[SEGS];
    struct umbra_msrs msrs;
};
#define UMBRA_EXIT_VERSION 3

/* Reply operations, a list of 64-bit words: word 0 = code 0..7, rights 8..15, index 16..31, table
 * (cptr) 32..63. */
enum reply_op {
    OP_SETUP = 1, /* table: index = SHADOW_FORMAT | level; it must not be linked; becomes empty */
    OP_LINK,      /* table, index, rights; word 1 = child table (cptr): non-leaf entry */
    OP_FILL,      /* table, index, rights; word 1 = gfn: leaf */
    OP_FILL_RUN,  /* table, index, rights; word 1 = gfn 0..47 | n 48..63: n leaves, gfn ascending */
    OP_DOWNGRADE, /* table, rights; words 1..8 = mask of 512 entries: leaf entries keep only these rights (0:
                     clear). index bit 0: they also lose D */
    OP_CLEAR,     /* table: all entries gone */
    OP_SET_ROOT,  /* table: the long or nested root. PAE: index = 0..3 which PDPT entry, table 0 = not present
                   */
    OP_ROOT_LIST, /* index = place 0..15, table (0: empty it); word 1 = the exact guest CR3 value at whose
                     load the kernel switches to this root by itself */
    OP_FLUSH,     /* the guest's TLB, before it runs again */
    OP_CODES
};
#define OP_W0(code, rights, index, table)                                                                    \
    ((uint64_t)(code) | (uint64_t)(rights) << 8 | (uint64_t)(index) << 16 | (uint64_t)(table) << 32)
#define OP_W1_RUN(gfn, n) ((uint64_t)(gfn) | (uint64_t)(n) << 48)

/* Rights of a shadow entry. The kernel intersects leaf rights with the GuestSpace's. */
enum {
    SH_READ = 1, /* present */
    SH_WRITE = 2,
    SH_USER = 4,
    SH_EXEC = 8,
    SH_DIRTY = 16, /* leaf: set D at once (else the processor sets it) */
    SH_LARGE = 32, /* leaf at level 2: 2 MB; the GuestSpace must hold a 2 MB frame there */
};

/* OP_SETUP index: format << 4 | level (1 = 4 KiB entries .. 4) */
enum { SHADOW_LONG = 0, SHADOW_PAE = 1, SHADOW_NESTED = 2 };
#define SHADOW_KIND(format, level) ((format) << 4 | (level))

/* Flags of a reply. */
enum {
    REPLY_PARK = 1,   /* do not run the guest until the bound Notification is signalled */
    REPLY_WINDOW = 2, /* exit with EXIT_WINDOW as soon as the guest can take an interrupt */
};

#define REPLY_OPS_MAX 320 /* words */
struct umbra_reply_page {
    uint64_t seq; /* the exit that is answered */
    uint32_t flags, groups;
    uint32_t want, spare; /* want: STATE_* groups to copy from now on at every exit but those of the kinds in
                             spare (1 << EXIT_*) */
    uint16_t gpr_mask, shadow; /* shadow: STATE_RIP: interrupt shadow 0 or 1 */
    uint32_t op_words;
    uint64_t event; /* EVENT_* to inject at entry, 0 none */
    uint64_t gpr[GPRS];
    uint64_t rip, rflags, cr2;
    uint64_t cr0, cr4, efer;
    uint64_t dr[4], dr6, dr7;
    uint64_t tsc_offset;
    struct umbra_segment seg[SEGS];
    struct umbra_msrs msrs;
    uint64_t ops[REPLY_OPS_MAX];
};
BUILD_ASSERT(sizeof(struct umbra_exit_page) <= PAGE_BYTES);
BUILD_ASSERT(sizeof(struct umbra_reply_page) <= PAGE_BYTES);

/* Answering fails with an error and, where an operation was refused, word 0 = its index in ops[]; operations
 * before it stand, nothing of the registers is applied, and the exit stays pending. */

/* The VM's public page: for servers that take work from its VMM. */
struct umbra_vm_public {
    uint64_t answered; /* sequence number of the last answered exit (I8) */
};

#endif
