/* SPDX-License-Identifier: BSD-2-Clause */
/* Output from the guests' rings towards the port, input from the port to the rings, so that a console that
 * dies anywhere loses and repeats nothing. No system calls; host-testable.
 *
 * All that must outlive a console lies in its segment (struct console_state) and in the positions of the
 * rings. Every change has one store that commits it; what follows that store is done again by flow_recover,
 * with the same values (tests/host/console/test_flow.c dies at each step). */
#ifndef SERVERS_CONSOLE_FLOW_H
#define SERVERS_CONSOLE_FLOW_H

#include "components_types.h"
#include "console_types.h"
#include "lib/console_env/trace.h"
#include "servers/console/frame.h"
#include <umbra/vcpu.h>

#define NOTHING_RECEIVED (~0ull)

/* One entry of a ring on its way to the line. left commits: while it is not 0, the entry counts as taken. */
struct console_line {
    uint32_t length,
        left; /* bytes; left: not yet handed to the UART, counted right behind the port's access */
    uint32_t guest, spare;
    uint64_t position; /* in the guest's ring */
    uint8_t data[(FRAME_BYTES_MAX(CONSOLE_ENTRY_DATA) + 7) & ~7];
};

/* What a received byte changes, once that is decided: values, not differences. */
struct console_typed {
    uint64_t count; /* the ring's produced or lost then */
    uint32_t guest;
    uint8_t what, byte, decided;
    struct deframer after;
};

struct console_state {
    uint64_t done, magic; /* struct console_head: init looks here */
    struct console_trace trace;
    uint64_t bytes;
    uint64_t received; /* a byte, stored right behind the port's read; NOTHING_RECEIVED: none waits */
    uint32_t port_set; /* the UART has been set up */
    uint32_t turn;     /* whose output comes next */
    struct framer out;
    struct deframer in;
    struct console_line line;
    struct console_typed typed;
};
BUILD_ASSERT(offsetof(struct console_state, trace) == offsetof(struct console_head, trace));

struct console_guest {
    bool there;
    const struct console_output *output;
    struct console_input *input;
    const struct umbra_vm_public *public; /* NULL: its output is shown at once */
};

struct flow {
    struct console_state *state;
    struct console_guest guest[CONSOLE_GUESTS];
    uint64_t wake; /* bit i: guest i is to be signalled: input, or room for output */
};

/* What the console before this one, if there was one, left in its registers (servers/console/port.h). */
struct flow_left {
    bool before;  /* there was one */
    bool putting; /* it has given a byte to the UART and not counted it */
    bool getting; /* it has read a byte and not stored it: */
    uint8_t byte;
};

/* flow_open - the state is fit for use: of a console before this one, or begun anew where there was none, or
 * where it makes no sense (returns false). All guests are to be signalled if there was one before. */
bool flow_open(struct flow *f, bool framed, const struct flow_left *left);
/* flow_next - is there a byte for the UART? It is line.data[line.length - line.left]. */
bool flow_next(struct flow *f);
/* flow_to_wake - the next guest that is to be signalled, which is not said again; CONSOLE_GUESTS: none. */
uint32_t flow_to_wake(struct flow *f);
/* flow_typed - what has been received goes to its guest. */
void flow_typed(struct flow *f);

/* flow_step - stands between two stores whose order matters. Debug builds and tests may die in it. */
#if UMBRA_DEBUG
void flow_step(void);
#else
static inline void flow_step(void)
{
    __asm__ volatile("" ::: "memory");
}
#endif

#endif
