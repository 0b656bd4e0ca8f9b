/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMM's core: a function of (state, exit, guest memory) to (state, guest memory, reply).
 *
 * No system calls, no globals, no allocation; it compiles for the host. Time and randomness come from the
 * exit page only. Everything that must outlive this process is in struct vmm_state, which lies in the state
 * segment: flat, versioned, without pointers. struct vmm is soft: a new incarnation makes it again. The loop
 * that receives exits and moves console bytes is main.c. */
#ifndef VMM_CORE_H
#define VMM_CORE_H

#include "lib/vmm_env/trace.h"
#include "servers/vmm/boot/boot.h"
#include "servers/vmm/core/undo.h"
#include "servers/vmm/dev/bus.h"
#include "servers/vmm/gmem/gmem.h"
#include "servers/vmm/policy/cpuid.h"
#include "servers/vmm/policy/msr.h"
#include "servers/vmm/shadow/shadow.h"
#include "servers/vmm/x86/emulate.h"
#include <umbra/vcpu.h>

#define VMM_STATE_MAGIC 0x455441545356ull
#ifndef VMM_STATE_VERSION /* a test builds a VMM of another one */
#define VMM_STATE_VERSION 6
#endif

/* Frames of a colour display's text memory, B8000h: plain memory, so that who writes there need not exit. */
#define VMM_TEXT_FIRST 0xb8

/* Frames that are ROM: option ROMs and BIOS. The GuestSpace must not give them writable. */
#define VMM_ROM_FIRST 0xc0
#define VMM_ROM_END   0x100

enum vmm_end {
    VMM_RUNS,
    VMM_END_HALT,     /* HLT with interrupts off: nothing can wake it */
    VMM_END_SHUTDOWN, /* triple fault */
    VMM_END_RESET,
    VMM_END_POWEROFF,
    VMM_END_ABSENT,  /* it needs memory that its guest space does not give */
    VMM_END_UNKNOWN, /* an instruction that cannot be emulated */
    VMM_END_INVALID, /* the processor refused its state */
    VMM_END_BROKEN,
    VMM_END_EXIT, /* it wrote to its debug-exit port; the value is machine.power.exit_value */
    VMM_ENDS
};
const char *vmm_end_name(enum vmm_end e);

/* Counters that --stats prints; not needed to go on. */
struct vmm_stats {
    uint64_t exits[EXIT_KINDS];
    uint64_t cr3_served; /* those of EXIT_CR that the kernel served alone: they have no number */
    uint64_t exits_uart; /* those of EXIT_IO at a PC's serial ports; main.c counts them */
    uint64_t emulated, io_reads, io_writes, mmio, injected, faults_to_guest, windows;
    uint64_t blackout; /* ticks from the last exit that killed a VMM to its answer; main.c measures it */
};

/* What a guest is besides its memory and its vCPU. A word changes only by VMM_SET and DEV_SET, which write
 * its old contents down first; what begins with stats is free. */
struct vmm_state {
    uint64_t magic;
    uint32_t version, bytes; /* VMM_STATE_VERSION, sizeof(struct vmm_segment) */
    uint64_t memory_bytes;
    uint64_t input_taken;         /* bytes taken from the console's ring */
    uint64_t cr0, cr3, cr4, efer; /* as the guest believes; CR8 is the local APIC's TPR */
    uint64_t dr[4], dr6, dr7;
    uint64_t pdpte[4]; /* PAE paging: as latched at the last load; no part of guest memory any more */
    struct msr_state msr;
    uint64_t tsc_offset;    /* guest TSC = v->now + this */
    uint64_t hidden;        /* ticks in which the guest had no VMM: they are not in v->now */
    uint32_t halted, ended; /* enum vmm_end */
    struct machine machine;
    struct vmm_stats stats;
};
#define VMM_STATE_WORDS (offsetof(struct vmm_state, stats) / 8)
BUILD_ASSERT(offsetof(struct vmm_state, stats) % 8 == 0);

/* The state segment. It begins with struct trace_pages. */
struct vmm_segment {
    struct trace_entry trace[TRACE_ENTRIES];
    struct vmm_state state;
    UNDO_RECORD(VMM_STATE_WORDS) undo;
};
BUILD_ASSERT(offsetof(struct vmm_segment, state) == offsetof(struct trace_pages, state));
BUILD_ASSERT(offsetof(struct vmm_state, cr0) == offsetof(struct trace_state, cr0));
BUILD_ASSERT(offsetof(struct vmm_state, efer) == offsetof(struct trace_state, efer));

#define VMM_SET(v, field, value)                                                                             \
    (dev_touch(&(v)->undo.dev, &(v)->state->field, sizeof((v)->state->field)),                               \
     (void)((v)->state->field = (value)))

struct vmm {
    struct vmm_state *state;  /* in a struct vmm_segment, */
    struct trace_entry *ring; /* as this is */
    struct undo undo;
    const struct umbra_exit_page *exit; /* changes only while the guest runs, that is within a system call */
    struct umbra_reply_page *reply;
    struct gmem mem;
    struct gmem_map map;
    struct shadow *shadow;
    const struct cpuid_host *cpuid;
    struct shadow_ops ops;
    struct x86_cpu cpu; /* of this exit, once loaded */
    union {
        struct {
            bool loaded;     /* cpu is of this exit */
            bool raised;     /* exception, */
            bool broken_off; /* interrupted are not 0 */
            bool restless;   /* something may wait for the guest: as of the last look */
        };
        uint32_t more; /* 0: the answer is what the short way made it */
    };
    uint64_t exception; /* to raise after this exit, 0 none */
    uint64_t interrupted;
    uint64_t now;       /* the guest's clock: the exit's TSC less hidden ticks */
    uint64_t deadline;  /* DEV_NEVER: none; the loop sets a timer */
    uint64_t epoch;     /* of the shadow tables, 0: there are none */
    bool idle;          /* the machine has no interrupt for the processor, since it settled last */
    void (*sync)(void); /* see struct vmm_setup */
    union {
        struct {
            bool nested;  /* the guest loads CR3, and pages, without exits */
            bool resumed; /* this incarnation's first exit: */
        };
        uint64_t unusual; /* 0: begin_more() is needed for what the exit says only */
    };
    uint64_t since; /* the guest's clock stands still from here */
    uint64_t lost;  /* and so many ticks are hidden */
    uint64_t noted[VMM_STATE_WORDS];
};

struct vmm_setup {
    struct vmm_segment *segment;
    const struct umbra_exit_page *exit;
    struct umbra_reply_page *reply;
    unsigned char *window;
    uint64_t memory_bytes;
    const cptr_t *tables;
    uint32_t table_count;
    void *shadow_memory;                /* shadow_bytes(table_count, memory frames) */
    bool nested;                        /* the VM has nested paging, the tables are of nested format */
    const struct shadow_tuning *tuning; /* NULL: the default */
    const struct cpuid_host *cpuid;
    uint64_t tsc_hz;
    int64_t seconds;      /* the date */
    uint64_t input_taken; /* from the console's ring, before a guest that begins */
    uint64_t stopped_at;  /* the guest was told to stop then, 0: never; it counts if its exit came later */
    void (*sync)(
        void); /* adds the segments to an exit page that came without (VCPU_SYNC); NULL: all have them */
};

/* vmm_init - makes the soft state; the segment is not looked at. False: a limit is broken. */
bool vmm_init(struct vmm *v, const struct vmm_setup *c);

enum vmm_resume {
    VMM_NEW,       /* EXIT_START: a guest that has not run. Load it, then vmm_start */
    VMM_CONTINUES, /* handle the exit, as if nothing had been */
    VMM_STRANGE,   /* the segment is of another version */
    VMM_CORRUPT,   /* the segment is damaged: the guest must not go on */
};
/* vmm_resume - once in each incarnation, with the first exit received: the state of a guest that begins, or
 * what a predecessor left, its unfinished work rolled back. tsc: now. What passed since the exit, or since
 * the guest was stopped before it, is hidden from a guest that continues: its clocks stood still. */
enum vmm_resume vmm_resume(struct vmm *v, const struct vmm_setup *c, uint64_t tsc);
/* vmm_can_read - may this program go on with the segment, as far as can be said while another one uses it? */
bool vmm_can_read(const struct vmm *v);
/* The TSC at which v->deadline is reached, or DEV_NEVER. */
static inline uint64_t vmm_wake(const struct vmm *v)
{
    return v->deadline == DEV_NEVER ? DEV_NEVER : v->deadline + v->state->hidden;
}
/* vmm_start - the guest's first processor state: the answer to EXIT_START. */
void vmm_start(struct vmm *v, const struct boot_cpu *cpu);

/* An exit: vmm_begin, what the loop does with devices, vmm_handle, more of it, vmm_commit, and then the
 * answer. vmm_handle fills the reply page completely. VMM_RUNS: answer it. */
void vmm_begin(struct vmm *v);
enum vmm_end vmm_handle(struct vmm *v);
void vmm_commit(struct vmm *v);
/* The loop is so far with the exit; debug builds note it in the trace ring. */
static inline void vmm_step(const struct vmm *v, enum trace_step step)
{
    trace_step(v->ring, v->exit, step);
}
/* The same, TRACE_OUTPUT; so many entries are in the console's ring. */
static inline void vmm_wrote(const struct vmm *v, uint64_t produced)
{
    trace_output(v->ring, v->exit, produced);
}

/* --- between the files of core/ --- */

extern const struct x86_bus vmm_bus;
void vmm_cpu_load(struct vmm *v);
void vmm_cpu_store(struct vmm *v);
void vmm_store_pdptes(struct vmm *v);
/* Emulate the instruction at RIP. table_gpa: of a write to a shadowed table, else NULL. */
enum vmm_end vmm_emulate(struct vmm *v, const gpa_t *table_gpa);
enum vmm_end vmm_page_fault(struct vmm *v);
enum vmm_end vmm_nested_fault(struct vmm *v);
/* quick.c: the exit is handled completely, or (false) nothing was done. */
bool vmm_quick_cpuid(struct vmm *v);
bool vmm_quick_hlt(struct vmm *v);
bool vmm_quick_cr3(struct vmm *v);
bool vmm_quick_invlpg(struct vmm *v);
bool vmm_quick_io(struct vmm *v);
bool vmm_quick_store(struct vmm *v, const struct shadow_access *a, const struct fill_out *fill);
bool vmm_quick_mmio(struct vmm *v, const struct shadow_access *a, gpa_t gpa);
bool vmm_quick_string(struct vmm *v, const struct shadow_access *a, gpa_t gpa);
bool vmm_quick_unsync(struct vmm *v, const struct shadow_access *a, gpa_t gpa);
/* The answer's event, interrupt window, park flag, deadline. */
enum vmm_end vmm_events(struct vmm *v);
enum x86_bus_result vmm_write_cr(void *ctx, struct x86_cpu *cpu, unsigned cr, uint64_t value,
                                 struct x86_fault *fault);
enum x86_bus_result vmm_write_msr(void *ctx, struct x86_cpu *cpu, uint32_t msr, uint64_t value,
                                  struct x86_fault *fault);
enum x86_bus_result vmm_read_msr(void *ctx, const struct x86_cpu *cpu, uint32_t msr, uint64_t *value,
                                 struct x86_fault *fault);
void vmm_cpuid(struct vmm *v);
/* vmm_write_memory - n bytes, multiples of 4, to memory of the guest, as an instruction would. False: there
 * is none, nothing was written. */
bool vmm_write_memory(struct vmm *v, gpa_t at, const void *from, unsigned n);
/* vmm_tell_clock, vmm_tell_date - kvmclock.c: after a write to the MSR; the clock also when the TSC was set.
 * False: the address is no memory. */
bool vmm_tell_clock(struct vmm *v);
bool vmm_tell_date(struct vmm *v);
/* The answer sets the guest's TSC offset; what exits bring from now on, for a guest with this EFER. */
void vmm_set_tsc(struct vmm *v);
void vmm_set_want(struct vmm *v, uint64_t efer);

#endif
