/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine for emulator tests: a few pages of linear memory with rights, ports and registers that log, and
 * faults on demand. It implements struct x86_bus. */
#ifndef TESTS_HOST_X86_MACHINE_H
#define TESTS_HOST_X86_MACHINE_H

#include <servers/vmm/x86/emulate.h>

#define MACHINE_PAGES 8
#define MACHINE_LOG   64

enum { PAGE_ABSENT, PAGE_READONLY, PAGE_WRITABLE }; /* rights of a page */

struct machine {
    struct x86_cpu cpu;
    struct x86_outcome out;
    uint64_t base; /* linear address of memory[0], page aligned */
    uint8_t memory[MACHINE_PAGES * PAGE_BYTES];
    uint8_t rights[MACHINE_PAGES];
    const uint8_t *code;  /* if not NULL, fetches come from here .. */
    uint64_t code_linear; /* .. which stands at this address */
    unsigned code_bytes;
    unsigned calls;     /* of the bus, fetches apart */
    unsigned fail_at;   /* the call that is answered with X86_BUS_RETRY; 0 none */
    unsigned contended; /* so many compare-and-exchanges find that another processor was faster */
    unsigned writes;    /* memory writes done */
    unsigned last_access;
    uint16_t port;
    unsigned port_size, port_calls;
    uint32_t port_value; /* read by in, written by out */
    unsigned cr;
    uint64_t cr_value, msr_value, invlpg;
    uint32_t msr;
};

extern const struct x86_bus machine_bus;

/* machine_init - 64-bit supervisor code at base, all pages writable, memory 0xcc, stack in the middle of the
 * last page.
 */
void machine_init(struct machine *m, uint64_t base);
/* machine_real - real mode instead: CS:IP = base >> 4 : 0, other segments 0. */
void machine_real(struct machine *m);
/* machine_protected - flat 32-bit supervisor code. */
void machine_protected(struct machine *m);
/* machine_step - one x86_step; machine_run - with this code put at CS:RIP first. */
enum x86_result machine_step(struct machine *m);
enum x86_result machine_run(struct machine *m, const void *code, unsigned bytes);
#define RUN(m, ...) machine_run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

uint64_t machine_get(const struct machine *m, uint64_t linear, unsigned size);
void machine_put(struct machine *m, uint64_t linear, unsigned size, uint64_t value);

#endif
