/* SPDX-License-Identifier: BSD-2-Clause */
/* console: the rings of all guests on one side, the serial port on the other.
 *
 * What goes where is flow.c's; here are the system calls. All that a console knows lies in its segment, so
 * that the next one goes on where it died (docs/restart.md). Invariant: while a byte waits for the UART, the
 * transmitter's interrupt is on. */
#include "component/component.h"
#include "console_component.h"
#include "serial/serial.h"
#include "servers/console/flow.h"
#include "servers/console/inject.h"
#include "servers/console/port.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdio.h>

#define TURNS_MAX 64u /* of one interrupt; then others' signals are looked at */

static const struct serial COM1 = { CAP_SERIAL_PORTS, 0x3f8 };

struct console {
    struct flow flow;
    bool interrupting; /* the transmitter's interrupt is on */
};

static void transmit(struct console *c)
{
    struct console_line *l = &c->flow.state->line;
    bool waits = flow_next(&c->flow);

    if (waits && serial_output_empty(&COM1))
        for (uint32_t n = 0; n < SERIAL_FIFO_BYTES && waits; n++) {
            port_put(inject_put(&l->left), l->data[l->length - l->left]);
            c->flow.state->done++;
            waits = flow_next(&c->flow);
        }
    if (waits != c->interrupting)
        serial_want(&COM1, true, waits);
    c->interrupting = waits;
}

static void receive(struct console *c)
{
    while (serial_ready(&COM1)) {
        port_get(inject_get(&c->flow.state->received));
        flow_typed(&c->flow);
        c->flow.state->done++;
    }
}

static void wake(struct console *c)
{
    for (uint32_t i; (i = flow_to_wake(&c->flow)) < CONSOLE_GUESTS;)
        sys_signal(CAP_TYPED + i);
}

/* The line is edge-triggered: it is acknowledged only when the UART asks for nothing more. False: it still
 * does, and what it asked for last will not be said again. */
static bool interrupt(struct console *c)
{
    for (unsigned i = 0; i < TURNS_MAX; i++) {
        receive(c);
        transmit(c);
        if (!serial_pending(&COM1)) {
            flow_step();
            sys_invoke0(CAP_SERIAL_IRQ, IRQ_ACK);
            return true;
        }
    }
    return false;
}

/* Both directions of a console are connected, or none is. */
static void connect(struct flow *f, const struct console_config *config)
{
    uint64_t all = config->output_connected & config->input_connected & config->typed_connected;

    f->state = (struct console_state *)STATE_ADDRESS;
    for (uint32_t i = 0; i < CONSOLE_GUESTS; i++) {
        bool observed = config->guests_observed >> i & 1;
        f->guest[i] =
            (struct console_guest){ .there = all >> i & 1,
                                    .output = console_output(i),
                                    .input = console_input(i),
                                    .public = observed ? (const void *)GUESTS_ADDRESS((uint64_t)i) : NULL };
        if (f->guest[i].there)
            f->guest[i].input->magic = CONSOLE_MAGIC;
    }
}

static bool start(struct console *c, const struct component_info *info)
{
    struct flow_left left = port_left(info);

    if (!flow_open(&c->flow, console_config(info)->prefix, &left) && info->incarnation)
        printf("console: what the console before this one left makes no sense: begun anew\n");
    if (c->flow.state->port_set)
        serial_resume(&COM1); /* what is in its FIFOs is neither lost nor sent again */
    else
        serial_init(&COM1, false);
    c->flow.state->port_set = true;
    flow_step();
    bool rests = interrupt(c); /* a predecessor may have left the line unacknowledged */
    wake(c);
    return rests;
}

int main(void)
{
    static struct console c;
    const struct component_info *info = console_info();

    BUILD_ASSERT(sizeof(struct console_state) <= STATE_BYTES);
    if (!info) {
        printf("console: this program was built for another system description\n");
        return 1;
    }
    connect(&c.flow, console_config(info));
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    inject_open(console_config(info), info->incarnation);
    for (bool rests = start(&c, info);;) {
        c.flow.state->done++;
        uint64_t events = rests ? sys_wait(CAP_NOTIFICATION) : EVENT_SERIAL_IRQ;
        if (events == 0)
            return 1;
        transmit(&c);
        if (events & EVENT_SERIAL_IRQ)
            rests = interrupt(&c);
        flow_step();
        wake(&c);
    }
}
