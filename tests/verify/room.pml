/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that halts until its serial port has room, or makes no exit any more, and that no clock wakes: who tells whom that there is
 * output, or room again.
 *
 * The guest writes a byte for each interrupt of its transmitter. The console sleeps until it is signalled, or its own line has room
 * again; a line that stands still for any time is a console that does not run, or leaves off. Nobody dies here: whoever takes over
 * looks at everything first (output.pml, exit.pml). */
#ifndef BYTES
#define BYTES 6
#endif
#define FIFO 2
#define RUNNING 2 /* entries of the ring that may wait while the guest runs */
#define IO 0
#define HLT 1
#define EVENT 2

byte length[RUNNING]; /* of an entry */
byte produced, taken, answered;
byte sent, waiting;                  /* bytes that the guest wrote; of them in the FIFO */
bool irq = true;                     /* of the transmitter, for the guest */
bool written, typed, line, expired; /* signals, and the VMM's clock */
byte shown;

ltl goes_on { <> (shown == BYTES) } /* weakly fair */

active proctype vmm()
{
    byte kind = HLT, n;
    bool serves, parked, settled, announces = true;

handle:
    /* C: servers/vmm/console.c console_announce: p->console = ; EXIT_IO ; sys_signal */
    n = produced - taken;
    if
    :: announces && n > 0 && kind != IO -> written = true
    :: else -> skip
    fi;
    announces = n > 0 || waiting > 0;
    if
    :: kind == IO -> d_step { sent++; waiting++; serves = false; irq = waiting < FIFO }
    :: kind == HLT -> parked = true
    :: else -> skip
    fi;
    /* C: servers/vmm/core/event.c vmm_events: halted( ; machine_ack( */
    settled = false;
    if
    :: irq && !serves -> d_step { irq = false; serves = true; parked = false }
    :: else -> skip
    fi;
    /* C: servers/vmm/console.c console_output: output_taken ; machine_take ; ++produced
     * C: servers/vmm/dev/uart.c uart_take: was_ready ; iir_thre */
    do
    :: waiting > 0 && produced - taken < RUNNING ->
        d_step { irq = irq || waiting == FIFO; settled = true; announces = true }
        if :: n = 1 :: waiting > 1 -> n = 2 fi;
        waiting = waiting - n;
        length[produced % RUNNING] = n;
        produced++
    :: else -> break
    od;
    /* C: servers/vmm/main.c output_due: settled
     * C: servers/vmm/main.c set_clock: output_due( ; wake >= p->armed ; return ; TIMER_SET */
    expired = expired || settled;
    answered = produced;
    /* the guest goes on by itself, or only after an event */
    if
    :: !parked && serves && sent < BYTES && waiting < FIFO -> kind = IO
    :: !parked && !(serves && sent < BYTES && waiting < FIFO) -> serves = false; if :: kind = HLT :: goto event fi
    :: parked || typed || expired -> goto event
    fi;
    goto handle;
event:
    if
    :: typed || expired -> d_step { typed = false; expired = false; kind = EVENT }
    :: shown == BYTES -> goto done
    fi;
    goto handle;
done:
    skip
}

active proctype console()
{
    byte n;
    bool wake;

    do
    :: written || line ->
        d_step { written = false; line = false }
        /* C: servers/console/flow.c take_entry: waiting == 0 ; seq > upto ; commit( ; CONSOLE_OUTPUT_RUNNING */
        do
        :: taken != answered ->
            d_step { n = length[taken % RUNNING]; shown = shown + n; taken++ }
            n = produced - taken + 1;
            if
            :: n >= RUNNING -> wake = true
            :: else -> skip
            fi;
            if :: skip :: line = true; break fi /* it stands still */
        :: else -> break
        od;
        /* C: servers/console/main.c wake: sys_signal */
        if
        :: wake -> d_step { wake = false; typed = true }
        :: else -> skip
        fi
    :: shown == BYTES -> break
    od
}
