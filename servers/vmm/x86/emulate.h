/* SPDX-License-Identifier: BSD-2-Clause */
/* Instruction emulator: executes one guest instruction that cannot run directly.
 *
 * Pure but for the bus that the caller gives: no system calls, no globals, no allocation. An instruction (for
 * REP: an iteration) happens whole or not at all: registers change last, and the write to memory is the last
 * thing that can fail; several pushes are all probed before the first. Held by tests/host/x86 (native oracle,
 * unit tables, fault injection). */
#ifndef VMM_X86_EMULATE_H
#define VMM_X86_EMULATE_H

#include <servers/vmm/x86/decode.h>

enum x86_result {
    X86_DONE,    /* executed; RIP stands behind it, or on it if a REP is to go on */
    X86_FAULT,   /* inject out->event; nothing of this instruction (REP: of this iteration) happened */
    X86_HALT,    /* HLT, allowed; nothing changed: x86_retire, then wait for an interrupt */
    X86_SPECIAL, /* out->insn.op is the caller's: do it, then x86_retire; nothing changed yet */
    X86_UNKNOWN, /* not emulated: out->bytes; nothing changed */
    X86_RETRY    /* the bus said so; nothing of this instruction (iteration) happened */
};

enum x86_bus_result {
    X86_BUS_OK,
    X86_BUS_FAULT, /* *fault filled: the guest's fault */
    X86_BUS_RETRY  /* cannot be served now (frame taken away, undo record full): run x86_step again later */
};

/* What an access is: bits as in a #PF error code (APM vol. 2, 8.4.2) plus SYSTEM. */
enum {
    X86_ACCESS_WRITE = 2, /* also set when reading what is about to be written */
    X86_ACCESS_USER = 4,
    X86_ACCESS_FETCH = 16,
    X86_ACCESS_SYSTEM = 256 /* the processor's own access (descriptor tables, TSS): supervisor at any CPL */
};

struct x86_fault {
    uint64_t event; /* EVENT_* as to be injected */
    uint64_t cr2;   /* #PF: the address */
};

/* How the emulator reaches the guest. All addresses are linear. Except for fetch an access may cross a page:
 * the bus translates both pages before it touches the first. A device's memory looks like any other. */
struct x86_bus {
    uint32_t rep_limit; /* most iterations of a REP in one x86_step; at least 1 */
    /* size 1..15, within one page */
    enum x86_bus_result (*fetch)(void *ctx, uint64_t linear, uint8_t *bytes, unsigned size, unsigned access,
                                 struct x86_fault *fault);
    /* size 1..16, little endian into the low bytes of data[] */
    enum x86_bus_result (*read)(void *ctx, uint64_t linear, unsigned size, void *data, unsigned access,
                                struct x86_fault *fault);
    enum x86_bus_result (*write)(void *ctx, uint64_t linear, unsigned size, const void *data, unsigned access,
                                 struct x86_fault *fault);
    /* size 1, 2, 4, 8, 16: if memory holds *expected store *desired, else *expected = what it holds */
    enum x86_bus_result (*cmpxchg)(void *ctx, uint64_t linear, unsigned size, void *expected,
                                   const void *desired, bool *stored, unsigned access,
                                   struct x86_fault *fault);
    /* would this access of size 1..64 bytes be allowed; if it is, the same access next succeeds */
    enum x86_bus_result (*probe)(void *ctx, uint64_t linear, unsigned size, unsigned access,
                                 struct x86_fault *fault);
    /* size 1, 2, 4 */
    enum x86_bus_result (*in)(void *ctx, uint16_t port, unsigned size, uint32_t *value);
    enum x86_bus_result (*out)(void *ctx, uint16_t port, unsigned size, uint32_t value);
    /* the next two change what else follows from the write in *cpu (CR0, EFER.LMA, FS base, ..); never RIP,
     * RFLAGS or general registers */
    enum x86_bus_result (*write_cr)(void *ctx, struct x86_cpu *cpu, unsigned cr, uint64_t value,
                                    struct x86_fault *fault);
    enum x86_bus_result (*write_msr)(void *ctx, struct x86_cpu *cpu, uint32_t msr, uint64_t value,
                                     struct x86_fault *fault);
    enum x86_bus_result (*read_msr)(void *ctx, const struct x86_cpu *cpu, uint32_t msr, uint64_t *value,
                                    struct x86_fault *fault);
    enum x86_bus_result (*invlpg)(void *ctx, uint64_t linear);
};

struct x86_outcome {
    uint64_t event;  /* X86_FAULT: EVENT_* to inject */
    uint64_t cr2;    /* X86_FAULT with #PF: the caller sets CR2 when it injects */
    uint64_t linear; /* X86_SPECIAL with a memory operand (SSE, MONITOR): its checked linear address */
    uint64_t dr6;    /* X86_FAULT with #DB: bits to set in DR6 when it is injected */
    bool step_trap;  /* X86_DONE: a #DB (DR6.BS) is due before the next instruction: TF was set */
    uint8_t nbytes;  /* of bytes[] */
    uint8_t bytes[X86_INSN_MAX];
    struct x86_insn insn; /* complete unless decoding itself failed (op X86_OTHER, length 0) */
};

/* x86_step - fetch, decode and execute one instruction (of a REP at most bus->rep_limit iterations).
 *   ctx   handed to the bus functions
 *   out   filled in every case as its fields say
 * RIP is a bound on nothing: any register values are accepted. Never recurses, loops at most rep_limit times.
 */
enum x86_result x86_step(struct x86_cpu *cpu, const struct x86_bus *bus, void *ctx, struct x86_outcome *out);

/* x86_retire - finish an instruction that the caller executed (X86_SPECIAL, X86_HALT, or a decoded exit): RIP
 * goes on by its length, RF and the interrupt shadow end. Returns true if a single-step #DB is due (as
 * step_trap). */
bool x86_retire(struct x86_cpu *cpu, unsigned length);

#endif
