/* SPDX-License-Identifier: BSD-2-Clause */
/* One exit: find out what the guest wants, do it, fill the reply page. */
#include "servers/vmm/core/vmm.h"

#define PAGE_ERROR_WRITE BIT(1) /* APM vol. 2, 8.4.2 */

const char *vmm_end_name(enum vmm_end e)
{
    static const char *const names[VMM_ENDS] = { "runs",   "halt",    "shutdown", "reset",  "poweroff",
                                                 "absent", "unknown", "invalid",  "broken", "exit" };
    return e < VMM_ENDS ? names[e] : "?";
}

static void raise(struct vmm *v, uint64_t event)
{
    v->exception = event;
    v->raised = true;
}

/* --- emulation --- */

static void retire(struct vmm *v, unsigned length)
{
    if (x86_retire(&v->cpu, length)) {
        v->cpu.dr6 |= X86_DR6_BS;
        raise(v, EVENT_MAKE(X86_VECTOR_DB, EVENT_EXCEPTION));
    }
}

/* An instruction that this guest's processor does not have, or one that nobody emulates. */
static enum vmm_end unknown(struct vmm *v)
{
    if (v->exit->kind != EXIT_INSTRUCTION)
        return VMM_END_UNKNOWN;
    raise(v, EVENT_MAKE(X86_VECTOR_UD, EVENT_EXCEPTION));
    return VMM_RUNS;
}

/* Instructions that are the VMM's own affair. */
static enum vmm_end special(struct vmm *v, const struct x86_insn *insn)
{
    uint64_t tsc;

    switch (insn->op) {
    case X86_CPUID:
        vmm_cpuid(v);
        break;
    case X86_INVD:
    case X86_WBINVD:
    case X86_PAUSE:
        break;
    case X86_RDTSC:
        tsc = v->now + v->state->tsc_offset;
        v->cpu.gpr[RAX] = (uint32_t)tsc;
        v->cpu.gpr[RDX] = tsc >> 32;
        break;
    case X86_RDPMC:
        raise(v, EVENT_MAKE(X86_VECTOR_GP, EVENT_EXCEPTION) | EVENT_HAS_ERROR);
        return VMM_RUNS;
    case X86_RDTSCP:
    case X86_MONITOR:
    case X86_MWAIT:
    case X86_XGETBV:
    case X86_XSETBV:
    case X86_SVM:
    case X86_INVLPGA:
    case X86_RSM:
        raise(v, EVENT_MAKE(X86_VECTOR_UD, EVENT_EXCEPTION));
        return VMM_RUNS; /* not in CPUID */
    default:
        return VMM_END_UNKNOWN;
    }
    retire(v, insn->length);
    return VMM_RUNS;
}

enum vmm_end vmm_emulate(struct vmm *v, const gpa_t *table_gpa)
{
    struct x86_outcome out;

    vmm_cpu_load(v);
    v->state->stats.emulated++;
    switch (x86_step(&v->cpu, &vmm_bus, v, &out)) {
    case X86_DONE:
        v->interrupted = 0;
        if (out.step_trap) {
            v->cpu.dr6 |= X86_DR6_BS;
            raise(v, EVENT_MAKE(X86_VECTOR_DB, EVENT_EXCEPTION));
        }
        return VMM_RUNS;
    case X86_FAULT:
        raise(v, out.event);
        v->cpu.dr6 |= out.dr6;
        if (EVENT_VECTOR(out.event) == X86_VECTOR_PF)
            v->cpu.cr2 = out.cr2;
        v->state->stats.faults_to_guest++;
        return VMM_RUNS;
    case X86_HALT:
        retire(v, out.insn.length);
        VMM_SET(v, halted, 1);
        v->restless = true;
        return VMM_RUNS;
    case X86_RETRY:
        return (enum vmm_end)v->state->ended;
    case X86_SPECIAL:
        if (!table_gpa)
            return special(v, &out.insn);
        break;
    default:
        break;
    }
    if (!table_gpa)
        return unknown(v);
    return shadow_not_emulated(v->shadow, *table_gpa, &v->ops) ? VMM_RUNS : VMM_END_UNKNOWN;
}

/* --- page faults --- */

enum vmm_end vmm_page_fault(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    struct shadow_access a =
        shadow_access_of_fault((gva_t){ x->info[0] }, x->info[1], x->cpl, x->rflags, v->interrupted != 0);
    struct fill_out out;

    switch (shadow_fill(v->shadow, &a, &out, &v->ops)) {
    case FILL_OK:
    case FILL_RETRY:
        return VMM_RUNS;
    case FILL_GUEST_FAULT:
        raise(v, EVENT_MAKE(X86_VECTOR_PF, EVENT_EXCEPTION) | EVENT_HAS_ERROR | (uint64_t)out.error << 32);
        v->state->stats.faults_to_guest++;
        v->reply->cr2 = a.va.v;
        v->reply->groups |= STATE_CR2;
        return VMM_RUNS;
    case FILL_MMIO:
        v->state->stats.mmio++;
        return vmm_quick_mmio(v, &a, out.gpa) ? VMM_RUNS : vmm_emulate(v, NULL);
    case FILL_EMULATE_WRITE:
        if (vmm_quick_store(v, &a, &out) || vmm_quick_string(v, &a, out.gpa) ||
            vmm_quick_unsync(v, &a, out.gpa))
            return VMM_RUNS;
        return vmm_emulate(v, &out.gpa);
    default:
        return VMM_END_ABSENT;
    }
}

/* The guest's own tables led to memory that the nested ones do not have yet, or to a device. */
enum vmm_end vmm_nested_fault(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    struct fill_out out;

    switch (
        shadow_fill_nested(v->shadow, (gpa_t){ x->info[0] }, x->info[1] & PAGE_ERROR_WRITE, &out, &v->ops)) {
    case FILL_OK:
    case FILL_RETRY:
        return VMM_RUNS;
    case FILL_MMIO:
        v->state->stats.mmio++;
        return vmm_emulate(v, NULL);
    default:
        return VMM_END_ABSENT;
    }
}

static enum vmm_end exception(struct vmm *v)
{
    uint64_t vector = v->exit->info[0], error = v->exit->info[1];

    switch (vector) {
    case X86_VECTOR_DB:
        VMM_SET(v, dr6, error);
        raise(v, EVENT_MAKE(vector, EVENT_EXCEPTION));
        return VMM_RUNS;
    case 8:
    case 17:
        v->interrupted = 0;
        raise(v, EVENT_MAKE(vector, EVENT_EXCEPTION) | EVENT_HAS_ERROR | (vector == 17 ? error << 32 : 0));
        return VMM_RUNS;
    default:
        return VMM_END_BROKEN;
    }
}

/* The guest has no root of this epoch. If the epoch is new, check_epoch has made one. */
static enum vmm_end no_root(struct vmm *v)
{
    if (v->ops.count == 0)
        shadow_root(v->shadow, &v->ops);
    return VMM_RUNS;
}

/* The short way of a kind, or the emulator. */
static inline enum vmm_end either(struct vmm *v, bool (*quick)(struct vmm *))
{
    return !v->interrupted && quick(v) ? VMM_RUNS : vmm_emulate(v, NULL);
}

static inline enum vmm_end dispatch(struct vmm *v, uint64_t kind)
{
    switch (kind) {
    case EXIT_PAGE:
        return vmm_page_fault(v);
    case EXIT_NPF:
        return vmm_nested_fault(v);
    case EXIT_IO:
        return either(v, vmm_quick_io);
    case EXIT_CPUID:
        return either(v, vmm_quick_cpuid);
    case EXIT_HLT:
        return either(v, vmm_quick_hlt);
    case EXIT_CR:
        return either(v, vmm_quick_cr3);
    case EXIT_INVLPG:
        return either(v, vmm_quick_invlpg);
    case EXIT_MSR:
    case EXIT_DR:
    case EXIT_INSTRUCTION:
        return vmm_emulate(v, NULL);
    case EXIT_EXCEPTION:
        return exception(v);
    case EXIT_WINDOW:
    case EXIT_EVENT:
        return VMM_RUNS;
    case EXIT_ROOT:
        return no_root(v);
    case EXIT_SHUTDOWN:
        return VMM_END_SHUTDOWN;
    case EXIT_INVALID:
        return VMM_END_INVALID;
    case EXIT_NONE:
    case EXIT_START:
    case EXIT_TASK_SWITCH:
        return VMM_END_BROKEN;
    default:
        __builtin_unreachable(); /* all below EXIT_BROKEN are there */
    }
}

/* Exits with a short way come without segments; who needs them all the same asks. Outside of long mode there
 * is none of these ways. */
#define SHORT_KINDS                                                                                          \
    (1u << EXIT_PAGE | 1u << EXIT_CPUID | 1u << EXIT_HLT | 1u << EXIT_IO | 1u << EXIT_CR |                   \
     1u << EXIT_INVLPG | 1u << EXIT_WINDOW | 1u << EXIT_EVENT | 1u << EXIT_ROOT)

void vmm_set_want(struct vmm *v, uint64_t efer)
{
    v->reply->want = v->nested ? STATE_SEGMENTS | STATE_CONTROL : STATE_SEGMENTS;
    v->reply->spare = efer & EFER_LMA && v->sync && !v->nested ? SHORT_KINDS : 0;
}

void vmm_set_tsc(struct vmm *v)
{
    v->reply->tsc_offset = v->state->tsc_offset - v->state->hidden;
    v->reply->groups |= STATE_TSC;
}

/* The first exit of an incarnation that took over. It happened before the ticks that nobody may see, or its
 * guest was stopped before them: now stays as it is. The shadow MMU is new, and so is the kernel's epoch. */
static void continue_guest(struct vmm *v)
{
    const struct vmm_state *s = v->state;
    struct shadow_control c = { s->cr0, s->cr3, s->cr4, s->efer };

    VMM_SET(v, hidden, s->hidden + v->lost);
    v->resumed = false;
    vmm_set_want(v, s->efer);
    vmm_set_tsc(v);
    shadow_resume(v->shadow, &c, s->pdpte, &v->ops);
    v->epoch = v->exit->epoch;
}

/* Since the last answer the kernel has served loads of CR3 by itself. A new incarnation has no tables yet; it
 * goes on from the value. */
static void cr3_loaded(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;

    v->state->stats.exits[EXIT_CR] += x->cr3_loads;
    v->state->stats.cr3_served += x->cr3_loads;
    if (v->state->cr3 != x->cr3)
        VMM_SET(v, cr3, x->cr3);
    if (!v->resumed && !shadow_cr3_served(v->shadow, x->cr3, x->cr3_loads))
        shadow_cr3(v->shadow, x->cr3, &v->ops);
}

static struct vmm_segment *segment_of(const struct vmm *v)
{
    return (struct vmm_segment *)(void *)((uint8_t *)v->state - offsetof(struct vmm_segment, state));
}

/* What most exits do not need. */
static __attribute__((noinline)) void begin_more(struct vmm *v)
{
    if (v->exit->interrupted) {
        v->interrupted = v->exit->interrupted;
        v->broken_off = true;
    }
    if (v->resumed)
        v->now = v->since - v->state->hidden;
    if (v->exit->cr3_loads)
        cr3_loaded(v);
    if (v->nested && (v->exit->valid & STATE_CONTROL) && v->state->cr3 != v->exit->cr3) {
        VMM_SET(v, cr3, v->exit->cr3);
        shadow_cr3(v->shadow, v->exit->cr3, &v->ops);
    }
    if (v->resumed)
        continue_guest(v);
}

void vmm_begin(struct vmm *v)
{
    struct umbra_reply_page *r = v->reply;
    const struct umbra_exit_page *x = v->exit;
    struct vmm_segment *g = segment_of(v);
    uint64_t seq = x->seq, tsc = x->tsc;

    trace_exit(g->trace, x, seq, tsc);
    r->seq = seq;
    r->groups = r->flags = 0;
    r->event = 0;
    v->ops.count = v->ops.last = 0;
    v->now = tsc - g->state.hidden;
    undo_begin(&v->undo, seq);
    if (x->cr3_loads | x->interrupted | v->unusual)
        begin_more(v);
}

/* Time has come, or a new epoch: the kernel has forgotten all tables. */
static __attribute__((noinline)) void prepare(struct vmm *v)
{
    if (v->now >= v->state->machine.deadline)
        machine_expire(&v->state->machine, &v->undo.dev, v->now);
    if (v->epoch == v->exit->epoch)
        return;
    v->epoch = v->exit->epoch;
    shadow_reset(v->shadow);
    shadow_root(v->shadow, &v->ops);
}

/* Whether the answer may need more than "go on": the usual exit injects nothing and waits for nothing. What
 * the machine says is known until it settles anew. */
static bool events_due(struct vmm *v)
{
    const struct vmm_state *s = v->state;

    if (v->undo.dev.settled) {
        v->undo.dev.settled = false;
        v->idle = !machine_intr(&s->machine) && !machine_nmi(&s->machine);
    }
    v->restless = !v->idle || s->halted || s->machine.lines.request != DEV_REQUEST_NONE;
    return v->interrupted || v->restless;
}

/* What most exceptions are: nothing else is to be delivered, or waits. */
static bool exception_alone(struct vmm *v)
{
    if (events_due(v))
        return false;
    v->reply->event = v->exception;
    return true;
}

/* The answer is complete, and nothing has happened since it was found that nothing waits for the guest. */
static inline bool all_done(const struct vmm *v, enum vmm_end end)
{
    return end == VMM_RUNS && !v->more && !v->undo.dev.settled;
}

static __attribute__((noinline)) enum vmm_end finish(struct vmm *v, enum vmm_end end)
{
    v->deadline = v->state->machine.deadline;
    if (end == VMM_RUNS && (v->exception ? !exception_alone(v) : events_due(v)))
        end = vmm_events(v);
    vmm_cpu_store(v);
    if (v->state->ended != end)
        VMM_SET(v, ended, end);
    v->exception = v->interrupted = 0;
    v->loaded = v->raised = v->broken_off = false;
    return end;
}

/* Nobody may continue this guest; or a kernel says what this program does not know. */
static __attribute__((noinline)) enum vmm_end broken(struct vmm *v, uint64_t kind)
{
    if (kind < EXIT_KINDS)
        v->state->stats.exits[kind]++;
    return finish(v, VMM_END_BROKEN);
}

enum vmm_end vmm_handle(struct vmm *v)
{
    const struct umbra_exit_page *x = v->exit;
    struct vmm_state *s = v->state;
    uint64_t kind = x->kind; /* wide: an index */

    if (kind >= EXIT_BROKEN)
        return broken(v, kind);
    s->stats.exits[kind]++;
    if (v->now >= s->machine.deadline || v->epoch != x->epoch)
        prepare(v);
    enum vmm_end end = dispatch(v, kind);
    if (!all_done(v, end))
        end = finish(v, end);
    v->reply->op_words = v->ops.count;
    return end;
}

void vmm_commit(struct vmm *v)
{
    undo_commit(&v->undo);
}
