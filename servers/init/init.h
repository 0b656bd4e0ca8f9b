/* SPDX-License-Identifier: BSD-2-Clause */
/* init's state and what its files do for each other.
 *
 * memory.c hands out slots and untyped memory, space.c maps, image.c reads ELF files, build.c executes the
 * description, supervise.c waits for what happens then, watch.c finds a VMM that hangs, timed.c stops one at
 * a tick for a test, share.c divides processor time (turn.c says how), restart.c replaces one under its
 * guest, report.c says what a dead one leaves, manage.c does what the management channel asks, upgrade.c
 * keeps programs that came by it, create.c makes guests that no description names, rings.c keeps what a guest
 * said last, audit.c looks at the kernel's tables, graph.c shows all of them. One record of the description
 * is one step; whatever fails names the step and ends the machine (fail()). Nothing is taken back on that
 * path. */
#ifndef SERVERS_INIT_INIT_H
#define SERVERS_INIT_INIT_H

#include "desc/desc.h"
#include "idl/transport.h"
#include "supervisor_types.h"
#include "sys/sys.h"
#include <umbra/bootinfo.h>

/* Written to the debug-exit port; build.py knows them. */
enum {
    END_CLEAN = 0x10,        /* every guest powered off, reset or was done */
    END_GUEST_FAILED = 0x11, /* every guest has ended, at least one otherwise */
    END_SYSTEM_FAILED = 0x12 /* the system could not be built, or a server died */
};

/* Where init maps what it works on; page tables are made when needed. */
#define INIT_SCRATCH  0x200000000000ul /* one page */
#define INIT_MODULES  0x210000000000ul /* each module has DESC_MODULE_STEP */
#define INIT_INFO     0x220000000000ul /* the components' information pages */
#define INIT_EXITS    0x230000000000ul /* the exit pages of guests whose VMM is watched */
#define INIT_STATES   0x240000000000ul /* the beginnings of their state segments */
#define INIT_IMAGES   0x250000000000ul /* programs that came by the management channel, 2 MB each */
#define INIT_RINGS    0x260000000000ul /* the consoles of guests, INIT_RINGS_STEP each */
#define INIT_HEAP     (2ul << 20)
#define INIT_PRIORITY 255u /* as the kernel starts it */
/* In the badges of faults and calls: of the incarnation in process[1]. */
#define INIT_BADGE_OTHER BIT(32)
/* Bits of the notification that init waits on with its endpoint. */
#define SIGNAL_WATCH   1u
#define SIGNAL_STOP    2u
#define SIGNAL_LATER   4u
#define SIGNAL_RECLAIM 8u

/* Memory that one untyped capability has left, as the kernel counts it. */
struct pool {
    cptr_t cap;
    uint64_t bytes, used;
    bool is_gap; /* made of another pool's memory */
};

/* Capabilities one after the other: in the root CNode (sub 0), or in the CNode in root slot sub. */
struct slots {
    cptr_t sub;
    uint32_t next, end;
};

/* Where the pages and tables of an address space come from, and their capabilities go. */
struct space {
    cptr_t vspace;
    struct pool *pool; /* NULL: boot memory */
    struct slots *slots;
    cptr_t spare; /* a page table that is not mapped yet */
};

/* Objects of one record: capability i is first + i, or lies in a CNode of its own. */
struct group {
    cptr_t cap;
    uint32_t count;
    bool sub;
    struct pool pool; /* of a vCPU: memory of its own, so that it can be made anew */
};

enum process_state {
    PROCESS_NONE,
    PROCESS_BUILT,
    PROCESS_STARTED,
    PROCESS_WAITING, /* has set itself up and stands still until it shall take over */
    PROCESS_READY,
    PROCESS_GONE /* died; its memory is still to be taken back */
};

/* An ELF file that components are built from. */
struct image {
    const uint8_t *file; /* NULL: the boot module that the description names */
    uint64_t bytes;
};

/* One incarnation of a component. All of it, capabilities included, is made of quota and goes with it. */
struct process {
    struct pool quota;  /* cap 0: not yet */
    struct slots slots; /* what init holds for it: frames, tables, views, objects */
    cptr_t slots_place; /* root slot of the CNode of `slots`, 0: not yet */
    struct space space;
    cptr_t stack;                /* the first of its stack's frames */
    cptr_t cnode, tcb, sched;    /* sched: what it sets itself up on, or falls back to */
    struct component_info *info; /* init's mapping of its information page */
    cptr_t info_frame;
    enum process_state state;
    struct image image; /* it is built from this */
    char program[48];   /* what it calls itself */
    cptr_t reply;       /* holds its call while it waits; 0: it never did */
};

/* Deaths at a tick, in debug builds. */
struct stop {
    uint64_t from, at; /* the tick, and where its offset counts from; 0: none */
    uint64_t period;   /* 0: once */
    uint32_t left, made;
    uint32_t hang_every;             /* the n-th of them is a hang */
    uint32_t restarts;               /* then the next one waits until there were so many */
    uint32_t of[STOP_PLACES], place; /* deaths of each place so far, the present one's */
};

/* What the kernel says of its own tables, and its TLB model; 0 in release builds. */
struct kernel_found {
    uint64_t tables, entries, violations, tlb[TLB_COUNTS];
};

struct audited {
    bool asked, finished;
    uint32_t incarnation;
    uint64_t exit, entries, unsynced, differences;
    char first[96];
    struct kernel_found kernel;
};

#define CREATED_LINE_MAX 255 /* characters of a command line: CREATE_LINE_MAX of the interface */

/* A guest that was created in a place that the description keeps free. */
struct created {
    bool used;            /* there is one */
    bool leaving;         /* there was one, and not all of it has come back */
    uint64_t shows_until; /* so long its last output is waited for */
    uint64_t turn;        /* its manager's when it went: till the next one a call of it may still be served */
    uint32_t pages;
    uint64_t budget_us;
    uint32_t module[DESC_MODULE_KINDS]; /* boot modules, 0: none */
    char name[DESC_NAME_MAX + 1], line[CREATED_LINE_MAX + 1];
};

struct component {
    const struct desc_component *d;
    const char *name;
    const struct desc_guest *guest; /* NULL: runs none */
    struct process process[2];
    struct process *now;
    bool restartable; /* it has a state segment */
    bool ended, clean;
    uint64_t budget_us;    /* of d, or a created guest's */
    cptr_t sched;          /* the budget of whichever incarnation is now */
    bool divided;          /* it is shared with who is built */
    cptr_t builder;        /* the other part, 0: not yet */
    uint64_t later;        /* from this tick on, what can wait is done */
    cptr_t cnode;          /* of a restartable server with an endpoint: outlives its incarnations. 0: none */
    uint32_t incarnations; /* built so far */
    uint32_t restarts;
    /* Number of the exit at which the last incarnation died; of a server, what it had done. */
    uint64_t died_at;
    uint32_t died_in;                            /* its kind */
    uint32_t deaths;                             /* there, in a row */
    uint32_t failures;                           /* incarnations that died before it was their turn */
    const volatile struct umbra_exit_page *exit; /* restartable ones: as init sees it */
    cptr_t exit_view;
    const volatile uint64_t *done; /* restartable servers: grows with what they do */
    uint64_t left_rip, left_rdx;   /* what a server's last incarnation left in its registers */
    /* The exit it was busy with, or what a server had done, and the ticks spent on it since. */
    uint64_t watched, spent;
    uint64_t used; /* ticks of processor time, all incarnations */
    /* Who is to wait and sets itself up: ticks spent on that, and looks at it. */
    uint64_t preparing;
    uint32_t looks;
    /* When its guest was stopped, and the exits answered by then: the guest's clocks stand still from there
     * on until one more is answered. 0: it was not. */
    uint64_t stopped_at, stopped_exit;
    uint64_t began_at;      /* exits that were answered when who serves now began to */
    bool waits;             /* to be started for the first time, if the description says so */
    bool paused, stopped;   /* by the management channel */
    struct created created; /* of a place for created guests (guest->spare) */
    struct {
        struct console_output *output;
        struct console_input *input;
    } rings;                        /* of its console, as init sees them; NULL: not yet */
    cptr_t ping;                    /* signals DESC_EVENT_LOOK to a server; 0: not made yet */
    uint32_t silent;                /* looks at a server since it did anything */
    uint64_t done_then;             /* what it had done when the end began to wait for it */
    cptr_t look, hang, audit_event; /* signal DESC_EVENT_* to the guest; 0: not made yet */
    struct audited audited;         /* the last audit of its shadow tables */
    bool needed;                    /* connected with others than init: the system cannot go on without it */
    uint32_t rebuilds;              /* of one that is not */
    char why[48];                   /* it ended */
    struct image image;             /* its incarnations are built from this */
    struct image before; /* and from this, if what took over at upgraded_at never answers an exit */
    uint64_t upgraded_at;
    bool upgrading; /* the other process is built from `offered` and may not take over yet */
    struct image offered;
    bool taken_over;                 /* and nothing was said of it yet */
    struct report *report;           /* of deaths, NULL: there was none */
    const struct trace_pages *trace; /* restartable ones: as init sees it */
    uint8_t upgrade_phase;           /* of the last one: UPGRADE_PHASE_* */
    char upgrade_text[96];
    struct stop stop;
};

#define IMAGES_MAX 33u /* chosen: two each of 16 guests, and one on its way */
struct upload {
    struct component *of; /* NULL: none is under way */
    uint8_t *to;
    uint32_t size, got, crc, wanted;
};

#define POOLS_MAX 160u /* chosen: those of boot memory and 64 gaps; further gaps are lost */
BUILD_ASSERT(POOLS_MAX >= BOOT_UNTYPED_MAX + 64u);

struct init {
    const struct umbra_bootinfo *boot;
    struct desc desc;
    struct pool pool[POOLS_MAX]; /* boot memory, smallest first, then what keep_gap() made of it */
    uint32_t pools;
    struct slots slots; /* the root CNode */
    struct space space; /* init's own */
    struct group group[DESC_GROUPS_MAX];
    struct component component[DESC_COMPONENTS_MAX];
    const uint8_t *module[BOOT_MODULES_MAX]; /* where init has mapped it; NULL: not yet */
    cptr_t endpoint, reply;
    cptr_t scratch_slot; /* of the root CNode, for views on their way */
    uint64_t seed;
    bool audit;
    bool graph, graph_due; /* all capabilities are shown, in debug builds: some came or went */
    uint32_t images;       /* places for images that have memory */
    struct upload upload;
    cptr_t signal; /* of the timers, received with the endpoint */
    cptr_t watch_timer, stop_timer, later_timer, reclaim_timer;
    uint32_t watch_place;
    uint64_t ends_at; /* all guests have ended, servers have until then; 0: not yet */
    bool ends_clean;
    uint64_t ends_used; /* ticks of processor time that servers had used when it was looked at last */
    uint32_t ends_left; /* so often more time is given */
    const char *step;   /* what is being done, for fail() */
    const char *subject;
};

/* fail - say in one line that the present step failed, and end the machine. e: ERR_OK where no call failed.
 */
_Noreturn void fail(const struct init *in, err_t e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void end_machine(unsigned status);
const char *error_name(uint32_t e);

/* memory.c. All but objects_try fail() for themselves. */
void memory_init(struct init *in);
cptr_t slot_new(struct init *in, struct slots *s);
/* The index in the CNode, for invocations that take it. */
uint32_t slot_index(cptr_t c);
cptr_t slot_cnode(const struct slots *s);
/* n objects in consecutive slots of s; pool NULL: boot memory. Returns the first capability. */
cptr_t objects_new(struct init *in, struct pool *p, struct slots *s, unsigned type, unsigned bits,
                   uint32_t n);
/* An Untyped of at least so many bytes, as a pool, and whether boot memory has one and something besides; and
 * slots in a new CNode made of a pool. */
bool pool_possible(struct init *in, uint64_t bytes);
uint64_t boot_memory_used(const struct init *in); /* bytes, what is lost between objects included */
struct pool pool_new(struct init *in, uint64_t bytes);
struct slots slots_new(struct init *in, struct pool *p, uint32_t n);
/* The same with a given root slot for the CNode's capability. */
struct slots slots_at(struct init *in, struct pool *p, uint32_t n, cptr_t place);

/* space.c */
void space_frame(struct init *in, struct space *s, cptr_t frame, unsigned bits, uint64_t address,
                 unsigned rights);
void space_view(struct init *in, struct space *s, cptr_t view, bool window, uint64_t address);
/* Fresh zeroed memory at [address, address + bytes), whole pages; large frames where they fit. */
void space_memory(struct init *in, struct space *s, uint64_t address, uint64_t bytes, unsigned rights);
/* A fresh page with these bytes at the start, at a page-aligned address. */
cptr_t space_page(struct init *in, struct space *s, uint64_t address, unsigned rights);
void scratch_open(struct init *in, cptr_t frame);
void scratch_close(struct init *in, cptr_t frame);
/* Boot module by its name (file name without folder and ending, or its last argument); fail() if it is not
 * there. */
uint32_t module_find(struct init *in, const char *name);
/* The same; 0: it is not there. */
uint32_t module_known(const struct init *in, const char *name);
const uint8_t *module_map(struct init *in, uint32_t module);

/* image.c: no system calls, host-testable. */
struct image_segment {
    uint64_t address, memory_bytes, file_bytes;
    const uint8_t *data;
    unsigned rights; /* RIGHT_* */
};
#define IMAGE_SEGMENTS_MAX 8
/* image_read - check a static ELF64 file. Returns NULL, or what is wrong with it.
 *   segments room for IMAGE_SEGMENTS_MAX; *n of them are filled in, in ascending order of address; all lie in
 *            [PAGE_BYTES, limit) and within the file */
const char *image_read(const uint8_t *file, uint64_t bytes, uint64_t limit, struct image_segment *segments,
                       unsigned *n, uint64_t *entry);
/* Rights of a page: those of all segments that touch it; 0: none does. */
unsigned image_page_rights(const struct image_segment *segments, unsigned n, uint64_t page);
/* The bytes of a page, zero where no file bytes are. */
void image_page_fill(const struct image_segment *segments, unsigned n, uint64_t page, uint8_t *to);

/* build.c */
void build_system(struct init *in);
cptr_t group_cap(const struct group *g, uint32_t i);
/* A capability of init's own that is derived from another, in a new slot of s. badge 0: as it is. */
cptr_t derived(struct init *in, struct slots *s, cptr_t from, unsigned rights, uint64_t badge);
/* An incarnation of c in p, whose memory is free: not started. */
void build_process(struct init *in, struct component *c, struct process *p);
/* The guest of c, whose component is gone, begins anew: a vCPU that has not run, and a component. */
void build_again(struct init *in, struct component *c);
/* Its guest's vCPU is another one that has not run, and no shadow table counts any more. */
void build_renew(struct init *in, struct component *c);
/* One that is built and waits to be told. */
void build_start(struct init *in, struct component *c);
/* Why c cannot be built from this file, or NULL. */
const char *build_refuses(struct init *in, const struct component *c, const struct image *image);
/* Is there memory for one in p? */
bool build_possible(struct init *in, const struct component *c, const struct process *p);
/* The name of its program's module, and what is in it: room for IMAGE_SEGMENTS_MAX. */
const char *component_image(struct init *in, const struct component *c, const struct process *p,
                            struct image_segment *segments, unsigned *n);
void start_process(struct init *in, struct process *p);

/* restart.c: what happens when a VMM dies, or a server that can be restarted. */
/* The incarnation that runs is dead or must go: another one takes over. False: it must end. */
bool restart(struct init *in, struct component *c);
/* The same without a death; the guest's exit is looked at once more in any case. */
bool restart_planned(struct init *in, struct component *c);
/* Its guest stands still, and is handed over by restart_planned only. */
void restart_pause(struct init *in, struct component *c);
/* One whose guest has ended is built again; the guest begins anew. */
void restart_again(struct init *in, struct component *c);
/* Its VMM spins with the next exit, or audits its shadow tables. */
void restart_hang(struct init *in, struct component *c);
void restart_audit(struct init *in, struct component *c);
/* The number of the last exit of its guest that was answered. */
uint64_t restart_answered(struct init *in, const struct component *c);
/* From now on it is p that serves. */
void restart_serves(struct init *in, struct component *c, struct process *p);
/* It waits to take over: its call is held, and what holds it is exchanged for what init receives with. */
void restart_waiting(struct init *in, struct component *c, struct process *p);
/* What can wait until a guest is served: say what happened, build who takes over next time. */
void restart_afterwards(struct init *in, struct component *c);
/* The one that is not now is built anew, from c->offered if c is upgrading. */
void restart_other(struct init *in, struct component *c);
/* Nothing of it runs any more, its memory is free. */
void process_free(struct init *in, struct component *c, struct process *p);

/* A server is to do something: whoever lives does. All that can be restarted are. */
void restart_ping(struct init *in, struct component *c);
void restart_ping_servers(struct init *in);

/* rings.c: the consoles of guests. */
/* Maps all of them, once. */
void rings_map(struct init *in);
/* c's guest has ended, and nothing of it runs: its output up to this exit is shown, whatever is answered from
 * now on; what is behind that never happened. */
void rings_settle(struct init *in, struct component *c, uint64_t upto);
/* What was typed has no reader. */
void rings_drop_input(struct component *c);
/* All is shown, or it is no console. */
bool rings_empty(const struct component *c);
/* What the console has in hand of a guest that is gone is none of the next one's: once, before rings_clear.
 */
void rings_pass(struct component *c);
/* For another guest. */
void rings_clear(struct component *c);

/* create.c */
/* What clients of the manager c may have now. */
void create_quotas(const struct init *in, const struct component *c, struct component_info *info);
/* A place for created guests without one. */
bool create_vacant(const struct component *c);
/* What a created guest's configuration says instead of the description's. */
void create_configure(const struct component *c, struct component_info *info);
/* The timer of what comes back has fired. */
void create_reclaim(struct init *in);

/* share.c */
/* Long work for this component must not hold up anybody: between these, init has a part of its processor
 * time. At the end, who was built goes on with that. */
void background_begin(struct init *in, struct component *c);
void background_end(struct init *in, struct component *c);
/* Nobody is built any more: all of it is for who serves. */
void share_whole(struct init *in, struct component *c);
/* Who is to wait sets itself up: adds what it has used since this was asked last. */
void share_preparing(struct component *c);

/* supervise.c */
_Noreturn void supervise(struct init *in);
/* The machine ends if no guest is left. */
void supervise_end_if_last(struct init *in);
/* It does not, though the last one has ended: there is another one. */
void supervise_goes_on(struct init *in);
/* The guest's component is taken back, for a reason that is said in the log. */
void supervise_end(struct init *in, struct component *c, bool clean, const char *reason, const char *text);

/* manage.c: the management interface. */
/* The n-th component that runs a guest, or NULL. */
struct component *manage_guest(struct init *in, uint32_t number);

/* upgrade.c */
/* The new program of c cannot take over: the next incarnations are built from the old one. */
void upgrade_refused(struct init *in, struct component *c, const char *text);
/* It waits to take over. */
void upgrade_ready(struct init *in, struct component *c);
/* Its guest went over to a new program that has not answered an exit yet: the old one may have to come back.
 */
bool upgrade_on_trial(struct init *in, const struct component *c);
/* c's VMM went (how: "died"), with so many exits answered: one on trial was none, the next is the old one's.
 */
void upgrade_gives_way(struct init *in, struct component *c, uint64_t answered, const char *how);

/* watch.c: VMMs and servers that hang. */
void watch_begin(struct init *in);
/* The timer fires then. */
void watch_at(struct init *in, uint64_t tsc);
/* The exit page of c's guest. */
void watch_exits(struct init *in, struct component *c);
/* The next one that hangs, or whose other process does not get ready to wait (*p); NULL: no more of them, and
 * the timer is set. */
struct component *watch_next(struct init *in, struct process **p);
/* Processor time that the component has used, in ticks. */
uint64_t watch_used(struct component *c);

/* timed.c: the next VMM that is stopped at a tick which has come; its thread stands, text says where. NULL:
 * no more of them, and the timer is set. */
struct component *timed_next(struct init *in, char *text, size_t room);

/* report.c: what a dead process leaves, as text in the log. */
struct report_regs;
bool report_regs(const struct process *p, struct report_regs *r);
void report_begin(struct init *in);
/* p is dead: copies what the next incarnation will change. */
void report_take(struct init *in, struct component *c, const struct process *p, const char *how,
                 const char *text);
/* Its memory is about to be taken back: reads registers and stack. */
void report_look(struct init *in, struct component *c, const struct process *p);
/* Prints what is due. */
void report_say(struct init *in, struct component *c);
/* The same in the background. */
void report_now(struct init *in, struct component *c);
/* The last reports of a component, one after the other; good until the next call. "": none. */
const char *report_text(const struct init *in, const struct component *c, size_t *bytes);

/* audit.c: how a guest's memory lies in the machine's, from the kernel's tables, as one line. */
void audit_guest(struct init *in, struct component *c);
/* What all components hold, and how the processor is told to run their guests. */
void audit_system(struct init *in);
/* What the kernel finds of a guest's shadow tables, and what its TLB model counted. */
struct kernel_found audit_kernel(const struct init *in, const struct component *c);
/* graph.c: all capabilities and address spaces, as lines `graph ..`. */
void graph_say(struct init *in);
/* What the TLB model counted, as lines `stat kernel tlb_NAME VALUE`. */
void audit_say_tlb(void);

#endif
