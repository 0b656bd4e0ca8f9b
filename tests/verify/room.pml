/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that halts until its serial port has room, or makes no exit any more, and that no clock wakes: who tells whom that there is
 * output, or room again; VMM and console may die.
 *
 * The guest writes a byte for each interrupt of its transmitter. The console sleeps until it is signalled, or its own line has room
 * again; a line that stands still for any time is a console that does not run, or leaves off. Who dies has written nothing but what
 * it is to write; signals that it did not give are lost. Which bytes are shown is output.pml's. */
#ifndef BYTES
#define BYTES 5
#endif
#ifndef OTHERS
#define OTHERS 1 /* exits at another port */
#endif
#ifndef VMM_DEATHS
#define VMM_DEATHS 0
#endif
#ifndef CONSOLE_DEATHS
#define CONSOLE_DEATHS 0
#endif
#define FIFO 2
#define RUNNING 2 /* entries of the ring that may wait while the guest runs */
#define IO 0
#define OTHER 1
#define HLT 2
#define EVENT 3

byte length[RUNNING]; /* of an entry */
byte produced, taken, answered;
byte sent, waiting;         /* bytes that the guest wrote; of them in the FIFO */
bool irq = true;            /* of the transmitter, for the guest */
bool written, typed, line;  /* signals */
bool armed, due;            /* the VMM's clock: it is set, and its time has come */
byte shown, others = OTHERS, vmm_left = VMM_DEATHS, console_left = CONSOLE_DEATHS;

ltl goes_on { <> (shown == BYTES) } /* weakly fair */

inline may_die()
{
#if VMM_DEATHS
    if
    :: vmm_left > 0 -> vmm_left--; goto dead
    :: true -> skip
    fi;
#endif
    skip
}

active proctype vmm()
{
    byte kind = HLT, n, old_sent, old_waiting;
    bool serves, parked, took, announces = true, heir, old_irq = true, old_serves, old_parked;

handle:
    if
    :: armed -> due = true
    :: true -> skip
    fi;
    /* C: servers/vmm/console.c console_announce: p->console = ; EXIT_IO ; p->armed <= ; p->taken_over ; sys_signal */
    n = produced - taken;
    if
    :: announces && n > 0 && (kind > OTHER || due || heir) -> written = true
    :: else -> skip
    fi;
    announces = n > 0 || waiting > 0;
    if
    :: kind == IO -> d_step { sent++; waiting++; serves = false; irq = waiting < FIFO }
    :: kind == HLT -> parked = true
    :: else -> skip
    fi;
    /* C: servers/vmm/core/event.c vmm_events: halted( ; machine_ack( */
    if
    :: irq && !serves -> d_step { irq = false; serves = true; parked = false }
    :: else -> skip
    fi;
    may_die();
    /* C: servers/vmm/console.c console_output: output_taken ; machine_take ; p->took = ; ++produced
     * C: servers/vmm/dev/uart.c uart_take: was_ready ; iir_thre */
    do
    :: waiting > 0 && produced - taken < RUNNING ->
        d_step { irq = irq || waiting == FIFO; took = true; announces = true }
        if :: n = 1 :: waiting > 1 -> n = 2 fi;
        waiting = waiting - n;
        length[produced % RUNNING] = n;
        produced++;
        may_die()
    :: else -> break
    od;
    /* A clock that is over, or a predecessor's, is replaced by another one of the guest's, if it has any.
     * C: servers/vmm/main.c output_due: !p->took ; p->took = false
     * C: servers/vmm/main.c set_clock: output_due( ; wake >= p->armed ; return ; TIMER_SET */
    if
    :: took -> d_step { armed = true; due = false; took = false }
    :: !took && (due || heir) -> d_step { armed = false; due = false }
    :: !took -> skip
    fi;
    heir = false;
    may_die();
    answered = produced;
    /* the guest goes on by itself, or only after an event */
    if
    :: !parked && serves && sent < BYTES && waiting < FIFO -> kind = IO
    :: !parked && !(serves && sent < BYTES && waiting < FIFO) -> serves = false; if :: kind = HLT :: goto event fi
    :: !parked && others > 0 -> d_step { others--; kind = OTHER }
    :: parked || typed || armed -> goto event
    fi;
    goto next;
event:
    if
    :: typed -> d_step { typed = false; kind = EVENT }
    :: armed -> d_step { armed = false; due = false; kind = EVENT }
    :: shown == BYTES -> goto done
    fi;
next:
    skip;
    d_step { old_sent = sent; old_waiting = waiting; old_irq = irq; old_serves = serves; old_parked = parked }
    goto handle;
#if VMM_DEATHS
dead:
    skip;
    /* The exit comes again, to a successor.
     * C: servers/vmm/core/start.c vmm_resume
     * C: servers/vmm/console.c console_withdraw: produced-- */
    d_step {
        sent = old_sent; waiting = old_waiting; irq = old_irq; serves = old_serves; parked = old_parked;
        produced = answered; took = false; due = false; announces = true; heir = true
    }
    goto handle;
#endif
done:
    skip
}

inline console_may_die()
{
#if CONSOLE_DEATHS
    if
    :: console_left > 0 -> console_left--; goto dead
    :: true -> skip
    fi;
#endif
    skip
}

active proctype console()
{
    byte n;
    bool wake, looks;

again:
    do
    :: written || line || looks ->
        d_step { written = false; line = false; looks = false }
        console_may_die();
        /* C: servers/console/flow.c take_entry: waiting == 0 ; seq > upto ; commit( ; CONSOLE_OUTPUT_RUNNING */
        do
        :: taken != answered ->
            d_step { n = length[taken % RUNNING]; shown = shown + n; taken++ }
            console_may_die();
            n = produced - taken + 1;
            if
            :: n >= RUNNING -> wake = true
            :: else -> skip
            fi;
            if :: skip :: line = true; break fi /* it stands still */
        :: else -> break
        od;
        console_may_die();
        /* C: servers/console/main.c wake: sys_signal */
        if
        :: wake -> d_step { wake = false; typed = true }
        :: else -> skip
        fi
    :: shown == BYTES -> break
    od;
    goto done;
#if CONSOLE_DEATHS
dead:
    skip;
    /* C: servers/console/flow.c flow_open: f->wake |=
     * C: servers/console/main.c start: interrupt( ; wake( */
    d_step { wake = true; looks = true }
    goto again;
#endif
done:
    skip
}
