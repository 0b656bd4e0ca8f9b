/* SPDX-License-Identifier: BSD-2-Clause */
/* What is typed, from the UART to the guest, over deaths of the console and of the VMM anywhere (I8).
 *
 * Bytes are numbered as they are typed; the sender waits while the console does not read. Each byte reaches the guest once and
 * in order, or is counted as lost once. The VMM's state is taken back as a whole when it dies (exit.pml). The console
 * that takes over makes good in its first instruction what the one before had in a register. */
#ifndef TYPED
#define TYPED 4
#endif
#define ROOM 2 /* bytes of the ring */
#define FIFO 1 /* of the guest's serial port */
#ifndef VMM_DEATHS
#define VMM_DEATHS 2
#endif
#ifndef CONSOLE_DEATHS
#define CONSOLE_DEATHS 2
#endif
#define NOTHING 0

/* The ring, a dataport: struct console_input, and input_taken of struct console_output. */
byte data[ROOM], produced, lost;
byte released; /* console_output.input_taken */
/* Of the VMM's state. */
byte input_taken, fifo;
/* struct console_state */
byte received, t_byte, t_count;
bool t_given, decided, getting;
byte in_register;
/* What only the properties see. */
byte typed, got, last, vmm_left = VMM_DEATHS, console_left = CONSOLE_DEATHS;
bool wrong;

ltl in_order { [] !wrong }
ltl counted { <> [] (got + lost == TYPED) }

#define MAY_FALL if :: skip :: console_left > 0 -> console_left--; goto fallen fi
#define MAY_DIE if :: skip :: vmm_left > 0 -> vmm_left--; goto dead fi

active proctype console()
{
    byte free_from;

open: /* C: servers/console/flow.c flow_open: s->received = left->byte ; flow_typed */
    if
    :: decided || received != NOTHING -> goto flow
    :: else -> skip
    fi;
loop:
    if
    :: typed == TYPED -> goto done
    :: else -> skip
    fi;
    /* C: servers/console/port.c port_get: syscall ; port_got */
    d_step { typed++; in_register = typed; getting = true }
    MAY_FALL;
    d_step { received = in_register; getting = false }
    MAY_FALL;
flow: /* C: servers/console/flow.c flow_typed: decided ; decide ; perform */
    if
    :: !decided ->
        /* C: servers/console/flow.c decide: input_taken ; t->count = ; decided = true */
        t_byte = received;
        free_from = released;
        t_given = produced - free_from < ROOM; MAY_FALL;
        t_count = 1 + (t_given -> produced : lost); MAY_FALL;
        decided = true; MAY_FALL
    :: else -> skip
    fi;
    /* C: servers/console/flow.c perform: ring->data ; &ring->produced ; NOTHING_RECEIVED ; decided = false */
    if
    :: t_given -> data[(t_count - 1) % ROOM] = t_byte; MAY_FALL; produced = t_count; MAY_FALL
    :: else -> lost = t_count; MAY_FALL
    fi;
    received = NOTHING; MAY_FALL;
    decided = false; MAY_FALL;
    goto loop;

fallen: /* C: servers/init/restart.c keep_registers */
    skip;
    atomic {
        if
        :: getting -> received = in_register; getting = false
        :: else -> skip
        fi
    }
    goto open;
done:
    skip
}

active proctype vmm()
{
    byte old_taken = 0, old_fifo = 0, p, t, b, room;
    bool event;

exit: /* the guest is told of input (EXIT_EVENT), or reads its port
       * C: servers/vmm/main.c input_due: p->held ; p->env.exit->tsc */
end_idle:
    if
    :: input_taken != produced && fifo == NOTHING -> event = true
    :: fifo != NOTHING -> event = false
    fi;
handle:
    /* C: servers/vmm/main.c serve: console_taken ; console_input ; vmm_handle ; vmm_commit
     * C: servers/vmm/console.c console_taken */
    released = input_taken; MAY_DIE;
    if
    :: event ->
        /* C: servers/vmm/console.c console_input: &in->produced ; machine_give ; VMM_SET */
        p = produced;
        t = input_taken;
        room = FIFO;
        do
        :: t != p && room > 0 && fifo == NOTHING -> b = data[t % ROOM]; fifo = b; t++; room--; MAY_DIE
        :: else -> break
        od;
        input_taken = t; MAY_DIE;
        d_step { old_taken = input_taken; old_fifo = fifo } /* answered */
    :: else ->
        b = fifo;
        fifo = NOTHING; MAY_DIE;
        d_step {
            wrong = wrong || b <= last;
            last = b;
            got++;
            old_taken = input_taken; old_fifo = fifo
        }
    fi;
    goto exit;

dead:
    skip;
    d_step { input_taken = old_taken; fifo = old_fifo }
    goto handle
}
