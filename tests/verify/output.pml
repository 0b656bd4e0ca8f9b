/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's output from its serial port to the line, over deaths of its VMM and of the console anywhere (I8), to its end:
 * with its last byte at the earliest it ends by an exit that nobody answers.
 *
 * Bytes are numbered as the guest writes them; the property looks at the line. The VMM's state is taken back as a whole
 * when it dies: that this is so is exit.pml's. How much of its FIFO goes into an entry may differ from one
 * incarnation to the next. A console that is stopped between its OUT and the store behind it is made good by the next one
 * in its first instruction; that this one dies before it is not here (docs/restart.md). Memory is that of the
 * processor: stores become visible in order. */
#ifndef BYTES
#define BYTES 3
#endif
#define FIFO 2
#ifndef AT_ONCE
#define AT_ONCE 2 /* bytes that the guest may write in one exit (REP OUTSB) */
#endif
#define RUNNING 2 /* entries of the ring that may wait while the guest runs */
#define ROOM (RUNNING + FIFO)
#ifndef VMM_DEATHS
#define VMM_DEATHS 1
#endif
#ifndef CONSOLE_DEATHS
#define CONSOLE_DEATHS 1
#endif

typedef entry { byte seq, first, length }

/* The ring, a dataport: struct console_output, and output_taken of struct console_input. */
entry ring[ROOM];
byte produced, taken;
bool ends;          /* the exit at hand is the guest's last */
byte answered;      /* of the guest's public page: the kernel's */
byte sent, waiting; /* of the VMM's state: bytes that the guest wrote, of which so many are in the FIFO */
/* struct console_state */
byte line_first, line_length, line_left, line_position;
bool putting; /* where the console stood: between OUT and store */
/* What only the properties see. */
byte shown, settled_bytes, vmm_left = VMM_DEATHS, console_left = CONSOLE_DEATHS;
bool wrong, early, broken;

ltl in_order { [] !wrong }
ltl answered_only { [] !early }
ltl ring_whole { [] !broken }
ltl all_shown { <> (shown == BYTES) } /* weakly fair: the console asks again and again */

#define MAY_DIE if :: skip :: vmm_left > 0 -> vmm_left--; goto dead fi
#if VMM_DEATHS > 1
#define MAY_DIE_AGAIN MAY_DIE
#else
#define MAY_DIE_AGAIN skip
#endif

active proctype vmm()
{
    byte seq = 1, old_sent = 0, old_waiting = 0, t, p, n;
    bool some;

handle:
    /* the guest writes while there is room, as it looks whether there is */
    if
    :: sent < BYTES && waiting < FIFO -> d_step { sent++; waiting++ }
#if AT_ONCE > 1
    :: sent + 1 < BYTES && waiting + 1 < FIFO -> d_step { sent = sent + 2; waiting = waiting + 2 }
#endif
    :: sent == BYTES || waiting == FIFO -> skip
    fi;
    MAY_DIE;
    /* C: servers/vmm/console.c console_output: output_taken ; machine_take ; e->length = ; e->seq = ; ++produced */
    t = taken;
    some = false;
    do
    :: waiting > 0 && produced - t < (ends -> ROOM : RUNNING) ->
        if :: n = 1 :: waiting > 1 -> n = 2 fi;
        ring[produced % ROOM].first = sent - waiting + 1; MAY_DIE;
        waiting = waiting - n; MAY_DIE;
        ring[produced % ROOM].length = n; MAY_DIE;
        ring[produced % ROOM].seq = seq; MAY_DIE;
        produced++; MAY_DIE;
        some = true
    :: waiting == 0 || produced - t >= (ends -> ROOM : RUNNING) || (some && !ends) -> break
    od;
    if
    :: ends -> MAY_DIE; goto ended
    :: else -> skip
    fi;
    d_step { answered = seq; settled_bytes = sent - waiting; old_sent = sent; old_waiting = waiting; seq++ }
    /* the next exit: the guest's end, its own, or that there is room again. C: servers/console/main.c wake */
    if
    :: sent == BYTES -> ends = true
    :: (sent < BYTES && waiting < FIFO) || (waiting > 0 && produced - taken < RUNNING) -> skip
    fi;
    goto handle;

dead:
    skip;
    d_step { sent = old_sent; waiting = old_waiting }
    /* C: servers/vmm/console.c console_withdraw: output_taken ; seq == p->env.exit->seq ; produced-- ; __atomic_store_n */
    t = taken; p = produced;
    do
    :: p != t && ring[(p - 1) % ROOM].seq == seq -> p--
    :: else -> break
    od;
    MAY_DIE_AGAIN;
    produced = p; MAY_DIE_AGAIN;
    goto handle;

ended: /* C: servers/vmm/ending.c finish: console_end ; report
        * C: servers/init/supervise.c supervisor_ended_impl: rings_settle ; supervise_end
        * C: servers/init/rings.c rings_settle: output_taken ; .seq, 0 */
    settled_bytes = sent;
    t = taken;
    do
    :: t != produced -> ring[t % ROOM].seq = 0; t++
    :: else -> break
    od
}

#define MAY_FALL if :: skip :: console_left > 0 -> console_left--; goto fallen fi
#if CONSOLE_DEATHS > 1
#define MAY_FALL_AGAIN MAY_FALL
#else
#define MAY_FALL_AGAIN skip
#endif

/* C: servers/console/flow.c settle */
inline settle()
{
    taken = line_position + 1
}

active proctype console()
{
    byte p, t, upto, number, e_seq, e_first, e_length;

open: /* C: servers/console/flow.c flow_open: line.left-- ; settle
       * C: servers/console/port.c port_left */
    if
    :: line_left > 0 -> settle(); MAY_FALL_AGAIN
    :: else -> skip
    fi;
loop:
    if
    :: line_left == 0 ->
        /* C: servers/console/flow.c take_entry: answered( ; ->produced ; &from->seq ; memcpy ; seq > upto ; commit(
         * C: servers/console/flow.c answered */
        upto = answered;
        p = produced;
        t = taken;
        if
        :: p == t -> goto loop
        :: else -> skip
        fi;
        broken = broken || p - t > (ends -> ROOM : RUNNING);
        e_seq = ring[t % ROOM].seq;
        e_first = ring[t % ROOM].first;
        e_length = ring[t % ROOM].length;
        if
        :: e_seq > upto -> goto loop
        :: else -> skip
        fi;
        /* C: servers/console/flow.c commit: l->position = ; l->left = n ; settle */
        line_first = e_first; line_length = e_length; line_position = t; MAY_FALL;
        line_left = e_length; MAY_FALL;
        settle(); MAY_FALL
    :: else ->
        /* C: servers/console/port.c port_put: syscall ; port_given */
        d_step {
            number = line_first + line_length - line_left;
            wrong = wrong || number != shown + 1;
            early = early || number > settled_bytes;
            shown = (shown < BYTES + 1 -> shown + 1 : shown);
            putting = true
        }
        MAY_FALL;
        d_step { line_left--; putting = false }
        MAY_FALL
    fi;
    if
    :: shown >= BYTES && line_left == 0 -> goto done
    :: else -> goto loop
    fi;

fallen: /* C: servers/init/restart.c restart_server: stop ; keep_registers
         * C: servers/init/restart.c keep_registers */
    skip;
    atomic {
        if
        :: putting -> line_left--; putting = false
        :: else -> skip
        fi
    }
    goto open;
done:
    skip
}
