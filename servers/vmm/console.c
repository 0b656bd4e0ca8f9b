/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's serial port and the console server: what it wrote goes into a ring with the number of its exit,
 * what was typed comes out of one. */
#include "servers/vmm/process.h"
#include "sys/sys.h"

#define ANNOUNCE_ENTRIES 32 /* chosen: about two FIFOs of the serial port */

void console_output(struct process *p, uint64_t room)
{
    struct console_output *out = p->env.output;

    if (!uart_waiting(&p->vmm.state->machine.uart))
        return;
    uint64_t produced = out->produced;
    /* Looked for anew each time: the console signals room only in a ring that it finds full. */
    while (produced - __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE) < room) {
        struct console_entry *e = &out->entry[produced % CONSOLE_OUTPUT_ENTRIES];
        p->console = true;
        size_t n =
            machine_take(&p->vmm.state->machine, &p->vmm.undo.dev, p->vmm.now, e->data, CONSOLE_ENTRY_DATA);
        if (!n)
            break;
        p->took = true;
        e->length = n;
        e->seq = p->env.exit->seq;
        __atomic_store_n(&out->produced, ++produced, __ATOMIC_RELEASE);
    }
}

/* Output may be shown when its exit is answered (I8), so the console hears of it at the next exit; of a guest
 * that writes on and on, now and then. And at any exit when the clock for it (output_due) is over, as the
 * next one would replace it; of a predecessor's nothing is known. */
void console_announce(struct process *p)
{
    const struct console_output *out = p->env.output;
    uint64_t waiting = out->produced - __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE);

    p->console = waiting || uart_waiting(&p->vmm.state->machine.uart); /* the ring was full */
    bool now = p->env.exit->kind != EXIT_IO || p->armed <= p->env.exit->tsc || p->taken_over;
    if (waiting && (waiting >= ANNOUNCE_ENTRIES || now))
        sys_signal(CAP_WRITTEN);
}

void console_input(struct process *p)
{
    const volatile struct console_input *in = p->env.input;
    uint64_t produced = __atomic_load_n(&in->produced, __ATOMIC_ACQUIRE), taken = p->vmm.state->input_taken;
    uint8_t bytes[64];

    while (taken != produced) {
        size_t n = 0;
        for (; n < sizeof(bytes) && taken + n != produced; n++)
            bytes[n] = in->data[(taken + n) % CONSOLE_INPUT_BYTES];
        size_t given = machine_give(&p->vmm.state->machine, &p->vmm.undo.dev, p->vmm.now, bytes, n);
        taken += given;
        if (given < n)
            break;
    }
    if (taken != p->vmm.state->input_taken)
        VMM_SET(&p->vmm, input_taken, taken);
    p->held = taken != produced;
    p->console = true;
}

/* What an exit takes is the console's to overwrite when that exit is answered. */
void console_taken(const struct process *p)
{
    struct console_output *out = p->env.output;

    if (out->input_taken != p->vmm.state->input_taken)
        __atomic_store_n(&out->input_taken, p->vmm.state->input_taken, __ATOMIC_RELEASE);
}

/* Output of the exit that a predecessor did not answer is made again. */
void console_withdraw(const struct process *p)
{
    struct console_output *out = p->env.output;
    uint64_t taken = __atomic_load_n(&p->env.input->output_taken, __ATOMIC_ACQUIRE), produced = out->produced;

    while (produced != taken && out->entry[(produced - 1) % CONSOLE_OUTPUT_ENTRIES].seq == p->env.exit->seq)
        produced--;
    __atomic_store_n(&out->produced, produced, __ATOMIC_RELEASE);
}

/* No exit comes any more to bring the last output with, whatever the console does: there is room for all of
 * it, and init lets it be shown when it hears of the end (servers/init/rings.c). A VMM that dies before that
 * withdraws it. */
void console_end(struct process *p)
{
    BUILD_ASSERT((CONSOLE_OUTPUT_ENTRIES - CONSOLE_OUTPUT_RUNNING) * CONSOLE_ENTRY_DATA >= UART_OUT_RING);
    console_output(p, CONSOLE_OUTPUT_ENTRIES);
}
