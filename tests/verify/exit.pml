/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits handled by VMMs that die anywhere: I7, and of I8 what the undo record keeps.
 *
 * One guest, its kernel, the VMM that serves it, and init. What they do is one sequence, as a guest does not run while
 * its exit waits. A VMM dies between any two of its stores that outlive it; the next one may handle the exit in
 * another way (its clock is another). A check word is modelled as a copy of what it covers, so it never lies.
 * `C: file function` lines say what a step stands for; `C: file function: a ; b` that a stands before b in there.
 *
 * An exit whose argument is 1 changes the state; of the others some do, and every one of a VMM that took over (its clock).
 * Not here: shadow tables (a cache), the console's rings (output.pml, input.pml), wild writes. */
#ifndef EXITS
#define EXITS 2
#endif
#ifndef DEATHS
#define DEATHS 3
#endif
#define DEATHS_MAX 3 /* C: servers/init/restart.c DEATHS_MAX: 3u */
#ifndef MORE
#define MORE 1 /* stores to guest memory besides the one that counts exits */
#endif
#define WRITES     3
#define NEVER      255

typedef note { byte index, old, c_seq, c_index, c_old }
typedef store { byte at, old, new, c_seq, c_at, c_old, c_new }

/* Outlive every VMM: the guest's memory, the state segment with its record. Word 0 of memory counts exits, word 0 of the state
 * those with argument 1. */
byte memory[2], state[2];
note word[2];
store wrote[WRITES];
byte sum_seq[2], sum_of[2]; /* sum_seq NEVER: the check word does not fit */
/* The kernel's. */
byte seq, answered, argument;
bool pending;
/* init's. */
byte died_at, deaths;
bool stopped;
/* Soft: of the incarnation. */
bool noted[2], counted, stored, resumed, began;
byte words, writes, sum, last, more, received, k, n, tmp;
/* What only the properties see. */
byte left = DEATHS, was_state[2], was_memory[2], was_argument, in_a_row, answers, ones;
bool handling, corrupt, finished;

ltl once { [] (!pending -> (state[0] == ones && memory[0] == answered)) }
ltl one_answer { [] (answers == answered) }
ltl redelivered { [] (handling -> (received == was_argument && argument == was_argument)) }
ltl undone { [] ((handling && words == 0 && writes == 0 && more == 0 && !counted && !stored) ->
                 (state[0] == was_state[0] && state[1] == was_state[1] && memory[0] == was_memory[0] &&
                  memory[1] == was_memory[1])) }
ltl sound { [] !corrupt }
ltl third { [] (stopped == (in_a_row == DEATHS_MAX)) }
ltl served { <> (answered == EXITS || stopped) }

#define MAY_DIE if :: skip :: left > 0 -> left--; goto dead fi
#define CHECKS(c, i, o) (word[c].c_seq == seq && word[c].c_index == i && word[c].c_old == o)
#define WHOLE(c) (word[c].c_seq == seq && word[c].c_index == word[c].index && word[c].c_old == word[c].old)
#define WROTE(c) (wrote[c].c_seq == seq && wrote[c].c_at == wrote[c].at && wrote[c].c_old == wrote[c].old && \
                  wrote[c].c_new == wrote[c].new)
#define SUM (state[0] + 4 * state[1])
#define COUNTS(i) (sum_seq[i] != NEVER && sum_seq[i] < seq)

/* C: servers/vmm/core/undo.c note_word: w->old = ; w->check =
 * C: servers/vmm/core/undo.c undo_note
 * C: servers/vmm/core/vmm.h VMM_SET: dev_touch( ; = (value)
 * C: servers/vmm/dev/dev.h DEV_SET: dev_touch( ; (field) = */
inline set(i, value)
{
    if
    :: noted[i] -> skip /* 2 unreached: word 1 is set once an exit, by one of two */
    :: else ->
        noted[i] = true;
        d_step { word[words].index = i; word[words].old = state[i] }
        MAY_DIE;
        d_step { word[words].c_seq = seq; word[words].c_index = i; word[words].c_old = word[words].old; words++ }
        MAY_DIE
    fi;
    sum = sum + (i == 0 -> value - state[0] : 4 * value - 4 * state[1]);
    state[i] = value; MAY_DIE
}

/* C: servers/vmm/core/undo.c undo_guest: w->new = ; w->check = */
inline put(i, value)
{
    d_step { wrote[writes].at = i; wrote[writes].old = memory[i]; wrote[writes].new = value }
    MAY_DIE;
    d_step {
        wrote[writes].c_seq = seq; wrote[writes].c_at = i;
        wrote[writes].c_old = wrote[writes].old; wrote[writes].c_new = value;
        writes++
    }
    MAY_DIE;
    memory[i] = value; MAY_DIE
}

/* C: servers/vmm/core/undo.c undo_recover: roll_back_words ; roll_back_guest ; UNDO_CORRUPT
 * C: servers/vmm/core/undo.c roll_back_words
 * C: servers/vmm/core/undo.c roll_back_guest: n++ ; restore_guest ; check = ~ */
inline recover()
{
    k = 0;
    do
    :: k < 2 && WHOLE(k) -> state[word[k].index] = word[k].old; k++; MAY_DIE
    :: else -> break
    od;
    n = 0;
    do
    :: n < WRITES && WROTE(n) -> n++
    :: else -> break
    od;
    k = n;
    do
    :: k > 0 ->
        k--;
        if
        :: memory[wrote[k].at] == wrote[k].new -> memory[wrote[k].at] = wrote[k].old; MAY_DIE
        :: else -> skip
        fi
    :: else -> break
    od;
    k = n;
    do
    :: k > 0 ->
        k--;
        d_step { /* it counts no more; what it said is nobody's */
            wrote[k].c_seq = NEVER; wrote[k].c_at = 0; wrote[k].c_old = 0; wrote[k].c_new = 0;
            wrote[k].at = 0; wrote[k].old = 0; wrote[k].new = 0
        }
        MAY_DIE
    :: else -> break
    od;
    n = 0;
    sum = SUM;
    last = (COUNTS(1) && (!COUNTS(0) || sum_seq[1] > sum_seq[0]) -> 1 : 0);
    if
    :: !COUNTS(last) || sum_of[last] != sum -> corrupt = true; goto halt /* 2 unreached: sound claims it */
    :: else -> skip
    fi
}

/* Over the older one, and only if the state changed.
 * C: servers/vmm/core/undo.c put_sum */
inline commit()
{
    if
    :: words > 0 ->
        if
        :: sum_seq[last] != seq -> last = 1 - last
        :: else -> skip /* 1 unreached: of a guest that begins, whose first sum (undo_reset) is not here */
        fi;
        sum_seq[last] = NEVER; MAY_DIE; /* half written */
        sum_of[last] = sum; MAY_DIE;
        sum_seq[last] = seq; MAY_DIE
    :: else -> skip
    fi
}

/* The guest runs until it exits; what it changes meanwhile is its own affair.
 * C: kernel/obj/vcpu.c vcpu_run */
inline run_guest()
{
    d_step { seq++; pending = true }
    if :: argument = 0 :: argument = 1 fi;
    d_step {
        memory[1] = argument;
        was_argument = argument;
        was_state[0] = state[0]; was_state[1] = state[1]; was_memory[0] = memory[0]; was_memory[1] = memory[1]
    }
}

/* C: kernel/obj/vcpu.c vcpu_recv
 * C: kernel/obj/vcpu.c complete */
inline receive()
{
    if
    :: pending -> skip /* delivered again, as it was */
    :: else -> run_guest()
    fi;
    received = argument
}

/* C: kernel/obj/vcpu.c vcpu_reply */
inline answer(number)
{
    if
    :: pending && number == seq -> d_step { pending = false; answered = seq; answers++; ones = ones + argument; in_a_row = 0 }
    :: else -> goto dead_of_itself /* ERR_WRONG_SEQUENCE: this VMM gives up */
    fi
}

active proctype system()
{
    sum_seq[1] = NEVER;
next: /* C: servers/init/restart.c hand_over */
    /* C: servers/vmm/main.c take_over: vmm_resume ; console_withdraw */
    receive();
    if
    :: !began ->
        MAY_DIE;
        recover(); /* C: servers/vmm/core/start.c vmm_resume: undo_recover ; resumed = true */
        resumed = answered > 0 || in_a_row > 0; /* else the guest begins */
        began = true
#if EXITS > 1
    :: else -> skip
#endif
    fi;
    /* C: servers/vmm/main.c serve: vmm_begin ; vmm_handle ; console_output ; vmm_commit */
    d_step {
        noted[0] = false; noted[1] = false; words = 0; writes = 0; more = 0; counted = false; stored = false;
        handling = true
    }
    counted = true;
    if
    :: received == 1 -> /* by way of another value: what was there is written down once */
        do
        :: k < 2 -> tmp = (k == 0 -> state[0] + 2 : state[0] - 1); k++; set(0, tmp)
        :: else -> break
        od;
        k = 0
    :: else -> skip
    fi;
    /* C: servers/vmm/core/exits.c continue_guest: VMM_SET(v, hidden ; resumed = false */
    if
    :: resumed -> tmp = 1 - state[1]; set(1, tmp)
    :: !resumed -> skip
    :: !resumed -> tmp = 1 - state[1]; set(1, tmp)
    fi;
    resumed = false;
    do
    :: more < MORE -> more++; if :: tmp = 0 :: tmp = 1 :: tmp = 2 fi; put(1, tmp)
    :: break
    od;
    stored = true; tmp = memory[0] + 1; put(0, tmp);
    tmp = 0;
    commit();
    handling = false;
again:
    answer(seq);
    if
    :: skip
    :: left > 0 -> left--; goto again /* one that is broken answers twice */
    fi;
    MAY_DIE;
    if
    :: answered >= EXITS -> goto halt
#if EXITS > 1
    :: else -> goto next
#endif
    fi;

dead_of_itself:
    skip;
dead: /* C: servers/init/restart.c restart: stop_guest ; may_go_on ; hand_over
       * C: servers/init/restart.c may_go_on: c->deaths + 1 : 1 ; return c->deaths < DEATHS_MAX */
    skip;
    d_step {
        noted[0] = false; noted[1] = false; words = 0; writes = 0; more = 0; counted = false; stored = false;
        sum = 0; last = 0; resumed = false; began = false; k = 0; n = 0; tmp = 0; received = 0;
        handling = false;
        deaths = (died_at == answered + 1 -> deaths + 1 : 1);
        died_at = answered + 1;
        in_a_row++;
        stopped = deaths == DEATHS_MAX
    }
    if
    :: stopped || answered >= EXITS -> goto halt
    :: else -> goto next
    fi;
halt:
    finished = true
}
